//! Which replica may work a lane: one at a time, under an epoch.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    lane::{Lane, Lease},
    obstacle::obstacle,
    shared::Shared,
};

/// How long a lane stays with a replica of which nothing is heard. It may be much shorter than a claim is held: a claim under
/// an earlier epoch is refused, and what was claimed before stays claimed.
const WITHOUT_A_SIGN: Duration = Duration::from_secs(4);

impl Lane {
    /// Takes or renews this replica's lease of the lane, and returns its epoch; `None` if another replica has the lane, or
    /// this one must not send anything.
    pub async fn acquire_lease(
        &self,
        shared: &Arc<Shared>,
    ) -> Result<Option<i64>, invite_store::Error> {
        let (store, is_shared) = (&shared.store, shared.store.is_shared());
        let lease = shared.settings.lease;
        let ttl = if is_shared { lease.min(WITHOUT_A_SIGN) } else { lease };
        let fresh = || {
            let is_fresh = |lease: &Lease| !lease.is_lost && lease.renewed.elapsed() < ttl / 3;
            self.lease().filter(is_fresh).filter(|_| obstacle(shared).is_none())
        };
        if let Some(lease) = fresh() {
            return Ok(Some(lease.epoch));
        }
        // The lane's loops renew it once for all of them.
        let _only_one = self.renewing.lock().await;
        if let Some(lease) = fresh() {
            return Ok(Some(lease.epoch));
        }
        let known = self.lease();
        if is_shared {
            // The lease may have been lost because another document went live.
            shared.catch_up().await?;
            // Looking costs the others nothing, while a try that fails is a commit.
            let holder = store.lane_holder(&self.name).await?;
            if known.is_none() && holder.is_some_and(|holder| holder.owner != shared.owner) {
                return Ok(None);
            }
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
