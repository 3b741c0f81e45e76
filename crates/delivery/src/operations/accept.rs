//! Taking a batch: room for it, its rows, and whoever waits for it.

use std::{collections::BTreeMap, time::Duration};

use invite_core::{BatchId, failpoint::failpoint};
use invite_store::{Acceptance, Accepted, InviteRecord, NewBatch, News, NoRoom, Placement};
use tokio::time::Instant;

use crate::{
    error::AcceptError,
    shared::{Engine, SHARED_POLL},
    waiters::Waiting,
};

impl Engine {
    /// Stores a batch durably and wakes the lanes of its providers.
    ///
    /// # Errors
    /// See [`AcceptError`]; after `CommitUnknown` it may be stored.
    pub async fn accept(&self, batch: NewBatch) -> Result<Acceptance, AcceptError> {
        if self.is_shutting_down() {
            return Err(AcceptError::ShuttingDown);
        }
        let mut new: BTreeMap<String, usize> = BTreeMap::new();
        for item in &batch.items {
            if let Placement::Bound { provider, .. } = &item.placement {
                *new.entry(provider.clone()).or_default() += 1;
            }
        }
        self.check_serving()?;
        self.shared.counted.wait().await;
        let document_stays = self.shared.document.freeze().await;
        if !self.are_unchanged(new.keys(), batch.config_revision) {
            return Err(AcceptError::Outdated);
        }
        let quotas = self.quotas(new.keys().map(String::as_str));
        self.reserve(&batch.tenant, &new).await?;
        failpoint("accept-before-commit");
        let (store, newest) = (&self.shared.store, self.shared.live.current().revision());
        let acceptance = store.accept(batch, newest, quotas.clone()).await;
        failpoint("accept-after-commit");
        drop(document_stays);
        for (provider, reserved) in new {
            let lane = self.shared.lane(&provider);
            let accepted = match &acceptance {
                Ok(Ok(Acceptance::Accepted(accepted))) => Some(accepted),
                _ => None,
            };
            let queued = || {
                let queued = accepted.into_iter().flat_map(Accepted::queued);
                queued.filter(|(name, _)| *name == provider).map(|(_, invite)| invite)
            };
            // Room was reserved for duplicates, too, which need none.
            lane.queue_shrank(reserved.saturating_sub(queued().count()));
            match &acceptance {
                Ok(_) => lane.fresh.add(queued()),
                // It may be stored all the same.
                Err(_) => lane.fresh.forget(),
            }
            lane.wake.notify_one();
            if lane.lease().is_none() {
                self.shared.tell_others(std::iter::once(News::Queued(provider)));
            }
        }
        if let Err(invite_store::Error::Outdated) = acceptance {
            self.shared.catch_up().await?;
            return Err(AcceptError::Outdated);
        }
        acceptance?.map_err(|no_room| match no_room {
            NoRoom::Quota { provider, room } => {
                let quota = quotas.get(&provider).copied().unwrap_or_default();
                AcceptError::QuotaExceeded { provider, quota, room }
            }
            NoRoom::Day { room } => self.day_exhausted(room),
        })
    }

    /// Whether all of these providers are still the accounts that they were under this revision.
    fn are_unchanged<'a>(
        &self,
        mut names: impl Iterator<Item = &'a String>,
        revision: i64,
    ) -> bool {
        let document = self.shared.live.current();
        names.all(|name| document.provider(name).is_some_and(|it| it.account_since <= revision))
    }

    /// Takes a place among those who wait for a batch, before it is accepted.
    pub fn wait_for(&self, batch: BatchId) -> Waiting<'_> {
        self.shared.waiters.wait_for(batch)
    }

    /// Waits like [`wait_settled`](Self::wait_settled) for invites that were accepted under a place taken before, and returns
    /// them as they have settled; `None` if they have to be read.
    pub async fn settled(
        &self,
        waiting: Waiting<'_>,
        mut invites: Vec<InviteRecord>,
        limit: Duration,
    ) -> Option<Vec<InviteRecord>> {
        let deadline = Instant::now() + limit;
        // Another replica, which may have the lane, may not be heard.
        let told_until = if self.shared.store.is_shared() { SHARED_POLL.min(limit) } else { limit };
        let told_until = Instant::now() + told_until;
        loop {
            let changed = waiting.changed();
            if !waiting.update(&mut invites) {
                break;
            }
            if invites.iter().all(|invite| invite.state.status().is_settled()) {
                return Some(invites);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(told_until) => break,
                () = self.shared.stopping.cancelled() => return None,
            }
        }
        self.wait_settled(waiting.batch, deadline.saturating_duration_since(Instant::now())).await;
        None
    }

    /// Returns when every invite of the batch that can be read has left `queued`, `sending` and
    /// `unknown`, when `limit` is over, or when shutdown begins. The caller then reads the batch.
    pub async fn wait_settled(&self, batch: BatchId, limit: Duration) {
        let deadline = Instant::now() + limit;
        let waiting = self.shared.waiters.wait_for(batch);
        loop {
            let changed = waiting.changed();
            match self.shared.store.batch_counts(batch).await {
                Ok(counts) if counts.by_status.keys().all(|status| status.is_settled()) => return,
                Ok(_) => {}
                // The caller reads the batch next, and reports the error.
                Err(_) => return,
            }
            let poll = if self.shared.store.is_shared() { SHARED_POLL } else { limit };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(poll) => {}
                () = tokio::time::sleep_until(deadline) => return,
                () = self.shared.stopping.cancelled() => return,
            }
        }
    }
}
