//! What is sent to webhooks: what is due again, and what came of each attempt.

use std::{collections::HashMap, time::Duration};

use invite_core::{EventId, EventType, WebhookId};
use jiff::Timestamp;
use serde_json::json as json_of;

use crate::{
    Error, Event, EventPage, RemovedUpTo, Store, Webhook,
    feed::read_row,
    rows::PERSON_GONE,
    statement::{Fields, Statement, chunks},
    values::Value,
    webhooks::{lock, store},
    writer::Tx,
};

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// What was to be delivered.
    pub event: EventId,
    /// Which attempt it was for this event, from 1 on.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What was answered.
    pub http_status: Option<u16>,
    /// What went wrong; none if it was taken.
    pub failure: Option<String>,
    /// The beginning of the reply's body.
    pub reply: Option<String>,
}

/// What to store of an attempt.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The attempt.
    pub attempt: WebhookAttempt,
    /// When to try again, if it failed; `None`: never by itself.
    pub again_at: Option<Timestamp>,
}

/// An event to be sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The event.
    pub event: Event,
    /// How many attempts there were.
    pub attempts: u32,
    /// When the first of them was.
    pub first_at: Timestamp,
}

impl Store {
    /// The events that are to be sent to a webhook again by `now`, longest due first; and when the next of all is due. With
    /// `asked_after` only those that somebody asked for after that time, whatever else is due.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn due_deliveries(
        &self,
        webhook: WebhookId,
        now: Timestamp,
        asked_after: Option<Timestamp>,
        limit: usize,
    ) -> Result<(Vec<Due>, Option<Timestamp>), Error> {
        let mut statement = Statement::new(
            "SELECT event_id, attempts, first_at, next_at FROM webhook_deliveries WHERE next_at IS NOT NULL \
             AND webhook_id = ",
        )
        .bind(webhook.to_string());
        if let Some(asked_after) = asked_after {
            // It is due at the moment when it is asked for, so that by the index nothing older is looked at.
            statement = statement.text(" AND first_at > ").bind(asked_after);
            statement = statement.text(" AND next_at > ").bind(asked_after);
        }
        let rows = statement
            .text(" ORDER BY next_at, event_id")
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .all(&mut *self.reader().await?, |row| {
                Ok((EventId::of(row.number()?), row.count()?, row.time()?, row.time()?))
            })
            .await?;
        let next = rows.first().map(|(.., next)| *next);
        let due: Vec<_> = rows.into_iter().filter(|(.., next)| *next <= now).collect();
        let ids: Vec<EventId> = due.iter().map(|(event, ..)| *event).collect();
        let mut events = self.events_by_id(&ids).await?;
        let due = due.into_iter().filter_map(|(id, attempts, first_at, _)| {
            let place = events.iter().position(|event| event.id == id)?;
            Some(Due { event: events.swap_remove(place), attempts, first_at })
        });
        Ok((due.collect(), next))
    }

    /// The next events for a webhook behind a place in the feed, without those that are sent, or were, because they were asked
    /// for by name ([`resend_event`](Self::resend_event)).
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn new_deliveries(
        &self,
        webhook: &Webhook,
        after: EventId,
        limit: usize,
    ) -> Result<Result<EventPage, RemovedUpTo>, Error> {
        let mut page = match self.events(&webhook.filter(), Some(after), limit).await? {
            Ok(page) if !page.events.is_empty() => page,
            other => return Ok(other),
        };
        let known = Statement::new("SELECT event_id FROM webhook_deliveries WHERE webhook_id = ")
            .bind(webhook.id.to_string())
            .text(" AND event_id > ")
            .bind(after.number())
            .text(" AND event_id <= ")
            .bind(page.next.number())
            .all(&mut *self.reader().await?, |row| Ok(EventId::of(row.number()?)))
            .await?;
        page.events.retain(|event| !known.contains(&event.id));
        Ok(Ok(page))
    }

    /// Stores what came of attempts, and up to where the feed was read for the webhook. If nothing has been taken for
    /// `give_up`, or the endpoint says that it is gone, the webhook is disabled, with an event. Nothing is stored if the
    /// webhook is gone.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn record_deliveries(
        &self,
        webhook: WebhookId,
        delivered: Vec<Delivered>,
        read_up_to: Option<EventId>,
        give_up: Duration,
    ) -> Result<(), Error> {
        self.write(Vec::new(), delivered, move |mut tx, delivered| {
            Box::pin(async move {
                let Some(mut known) = lock(&mut tx, webhook).await? else { return Ok(()) };
                let before = known.clone();
                known.read_up_to = known.read_up_to.max(read_up_to.unwrap_or(EventId::START));
                write_attempts(&mut tx, webhook, delivered).await?;
                note(&mut known, delivered, give_up, tx.now);
                if let Some(why) = &known.disabled_because
                    && before.disabled_because.is_none()
                {
                    let told = json_of!({ "reason": why, "tenant": known.tenant });
                    let id = webhook.to_string();
                    tx.events.tell(EventType::WebhookDisabled, None, id, &told);
                }
                if known == before { Ok(()) } else { store(&mut tx, &known).await }
            })
        })
        .await
    }

    /// The attempts for a webhook, or for one event of it, newest first, those before one.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn webhook_attempts(
        &self,
        webhook: WebhookId,
        event: Option<EventId>,
        before: Option<(EventId, u32)>,
        limit: u32,
    ) -> Result<Vec<WebhookAttempt>, Error> {
        let mut statement = Statement::new(
            "SELECT event_id, number, at, took_ms, http_status, failure, reply FROM webhook_attempts WHERE \
             webhook_id = ",
        )
        .bind(webhook.to_string());
        if let Some(event) = event {
            statement = statement.text(" AND event_id = ").bind(event.number());
        }
        if let Some((event, number)) = before {
            statement = statement
                .text(" AND (event_id, number) < (")
                .values([event.number().into(), i64::from(number).into()])
                .text(")");
        }
        let statement = statement.text(" ORDER BY event_id DESC, number DESC");
        let statement = statement.limit(i64::from(limit));
        statement.all(&mut *self.lister().await?, read_attempt).await
    }

    /// These events, oldest first, without those that are gone.
    async fn events_by_id(&self, ids: &[EventId]) -> Result<Vec<Event>, Error> {
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in chunks(ids) {
            let found = Statement::new(
                "SELECT id, at, type, tenant, subject, previous, data FROM events WHERE id",
            )
            .one_of(chunk.iter().map(|id| Value::from(id.number())))
            .text(" ORDER BY id")
            .all(&mut *self.reader().await?, read_row)
            .await?;
            rows.extend(found);
        }
        self.with_invites(rows).await
    }
}

