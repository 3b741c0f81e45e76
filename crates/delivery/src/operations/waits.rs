//! What a queued invite waits for, where neither the invite nor its provider's state shows it, and until when.

use invite_core::{Outcome, Reason, ReasonCode, Status};
use invite_store::InviteRecord;
use jiff::Timestamp;

use crate::{reason, shared::Engine, waiting::person_taken_by};

impl Engine {
    /// What a queued invite waits for: a provider that is no longer configured, or the outcome of another invite to the
    /// same person at the same place. That one is named only to its own `tenant`; to whoever gives none, always.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn waits_for(
        &self,
        invite: &InviteRecord,
        tenant: Option<&str>,
    ) -> Result<Option<Reason>, invite_store::Error> {
        if invite.state.status() != Status::Queued {
            return Ok(None);
        }
        if let Err(gone) = self.provider_of(invite) {
            let detail = format!("{gone}; it waits until the provider is there again");
            return Ok(Some(reason::own(ReasonCode::ProviderGone, Outcome::NotSent, detail)));
        }
        let other = person_taken_by(&self.shared, invite).await?;
        Ok(other.map(|other| reason::waiting(other.named_to(tenant))))
    }

    /// When the next call for an invite is due, which is not before the pause of its provider's lane ends, as far as this
    /// process knows. `None` if no call is to come, or one may be made now.
    pub fn next_attempt_at(&self, invite: &InviteRecord) -> Option<Timestamp> {
        let own = invite.state.next_attempt_at();
        let for_look_ups = match invite.state.status() {
            Status::Queued => false,
            // Its call is followed, which rests while the lane is paused.
            Status::Sending if own.is_some() => false,
            Status::Unknown if own.is_some() => true,
            _ => return own,
        };
        let Ok(provider) = self.provider_of(invite) else { return own };
        let now = self.shared.clock.now();
        let Some(destination) = &invite.destination else { return own };
        let lane = self.shared.lane(&provider.name);
        own.max(lane.with_state(|state| state.opens_at(destination, now, for_look_ups)))
    }
}
