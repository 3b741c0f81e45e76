//! Which replica may work a lane: one at a time, under an epoch.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    lane::{Lane, Lease},
    obstacle::obstacle,
    shared::Shared,
};

impl Lane {
    /// Takes or renews this replica's lease of the lane, and returns its epoch; `None` if another replica has the lane, or
    /// this one must not send anything.
    pub async fn acquire_lease(
        &self,
        shared: &Arc<Shared>,
    ) -> Result<Option<i64>, invite_store::Error> {
        let known = self.lease();
        let ttl = shared.settings.lease;
        let is_fresh = |lease: &Lease| !lease.is_lost && lease.renewed.elapsed() < ttl / 3;
        if let Some(lease) = known.filter(is_fresh)
            && obstacle(shared).is_none()
        {
            return Ok(Some(lease.epoch));
        }
        let (store, is_shared) = (&shared.store, shared.store.is_shared());
        if is_shared {
            // The lease may have been lost because another document went live.
            shared.catch_up().await?;
        }
        let lease = if obstacle(shared).is_none() {
            let (renewed, newest) = (Instant::now(), shared.live.current().revision());
            // On SQLite there is no other replica: a lease found there is that of a process long gone.
            let force = known.is_none() && !is_shared;
            let epoch = store.acquire_lane(&self.name, &shared.owner, ttl, newest, force).await?;
            epoch.map(|epoch| Lease { epoch, renewed, is_lost: false })
        } else {
            if known.is_some() {
                store.release_lane(&self.name, &shared.owner).await?;
            }
            None
        };
        self.set_lease(lease);
        Ok(lease.map(|lease| lease.epoch))
    }
}
