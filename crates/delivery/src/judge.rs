//! What a create call's reply means: the table of docs/delivery.md, for each invite, for the lane and
//! for the record. Nothing is stored here.

use std::{collections::BTreeMap, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, Cause, Observed, Outcome, ProviderError, Status, sabotage::resends_blindly,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    attempt::{Claimed, Reply},
    fault,
    lane::{Event, Lane},
    transition::{Settlement, Verdict},
};

/// What a reply means: for each invite, for the lane, and for the record.
pub(crate) struct Judged {
    pub settlements: Vec<Settlement>,
    pub outcome: &'static str,
    pub error: Option<ProviderError>,
    pub event: Event,
}

impl Judged {
    pub fn is_processing(&self) -> bool {
        self.settlements.iter().any(|settlement| {
            matches!(settlement, Settlement::Exists(seen) if seen.status == Status::Sending)
        })
    }
}

/// Decides by the table of docs/delivery.md.
pub(crate) fn judge(
    provider: &Provider,
    lane: &Lane,
    claimed: &Claimed,
    reply: &Reply,
    now: Timestamp,
) -> Judged {
    match reply {
        Ok(results) => judge_items(provider, lane, claimed, results),
        Err(error) => {
            let proven =
                lane.with_state(|state| state.created_under == Some(provider.adapter_since));
            let (settlements, event) = judge_refusal(provider, claimed, error, proven, now);
            Judged {
                settlements,
                outcome: error.outcome.as_str(),
                error: Some(error.clone()),
                event,
            }
        }
    }
}

fn judge_items(
    provider: &Provider,
    lane: &Lane,
    claimed: &Claimed,
    results: &[Result<Observed, ProviderError>],
) -> Judged {
    let mut error = None;
    let shared = shared_refusals(results);
    let again =
        |i: usize| Settlement::Again { at: None, group: claimed.invites[i].state.group_id.clone() };
    let settle = |i: usize| match results.get(i) {
        Some(Ok(observed)) => {
            Settlement::Exists(Box::new(observed.clone().since(claimed.invites[i].created_at)))
        }
        Some(Err(refused)) => {
            let fault = fault::refused(Some(&provider.name), refused);
            error.get_or_insert_with(|| refused.clone());
            match refused.outcome {
                Outcome::Rejected => match blame(provider, refused, i, claimed.invites.len()) {
                    Verdict::Faultless => again(i),
                    Verdict::AtFault(fault) => Settlement::Failed(fault),
                    _ => match shared.get(&i) {
                        Some(group) => Settlement::Again { at: None, group: group.clone() },
                        None => Settlement::Failed(fault),
                    },
                },
                Outcome::NotSent | Outcome::Throttled => again(i),
                Outcome::Unknown => Settlement::Unknown(fault),
            }
        }
        None => Settlement::Unknown(fault::refused(
            Some(&provider.name),
            &ProviderError::new(Outcome::Unknown, "the reply leaves this invite out"),
        )),
    };
    let settlements: Vec<_> = (0..claimed.invites.len()).map(settle).collect();
    if results.iter().any(Result::is_ok) {
        lane.with_state(|state| state.created_under = Some(provider.adapter_since));
    }
    let unknown = settlements.iter().any(|s| matches!(s, Settlement::Unknown(_)));
    let exists = settlements.iter().any(|s| matches!(s, Settlement::Exists(_)));
    let outcome = match (unknown, exists) {
        (true, _) => Outcome::Unknown.as_str(),
        (false, true) => "succeeded",
        (false, false) => Outcome::Rejected.as_str(),
    };
    Judged { settlements, outcome, error, event: Event::Success }
}

