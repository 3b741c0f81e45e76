//! Idempotency keys: which request a caller's name stands for, and for how long.

use std::time::Duration;

use invite_core::BatchId;
use jiff::Timestamp;

use crate::{
    Acceptance, Error, IdempotencyKey, NewBatch, Store,
    connection::Connection,
    rows::{UNSETTLED, place},
    statement::{Statement, chunks},
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
        let key = self.as_stored(key);
        let known = find_keys(&mut connection, now, &[(tenant, &key)]).await?;
        Ok(known.into_iter().flatten().next().map(|known| known.answer(&key)))
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
                        // One that was accepted anew meanwhile stays.
                        .text(") AND created_at <= ")
                        .bind(before)
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

/// What a key is remembered for.
#[derive(Clone)]
pub(crate) struct KnownKey {
    pub(crate) batch: BatchId,
    pub(crate) body_hash: String,
}

impl KnownKey {
    fn read(batch_and_hash: &str) -> Result<Self, Error> {
        batch_and_hash
            .split_once(' ')
            .and_then(|(batch, hash)| {
                Some(Self { batch: batch.parse().ok()?, body_hash: hash.to_owned() })
            })
            .ok_or_else(|| Error::Corrupt { what: "batch_id".to_owned() })
    }

    /// What a request with this key is answered with.
    pub(crate) fn answer(&self, key: &IdempotencyKey) -> Acceptance {
        match self.body_hash == key.body_hash {
            true => Acceptance::Replayed(self.batch),
            false => Acceptance::KeyReused,
        }
    }
}

/// What is remembered at `now` of each of these keys of a tenant, in their order.
pub(crate) async fn find_keys(
    connection: &mut Connection,
    now: Timestamp,
    keys: &[(&str, &IdempotencyKey)],
) -> Result<Vec<Option<KnownKey>>, Error> {
    let mut known = vec![None; keys.len()];
    let places: Vec<usize> = (0..keys.len()).collect();
    for chunk in chunks(&places) {
        // A subquery for each key, so that no planner chooses to read all of them.
        let rows = Statement::new(
            "SELECT column1, (SELECT batch_id || ' ' || body_hash FROM idempotency_keys AS known \
             WHERE tenant = column2 AND idempotency_key = column3 AND (created_at > column4 OR \
             EXISTS (SELECT 1 FROM invites WHERE invites.batch_id = known.batch_id AND ",
        )
        .text(UNSETTLED)
        .text("))) AS batch_and_hash FROM ")
        .rows(chunk.iter().map(|at| {
            let (tenant, key) = keys[*at];
            let kept_since = now.saturating_sub(key.retention).unwrap_or(now);
            [place(*at), tenant.into(), (&key.key).into(), kept_since.into()]
        }))
        .all(connection, |row| Ok((row.count::<usize>()?, row.optional_string()?)))
        .await?;
        for (place, found) in rows {
            if let (Some(known), Some(found)) = (known.get_mut(place), found) {
                *known = Some(KnownKey::read(&found)?);
            }
        }
    }
    Ok(known)
}

/// Remembers the keys of batches that are being accepted.
pub(crate) async fn remember_keys(
    connection: &mut Connection,
    now: Timestamp,
    batches: &[&NewBatch],
) -> Result<(), Error> {
    let keys: Vec<_> =
        batches.iter().filter_map(|batch| Some((batch, batch.idempotency.as_ref()?))).collect();
    for chunk in chunks(&keys) {
        // If a key is there already, it is past its retention.
        Statement::new(
            "INSERT INTO idempotency_keys (tenant, idempotency_key, body_hash, batch_id, \
             created_at) SELECT * FROM ",
        )
        .rows(chunk.iter().map(|(batch, key)| {
            [
                (&batch.tenant).into(),
                (&key.key).into(),
                (&key.body_hash).into(),
                batch.id.to_string().into(),
                now.into(),
            ]
        }))
        .text(
            " WHERE true ON CONFLICT (tenant, idempotency_key) DO UPDATE SET body_hash = excluded.body_hash, \
             batch_id = excluded.batch_id, created_at = excluded.created_at",
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}
