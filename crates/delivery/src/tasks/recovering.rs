//! The loop that puts right what nobody else does: invites `sending` under a lease that is over become `unknown`, queued
//! ones that could not be sent in time are given up, rows that could not be read are tried again, and idempotency keys
//! past their retention are forgotten.
//! Step by step: `docs/loops/recovering.md`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use invite_core::{AttemptId, AttemptOutcome, Reason, Status};
use invite_store::{AttemptEnd, Change, InviteRecord};

use crate::{
    commit::attempt_end,
    lane::until,
    reason,
    shared::{Shared, catch_panic},
    transition, waiting,
};

/// The pause between two rounds, each of which is a few reads along an index.
const EVERY: Duration = Duration::from_secs(5);
/// How many rounds there are between two that also do what is seldom due, and may be a commit each.
const SELDOM: u32 = 60;
const AT_ONCE: u32 = 1000;
/// Counting takes the longer the more is live, so it rests for so many times as long as it took.
const REST: u32 = 50;

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    if let Err(error) = catch_panic(count_queues(&shared)).await {
        tracing::error!(%error, "what is queued could not be counted at the start; trying again");
    }
    // Nobody else sets it.
    let _ = shared.counted.set(());
    let mut count_again = Instant::now();
    for round in 0u32.. {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shared.stopping.cancelled() => return,
        }
        let done = async {
            recover(&shared, false).await?;
            give_up(&shared).await?;
            if Instant::now() >= count_again {
                let began = Instant::now();
                count_queues(&shared).await?;
                count_again = began + began.elapsed() * REST;
            }
            if !round.is_multiple_of(SELDOM) {
                return Ok(());
            }
            shared.store.reexamine().await?;
            let retention = shared.settings.idempotency_retention;
            shared.store.purge_idempotency(retention).await.map(|_| ())
        };
        if let Err(error) = catch_panic(done).await {
            tracing::error!(%error, "a round of recovering failed; trying again");
        }
    }
}

/// Makes invites `unknown` that were left `sending`: all, or only those whose lease is over.
pub(crate) async fn recover(shared: &Arc<Shared>, all: bool) -> Result<(), invite_store::Error> {
    loop {
        let left = shared.store.leases_over(all, AT_ONCE).await?;
        if left.is_empty() {
            return Ok(());
        }
        let mut by_attempt: BTreeMap<AttemptId, Vec<InviteRecord>> = BTreeMap::new();
        for invite in left {
            if let Some(holder) = invite.state.holder() {
                by_attempt.entry(holder).or_default().push(invite);
            }
        }
        for (holder, invites) in by_attempt {
            tracing::warn!(
                attempt.id = %holder,
                invites = invites.len(),
                "the sender of {} invites is gone: whether their call took effect is not known, and is looked up",
                invites.len()
            );
            lose_sender(shared, holder, &invites, reason::sender_lost()).await?;
        }
    }
}

/// Makes the invites of an attempt `unknown` for this reason.
pub(crate) async fn lose_sender(
    shared: &Arc<Shared>,
    holder: AttemptId,
    invites: &[InviteRecord],
    reason: Reason,
) -> Result<(), invite_store::Error> {
    let end = attempt_end(shared, holder, AttemptOutcome::Unknown, None, None);
    let ids = invites.iter().map(|invite| invite.id).collect();
    let change = Change {
        end: Some(AttemptEnd { detail: Some(reason.detail.clone()), ..end }),
        // The attempt of a call that was followed has ended already.
        keeps_end: true,
        ..Change::each(ids, move |state, now| transition::lose_sender(state, holder, &reason, now))
    };
    shared.store.change(change).await?;
    shared.waiters.wake(invites.iter().map(|invite| invite.batch_id));
    if let Some(provider) = invites.first().and_then(|invite| invite.provider.as_deref()) {
        shared.lane(provider).wake_look_ups.notify_one();
    }
    Ok(())
}

/// Gives up every invite that is queued for longer than `give_up_after`: a lane that is paused, or that has to pass an
/// invite over, would never come to it.
async fn give_up(shared: &Arc<Shared>) -> Result<(), invite_store::Error> {
    let now = shared.clock.now();
    for provider in shared.live.current().providers() {
        let age = provider.limits.retry.give_up_after;
        let Ok(before) = now.checked_sub(age) else { continue };
        let late = shared.store.queued_before(&provider.name, before, AT_ONCE).await?;
        if !late.is_empty() {
            waiting::give_up(shared, late).await?;
        }
    }
    Ok(())
}

/// Corrects the lanes' counts of waiting invites, and shows every lane in the metrics.
pub(crate) async fn count_queues(shared: &Arc<Shared>) -> Result<(), invite_store::Error> {
    let document = shared.live.current();
    let counted: Vec<_> = document
        .providers()
        .map(|provider| {
            let lane = shared.lane(&provider.name);
            let before = lane.queued();
            (provider, lane, before)
        })
        .collect();
    let counts = shared.store.count_live().await?;
    metrics::gauge!("invites_unreadable").set(counts.unreadable.values().sum::<u64>() as f64);
    for (provider, lane, before) in counted {
        let count = |status| counts.of(&provider.name, status);
        lane.correct_queued(before, count(Status::Queued));
        lane.set_gauges(Some(lane.condition(shared, provider).state), count);
        let oldest = shared.store.oldest_queued(&provider.name).await?;
        let age = oldest.map_or(0.0, |since| until(since, shared.clock.now()).as_secs_f64());
        metrics::gauge!("invites_oldest_queued_seconds", "provider" => provider.name.clone())
            .set(age);
    }
    Ok(())
}
