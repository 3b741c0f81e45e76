//! What somebody asks to have sent to a webhook again.

use invite_core::{EventId, WebhookId};
use jiff::Timestamp;

use crate::{
    Error, EventFilter, Store, Webhook,
    feed::{read_row, select},
    statement::Statement,
    webhooks::{AT_ONCE, lock},
};

impl Store {
    /// Has an event sent to a webhook at once, whether it was taken before or not, and whatever its type and labels; false if
    /// its tenant has no such event at its providers.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn resend_event(&self, webhook: &Webhook, event: EventId) -> Result<bool, Error> {
        let id = webhook.id.to_string();
        let of_its_own = EventFilter { types: Vec::new(), labels: Vec::new(), ..webhook.filter() };
        let webhook = webhook.id;
        self.write(Vec::new(), (id, of_its_own), move |mut tx, (id, filter)| {
            Box::pin(async move {
                if lock(&mut tx, webhook).await?.is_none() {
                    return Ok(false);
                }
                let before = EventId::of(event.number() - 1);
                let found = select(filter, before, event, 1).first(tx.connection, read_row);
                if found.await?.is_none() {
                    return Ok(false);
                }
                let now = tx.now;
                Statement::new(
                    "INSERT INTO webhook_deliveries (webhook_id, event_id, attempts, first_at, next_at) VALUES (",
                )
                .values([
                    (&*id).into(),
                    event.number().into(),
                    0.into(),
                    now.into(),
                    now.into(),
                ])
                .text(
                    ") ON CONFLICT (webhook_id, event_id) DO UPDATE SET first_at = excluded.first_at, \
                     next_at = excluded.next_at",
                )
                .execute(tx.connection)
                .await?;
                Ok(true)
            })
        })
        .await
    }

    /// Has everything sent at once, and with all of its time before it, that was written since a time, sent and never taken;
    /// returns how much that is. It is done in steps.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn recover_deliveries(
        &self,
        webhook: WebhookId,
        since: Timestamp,
    ) -> Result<u64, Error> {
        let (mut recovered, mut after) = (0, EventId::START);
        loop {
            let (count, last) = self.recover_some(webhook, since, after).await?;
            recovered += count;
            match last {
                Some(last) => after = last,
                None => return Ok(recovered),
            }
        }
    }

    /// Has those of the next deliveries behind a place sent again; returns how many, and the last that was looked at.
    async fn recover_some(
        &self,
        webhook: WebhookId,
        since: Timestamp,
        after: EventId,
    ) -> Result<(u64, Option<EventId>), Error> {
        self.write(Vec::new(), webhook.to_string(), move |mut tx, id| {
            Box::pin(async move {
                if lock(&mut tx, webhook).await?.is_none() {
                    return Ok((0, None));
                }
                let last = Statement::new(
                    "SELECT max(event_id) FROM (SELECT event_id FROM webhook_deliveries WHERE delivered_at IS NULL \
                     AND webhook_id = ",
                )
                .bind(&*id)
                .text(" AND event_id > ")
                .bind(after.number())
                .text(" ORDER BY event_id")
                .limit(AT_ONCE)
                .text(") AS next")
                .first(tx.connection, |row| row.optional_number())
                .await?;
                let Some(last) = last.flatten() else { return Ok((0, None)) };
                let count = Statement::new("UPDATE webhook_deliveries SET next_at = ")
                    .bind(tx.now)
                    .text(", first_at = ")
                    .bind(tx.now)
                    .text(" WHERE delivered_at IS NULL AND webhook_id = ")
                    .bind(&*id)
                    .text(" AND event_id > ")
                    .bind(after.number())
                    .text(" AND event_id <= ")
                    .bind(last)
                    .text(" AND EXISTS (SELECT 1 FROM events WHERE id = event_id AND at >= ")
                    .bind(since)
                    .text(")")
                    .execute(tx.connection)
                    .await?;
                Ok((count, Some(EventId::of(last))))
            })
        })
        .await
    }
}
