//! What a queued invite waits for, where neither the invite nor its provider's state shows it; and
//! what becomes of it if it waits for too long.

use invite_core::{InviteId, Outcome, Status};
use invite_store::{Change, InviteFilter, InviteRecord, InviteState};
use serde_json::Value;

use crate::{Engine, engine::Inner, fault, transition};

impl Engine {
    /// What holds up a queued invite as a problem: its provider is no longer configured, or the
    /// outcome of another invite to the same person at the same place is awaited. That one is named
    /// if it is of this tenant, or of any where none is given; else nothing is told of it.
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
        let (code, detail) = if let Err(gone) = self.provider_of(invite) {
            ("provider-gone", format!("{gone}; it waits until the provider is there again"))
        } else if let Some(other) = in_doubt_to(&self.0, invite, tenant).await? {
            let detail =
                format!("waits for {other}, to the same person at the same place, to settle");
            ("waiting", detail)
        } else {
            return Ok(None);
        };
        Ok(Some(fault::own(code, Outcome::NotSent, detail)))
    }
}

/// Fails queued invites that could not be sent in time. One that waited for another invite to the
/// same person names it, if it is of the same tenant.
pub(crate) async fn give_up(
    engine: &Inner,
    late: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    let mut errors = Vec::with_capacity(late.len());
    for invite in &late {
        let waited_for = in_doubt_to(engine, invite, Some(&invite.tenant)).await?;
        errors.push(fault::given_up(waited_for));
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

/// An invite to the same person at the same place that is `sending` or `unknown`; of this tenant, if
/// one is given.
pub(crate) async fn in_doubt_to(
    engine: &Inner,
    invite: &InviteRecord,
    tenant: Option<&str>,
) -> Result<Option<InviteId>, invite_store::Error> {
    let filter = InviteFilter {
        tenant: tenant.map(str::to_owned),
        address: invite.address.clone(),
        statuses: vec![Status::Sending, Status::Unknown],
        ..InviteFilter::default()
    };
    let in_doubt = engine.store.invites(&filter, None, 100).await?.invites;
    Ok(in_doubt.iter().find(|other| other.destination == invite.destination).map(|other| other.id))
}
