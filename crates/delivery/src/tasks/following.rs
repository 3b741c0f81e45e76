//! Following a call that the provider took but is still working on (Turnkey's pending activities).
//!
//! The invites stay `sending`; whoever follows renews their lease, so that a follower that goes
//! away leaves them to recovery.
//! Step by step: `docs/loops/following.md`.

use std::time::Duration;

use invite_core::{
    Doubt, Lookup, Observed, Operation, Outcome, PreparedCall, ProviderError, Reason, Sighting,
    Status, http::Exchange, sabotage::crash_point,
};
use invite_store::{Change, Changed, Decision, InviteRecord, InviteState};
use jiff::Timestamp;
use tokio::time::Instant;

use super::recovering;
use crate::{
    accounts,
    attempt::{Call, record_outcome},
    call::{Claimed, Reply},
    door::{Asked, Door, Subject},
    judge,
    lane::Event,
    lookups::verdicts::describe,
    reason,
    record::{self, Ended},
    transition::{self, LOOK_FOR, Verdict},
};

const FIRST: Duration = Duration::from_millis(500);
/// How long a call is followed that nothing is heard of: the lane pauses, or the provider refuses to
/// say, or does not show it.
const UNHEARD: Duration = Duration::from_secs(10 * 60);

/// What it showed.
enum Showed {
    /// What became of the call.
    End(Vec<Result<Observed, ProviderError>>),
    /// The provider is still working on it.
    Work,
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
        if holding(call, &mut claimed, tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = next_pause(pause, call.shared.settings.lease);
        if heard.elapsed() >= UNHEARD || began.elapsed() >= LOOK_FOR {
            return let_go(call, &claimed).await;
        }
        let now = call.shared.clock.now();
        let destination = &prepared.destination;
        if call.lane.with_state(|state| state.wait_at(destination, now)).is_some() {
            continue;
        }
        let lookup = lookup(call, &claimed, &prepared);
        let subject = Subject { attempt: Some(claimed.attempt), ..Subject::of(&claimed.invites) };
        // The credential may have been replaced since the call was made.
        let document = call.shared.live.current();
        let provider = document.provider(&call.lane.name).unwrap_or(&call.provider);
        let door = Door { provider, ..call.door(subject) };
        let looking = door.look_up(lookup, None);
        let Some(asked) = holding(call, &mut claimed, looking).await else { return };
        let asked = asked.map(of_one_call);
        let attempt = question(&door, &claimed, &asked);
        let is_held = extend_for(call, &mut claimed, attempt, pause).await;
        match asked.result.map_or(Showed::Nothing, read) {
            Showed::End(reply) => {
                return settle(call, &claimed, &prepared, reply, &asked.exchange).await;
            }
            _ if !is_held => return,
            Showed::Work => heard = Instant::now(),
            Showed::Nothing => {}
        }
    }
}

/// What became of the call is recorded with the call itself.
async fn settle(
    call: &Call,
    claimed: &Claimed,
    prepared: &PreparedCall,
    reply: Vec<Result<Observed, ProviderError>>,
    exchange: &Option<Exchange>,
) {
    let (reply, now) = (as_one(reply), call.shared.clock.now());
    let judged = judge::judge(&call.provider, &call.lane, claimed, &reply, now);
    if judged.event == Event::Refused
        && let Some(destination) = claimed.destination()
    {
        let door = call.door(Subject::default());
        door.take(Some(destination), &judged.event, judged.error.as_ref());
    }
    record_outcome(&call.shared, claimed, &judged, exchange.clone()).await;
    call.lane.wake.notify_one();
    call.lane.doubt.notify_one();
    accounts::wake_others(&call.shared, &call.provider, Some(prepared));
}

/// Whether it took effect is not known: look-ups find it out, for as long as they do.
async fn let_go(call: &Call, claimed: &Claimed) {
    let (attempt, error) = (claimed.attempt, reason::not_heard_of());
    tracing::warn!(attempt.id = %attempt, "a call that its provider works on is no longer followed");
    let lost = recovering::lose_sender(&call.shared, attempt, &claimed.invites, error).await;
    if let Err(error) = lost {
        tracing::error!(attempt.id = %attempt, %error, "cannot leave a followed call to look-ups; that is done when its lease is over");
    }
}

/// Does this, which may have to wait long for its turn, while the lease is renewed before it ends. None
/// if shutdown begins (questions may be left unanswered), or the invites are no longer this call's.
async fn holding<T>(
    call: &Call,
    claimed: &mut Claimed,
    doing: impl Future<Output = T>,
) -> Option<T> {
    let lease = call.shared.settings.lease;
    let mut due = claimed.lease_end - lease / 2;
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return Some(done),
            () = call.shared.stopping.cancelled() => return None,
            () = tokio::time::sleep_until(due) => {}
        }
        let attempt = claimed.attempt;
        let renew = move |state: &mut InviteState, now: Timestamp| {
            transition::renew(state, attempt, now + lease)
        };
        match extend(call, claimed, None, renew).await {
            Ok(true) => due = claimed.lease_end - lease / 2,
            Ok(false) => return None,
            Err(error) => {
                tracing::error!(attempt.id = %attempt, %error, "cannot renew the lease of a followed call");
                due = Instant::now() + lease / 10;
            }
        }
    }
}

