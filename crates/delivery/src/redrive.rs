//! Failed invites back into the queue, by filter.

use invite_core::Status;
use invite_store::{InviteFilter, InviteRecord};
use serde::Serialize;

use crate::{Engine, OperationError};

/// Invites read at once.
const PAGE: u32 = 200;

/// What became of the failed invites that a filter matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Failed invites that the filter matched and that can be sent at all.
    pub matched: u64,
    /// Queued again; in a dry run those that would be.
    pub queued: u64,
    /// Left alone: the person has a live invite there by now.
    pub duplicates: u64,
}

impl Engine {
    /// Queues the failed invites that `filter` matches again, each by the rules of
    /// [`retry`](Self::retry); a dry run only counts.
    ///
    /// # Errors
    /// If the store cannot be read or written; what was queued until then stays queued.
    pub async fn redrive(
        &self,
        filter: InviteFilter,
        dry_run: bool,
    ) -> Result<Redriven, invite_store::Error> {
        let filter = InviteFilter { statuses: vec![Status::Failed], ..filter };
        let mut redriven = Redriven::default();
        let mut before = None;
        loop {
            let page = self.store().invites(&filter, before, PAGE).await?;
            for invite in page.invites.iter().filter(|invite| invite.destination.is_some()) {
                redriven.matched += 1;
                self.redrive_one(invite, dry_run, &mut redriven).await?;
            }
            before = page.next;
            if before.is_none() {
                return Ok(redriven);
            }
        }
    }

    async fn redrive_one(
        &self,
        invite: &InviteRecord,
        dry_run: bool,
        redriven: &mut Redriven,
    ) -> Result<(), invite_store::Error> {
        let done = if dry_run {
            self.live_duplicate(invite).await.map(|found| found.is_none())
        } else {
            self.retry(invite.id, false).await.map(|_| true)
        };
        match done {
            Ok(true) => redriven.queued += 1,
            Ok(false) | Err(OperationError::Duplicate { .. }) => redriven.duplicates += 1,
            Err(OperationError::Store(error)) => return Err(error),
            // It moved on meanwhile, or its provider is gone: not for this call.
            Err(_) => {}
        }
        Ok(())
    }
}
