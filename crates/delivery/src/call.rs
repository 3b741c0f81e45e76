//! A call whose invites are claimed: data.

use std::sync::Arc;

use invite_core::{AttemptId, Destination, Observed, ProviderError, Recipient, Stopwatch};
use invite_store::InviteRecord;
use tokio::time::Instant;

/// The result of a create call: for each recipient, or one error for all of them.
pub(crate) type Reply = Result<Vec<Result<Observed, ProviderError>>, ProviderError>;

/// A call whose invites are `sending` under a lease.
pub(crate) struct Claimed {
    pub attempt: AttemptId,
    pub invites: Vec<InviteRecord>,
    pub recipients: Vec<Recipient>,
    /// When the lease is over as far as this process goes by it; a call that is followed renews it before.
    pub lease_end: Instant,
    /// How old the claim is, by whichever clock says more: nothing is sent once that is as much as the lease.
    pub age: Arc<Stopwatch>,
}

impl Claimed {
    /// Where the call goes; none if it has no invites.
    pub fn destination(&self) -> Option<&Destination> {
        self.recipients.first().map(|recipient| &recipient.destination)
    }
}

/// An invite as the adapters see it; none for an item that was refused before it was bound.
pub(crate) fn recipient(invite: &InviteRecord) -> Option<Recipient> {
    Some(Recipient {
        id: invite.id,
        invitee: invite.invitee.clone(),
        address: invite.address.clone()?,
        destination: invite.destination.clone()?,
        params: invite.params.clone(),
    })
}
