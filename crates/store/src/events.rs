//! Writing events, in the transaction of the change that each tells of. `feed` reads them.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use invite_core::{EventType, InviteId, Status};
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    Error, InviteRecord, InviteState,
    connection::Connection,
    dialect::{Dialect, PER_NUMBER},
    statement::{Statement, chunks},
    values::Value,
};

const INSERT: &str = "INSERT INTO events (id, at, type, tenant, subject, previous, data) SELECT ";

struct NewEvent {
    event_type: EventType,
    /// `None`: for administrators.
    tenant: Option<String>,
    /// The id of the invite or the batch, or the name of what else it tells of.
    subject: String,
    previous: Option<Status>,
    /// The state of the invite, or what else there is to tell, as JSON.
    data: String,
}

/// What the process knows of the feed without reading it.
#[derive(Default)]
pub(crate) struct Signal {
    committed: watch::Sender<()>,
    with_sending: AtomicBool,
    look: Mutex<Weak<Look>>,
}

/// Has a task look for what other replicas have written, until nobody holds this any more.
pub(crate) struct Look(AbortHandle);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Signal {
    /// Events were committed here.
    pub fn tell(&self) {
        self.committed.send_replace(());
    }

    /// Changes whenever events are committed here.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.committed.subscribe()
    }

    /// How many watch.
    pub fn watching(&self) -> usize {
        self.committed.receiver_count()
    }

    /// The one task that looks for all; `start` makes it if there is none.
    pub fn look<F: Future<Output = ()> + Send + 'static>(
        &self,
        start: impl FnOnce() -> F,
    ) -> Arc<Look> {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Look(tokio::spawn(start()).abort_handle()));
            *look = Arc::downgrade(&new);
            new
        })
    }

    pub fn with_sending(&self) -> bool {
        self.with_sending.load(Ordering::Relaxed)
    }

    pub fn set_with_sending(&self) {
        self.with_sending.store(true, Ordering::Relaxed);
    }
}

/// The events of one transaction, in the order of what they tell of.
pub(crate) struct NewEvents {
    events: Vec<NewEvent>,
    /// Whether there is one when a call begins.
    with_sending: bool,
}

