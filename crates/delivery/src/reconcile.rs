//! Finding out what became of calls whose outcome is unknown.
//!
//! Beside each lane of creates runs this one: it looks up what is in doubt, one destination at a
//! time, or repeats the frozen bytes where the provider takes equal bytes as one call. What an answer
//! means for an invite is decided in [`crate::transition::look`].

mod approval;
mod by_word;
mod case;
mod record;
mod search;
mod second_effects;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::try_join_all;
use invite_config::Provider;
use invite_core::{
    Cause, Destination, Doubt, Outcome, PreparedCall, ProviderError, Stopwatch, http::CallContext,
    sabotage::crash_point,
};
use invite_store::{Change, InviteRecord};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    attempt,
    engine::{Inner, contain},
    fault, judge,
    lane::{Event, Lane, until},
    operation::outcome,
    transition::{self, Verdict},
};

pub(crate) use second_effects::find_second_effects;

use case::{Case, gather, leave_to_people};
use record::{Answer, record};
use search::{refs, search, unsaid, verdicts};

pub(crate) use search::{describe, question};

/// How long equal bytes are surely taken as one call: the provider's window is an hour.
const REPEAT_FOR: Duration = Duration::from_secs(50 * 60);
/// How an attempt ended whose effect was not known.
const UNKNOWN: &str = Outcome::Unknown.as_str();
/// How one ended that did what it was for, as far as was told.
const SUCCEEDED: &str = "succeeded";
/// Invites looked up at once.
const AT_ONCE: u32 = 500;

/// Runs until shutdown.
pub(crate) async fn run(engine: Arc<Inner>, lane: Arc<Lane>) {
    while !engine.stopping.is_cancelled() {
        let pause = match contain(step(&engine, &lane)).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(provider.name = lane.name, %error, "look-ups cannot read or write the store");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = lane.doubt.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = engine.stopping.cancelled() => {}
        }
    }
}

/// Looks up what is due at one destination; says how long to wait then.
async fn step(engine: &Arc<Inner>, lane: &Arc<Lane>) -> Result<Duration, invite_store::Error> {
    let idle = lane.idle(engine);
    let document = engine.live.current();
    let Some(provider) = document.provider(&lane.name).cloned() else { return Ok(idle) };
    if lane.hold(engine).await?.is_none() {
        return Ok(idle);
    }
    let now = engine.clock.now();
    let (wait, closed) = lane.with_state(|state| {
        state.follow(provider.adapter_since, provider.account_since, now);
        (state.look_wait(now), state.closed(now, true))
    });
    let opens = closed.values().min().copied().unwrap_or(idle).min(idle);
    let closed: Vec<Destination> = closed.into_keys().collect();
    let Some(next) = engine.store.next_lookup(&lane.name, &closed).await? else {
        return Ok(opens);
    };
    let left = until(now, next).max(wait.unwrap_or_default());
    if !left.is_zero() {
        return Ok(left.min(opens));
    }
    let due = engine.store.doubtful(&lane.name, &closed, now, AT_ONCE).await?;
    let Some(destination) = due.first().and_then(|invite| invite.destination.clone()) else {
        return Ok(opens);
    };
    // A trial of the lane's own may have begun the next pause meanwhile.
    let only_one = match lane.with_state(|state| state.may_look(&destination, now)) {
        Ok(only_one) => only_one,
        Err(left) => return Ok(left.min(idle)),
    };
    let (cases, lost) = gather(engine, &destination, due).await?;
    if !lost.is_empty() {
        leave_to_people(engine, lane, lost).await?;
    }
    if cases.is_empty() {
        return Ok(Duration::ZERO);
    }
    let is_repeatable = |case: &Case| is_repeatable(&provider, case, now);
    let repeats_first = cases.first().is_some_and(is_repeatable);
    let (mut repeats, mut lookups): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(is_repeatable);
    match only_one {
        // Whichever is due longest: else one kind would wait for all of the other.
        true if repeats_first => {
            repeats.truncate(1);
            lookups.clear();
        }
        true => repeats.clear(),
        false => {}
    }
    for case in repeats {
        let refused = repeat(engine, lane, &provider, document.revision(), case).await?;
        if lane.with_state(|state| state.is_paused(&destination)) {
            // From here on one a step.
            lookups = Vec::from_iter(refused);
            break;
        }
        lookups.extend(refused);
    }
    if !lookups.is_empty() {
        look_up(engine, lane, &provider, document.revision(), destination, lookups).await?;
    }
    Ok(Duration::ZERO)
}

