//! Reading events, oldest first, so that none is missed: `docs/adr/0007-no-reader-of-the-feed-misses-an-event.md`.

use std::{collections::HashMap, time::Duration};

use invite_core::{EventId, EventType, InviteId, Status};
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::{
    Error, InviteRecord, InviteState, Store,
    debug::debug_only,
    dialect::PER_NUMBER,
    events::invite_of,
    statement::{Fields, Statement},
    values::Value,
};

/// How many events are looked at together: few, because they are read on the thread that asks.
pub(crate) const LOOKED_AT: i64 = 500;
/// For how long a read goes on looking for events that meet its filter.
pub(crate) const LOOKING: Duration = Duration::from_millis(250);

/// Which events to read; every given member must hold.
#[derive(Clone, Default)]
pub struct EventFilter {
    /// `None`: of all tenants.
    pub tenant: Option<String>,
    /// Also those for administrators, which are of no tenant.
    pub of_gateway: bool,
    /// If not empty: of one of these types.
    pub types: Vec<EventType>,
    /// If not empty: of invites at one of these, and of these themselves.
    pub providers: Vec<String>,
    /// Of invites that have all of these.
    pub labels: Vec<(String, String)>,
    /// Of this one.
    pub invite: Option<InviteId>,
}

debug_only!(EventFilter: of_gateway, types, providers, invite);

/// Something that happened.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub event_type: EventType,
    pub at: Timestamp,
    /// `None`: it is for administrators.
    pub tenant: Option<String>,
    /// The id of the invite or the batch, or the name of what else it tells of.
    pub subject: String,
    /// The status of the invite before.
    pub previous: Option<Status>,
    pub told: Told,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The invite with the state that it had then, and what never changes about it as it is kept now.
    Invite(Box<InviteRecord>),
    /// The invite was removed since, or cannot be read.
    Gone,
    /// Of something else.
    Other(Json),
}

/// Some events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Where to go on: all before were looked at.
    pub next: EventId,
    /// There was no more when it was read.
    pub is_last: bool,
}

/// Events that come after the place asked for were removed, up to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedUpTo(pub EventId);

impl Store {
    /// From now on there is also an event when a call for an invite begins.
    pub fn tell_sending(&self) {
        self.told().set_with_sending();
    }

