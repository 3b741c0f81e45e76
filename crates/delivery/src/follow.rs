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
    judge, reconcile, transition,
};

const FIRST: Duration = Duration::from_millis(500);

/// Asks until every invite of the call is settled, or shutdown begins.
pub(crate) async fn follow(call: &Call, mut claimed: Claimed, prepared: PreparedCall) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = call.engine.stopping.cancelled() => return,
        }
        pause = next_pause(pause, call.engine.settings.lease);
        match renew(call, &mut claimed).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(attempt.id = %claimed.attempt, %error, "cannot renew the lease of a followed call");
                continue;
            }
        }
        crash_point("follow-after-renewal");
        let looked = tokio::select! {
            looked = look(call, &claimed, &prepared) => looked,
            // Questions may be left unanswered.
            () = call.engine.stopping.cancelled() => return,
        };
        let Some((reply, context)) = looked else { continue };
        let reply = as_one(reply);
        let now = call.engine.clock.now();
        let judged = judge::judge(&call.provider, &call.lane, &claimed, &reply, now);
        attempt::record(&call.engine, &claimed, &judged, &context).await;
        call.lane.wake.notify_one();
        call.lane.doubt.notify_one();
        return;
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

/// Looks once; `None` while the provider is still working, or could not be asked.
async fn look(
    call: &Call,
    claimed: &Claimed,
    prepared: &PreparedCall,
) -> Option<(Vec<Result<Observed, ProviderError>>, CallContext)> {
    let doubt = Doubt {
        call: prepared.clone(),
        recipients: claimed.recipients.clone(),
        // No later than their first attempts.
        first_attempts: claimed.invites.iter().map(|invite| invite.created_at).collect(),
        started_at: call.engine.clock.now(),
        data: claimed.invites.first()?.state.provider_data.clone(),
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
    let seen = seen
        .inspect_err(|error| {
            tracing::warn!(provider.name = lane.name, %error, "cannot follow a call");
        })
        .ok()?;
    let sightings = seen.into_iter().next()?;
    let settled = |sighting: &Sighting| {
        sighting.exact.first().is_some_and(|seen| seen.status != Status::Sending)
    };
    sightings.iter().all(settled).then(|| {
        let seen = sightings.into_iter().filter_map(|s| s.exact.into_iter().next());
        (seen.map(conclude).collect(), context)
    })
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
