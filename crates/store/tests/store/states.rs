//! States of invites, as tests make them.

use invite_core::{AttemptId, Origin, Outcome, Reason, ReasonCode, Status};
use invite_store::{InviteState, Phase, Unknown};
use jiff::Timestamp;

use crate::fixture::seconds;

/// Why something failed, in these words.
pub fn reason(detail: &str) -> Reason {
    Reason::new(ReasonCode::OutcomeUnknown, Origin::Provider, Outcome::Unknown, detail)
}

/// Where an invite in this status stands.
pub fn phase(status: Status) -> Phase {
    let holder = AttemptId::generate();
    match status {
        Status::Queued => Phase::Queued { next_attempt_at: None },
        Status::Sending => {
            Phase::Sending { holder, lease_until: seconds(60), next_attempt_at: None }
        }
        Status::Unknown => Phase::Unknown(Unknown {
            holder,
            ended_at: seconds(0),
            absent_since: None,
            lookups: 0,
            next_attempt_at: None,
        }),
        settled => Phase::Settled(settled),
    }
}

/// Sets when the next call or look-up of an invite that is not settled is due.
pub fn set_due(state: &mut InviteState, at: Option<Timestamp>) {
    match &mut state.phase {
        Phase::Queued { next_attempt_at }
        | Phase::Sending { next_attempt_at, .. }
        | Phase::Unknown(Unknown { next_attempt_at, .. }) => *next_attempt_at = at,
        Phase::Settled(_) => {}
    }
}
