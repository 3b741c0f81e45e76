//! What a create call's reply means: the table of docs/delivery.md, for each invite, for the lane and
//! for the record. Nothing is stored here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use invite_config::Provider;
use invite_core::{
    AttemptId, AttemptOutcome, Cause, Observed, Outcome, ProviderError, Reason, Status,
    failpoint::resends_blindly,
};
use invite_store::InviteRecord;
use jiff::Timestamp;

use crate::{
    call::{Claimed, Reply},
    lane::{About, DestinationState, Event, Lane},
    reason,
    transition::{Settlement, Verdict},
};

/// What a reply means: for each invite, for the lane, and for the record.
pub(crate) struct Judged {
    pub settlements: Vec<Settlement>,
    pub outcome: AttemptOutcome,
    pub error: Option<ProviderError>,
    /// Ids of new invites that the reply named without showing whose they are.
    pub unpaired: Vec<String>,
    pub event: Event,
}

impl Judged {
    pub fn is_processing(&self) -> bool {
        self.settlements.iter().any(|settlement| {
            matches!(settlement, Settlement::Exists(seen) if seen.status == Status::Sending)
        })
    }
}

pub(crate) fn judge(
    provider: &Provider,
    lane: &Lane,
    claimed: &Claimed,
    reply: &Reply,
    now: Timestamp,
) -> Judged {
    let refusal = match reply {
        Ok(results) => refusal_of_all(results),
        Err(error) => Some(error),
    };
    let is_mixed = is_mixed(&claimed.invites);
    let Some(destination) = claimed.destination() else {
        let (settlements, unpaired) = (Vec::new(), Vec::new());
        let (outcome, event) = (AttemptOutcome::Succeeded, Event::Unasked);
        return Judged { settlements, outcome, error: None, unpaired, event };
    };
    let mut judged = lane.with_state(|state| {
        let place = state.destination(destination);
        match (refusal, reply) {
            (None, Ok(results)) => judge_items(provider, place, claimed, results, now),
            (Some(error), _) | (None, Err(error)) => {
                let (settlements, event) = judge_refusal(provider, place, claimed, error, now);
                let (outcome, error) = (error.outcome.into(), Some(error.clone()));
                Judged { settlements, outcome, error, unpaired: unpaired(reply), event }
            }
        }
    });
    if is_mixed {
        judged.settlements = judged.settlements.into_iter().map(in_own_words).collect();
    }
    judged
}

/// Whether these invites of one call are of several tenants, none of whom is told anything of the
/// others' invites: not how many there are, nor ids or words that may be about theirs.
pub(crate) fn is_mixed<'a>(invites: impl IntoIterator<Item = &'a InviteRecord>) -> bool {
    let mut tenants = invites.into_iter().map(|invite| &invite.tenant);
    tenants.next().is_some_and(|first| tenants.any(|tenant| tenant != first))
}

/// The same settlement without the provider's words.
fn in_own_words(settlement: Settlement) -> Settlement {
    match settlement {
        Settlement::Failed(reason) => Settlement::Failed(reason::in_own_words(reason)),
        Settlement::Unknown(reason) => Settlement::Unknown(reason::in_own_words(reason)),
        other => other,
    }
}

/// What refuses all invites of a call in the same words and names none is a refusal of the call.
fn refusal_of_all(results: &[Result<Observed, ProviderError>]) -> Option<&ProviderError> {
    let error = results.first()?.as_ref().err()?;
    let is_alike = results.iter().all(|result| result.as_ref() == Err(error));
    let is_of_call = error.outcome == Outcome::Rejected && !names_items(error, results.len());
    (is_alike && is_of_call).then_some(error)
}

fn judge_items(
    provider: &Provider,
    place: &mut DestinationState,
    claimed: &Claimed,
    results: &[Result<Observed, ProviderError>],
    now: Timestamp,
) -> Judged {
    let mut error = None;
    let shared = shared_refusals(results);
    let again = |i: usize| Settlement::Again {
        at: Some(now),
        group: claimed.invites[i].state.group_id.clone(),
    };
    let settle = |i: usize| match results.get(i) {
        Some(Ok(observed)) => {
            Settlement::Exists(Box::new(observed.clone().since(claimed.invites[i].created_at)))
        }
        Some(Err(refused)) => {
            let reason = Reason::of(Some(&provider.name), refused);
            error.get_or_insert_with(|| refused.clone());
            match refused.outcome {
                Outcome::Rejected => match blame(provider, refused, i, claimed.invites.len()) {
                    Verdict::Faultless => again(i),
                    Verdict::AtFault(reason) => Settlement::Failed(reason),
                    _ => match shared.get(&i) {
                        Some(group) => Settlement::Again { at: Some(now), group: group.clone() },
                        None => Settlement::Failed(reason),
                    },
                },
                Outcome::NotSent | Outcome::Throttled => again(i),
                Outcome::Unknown => Settlement::Unknown(reason),
            }
        }
        None => Settlement::Unknown(Reason::of(
            Some(&provider.name),
            &ProviderError::new(Outcome::Unknown, "the reply leaves this invite out"),
        )),
    };
    let settlements: Vec<_> = (0..claimed.invites.len()).map(settle).collect();
    let created = results.iter().filter(|result| result.is_ok()).count();
    if created > 0 {
        place.succeed(provider.adapter_since, created, now);
    }
    let unknown = settlements.iter().any(|s| matches!(s, Settlement::Unknown(_)));
    let exists = settlements.iter().any(|s| matches!(s, Settlement::Exists(_)));
    let outcome = match (unknown, exists) {
        (true, _) => AttemptOutcome::Unknown,
        (false, true) => AttemptOutcome::Succeeded,
        (false, false) => AttemptOutcome::Rejected,
    };
    let unpaired = unpaired_of(results);
    Judged { settlements, outcome, error, unpaired, event: Event::Success }
}

