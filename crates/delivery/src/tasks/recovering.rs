//! What a sender that went away leaves behind: invites found `sending` under a lease that is over
//! become `unknown`, queued ones that nobody could send in time are given up, and idempotency keys
//! past their retention are forgotten. Invites that could not be read are tried again.
//! Step by step: `docs/loops/recovering.md`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use invite_core::{AttemptId, AttemptOutcome, Reason, Status};
use invite_store::{AttemptEnd, Change, InviteRecord};
use jiff::Timestamp;

use crate::{
    LaneState, reason,
    shared::{Shared, contain},
    transition, waiting,
};

/// Each round is a few indexed reads.
const EVERY: Duration = Duration::from_secs(5);
/// Rounds between two looks for what changes seldom, each of which may be a commit.
const SELDOM: u32 = 60;
const AT_ONCE: u32 = 1000;

/// Runs until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    for round in 0u32.. {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shared.stopping.cancelled() => return,
        }
        let done = async {
            recover(&shared, false).await?;
            give_up(&shared).await?;
            count_queues(&shared).await?;
            if !round.is_multiple_of(SELDOM) {
                return Ok(());
            }
            shared.store.reexamine().await?;
            forget_keys(&shared).await
        };
        if let Err(error) = contain(done).await {
            tracing::error!(%error, "cannot recover invites whose sender is gone; trying again");
        }
    }
}

/// Settles what was left `sending`: all of it, or only that whose lease is over.
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
                "the sender of these invites is gone: whether its call took effect is not known"
            );
            lose_sender(shared, holder, &invites, reason::sender_lost()).await?;
        }
    }
}

/// Makes what an attempt holds `unknown` for this reason.
pub(crate) async fn lose_sender(
    shared: &Arc<Shared>,
    holder: AttemptId,
    invites: &[InviteRecord],
    reason: Reason,
) -> Result<(), invite_store::Error> {
    let end = AttemptEnd {
        id: holder,
        finished_at: shared.clock.now(),
        outcome: AttemptOutcome::Unknown,
        http_status: None,
        detail: Some(reason.detail.clone()),
        target: None,
        request: None,
        reply: None,
        unpaired: Vec::new(),
    };
    let ids = invites.iter().map(|invite| invite.id).collect();
    let change = Change {
        end: Some(end),
        // Of a call that was followed it is known how it ended, as far as it was told.
        keeps_end: true,
        ..Change::of(ids, move |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
            transition::lose_sender(state, holder, &reason, now)
        })
    };
    shared.store.change(change).await?;
    shared.waiters.wake(invites.iter().map(|invite| invite.batch_id));
    if let Some(provider) = invites.first().and_then(|invite| invite.provider.as_deref()) {
        shared.lane(provider).doubt.notify_one();
    }
    Ok(())
}

/// Lanes give up what they come across; this finds what they never do, because it waits for an
/// invite in doubt.
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

/// Sets the lanes' counts of waiting invites right, and shows every lane in the metrics.
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
    let counts = shared.store.provider_counts().await?;
    let unreadable: u64 = shared.store.unreadable_counts().await?.values().sum();
    metrics::gauge!("invites_unreadable").set(unreadable as f64);
    for (provider, lane, before) in counted {
        let by_status = counts.get(&provider.name);
        let count = |status| by_status.and_then(|c| c.get(&status)).copied().unwrap_or(0);
        lane.correct_queued(before, count(Status::Queued));
        let state = lane.describe(shared, provider).0;
        for shown in LaneState::ALL {
            metrics::gauge!("invite_lane_state", "provider" => provider.name.clone(),
                "state" => shown.as_str())
            .set(if *shown == state { 1.0 } else { 0.0 });
        }
        for status in [Status::Queued, Status::Sending, Status::Unknown] {
            metrics::gauge!("invites_unsettled", "provider" => provider.name.clone(),
                "status" => status.as_str())
            .set(count(status) as f64);
        }
        metrics::gauge!("invite_calls_in_flight", "provider" => provider.name.clone())
            .set(f64::from(lane.in_flight()));
    }
    Ok(())
}

async fn forget_keys(shared: &Shared) -> Result<(), invite_store::Error> {
    shared.store.purge_idempotency(shared.settings.idempotency_retention).await.map(|_| ())
}
