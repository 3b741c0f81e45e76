//! The loop that looks up a provider's calls in doubt, one destination at a time, or repeats their frozen bytes where the
//! provider takes equal bytes as one call.
//! Step by step: `docs/loops/reconciling.md`.

use std::{sync::Arc, time::Duration};

use invite_core::Destination;

use crate::{
    lane::{Lane, LookUps, until},
    lookups::{
        case::{Case, find_cases, leave_to_people},
        is_repeatable, look_up, repeat,
    },
    shared::{Shared, catch_panic},
};

/// How many invites are looked up at once.
const AT_ONCE: u32 = 500;
/// What is due within this time is looked up with what is due.
const TOGETHER: Duration = Duration::from_secs(1);

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>, lane: Arc<Lane>) {
    while !shared.stopping.is_cancelled() {
        let pause = match catch_panic(step(&shared, &lane)).await {
            Ok(pause) => pause,
            Err(error) => {
                let name = &lane.name;
                tracing::error!(provider.name = name, %error, "a step of the look-ups at provider {name} failed; trying again");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = lane.wake_look_ups.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

/// Looks up what is due at one destination; returns how long to wait then.
async fn step(shared: &Arc<Shared>, lane: &Arc<Lane>) -> Result<Duration, invite_store::Error> {
    let idle = shared.idle();
    let document = shared.live.current();
    let Some(provider) = document.provider(&lane.name).cloned() else { return Ok(idle) };
    if lane.acquire_lease(shared).await?.is_none() {
        return Ok(idle);
    }
    let now = shared.clock.now();
    let (wait, closed) = lane.with_state(|state| {
        state.set_revisions(provider.adapter_since, provider.account_since, now);
        (state.look_up_wait(now), state.closed(now, true))
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
    // A question that calls share costs no more if others take part that are about to be due; a repeat is each one's own.
    let by_bytes = provider.adapter.capabilities().create.idempotent;
    let together = if by_bytes { Duration::ZERO } else { TOGETHER };
    let due_by = now.saturating_add(together).unwrap_or(now);
    let due = shared.store.doubtful(&lane.name, &closed, due_by, AT_ONCE).await?;
    let Some(destination) = due.first().and_then(|invite| invite.destination.clone()) else {
        return Ok(opens);
    };
    // A create may have begun a pause meanwhile.
    let look_ups = match lane.with_state(|state| state.begin_look_up(&destination, now)) {
        Ok(look_ups) => look_ups,
        Err(left) => return Ok(left.min(idle)),
    };
    let (cases, lost) = find_cases(shared, &destination, due).await?;
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
    match look_ups {
        // Whichever is due for longest, so that neither kind waits for all of the other.
        LookUps::OneTrial if repeats_first => {
            repeats.truncate(1);
            lookups.clear();
        }
        LookUps::OneTrial => repeats.clear(),
        LookUps::Any => {}
    }
    for case in repeats {
        let left_over = repeat(shared, lane, &provider, case).await?;
        if lane.with_state(|state| state.awaits_success(&destination)) {
            // From here on each step may make only one look-up.
            lookups = Vec::from_iter(left_over);
            break;
        }
        lookups.extend(left_over);
    }
    if !lookups.is_empty() {
        look_up(shared, lane, &provider, destination, lookups).await?;
    }
    Ok(Duration::ZERO)
}
