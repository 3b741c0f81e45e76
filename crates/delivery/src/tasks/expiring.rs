//! The loop that stores as expired what lapses by the clock, so that this is a change like any other, at that moment.
//! Step by step: `docs/loops/expiring.md`.

use std::{sync::Arc, time::Duration};

use invite_store::{Change, InviteRecord};
use tokio::time::Instant;

use super::sole::{Sole, rest};
use crate::{
    shared::{Shared, catch_panic},
    transition,
};

/// How long after its time an invite expires at most, unless very many do at once.
const EVERY: Duration = Duration::from_secs(1);
/// How many a commit changes: whoever accepts or delivers waits for it.
const AT_ONCE: u32 = 200;
const LANE: &str = "#expiring";
const LEASE: Duration = Duration::from_secs(20);

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sole = Sole::new(LANE, LEASE);
    while !shared.stopping.is_cancelled() {
        if let Err(error) = catch_panic(round(&shared, &mut sole)).await {
            tracing::error!(%error, "cannot store which invites have expired; trying again");
        }
        shared.pause(EVERY).await;
    }
    sole.give_back(&shared).await;
}

/// Stores all that has lapsed, while this replica has the lease.
async fn round(shared: &Shared, sole: &mut Sole) -> Result<(), invite_store::Error> {
    while !shared.stopping.is_cancelled() {
        let began = Instant::now();
        let lapsed = shared.store.lapsed(shared.clock.now(), AT_ONCE).await?;
        if lapsed.is_empty() || !sole.has_lease(shared).await? {
            break;
        }
        lapse(shared, &lapsed).await?;
        if lapsed.len() < AT_ONCE as usize {
            break;
        }
        rest(shared, began).await;
    }
    Ok(())
}

/// Stores these invites as expired, if their `expires_at` is over.
pub(crate) async fn lapse(
    shared: &Shared,
    invites: &[InviteRecord],
) -> Result<(), invite_store::Error> {
    if invites.is_empty() {
        return Ok(());
    }
    // Read again, and so locked in one order with others who change them.
    let ids = invites.iter().map(|invite| invite.id).collect();
    shared.store.change(Change::each(ids, transition::lapse)).await.map(drop)
}