/// The places of several that one refusal shares without naming any, each with the group of its
/// half: one of them may be at fault for all.
fn shared_refusals(results: &[Result<Observed, ProviderError>]) -> BTreeMap<usize, Option<String>> {
    let unnamed = |result: &Result<_, ProviderError>| {
        result.as_ref().err().is_some_and(|error| {
            error.outcome == Outcome::Rejected
                && error.cause != Cause::Quota
                && !names_items(error, results.len())
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

/// `proven`: this credential has created something under this revision, so a refusal of rights is
/// about the invites and not about the configuration.
fn judge_refusal(
    provider: &Provider,
    claimed: &Claimed,
    error: &ProviderError,
    proven: bool,
    now: Timestamp,
) -> (Vec<Settlement>, Event) {
    let n = claimed.invites.len();
    let again = |at| vec![Settlement::Again { at, group: None }; n];
    let within_group = |at| -> Vec<Settlement> {
        let group = claimed.invites.iter().map(|invite| invite.state.group_id.clone());
        group.map(|group| Settlement::Again { at, group }).collect()
    };
    let keep_group = |at| within_group(Some(at));
    let fault = || fault::refused(Some(&provider.name), error);
    match (error.outcome, error.cause) {
        // Whoever goes again once a pause is over goes behind the others, so that no invite and no
        // destination holds up the lane.
        (Outcome::NotSent, cause) => {
            let unreachable = cause == Cause::Transport;
            let event = match cause {
                Cause::Credentials | Cause::Configuration => Event::Credentials,
                _ => Event::Failing { unreachable },
            };
            // A lane that goes on needs each invite to wait by itself.
            let wait = if unreachable { Duration::ZERO } else { provider.limits.retry.first };
            (keep_group(now + wait), event)
        }
        (Outcome::Throttled, _) if error.is_of_own_budget() => {
            (keep_group(now + provider.limits.retry.first), Event::Unasked)
        }
        (Outcome::Throttled, _) => {
            let wait = error.retry_after.unwrap_or_default().min(provider.limits.retry.max);
            (keep_group(now + wait), Event::Throttled(error.retry_after))
        }
        (Outcome::Unknown, _) if resends_blindly() => (again(None), Event::Success),
        (Outcome::Unknown, _) => {
            (vec![Settlement::Unknown(fault()); n], Event::Failing { unreachable: false })
        }
        (Outcome::Rejected, Cause::Credentials | Cause::Configuration) => {
            (keep_group(now), Event::Credentials)
        }
        (Outcome::Rejected, Cause::NotAuthorized) if !proven => {
            (keep_group(now), Event::Credentials)
        }
        (Outcome::Rejected, Cause::Quota) => (vec![Settlement::Failed(fault()); n], Event::Success),
        (Outcome::Rejected, _) if names_items(error, n) => {
            (fail_named(provider, error, within_group(None)), Event::Success)
        }
        (Outcome::Rejected, _) if n == 1 => (vec![Settlement::Failed(fault())], Event::Success),
        (Outcome::Rejected, _) => (halve(n), Event::Success),
    }
}

/// The invites that the refusal named fail; the others go again at once.
fn fail_named(
    provider: &Provider,
    error: &ProviderError,
    mut settlements: Vec<Settlement>,
) -> Vec<Settlement> {
    for (index, settlement) in settlements.iter_mut().enumerate() {
        if let Some(fault) = named_fault(provider, error, index) {
            *settlement = Settlement::Failed(fault);
        }
    }
    settlements
}

/// Whether a refusal names any of the `n` invites of its call.
fn names_items(error: &ProviderError, n: usize) -> bool {
    error.items.iter().any(|item| item.index < n)
}

/// What a refusal says of the invite at this place, if it names that one.
fn named_fault(provider: &Provider, error: &ProviderError, index: usize) -> Option<Value> {
    let faults: Vec<_> =
        error.items.iter().filter(|item| item.index == index).map(|item| &item.fault).collect();
    if faults.is_empty() {
        return None;
    }
    let mut fault = fault::refused(Some(&provider.name), error);
    fault["errors"] = serde_json::to_value(&faults).unwrap_or(Value::Null);
    Some(fault)
}

/// What a refusal that was learnt of later means for one of the call's `n` invites.
pub(crate) fn blame(provider: &Provider, error: &ProviderError, index: usize, n: usize) -> Verdict {
    if !names_items(error, n) {
        return Verdict::Refused(fault::refused(Some(&provider.name), error));
    }
    named_fault(provider, error, index).map_or(Verdict::Faultless, Verdict::AtFault)
}

/// What the end of a call that waited for approval means for the one of its `n` invites at this place,
/// of which this is shown; `group` is that of its half. None if it says nothing.
pub(crate) fn judge_approval(
    provider: &Provider,
    seen: &Observed,
    index: usize,
    n: usize,
    group: Option<String>,
) -> Option<Settlement> {
    let error = seen.failure.as_ref().filter(|_| seen.status == Status::Failed)?;
    Some(match blame(provider, error, index, n) {
        Verdict::AtFault(fault) => Settlement::Failed(fault),
        Verdict::Refused(fault) if n < 2 || error.cause == Cause::Quota => {
            Settlement::Failed(fault)
        }
        Verdict::Refused(_) => Settlement::Again { at: None, group },
        _ => Settlement::Again { at: None, group: None },
    })
}

/// One of them is at fault and nobody says which: each half goes by itself.
fn halve(n: usize) -> Vec<Settlement> {
    halves(n).into_iter().map(|group| Settlement::Again { at: None, group }).collect()
}

/// The group of each of `n` invites whose next calls are to hold half of them; none for one alone.
pub(crate) fn halves(n: usize) -> Vec<Option<String>> {
    if n < 2 {
        return vec![None; n];
    }
    let groups = [AttemptId::generate().to_string(), AttemptId::generate().to_string()];
    (0..n).map(|i| Some(groups[usize::from(i >= n.div_ceil(2))].clone())).collect()
}
