//! What a queued invite waits for, where neither the invite nor its provider's state shows it, and
//! until when; and what becomes of it if it waits for too long.

use std::sync::Arc;

use invite_core::InviteId;
use invite_store::{Change, Changed, InviteRecord, InviteState};

use crate::{obstacle::obstacle, reason, record::count_queued, shared::Shared, transition};

/// Fails queued invites that could not be sent in time: because of another invite to the same
/// person, which is named if it is of the same tenant, or of what hinders their provider's lane.
pub(crate) async fn give_up(
    shared: &Arc<Shared>,
    late: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    let mut errors = Vec::with_capacity(late.len());
    for invite in &late {
        errors.push(match in_doubt_to(shared, invite).await? {
            Some(other) => reason::given_up_behind(other.named_to(Some(&invite.tenant))),
            None => {
                let provider = invite.provider.as_deref().unwrap_or_default();
                reason::given_up(provider, hindrance(shared, provider, invite).as_deref())
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
        count_queued(shared, provider, &late, &after);
    }
    shared.waiters.wake(batches.into_iter());
    Ok(())
}

/// What keeps a provider's call for this invite from being made, for anybody to read.
fn hindrance(shared: &Arc<Shared>, provider: &str, invite: &InviteRecord) -> Option<String> {
    if let Some(obstacle) = obstacle(shared) {
        return Some(obstacle);
    }
    let destination = invite.destination.as_ref()?;
    shared.lane(provider).with_state(|state| state.hindrance(destination, shared.clock.now()))
}

/// An invite whose outcome another one waits for.
pub(crate) struct InDoubt {
    id: String,
    tenant: String,
}

impl InDoubt {
    /// Its id, for its own tenant or where none is given.
    pub fn named_to(self, tenant: Option<&str>) -> Option<InviteId> {
        let is_told = tenant.is_none_or(|tenant| tenant == self.tenant);
        self.id.parse().ok().filter(|_| is_told)
    }
}

/// Another invite to the same person at what may be the same place that is `sending` or `unknown`, or may
/// be.
pub(crate) async fn in_doubt_to(
    shared: &Shared,
    invite: &InviteRecord,
) -> Result<Option<InDoubt>, invite_store::Error> {
    let other = shared.store.in_doubt_to(invite).await?;
    Ok(other.map(|(id, tenant)| InDoubt { id, tenant }))
}
