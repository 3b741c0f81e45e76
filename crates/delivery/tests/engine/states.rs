//! States of invites, as tests make and read them.

use invite_core::{Origin, Outcome, Reason, ReasonCode};
use invite_store::{InviteRecord, InviteState, Phase, Unknown};

/// Why an invite is in doubt whose sender was lost.
pub fn sender_lost() -> Reason {
    let detail = "its sender is gone";
    Reason::new(ReasonCode::OutcomeUnknown, Origin::Gateway, Outcome::Unknown, detail)
}

/// Look-ups that were made of an invite in doubt.
pub fn lookups(invite: &InviteRecord) -> u32 {
    match &invite.state.phase {
        Phase::Unknown(unknown) => unknown.lookups,
        _ => 0,
    }
}

/// What is known of an invite that is in doubt.
pub fn in_doubt(state: &mut InviteState) -> &mut Unknown {
    match &mut state.phase {
        Phase::Unknown(unknown) => unknown,
        phase => panic!("it is not in doubt: {phase:?}"),
    }
}
