//! Following a call that the provider took but still works on (Turnkey's pending activities).
//!
//! The invites stay `sending`, and whoever follows renews their lease; if it goes away, recovery finds them.
//! Step by step: `docs/loops/following.md`.

use std::time::Duration;

use invite_core::{
    Doubt, Lookup, Observed, Operation, PreparedCall, ProviderError, Reason, Sighting, Status,
    failpoint::failpoint, http::Exchange,
};
use invite_store::{Change, Changed, Decision, InviteState};
use jiff::Timestamp;
use tokio::time::Instant;

use super::recovering;
use crate::{
    accounts,
    attempt::{Sender, store_outcome},
    call::{Claimed, Reply},
    commit::{EndedAttempt, ended_attempt},
    door::{Asked, Door, Subject},
    judge,
    lane::Event,
    lookups::verdicts::summary,
    reason,
    transition::{self, LOOK_UP_FOR, Verdict},
};

/// The pause before the first question.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long a call is followed without an answer that it is still worked on: the lane may be paused, or the provider
/// refuse to say, or not show the call.
const NO_ANSWER: Duration = Duration::from_secs(10 * 60);

/// What the provider shows of a call.
enum Progress {
    Ended(Vec<Result<Observed, ProviderError>>),
    Working,
    NotShown,
}

/// Asks until every invite of the call is settled, or shutdown begins. A call without an answer for [`NO_ANSWER`], or that
/// takes a day, is left to look-ups.
pub(crate) async fn follow(sender: &Sender, mut claimed: Claimed, prepared: PreparedCall) {
    let mut pause = FIRST_PAUSE;
    let began = Instant::now();
    let mut answered = began;
    loop {
        if renewing(sender, &mut claimed, tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = next_pause(pause, sender.shared.settings.lease);
        if answered.elapsed() >= NO_ANSWER || began.elapsed() >= LOOK_UP_FOR {
            return stop_following(sender, &claimed).await;
        }
        let now = sender.shared.clock.now();
        let destination = &prepared.destination;
        if sender.lane.with_state(|state| state.wait_at(destination, now)).is_some() {
            continue;
        }
        let lookup = lookup(sender, &claimed, &prepared);
        let subject = Subject { attempt: Some(claimed.attempt), ..Subject::of(&claimed.invites) };
        // The credential may have been replaced since the call was made.
        let document = sender.shared.live.current();
        let provider = document.provider(&sender.lane.name).unwrap_or(&sender.provider);
        let door = Door { provider, ..sender.door(subject) };
        let looking = door.look_up(lookup, None);
        let Some(asked) = renewing(sender, &mut claimed, looking).await else { return };
        let asked = asked.map(of_one_call);
        let attempt = question(&door, &claimed, &asked);
        let is_ours = store_question(sender, &mut claimed, attempt, pause).await;
        match asked.result.map_or(Progress::NotShown, progress) {
            Progress::Ended(reply) => {
                return settle(sender, &claimed, &prepared, reply, &asked.exchange).await;
            }
            _ if !is_ours => return,
            Progress::Working => answered = Instant::now(),
            Progress::NotShown => {}
        }
    }
}

/// Settles the call's invites by what the provider showed, which counts as the reply to the call itself.
async fn settle(
    sender: &Sender,
    claimed: &Claimed,
    prepared: &PreparedCall,
    reply: Vec<Result<Observed, ProviderError>>,
    exchange: &Option<Exchange>,
) {
    let (reply, now) = (as_one(reply), sender.shared.clock.now());
    let judged = judge::judge(&sender.provider, &sender.lane, claimed, &reply, now);
    if judged.event == Event::Refused
        && let Some(destination) = claimed.destination()
    {
        let door = sender.door(Subject::default());
        door.update_health(Some(destination), &judged.event, judged.error.as_ref());
    }
    store_outcome(&sender.shared, claimed, &judged, exchange.clone()).await;
    sender.lane.wake_for_all();
    sender.lane.wake_look_ups.notify_one();
    accounts::wake_others(&sender.shared, &sender.provider, Some(prepared));
}

/// Leaves the call to look-ups: whether it took effect is not known.
async fn stop_following(sender: &Sender, claimed: &Claimed) {
    let (attempt, error) = (claimed.attempt, reason::not_heard_of());
    let name = &sender.lane.name;
    tracing::warn!(attempt.id = %attempt, provider.name = name, "a call that {name} took to work on is no longer followed: look-ups have to find out what became of it");
    let lost = recovering::lose_sender(&sender.shared, attempt, &claimed.invites, error).await;
    if let Err(error) = lost {
        tracing::warn!(attempt.id = %attempt, provider.name = name, %error, "cannot leave a followed call at {name} to look-ups now; that is done when its lease is over");
    }
}

/// Waits for something, which may take long, and renews the lease meanwhile. `None` if shutdown begins, as nothing is lost
/// with an answer, or if the invites are no longer this call's.
async fn renewing<T>(
    sender: &Sender,
    claimed: &mut Claimed,
    doing: impl Future<Output = T>,
) -> Option<T> {
    let lease = sender.shared.settings.lease;
    let mut due = claimed.lease_end - lease / 2;
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return Some(done),
            () = sender.shared.stopping.cancelled() => return None,
            () = tokio::time::sleep_until(due) => {}
        }
        let attempt = claimed.attempt;
        let decide = move |state: &mut InviteState, now: Timestamp| {
            transition::renew(state, attempt, now + lease)
        };
        match renew(sender, claimed, None, decide).await {
            Ok(true) => due = claimed.lease_end - lease / 2,
            Ok(false) => return None,
            Err(error) => {
                let name = &sender.lane.name;
                tracing::warn!(attempt.id = %attempt, provider.name = name, %error, "cannot renew the lease of a followed call at {name}; trying again");
                due = Instant::now() + lease / 10;
            }
        }
    }
}

