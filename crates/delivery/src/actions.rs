//! Goes on with actions: what is done to all invites that a filter matches, each as it is done to one alone. One replica at a
//! time does so. Step by step: `docs/loops/actions.md`.

use std::{sync::Arc, time::Duration};

use invite_core::{ActionKind, Outcome, Status};
use invite_store::{Action, Actor, InviteFilter, InvitePage, InviteRecord, Progress, Row};
use tokio::time::Instant;

use crate::{
    ask::Result,
    error::{AcceptError, OperationError},
    shared::{Engine, catch_panic},
    tasks::sole::{SHORTEST_REST, Sole},
};

/// How often it is looked for actions that were asked for, and for those that are held up.
const EVERY: Duration = Duration::from_secs(1);
const LANE: &str = "#actions";
/// Longer than most steps. If one takes longer, another replica may make it, too: that is done twice which changes nothing
/// the second time, and counted once.
const LEASE: Duration = Duration::from_secs(10);
/// How many invites a step looks at.
const PAGE: u32 = 50;
/// A step begins nothing after this time, so that other actions have their turn and the progress is seen.
const STEP: Duration = Duration::from_secs(5);
const KEY_ENDED: &str = "the key that asked for it is revoked or has expired";

/// Names the problem of an error, as it is counted.
pub type NameProblem = dyn Fn(OperationError) -> &'static str + Send + Sync;

impl Engine {
    /// Starts to go on with actions, until shutdown.
    pub fn start_actions(&self, name: Arc<NameProblem>) {
        // They belong to no request's trace.
        let engine = Self { shared: self.shared.clone(), trace: None };
        self.shared.tasks.spawn(run(engine, name));
    }

    async fn act(&self, action: &Action, invite: &InviteRecord) -> Result<InviteRecord> {
        if let Some(provider) = &invite.provider {
            self.shared.lane(provider).yield_to_creates().await;
        }
        match (action.kind, action.settled_as) {
            (ActionKind::Withdraw, _) => self.revoke(invite.id, false).await,
            (ActionKind::Refresh, _) => self.refresh(invite.id).await,
            (ActionKind::Retry, _) => self.retry(invite.id, false, action.day_limits.clone()).await,
            (ActionKind::Settle, to) => {
                self.settle_unknown(invite, to.unwrap_or(Status::Failed)).await
            }
        }
    }
}

async fn run(engine: Engine, name: Arc<NameProblem>) {
    let shared = &engine.shared;
    let mut sole = Sole::new(LANE, LEASE);
    while !shared.stopping.is_cancelled() {
        match catch_panic(round(&engine, &mut sole, &*name)).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot go on with actions; trying again"),
        }
        shared.pause(EVERY).await;
    }
    sole.give_back(shared).await;
}

/// Makes a step of each action that runs. Returns whether one of them can go on at once.
async fn round(
    engine: &Engine,
    sole: &mut Sole,
    name: &NameProblem,
) -> Result<bool, invite_store::Error> {
    let shared = &engine.shared;
    let mut goes_on = false;
    for action in shared.store.running_actions().await? {
        if shared.stopping.is_cancelled() || !sole.has_lease(shared).await? {
            return Ok(false);
        }
        match step(engine, &action, name).await {
            Ok(can_go_on) => goes_on |= can_go_on,
            // The others go on.
            Err(error) => {
                tracing::error!(action.id = %action.id, %error, "a step of an action failed; trying again");
            }
        }
        // Most of a step is waiting for providers, and creates went first: writers have their turn.
        shared.pause(SHORTEST_REST).await;
    }
    Ok(goes_on)
}

/// What became of one invite of a step.
enum Done {
    Succeeded,
    Failed(&'static str),
    HeldUp(&'static str),
}

/// Goes on with an action by some invites. Returns whether it can go on at once.
async fn step(
    engine: &Engine,
    action: &Action,
    name: &NameProblem,
) -> Result<bool, invite_store::Error> {
    let store = &engine.shared.store;
    if !has_good_key(engine, action).await? {
        let actor = Actor { name: action.actor.clone(), source: "gateway".to_owned() };
        store.cancel_action(action.id, KEY_ENDED, &actor).await?;
        return Ok(false);
    }
    let until = Instant::now() + STEP;
    let filter = InviteFilter::from(action.filter.clone());
    let page = store.invites(&filter, Some(action.progress.place.clone()), PAGE).await?;
    let mut progress = Progress { held_up_by: None, ..action.progress.clone() };
    let mut is_completed = Ok(page.next.is_none());
    for (id, row) in newest_first(page) {
        if Instant::now() >= until || engine.shared.stopping.is_cancelled() {
            is_completed = Ok(false);
            break;
        }
        match act_on(engine, action, row, name).await {
            Ok(Done::Succeeded) => progress.succeeded += 1,
            Ok(Done::Failed(code)) => *progress.failed.entry(code.to_owned()).or_default() += 1,
            Ok(Done::HeldUp(code)) => {
                progress.held_up_by = Some(code.to_owned());
                is_completed = Ok(false);
                break;
            }
            Err(error) => {
                is_completed = Err(error);
                break;
            }
        }
        progress.place = id;
    }
    let is_held_up = progress.held_up_by.is_some();
    // What was done before an error counts.
    store.advance_action(action, progress, matches!(is_completed, Ok(true))).await?;
    Ok(!is_completed? && !is_held_up)
}

async fn act_on(
    engine: &Engine,
    action: &Action,
    row: Row,
    name: &NameProblem,
) -> Result<Done, invite_store::Error> {
    let done = match row {
        Ok(invite) => engine.act(action, &invite).await,
        Err(unreadable) => Err(invite_store::Error::Corrupt { what: unreadable.column }.into()),
    };
    match done {
        Ok(_) => Ok(Done::Succeeded),
        Err(OperationError::Store(error))
            if !matches!(error, invite_store::Error::Corrupt { .. }) =>
        {
            Err(error)
        }
        Err(error) if is_held_up(&error) => Ok(Done::HeldUp(name(error))),
        Err(error) => Ok(Done::Failed(name(error))),
    }
}

/// Whether it need only be tried again for this to go.
fn is_held_up(error: &OperationError) -> bool {
    match error {
        OperationError::Busy { .. } | OperationError::LanePaused { .. } => true,
        OperationError::Provider { error, .. } => error.outcome == Outcome::Throttled,
        OperationError::NoRoom(error) => {
            !matches!(error, AcceptError::QuotaExceeded { .. } | AcceptError::DayExhausted { .. })
        }
        _ => false,
    }
}

/// Whether the key that asked for the action may still ask for anything.
async fn has_good_key(engine: &Engine, action: &Action) -> Result<bool, invite_store::Error> {
    let store = &engine.shared.store;
    let Some(key) = store.key(action.key).await? else { return Ok(false) };
    let ancestors = store.key_ancestors(&key).await?;
    let now = engine.shared.clock.now();
    Ok(key.is_good(now) && ancestors.iter().all(|ancestor| ancestor.is_good(now)))
}

/// The rows of a page by their ids, with those that cannot be read in their places.
fn newest_first(page: InvitePage) -> Vec<(String, Row)> {
    let invites = page.invites.into_iter().map(|invite| (invite.id.to_string(), Ok(invite)));
    let unreadable = page.unreadable.into_iter().map(|it| (it.id.clone(), Err(Box::new(it))));
    let mut rows: Vec<_> = invites.chain(unreadable).collect();
    rows.sort_by(|(one, _), (other, _)| other.cmp(one));
    rows
}
