//! One step of an action: some of its invites, each as it is done to one alone.

use std::{collections::HashSet, time::Duration};

use invite_core::{ActionId, ActionKind, ActionState, InviteId, Outcome, Status};
use invite_store::{
    Action, Actor, DayLimit, Error, InviteFilter, InvitePage, InviteRecord, Progress, Row,
};
use tokio::time::Instant;

use super::ActionRules;
use crate::{
    ask::{PERSON_WAITS, Result},
    error::{AcceptError, OperationError},
    operations::Withdrawal,
    shared::{Engine, catch_panic},
};

/// How many invites a step looks at.
const PAGE: u32 = 50;
/// A step begins nothing after this time, so that other actions have their turn and the progress is seen.
const STEP: Duration = Duration::from_secs(5);
/// How long a provider's rate budget is waited for, while other actions wait, too.
const WAITS: Duration = Duration::from_secs(1);
const KEY_ENDED: &str = "the key that asked for it is revoked or has expired";

/// How a step ended.
pub(super) enum Stepped {
    /// The next one can be made at once.
    GoesOn,
    /// The next one is better made later.
    HeldUp {
        /// Whether anything was done before.
        got_further: bool,
    },
    /// The action has ended.
    Ended,
}

/// What became of one invite of a step.
enum Done {
    Succeeded,
    Failed(&'static str),
    HeldUp(&'static str),
}

/// Goes on with an action by some invites.
pub(super) async fn step(
    engine: &Engine,
    id: ActionId,
    rules: ActionRules,
) -> Result<Stepped, Error> {
    let Some((action, _)) = find_running(engine, id, rules).await? else {
        return Ok(Stepped::Ended);
    };
    let mut progress = Progress { held_up_by: None, ..action.progress.clone() };
    let is_completed = match catch_panic(go_on(engine, &action, rules, &mut progress)).await {
        Ok(is_completed) => is_completed,
        Err(error) => {
            tracing::error!(action.id = %id, %error, "a step of an action failed; trying again");
            progress.held_up_by = Some((rules.name_problem)(error.into()).to_owned());
            false
        }
    };
    let is_held_up = progress.held_up_by.is_some();
    let got_further = progress.done() > action.progress.done();
    // What was done before an error counts.
    engine.shared.store.advance_action(&action, progress, is_completed).await?;
    Ok(match (is_completed, is_held_up) {
        (true, _) => Stepped::Ended,
        (false, true) => Stepped::HeldUp { got_further },
        (false, false) => Stepped::GoesOn,
    })
}

/// The action, while it runs and its key may ask for it, with the limits that count invites which are queued again, as they
/// are now. One whose key may not any more is cancelled.
async fn find_running(
    engine: &Engine,
    id: ActionId,
    rules: ActionRules,
) -> Result<Option<(Action, Vec<DayLimit>)>, Error> {
    let store = &engine.shared.store;
    let action = store.action(id).await?.filter(|action| action.state == ActionState::Running);
    let Some(action) = action else { return Ok(None) };
    let now = engine.shared.clock.now();
    let mut lineage = Vec::from_iter(store.key(action.key).await?);
    if let Some(key) = lineage.first() {
        let ancestors = store.key_ancestors(key).await?;
        lineage.extend(ancestors);
    }
    let because = match lineage.first() {
        Some(key) if lineage.iter().all(|key| key.is_good(now)) => (rules.why_not)(key, &action),
        _ => Some(KEY_ENDED),
    };
    if let Some(because) = because {
        let actor = Actor { name: action.actor.clone(), source: "gateway".to_owned() };
        store.cancel_action(id, because, &actor).await?;
        return Ok(None);
    }
    Ok(Some((action, DayLimit::of(&lineage))))
}

/// Does to the next invites what is to be done. Returns whether it has come to all.
async fn go_on(
    engine: &Engine,
    action: &Action,
    rules: ActionRules,
    progress: &mut Progress,
) -> Result<bool, Error> {
    let shared = &engine.shared;
    // Others may match by now, and it is done to no more than were confirmed.
    let left = action.matched.saturating_sub(progress.done());
    let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
    if limit == 0 {
        return Ok(true);
    }
    let until = Instant::now() + STEP;
    let filter = InviteFilter::from(action.filter.clone());
    let page = shared.store.invites(&filter, Some(progress.place.clone()), limit).await?;
    let is_last = page.next.is_none() || u64::from(limit) == left;
    let withdrawn = match action.kind {
        ActionKind::Withdraw => withdraw_queued(engine, &page).await?,
        _ => HashSet::new(),
    };
    // These match no more wherever the step ends, so they count now.
    progress.succeeded += withdrawn.len() as u64;
    for (id, row) in newest_first(page) {
        if row.as_ref().is_ok_and(|invite| withdrawn.contains(&invite.id)) {
            progress.place = id;
            continue;
        }
        if Instant::now() >= until || shared.stopping.is_cancelled() {
            return Ok(false);
        }
        let running = find_running(engine, action.id, rules).await?;
        let Some((_, day_limits)) = running else { return Ok(false) };
        match act_on(engine, action, row, day_limits, rules).await? {
            Done::Succeeded => progress.succeeded += 1,
            Done::Failed(code) => *progress.failed.entry(code.to_owned()).or_default() += 1,
            Done::HeldUp(code) => {
                progress.held_up_by = Some(code.to_owned());
                return Ok(false);
            }
        }
        progress.place = id;
    }
    Ok(is_last)
}

/// Withdraws the queued invites of a page together, so that none of them is sent while the others are withdrawn; returns
/// which it withdrew.
async fn withdraw_queued(engine: &Engine, page: &InvitePage) -> Result<HashSet<InviteId>, Error> {
    let is_queued = |invite: &&InviteRecord| invite.state.status() == Status::Queued;
    let queued: Vec<InviteId> =
        page.invites.iter().filter(is_queued).map(|invite| invite.id).collect();
    if queued.is_empty() {
        return Ok(HashSet::new());
    }
    let withdrawn = engine.withdraw_queued(&queued).await?.into_iter();
    Ok(withdrawn.filter(|(_, is_written)| *is_written).map(|(invite, _)| invite.id).collect())
}

async fn act_on(
    engine: &Engine,
    action: &Action,
    row: Row,
    day_limits: Vec<DayLimit>,
    rules: ActionRules,
) -> Result<Done, Error> {
    let name = rules.name_problem;
    let done = match &row {
        Ok(invite) => act(engine, action, invite, day_limits).await,
        Err(unreadable) => Err(Error::Corrupt { what: unreadable.column.clone() }.into()),
    };
    match done {
        Ok(_) => Ok(Done::Succeeded),
        // Another document went live, which this replica takes over soon.
        Err(OperationError::Store(Error::Outdated)) => {
            Ok(Done::HeldUp(name(AcceptError::Outdated.into())))
        }
        Err(OperationError::Store(error)) if !matches!(error, Error::Corrupt { .. }) => Err(error),
        Err(error) => match is_held_up(&error) || is_being_sent(engine, &row, &error).await? {
            true => Ok(Done::HeldUp(name(error))),
            false => Ok(Done::Failed(name(error))),
        },
    }
}

async fn act(
    engine: &Engine,
    action: &Action,
    invite: &InviteRecord,
    day_limits: Vec<DayLimit>,
) -> Result<InviteRecord> {
    let settled_as = action.settled_as.unwrap_or(Status::Failed);
    let asks_provider = match action.kind {
        ActionKind::Withdraw => {
            matches!(engine.how_to_withdraw(invite), Ok(Withdrawal::AtProvider(_)))
        }
        ActionKind::Refresh => true,
        ActionKind::Settle => settled_as == Status::Pending && invite.state.provider_ref.is_none(),
        ActionKind::Retry => false,
    };
    if asks_provider && let Some(provider) = &invite.provider {
        engine.shared.lane(provider).yield_to_creates().await;
    }
    match action.kind {
        ActionKind::Withdraw => engine.revoke_within(invite.id, false, WAITS).await,
        // Its look-up is waited for, too, which takes longer.
        ActionKind::Refresh if invite.state.status() == Status::Unknown => {
            engine.ask(invite.id, PERSON_WAITS).await
        }
        ActionKind::Refresh => engine.ask(invite.id, WAITS).await,
        ActionKind::Settle => engine.settle_unknown(invite, settled_as).await,
        ActionKind::Retry => engine.retry(invite.id, false, day_limits).await,
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

/// Whether it could not be done because the invite is just being sent, so that it can soon. A call that the provider took and
/// still works on may take for ever.
async fn is_being_sent(engine: &Engine, row: &Row, error: &OperationError) -> Result<bool, Error> {
    let (Ok(invite), OperationError::NotSettled { status: Status::Sending }) = (row, error) else {
        return Ok(false);
    };
    let now = engine.shared.store.invite(invite.id).await?;
    Ok(now.is_some_and(|it| {
        it.state.status() == Status::Sending && it.state.next_attempt_at().is_none()
    }))
}

/// The rows of a page by their ids, with those that cannot be read in their places.
fn newest_first(page: InvitePage) -> Vec<(String, Row)> {
    let invites = page.invites.into_iter().map(|invite| (invite.id.to_string(), Ok(invite)));
    let unreadable = page.unreadable.into_iter().map(|it| (it.id.clone(), Err(Box::new(it))));
    let mut rows: Vec<_> = invites.chain(unreadable).collect();
    rows.sort_by(|(one, _), (other, _)| other.cmp(one));
    rows
}
