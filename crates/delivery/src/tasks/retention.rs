//! The loop that removes what has been kept of ended invites for as long as the settings say. One replica at a time does
//! so, in small steps with pauses, so that accepting and delivering do not wait for it.
//! Step by step: `docs/loops/retention.md`.

use std::{sync::Arc, time::Duration};

use invite_store::{Cursor, Interval, Stage};
use jiff::Timestamp;
use tokio::time::Instant;

use super::sole::{SHORTEST_REST, Sole, rest};
use crate::shared::{Shared, catch_panic};

/// How often there is a round; more often if something is kept for less than that.
const EVERY: Duration = Duration::from_secs(60);
/// The lease to remove stands among those of the providers' lanes, under a name that no provider has.
const LANE: &str = "#retention";
/// How long a replica that went away keeps the lease.
const LEASE: Duration = Duration::from_secs(120);
const AT_ONCE: u32 = 100;
/// How long it is kept what was counted by minute.
const MINUTES_KEPT: Duration = Duration::from_secs(48 * 60 * 60);

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let retention = shared.settings.retention;
    let ages =
        retention.stages().map(|(_, age)| age).chain(retention.audit).chain(retention.events);
    let Some(shortest) = ages.min() else { return };
    let every = shortest.clamp(Duration::from_millis(200), EVERY);
    while !shared.stopping.is_cancelled() {
        if let Err(error) = catch_panic(round(&shared)).await {
            tracing::error!(%error, "cannot remove what is past its retention; trying again");
        }
        shared.pause(every).await;
    }
}

/// Removes everything that is past its retention, while this replica has the lease.
async fn round(shared: &Arc<Shared>) -> Result<(), invite_store::Error> {
    let mut remover = Remover { shared, sole: Sole::new(LANE, LEASE) };
    let now = shared.clock.now();
    let (mut removed, mut events) = (0, 0);
    for (stage, age) in shared.settings.retention.stages() {
        let Ok(before) = now.checked_sub(age) else { continue };
        removed += remover.remove(stage, before).await?;
        if stage == Stage::Person {
            remover.remove_actions(before).await?;
        }
        if stage == Stage::Row {
            remover.remove_empty_batches(before).await?;
        }
    }
    if let Some(before) = shared.settings.retention.audit.and_then(|age| now.checked_sub(age).ok())
    {
        remover.trim_audit(before).await?;
    }
    if let Some(before) = shared.settings.retention.events.and_then(|age| now.checked_sub(age).ok())
    {
        events = remover.remove_events(before).await?;
    }
    remover.remove_counts(now).await?;
    for ((provider, status), count) in shared.store.removed_counts().await? {
        metrics::gauge!("invites_removed", "provider" => provider, "status" => status.as_str())
            .set(count as f64);
    }
    if removed == 0 && events == 0 {
        return Ok(());
    }
    if removed > 0 {
        tracing::info!(
            invites = removed,
            "removed what was past its retention from {removed} invites"
        );
    }
    if !shared.store.clean(false).await? {
        tracing::warn!(
            "SQLite's log still holds what was removed: somebody reads it, so it could not be truncated; that is tried again after the next removal"
        );
    }
    Ok(())
}

/// What removes, for as long as this replica has the lease.
struct Remover<'e> {
    shared: &'e Arc<Shared>,
    sole: Sole,
}

impl Remover<'_> {
    async fn remove_empty_batches(&mut self, before: Timestamp) -> Result<(), invite_store::Error> {
        let mut after = Some(String::new());
        while !self.shared.stopping.is_cancelled() && self.sole.has_lease(self.shared).await? {
            let Some(from) = after else { break };
            after = self.shared.store.remove_empty_batches(before, from).await?;
            self.shared.pause(SHORTEST_REST).await;
        }
        Ok(())
    }

    /// Removes actions on many invites that ended before a time; there are few.
    async fn remove_actions(&mut self, before: Timestamp) -> Result<(), invite_store::Error> {
        if self.sole.has_lease(self.shared).await? {
            self.shared.store.remove_actions(before).await?;
        }
        Ok(())
    }

    /// Removes entries of the record of changes that were made before a time.
    async fn trim_audit(&mut self, before: Timestamp) -> Result<(), invite_store::Error> {
        while !self.shared.stopping.is_cancelled() && self.sole.has_lease(self.shared).await? {
            let began = Instant::now();
            if self.shared.store.trim_audit(before, AT_ONCE).await? < u64::from(AT_ONCE) {
                break;
            }
            rest(self.shared, began).await;
        }
        Ok(())
    }

    /// Removes events that were written before a time; returns how many.
    async fn remove_events(&mut self, before: Timestamp) -> Result<u64, invite_store::Error> {
        let mut removed = 0;
        while !self.shared.stopping.is_cancelled() && self.sole.has_lease(self.shared).await? {
            let began = Instant::now();
            let step = self.shared.store.remove_events(before, AT_ONCE).await?;
            if step == 0 {
                break;
            }
            removed += step;
            rest(self.shared, began).await;
        }
        Ok(removed)
    }

    /// Removes what is counted by minute once it is old, and by hour what is older than any row.
    async fn remove_counts(&mut self, now: Timestamp) -> Result<(), invite_store::Error> {
        let row = self.shared.settings.retention.row;
        for (interval, age) in [(Interval::Minute, Some(MINUTES_KEPT)), (Interval::Hour, row)] {
            let before = age.and_then(|age| now.checked_sub(age).ok());
            let Some(before) = before else { continue };
            while !self.shared.stopping.is_cancelled() && self.sole.has_lease(self.shared).await? {
                let began = Instant::now();
                if self.shared.store.remove_counts(interval, before, AT_ONCE).await? == 0 {
                    break;
                }
                rest(self.shared, began).await;
            }
        }
        Ok(())
    }

    /// Removes all that a stage removes; returns from how many invites.
    async fn remove(
        &mut self,
        stage: Stage,
        before: Timestamp,
    ) -> Result<u64, invite_store::Error> {
        let (mut removed, mut cursor): (u64, Option<Cursor>) = (0, None);
        while !self.shared.stopping.is_cancelled() && self.sole.has_lease(self.shared).await? {
            let began = Instant::now();
            let step = self.shared.store.remove_old(stage, before, cursor).await?;
            removed += step.removed;
            cursor = step.next;
            if cursor.is_none() {
                break;
            }
            rest(self.shared, began).await;
        }
        Ok(removed)
    }
}