fn unpaired(reply: &Reply) -> Vec<String> {
    match reply {
        Ok(results) => unpaired_of(results),
        Err(error) => error.unpaired.clone(),
    }
}

fn unpaired_of(results: &[Result<Observed, ProviderError>]) -> Vec<String> {
    let errors = results.iter().filter_map(|result| result.as_ref().err());
    let ids: BTreeSet<&String> = errors.flat_map(|error| &error.unpaired).collect();
    ids.into_iter().cloned().collect()
}

/// The places of several that one refusal shares without naming any, each with the group of its
/// half: one of them may be at fault for all.
fn shared_refusals(results: &[Result<Observed, ProviderError>]) -> BTreeMap<usize, Option<String>> {
    let unnamed = |result: &Result<_, ProviderError>| {
        result.as_ref().err().is_some_and(|error| {
            error.outcome == Outcome::Rejected && !names_items(error, results.len())
        })
    };
    let mut shared = BTreeMap::new();
    for (i, result) in results.iter().enumerate().filter(|(_, result)| unnamed(result)) {
        let places: Vec<_> = (0..results.len()).filter(|j| results[*j] == *result).collect();
        if places.len() > 1 && places[0] == i {
            shared.extend(places.iter().copied().zip(halves(places.len())));
        }
    }
    shared
}

fn judge_refusal(
    provider: &Provider,
    place: &mut DestinationState,
    claimed: &Claimed,
    error: &ProviderError,
    now: Timestamp,
) -> (Vec<Settlement>, Event) {
    let n = claimed.invites.len();
    // What goes again queues behind the others, so that no invite and no destination holds up the lane.
    let again = |at| -> Vec<Settlement> {
        let group = claimed.invites.iter().map(|invite| invite.state.group_id.clone());
        group.map(|group| Settlement::Again { at: Some(at), group }).collect()
    };
    let reason = || Reason::of(Some(&provider.name), error);
    let fail = || vec![Settlement::Failed(reason()); n];
    let asked_wait = error.retry_after.map(|wait| wait.min(provider.limits.retry.max_retry_after));
    match (error.outcome, error.cause) {
        (Outcome::NotSent, cause) => {
            let pauses_at_once = cause == Cause::Transport;
            let event = match cause {
                Cause::Credentials | Cause::Configuration => Event::Refused,
                _ if asked_wait.is_some() => Event::Throttled(asked_wait),
                _ => Event::Failing { pauses_at_once },
            };
            // Being unreachable pauses the lane, which is wait enough; after another fault it would send these again at once.
            let wait = if pauses_at_once { Duration::ZERO } else { provider.limits.retry.first };
            (again(now + asked_wait.unwrap_or(wait)), event)
        }
        (Outcome::Throttled, _) if error.is_of_own_budget() => {
            (again(now + provider.limits.retry.first), Event::Unasked)
        }
        (Outcome::Throttled, _) => {
            (again(now + asked_wait.unwrap_or_default()), Event::Throttled(asked_wait))
        }
        // Only the fault campaign does this, to show that its tests notice a second effect.
        (Outcome::Unknown, _) if resends_blindly() => {
            (vec![Settlement::Again { at: None, group: None }; n], Event::Success)
        }
        (Outcome::Unknown, _) => {
            // A provider that asks for a wait, mostly with a 503, pauses the lane, and look-ups with it.
            let failing = Event::Failing { pauses_at_once: false };
            let event = asked_wait.map_or(failing, |wait| Event::Throttled(Some(wait)));
            (vec![Settlement::Unknown(reason()); n], event)
        }
        (Outcome::Rejected, Cause::Credentials | Cause::Configuration) => {
            (again(now), Event::Refused)
        }
        // If this credential has created something under this revision, a refusal of rights is about the invites;
        // otherwise it is about the configuration.
        (Outcome::Rejected, Cause::NotAuthorized)
            if place.created_under != Some(provider.adapter_since) =>
        {
            (again(now), Event::Refused)
        }
        (Outcome::Rejected, _) if names_items(error, n) => {
            (fail_named(provider, error, again(now)), Event::Success)
        }
        // If the destination is missing, a smaller call would be refused as well.
        (Outcome::Rejected, Cause::NotFound) => (fail(), Event::Success),
        // So many do not fit, but fewer may.
        (Outcome::Rejected, Cause::Quota) => {
            place.lacks_room_for(n, now);
            (if n == 1 { fail() } else { halve(n, now) }, Event::Success)
        }
        (Outcome::Rejected, _) if n == 1 => {
            match place.refusals.add_single(&error.message, claimed.invites[0].id, now) {
                About::Invite => (fail(), Event::Success),
                About::Undecided => (again(now + provider.limits.retry.first), Event::Success),
                About::Call => (again(now), Event::Refused),
            }
        }
        (Outcome::Rejected, _) => {
            let invites: BTreeSet<_> = claimed.invites.iter().map(|invite| invite.id).collect();
            place.refusals.add(&error.message, invites, now);
            (halve(n, now), Event::Success)
        }
    }
}

