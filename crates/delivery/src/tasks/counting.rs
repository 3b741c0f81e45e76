//! The loop that counts what became of invites, from the feed. One replica at a time does so.
//! Step by step: `docs/loops/counting.md`.

use std::{sync::Arc, time::Duration};

use super::sole::Sole;
use crate::shared::{Shared, catch_panic};

/// How often what was written is counted.
const EVERY: Duration = Duration::from_secs(1);
const LANE: &str = "#counting";
const LEASE: Duration = Duration::from_secs(10);

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sole = Sole::new(LANE, LEASE);
    while !shared.stopping.is_cancelled() {
        if let Err(error) = catch_panic(round(&shared, &mut sole)).await {
            tracing::error!(%error, "cannot count what became of invites; trying again");
        }
        shared.pause(EVERY).await;
    }
    sole.give_back(&shared).await;
}

/// Counts all events that there are, while this replica has the lease.
async fn round(shared: &Shared, sole: &mut Sole) -> Result<(), invite_store::Error> {
    let mut has_more = true;
    while has_more && !shared.stopping.is_cancelled() {
        let may = async || sole.has_lease(shared).await;
        let (settled, more) = shared.store.count_events(may).await?;
        for ((provider, status), count) in settled {
            metrics::counter!("invites_settled_total", "provider" => provider, "status" => status.as_str())
                .increment(count);
        }
        has_more = more;
    }
    Ok(())
}