    /// The place behind all events that there are; whoever reads on from there gets all that come.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn end_of_feed(&self) -> Result<EventId, Error> {
        let bound = self.feed_bound().await?;
        self.newest_before(bound).await
    }

    async fn newest_before(&self, bound: i64) -> Result<EventId, Error> {
        let newest = Statement::new("SELECT max(id) FROM events WHERE id < ")
            .bind(bound)
            .first(&mut *self.reader().await?, |row| row.optional_number())
            .await?;
        Ok(EventId::of(newest.flatten().unwrap_or_default()))
    }

    /// At most `limit` (at least 1) events behind the one with the id `after`, or from the first one that is kept. If hardly
    /// any meets the filter it may be fewer although there are more: the page says where to go on.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Result<EventPage, RemovedUpTo>, Error> {
        let limit = limit.max(1);
        let began = Instant::now();
        let bound = self.feed_bound().await?;
        let mut next = after.unwrap_or(EventId::START);
        // Behind the last event of an invite others were looked at, too: nothing that comes later stands before this.
        let end = match filter.invite {
            Some(_) => self.newest_before(bound).await?,
            None => EventId::START,
        };
        let (mut rows, mut is_last) = (Vec::new(), false);
        while rows.len() < limit && !is_last {
            let (last, looked_at) = self.window(filter.invite, next, bound, LOOKED_AT).await?;
            is_last = looked_at < LOOKED_AT;
            let up_to = if is_last { last.max(end) } else { last };
            if looked_at == 0 {
                next = up_to;
                break;
            }
            let left = limit - rows.len();
            let more =
                select(filter, next, up_to, left).all(&mut *self.reader().await?, read_row).await?;
            next = up_to;
            if more.len() == left {
                // The last of them may not be the last that was looked at.
                let last_read = more.last().map_or(up_to, |row: &RowOfEvent| row.id);
                is_last = is_last && last_read >= last;
                next = if is_last { up_to } else { last_read };
            }
            rows.extend(more);
            if began.elapsed() >= LOOKING {
                break;
            }
            // On SQLite nothing of this waits for anything.
            tokio::task::yield_now().await;
        }
        // Read after the events, so that one that is removed meanwhile is not missed unnoticed.
        if let Some((removed, _)) = self.removed_events().await?
            && after.is_some_and(|after| after < removed)
        {
            return Ok(Err(RemovedUpTo(removed)));
        }
        let events = self.with_invites(rows).await?;
        Ok(Ok(EventPage { events, next, is_last }))
    }

    /// Removes at most `limit` events that are older than a time, from the first on; returns how many. The last one stays, as
    /// it tells which ids were given out.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_events(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write(Vec::new(), before, move |tx, before| {
            Box::pin(async move {
                let last = Statement::new("SELECT max(id) FROM (SELECT id, at FROM events WHERE ")
                    .text("id < (SELECT max(id) FROM events) ORDER BY id")
                    .limit(i64::from(limit))
                    .text(") AS first WHERE at < ")
                    .bind(*before)
                    .first(tx.connection, |row| row.optional_number())
                    .await?;
                let Some(last) = last.flatten() else { return Ok(0) };
                Statement::new(
                    "INSERT INTO removed_events (name, last_id, before) VALUES ('feed', ",
                )
                .values([last.into(), (*before).into()])
                .text(") ON CONFLICT (name) DO UPDATE SET last_id = excluded.last_id, ")
                .text("before = CASE WHEN excluded.before > removed_events.before ")
                .text("THEN excluded.before ELSE removed_events.before END")
                .execute(tx.connection)
                .await?;
                for table in ["webhook_attempts", "webhook_deliveries"] {
                    Statement::new("DELETE FROM ")
                        .text(table)
                        .text(" WHERE webhook_id IN (SELECT id FROM webhooks) AND event_id <= ")
                        .bind(last)
                        .execute(tx.connection)
                        .await?;
                }
                Statement::new("DELETE FROM events WHERE id <= ")
                    .bind(last)
                    .execute(tx.connection)
                    .await
            })
        })
        .await
    }

    /// No event with this id or a higher one may be read yet.
    pub(crate) async fn feed_bound(&self) -> Result<i64, Error> {
        let Some(bound) = self.database().dialect.feed_bound() else { return Ok(i64::MAX) };
        let number =
            Statement::new(&bound).first(&mut *self.reader().await?, |row| row.number()).await?;
        let number = number.ok_or(Error::Defect("the feed has no bound"))?;
        Ok(number.saturating_mul(PER_NUMBER))
    }

    /// The last event that was removed, and the time before which all that were removed are.
    pub(crate) async fn removed_events(&self) -> Result<Option<(EventId, Timestamp)>, Error> {
        Statement::new("SELECT last_id, before FROM removed_events WHERE name = 'feed'")
            .first(&mut *self.reader().await?, |row| Ok((EventId::of(row.number()?), row.time()?)))
            .await
    }

    /// The last of the next events behind one that are looked at together, and how many these are.
    pub(crate) async fn window(
        &self,
        invite: Option<InviteId>,
        after: EventId,
        bound: i64,
        most: i64,
    ) -> Result<(EventId, i64), Error> {
        let mut statement =
            Statement::new("SELECT max(id), count(*) FROM (SELECT id FROM events WHERE id > ")
                .bind(after.number())
                .text(" AND id < ")
                .bind(bound);
        if let Some(invite) = invite {
            statement = statement.text(" AND subject = ").bind(invite.to_string());
        }
        let window = statement
            .text(" ORDER BY id")
            .limit(most)
            .text(") AS looked_at")
            .first(&mut *self.reader().await?, |row| Ok((row.optional_number()?, row.number()?)))
            .await?;
        let (last, count) = window.unwrap_or_default();
        Ok((last.map_or(after, EventId::of), count))
    }

    pub(crate) async fn with_invites(&self, rows: Vec<RowOfEvent>) -> Result<Vec<Event>, Error> {
        let ids = rows.iter().filter_map(|row| invite_of(row.event_type, &row.subject));
        let ids: Vec<InviteId> = ids.collect();
        let invites = self.invites_by_id(&ids).await?.invites;
        let invites: HashMap<InviteId, InviteRecord> =
            invites.into_iter().map(|invite| (invite.id, invite)).collect();
        let whole = |row: RowOfEvent| {
            let told = match invite_of(row.event_type, &row.subject) {
                None => Told::Other(serde_json::from_str(&row.data).unwrap_or_default()),
                Some(id) => match (invites.get(&id), serde_json::from_str(&row.data)) {
                    (Some(invite), Ok(state)) => {
                        let state = InviteState { updated_at: row.at, ..state };
                        Told::Invite(Box::new(InviteRecord { state, ..invite.clone() }))
                    }
                    _ => Told::Gone,
                },
            };
            let RowOfEvent { id, at, event_type, tenant, subject, previous, .. } = row;
            Event { id, event_type, at, tenant, subject, previous, told }
        };
        Ok(rows.into_iter().map(whole).collect())
    }
}

