//! One create call: prepare, claim, call, record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, Destination, InviteId, Observed, Outcome, PreparedCall, ProviderError, Recipient,
    Status, StatusSource, Stopwatch, http::CallContext, sabotage::crash_point,
};
use invite_store::{AttemptEnd, Change, Changed, InviteRecord, InviteState, NewAttempt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    accounts,
    engine::Inner,
    fault, follow,
    judge::{Judged, judge},
    lane::{Lane, Slot},
    replica,
    transition::{self, Settlement},
};

/// What a create call comes to: for all of it, or per recipient.
pub(crate) type Reply = Result<Vec<Result<Observed, ProviderError>>, ProviderError>;

/// A create call on its way.
pub(crate) struct Call {
    pub engine: Arc<Inner>,
    pub lane: Arc<Lane>,
    pub provider: Arc<Provider>,
}

/// A call whose invites are `sending` under a lease.
pub(crate) struct Claimed {
    pub attempt: AttemptId,
    pub invites: Vec<InviteRecord>,
    pub recipients: Vec<Recipient>,
    /// When the lease is over at the latest, by this process's own measure: it is renewed before.
    pub lease_end: Instant,
    /// Since before the claim, by whichever clock says more: nothing is sent once that is the lease.
    pub held: Arc<Stopwatch>,
}

impl Claimed {
    /// Where the call goes; none if it has no invites.
    pub fn destination(&self) -> Option<&Destination> {
        self.recipients.first().map(|recipient| &recipient.destination)
    }
}

impl Call {
    /// Freezes the call, claims its invites with it, and sends it in a task of its own.
    pub async fn claim_and_send(
        self,
        invites: Vec<InviteRecord>,
        revision: i64,
        epoch: i64,
        slot: Slot,
    ) -> Result<(), invite_store::Error> {
        let (invites, recipients): (Vec<_>, Vec<_>) = invites
            .into_iter()
            .filter_map(|invite| recipient(&invite).map(|recipient| (invite, recipient)))
            .unzip();
        let context = self.lane.context(&self.provider.limits);
        // For the provider, which compares it with its own clock.
        let mut at = self.engine.clock.wall();
        loop {
            let prepared = self.provider.adapter.prepare(&context, &recipients, at).await;
            self.lane.ease(&context, &self.provider.limits.retry, self.engine.clock.now());
            let lease_end = Instant::now() + self.engine.settings.lease;
            let held = Arc::new(Stopwatch::start(self.engine.clock.clone()));
            let attempt = AttemptId::generate();
            crash_point("claim-before-commit");
            let claim = self.claim(attempt, &invites, prepared.as_ref().ok(), revision, epoch);
            match claim.await? {
                Changed::Written(invites) => {
                    crash_point("claim-after-commit");
                    self.lane.queue_shrank(invites.len());
                    let claimed = Claimed { attempt, invites, recipients, lease_end, held };
                    let tasks = self.engine.tasks.clone();
                    tasks.spawn(self.send(claimed, prepared, slot));
                    return Ok(());
                }
                // Equal bytes in the same millisecond would be one activity at the provider.
                Changed::FingerprintTaken => at += Duration::from_millis(1),
                Changed::LaneLost => {
                    self.lane.lose();
                    return Ok(());
                }
                // Somebody withdrew one of them, or one came into doubt elsewhere: gather again.
                Changed::Aborted
                | Changed::PersonInDoubt { .. }
                | Changed::ProviderRefTaken { .. } => return Ok(()),
            }
        }
    }

