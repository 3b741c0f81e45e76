//! Who may work a lane: one replica at a time, under an epoch.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    lane::{Held, Lane},
    obstacle::obstacle,
    shared::Shared,
};

impl Lane {
    /// The epoch under which this replica holds the lane, if it does. One that must not send
    /// anything holds none.
    pub async fn hold(&self, shared: &Arc<Shared>) -> Result<Option<i64>, invite_store::Error> {
        let held = self.held();
        let ttl = shared.settings.lease;
        let is_fresh = |held: &Held| !held.is_lost && held.renewed.elapsed() < ttl / 3;
        if let Some(held) = held.filter(is_fresh)
            && obstacle(shared).is_none()
        {
            return Ok(Some(held.epoch));
        }
        let (store, is_shared) = (&shared.store, shared.store.is_shared());
        if is_shared {
            // It may have been lost to another document.
            shared.catch_up().await?;
        }
        let epoch = if obstacle(shared).is_none() {
            let (renewed, newest) = (Instant::now(), shared.live.current().revision());
            // On SQLite there is no other replica: a lease found there is that of a process long gone.
            let force = held.is_none() && !is_shared;
            let epoch = store.acquire_lane(&self.name, &shared.owner, ttl, newest, force).await?;
            epoch.map(|epoch| Held { epoch, renewed, is_lost: false })
        } else {
            if held.is_some() {
                store.release_lane(&self.name, &shared.owner).await?;
            }
            None
        };
        self.keep(epoch);
        Ok(epoch.map(|held| held.epoch))
    }
}
