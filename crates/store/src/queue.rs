//! What the delivery engine looks for: invites that something is due for.

use std::collections::{BTreeMap, BTreeSet};

use invite_core::{Destination, InviteId, Status};
use jiff::Timestamp;

use crate::{
    Error, InviteRecord, Store,
    query::select_invites,
    rows::{COLUMNS, LIVE, UNSETTLED, read_invite},
    statement::{Statement, Value, chunks},
};

/// Queued at the provider whose name comes next, and nobody waits for news of an earlier call to
/// the same person.
const FREE: &str = " FROM invites WHERE status = 'queued' AND NOT EXISTS (SELECT 1 FROM invites \
     AS other WHERE other.destination = invites.destination AND \
     other.address = invites.address AND other.status IN ('sending', 'unknown')) AND provider = ";

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
        let mut connection = self.reader().await?;
        // Two walks along one index: those that never waited, and those that have waited.
        Statement::new("SELECT ")
            .text(COLUMNS)
            .text(" FROM invites WHERE id IN (SELECT id FROM (SELECT id")
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
            .bind(limit)
            .all(&mut connection, read_invite)
            .await
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
            .first(&mut connection, |row| row.optional_time())
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
        let mut connection = self.reader().await?;
        select_invites()
            .text(" WHERE status = 'queued' AND provider = ")
            .bind(provider)
            .text(" AND queued_at < ")
            .bind(before)
            .text(" ORDER BY queued_at, id LIMIT ")
            .bind(i64::from(limit))
            .all(&mut connection, read_invite)
            .await
    }

    /// Invites that are `sending` although their lease is over (`all`: whatever their lease), longest
    /// over first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn leases_over(&self, all: bool, limit: u32) -> Result<Vec<InviteRecord>, Error> {
        let mut connection = self.reader().await?;
        let now = self.lease_now(&mut connection).await?;
        let mut statement = select_invites().text(" WHERE status = 'sending'");
        if !all {
            statement =
                statement.text(" AND (lease_until IS NULL OR lease_until <= ").bind(now).text(")");
        }
        statement
            .text(" ORDER BY coalesce(lease_until, 0), id LIMIT ")
            .bind(i64::from(limit))
            .all(&mut connection, read_invite)
            .await
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
        let mut connection = self.reader().await?;
        select_invites()
            .text(" WHERE status = 'unknown' AND provider = ")
            .bind(provider)
            .text(" AND next_attempt_at <= ")
            .bind(now)
            .text(" ORDER BY next_attempt_at, id LIMIT ")
            .bind(i64::from(limit))
            .all(&mut connection, read_invite)
            .await
    }

    /// When the next look-up of this provider is due, if any is.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn next_lookup(&self, provider: &str) -> Result<Option<Timestamp>, Error> {
        let mut connection = self.reader().await?;
        let next = Statement::new(
            "SELECT min(next_attempt_at) FROM invites WHERE status = 'unknown' AND provider = ",
        )
        .bind(provider)
        .text(" AND next_attempt_at IS NOT NULL")
        .first(&mut connection, |row| row.optional_time())
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
                .text(" AND provider = ")
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
        let mut connection = self.reader().await?;
        statement
            .text(") ORDER BY coalesce(checked_at, 0), id LIMIT ")
            .bind(limit)
            .all(&mut connection, read_invite)
            .await
    }

    /// How many invites of each provider are in which status that is not final, as it reads now.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn provider_counts(&self) -> Result<BTreeMap<String, BTreeMap<Status, u64>>, Error> {
        let statement = Statement::new("SELECT provider, status, count(*) FROM invites WHERE ")
            .text(LIVE)
            .text(" AND (expires_at IS NULL OR expires_at > ")
            .bind(self.clock_now())
            .text(" OR ")
            .text(UNSETTLED)
            .text(") GROUP BY provider, status");
        let mut connection = self.reader().await?;
        let rows = statement
            .all(&mut connection, |row| Ok((row.string()?, row.parsed()?, row.count()?)))
            .await?;
        let mut counts = BTreeMap::<String, BTreeMap<Status, u64>>::new();
        for (provider, status, count) in rows {
            counts.entry(provider).or_default().insert(status, count);
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
                .all(&mut connection, |row| Ok((row.string()?, row.parsed()?)))
                .await?;
            held.extend(rows);
        }
        Ok(held)
    }
}
