//! Actions: what is done, step by step, to all invites that a filter matches. What is done to one is decided elsewhere.

mod filter;

use std::collections::BTreeMap;

use invite_core::{ActionId, ActionKind, ActionState, InviteId, KeyId, Status};
use jiff::Timestamp;
use serde_json::json as json_of;

use crate::{
    Actor, Error, Store,
    actor::NewAudit,
    chain,
    dialect::AUDIT_LOCK,
    rows::json,
    statement::{Fields, Statement},
    values::Value,
    writer::Tx,
};

pub use filter::ActionFilter;

/// How many actions of a tenant that have ended are kept.
const KEPT: i64 = 100;
/// How many running ones are read at once.
const AT_ONCE: i64 = 100;
const COLUMNS: &str = "id, tenant, key_id, actor, kind, settled_as, filter, failed, state, \
     cancelled_because, held_up_by, matched, succeeded, place, created_at, ended_at";

/// Something that is done to all invites that a filter matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    #[expect(missing_docs, reason = "its name says all")]
    pub id: ActionId,
    /// Of the key that asked for it.
    pub tenant: String,
    /// The key that asked for it.
    pub key: KeyId,
    /// The same as the record of changes names it.
    pub actor: String,
    /// What is done.
    pub kind: ActionKind,
    /// What a person found of unknown ones.
    pub settled_as: Option<Status>,
    /// To which.
    pub filter: ActionFilter,
    /// How far it has come.
    pub state: ActionState,
    /// Why it was ended before it had come to all.
    pub cancelled_because: Option<String>,
    /// How many invites the filter matched at first.
    pub matched: u64,
    /// What came of it so far.
    pub progress: Progress,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was completed or cancelled.
    pub ended_at: Option<Timestamp>,
}

/// How far an action has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many invites it was done to.
    pub succeeded: u64,
    /// To how many it could not be done, by the code of the problem.
    pub failed: BTreeMap<String, u64>,
    /// The code of the problem for which the next invite has to wait.
    pub held_up_by: Option<String>,
    /// The invites with this id and later ones have been looked at.
    pub place: String,
}

impl Progress {
    /// Nothing has been done yet, and nothing is done to invites that are accepted later.
    pub fn new() -> Self {
        let place = InviteId::generate().to_string();
        Self { succeeded: 0, failed: BTreeMap::new(), held_up_by: None, place }
    }

    /// Whether no step was counted between the two.
    fn is_as_far_as(&self, other: &Self) -> bool {
        (&self.place, self.succeeded, &self.failed)
            == (&other.place, other.succeeded, &other.failed)
    }

    /// To how many invites it was done, or could not be.
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed.values().sum::<u64>()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Action {
    fn actor(&self) -> Actor {
        Actor { name: self.actor.clone(), source: "api".to_owned() }
    }

    /// What the record of changes says of what it is for: of labels, which may tell who somebody is, only the names.
    fn recorded(&self) -> serde_json::Value {
        let filter = &self.filter;
        let labels: Vec<_> = filter.labels.iter().map(|(name, _)| name).collect();
        json_of!({
            "action": self.kind, "status": self.settled_as, "matched": self.matched, "tenant": filter.tenant,
            "batch_id": filter.batch_id, "providers": filter.providers, "statuses": filter.statuses,
            "error_codes": filter.error_codes, "labels": labels, "created_after": filter.created_after,
            "created_before": filter.created_before, "updated_after": filter.updated_after,
            "as_of": filter.in_doubt_before,
        })
    }
}

impl Store {
    /// Stores a new action, with its entry in the record of changes; false if its tenant has `most` that run.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn add_action(&self, action: &Action, most: i64) -> Result<bool, Error> {
        self.write(vec![AUDIT_LOCK], action.clone(), move |mut tx, action| {
            Box::pin(async move {
                let running = Statement::new("SELECT count(*) FROM invite_actions WHERE tenant = ")
                    .bind(&action.tenant)
                    .text(" AND state = 'running'")
                    .first(tx.connection, |row| row.number())
                    .await?;
                if running.is_some_and(|running| running >= most) {
                    return Ok(false);
                }
                Statement::new("INSERT INTO invite_actions (")
                    .text(COLUMNS)
                    .text(") VALUES (")
                    .values(values(action))
                    .text(")")
                    .execute(tx.connection)
                    .await?;
                remove_old(&mut tx, &action.tenant).await?;
                let id = action.id.to_string();
                let after = Some(action.recorded());
                let audit = NewAudit { after, ..NewAudit::new(action.actor(), "action.start", id) };
                chain::record(&mut tx, &audit).await?;
                Ok(true)
            })
        })
        .await
    }

