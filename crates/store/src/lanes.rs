//! Which replica has a provider's lane, and when each replica may start a request.

use std::time::Duration;

use serde_json::Value as Json;

use crate::{
    Error, Store,
    advisory::lock_of,
    dialect::{RATE_LOCKS, REVISION_LOCK_SHARED},
    revisions::is_newest,
    rows::json,
    statement::Statement,
};

/// Who has a provider's lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneHolder {
    /// The replica, by the name that it gave when it took the lane.
    pub owner: String,
    /// What it last reported of the provider, if it has.
    pub report: Option<Json>,
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

    /// Frees the lane for other replicas, if `owner` has it.
    ///
    /// # Errors
    /// The database cannot be used; the lane is then free when its lease ends.
    pub async fn release_lane(&self, provider: &str, owner: &str) -> Result<(), Error> {
        let data = (provider.to_owned(), owner.to_owned());
        self.write(vec![REVISION_LOCK_SHARED], data, |tx, (provider, owner)| {
            Box::pin(async move {
                // The row stays, so that the next owner gets a higher epoch.
                Statement::with(
                    "UPDATE lanes SET lease_until = 0 WHERE provider = ? AND owner = ?",
                    [provider.into(), owner.into()],
                )
                .execute(tx.connection)
                .await?;
                Ok(())
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
            "SELECT owner, report FROM lanes WHERE provider = ? AND lease_until > ?",
            [provider.into(), now.into()],
        )
        .first(&mut connection, |row| {
            let owner = row.string()?;
            // A report that cannot be read is written anew soon.
            Ok(LaneHolder { owner, report: row.optional_json().unwrap_or_default() })
        })
        .await
    }

    /// Takes the next `count` starts of requests to a provider, each `period` after the one before, so that no other replica
    /// takes them; returns how long it is until the first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn take_starts(
        &self,
        provider: &str,
        period: Duration,
        count: u32,
    ) -> Result<Duration, Error> {
        let lock = lock_of(RATE_LOCKS, &[provider]);
        // Rounded up to whole milliseconds, so that no start comes too early.
        let milliseconds = |span: Duration| (span.as_secs_f64() * 1000.0).ceil() as i64;
        let (after, all) = (milliseconds(period), milliseconds(period * (count.max(1) - 1)));
        self.write(vec![lock], provider.to_owned(), move |tx, provider| {
            Box::pin(async move {
                // By the database's clock, which all replicas share: their own may be seconds apart.
                let shown = tx.dialect.shown_time(tx.connection).await?;
                let now = shown.unwrap_or(tx.now).as_millisecond();
                let last = Statement::new("SELECT last_start FROM rate_budgets WHERE provider = ")
                    .bind(provider)
                    .first(&mut *tx.connection, |row| row.number())
                    .await?;
                // Few replicas wait for starts. If the last one is further ahead, the clock was set back since.
                let is_sane = |last: &i64| last - now <= 100 * (after + all);
                let first = last.filter(is_sane).map_or(now, |last| now.max(last + after));
                Statement::with(
                    "INSERT INTO rate_budgets (provider, last_start) VALUES (?, ?) \
                     ON CONFLICT (provider) DO UPDATE SET last_start = excluded.last_start",
                    [provider.into(), (first + all).into()],
                )
                .execute(tx.connection)
                .await?;
                Ok(Duration::from_millis(u64::try_from(first - now).unwrap_or_default()))
            })
        })
        .await
    }
}
