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
    judge, transition,
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// Asks until every invite of the call is settled, or shutdown begins.
pub(crate) async fn follow(call: &Call, mut claimed: Claimed, prepared: PreparedCall) {
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = call.engine.stopping.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST);
        match renew(call, &mut claimed).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(attempt.id = %claimed.attempt, %error, "cannot renew the lease of a followed call");
                continue;
            }
        }
        crash_point("follow-after-renewal");
        call.lane.take_token(&call.provider.limits).await;
        let context = CallContext::new(call.provider.limits.timeout);
        let Some(reply) = look(call, &claimed, &prepared, &context).await else { continue };
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

/// Looks once; `None` while the provider is still working, or could not be asked.
async fn look(
    call: &Call,
    claimed: &Claimed,
    prepared: &PreparedCall,
    context: &CallContext,
) -> Option<Vec<Result<Observed, ProviderError>>> {
    let doubt = Doubt {
        call: prepared.clone(),
        recipients: claimed.recipients.clone(),
        first_attempt_at: claimed.invites.first()?.created_at,
        started_at: call.engine.clock.now(),
        data: claimed.invites.first()?.state.provider_data.clone(),
    };
    let lookup = Lookup { destination: prepared.destination.clone(), doubts: vec![doubt] };
    let mut reconciliation = call.provider.adapter.reconcile(lookup);
    let seen = loop {
        match reconciliation.step(context).await {
            Ok(None) => call.lane.take_token(&call.provider.limits).await,
            Ok(Some(seen)) => break seen,
            Err(error) => {
                tracing::warn!(provider.name = call.lane.name, %error, "cannot follow a call");
                return None;
            }
        }
    };
    let sightings = seen.into_iter().next()?;
    let settled = |sighting: &Sighting| {
        sighting.exact.first().is_some_and(|seen| seen.status != Status::Sending)
    };
    sightings.iter().all(settled).then(|| {
        sightings.into_iter().filter_map(|s| s.exact.into_iter().next()).map(conclude).collect()
    })
}

/// A refusal of all of them is one of the call: one of several may be at fault for the others.
fn as_one(results: Vec<Result<Observed, ProviderError>>) -> attempt::Reply {
    match results.first() {
        Some(Err(error)) if results.iter().all(Result::is_err) => Err(error.clone()),
        _ => Ok(results),
    }
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
