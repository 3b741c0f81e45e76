//! What people decide about an invite: changes that neither a call nor a look-up leads to.

use invite_core::{Observed, Outcome, Reason, Status, StatusSource};
use invite_store::{Decision, InviteState, Phase};
use jiff::Timestamp;

use crate::reason;

use super::{adopt_known_effect, copy_observed};

/// Sets the status that a caller asked for and the provider confirmed.
pub fn override_status(state: &mut InviteState, observed: &Observed, now: Timestamp) -> Decision {
    let phase = Phase::settled(observed.status)
        .filter(|to| state.status().can_become(state.source, to.status(), StatusSource::Caller));
    let Some(phase) = phase else { return Decision::Abort };
    state.phase = phase;
    state.source = StatusSource::Caller;
    copy_observed(state, observed, now);
    Decision::Write
}

/// Sets what a person found out about an unknown invite.
pub fn decide_unknown(state: &mut InviteState, to: Status, error: Option<Reason>) -> Decision {
    let phase = Phase::settled(to).filter(|to| {
        state.status() == Status::Unknown
            && state.status().can_become(state.source, to.status(), StatusSource::Caller)
    });
    let Some(phase) = phase else { return Decision::Abort };
    state.phase = phase;
    state.source = StatusSource::Caller;
    state.error = match state.provider_ref {
        Some(_) => error.map(reason::took_effect),
        None => error,
    };
    state.group_id = None;
    Decision::Write
}

/// Whether sending a failed invite again risks a second effect: it failed while nobody knew whether its call took effect,
/// and no effect has come to light since.
pub fn is_risky(state: &InviteState) -> bool {
    let outcome = state.error.as_ref().map(|reason| reason.outcome);
    outcome == Some(Outcome::Unknown) && state.provider_ref.is_none()
}

/// Puts a failed invite back in the queue; an unknown one, or one that may have taken effect, only if a person accepted the
/// risk of a second effect. If an effect is known, the invite is not sent again but takes that over.
pub fn requeue(state: &mut InviteState, accept_duplicate_risk: bool, now: Timestamp) -> Decision {
    let allowed = match state.status() {
        Status::Failed => accept_duplicate_risk || !is_risky(state),
        Status::Unknown => accept_duplicate_risk,
        _ => false,
    };
    if !allowed {
        return Decision::Abort;
    }
    if state.provider_ref.is_some() {
        adopt_known_effect(state, now);
        return Decision::Write;
    }
    state.phase = Phase::Queued { next_attempt_at: None };
    state.source = StatusSource::Caller;
    state.queued_at = now;
    state.group_id = None;
    state.error = None;
    state.found_absent = 0;
    Decision::Write
}

/// Withdraws an invite that is still queued.
pub fn withdraw(state: &mut InviteState) -> Decision {
    let Phase::Queued { .. } = state.phase else { return Decision::Abort };
    state.phase = Phase::Settled(Status::Revoked);
    state.source = StatusSource::Caller;
    Decision::Write
}
