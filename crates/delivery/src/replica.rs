//! A replica among others: follows the newest revision of the provider document, tells the others which
//! one it serves, and sends nothing while it cannot serve the newest or its clock is wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::{
    engine::{Inner, contain},
    fault,
    lane::Report,
};

/// How often the newest revision is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often a replica says that it is there if nothing changed; it is forgotten after 15 seconds.
const REPORT: Duration = Duration::from_secs(5);

/// How far the clock of a replica's machine may be from the database's.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Why this replica sends nothing, if it must not.
pub(crate) fn obstacle(engine: &Inner) -> Option<String> {
    engine.document.behind().map(fault::behind).or_else(|| clock_fault(engine))
}

/// Why nothing is sent by this machine's clock, if that is far from the database's: what goes by it (the
/// time in a request, certificates) would be wrong, and so may be what it measures.
pub(crate) fn clock_fault(engine: &Inner) -> Option<String> {
    let ahead = engine.store.clock().wall_ahead();
    (ahead.abs() > CLOCK_TOLERANCE).then(|| fault::clock_off(ahead))
}

/// What was last told to the others.
#[derive(Default)]
struct Told {
    replica: Option<Replica>,
    /// Of the providers whose calls this one makes.
    lanes: BTreeMap<String, Report>,
}

struct Replica {
    at: Instant,
    revision: i64,
    refusal: Option<String>,
}

/// Which faults of clocks were logged and are not over.
#[derive(Default)]
struct Clocks {
    is_off: bool,
    was_set: bool,
}

/// Runs until shutdown.
pub(crate) async fn run(engine: Arc<Inner>) {
    let (mut told, mut clocks) = (Told::default(), Clocks::default());
    while !engine.stopping.is_cancelled() {
        clocks.watch(&engine);
        if let Err(error) = contain(step(&engine, &mut told)).await {
            tracing::error!(%error, "cannot look for the newest configuration; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = engine.stopping.cancelled() => {}
        }
    }
    if let Err(error) = engine.store.retire_replica(&engine.owner).await {
        tracing::warn!(%error, "cannot say that this replica ends; the others will notice");
    }
}

async fn step(engine: &Arc<Inner>, told: &mut Told) -> Result<(), invite_store::Error> {
    engine.catch_up().await?;
    let revision = engine.live.current().revision();
    metrics::gauge!("invite_config_revision").set(revision as f64);
    let refusal = engine.document.lag().or_else(|| clock_fault(engine));
    let is_known = |told: &Replica| {
        told.revision == revision && told.refusal == refusal && told.at.elapsed() < REPORT
    };
    if !told.replica.as_ref().is_some_and(is_known) {
        engine.store.report_replica(&engine.owner, revision, refusal.as_deref()).await?;
        told.replica = Some(Replica { at: Instant::now(), revision, refusal });
    }
    if engine.store.is_shared() {
        report_lanes(engine, &mut told.lanes).await?;
    }
    Ok(())
}

/// Leaves what is known of the providers whose calls this replica makes, where that is news.
async fn report_lanes(
    engine: &Arc<Inner>,
    told: &mut BTreeMap<String, Report>,
) -> Result<(), invite_store::Error> {
    let document = engine.live.current();
    for lane in engine.lanes() {
        let provider = document.provider(&lane.name).filter(|_| lane.is_held());
        let Some(provider) = provider else {
            told.remove(&lane.name);
            continue;
        };
        let report = lane.report(engine, provider);
        if told.get(&lane.name) != Some(&report) {
            let shown = serde_json::json!(report);
            engine.store.report_lane(&lane.name, &engine.owner, shown).await?;
            told.insert(lane.name.clone(), report);
        }
    }
    Ok(())
}

impl Clocks {
    /// Shows in metric and log what is wrong with the clocks: in the log once, and once that it is over.
    fn watch(&mut self, engine: &Inner) {
        let clock = engine.store.clock();
        let (ahead, to_make_up) = (clock.wall_ahead(), clock.to_make_up());
        metrics::gauge!("invite_clock_ahead_seconds").set(ahead.as_secs_f64());
        metrics::gauge!("invite_clock_to_make_up_seconds").set(to_make_up.as_secs_f64());
        let fault = clock_fault(engine);
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
                if engine.store.is_shared() { "the database server's" } else { "this machine's" },
            );
            tracing::warn!(
                "{whose} clock was set by {by:#}: the gateway goes on by its own time and comes closer \
                 to it by six minutes an hour"
            );
        } else if self.was_set && !was_set {
            tracing::info!("the step of the clock is made up for");
        }
        self.was_set = was_set;
    }
}
