//! Following a call that the provider took but is still working on (Turnkey's pending activities).
//!
//! The invites stay `sending`; whoever follows renews their lease, so that a follower that goes
//! away leaves them to recovery.

use std::time::Duration;

use invite_core::{
    Doubt, Lookup, Observed, Outcome, PreparedCall, ProviderError, Sighting, Status,
    http::CallContext, sabotage::crash_point,
};
use invite_store::{Change, Changed, InviteRecord};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    attempt::{self, Call, Claimed},
    fault, judge, reconcile, recovery,
    transition::{self, LOOK_FOR},
};

const FIRST: Duration = Duration::from_millis(500);
/// How long a call is followed that nothing is heard of: the lane pauses, or the provider refuses to
/// say, or does not show it.
const UNHEARD: Duration = Duration::from_secs(10 * 60);

/// What one look at a call showed.
enum Looked {
    /// What became of it.
    Settled(Vec<Result<Observed, ProviderError>>, CallContext),
    /// The provider is still working on it.
    Working,
    /// Nothing.
    Nothing,
}

/// Asks until every invite of the call is settled, or shutdown begins. A call that nothing is heard of
/// for long, or that takes a day, is left to look-ups.
pub(crate) async fn follow(call: &Call, mut claimed: Claimed, prepared: PreparedCall) {
    let mut pause = FIRST;
    let began = Instant::now();
    let mut heard = began;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = call.engine.stopping.cancelled() => return,
        }
        pause = next_pause(pause, call.engine.settings.lease);
        if heard.elapsed() >= UNHEARD || began.elapsed() >= LOOK_FOR {
            return let_go(call, &claimed).await;
        }
        match renew(call, &mut claimed).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(attempt.id = %claimed.attempt, %error, "cannot renew the lease of a followed call");
                continue;
            }
        }
        crash_point("follow-after-renewal");
        let now = call.engine.clock.now();
        if call.lane.with_state(|state| state.wait(now, 0)).is_some() {
            continue;
        }
        let looked = tokio::select! {
            looked = look(call, &claimed, &prepared) => looked,
            // Questions may be left unanswered.
            () = call.engine.stopping.cancelled() => return,
        };
        let (reply, context) = match looked {
            Looked::Settled(reply, context) => (reply, context),
            Looked::Working => {
                heard = Instant::now();
                continue;
            }
            Looked::Nothing => continue,
        };
        let reply = as_one(reply);
        let now = call.engine.clock.now();
        let judged = judge::judge(&call.provider, &call.lane, &claimed, &reply, now);
        attempt::record(&call.engine, &claimed, &judged, &context).await;
        call.lane.wake.notify_one();
        call.lane.doubt.notify_one();
        return;
    }
}

/// Whether it took effect is not known: look-ups find it out, for as long as they do.
async fn let_go(call: &Call, claimed: &Claimed) {
    let (attempt, error) = (claimed.attempt, fault::not_heard_of());
    tracing::warn!(attempt.id = %attempt, "a call that its provider works on is no longer followed");
    let lost = recovery::lose_sender(&call.engine, Some(attempt), &claimed.invites, error).await;
    if let Err(error) = lost {
        tracing::error!(attempt.id = %attempt, %error, "cannot leave a followed call to look-ups; that is done when its lease is over");
    }
}