/// Keeps since when nothing has been taken, and disables a webhook that took nothing for as long as an event is tried, or is
/// gone.
fn note(webhook: &mut Webhook, delivered: &[Delivered], give_up: Duration, now: Timestamp) {
    let is_taken = |it: &Delivered| it.attempt.failure.is_none();
    let is_gone = |it: &Delivered| it.attempt.http_status == Some(410);
    if delivered.iter().any(is_taken) {
        webhook.failing_since = None;
    } else if let Some(first) = delivered.iter().map(|it| it.attempt.at).min() {
        webhook.failing_since.get_or_insert(first);
    }
    if webhook.disabled_because.is_some() {
        return;
    }
    if delivered.iter().any(is_gone) {
        webhook.disabled_because = Some("the endpoint answered 410: it is gone".to_owned());
    } else if let Some(since) = webhook.failing_since
        && now.duration_since(since).unsigned_abs() >= give_up
        && delivered.iter().any(|it| it.again_at.is_none())
    {
        webhook.disabled_because = Some(format!("only failures came of it since {since:.0}"));
    }
}

/// Which of these events there are, and whether the person was erased of whom it tells.
async fn erased(tx: &mut Tx<'_>, delivered: &[Delivered]) -> Result<HashMap<EventId, bool>, Error> {
    let known = Statement::new(
        "SELECT events.id, coalesce(erased, 0) FROM events LEFT JOIN invites ON invites.id = subject WHERE events.id",
    )
    .one_of(delivered.iter().map(|it| Value::from(it.attempt.event.number())))
    .all(tx.connection, |row| Ok((EventId::of(row.number()?), row.number()? >= PERSON_GONE)))
    .await?;
    Ok(known.into_iter().collect())
}

