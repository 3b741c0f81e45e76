//! What becomes of an invite that is open at its provider: what the provider says of it, and its end by the clock.

use invite_core::{Observed, Reason, Status, StatusSource};
use invite_store::{Decision, InviteState, Phase};
use jiff::{SignedDuration, Timestamp};

use super::copy_observed;

/// A question is answered within this time, which is longer than time-outs are.
pub(super) const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// For how long a provider is asked in vain about an invite that expired by the clock.
const ASKED_IN_VAIN: SignedDuration = SignedDuration::from_hours(24);

/// Applies what the provider says of an existing invite. A status that the present one cannot become changes nothing but
/// `checked_at`. An invite that has been queued again since the question is left to its attempts.
pub fn observe(state: &mut InviteState, observed: &Observed, now: Timestamp) -> Decision {
    if !state.status().is_settled() {
        return Decision::Keep;
    }
    let by = match observed.source {
        StatusSource::Inferred => StatusSource::Inferred,
        _ => StatusSource::Provider,
    };
    let was_expired = state.is_unconfirmed && may_undo_expiry(state, observed, now);
    if let Some(phase) = Phase::settled(observed.status)
        && (was_expired || state.status().can_become(state.source, observed.status, by))
    {
        if was_expired || state.phase != phase {
            state.source = by;
        }
        state.phase = phase;
        copy_observed(state, observed, now);
        if let Some(failure) = &observed.failure {
            state.error = Some(Reason::of(None, failure));
        }
    }
    state.checked_at = Some(now);
    // An answer that came sooner may have been asked for while the invite was open.
    if was_expired || is_long_over(state, ANSWERED_WITHIN, now) {
        state.is_unconfirmed = false;
    }
    Decision::Write
}

/// Whether an invite that expired by the clock becomes what its provider says: how it ended there, or open again because it was
/// prolonged.
fn may_undo_expiry(state: &InviteState, observed: &Observed, now: Timestamp) -> bool {
    let is_prolonged = observed.expires_at.is_some_and(|at| at > now);
    let is_open = observed.status.is_open_at_provider();
    state.status() == Status::Expired && (observed.status.is_final() || is_open && is_prolonged)
}

/// Whether the time of an invite was over for so long.
fn is_long_over(state: &InviteState, span: SignedDuration, now: Timestamp) -> bool {
    state.expires_at.is_none_or(|at| now.duration_since(at) >= span)
}

/// Notes that the provider was asked and did not say: all others are asked about first now. One that expired by the clock is
/// given up after a while.
pub fn ask_later(state: &mut InviteState, now: Timestamp) -> Decision {
    state.checked_at = Some(now);
    if state.provider_ref.is_none() || is_long_over(state, ASKED_IN_VAIN, now) {
        state.is_unconfirmed = false;
    }
    Decision::Write
}

/// Marks an open invite as expired whose `expires_at` is over.
pub fn lapse(state: &mut InviteState, now: Timestamp) -> Decision {
    let is_over = state.expires_at.is_some_and(|at| at <= now);
    if !state.status().is_open_at_provider() || !is_over {
        return Decision::Keep;
    }
    state.phase = Phase::Settled(Status::Expired);
    state.source = StatusSource::Inferred;
    state.is_unconfirmed = true;
    Decision::Write
}