/// A question about a followed call, as an attempt.
fn question(door: &Door<'_>, claimed: &Claimed, asked: &Asked<Vec<Sighting>>) -> EndedAttempt {
    let shown = asked.result.as_ref().ok().map(|sightings| {
        let verdicts: Vec<Verdict> = sightings.iter().map(verdict).collect();
        summary(&claimed.invites, &verdicts)
    });
    ended_attempt(door, Operation::Reconcile, asked, shown)
}

/// Stores a question about the call and when the next comes, which renews the lease, too. False if the invites are no
/// longer this call's.
async fn store_question(
    sender: &Sender,
    claimed: &mut Claimed,
    asked: EndedAttempt,
    pause: Duration,
) -> bool {
    let (lease, attempt) = (sender.shared.settings.lease, claimed.attempt);
    let decide = move |state: &mut InviteState, now: Timestamp| {
        transition::keep_following(state, attempt, now + lease, now + pause, now)
    };
    renew(sender, claimed, Some(asked), decide).await.unwrap_or_else(|error| {
        let name = &sender.lane.name;
        tracing::warn!(attempt.id = %attempt, provider.name = name, %error, "cannot store what {name} said of a followed call");
        // Renewing the lease will tell.
        true
    })
}

/// Renews the lease; false if the invites are no longer this call's.
async fn renew(
    sender: &Sender,
    claimed: &mut Claimed,
    asked: Option<EndedAttempt>,
    decide: impl Fn(&mut InviteState, Timestamp) -> Decision + Send + Sync + 'static,
) -> Result<bool, invite_store::Error> {
    let lease_end = Instant::now() + sender.shared.settings.lease;
    let ids = claimed.invites.iter().map(|invite| invite.id).collect();
    let (begin, end) = asked.unzip();
    let change = Change { begin, end, ..Change::each(ids, decide) };
    match sender.shared.store.change(change).await? {
        Changed::Written(invites) => {
            // One that cannot be read any more stays as it was, as places must not shift.
            for invite in invites {
                if let Some(known) = claimed.invites.iter_mut().find(|it| it.id == invite.id) {
                    *known = invite;
                }
            }
            claimed.lease_end = lease_end;
            failpoint("follow-after-renewal");
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The pause after this one. They grow, because all that is followed shares one rate budget, but not so far that the lease
/// would have to be renewed between two questions.
fn next_pause(pause: Duration, lease: Duration) -> Duration {
    (pause * 2).min(lease / 3)
}

fn lookup(sender: &Sender, claimed: &Claimed, prepared: &PreparedCall) -> Lookup {
    let said = claimed.invites.first().map(|invite| invite.state.provider_data.clone());
    let doubt = Doubt {
        call: prepared.clone(),
        recipients: claimed.recipients.clone(),
        // Each was accepted before its first attempt.
        first_attempts: claimed.invites.iter().map(|invite| invite.created_at).collect(),
        absence_counts: Vec::new(),
        // As if it began now: the provider still works on it, so its age shows nothing.
        started_at: sender.shared.clock.now(),
        data: said.unwrap_or_default(),
    };
    Lookup { destination: prepared.destination.clone(), doubts: vec![doubt] }
}

/// The sightings of a look-up of one call.
fn of_one_call(seen: Vec<Vec<Sighting>>) -> Vec<Sighting> {
    seen.into_iter().next().unwrap_or_default()
}

fn progress(sightings: Vec<Sighting>) -> Progress {
    let n = sightings.len();
    let seen: Vec<Observed> =
        sightings.into_iter().filter_map(|sighting| sighting.exact.into_iter().next()).collect();
    if seen.is_empty() || seen.len() < n {
        Progress::NotShown
    } else if seen.iter().any(|seen| seen.status == Status::Sending) {
        Progress::Working
    } else {
        Progress::Ended(seen.into_iter().map(conclude).collect())
    }
}

/// What is shown of one invite, for the attempt.
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

/// A refusal of all invites is one of the call: those that any part of it names are at fault, or any may be.
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

fn conclude(seen: Observed) -> Result<Observed, ProviderError> {
    judge::refusal(&seen).map_or(Ok(seen), Err)
}

#[cfg(test)]
mod tests {
    use invite_core::{Fault, ItemFault, Outcome};

    use super::*;

    #[test]
    fn pauses_grow_to_a_third_of_the_lease() {
        let lease = Duration::from_secs(60);
        let mut pauses = vec![FIRST_PAUSE];
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
            Err(ProviderError { items, ..ProviderError::new(Outcome::Rejected, "made up") })
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
