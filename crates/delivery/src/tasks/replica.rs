//! The loop of a replica among others: it takes over the newest revision of the provider document, renews the leases of its
//! lanes, and tells the others which revision it serves and what keeps it from sending.
//! Step by step: `docs/loops/replica.md`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::{try_join, try_join_all};
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::{
    lane::{Lane, Report},
    lease,
    obstacle::{CLOCK_TOLERANCE, clock_fault},
    shared::{Shared, catch_panic},
};

/// How often the replica looks for the newest revision.
const POLL: Duration = Duration::from_secs(1);
/// How often a replica reports that it is there if nothing changed; without a report it is forgotten after 15 seconds.
const REPORT: Duration = Duration::from_secs(5);

/// What this replica last reported to the others.
#[derive(Default)]
struct Told {
    replica: Option<Replica>,
    /// By provider whose calls this replica makes: the lane's epoch and the report.
    lanes: BTreeMap<String, (i64, Report)>,
}

struct Replica {
    at: Instant,
    revision: i64,
    refusal: Option<String>,
}

/// Which faults of clocks have been logged and are not over.
#[derive(Default)]
struct Clocks {
    is_off: bool,
    was_set: bool,
}

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (mut told, mut clocks) = (Told::default(), Clocks::default());
    while !shared.stopping.is_cancelled() {
        clocks.watch(&shared);
        if let Err(error) = catch_panic(step(&shared, &mut told)).await {
            tracing::error!(%error, "a round of catching up with the other replicas failed; trying again");
        }
        shared.pause(POLL).await;
    }
    if let Err(error) = shared.store.retire_replica(&shared.owner).await {
        tracing::warn!(%error, "cannot tell the other replicas that this one ends; they will notice");
    }
}

async fn step(shared: &Arc<Shared>, told: &mut Told) -> Result<(), invite_store::Error> {
    shared.catch_up().await?;
    let revision = shared.live.current().revision();
    metrics::gauge!("invite_config_revision").set(revision as f64);
    let refusal = shared.document.unserved_reason().or_else(|| clock_fault(shared));
    let lanes = lease::due(shared, POLL / 2);
    // Whoever writes anyway reports earlier, so that it need not write for that alone.
    let every = if lanes.is_empty() { REPORT } else { REPORT / 2 };
    let is_known = |told: &Replica| {
        told.revision == revision && told.refusal == refusal && told.at.elapsed() < every
    };
    let is_told = told.replica.as_ref().is_some_and(is_known);
    let report = async {
        if is_told {
            return Ok(());
        }
        shared.store.report_replica(&shared.owner, revision, refusal.as_deref()).await
    };
    // Side by side, so that they share a commit.
    try_join(lease::renew(shared, &lanes), report).await?;
    if !is_told {
        told.replica = Some(Replica { at: Instant::now(), revision, refusal });
    }
    if shared.store.is_shared() {
        let others = shared.store.replicas().await?;
        let has_others = others.iter().any(|replica| replica.id != shared.owner);
        shared.has_others.store(has_others, Ordering::Relaxed);
        report_lanes(shared, &mut told.lanes).await?;
    }
    Ok(())
}

/// Reports what is known of the providers whose calls this replica makes, where that has changed.
async fn report_lanes(
    shared: &Arc<Shared>,
    told: &mut BTreeMap<String, (i64, Report)>,
) -> Result<(), invite_store::Error> {
    let document = shared.live.current();
    let known = |lane: &Arc<Lane>| {
        let (provider, held) = (document.provider(&lane.name)?, lane.lease()?);
        // Under another epoch another replica may have had the lane, and the last report is gone.
        Some((lane.name.clone(), (held.epoch, lane.report(shared, provider))))
    };
    let known: BTreeMap<_, _> = shared.lanes().iter().filter_map(known).collect();
    let news = known.iter().filter(|(name, report)| told.get(*name) != Some(*report));
    // Side by side, so that they share commits.
    try_join_all(news.map(|(name, (_, report))| {
        shared.store.report_lane(name, &shared.owner, serde_json::json!(report))
    }))
    .await?;
    *told = known;
    Ok(())
}

impl Clocks {
    /// Shows in the metrics what is wrong with the clocks, and logs each fault once, and once that it is over.
    fn watch(&mut self, shared: &Shared) {
        let clock = shared.store.clock();
        let (ahead, to_make_up) = (clock.wall_ahead(), clock.to_make_up());
        metrics::gauge!("invite_clock_ahead_seconds").set(ahead.as_secs_f64());
        metrics::gauge!("invite_clock_to_make_up_seconds").set(to_make_up.as_secs_f64());
        let fault = clock_fault(shared);
        match &fault {
            Some(fault) if !self.is_off => tracing::warn!("{fault}"),
            None if self.is_off => {
                tracing::info!("this machine's clock agrees with the database's again");
            }
            _ => {}
        }
        self.is_off = fault.is_some();
        let was_set = to_make_up.abs() > CLOCK_TOLERANCE;
        if was_set && !self.was_set {
            let (by, whose) = (
                SignedDuration::from_secs(to_make_up.as_secs()),
                if shared.store.is_shared() { "the database server's" } else { "this machine's" },
            );
            tracing::warn!(
                "{whose} clock was set by {by:#}: the gateway goes on by its own time and comes closer \
                 to it by six minutes an hour"
            );
        } else if self.was_set && !was_set {
            tracing::info!("the gateway's time agrees again with the clock that was set");
        }
        self.was_set = was_set;
    }
}