pub(crate) struct RowOfEvent {
    id: EventId,
    at: Timestamp,
    event_type: EventType,
    tenant: Option<String>,
    subject: String,
    previous: Option<Status>,
    data: String,
}

pub(crate) fn read_row(row: &mut Fields<'_>) -> Result<RowOfEvent, Error> {
    Ok(RowOfEvent {
        id: EventId::of(row.number()?),
        at: row.time()?,
        event_type: row.parsed()?,
        tenant: row.optional_string()?,
        subject: row.string()?,
        previous: row.optional_parsed()?,
        data: row.string()?,
    })
}

/// Selects the first events that meet a filter, behind `after` and up to `up_to`.
pub(crate) fn select(
    filter: &EventFilter,
    after: EventId,
    up_to: EventId,
    limit: usize,
) -> Statement<'_> {
    let mut statement = Statement::new(
        "SELECT id, at, type, tenant, subject, previous, data FROM events WHERE id > ",
    )
    .bind(after.number())
    .text(" AND id <= ")
    .bind(up_to.number());
    // A version that comes after this one may know more types.
    let types = if filter.types.is_empty() { EventType::ALL } else { &filter.types };
    let types = types.iter().map(|event_type| Value::from(event_type.as_str()));
    statement = statement.text(" AND type").one_of(types);
    statement = match (&filter.tenant, filter.of_gateway) {
        (Some(tenant), true) => {
            statement.text(" AND (tenant IS NULL OR tenant = ").bind(tenant).text(")")
        }
        (Some(tenant), false) => statement.text(" AND tenant = ").bind(tenant),
        (None, true) => statement,
        (None, false) => statement.text(" AND tenant IS NOT NULL"),
    };
    if let Some(invite) = filter.invite {
        statement = statement.text(" AND subject = ").bind(invite.to_string());
    }
    if !filter.providers.is_empty() {
        let providers = || filter.providers.iter().map(Value::from);
        statement = statement
            .text(" AND (EXISTS (SELECT 1 FROM invites WHERE invites.id = events.subject AND provider")
            .one_of(providers())
            .text(") OR (type = 'provider.state_changed' AND subject")
            .one_of(providers())
            .text("))");
    }
    for (name, value) in &filter.labels {
        statement = statement
            .text(" AND EXISTS (SELECT 1 FROM invite_labels WHERE invite_id = subject AND name = ")
            .bind(name)
            .text(" AND value = ")
            .bind(value)
            .text(")");
    }
    statement.text(" ORDER BY id").limit(i64::try_from(limit).unwrap_or(i64::MAX))
}