async fn write_attempts(
    tx: &mut Tx<'_>,
    webhook: WebhookId,
    delivered: &[Delivered],
) -> Result<(), Error> {
    let id = webhook.to_string();
    for chunk in chunks(delivered) {
        let erased = erased(tx, chunk).await?;
        // In one order, so that two replicas never wait for each other. What was removed meanwhile is not tried again.
        let mut chunk: Vec<&Delivered> =
            chunk.iter().filter(|it| erased.contains_key(&it.attempt.event)).collect();
        chunk.sort_unstable_by_key(|it| it.attempt.event);
        if chunk.is_empty() {
            continue;
        }
        let rows = chunk.iter().map(|Delivered { attempt, .. }| {
            // What an endpoint answers may be what it was sent.
            let is_erased = erased[&attempt.event];
            let failure = attempt.failure.as_deref();
            [
                attempt.event.number().into(),
                i64::from(attempt.number).into(),
                attempt.at.into(),
                Value::Number(i64::try_from(attempt.took.as_millis()).ok()),
                Value::Number(attempt.http_status.map(i64::from)),
                failure.map(|why| if is_erased { "it failed" } else { why }).into(),
                attempt.reply.as_deref().filter(|_| !is_erased).into(),
            ]
        });
        Statement::new(
            "INSERT INTO webhook_attempts (webhook_id, event_id, number, at, took_ms, http_status, failure, reply) \
             SELECT ",
        )
        .bind(&id)
        .text(", v.* FROM ")
        .rows(rows)
        // The same was stored by a replica that had lost its lease without knowing.
        .text(" WHERE true ON CONFLICT (webhook_id, event_id, number) DO NOTHING")
        .execute(tx.connection)
        .await?;
        let rows = chunk.iter().map(|Delivered { attempt, again_at }| {
            let is_taken = attempt.failure.is_none();
            [
                attempt.event.number().into(),
                i64::from(attempt.number).into(),
                attempt.at.into(),
                Value::from(again_at.filter(|_| !is_taken)),
                Value::from(Some(attempt.at).filter(|_| is_taken)),
            ]
        });
        Statement::new(
            "INSERT INTO webhook_deliveries (webhook_id, event_id, attempts, first_at, next_at, delivered_at) \
             SELECT ",
        )
        .bind(&id)
        .text(", v.* FROM ")
        .rows(rows)
        .text(
            // An attempt says nothing of when to try again if it began before somebody asked for that, or before another attempt.
            " WHERE true ON CONFLICT (webhook_id, event_id) DO UPDATE SET \
             attempts = CASE WHEN webhook_deliveries.attempts > excluded.attempts \
             THEN webhook_deliveries.attempts ELSE excluded.attempts END, \
             next_at = CASE WHEN webhook_deliveries.first_at > excluded.first_at \
             OR webhook_deliveries.attempts >= excluded.attempts \
             THEN webhook_deliveries.next_at ELSE excluded.next_at END, \
             delivered_at = coalesce(excluded.delivered_at, webhook_deliveries.delivered_at)",
        )
        .execute(tx.connection)
        .await?;
    }
    Ok(())
}

fn read_attempt(row: &mut Fields<'_>) -> Result<WebhookAttempt, Error> {
    Ok(WebhookAttempt {
        event: EventId::of(row.number()?),
        number: row.count()?,
        at: row.time()?,
        took: Duration::from_millis(row.count()?),
        http_status: row.optional_count()?,
        failure: row.optional_string()?,
        reply: row.optional_string()?,
    })
}
