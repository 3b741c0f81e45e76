//! The loop of look-ups beside a lane: it looks up what is in doubt, one destination at a time, or repeats the
//! frozen bytes where the provider takes equal bytes as one call.
//! Step by step: `docs/loops/reconciling.md`.

use std::{sync::Arc, time::Duration};

use invite_core::Destination;

use crate::{
    lane::{Lane, until},
    lookups::{
        case::{Case, gather, leave_to_people},
        is_repeatable, look_up, repeat,
    },
    shared::{Shared, contain},
};

/// Invites looked up at once.
const AT_ONCE: u32 = 500;

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>, lane: Arc<Lane>) {
    while !shared.stopping.is_cancelled() {
        let pause = match contain(step(&shared, &lane)).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(provider.name = lane.name, %error, "look-ups cannot read or write the store");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = lane.doubt.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

/// Looks up what is due at one destination; says how long to wait then.
async fn step(shared: &Arc<Shared>, lane: &Arc<Lane>) -> Result<Duration, invite_store::Error> {
    let idle = shared.idle();
    let document = shared.live.current();
    let Some(provider) = document.provider(&lane.name).cloned() else { return Ok(idle) };
    if lane.hold(shared).await?.is_none() {
        return Ok(idle);
    }
    let now = shared.clock.now();
    let (wait, closed) = lane.with_state(|state| {
        state.follow(provider.adapter_since, provider.account_since, now);
        (state.look_wait(now), state.closed(now, true))
    });
    let opens = closed.values().min().copied().unwrap_or(idle).min(idle);
    let closed: Vec<Destination> = closed.into_keys().collect();
    let Some(next) = shared.store.next_lookup(&lane.name, &closed).await? else {
        return Ok(opens);
    };
    let left = until(now, next).max(wait.unwrap_or_default());
    if !left.is_zero() {
        return Ok(left.min(opens));
    }
    let due = shared.store.doubtful(&lane.name, &closed, now, AT_ONCE).await?;
    let Some(destination) = due.first().and_then(|invite| invite.destination.clone()) else {
        return Ok(opens);
    };
    // A trial of the lane's own may have begun the next pause meanwhile.
    let only_one = match lane.with_state(|state| state.may_look(&destination, now)) {
        Ok(only_one) => only_one,
        Err(left) => return Ok(left.min(idle)),
    };
    let (cases, lost) = gather(shared, &destination, due).await?;
    if !lost.is_empty() {
        leave_to_people(shared, lane, lost).await?;
    }
    if cases.is_empty() {
        return Ok(Duration::ZERO);
    }
    let is_repeatable = |case: &Case| is_repeatable(&provider, case, now);
    let repeats_first = cases.first().is_some_and(is_repeatable);
    let (mut repeats, mut lookups): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(is_repeatable);
    match only_one {
        // Whichever is due longest: else one kind would wait for all of the other.
        true if repeats_first => {
            repeats.truncate(1);
            lookups.clear();
        }
        true => repeats.clear(),
        false => {}
    }
    for case in repeats {
        let refused = repeat(shared, lane, &provider, case).await?;
        if lane.with_state(|state| state.is_paused(&destination)) {
            // From here on one a step.
            lookups = Vec::from_iter(refused);
            break;
        }
        lookups.extend(refused);
    }
    if !lookups.is_empty() {
        look_up(shared, lane, &provider, destination, lookups).await?;
    }
    Ok(Duration::ZERO)
}
