//! What a queued invite waits for, where neither the invite nor its provider's state shows it, and
//! until when; and what becomes of it if it waits for too long.

use std::sync::Arc;

use invite_core::{InviteId, Outcome, Status};
use invite_store::{Change, InviteRecord, InviteState};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Engine, engine::Inner, fault, replica, transition};

impl Engine {
    /// What holds up a queued invite as a problem: its provider is no longer configured, or the
    /// outcome of another invite to the same person at the same place is awaited. That one is named
    /// if it is of this tenant, or of any where none is given.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn waits_for(
        &self,
        invite: &InviteRecord,
        tenant: Option<&str>,
    ) -> Result<Option<Value>, invite_store::Error> {
        if invite.state.status != Status::Queued {
            return Ok(None);
        }
        if let Err(gone) = self.provider_of(invite) {
            let detail = format!("{gone}; it waits until the provider is there again");
            return Ok(Some(fault::own("provider-gone", Outcome::NotSent, detail)));
        }
        let other = in_doubt_to(&self.0, invite).await?;
        Ok(other.map(|other| fault::waiting(other.named_to(tenant))))
    }

    /// When the next call for an invite is due: not before what holds up its provider's lane is over,
    /// as far as this process knows; none if nothing is to be done or nothing holds it up.
    pub fn next_attempt_at(&self, invite: &InviteRecord) -> Option<Timestamp> {
        let own = invite.state.next_attempt_at;
        let for_looks = match invite.state.status {
            Status::Queued => false,
            // Its call is followed, and not asked about while the lane is paused.
            Status::Sending if own.is_some() => false,
            Status::Unknown if own.is_some() => true,
            _ => return own,
        };
        let Ok(provider) = self.provider_of(invite) else { return own };
        let now = self.0.clock.now();
        let Some(destination) = &invite.destination else { return own };
        let lane = self.0.lane(&provider.name);
        own.max(lane.with_state(|state| state.opens_at(destination, now, for_looks)))
    }
}

/// Fails queued invites that could not be sent in time: because of another invite to the same
/// person, which is named if it is of the same tenant, or of what hinders their provider's lane.
pub(crate) async fn give_up(
    engine: &Arc<Inner>,
    late: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    let mut errors = Vec::with_capacity(late.len());
    for invite in &late {
        errors.push(match in_doubt_to(engine, invite).await? {
            Some(other) => fault::given_up_behind(other.named_to(Some(&invite.tenant))),
            None => {
                let provider = invite.provider.as_deref().unwrap_or_default();
                fault::given_up(provider, hindrance(engine, provider, invite).as_deref())
            }
        });
    }
    let batches: Vec<_> = late.iter().map(|invite| invite.batch_id).collect();
    let invites = late.iter().map(|invite| invite.id).collect();
    let decide = move |place: usize, _: &InviteRecord, state: &mut InviteState, _| {
        transition::give_up(state, &errors[place])
    };
    engine.store.change(Change::of(invites, decide)).await?;
    engine.waiters.wake(batches.into_iter());
    Ok(())
}

/// What keeps a provider's call for this invite from being made, for anybody to read.
fn hindrance(engine: &Arc<Inner>, provider: &str, invite: &InviteRecord) -> Option<String> {
    if let Some(obstacle) = replica::obstacle(engine) {
        return Some(obstacle);
    }
    let destination = invite.destination.as_ref()?;
    engine.lane(provider).with_state(|state| state.hindrance(destination, engine.clock.now()))
}

/// An invite whose outcome another one waits for.
pub(crate) struct InDoubt {
    id: String,
    tenant: String,
}

impl InDoubt {
    /// Its id, for its own tenant or where none is given.
    fn named_to(self, tenant: Option<&str>) -> Option<InviteId> {
        let is_told = tenant.is_none_or(|tenant| tenant == self.tenant);
        self.id.parse().ok().filter(|_| is_told)
    }
}

/// Another invite to the same person at what may be the same place that is `sending` or `unknown`, or may
/// be.
pub(crate) async fn in_doubt_to(
    engine: &Inner,
    invite: &InviteRecord,
) -> Result<Option<InDoubt>, invite_store::Error> {
    let other = engine.store.in_doubt_to(invite).await?;
    Ok(other.map(|(id, tenant)| InDoubt { id, tenant }))
}