    /// One action.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn action(&self, id: ActionId) -> Result<Option<Action>, Error> {
        let statement = select().text(" WHERE id = ").bind(id.to_string());
        statement.first(&mut *self.reader().await?, read).await
    }

    /// The ids of those that run, oldest first: the first hundred, or the hundred behind one of them, and whether there may
    /// be more.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn running_actions(
        &self,
        after: Option<ActionId>,
    ) -> Result<(Vec<ActionId>, bool), Error> {
        let ids = Statement::new("SELECT id FROM invite_actions WHERE state = 'running' AND id > ")
            .bind(after.map_or_else(String::new, |id| id.to_string()))
            .text(" ORDER BY id")
            .limit(AT_ONCE)
            .all(&mut *self.reader().await?, |row| row.parsed())
            .await?;
        let may_be_more = i64::try_from(ids.len()).is_ok_and(|count| count == AT_ONCE);
        Ok((ids, may_be_more))
    }

    /// Stores how far an action has come since it was read, and that it has come to all invites, if so, with an entry in the
    /// record of changes. Of one that was cancelled meanwhile it is stored, too, what was done to invites by then. Nothing is
    /// stored if another replica went on with it.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn advance_action(
        &self,
        before: &Action,
        progress: Progress,
        is_completed: bool,
    ) -> Result<(), Error> {
        let data = (before.id, before.progress.clone(), progress);
        let locks = if is_completed { vec![AUDIT_LOCK] } else { Vec::new() };
        self.write(locks, data, move |mut tx, (id, before, progress)| {
            Box::pin(async move {
                let Some(mut action) = lock(&mut tx, *id).await? else { return Ok(()) };
                if action.state == ActionState::Completed || !action.progress.is_as_far_as(before) {
                    return Ok(());
                }
                let is_cancelled = action.state == ActionState::Cancelled;
                action.progress = progress.clone();
                if is_cancelled {
                    action.progress.held_up_by = None;
                }
                if is_cancelled || !is_completed {
                    return store(&mut tx, &action).await;
                }
                action.state = ActionState::Completed;
                let actor = action.actor();
                end(&mut tx, action, actor).await.map(drop)
            })
        })
        .await
    }

    /// Removes those that ended before a time.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_actions(&self, before: Timestamp) -> Result<(), Error> {
        self.write(Vec::new(), before, |tx, before| {
            Box::pin(async move {
                Statement::new("DELETE FROM invite_actions WHERE ended_at < ")
                    .bind(*before)
                    .execute(tx.connection)
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Ends a running action before it has come to all invites, with an entry in the record of changes. Returns it as it is now;
    /// `None` if there is none.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn cancel_action(
        &self,
        id: ActionId,
        because: &str,
        actor: &Actor,
    ) -> Result<Option<Action>, Error> {
        let data = (because.to_owned(), actor.clone());
        self.write(vec![AUDIT_LOCK], data, move |mut tx, (because, actor)| {
            Box::pin(async move {
                let Some(mut action) = lock(&mut tx, id).await? else { return Ok(None) };
                if action.state != ActionState::Running {
                    return Ok(Some(action));
                }
                action.state = ActionState::Cancelled;
                action.cancelled_because = Some(because.clone());
                end(&mut tx, action, actor.clone()).await.map(Some)
            })
        })
        .await
    }
}

async fn lock(tx: &mut Tx<'_>, id: ActionId) -> Result<Option<Action>, Error> {
    let statement = select().text(" WHERE id = ").bind(id.to_string());
    statement.text(tx.dialect.for_update()).first(tx.connection, read).await
}

/// Writes an action that has ended, and records that. Returns it as it is now.
async fn end(tx: &mut Tx<'_>, mut action: Action, actor: Actor) -> Result<Action, Error> {
    action.ended_at = Some(tx.now);
    action.progress.held_up_by = None;
    // They may tell who somebody is, and would outlive their invites here.
    action.filter.labels.iter_mut().for_each(|(_, value)| value.clear());
    store(tx, &action).await?;
    let Progress { succeeded, failed, .. } = &action.progress;
    let after = json_of!({
        "action": action.kind, "state": action.state, "matched": action.matched, "succeeded": succeeded, "failed": failed,
    });
    let audit = NewAudit::new(actor, "action.end", action.id.to_string());
    let note = action.cancelled_because.clone();
    chain::record(tx, &NewAudit { after: Some(after), note, ..audit }).await?;
    Ok(action)
}

/// Writes what may change of an action.
async fn store(tx: &mut Tx<'_>, action: &Action) -> Result<(), Error> {
    let progress = &action.progress;
    Statement::with(
        "UPDATE invite_actions SET filter = ?, state = ?, cancelled_because = ?, held_up_by = ?, succeeded = ?, failed = ?, \
         place = ?, ended_at = ? WHERE id = ?",
        [
            json(&action.filter),
            action.state.as_str().into(),
            action.cancelled_because.as_deref().into(),
            progress.held_up_by.as_deref().into(),
            count(progress.succeeded),
            json(&progress.failed),
            progress.place.as_str().into(),
            action.ended_at.into(),
            action.id.to_string().into(),
        ],
    )
    .execute(tx.connection)
    .await
    .map(drop)
}

/// Removes those of a tenant that ended before the newest that are kept.
async fn remove_old(tx: &mut Tx<'_>, tenant: &str) -> Result<(), Error> {
    let of_tenant =
        " FROM invite_actions WHERE tenant = ? AND state <> 'running' ORDER BY id DESC LIMIT";
    Statement::with(
        &format!(
            "DELETE FROM invite_actions WHERE tenant = ? AND state <> 'running' AND id NOT IN \
             (SELECT id{of_tenant} {KEPT})"
        ),
        [tenant.into(), tenant.into()],
    )
    .execute(tx.connection)
    .await
    .map(drop)
}

fn count(number: u64) -> Value<'static> {
    Value::Number(i64::try_from(number).ok())
}

fn values(action: &Action) -> [Value<'_>; 16] {
    let progress = &action.progress;
    [
        action.id.to_string().into(),
        (&action.tenant).into(),
        action.key.to_string().into(),
        (&action.actor).into(),
        action.kind.as_str().into(),
        action.settled_as.map(Status::as_str).into(),
        json(&action.filter),
        json(&progress.failed),
        action.state.as_str().into(),
        action.cancelled_because.as_deref().into(),
        progress.held_up_by.as_deref().into(),
        count(action.matched),
        count(progress.succeeded),
        progress.place.as_str().into(),
        action.created_at.into(),
        action.ended_at.into(),
    ]
}

fn select() -> Statement<'static> {
    Statement::new("SELECT ").text(COLUMNS).text(" FROM invite_actions")
}

fn read(row: &mut Fields<'_>) -> Result<Action, Error> {
    let (id, tenant, key, actor) = (row.parsed()?, row.string()?, row.parsed()?, row.string()?);
    let (kind, settled_as) = (row.parsed()?, row.optional_parsed()?);
    let (filter, failed) = (row.json()?, row.json()?);
    let (state, cancelled_because) = (row.parsed()?, row.optional_string()?);
    let (held_up_by, matched, succeeded) = (row.optional_string()?, row.count()?, row.count()?);
    let progress = Progress { succeeded, failed, held_up_by, place: row.string()? };
    Ok(Action {
        id,
        tenant,
        key,
        actor,
        kind,
        settled_as,
        filter,
        state,
        cancelled_because,
        matched,
        progress,
        created_at: row.time()?,
        ended_at: row.optional_time()?,
    })
}
