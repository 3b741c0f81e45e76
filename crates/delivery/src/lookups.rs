//! Finding out what became of calls whose outcome is unknown.
//!
//! A call in doubt is looked up, or its frozen bytes are repeated where the provider takes equal bytes as one call. When
//! is for `crate::tasks::reconciling` to say, and what an answer means for an invite for [`crate::transition::apply_verdict`].

pub mod case;
pub mod second_effects;
mod storing;
pub mod verdicts;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::try_join_all;
use invite_config::Provider;
use invite_core::{
    Destination, Doubt, Operation, Outcome, PreparedCall, ProviderError, failpoint::failpoint,
    http::CallContext, random,
};
use invite_store::Change;
use jiff::Timestamp;

use crate::{
    commit::commit,
    door::{Asked, Door, Subject},
    judge,
    lane::{Lane, until},
    reason,
    shared::Shared,
    transition::{self, Verdict},
};

use case::Case;
use storing::store_verdicts;
use verdicts::{left_out, refs};

/// How long equal bytes surely count as one call: the provider's window is an hour.
const REPEAT_FOR: Duration = Duration::from_secs(50 * 60);

/// Whether the call's bytes, sent again, still count as the same call when they arrive.
pub(crate) fn is_repeatable(provider: &Provider, case: &Case, now: Timestamp) -> bool {
    let age = until(case.started_at, now);
    let known = case.invites.iter().any(|invite| !invite.state.provider_data.is_empty());
    provider.adapter.capabilities().create.idempotent
        && case.call.is_some()
        && !known
        && age < REPEAT_FOR
}

/// Sends the frozen bytes again; only a reply that shows the call's effect settles anything. Returns the case if it has
/// to be looked up instead: the bytes were refused, which says nothing of the first call, or are too old by now.
pub(crate) async fn repeat(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    provider: &Provider,
    case: Case,
) -> Result<Option<Case>, invite_store::Error> {
    let Some(call) = &case.call else { return Ok(None) };
    let subject = Subject { attempt: Some(case.attempt), ..Subject::of(&case.invites) };
    let door = Door { shared, lane, provider, subject };
    tokio::select! {
        () = door.wait_for_question() => {}
        () = shared.stopping.cancelled() => return Ok(None),
    }
    if !is_repeatable(provider, &case, shared.clock.now()) {
        // It has become too old while it waited for the rate budget.
        return Ok(Some(case));
    }
    failpoint("reconcile-before-request");
    let begun = door.begin();
    let (clock, first_sent) = (shared.clock.clone(), case.started_at);
    let context = door.context().guarded(move || {
        let is_young = until(first_sent, clock.now()) < REPEAT_FOR;
        is_young.then_some(()).ok_or("its bytes are too old by now to be repeated".to_owned())
    });
    let create = async |context: &CallContext| {
        provider.adapter.create(context, call, &case.recipients).await
    };
    let reply = door.call(&context, create).await;
    failpoint("reconcile-after-reply");
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
                Some(Err(error)) => Verdict::CannotTell(shown_error(error, is_mixed).message),
                None => left_out(),
            };
            ((0..n).map(verdict).collect(), None)
        }
        // A refusal inside a 2xx is the provider's answer about the call itself, not about its repetition.
        Err(error) if error.outcome == Outcome::Rejected && is_answered(&context, call) => {
            let blame = |i| judge::blame(provider, &error, i, n);
            ((0..n).map(blame).collect(), Some(error))
        }
        Err(error) => {
            is_refused = error.outcome == Outcome::Rejected;
            let why = shown_error(&error, is_mixed).message;
            (vec![Verdict::CannotTell(why); n], Some(error))
        }
    };
    door.finish(Operation::Reconcile, Some(&call.destination), &begun, error.as_ref()).await;
    let result = error.map_or(Ok(()), |error| Err(shown_error(&error, is_mixed)));
    let exchange = context.exchanges().into_iter().next();
    let asked = Asked { result, begun, exchange };
    store_verdicts(&door, &case, verdicts, &asked, random::fraction()).await?;
    Ok(is_refused.then_some(case))
}

/// The error as an attempt may show it: without the provider's words if the invites are of several tenants. The lane's
/// state and the log keep those.
fn shown_error(error: &ProviderError, is_mixed: bool) -> ProviderError {
    if is_mixed { reason::error_in_own_words(error) } else { error.clone() }
}

/// Whether the call itself was answered with 2xx: the error of one that ended without effect does not say.
fn is_answered(context: &CallContext, call: &PreparedCall) -> bool {
    context.exchanges().iter().any(|exchange| {
        exchange.target.ends_with(&call.path)
            && exchange.status.is_some_and(|status| (200..300).contains(&status))
    })
}

/// Looks up all of these calls in doubt at a destination at once.
pub(crate) async fn look_up(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    provider: &Provider,
    destination: Destination,
    cases: Vec<Case>,
) -> Result<(), invite_store::Error> {
    // An attempt without a call was never sent: preparing it failed, or was cut short.
    let (cases, never_sent): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| case.call.is_some());
    for case in never_sent {
        release(shared, lane, &case).await?;
    }
    let doubt = |case: &Case| case.doubt(case.absence_counts(shared, provider));
    let doubts: Vec<Doubt> = cases.iter().filter_map(doubt).collect();
    if doubts.is_empty() {
        return Ok(());
    }
    let lookup = invite_core::Lookup { destination: destination.clone(), doubts };
    let subject = Subject::of(cases.iter().flat_map(|case| &case.invites));
    let door = Door { shared, lane, provider, subject };
    let asked = tokio::select! {
        asked = door.look_up(lookup, None) => asked,
        // Nothing is lost with an answer that is not waited for.
        () = shared.stopping.cancelled() => return Ok(()),
    };
    let seen = &asked.result;
    let held = match seen {
        Ok(seen) => shared.store.find_held(&destination, &refs(seen)).await?,
        Err(_) => BTreeMap::new(),
    };
    // They share one look-up, so none may be shown words about another tenant's.
    let is_mixed = judge::is_mixed(cases.iter().flat_map(|case| &case.invites));
    let shown = seen.as_ref().map(|_| ()).map_err(|error| shown_error(error, is_mixed));
    let shown =
        Asked { result: shown, begun: asked.begun.clone(), exchange: asked.exchange.clone() };
    let fraction = random::fraction();
    let answers = cases.iter().enumerate().map(|(place, case)| {
        let verdicts = match (seen, &shown.result) {
            (Ok(seen), _) => {
                let sightings = seen.get(place).map(Vec::as_slice).unwrap_or_default();
                case.verdicts(provider, sightings, &held)
            }
            (Err(error), shown) => {
                let why = shown.as_ref().err().unwrap_or(error).message.clone();
                vec![Verdict::CannotTell(why); case.invites.len()]
            }
        };
        store_verdicts(&door, case, verdicts, &shown, fraction)
    });
    // Side by side, so that they share commits.
    try_join_all(answers).await?;
    Ok(())
}

/// Queues the invites of an attempt again that never had a call to send.
async fn release(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
    case: &Case,
) -> Result<(), invite_store::Error> {
    let attempt = case.attempt;
    let change = |_: &_| {
        Change::each(case.invites.iter().map(|invite| invite.id).collect(), move |state, now| {
            transition::release(state, attempt, now)
        })
    };
    commit(shared, &lane.name, &case.invites, change).await?;
    lane.wake_for_all();
    Ok(())
}
