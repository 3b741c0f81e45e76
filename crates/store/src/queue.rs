//! What the delivery engine reads: invites for which something is due.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use invite_core::{Destination, InviteId, Status};
use jiff::Timestamp;

use crate::{
    Error, InviteRecord, LiveCounts, Store,
    accounts::MAY_BE_OTHERS,
    rows::select_invites,
    rows::{AMONG_SET_ASIDE, COLUMNS, LIVE, MAY_HAVE_HOLDER, OPEN, UNCONFIRMED},
    statement::{Fields, Statement},
    values::Value,
};

/// When a queued invite may be sent.
pub(crate) const DUE: &str = "coalesce(next_attempt_at, queued_at)";

/// Queued invites whose person has no other invite that is `sending` or `unknown`, or may be; more conditions have to follow.
pub(crate) static SENDABLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "status = 'queued' AND unreadable IS NULL AND NOT EXISTS (SELECT 1 FROM invites AS other \
         WHERE other.address = invites.address AND other.{MAY_HAVE_HOLDER} AND {MAY_BE_OTHERS}) AND "
    )
});

impl Store {
    /// What a tenant has queued at a provider for a destination and is due, longest due first. Left out
    /// are invites to people of whom another invite there, or at what may be the same place, is `sending` or `unknown`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn due(
        &self,
        provider: &str,
        tenant: &str,
        destination: &Destination,
        since: Option<Timestamp>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let statement = select_due("", provider, tenant, destination, since, now, limit);
        self.readable(statement).await
    }

    /// Queued invites of a provider that entered the queue before a time, longest ago first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn queued_before(
        &self,
        provider: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let statement = select_invites()
            .text(" WHERE status = 'queued' AND unreadable IS NULL AND provider = ")
            .bind(provider)
            .text(" AND queued_at < ")
            .bind(before)
            .text(" ORDER BY queued_at, id")
            .limit(i64::from(limit));
        self.readable(statement).await
    }

    /// Invites that are `sending` although their lease is over (`all`: whatever their lease), longest
    /// over first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn leases_over(&self, all: bool, limit: u32) -> Result<Vec<InviteRecord>, Error> {
        let now = self.synchronized_now(&mut *self.reader().await?).await?;
        let mut statement =
            select_invites().text(" WHERE status = 'sending' AND unreadable IS NULL");
        if !all {
            statement =
                statement.text(" AND (lease_until IS NULL OR lease_until <= ").bind(now).text(")");
        }
        statement = statement.text(" ORDER BY coalesce(lease_until, 0), id");
        self.readable(statement.limit(i64::from(limit))).await
    }

    /// Invites of a provider whose effect is not known and that are to be looked up by `now`,
    /// longest due first, but for those at the destinations `except`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn doubtful(
        &self,
        provider: &str,
        except: &[Destination],
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let statement = select_invites()
            .text(" WHERE status = 'unknown' AND unreadable IS NULL AND provider = ")
            .bind(provider);
        let statement = elsewhere(statement, except)
            .text(" AND next_attempt_at <= ")
            .bind(now)
            .text(" ORDER BY next_attempt_at, id")
            .limit(i64::from(limit));
        self.readable(statement).await
    }

    /// When the next look-up of this provider is due, if any is, but for those at the destinations
    /// `except`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn next_lookup(
        &self,
        provider: &str,
        except: &[Destination],
    ) -> Result<Option<Timestamp>, Error> {
        let all = Statement::new(
            "SELECT min(next_attempt_at) FROM invites WHERE status = 'unknown' AND unreadable IS NULL \
             AND provider = ",
        );
        let next = elsewhere(all.bind(provider), except)
            .text(" AND next_attempt_at IS NOT NULL")
            .first(&mut *self.reader().await?, |row| Ok(row.moment()))
            .await?;
        Ok(next.flatten())
    }

    /// Invites that are open at their provider although their `expires_at` is over by `now`, longest over first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn lapsed(&self, now: Timestamp, limit: u32) -> Result<Vec<InviteRecord>, Error> {
        self.readable(select_lapsed("", now, limit)).await
    }

    /// Invites of a provider that are open there, or expired by the clock without having been asked about since, and
    /// that it was not asked about since `before`, but for those at the destinations `except`; longest ago first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn stale(
        &self,
        provider: &str,
        except: &[Destination],
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        self.readable(select_stale("", provider, except, before, limit)).await
    }

    /// What a provider's lists at these destinations can tell about, whenever it was asked about: invites that are open
    /// there, by destination, the provider's id and ours; those asked about longest ago first, up to `limit` of each
    /// status. Left out are those of which more has to be asked: what was sent again, or may have been withdrawn.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn listable(
        &self,
        provider: &str,
        destinations: &[Destination],
        limit: u32,
    ) -> Result<Vec<(Destination, String, InviteId)>, Error> {
        let mut listable = Vec::new();
        if destinations.is_empty() {
            return Ok(listable);
        }
        let mut connection = self.scanner().await?;
        for status in Status::ALL.iter().filter(|status| status.is_open_at_provider()) {
            let statement = Statement::new(
                "SELECT destination, provider_ref, id FROM invites WHERE provider_ref IS NOT NULL \
                 AND attempt_count <= 1 AND revoke_sent = 0 AND unreadable IS NULL AND ",
            )
            .text(LIVE)
            .text(" AND provider = ")
            .bind(provider)
            .text(" AND status = ")
            .bind(status.as_str())
            .text(" AND destination")
            .one_of(destinations.iter().map(|destination| Value::from(destination.to_string())))
            .text(" ORDER BY coalesce(checked_at, 0)")
            .limit(i64::from(limit));
            let rows = statement.all(&mut connection, |row| {
                // What cannot be read is asked about by itself.
                let (at, id, invite) = (row.parsed().ok(), row.string().ok(), row.parsed().ok());
                Ok(at.zip(id).zip(invite).map(|((at, id), invite)| (at, id, invite)))
            });
            listable.extend(rows.await?.into_iter().flatten());
        }
        Ok(listable)
    }

    /// The id and tenant of another invite to the same person at what may be the same destination that is `sending`
    /// or `unknown`, or may be: it need not be one that can be read.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn person_taken_by(
        &self,
        invite: &InviteRecord,
    ) -> Result<Option<(String, String)>, Error> {
        Statement::new("SELECT other.id, other.tenant FROM invites JOIN invites AS other ON ")
            .text("other.address = invites.address AND other.id <> invites.id AND other.")
            .text(MAY_HAVE_HOLDER)
            .text(" AND ")
            .text(MAY_BE_OTHERS)
            .text(" WHERE invites.id = ")
            .bind(invite.id.to_string())
            .text(" LIMIT 1")
            .first(&mut *self.reader().await?, |row| {
                let text = |place| row.text_at(place).unwrap_or_default().to_owned();
                Ok((text(0), text(1)))
            })
            .await
    }

    /// How many invites each tenant has queued at a provider.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn queued_by_tenant(&self, provider: &str) -> Result<HashMap<String, u64>, Error> {
        let counts = Statement::new(
            "SELECT tenant, count(*) FROM invites WHERE status = 'queued' AND provider = ",
        )
        .bind(provider)
        .text(" GROUP BY tenant")
        .all(&mut *self.scanner().await?, |row| {
            // An invite whose tenant cannot be read counts for none.
            let tenant = row.text_at(0).unwrap_or_default().to_owned();
            Ok((tenant, row.number_at(1).unwrap_or_default().unsigned_abs()))
        })
        .await?;
        Ok(counts.into_iter().collect())
    }

    /// How many invites are live. Of very many it may be how many were live when they were counted last, at most fifty times
    /// as long ago as counting takes.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn live_counts(&self) -> Result<Arc<LiveCounts>, Error> {
        self.last_count().or_count(true, async || self.count().await).await
    }

    /// How many invites are live now.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn count_live(&self) -> Result<Arc<LiveCounts>, Error> {
        self.last_count().or_count(false, async || self.count().await).await
    }

    async fn count(&self) -> Result<LiveCounts, Error> {
        let by_status = self.provider_counts().await?;
        Ok(LiveCounts { by_status, unreadable: self.unreadable_counts().await? })
    }

    /// Since when the invite waits that has waited longest in the queue of a provider.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn oldest_queued(&self, provider: &str) -> Result<Option<Timestamp>, Error> {
        Statement::new("SELECT queued_at FROM invites WHERE status = 'queued' AND provider = ")
            .bind(provider)
            .text(" ORDER BY queued_at")
            .limit(1)
            .first(&mut *self.reader().await?, |row| row.time())
            .await
    }

    /// How many invites of each provider are in which status that is not final, as it reads now, without
    /// those that are set aside.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn provider_counts(&self) -> Result<BTreeMap<String, BTreeMap<Status, u64>>, Error> {
        let count = |set_aside: &str| {
            Statement::new("SELECT provider, status, count(*) FROM invites WHERE ")
                .live_at(self.clock_now())
                .text(set_aside)
                .text(" GROUP BY provider, status")
        };
        let read = |row: &mut Fields<'_>| {
            let provider = row.text_at(0).unwrap_or_default().to_owned();
            let status = row.text_at(1).and_then(|word| word.parse::<Status>().ok());
            Ok(((provider, status), row.number_at(2).unwrap_or_default().unsigned_abs()))
        };
        let mut connection = self.scanner().await?;
        // The first reads only an index of all live invites, the second one of the few that are set aside.
        let all = count("").all(&mut connection, read).await?;
        let aside = count(&format!(" AND {}", *AMONG_SET_ASIDE)).all(&mut connection, read).await?;
        let aside: HashMap<_, u64> = aside.into_iter().collect();
        let mut counts = BTreeMap::<String, BTreeMap<Status, u64>>::new();
        for ((provider, status), all) in all {
            let Some(known) = status else { continue };
            let aside = aside.get(&(provider.clone(), status)).copied().unwrap_or(0);
            if all > aside {
                counts.entry(provider).or_default().insert(known, all - aside);
            }
        }
        Ok(counts)
    }
}

