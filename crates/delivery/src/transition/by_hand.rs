//! What people decide about an invite: the changes that no call and no look-up leads to.

use invite_core::{Observed, Outcome, Status, StatusSource};
use invite_store::{Decision, InviteState};
use jiff::Timestamp;
use serde_json::Value;

use crate::fault;

use super::{describe, leave_doubt, stand_for_known_effect};

/// Records that a caller set the status at the provider, which confirmed it.
pub fn override_status(state: &mut InviteState, observed: &Observed, now: Timestamp) -> Decision {
    if !state.status.can_become(state.source, observed.status, StatusSource::Caller) {
        return Decision::Abort;
    }
    state.status = observed.status;
    state.source = StatusSource::Caller;
    describe(state, observed, now);
    Decision::Write
}

/// A person decided what became of an unknown invite.
pub fn decide_unknown(state: &mut InviteState, to: Status, error: Option<Value>) -> Decision {
    if state.status != Status::Unknown
        || !state.status.can_become(state.source, to, StatusSource::Caller)
    {
        return Decision::Abort;
    }
    state.status = to;
    state.source = StatusSource::Caller;
    state.error = match state.provider_ref {
        Some(_) => error.map(fault::took_effect),
        None => error,
    };
    state.group_id = None;
    leave_doubt(state);
    Decision::Write
}

/// Whether sending a failed invite again risks a second effect: it failed while nobody knew whether
/// its call took effect, and none is known since.
pub fn is_risky(state: &InviteState) -> bool {
    let outcome = state.error.as_ref().and_then(|error| error["outcome"].as_str());
    outcome == Some(Outcome::Unknown.as_str()) && state.provider_ref.is_none()
}

/// Puts a failed invite back in the queue; an unknown one, or one that may have taken effect, only
/// if a person accepted the risk of a second effect. One of which an effect is known is not sent
/// again: it stands for that.
pub fn requeue(state: &mut InviteState, accept_duplicate_risk: bool, now: Timestamp) -> Decision {
    let allowed = match state.status {
        Status::Failed => accept_duplicate_risk || !is_risky(state),
        Status::Unknown => accept_duplicate_risk,
        _ => false,
    };
    if !allowed {
        return Decision::Abort;
    }
    if state.provider_ref.is_some() {
        return stand_for_known_effect(state, now);
    }
    state.status = Status::Queued;
    state.source = StatusSource::Caller;
    state.queued_at = now;
    state.next_attempt_at = None;
    state.group_id = None;
    state.error = None;
    state.found_absent = 0;
    leave_doubt(state);
    Decision::Write
}

/// Withdraws an invite that was not handed to the provider yet.
pub fn withdraw(state: &mut InviteState) -> Decision {
    if state.status != Status::Queued {
        return Decision::Abort;
    }
    state.status = Status::Revoked;
    state.source = StatusSource::Caller;
    state.next_attempt_at = None;
    Decision::Write
}
