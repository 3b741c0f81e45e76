//! The loop that sends: it puts what is queued for one destination into one call, as fast as the provider's limits and
//! health allow.
//! Step by step: `docs/loops/sending.md`.

use std::{sync::Arc, time::Duration};

use invite_core::Limits;

use super::{following, turns};
use crate::{
    accounts, attempt,
    lane::Lane,
    shared::{Shared, catch_panic},
};

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>, lane: Arc<Lane>) {
    while !shared.stopping.is_cancelled() {
        let stepped = catch_panic(step(&shared, &lane)).await;
        lane.note_step(&stepped);
        if stepped.is_err() {
            // What it took out of memory is still queued.
            lane.fresh.forget();
        }
        lane.log_change(&shared);
        let Some(pause) = stepped.unwrap_or(Some(Duration::from_secs(1))) else { continue };
        lane.creates_wait.send_replace(false);
        tokio::select! {
            () = lane.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
    if let Err(error) = shared.store.release_lane(&lane.name, &shared.owner).await {
        let name = &lane.name;
        tracing::warn!(provider.name = name, %error, "cannot release the lane of provider {name}; other replicas wait for the end of its lease");
    }
}

/// Makes one call if one can be made now; else returns how long to wait unless woken.
async fn step(
    shared: &Arc<Shared>,
    lane: &Arc<Lane>,
) -> Result<Option<Duration>, invite_store::Error> {
    let idle = shared.idle();
    let document = shared.live.current();
    let Some(provider) = document.provider(&lane.name).cloned() else {
        return Ok(Some(idle));
    };
    let Some(epoch) = lane.acquire_lease(shared).await? else {
        lane.fresh.forget();
        return Ok(Some(idle));
    };
    let now = shared.clock.now();
    lane.with_state(|state| {
        state.set_revisions(provider.adapter_since, provider.account_since, now);
    });
    if let Some(wait) = lane.with_state(|state| state.wait(now, lane.in_flight())) {
        return Ok(Some(wait.min(idle)));
    }
    accounts::learn_account(shared, lane, &provider).await?;
    // The provider may have asked for a wait.
    let now = shared.clock.now();
    if let Some(wait) = lane.with_state(|state| state.wait(now, lane.in_flight())) {
        return Ok(Some(wait.min(idle)));
    }
    if lane.in_flight() >= provider.limits.max_in_flight {
        return Ok(Some(idle));
    }
    let turn = match turns::next(shared, lane, now).await? {
        Ok(turn) => turn,
        Err(wait) => return Ok(Some(wait.map_or(idle, |wait| wait.min(idle)))),
    };
    lane.creates_wait.send_replace(true);
    let is_live = || shared.live.current().revision() == document.revision();
    if !wait_for_token(shared, lane, &provider.limits, is_live).await {
        return Ok(None);
    }
    // A call under way may have ended badly while this one waited for the budget.
    let now = shared.clock.now();
    let destination = turn.destination.clone();
    if let Some(wait) = lane.with_state(|state| {
        state.wait(now, lane.in_flight()).max(state.destination_wait(&destination, now))
    }) {
        return Ok(Some(wait.min(idle)));
    }
    let group = turns::fill_call(shared, lane, &provider, turn).await?;
    if group.is_empty() {
        // By now what was due is given up, withdrawn, or waits for an invite in doubt.
        return Ok(Some(Duration::from_millis(50)));
    }
    if !is_live() {
        // Some of it may have been accepted for another document than this one.
        lane.fresh.forget();
        return Ok(None);
    }
    let under_way = lane.begin_call(&destination);
    let sender = attempt::Sender { shared: shared.clone(), lane: lane.clone(), provider };
    if let Some((claimed, prepared)) = sender.claim(group, document.revision(), epoch).await? {
        shared.tasks.spawn(async move {
            if let Some((claimed, prepared)) = sender.send(claimed, prepared, under_way).await {
                following::follow(&sender, claimed, prepared).await;
            }
        });
    } else {
        lane.fresh.forget();
    }
    Ok(None)
}

/// Waits for the rate budget; false if first shutdown begins or another document goes live.
async fn wait_for_token(
    shared: &Shared,
    lane: &Lane,
    limits: &Limits,
    is_live: impl Fn() -> bool,
) -> bool {
    let token = lane.wait_for_budget(limits);
    tokio::pin!(token);
    while is_live() {
        tokio::select! {
            () = &mut token => return is_live(),
            () = lane.wake.notified() => {}
            () = shared.stopping.cancelled() => break,
        }
    }
    false
}