/// One walk along an index, which ends where enough is found. `explain` is put before it.
pub(crate) fn select_due<'a>(
    explain: &str,
    provider: &'a str,
    tenant: &'a str,
    destination: &Destination,
    since: Option<Timestamp>,
    now: Timestamp,
    limit: u32,
) -> Statement<'a> {
    let statement = Statement::new(explain)
        .text("SELECT ")
        .text(COLUMNS)
        .text(", unreadable FROM invites WHERE ")
        .text(&SENDABLE)
        .text("provider = ")
        .bind(provider)
        .text(" AND tenant = ")
        .bind(tenant)
        .text(" AND destination = ")
        .bind(destination.to_string())
        .text(" AND ")
        .text(DUE)
        .text(" <= ")
        .bind(now);
    let statement = match since {
        Some(since) => statement.text(" AND ").text(DUE).text(" >= ").bind(since),
        None => statement,
    };
    statement.text(" ORDER BY ").text(DUE).text(", id").limit(i64::from(limit))
}

/// One walk along an index, which holds nothing but what is going to lapse. `explain` is put before it.
pub(crate) fn select_lapsed(explain: &str, now: Timestamp, limit: u32) -> Statement<'static> {
    Statement::new(explain)
        .text("SELECT ")
        .text(COLUMNS)
        .text(", unreadable FROM invites WHERE ")
        .text(OPEN)
        .text(" AND expires_at IS NOT NULL AND expires_at <= ")
        .bind(now)
        .text(" AND unreadable IS NULL ORDER BY expires_at, id")
        .limit(i64::from(limit))
}