    async fn claim(
        &self,
        attempt: AttemptId,
        invites: &[InviteRecord],
        call: Option<&PreparedCall>,
        revision: i64,
        epoch: i64,
    ) -> Result<Changed, invite_store::Error> {
        let lease = self.engine.settings.lease;
        let change = Change {
            begin: Some(NewAttempt {
                id: attempt,
                provider: self.provider.name.clone(),
                operation: "create",
                call: call.cloned(),
                config_revision: revision,
                traceparent: None,
                started_at: self.engine.clock.now(),
            }),
            lane: Some((self.lane.name.clone(), epoch)),
            people: accounts::overlapping(invites, call),
            ..Change::of(
                invites.iter().map(|invite| invite.id).collect(),
                move |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
                    transition::claim(state, attempt, now + lease)
                },
            )
        };
        self.engine.store.change(change).await
    }

    async fn send(
        self,
        claimed: Claimed,
        prepared: Result<PreparedCall, ProviderError>,
        slot: Slot,
    ) {
        let started = Instant::now();
        let context = self.lane.context(&self.provider.limits).guarded(self.guard(&claimed));
        let reply = match &prepared {
            Err(error) => Err(error.clone()),
            // A claim that took so long that the call might outlive its lease is not followed by a
            // call: somebody else may hold the invites by then.
            Ok(_) if !self.has_time(&claimed) => {
                Err(ProviderError::new(Outcome::NotSent, "the claim took too long to send safely"))
            }
            Ok(call) => {
                crash_point("create-before-request");
                self.provider.adapter.create(&context, call, &claimed.recipients).await
            }
        };
        crash_point("create-after-reply");
        let judged = judge(&self.provider, &self.lane, &claimed, &reply, self.engine.clock.now());
        if let Some(destination) = claimed.destination() {
            self.note(destination, &judged, &context, started.elapsed());
        }
        record(&self.engine, &claimed, &judged, &context).await;
        crash_point("create-after-record");
        drop(slot);
        let again = |settlement: &&Settlement| matches!(settlement, Settlement::Again { .. });
        self.lane.queue_grew(judged.settlements.iter().filter(again).count());
        self.lane.doubt.notify_one();
        accounts::wake_others(&self.engine, &self.provider, prepared.as_ref().ok());
        if let (Ok(call), true) = (prepared, judged.is_processing()) {
            follow::follow(&self, claimed, call).await;
        }
    }

    /// The call can end before the lease does.
    fn has_time(&self, claimed: &Claimed) -> bool {
        let left = self.engine.settings.lease.saturating_sub(claimed.held.elapsed());
        left >= self.provider.limits.timeout
    }

    /// Asked when the connection takes the bytes: connecting may have taken as long as the call may, and
    /// the process may have been frozen, or the machine suspended, since.
    fn guard(&self, claimed: &Claimed) -> impl Fn() -> Result<(), String> + use<> {
        let (engine, held) = (self.engine.clone(), claimed.held.clone());
        move || {
            if held.elapsed() >= engine.settings.lease {
                return Err("its lease is over, and somebody else may hold its invites".to_owned());
            }
            replica::clock_fault(&engine).map_or(Ok(()), Err)
        }
    }

    /// Tells lane, metrics and log how it went.
    fn note(
        &self,
        destination: &Destination,
        judged: &Judged,
        context: &CallContext,
        took: Duration,
    ) {
        let now = self.engine.clock.now();
        let taken = |settlement: &&Settlement| matches!(settlement, Settlement::Exists(_));
        self.lane.with_state(|state| {
            state.invites += judged.settlements.iter().filter(taken).count() as u64;
            state.count("create", judged.outcome, judged.error.as_ref(), now);
            let retry = &self.provider.limits.retry;
            state.take(destination, &judged.event, judged.error.as_ref(), retry, now);
        });
        self.lane.ease(context, &self.provider.limits.retry, now);
        count(&self.lane.name, "create", judged.outcome, took);
        let (name, invites) = (&self.lane.name, judged.settlements.len());
        match &judged.error {
            None => {
                tracing::info!(provider.name = name, invites, outcome = judged.outcome, "created");
            }
            Some(error) => {
                tracing::warn!(provider.name = name, invites, outcome = judged.outcome, %error, "a create call did not succeed");
            }
        }
    }
}

/// Counts an attempt, by bounded labels.
pub(crate) fn count(
    provider: &str,
    operation: &'static str,
    outcome: &'static str,
    took: Duration,
) {
    metrics::counter!("invite_attempts_total", "provider" => provider.to_owned(),
        "operation" => operation, "outcome" => outcome)
    .increment(1);
    metrics::histogram!("invite_attempt_duration_seconds", "provider" => provider.to_owned(),
        "operation" => operation)
    .record(took.as_secs_f64());
}