/// The end of a look-up, or of another question, says how the provider is doing where no create can:
/// none is due. A wait that is asked for is heeded whoever asked; a refused credential pauses nothing.
pub(crate) async fn heed(
    engine: &Inner,
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    error: Option<&ProviderError>,
) -> Result<(), invite_store::Error> {
    let told = error.and_then(|error| error.retry_after);
    let event = match error.map(|error| (error.outcome, error.cause)) {
        None => Event::Success,
        Some((Outcome::Throttled, _)) if error.is_some_and(ProviderError::is_of_own_budget) => {
            return Ok(());
        }
        Some((Outcome::Rejected, _) | (_, Cause::Credentials)) => return Ok(()),
        Some((outcome, _)) if outcome == Outcome::Throttled || told.is_some() => {
            Event::Throttled(told)
        }
        Some((outcome, cause)) => {
            Event::Failing { unreachable: outcome == Outcome::NotSent && cause == Cause::Transport }
        }
    };
    let now = engine.clock.now();
    if lane.with_state(|state| state.is_paused(destination)) {
        if engine.store.is_any_due(&lane.name, destination, now).await? {
            return Ok(());
        }
    } else if !matches!(event, Event::Throttled(_)) {
        return Ok(());
    }
    let retry = &provider.limits.retry;
    lane.with_state(|state| state.take(destination, &event, error, retry, now));
    Ok(())
}

/// Equal bytes are one call there, and still will be when they arrive.
fn is_repeatable(provider: &Provider, case: &Case, now: Timestamp) -> bool {
    let age = until(case.started_at, now);
    let known = case.invites.iter().any(|invite| !transition::replies(&invite.state).is_empty());
    provider.adapter.capabilities().create.idempotent
        && case.call.is_some()
        && !known
        && age < REPEAT_FOR
}

/// Sends the frozen bytes again; only a reply that carries the call's effect settles anything. The case
/// is given back if they were refused: that says nothing of the first call, so it is to be looked up.
async fn repeat(
    engine: &Arc<Inner>,
    lane: &Arc<Lane>,
    provider: &Provider,
    revision: i64,
    case: Case,
) -> Result<Option<Case>, invite_store::Error> {
    let Some(call) = &case.call else { return Ok(None) };
    tokio::select! {
        () = lane.take_turn(&provider.limits, &*engine.clock) => {}
        () = engine.stopping.cancelled() => return Ok(None),
    }
    if !is_repeatable(provider, &case, engine.clock.now()) {
        // It waited too long for its turn.
        return Ok(Some(case));
    }
    crash_point("reconcile-before-request");
    let (began, started) = (engine.clock.now(), Instant::now());
    let age = Arc::new(Stopwatch::start(engine.clock.clone()));
    let (clock, first_sent) = (engine.clock.clone(), case.started_at);
    let context = lane.context(&provider.limits).guarded(move || {
        let is_young = until(first_sent, clock.now()) < REPEAT_FOR;
        is_young.then_some(()).ok_or("its bytes are too old by now to be repeated".to_owned())
    });
    let reply = provider.adapter.create(&context, call, &case.recipients).await;
    crash_point("reconcile-after-reply");
    lane.ease(&context, &provider.limits.retry, engine.clock.now());
    let (n, is_mixed) = (case.invites.len(), judge::is_mixed(&case.invites));
    let mut is_refused = false;
    let (verdicts, error) = match reply {
        Ok(results) => {
            let verdict = |i: usize| match results.get(i) {
                Some(Ok(seen)) => {
                    Verdict::Exists(Box::new(seen.clone().since(case.invites[i].created_at)))
                }
                Some(Err(error)) if error.outcome == Outcome::Rejected => {
                    judge::blame(provider, error, i, n)
                }
                Some(Err(error)) => Verdict::CannotTell(told_of(error, is_mixed).message),
                None => unsaid(),
            };
            ((0..n).map(verdict).collect(), None)
        }
        // A refusal that came with 2xx is the provider's word on the call itself.
        Err(error) if error.outcome == Outcome::Rejected && is_answered(&context, call) => {
            let blame = |i| judge::blame(provider, &error, i, n);
            ((0..n).map(blame).collect(), Some(error))
        }
        Err(error) => {
            is_refused = error.outcome == Outcome::Rejected;
            let why = told_of(&error, is_mixed).message;
            (vec![Verdict::CannotTell(why); n], Some(error))
        }
    };
    let outcome = outcome(error.as_ref());
    attempt::count(&lane.name, "reconcile", outcome, started.elapsed());
    lane.with_state(|state| state.keep("reconcile", error.as_ref(), engine.clock.now()));
    heed(engine, lane, provider, &call.destination, error.as_ref()).await?;
    let answer = Answer {
        began,
        age,
        verdicts,
        outcome,
        error: error.map(|error| told_of(&error, is_mixed)),
        exchange: context.exchanges().into_iter().next(),
    };
    record(engine, lane, provider, revision, &case, answer).await?;
    Ok(is_refused.then_some(case))
}

