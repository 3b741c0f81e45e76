//! Work on the whole database that one replica at a time does, in steps.

use std::time::Duration;

use tokio::time::Instant;

use crate::shared::Shared;

/// The pause after a step is this many times as long as the step took, so that steps take a fifth of the time at most.
const REST: u32 = 4;
pub(crate) const SHORTEST_REST: Duration = Duration::from_millis(20);

/// Rests after a step that began then.
pub(crate) async fn rest(shared: &Shared, began: Instant) {
    shared.pause((began.elapsed() * REST).max(SHORTEST_REST)).await;
}

/// Whether this replica is the one. The lease stands among those of the providers' lanes, under a name that no provider has.
pub(crate) struct Sole {
    name: &'static str,
    /// How long a replica that went away keeps it.
    lease: Duration,
    /// When to renew it; `None` while another replica has it.
    renew_at: Option<Instant>,
    /// When it ends unless it is renewed; `None` while another replica has it, or none is needed.
    ends_at: Option<Instant>,
}

impl Sole {
    pub fn new(name: &'static str, lease: Duration) -> Self {
        Self { name, lease, renew_at: None, ends_at: None }
    }

    /// Takes or renews the lease if need be; false while another replica has it. Where there is only one it needs none.
    pub async fn has_lease(&mut self, shared: &Shared) -> Result<bool, invite_store::Error> {
        let store = &shared.store;
        if !store.is_shared() || self.renew_at.is_some_and(|at| Instant::now() < at) {
            return Ok(true);
        }
        // Looking costs the others nothing, while a try that fails is a commit.
        let holder = store.lane_holder(self.name).await?;
        if holder.is_some_and(|holder| holder.owner != shared.owner) {
            self.lose();
            return Ok(false);
        }
        // It counts from some moment after this one.
        let asked = Instant::now();
        // The work has nothing to do with the provider document, so any replica may do it.
        let newest = i64::MAX;
        let epoch = store.acquire_lane(self.name, &shared.owner, self.lease, newest, false).await?;
        self.renew_at = epoch.map(|_| Instant::now() + self.lease / 4);
        self.ends_at = epoch.map(|_| asked + self.lease);
        Ok(self.renew_at.is_some())
    }

    /// Until when no other replica takes the lease if it cannot be renewed; `None`: nobody has to mind that.
    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Takes note that the lease has ended.
    pub fn lose(&mut self) {
        (self.renew_at, self.ends_at) = (None, None);
    }

    /// Gives the lease back, so that no other replica waits for its end.
    pub async fn give_back(&mut self, shared: &Shared) {
        self.ends_at = None;
        if self.renew_at.take().is_some()
            && let Err(error) = shared.store.release_lane(self.name, &shared.owner).await
        {
            let name = self.name;
            tracing::warn!(%error, "cannot give the lease {name} back; other replicas wait for its end");
        }
    }
}
