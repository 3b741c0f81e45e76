//! States of invites and of the provider, as tests make and read them.

use invite_core::{Origin, Outcome, Reason, ReasonCode};
use invite_delivery::ProviderStatus;
use invite_store::{InviteRecord, InviteState, Phase, Unknown};

use super::Bench;

impl Bench {
    pub async fn find_status(&self) -> Option<ProviderStatus> {
        let counts = self.store.live_counts().await.unwrap();
        self.engine.provider_status("fake", &counts).await.unwrap()
    }

    pub async fn status(&self) -> ProviderStatus {
        self.find_status().await.unwrap()
    }
}

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