/// The attempt that a look was.
fn question(door: &Door<'_>, claimed: &Claimed, asked: &Asked<Vec<Sighting>>) -> Ended {
    let shown = asked.result.as_ref().ok().map(|sightings| {
        let verdicts: Vec<Verdict> = sightings.iter().map(verdict).collect();
        describe(&claimed.invites, &verdicts)
    });
    record::ended(door, Operation::Reconcile, asked, shown)
}

/// Stores that it was asked about, as an attempt of its own, and when it is next; that renews the lease,
/// too. False if the invites are no longer this call's.
async fn extend_for(call: &Call, claimed: &mut Claimed, asked: Ended, pause: Duration) -> bool {
    let (lease, attempt) = (call.shared.settings.lease, claimed.attempt);
    let follow = move |state: &mut InviteState, now: Timestamp| {
        transition::follow(state, attempt, now + lease, now + pause, now)
    };
    extend(call, claimed, Some(asked), follow).await.unwrap_or_else(|error| {
        tracing::error!(attempt.id = %attempt, %error, "cannot record that a followed call was asked about");
        // The lease says so before it ends.
        true
    })
}

/// Extends the lease; false if the invites are no longer this call's.
async fn extend(
    call: &Call,
    claimed: &mut Claimed,
    asked: Option<Ended>,
    decide: impl Fn(&mut InviteState, Timestamp) -> Decision + Send + Sync + 'static,
) -> Result<bool, invite_store::Error> {
    let lease_end = Instant::now() + call.shared.settings.lease;
    let ids = claimed.invites.iter().map(|invite| invite.id).collect();
    let (begin, end) = asked.unzip();
    let decide = move |_, _: &InviteRecord, state: &mut _, now: Timestamp| decide(state, now);
    let change = Change { begin, end, ..Change::of(ids, decide) };
    match call.shared.store.change(change).await? {
        Changed::Written(invites) => {
            // One that cannot be read any more keeps its place, which its recipient has.
            for invite in invites {
                if let Some(known) = claimed.invites.iter_mut().find(|it| it.id == invite.id) {
                    *known = invite;
                }
            }
            claimed.lease_end = lease_end;
            crash_point("follow-after-renewal");
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The pause after this one: ever longer, because all that is followed takes from one rate budget, but
/// not so long that the lease has to be renewed between two looks that wait for nothing.
fn next_pause(pause: Duration, lease: Duration) -> Duration {
    (pause * 2).min(lease / 3)
}

fn lookup(call: &Call, claimed: &Claimed, prepared: &PreparedCall) -> Lookup {
    let said = claimed.invites.first().map(|invite| invite.state.provider_data.clone());
    let doubt = Doubt {
        call: prepared.clone(),
        recipients: claimed.recipients.clone(),
        // No later than their first attempts.
        first_attempts: claimed.invites.iter().map(|invite| invite.created_at).collect(),
        started_at: call.shared.clock.now(),
        data: said.unwrap_or_default(),
    };
    Lookup { destination: prepared.destination.clone(), doubts: vec![doubt] }
}

/// What a look at one call showed.
fn of_one_call(seen: Vec<Vec<Sighting>>) -> Vec<Sighting> {
    seen.into_iter().next().unwrap_or_default()
}

/// What is shown of the call's invites.
fn read(sightings: Vec<Sighting>) -> Showed {
    let n = sightings.len();
    let seen: Vec<Observed> =
        sightings.into_iter().filter_map(|sighting| sighting.exact.into_iter().next()).collect();
    if seen.is_empty() || seen.len() < n {
        Showed::Nothing
    } else if seen.iter().any(|seen| seen.status == Status::Sending) {
        Showed::Work
    } else {
        Showed::End(seen.into_iter().map(conclude).collect())
    }
}

/// The same of one of them, for the record.
fn verdict(sighting: &Sighting) -> Verdict {
    match sighting.exact.first() {
        Some(seen) => match conclude(seen.clone()) {
            Ok(seen) => Verdict::Exists(Box::new(seen)),
            Err(error) => Verdict::Refused(Reason::of(None, &error)),
        },
        None => {
            let gap = sighting.gap.as_deref().unwrap_or("the provider does not show it");
            Verdict::CannotTell(gap.to_owned())
        }
    }
}

/// A refusal of all of them is one of the call: those that it names are at fault, or any of them may
/// be.
fn as_one(results: Vec<Result<Observed, ProviderError>>) -> Reply {
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