/// The invites that the refusal named fail; the others go again at once.
fn fail_named(
    provider: &Provider,
    error: &ProviderError,
    mut settlements: Vec<Settlement>,
) -> Vec<Settlement> {
    for (index, settlement) in settlements.iter_mut().enumerate() {
        if let Some(reason) = named_reason(provider, error, index) {
            *settlement = Settlement::Failed(reason);
        }
    }
    settlements
}

/// Whether a refusal names any of the `n` invites of its call.
fn names_items(error: &ProviderError, n: usize) -> bool {
    error.items.iter().any(|item| item.index < n)
}

/// What a refusal says of the invite at this place, if it names that one.
fn named_reason(provider: &Provider, error: &ProviderError, index: usize) -> Option<Reason> {
    let named = error.items.iter().filter(|item| item.index == index);
    let errors: Vec<_> = named.map(|item| item.fault.clone()).collect();
    (!errors.is_empty()).then(|| Reason { errors, ..Reason::of(Some(&provider.name), error) })
}

/// The refusal of a call that the provider ended without effect.
pub(crate) fn refusal(seen: &Observed) -> Option<ProviderError> {
    let unexplained =
        || ProviderError::new(Outcome::Rejected, "the provider ended it without effect");
    (seen.status == Status::Failed).then(|| seen.failure.clone().unwrap_or_else(unexplained))
}

/// Whom a refusal of a call blames: what it means for the one of its `n` invites at this index.
pub(crate) fn blame(provider: &Provider, error: &ProviderError, index: usize, n: usize) -> Verdict {
    if matches!(error.cause, Cause::Credentials | Cause::Configuration) {
        return Verdict::Faultless;
    }
    if !names_items(error, n) {
        return Verdict::Refused(Reason::of(Some(&provider.name), error));
    }
    named_reason(provider, error, index).map_or(Verdict::Faultless, Verdict::AtFault)
}

/// What the end of a call that waited for approval means for the one of its `n` invites at this place,
/// of which this is shown; `group` is that of its half. None if it says nothing. Where the call `is_mixed`
/// ([`is_mixed`]), none of the provider's words are in it.
pub(crate) fn judge_approval(
    provider: &Provider,
    seen: &Observed,
    index: usize,
    n: usize,
    group: Option<String>,
    is_mixed: bool,
    now: Timestamp,
) -> Option<Settlement> {
    let error = seen.failure.as_ref().filter(|_| seen.status == Status::Failed)?;
    let settlement = match blame(provider, error, index, n) {
        Verdict::AtFault(reason) => Settlement::Failed(reason),
        Verdict::Refused(reason) if n < 2 => Settlement::Failed(reason),
        Verdict::Refused(_) => Settlement::Again { at: Some(now), group },
        _ => Settlement::Again { at: Some(now), group: None },
    };
    Some(if is_mixed { in_own_words(settlement) } else { settlement })
}

/// One of them is at fault and nobody says which: each half goes by itself.
fn halve(n: usize, now: Timestamp) -> Vec<Settlement> {
    halves(n).into_iter().map(|group| Settlement::Again { at: Some(now), group }).collect()
}

/// The group of each of `n` invites whose next calls are to hold half of them; none for one alone.
pub(crate) fn halves(n: usize) -> Vec<Option<String>> {
    if n < 2 {
        return vec![None; n];
    }
    let groups = [AttemptId::generate().to_string(), AttemptId::generate().to_string()];
    (0..n).map(|i| Some(groups[usize::from(i >= n.div_ceil(2))].clone())).collect()
}

/// The group of each of `n` invites whose next calls are to hold one of them each; none for one alone.
pub(crate) fn singles(n: usize) -> Vec<Option<String>> {
    let single = |_| (n > 1).then(|| AttemptId::generate().to_string());
    (0..n).map(single).collect()
}
