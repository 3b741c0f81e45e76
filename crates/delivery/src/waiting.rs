//! Which other invite a queued one waits for, and what becomes of one that waits for too long.

use std::sync::Arc;

use invite_core::InviteId;
use invite_store::{Change, Changed, InviteRecord, InviteState};

use crate::{commit::correct_queue, obstacle::obstacle, reason, shared::Shared, transition};

/// Fails queued invites that could not be sent in time, with the reason: another invite to the same person, which is named
/// if it is of the same tenant, or a pause of their provider's lane.
pub(crate) async fn give_up(
    shared: &Arc<Shared>,
    late: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    let mut errors = Vec::with_capacity(late.len());
    for invite in &late {
        errors.push(match person_taken_by(shared, invite).await? {
            Some(other) => reason::given_up_waiting(other.named_to(Some(&invite.tenant))),
            None => {
                let provider = invite.provider.as_deref().unwrap_or_default();
                reason::given_up(provider, pause_reason(shared, provider, invite).as_deref())
            }
        });
    }
    let batches: Vec<_> = late.iter().map(|invite| invite.batch_id).collect();
    let invites = late.iter().map(|invite| invite.id).collect();
    let decide = move |place: usize, _: &InviteRecord, state: &mut InviteState, _| {
        transition::give_up(state, errors[place].clone())
    };
    let changed = shared.store.change(Change::of(invites, decide)).await?;
    if let (Changed::Written(after), Some(provider)) =
        (changed, late.first().and_then(|invite| invite.provider.as_deref()))
    {
        correct_queue(shared, provider, &late, &after);
    }
    shared.waiters.wake(batches.into_iter());
    Ok(())
}

/// Why no calls are made for this invite, for anybody to read.
fn pause_reason(shared: &Arc<Shared>, provider: &str, invite: &InviteRecord) -> Option<String> {
    if let Some(obstacle) = obstacle(shared) {
        return Some(obstacle);
    }
    let destination = invite.destination.as_ref()?;
    shared.lane(provider).with_state(|state| state.pause_reason(destination, shared.clock.now()))
}

/// The invite that another one waits for.
pub(crate) struct Other {
    id: String,
    tenant: String,
}

impl Other {
    /// Its id, if that may be told to `tenant`: its own, or whoever gives none.
    pub fn named_to(self, tenant: Option<&str>) -> Option<InviteId> {
        let is_visible = tenant.is_none_or(|tenant| tenant == self.tenant);
        self.id.parse().ok().filter(|_| is_visible)
    }
}

/// Another invite to the same person at what may be the same destination that is `sending` or `unknown`, or may
/// be.
pub(crate) async fn person_taken_by(
    shared: &Shared,
    invite: &InviteRecord,
) -> Result<Option<Other>, invite_store::Error> {
    let other = shared.store.person_taken_by(invite).await?;
    Ok(other.map(|(id, tenant)| Other { id, tenant }))
}
