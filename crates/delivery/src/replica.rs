//! A replica among others: follows the newest revision of the provider document, and tells the
//! others which one it serves.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::engine::{Inner, contain};

/// How often the newest revision is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often a replica says that it is there if nothing changed; it is forgotten after 15 seconds.
const REPORT: Duration = Duration::from_secs(5);

/// What was last told to the others.
struct Told {
    at: Instant,
    revision: i64,
    refusal: Option<String>,
}

/// Runs until shutdown.
pub(crate) async fn run(engine: Arc<Inner>) {
    let mut told = None;
    while !engine.stopping.is_cancelled() {
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

async fn step(engine: &Arc<Inner>, told: &mut Option<Told>) -> Result<(), invite_store::Error> {
    engine.catch_up().await?;
    let revision = engine.live.current().revision();
    metrics::gauge!("invite_config_revision").set(revision as f64);
    let refusal = engine.document.lag();
    let is_known = |told: &Told| {
        told.revision == revision && told.refusal == refusal && told.at.elapsed() < REPORT
    };
    if !told.as_ref().is_some_and(is_known) {
        engine.store.report_replica(&engine.owner, revision, refusal.as_deref()).await?;
        *told = Some(Told { at: Instant::now(), revision, refusal });
    }
    Ok(())
}
