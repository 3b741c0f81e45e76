//! Starts the tasks of the engine and of each lane, and stops them in order.

use std::{collections::BTreeSet, sync::Arc};

use invite_core::Clock;

use crate::{
    lane::Lane,
    revise::LiveDocument,
    shared::{Engine, Settings, Shared},
    tasks::{
        completing, counting, expiring, news, reconciling, recovering, refreshing, replica,
        retention, sending,
    },
};

impl Engine {
    /// Recovers what an earlier process left behind, and starts a lane per configured provider.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn start(
        document: LiveDocument,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self, invite_store::Error> {
        let shared = Arc::new(Shared::new(document, clock, settings));
        shared.store.reexamine().await?;
        // Only one process serves a SQLite database, so whatever is `sending` there has no sender.
        recovering::recover(&shared, !shared.store.is_shared()).await?;
        shared.sync_lanes();
        let tasks = &shared.tasks;
        tasks.spawn(recovering::run(shared.clone()));
        tasks.spawn(replica::run(shared.clone()));
        tasks.spawn(news::run(shared.clone()));
        tasks.spawn(completing::run(shared.clone()));
        tasks.spawn(counting::run(shared.clone()));
        tasks.spawn(expiring::run(shared.clone()));
        tasks.spawn(retention::run(shared.clone()));
        tasks.spawn(start_lanes(shared.clone()));
        Ok(Self { shared, trace: None })
    }

    /// Stops claiming, wakes the waiting callers, and gives the calls under way `shutdown_grace` to
    /// finish and be recorded. What is still under way then is found again by the next process.
    pub async fn shutdown(&self) {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        let grace = self.shared.settings.shutdown_grace;
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                grace.seconds = grace.as_secs_f64(),
                "calls are still under way after delivery.shutdown_grace; their invites will be \
                 `unknown` at the next start"
            );
        }
    }
}

/// Starts the tasks of each lane that comes about, until shutdown.
async fn start_lanes(shared: Arc<Shared>) {
    let mut started = BTreeSet::new();
    while !shared.stopping.is_cancelled() {
        let added = shared.lane_added.notified();
        for lane in shared.lanes() {
            if started.insert(lane.name.clone()) {
                start_lane(&shared, lane);
            }
        }
        tokio::select! {
            () = added => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

fn start_lane(shared: &Arc<Shared>, lane: Arc<Lane>) {
    shared.tasks.spawn(sending::run(shared.clone(), lane.clone()));
    shared.tasks.spawn(reconciling::run(shared.clone(), lane.clone()));
    shared.tasks.spawn(refreshing::run(Engine { shared: shared.clone(), trace: None }, lane));
}
