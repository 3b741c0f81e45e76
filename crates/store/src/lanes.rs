//! Which replica has a provider's lane, and when each replica may start a request.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;
use tokio::time::Instant;

use crate::{
    Error, Store,
    advisory::lock_of,
    dialect::{RATE_LOCKS, REVISION_LOCK_SHARED},
    news::{self, News},
    revisions::is_newest,
    rows::json,
    statement::Statement,
    values::Value,
};

/// Who has a provider's lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneHolder {
    /// The replica, by the name that it gave when it took the lane.
    pub owner: String,
    /// What it last reported of the provider, if it has.
    pub report: Option<Json>,
    /// How long its lease still lasts.
    pub left: Duration,
}

impl Store {
    /// Takes or renews a provider's lane until `ttl` from now, and returns its epoch; `None` while another owner has it, or if
    /// there is a newer revision of the provider document than `newest`, the newest that the owner knows of. A change of
    /// owner raises the epoch, renewing keeps it. `force` takes the lane over from whoever has it.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn acquire_lane(
        &self,
        provider: &str,
        owner: &str,
        ttl: Duration,
        newest: i64,
        force: bool,
    ) -> Result<Option<i64>, Error> {
        let data = (provider.to_owned(), owner.to_owned());
        self.write(vec![REVISION_LOCK_SHARED], data, move |mut tx, (provider, owner)| {
            Box::pin(async move {
                if !is_newest(&mut tx, newest).await? {
                    return Ok(None);
                }
                let until = tx.now.saturating_add(ttl).unwrap_or(tx.now);
                Statement::with(
                    "INSERT INTO lanes (provider, owner, epoch, lease_until) VALUES (?, ?, 1, ?) \
                     ON CONFLICT (provider) DO UPDATE SET owner = excluded.owner, \
                     epoch = CASE WHEN lanes.owner = excluded.owner THEN lanes.epoch \
                     ELSE lanes.epoch + 1 END, report = CASE WHEN lanes.owner = excluded.owner \
                     THEN lanes.report END, lease_until = excluded.lease_until \
                     WHERE lanes.owner = excluded.owner OR lanes.lease_until <= ? OR 1 = ? \
                     RETURNING epoch",
                    [provider.into(), owner.into(), until.into(), tx.now.into(), force.into()],
                )
                .first(tx.connection, |row| row.number())
                .await
            })
        })
        .await
    }

    /// Renews the lanes among these that `owner` has until `ttl` from now, and returns their epochs; none if there is a newer
    /// revision of the provider document than `newest`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn renew_lanes(
        &self,
        providers: Vec<String>,
        owner: &str,
        ttl: Duration,
        newest: i64,
    ) -> Result<BTreeMap<String, i64>, Error> {
        let data = (providers, owner.to_owned());
        self.write(vec![REVISION_LOCK_SHARED], data, move |mut tx, (providers, owner)| {
            Box::pin(async move {
                if providers.is_empty() || !is_newest(&mut tx, newest).await? {
                    return Ok(BTreeMap::new());
                }
                let until = tx.now.saturating_add(ttl).unwrap_or(tx.now);
                let renewed = Statement::with(
                    "UPDATE lanes SET lease_until = ? WHERE owner = ?",
                    [until.into(), owner.into()],
                )
                .text(" AND provider")
                .one_of(providers.iter().map(Value::from))
                .text(" RETURNING provider, epoch")
                .all(tx.connection, |row| Ok((row.string()?, row.number()?)))
                .await?;
                Ok(renewed.into_iter().collect())
            })
        })
        .await
    }

    /// Frees the lane for other replicas, if `owner` has it, and tells them.
    ///
    /// # Errors
    /// The database cannot be used; the lane is then free when its lease ends.
    pub async fn release_lane(&self, provider: &str, owner: &str) -> Result<(), Error> {
        let freed = std::iter::once(News::Freed(provider.to_owned()));
        let notice = self.teller().map(|teller| teller.notice(freed));
        let data = (provider.to_owned(), owner.to_owned(), notice);
        self.write(vec![REVISION_LOCK_SHARED], data, |tx, (provider, owner, notice)| {
            Box::pin(async move {
                // The row stays, so that the next owner gets a higher epoch.
                let freed = Statement::with(
                    "UPDATE lanes SET lease_until = 0 WHERE provider = ? AND owner = ?",
                    [provider.into(), owner.into()],
                )
                .execute(&mut *tx.connection)
                .await?;
                match notice {
                    // They hear it when this is committed.
                    Some(notice) if freed > 0 => news::notify(tx.connection, notice).await,
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// Stores what the owner of a lane knows of its provider, for the other replicas to show.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn report_lane(
        &self,
        provider: &str,
        owner: &str,
        report: Json,
    ) -> Result<(), Error> {
        let data = (provider.to_owned(), owner.to_owned(), report);
        self.write(vec![REVISION_LOCK_SHARED], data, |tx, (provider, owner, report)| {
            Box::pin(async move {
                Statement::with(
                    "UPDATE lanes SET report = ? WHERE provider = ? AND owner = ?",
                    [json(report), provider.into(), owner.into()],
                )
                .execute(tx.connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Who has a provider's lane now.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn lane_holder(&self, provider: &str) -> Result<Option<LaneHolder>, Error> {
        let mut connection = self.reader().await?;
        let now = self.synchronized_now(&mut connection).await?;
        Statement::with(
            "SELECT owner, report, lease_until FROM lanes WHERE provider = ? AND lease_until > ?",
            [provider.into(), now.into()],
        )
        .first(&mut connection, |row| {
            let owner = row.string()?;
            // A report that cannot be read is written anew soon.
            let report = row.optional_json().unwrap_or_default();
            let left = row.time()?.duration_since(now);
            Ok(LaneHolder { owner, report, left: left.try_into().unwrap_or_default() })
        })
        .await
    }

    /// Takes the next `count` starts of requests to a provider, each `period` after the one before and none before `lead` is
    /// over, so that no other replica takes them; returns the first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn take_starts(
        &self,
        provider: &str,
        period: Duration,
        count: u32,
        lead: Duration,
    ) -> Result<Instant, Error> {
        let lock = lock_of(RATE_LOCKS, &[provider]);
        // Rounded up, so that no start comes too early.
        let microseconds = |span: Duration| (span.as_secs_f64() * 1e6).ceil() as i64;
        let (after, all) = (microseconds(period), microseconds(period * (count.max(1) - 1)));
        let lead = microseconds(lead);
        self.write(vec![lock], provider.to_owned(), move |tx, provider| {
            Box::pin(async move {
                // By the database's clock, which all replicas share: their own may be seconds apart.
                let shown = tx.dialect.shown_time(tx.connection).await?;
                let now = shown.unwrap_or(tx.now).as_microsecond();
                // From here on time is measured on this machine: however late the commit is answered, no start is put off.
                let read_at = Instant::now();
                let last = Statement::new("SELECT last_start FROM rate_budgets WHERE provider = ")
                    .bind(provider)
                    .first(&mut *tx.connection, |row| row.number())
                    .await?;
                // Few replicas wait for starts. If the last one is further ahead, the clock was set back since.
                let is_sane = |last: &i64| last - now <= 100 * (after + all);
                let earliest = now + lead;
                let first =
                    last.filter(is_sane).map_or(earliest, |last| earliest.max(last + after));
                Statement::with(
                    "INSERT INTO rate_budgets (provider, last_start) VALUES (?, ?) \
                     ON CONFLICT (provider) DO UPDATE SET last_start = excluded.last_start",
                    [provider.into(), (first + all).into()],
                )
                .execute(tx.connection)
                .await?;
                Ok(read_at + Duration::from_micros(u64::try_from(first - now).unwrap_or_default()))
            })
        })
        .await
    }
}