/// Extends the lease; false if the invites are no longer this call's.
async fn renew(call: &Call, claimed: &mut Claimed) -> Result<bool, invite_store::Error> {
    let lease = call.engine.settings.lease;
    let lease_end = Instant::now() + lease;
    let attempt = claimed.attempt;
    let ids = claimed.invites.iter().map(|invite| invite.id).collect();
    let change = Change::of(ids, move |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
        transition::renew(state, attempt, now + lease)
    });
    match call.engine.store.change(change).await? {
        Changed::Written(invites) => {
            claimed.invites = invites;
            claimed.lease_end = lease_end;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The pause after this one: ever longer, because all that is followed takes from one rate budget, but
/// not so long that the lease ends before it is renewed.
fn next_pause(pause: Duration, lease: Duration) -> Duration {
    (pause * 2).min(lease / 3)
}

/// Looks once.
async fn look(call: &Call, claimed: &Claimed, prepared: &PreparedCall) -> Looked {
    let doubt = Doubt {
        call: prepared.clone(),
        recipients: claimed.recipients.clone(),
        // No later than their first attempts.
        first_attempts: claimed.invites.iter().map(|invite| invite.created_at).collect(),
        started_at: call.engine.clock.now(),
        data: claimed.invites.first().map(|i| i.state.provider_data.clone()).unwrap_or_default(),
    };
    let lookup = Lookup { destination: prepared.destination.clone(), doubts: vec![doubt] };
    let (engine, lane) = (&call.engine, &call.lane);
    // The credential may have been replaced since the call was made.
    let document = engine.live.current();
    let provider = document.provider(&lane.name).unwrap_or(&call.provider);
    let mut reconciliation = provider.adapter.reconcile(lookup);
    let limits = &provider.limits;
    let (seen, context) = loop {
        lane.take_turn(limits, &*engine.clock).await;
        let context = CallContext::new(limits.timeout);
        let step = reconciliation.step(&context).await;
        lane.ease(&context, &limits.retry, engine.clock.now());
        if let Some(seen) = step.transpose() {
            break (seen, context);
        }
    };
    let heeded = reconcile::heed(engine, lane, provider, seen.as_ref().err()).await;
    if let Err(error) = heeded {
        tracing::error!(provider.name = lane.name, %error, "cannot read the store");
    }
    match seen {
        Ok(seen) => read(seen.into_iter().next().unwrap_or_default(), context),
        Err(error) => {
            tracing::warn!(provider.name = lane.name, %error, "cannot follow a call");
            Looked::Nothing
        }
    }
}

/// What is shown of the call's invites.
fn read(sightings: Vec<Sighting>, context: CallContext) -> Looked {
    let n = sightings.len();
    let seen: Vec<Observed> =
        sightings.into_iter().filter_map(|sighting| sighting.exact.into_iter().next()).collect();
    if seen.is_empty() || seen.len() < n {
        Looked::Nothing
    } else if seen.iter().any(|seen| seen.status == Status::Sending) {
        Looked::Working
    } else {
        Looked::Settled(seen.into_iter().map(conclude).collect(), context)
    }
}

/// A refusal of all of them is one of the call: those that it names are at fault, or any of them may
/// be.
fn as_one(results: Vec<Result<Observed, ProviderError>>) -> attempt::Reply {
    let mut refusals = results.iter().map_while(|result| result.as_ref().err());
    let Some(mut refusal) = refusals.next().cloned() else { return Ok(results) };
    let mut n = 1;
    for error in refusals {
        n += 1;
        for item in &error.items {
            if !refusal.items.contains(item) {
                refusal.items.push(item.clone());
            }
        }
    }
    if n == results.len() { Err(refusal) } else { Ok(results) }
}

/// A call that the provider ended without effect is a refusal.
fn conclude(seen: Observed) -> Result<Observed, ProviderError> {
    match (seen.status, &seen.failure) {
        (Status::Failed, Some(failure)) => Err(failure.clone()),
        (Status::Failed, None) => Err(unexplained()),
        _ => Ok(seen),
    }
}

fn unexplained() -> ProviderError {
    ProviderError::new(Outcome::Rejected, "the provider ended it without effect")
}

#[cfg(test)]
mod tests {
    use invite_core::{Fault, ItemFault};

    use super::*;

    #[test]
    fn pauses_grow_to_a_third_of_the_lease() {
        let lease = Duration::from_secs(60);
        let mut pauses = vec![FIRST];
        for n in 0..8 {
            pauses.push(next_pause(pauses[n], lease));
        }
        assert_eq!(pauses[1..4], [1, 2, 4].map(Duration::from_secs));
        assert_eq!(pauses[7..], [lease / 3; 2]);
    }

    #[test]
    fn a_refusal_of_all_names_whom_any_of_its_parts_names() {
        let refused = |indices: &[usize]| {
            let fault = Fault::new("", "invalid", "made up");
            let item = |index: &usize| ItemFault { index: *index, fault: fault.clone() };
            let items = indices.iter().map(item).collect();
            Err(ProviderError { items, ..unexplained() })
        };
        let named = |results| -> Option<Vec<usize>> {
            let error = as_one(results).err()?;
            Some(error.items.iter().map(|item| item.index).collect())
        };
        assert_eq!(named(vec![refused(&[0]), refused(&[2]), refused(&[0, 2])]), Some(vec![0, 2]));
        assert_eq!(named(vec![refused(&[]), refused(&[])]), Some(vec![]));
        let seen = Observed::new(None, Status::Pending);
        assert_eq!(named(vec![refused(&[0]), Ok(seen.clone())]), None);
        assert_eq!(named(vec![Ok(seen), refused(&[1])]), None);
    }
}
