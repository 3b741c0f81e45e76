//! What the delivery engine looks for: invites that something is due for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use invite_core::{Destination, InviteId, Status};
use jiff::Timestamp;

use crate::{
    Error, InviteRecord, Store,
    query::select_invites,
    rows::{AMONG_SET_ASIDE, LIVE, MAY_BE_IN_DOUBT, UNSETTLED},
    statement::{Fields, Statement, Value, chunks},
};

/// Queued at the provider whose name comes next, and nobody waits for news of an earlier call to
/// the same person: see [`MAY_BE_IN_DOUBT`](crate::rows::MAY_BE_IN_DOUBT).
const FREE: &str = " FROM invites WHERE status = 'queued' AND unreadable IS NULL AND NOT EXISTS \
     (SELECT 1 FROM invites AS other WHERE other.destination = invites.destination AND \
     other.address = invites.address AND other.status NOT IN ('queued', 'awaiting_approval', \
     'pending', 'sent', 'accepted', 'declined', 'expired', 'revoked', 'failed')) AND provider = ";

impl Store {
    /// Queued invites of a provider whose time has come, longest due first. Left out are those to
    /// people of whom another invite at the same destination is `sending` or `unknown`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn due(
        &self,
        provider: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let limit = i64::from(limit);
        // Two walks along one index: those that never waited, and those that have waited.
        let statement = select_invites()
            .text(" WHERE id IN (SELECT id FROM (SELECT id")
            .text(FREE)
            .bind(provider)
            .text(" AND next_attempt_at IS NULL ORDER BY id LIMIT ")
            .bind(limit)
            .text(") AS fresh UNION ALL SELECT id FROM (SELECT id")
            .text(FREE)
            .bind(provider)
            .text(" AND next_attempt_at <= ")
            .bind(now)
            .text(" ORDER BY next_attempt_at, id LIMIT ")
            .bind(limit)
            .text(") AS waited) ORDER BY coalesce(next_attempt_at, created_at), id LIMIT ")
            .bind(limit);
        self.ready(statement).await
    }

    /// When the next invite that [`due`](Self::due) would return is due, if there is one: 1970 for
    /// one that never waited.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn next_due(&self, provider: &str) -> Result<Option<Timestamp>, Error> {
        let mut connection = self.reader().await?;
        let next = Statement::new("SELECT min(at) FROM (SELECT at FROM (SELECT 0 AS at")
            .text(FREE)
            .bind(provider)
            .text(" AND next_attempt_at IS NULL LIMIT 1) AS fresh UNION ALL SELECT at FROM (")
            .text("SELECT next_attempt_at AS at")
            .text(FREE)
            .bind(provider)
            .text(" AND next_attempt_at IS NOT NULL ORDER BY next_attempt_at, id LIMIT 1) AS waits")
            .text(") AS dues")
            .first(&mut connection, |row| Ok(row.moment()))
            .await?;
        Ok(next.flatten())
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
            .text(" ORDER BY queued_at, id LIMIT ")
            .bind(i64::from(limit));
        self.ready(statement).await
    }

    /// Invites that are `sending` although their lease is over by the clock it was written with
    /// (`all`: whatever their lease), longest over first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn leases_over(&self, all: bool, limit: u32) -> Result<Vec<InviteRecord>, Error> {
        let now = self.lease_now(&mut *self.reader().await?).await?;
        let mut statement =
            select_invites().text(" WHERE status = 'sending' AND unreadable IS NULL");
        if !all {
            statement =
                statement.text(" AND (lease_until IS NULL OR lease_until <= ").bind(now).text(")");
        }
        statement = statement.text(" ORDER BY coalesce(lease_until, 0), id LIMIT ");
        self.ready(statement.bind(i64::from(limit))).await
    }

    /// Invites of a provider whose effect is not known and that are to be looked up by `now`,
    /// longest due first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn doubtful(
        &self,
        provider: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let statement = select_invites()
            .text(" WHERE status = 'unknown' AND unreadable IS NULL AND provider = ")
            .bind(provider)
            .text(" AND next_attempt_at <= ")
            .bind(now)
            .text(" ORDER BY next_attempt_at, id LIMIT ")
            .bind(i64::from(limit));
        self.ready(statement).await
    }

    /// When the next look-up of this provider is due, if any is.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn next_lookup(&self, provider: &str) -> Result<Option<Timestamp>, Error> {
        let mut connection = self.reader().await?;
        let next = Statement::new(
            "SELECT min(next_attempt_at) FROM invites WHERE status = 'unknown' AND unreadable IS NULL \
             AND provider = ",
        )
        .bind(provider)
        .text(" AND next_attempt_at IS NOT NULL")
        .first(&mut connection, |row| Ok(row.moment()))
        .await?;
        Ok(next.flatten())
    }

    /// Invites of a provider that are open there, also past their `expires_at`, and that it was not
    /// asked about since `before`; longest ago first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn stale(
        &self,
        provider: &str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<InviteRecord>, Error> {
        let limit = i64::from(limit);
        let mut statement = select_invites().text(" WHERE id IN (");
        // A walk along one index for each status.
        for (place, status) in Status::ALL.iter().filter(|s| s.is_open_at_provider()).enumerate() {
            statement = statement
                .text(if place == 0 { "" } else { " UNION ALL " })
                .text("SELECT id FROM (SELECT id FROM invites WHERE ")
                // Follows from what comes next, and lets the index `invites_live` serve.
                .text(LIVE)
                .text(" AND unreadable IS NULL AND provider = ")
                .bind(provider)
                .text(" AND status = ")
                .bind(status.as_str())
                .text(" AND coalesce(checked_at, 0) < ")
                .bind(before)
                .text(" ORDER BY coalesce(checked_at, 0) LIMIT ")
                .bind(limit)
                .text(") AS ")
                .text(status.as_str());
        }
        self.ready(statement.text(") ORDER BY coalesce(checked_at, 0), id LIMIT ").bind(limit))
            .await
    }

    /// The id and tenant of another invite to the same person at the same destination that is `sending`
    /// or `unknown`, or may be: it need not be one that can be read.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn in_doubt_to(
        &self,
        invite: &InviteRecord,
    ) -> Result<Option<(String, String)>, Error> {
        let (Some(destination), Some(address)) = (&invite.destination, &invite.address) else {
            return Ok(None);
        };
        Statement::new("SELECT id, tenant FROM invites WHERE destination = ")
            .bind(destination.to_string())
            .text(" AND address = ")
            .bind(address.as_str())
            .text(" AND ")
            .text(MAY_BE_IN_DOUBT)
            // The invite itself may have been claimed since it was read.
            .text(" AND id <> ")
            .bind(invite.id.to_string())
            .text(" LIMIT 1")
            .first(&mut *self.reader().await?, |row| {
                let text = |place| row.text_at(place).unwrap_or_default().to_owned();
                Ok((text(0), text(1)))
            })
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
                .text(LIVE)
                .text(set_aside)
                .text(" AND (expires_at IS NULL OR expires_at > ")
                .bind(self.clock_now())
                .text(" OR ")
                .text(UNSETTLED)
                .text(") GROUP BY provider, status")
        };
        let read = |row: &mut Fields<'_>| {
            let provider = row.text_at(0).unwrap_or_default().to_owned();
            let status = row.text_at(1).and_then(|word| word.parse::<Status>().ok());
            Ok(((provider, status), row.number_at(2).unwrap_or_default().unsigned_abs()))
        };
        let mut connection = self.reader().await?;
        // The first reads nothing but an index of all, the second one of few.
        let all = count("").all(&mut connection, read).await?;
        let aside = count(&format!(" AND {AMONG_SET_ASIDE}")).all(&mut connection, read).await?;
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

    /// Which of a provider's ids at a destination are held, and by which invites.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn find_held(
        &self,
        destination: &Destination,
        refs: &[String],
    ) -> Result<BTreeMap<String, InviteId>, Error> {
        let refs: Vec<&String> = refs.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut held = BTreeMap::new();
        let mut connection = self.reader().await?;
        for chunk in chunks(&refs) {
            let rows = Statement::new("SELECT provider_ref, id FROM invites WHERE destination = ")
                .bind(destination.to_string())
                .text(" AND provider_ref IS NOT NULL AND provider_ref IN (")
                .values(chunk.iter().map(|text| Value::from(text.as_str())))
                .text(")")
                .all(&mut connection, |row| {
                    // One whose id cannot be read is another than any that can.
                    Ok((row.string()?, row.parsed().unwrap_or_else(|_| InviteId::generate())))
                })
                .await?;
            held.extend(rows);
        }
        Ok(held)
    }
}