impl NewEvents {
    pub fn new(with_sending: bool) -> Self {
        Self { events: Vec::new(), with_sending }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// An invite was stored.
    pub fn accepted(&mut self, invite: &InviteRecord) {
        self.add(EventType::of(invite.state.status()), invite, None, &invite.state);
    }

    /// An invite gets this state.
    pub fn changed(&mut self, invite: &InviteRecord, state: &InviteState) {
        let (before, after) = (invite.state.status(), state.status());
        let is_twice = state.duplicate_effect && !invite.state.duplicate_effect;
        if before != after && (after != Status::Sending || self.with_sending) {
            self.add(EventType::of(after), invite, Some(before), state);
        }
        if is_twice {
            self.add(EventType::InviteDuplicateEffect, invite, Some(after), state);
        }
        if before == after && !is_twice && !state.looks_like(&invite.state) {
            self.updated(invite, state);
        }
    }

    /// An invite reads otherwise than before, and its status is the same.
    pub fn updated(&mut self, invite: &InviteRecord, state: &InviteState) {
        self.add(EventType::InviteUpdated, invite, Some(state.status()), state);
    }

    /// Takes out what may tell of the people of these invites.
    pub fn blank(&mut self, invites: &[String]) {
        for event in self.events.iter_mut().filter(|event| invites.contains(&event.subject)) {
            event.data = bare(&event.data);
        }
    }

    fn add(
        &mut self,
        event_type: EventType,
        invite: &InviteRecord,
        previous: Option<Status>,
        state: &InviteState,
    ) {
        self.events.push(NewEvent {
            event_type,
            tenant: Some(invite.tenant.clone()),
            subject: invite.id.to_string(),
            previous,
            data: text(state),
        });
    }

    /// An invite whose row cannot be read was withdrawn.
    pub fn withdrawn(&mut self, tenant: Option<&str>, invite: &str, previous: Option<Status>) {
        self.tell(EventType::InviteRevoked, tenant, invite, &Json::Null);
        self.events.iter_mut().last().into_iter().for_each(|event| event.previous = previous);
    }

    /// Something that is no invite changed.
    pub fn tell(
        &mut self,
        event_type: EventType,
        tenant: Option<&str>,
        subject: impl Into<String>,
        data: &Json,
    ) {
        let (tenant, subject) = (tenant.map(str::to_owned), subject.into());
        self.events.push(NewEvent {
            event_type,
            tenant,
            subject,
            previous: None,
            data: data.to_string(),
        });
    }

    /// Writes them. It comes last in the transaction, which has every row locked then that it changes: of two events of one
    /// invite the later has the higher id.
    pub async fn write(
        &self,
        dialect: Dialect,
        connection: &mut Connection,
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in chunks(&self.events) {
            let rows = chunk.iter().zip(0_i64..).map(|(event, place)| {
                [
                    place.into(),
                    event.event_type.as_str().into(),
                    event.tenant.as_deref().into(),
                    (&event.subject).into(),
                    event.previous.map(Status::as_str).into(),
                    (&event.data).into(),
                ]
            });
            let number = dialect.next_event_number();
            let (statement, from) = match dialect {
                // SQLite would put all rows aside first if it read what it writes to.
                Dialect::Sqlite => {
                    let number = Statement::new(&number).first(connection, |row| row.number());
                    let first = number.await?.unwrap_or_default() * PER_NUMBER;
                    (Statement::new(INSERT).bind(first), " FROM ")
                }
                Dialect::Postgres => {
                    let next = Statement::new("WITH next (number) AS MATERIALIZED (").text(&number);
                    let insert = next.text(") ").text(INSERT).text("next.number * ");
                    (insert.bind(PER_NUMBER), " FROM next, ")
                }
            };
            statement
                .text(" + v.column1, ")
                .bind(now)
                .text(", v.column2, v.column3, v.column4, v.column5, v.column6")
                .text(from)
                .rows(rows)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// Takes out of the events of these invites what may tell of a person.
pub(crate) async fn blank_events(
    connection: &mut Connection,
    invites: &[String],
) -> Result<(), Error> {
    for chunk in chunks(invites) {
        Statement::new(
            "UPDATE webhook_attempts SET reply = NULL, failure = CASE WHEN failure IS NOT NULL THEN 'it failed' END \
             WHERE webhook_id IN (SELECT webhooks.id FROM webhooks JOIN invites ON invites.tenant = webhooks.tenant \
             WHERE invites.id",
        )
        .one_of(chunk.iter().map(Value::from))
        .text(") AND event_id IN (SELECT id FROM events WHERE subject")
        .one_of(chunk.iter().map(Value::from))
        .text(")")
        .execute(connection)
        .await?;
        let kept = Statement::new("SELECT id, data FROM events WHERE subject")
            .one_of(chunk.iter().map(Value::from))
            .all(connection, |row| Ok((row.number()?, bare(row.text_at(1).unwrap_or_default()))))
            .await?;
        for chunk in chunks(&kept) {
            let rows = chunk.iter().map(|(id, bare)| [Value::from(*id), bare.into()]);
            Statement::new("UPDATE events SET data = v.column2 FROM ")
                .rows(rows)
                .text(" WHERE events.id = v.column1")
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

/// A state without what may tell of a person. Of one that cannot be read nothing is left.
fn bare(data: &str) -> String {
    let state: Option<InviteState> = serde_json::from_str(data).ok();
    state.map_or_else(|| "{}".to_owned(), |state| text(&state.bare()))
}

fn text(state: &InviteState) -> String {
    serde_json::to_string(state).expect("texts and maps of texts are always JSON")
}

/// The invite that an event tells of.
pub(crate) fn invite_of(event_type: EventType, subject: &str) -> Option<InviteId> {
    subject.parse().ok().filter(|_| event_type.is_of_invite())
}
