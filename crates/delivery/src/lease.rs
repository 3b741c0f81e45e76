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
    /// Takes this replica's lease of the lane, and returns its epoch; `None` if another replica has the lane, or this one
    /// must not send anything. A lease that [`renew`] has not renewed in time is renewed here.
    pub async fn acquire_lease(
        &self,
        shared: &Arc<Shared>,
    ) -> Result<Option<i64>, invite_store::Error> {
        let (store, is_shared) = (&shared.store, shared.store.is_shared());
        let ttl = lasts(shared);
        let fresh = || {
            let is_fresh =
                |lease: &Lease| !lease.is_lost && lease.renewed.elapsed() < ttl.mul_f64(0.75);
            self.lease().filter(is_fresh).filter(|_| obstacle(shared).is_none())
        };
        if let Some(lease) = fresh() {
            return Ok(Some(lease.epoch));
        }
        // The lane's loops ask once for all of them.
        let _only_one = self.renewing.lock().await;
        if let Some(lease) = fresh() {
            return Ok(Some(lease.epoch));
        }
        let known = self.lease();
        if is_shared {
            if known.is_none() {
                if self.is_elsewhere() {
                    return Ok(None);
                }
                // Looking costs the others nothing, while a try that fails is a commit.
                let holder = store.lane_holder(&self.name).await?;
                if let Some(other) = holder.filter(|holder| holder.owner != shared.owner) {
                    self.set_elsewhere(other.left.min(ttl));
                    return Ok(None);
                }
            }
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

/// This replica's lanes, if the lease of any of them will be half over in so long.
pub(crate) fn due(shared: &Shared, soon: Duration) -> Vec<Arc<Lane>> {
    let document = shared.live.current();
    let mut lanes = shared.lanes();
    lanes.retain(|lane| {
        let is_held = lane.lease().is_some_and(|lease| !lease.is_lost);
        is_held && document.provider(&lane.name).is_some()
    });
    let is_due = |lease: Lease| lease.renewed.elapsed() + soon >= lasts(shared) / 2;
    let is_any_due = lanes.iter().filter_map(|lane| lane.lease()).any(is_due);
    // At shutdown lanes are given back.
    let may_keep = obstacle(shared).is_none() && !shared.stopping.is_cancelled();
    if is_any_due && may_keep { lanes } else { Vec::new() }
}

/// Renews the leases of these lanes of this replica, all in one write.
pub(crate) async fn renew(shared: &Shared, lanes: &[Arc<Lane>]) -> Result<(), invite_store::Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let names = lanes.iter().map(|lane| lane.name.clone()).collect();
    let (renewed, newest) = (Instant::now(), shared.live.current().revision());
    let epochs = shared.store.renew_lanes(names, &shared.owner, lasts(shared), newest).await?;
    for lane in lanes {
        // The loops of a lane that is not renewed find out why when they ask for it.
        if let Some(epoch) = epochs.get(&lane.name) {
            lane.set_lease(Some(Lease { epoch: *epoch, renewed, is_lost: false }));
        }
    }
    Ok(())
}

/// How long a lease lasts without being renewed.
fn lasts(shared: &Shared) -> Duration {
    let lease = shared.settings.lease;
    if shared.store.is_shared() { lease.min(WITHOUT_A_SIGN) } else { lease }
}
