//! The loop that finds out which batches have completed, from the feed. One replica at a time does so.
//! Step by step: `docs/loops/completing.md`.

use std::{sync::Arc, time::Duration};

use super::sole::Sole;
use crate::shared::{Shared, catch_panic};

/// How often what other replicas have written is looked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long events gather, so that many are looked at together.
const GATHER: Duration = Duration::from_millis(100);
const LANE: &str = "#completing";
const LEASE: Duration = Duration::from_secs(10);

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sole = Sole::new(LANE, LEASE);
    let mut watch = shared.store.watch_feed();
    while !shared.stopping.is_cancelled() {
        if let Err(error) = catch_panic(round(&shared, &mut sole)).await {
            tracing::error!(%error, "cannot find out which batches have completed; trying again");
            shared.pause(EVERY).await;
            continue;
        }
        tokio::select! {
            () = watch.changed_or(EVERY, GATHER) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
    sole.give_back(&shared).await;
}

/// Looks at all events that there are, while this replica has the lease.
async fn round(shared: &Shared, sole: &mut Sole) -> Result<(), invite_store::Error> {
    let mut has_more = true;
    while has_more && !shared.stopping.is_cancelled() {
        let may = async || sole.has_lease(shared).await;
        has_more = shared.store.complete_batches(may).await?;
    }
    Ok(())
}
