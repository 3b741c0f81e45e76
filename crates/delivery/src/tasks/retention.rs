//! Removing what is kept of invites that have ended for as long as the settings say: by one replica at a
//! time, in small steps with pauses, so that nobody who accepts or delivers has to wait for it.
//! Step by step: `docs/loops/retention.md`.

use std::{sync::Arc, time::Duration};

use invite_store::{Change, InviteRecord, Place, Stage};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    shared::{Shared, contain},
    transition,
};

/// How often it is looked for what is over; more often if something is over sooner.
const EVERY: Duration = Duration::from_secs(60);
/// Of the time, the part that steps take at most: a fifth.
const REST: u32 = 4;
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// Whose turn it is stands beside the providers' lanes, under a name that no provider has.
const LANE: &str = "#retention";
/// How long a replica that went away keeps its turn.
const TURN: Duration = Duration::from_secs(120);
const AT_ONCE: u32 = 100;

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let retention = shared.settings.retention;
    let ages = retention.stages().map(|(_, age)| age).chain(retention.audit);
    let Some(shortest) = ages.min() else { return };
    let every = shortest.clamp(Duration::from_millis(200), EVERY);
    while !shared.stopping.is_cancelled() {
        if let Err(error) = contain(round(&shared)).await {
            tracing::error!(%error, "cannot remove what is past its retention; trying again");
        }
        pause(&shared, every).await;
    }
}

async fn pause(shared: &Shared, time: Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = shared.stopping.cancelled() => {}
    }
}

/// Everything that is over by now, if it is this replica's turn.
async fn round(shared: &Arc<Shared>) -> Result<(), invite_store::Error> {
    let mut turn = Turn { shared, until_renewal: None };
    let now = shared.clock.now();
    let mut removed = 0;
    for (stage, age) in shared.settings.retention.stages() {
        let Ok(before) = now.checked_sub(age) else { continue };
        if stage == Stage::Bodies {
            settle_lapsed(shared, before).await?;
        }
        removed += turn.remove(stage, before).await?;
        if stage == Stage::Row {
            turn.remove_empty_batches(before).await?;
        }
    }
    if let Some(before) = shared.settings.retention.audit.and_then(|age| now.checked_sub(age).ok())
    {
        turn.trim_audit(before).await?;
    }
    for ((provider, status), count) in shared.store.removed_counts().await? {
        metrics::gauge!("invites_removed", "provider" => provider, "status" => status.as_str())
            .set(count as f64);
    }
    if removed == 0 {
        return Ok(());
    }
    tracing::info!(invites = removed, "what was past its retention is removed");
    if !shared.store.clean(false).await? {
        tracing::warn!(
            "the database's log is being read and could not be truncated; that is tried again after the next removal"
        );
    }
    Ok(())
}

/// Open invites whose time was over long ago have lapsed, whether or not their provider said so.
async fn settle_lapsed(shared: &Shared, before: Timestamp) -> Result<(), invite_store::Error> {
    loop {
        let lapsed = shared.store.lapsed(before, AT_ONCE).await?;
        lapse(shared, &lapsed).await?;
        if lapsed.len() < AT_ONCE as usize || shared.stopping.is_cancelled() {
            return Ok(());
        }
        pause(shared, SHORTEST_REST).await;
    }
}

/// Writes down that these have lapsed, if they have.
pub(crate) async fn lapse(
    shared: &Shared,
    invites: &[InviteRecord],
) -> Result<(), invite_store::Error> {
    if invites.is_empty() {
        return Ok(());
    }
    let ids = invites.iter().map(|invite| invite.id).collect();
    let decide = |_, _: &InviteRecord, state: &mut _, now| transition::lapse(state, now);
    shared.store.change(Change::of(ids, decide)).await.map(|_| ())
}

/// This replica's turn to remove.
struct Turn<'e> {
    shared: &'e Arc<Shared>,
    /// Its turn is not asked for anew before; none while it is another replica's.
    until_renewal: Option<Instant>,
}

impl Turn<'_> {
    async fn is_ours(&mut self) -> Result<bool, invite_store::Error> {
        if self.until_renewal.is_some_and(|until| Instant::now() < until) {
            return Ok(true);
        }
        let (store, newest) = (&self.shared.store, self.shared.live.current().revision());
        let turn = store.acquire_lane(LANE, &self.shared.owner, TURN, newest, false).await?;
        self.until_renewal = turn.map(|_| Instant::now() + TURN / 4);
        Ok(self.until_renewal.is_some())
    }

    async fn remove_empty_batches(&mut self, before: Timestamp) -> Result<(), invite_store::Error> {
        let mut after = Some(String::new());
        while !self.shared.stopping.is_cancelled() && self.is_ours().await? {
            let Some(from) = after else { break };
            after = self.shared.store.remove_empty_batches(before, from).await?;
            pause(self.shared, SHORTEST_REST).await;
        }
        Ok(())
    }

    /// Removes entries of the record of changes that were made before a time.
    async fn trim_audit(&mut self, before: Timestamp) -> Result<(), invite_store::Error> {
        while !self.shared.stopping.is_cancelled() && self.is_ours().await? {
            let began = Instant::now();
            if self.shared.store.trim_audit(before, AT_ONCE).await? < u64::from(AT_ONCE) {
                break;
            }
            pause(self.shared, (began.elapsed() * REST).max(SHORTEST_REST)).await;
        }
        Ok(())
    }

    /// Goes through all that a stage removes; of how many invites something was removed.
    async fn remove(
        &mut self,
        stage: Stage,
        before: Timestamp,
    ) -> Result<u64, invite_store::Error> {
        let (mut removed, mut place): (u64, Option<Place>) = (0, None);
        while !self.shared.stopping.is_cancelled() && self.is_ours().await? {
            let began = Instant::now();
            let step = self.shared.store.remove_old(stage, before, place).await?;
            removed += step.removed;
            place = step.next;
            if place.is_none() {
                break;
            }
            pause(self.shared, (began.elapsed() * REST).max(SHORTEST_REST)).await;
        }
        Ok(removed)
    }
}
