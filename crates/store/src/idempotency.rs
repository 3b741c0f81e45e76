//! Idempotency keys: which request a caller's name stands for, and for how long.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    Acceptance, Error, IdempotencyKey, NewBatch, Store, connection::Connection, rows::UNSETTLED,
    statement::Statement,
};

/// How many keys one transaction of [`Store::purge_idempotency`] deletes.
const PURGE: u32 = 1000;

impl Store {
    /// What is remembered of a key: [`Acceptance::Replayed`], [`Acceptance::KeyReused`] or nothing.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn find_idempotent(
        &self,
        tenant: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Acceptance>, Error> {
        let mut connection = self.reader().await?;
        let now = self.synchronized_now(&mut connection).await?;
        find_key(&mut connection, now, tenant, &self.as_stored(key)).await
    }

    /// The key as it is stored, hashed: a caller may have put an address into it, and whoever tries bodies could find one by
    /// its plain hash.
    pub(crate) fn as_stored(&self, key: &IdempotencyKey) -> IdempotencyKey {
        IdempotencyKey {
            key: self.hash_key().hash("idempotency key", &key.key),
            body_hash: self.hash_key().hash("body", &key.body_hash),
            retention: key.retention,
        }
    }

    /// Forgets the idempotency keys that were accepted longer ago than `retention` and whose batches have settled; returns how
    /// many.
    ///
    /// # Errors
    /// The database cannot be used; some may be forgotten already.
    pub async fn purge_idempotency(&self, retention: Duration) -> Result<u64, Error> {
        let mut purged = 0;
        loop {
            let count = self
                .write(Vec::new(), (), move |tx, ()| {
                    Box::pin(async move {
                        let Ok(before) = tx.now.checked_sub(retention) else { return Ok(0) };
                        Statement::new(
                            "DELETE FROM idempotency_keys WHERE (tenant, idempotency_key) IN \
                             (SELECT tenant, idempotency_key FROM idempotency_keys AS known \
                             WHERE created_at <= ",
                        )
                        .bind(before)
                        .text(
                            " AND NOT EXISTS (SELECT 1 FROM invites WHERE \
                             invites.batch_id = known.batch_id AND ",
                        )
                        .text(UNSETTLED)
                        .text(")")
                        .limit(i64::from(PURGE))
                        .text(")")
                        .execute(tx.connection)
                        .await
                    })
                })
                .await?;
            purged += count;
            if count < u64::from(PURGE) {
                return Ok(purged);
            }
        }
    }
}

/// What is remembered of a key at `now`.
pub(crate) async fn find_key(
    connection: &mut Connection,
    now: Timestamp,
    tenant: &str,
    key: &IdempotencyKey,
) -> Result<Option<Acceptance>, Error> {
    let kept_since = now.saturating_sub(key.retention).unwrap_or(now);
    Statement::new("SELECT body_hash, batch_id FROM idempotency_keys AS known WHERE tenant = ")
        .bind(tenant)
        .text(" AND idempotency_key = ")
        .bind(&key.key)
        .text(" AND (created_at > ")
        .bind(kept_since)
        .text(" OR EXISTS (SELECT 1 FROM invites WHERE invites.batch_id = known.batch_id AND ")
        .text(UNSETTLED)
        .text("))")
        .first(connection, |row| {
            let is_same = row.text()? == key.body_hash;
            let batch = row.parsed()?;
            Ok(if is_same { Acceptance::Replayed(batch) } else { Acceptance::KeyReused })
        })
        .await
}

/// Remembers the key of a batch that is being accepted.
pub(crate) async fn remember_key(
    connection: &mut Connection,
    now: Timestamp,
    batch: &NewBatch,
    key: &IdempotencyKey,
) -> Result<(), Error> {
    // If the key is there already, it is past its retention.
    Statement::with(
        "INSERT INTO idempotency_keys (tenant, idempotency_key, body_hash, batch_id, created_at) \
         VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, idempotency_key) DO UPDATE SET body_hash = \
         excluded.body_hash, batch_id = excluded.batch_id, created_at = excluded.created_at",
        [
            (&batch.tenant).into(),
            (&key.key).into(),
            (&key.body_hash).into(),
            batch.id.to_string().into(),
            now.into(),
        ],
    )
    .execute(connection)
    .await?;
    Ok(())
}
