//! How the outcome of a call is stored: as an attempt, together with what it changes.

use std::collections::BTreeSet;

use invite_core::{
    AttemptId, AttemptOutcome, InviteId, Operation, ProviderError, Status, StatusSource,
    http::Exchange,
};
use invite_store::{AttemptEnd, Change, Changed, InviteRecord, InviteState, NewAttempt, News};
use jiff::Timestamp;

use crate::{
    door::{Asked, Door},
    shared::Shared,
    transition,
};

/// An attempt that begins and ends with one change.
pub(crate) type EndedAttempt = (NewAttempt, AttemptEnd);

/// A request that is no create, as an attempt. `detail` says what it showed, if nothing went wrong.
pub(crate) fn ended_attempt<T>(
    door: &Door<'_>,
    operation: Operation,
    asked: &Asked<T>,
    detail: Option<String>,
) -> EndedAttempt {
    let id = AttemptId::generate();
    let begin = NewAttempt {
        id,
        provider: door.provider.name.clone(),
        operation,
        call: None,
        config_revision: door.provider.revision,
        traceparent: door.subject.trace.as_deref().map(str::to_owned),
        started_at: asked.begun.at,
    };
    let error = asked.result.as_ref().err();
    let exchange = asked.exchange.clone().map(|exchange| match operation {
        // The reply may show anybody's invites; what concerns this one goes into its state. A refusal shows none.
        Operation::Reconcile => {
            let is_refusal = exchange.status.is_some_and(|status| !(200..300).contains(&status));
            let reply = exchange.reply.filter(|_| is_refusal);
            Exchange { request: None, reply, ..exchange }
        }
        _ => exchange,
    });
    let end = attempt_end(door.shared, id, AttemptOutcome::of(error), error, exchange);
    (begin, AttemptEnd { detail: end.detail.or(detail), ..end })
}

pub(crate) fn attempt_end(
    shared: &Shared,
    attempt: AttemptId,
    outcome: AttemptOutcome,
    error: Option<&ProviderError>,
    exchange: Option<Exchange>,
) -> AttemptEnd {
    let by_error = error.and_then(|error| error.http_status);
    let exchange = exchange.unwrap_or_default();
    AttemptEnd {
        id: attempt,
        finished_at: shared.clock.now(),
        outcome,
        http_status: exchange.status.or(by_error),
        detail: error.map(|error| error.message.clone()),
        target: Some(exchange.target).filter(|target| !target.is_empty()),
        provider_request_id: exchange.request_id,
        request: exchange.request,
        reply: exchange.reply,
        unpaired: Vec::new(),
    }
}

/// Stores a change of the invites `before`, wakes whoever waits for them, and reports second effects, and effects of invites that
/// failed or were withdrawn here.
/// Where the change clashes with what others have stored it is made anew: `change` is told for which invites the provider
/// id that was seen is another one's by now; and an invite that would return to doubt while another one to the same
/// person is in doubt is given up.
///
/// # Errors
/// If the store cannot be read or written.
pub(crate) async fn commit(
    shared: &Shared,
    provider: &str,
    before: &[InviteRecord],
    change: impl Fn(&BTreeSet<InviteId>) -> Change,
) -> Result<Changed, invite_store::Error> {
    let (mut taken, mut in_doubt) = (BTreeSet::new(), BTreeSet::new());
    let changed = loop {
        let change = keep_out_of_doubt(change(&taken), in_doubt.clone());
        match shared.store.change(change).await? {
            Changed::ProviderRefTaken { invite } if taken.insert(invite) => {}
            Changed::PersonTaken { invite } if in_doubt.insert(invite) => {}
            changed => break changed,
        }
    };
    match &changed {
        Changed::Written(after) => {
            report_second_effects(provider, before, after);
            correct_queue(shared, provider, before, after);
            let elsewhere = shared.waiters.tell(after);
            shared.tell_others(elsewhere.into_iter().map(News::Written));
        }
        _ => shared.waiters.wake(before.iter().map(|invite| invite.batch_id)),
    }
    Ok(changed)
}

/// Corrects what the lane knows of its queue: the count, by what a change queued or took out of it, and what others that were in
/// doubt held back.
pub(crate) fn correct_queue(
    shared: &Shared,
    provider: &str,
    before: &[InviteRecord],
    after: &[InviteRecord],
) {
    let before_in = |status: Status| -> BTreeSet<InviteId> {
        let before = before.iter().filter(|invite| invite.state.status() == status);
        before.map(|invite| invite.id).collect()
    };
    let (was_queued, was_unknown) = (before_in(Status::Queued), before_in(Status::Unknown));
    let (queued, others): (Vec<_>, Vec<_>) =
        after.iter().partition(|invite| invite.state.status() == Status::Queued);
    let lane = shared.lane(provider);
    let is_settled = |invite: &InviteRecord| invite.state.status() != Status::Unknown;
    if after.iter().any(|invite| was_unknown.contains(&invite.id) && is_settled(invite)) {
        lane.held_back.forget();
    }
    let grew = queued.iter().filter(|invite| !was_queued.contains(&invite.id)).count();
    if grew > 0 {
        lane.queue_grew(grew);
        lane.fresh.forget();
        // Any other comes behind all that is due already.
        if queued.iter().any(|invite| invite.state.next_attempt_at().is_none()) {
            lane.held_back.forget();
        }
    }
    lane.queue_shrank(others.iter().filter(|invite| was_queued.contains(&invite.id)).count());
}

fn keep_out_of_doubt(change: Change, in_doubt: BTreeSet<InviteId>) -> Change {
    let decide = change.decide;
    let decide = move |i: usize, invite: &InviteRecord, state: &mut InviteState, now: Timestamp| {
        let decision = decide(i, invite, state, now);
        match in_doubt.contains(&invite.id) {
            true => transition::keep_out_of_doubt(&invite.state, state, decision),
            false => decision,
        }
    };
    Change { decide: Box::new(decide), ..change }
}

/// Logs and counts second effects that have come to light, and logs invites that exist although they failed or were
/// withdrawn here.
fn report_second_effects(provider: &str, before: &[InviteRecord], after: &[InviteRecord]) {
    let known: BTreeSet<InviteId> =
        before.iter().filter(|i| i.state.duplicate_effect).map(|invite| invite.id).collect();
    let existed: BTreeSet<InviteId> =
        before.iter().filter(|i| i.state.provider_ref.is_some()).map(|invite| invite.id).collect();
    let ended_here = |state: &InviteState| {
        matches!(state.status(), Status::Failed | Status::Revoked)
            && matches!(state.source, StatusSource::Gateway | StatusSource::Caller)
    };
    for invite in after.iter().filter(|i| i.state.provider_ref.is_some() && ended_here(&i.state)) {
        if !existed.contains(&invite.id) {
            let status = invite.state.status().as_str();
            tracing::error!(provider.name = provider, invite.id = %invite.id, status, "an invite that is {status} here exists at {provider}");
        }
    }
    let new = after.iter().filter(|i| i.state.duplicate_effect && !known.contains(&i.id));
    for invite in new {
        let ids = invite.state.second_effects.join(", ");
        let held = invite.state.provider_ref.as_deref();
        tracing::error!(provider.name = provider, invite.id = %invite.id, invite.provider_ref = held, invite.second_effects = ids, "a second effect was found at {provider}: somebody was invited twice");
        metrics::counter!("invite_duplicate_effects_total", "provider" => provider.to_owned())
            .increment(1);
    }
}