/// One read along an index for each status. `explain` is put before it.
pub(crate) fn select_stale<'a>(
    explain: &str,
    provider: &'a str,
    except: &[Destination],
    before: Timestamp,
    limit: u32,
) -> Statement<'a> {
    let limit = i64::from(limit);
    let open = Status::ALL.iter().filter(|status| status.is_open_at_provider());
    // The status implies that it is live, but a partial index is used only where its own condition is said.
    let open = open.map(|status| (status.as_str(), format!("{LIVE} AND status = '{status}'")));
    let lapsed = ("lapsed", UNCONFIRMED.to_owned());
    let mut statement =
        Statement::new(explain).text("SELECT ").text(COLUMNS).text(", unreadable FROM invites");
    for (place, (name, condition)) in open.chain([lapsed]).enumerate() {
        statement = statement
            .text(if place == 0 { " WHERE id IN (" } else { " UNION ALL " })
            .text("SELECT id FROM (SELECT id FROM invites WHERE ")
            .text(&condition)
            .text(" AND unreadable IS NULL AND provider = ")
            .bind(provider)
            .text(" AND coalesce(checked_at, 0) < ")
            .bind(before);
        statement = elsewhere(statement, except)
            .text(" ORDER BY coalesce(checked_at, 0)")
            .limit(limit)
            .text(") AS ")
            .text(name);
    }
    statement.text(") ORDER BY coalesce(checked_at, 0), id").limit(limit)
}

/// Adds a condition that leaves out these destinations.
fn elsewhere<'a>(statement: Statement<'a>, except: &[Destination]) -> Statement<'a> {
    if except.is_empty() {
        return statement;
    }
    let except = except.iter().map(|destination| Value::from(destination.to_string()));
    statement.text(" AND destination NOT IN (").values(except).text(")")
}