/// Stores what the attempt came to, however long the store is away: the call was made, and only
/// this process knows how it ended. Once the lease is over the record is a late reply.
pub(crate) async fn record(
    engine: &Inner,
    claimed: &Claimed,
    judged: &Judged,
    context: &CallContext,
) {
    let mut settlements = judged.settlements.clone();
    let mut crowded = BTreeSet::new();
    let mut pause = Duration::from_millis(50);
    loop {
        let (settled, failing) = (settlements.clone(), crowded.clone());
        let change = record_change(engine, claimed, judged, context, settled, failing);
        match engine.store.change(change).await {
            Ok(Changed::ProviderRefTaken { invite }) => {
                let place = claimed.invites.iter().position(|record| record.id == invite);
                if let Some(settlement) = place.and_then(|i| settlements.get_mut(i)) {
                    *settlement = Settlement::Failed(fault::already_held());
                }
                continue;
            }
            Ok(Changed::Written(after)) => {
                let provider = claimed.invites.first().and_then(|i| i.provider.as_deref());
                tell_of_second_effects(provider.unwrap_or_default(), &claimed.invites, &after);
                break;
            }
            // It would return to doubt while another invite to the same person is in doubt.
            Ok(Changed::PersonInDoubt { invite }) if crowded.insert(invite) => continue,
            Ok(other) => {
                tracing::error!(attempt.id = %claimed.attempt, ?other, "an attempt's outcome was not recorded");
                break;
            }
            Err(error) => {
                tracing::error!(attempt.id = %claimed.attempt, %error, "cannot record an attempt's outcome; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
        let lost = claimed.lease_end.elapsed() > engine.settings.lease;
        if lost || (engine.stopping.is_cancelled() && claimed.lease_end <= Instant::now()) {
            break;
        }
    }
    engine.waiters.wake(claimed.invites.iter().map(|invite| invite.batch_id));
}

/// Says in log and metric of which invites a second effect has come to light, and in the log which
/// exist although they were failed or withdrawn.
pub(crate) fn tell_of_second_effects(
    provider: &str,
    before: &[InviteRecord],
    after: &[InviteRecord],
) {
    let known: BTreeSet<InviteId> =
        before.iter().filter(|i| i.state.duplicate_effect).map(|invite| invite.id).collect();
    let existed: BTreeSet<InviteId> =
        before.iter().filter(|i| i.state.provider_ref.is_some()).map(|invite| invite.id).collect();
    let ended_here = |state: &InviteState| {
        matches!(state.status, Status::Failed | Status::Revoked)
            && matches!(state.source, StatusSource::Gateway | StatusSource::Caller)
    };
    for invite in after.iter().filter(|i| i.state.provider_ref.is_some() && ended_here(&i.state)) {
        if !existed.contains(&invite.id) {
            let status = invite.state.status.as_str();
            tracing::error!(provider.name = provider, invite.id = %invite.id, status, "an invite that was given up here exists at its provider");
        }
    }
    let new = after.iter().filter(|i| i.state.duplicate_effect && !known.contains(&i.id));
    for invite in new {
        let ids = transition::second_effects(&invite.state).collect::<Vec<_>>().join(", ");
        let held = invite.state.provider_ref.as_deref();
        tracing::error!(provider.name = provider, invite.id = %invite.id, invite.provider_ref = held, invite.second_effects = ids, "a second effect was found");
        metrics::counter!("invite_duplicate_effects_total", "provider" => provider.to_owned())
            .increment(1);
    }
}

fn record_change(
    engine: &Inner,
    claimed: &Claimed,
    judged: &Judged,
    context: &CallContext,
    settlements: Vec<Settlement>,
    crowded: BTreeSet<InviteId>,
) -> Change {
    let attempt = claimed.attempt;
    let exchange = context.exchanges().pop();
    Change {
        end: Some(AttemptEnd {
            id: attempt,
            finished_at: engine.clock.now(),
            outcome: judged.outcome.to_owned(),
            http_status: exchange
                .as_ref()
                .and_then(|exchange| exchange.status)
                .or(judged.error.as_ref().and_then(|error| error.http_status)),
            detail: judged.error.as_ref().map(|error| error.message.clone()),
            target: exchange.as_ref().map(|exchange| exchange.target.clone()),
            request: None,
            reply: exchange.and_then(|exchange| exchange.reply),
            unpaired: judged.unpaired.clone(),
        }),
        ..Change::of(
            claimed.invites.iter().map(|invite| invite.id).collect(),
            move |i: usize, invite: &InviteRecord, state: &mut _, now: Timestamp| {
                let decision = transition::settle(state, attempt, &settlements[i], now);
                match crowded.contains(&invite.id) {
                    true => transition::keep_out_of_doubt(&invite.state, state, decision),
                    false => decision,
                }
            },
        )
    }
}

/// An invite as the adapters see it; none for an item that was refused before it was bound.
pub(crate) fn recipient(invite: &InviteRecord) -> Option<Recipient> {
    Some(Recipient {
        id: invite.id,
        invitee: invite.invitee.clone(),
        address: invite.address.clone()?,
        destination: invite.destination.clone()?,
        params: invite.params.clone(),
    })
}