/// What those are told whose invites a question was about: if they are of several tenants, nothing in the
/// provider's words. The lane's state and the log keep those.
fn told_of(error: &ProviderError, is_mixed: bool) -> ProviderError {
    if is_mixed { fault::error_in_own_words(error) } else { error.clone() }
}

/// Whether the call itself got a 2xx, which the error of one that ended without effect does not say.
fn is_answered(context: &CallContext, call: &PreparedCall) -> bool {
    context.exchanges().iter().any(|exchange| {
        exchange.target.ends_with(&call.path)
            && exchange.status.is_some_and(|status| (200..300).contains(&status))
    })
}

/// One listing for everything in doubt at a destination.
async fn look_up(
    engine: &Arc<Inner>,
    lane: &Arc<Lane>,
    provider: &Provider,
    revision: i64,
    destination: Destination,
    cases: Vec<Case>,
) -> Result<(), invite_store::Error> {
    // An attempt without a call was never sent: preparing it failed, or was cut short.
    let (cases, never_sent): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| case.call.is_some());
    for case in never_sent {
        release(engine, lane, &case).await?;
    }
    let doubts: Vec<Doubt> = cases.iter().filter_map(Case::doubt).collect();
    if doubts.is_empty() {
        return Ok(());
    }
    let (began, started) = (engine.clock.now(), Instant::now());
    let age = Arc::new(Stopwatch::start(engine.clock.clone()));
    let lookup = invite_core::Lookup { destination: destination.clone(), doubts };
    let (seen, exchange) = tokio::select! {
        found = search(engine, lane, provider, lookup) => found,
        // Questions may be left unanswered.
        () = engine.stopping.cancelled() => return Ok(()),
    };
    let outcome = outcome(seen.as_ref().err());
    attempt::count(&lane.name, "reconcile", outcome, started.elapsed());
    lane.with_state(|state| state.keep("reconcile", seen.as_ref().err(), engine.clock.now()));
    heed(engine, lane, provider, &destination, seen.as_ref().err()).await?;
    if let Err(error) = &seen {
        tracing::warn!(provider.name = lane.name, %error, "a look-up did not come to an end");
    }
    let held = match &seen {
        Ok(seen) => engine.store.find_held(&destination, &refs(seen)).await?,
        Err(_) => BTreeMap::new(),
    };
    // One question is about the calls of all of them.
    let is_mixed = judge::is_mixed(cases.iter().flat_map(|case| &case.invites));
    let told = seen.as_ref().err().map(|error| told_of(error, is_mixed));
    let answers = cases.iter().enumerate().map(|(place, case)| {
        let verdicts = match &seen {
            Ok(seen) => {
                let sightings = seen.get(place).map(Vec::as_slice).unwrap_or_default();
                case.verdicts(provider, sightings, &held)
            }
            Err(error) => {
                let why = told.as_ref().unwrap_or(error).message.clone();
                vec![Verdict::CannotTell(why); case.invites.len()]
            }
        };
        let error = told.clone();
        let exchange = exchange.clone();
        let answer = Answer { began, age: age.clone(), verdicts, outcome, error, exchange };
        record(engine, lane, provider, revision, case, answer)
    });
    // Side by side, so that they share commits.
    try_join_all(answers).await?;
    Ok(())
}

/// Queues invites again whose attempt never had a call to send.
async fn release(
    engine: &Arc<Inner>,
    lane: &Arc<Lane>,
    case: &Case,
) -> Result<(), invite_store::Error> {
    let attempt = case.attempt;
    let change = Change::of(
        case.invites.iter().map(|invite| invite.id).collect(),
        move |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
            transition::release(state, attempt, now)
        },
    );
    engine.store.change(change).await?;
    lane.wake.notify_one();
    Ok(())
}
