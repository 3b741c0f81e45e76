//! One create call: prepare, claim, call, record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, InviteId, Operation, Outcome, PreparedCall, ProviderError, Stopwatch,
    failpoint::failpoint,
    http::{CallContext, Exchange},
};
use invite_store::{AttemptEnd, Change, Changed, InviteRecord, NewAttempt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    accounts,
    call::{Claimed, recipient},
    commit::{attempt_end, commit},
    door::{Door, Subject},
    judge::{Judged, judge},
    lane::{CallUnderWay, Lane},
    obstacle::clock_fault,
    reason,
    shared::Shared,
    transition::{self, Settlement},
};

/// A call with its bytes, or why there are none.
pub(crate) type Prepared = Result<PreparedCall, ProviderError>;

/// What claims and sends creates for one provider.
pub(crate) struct Sender {
    pub shared: Arc<Shared>,
    pub lane: Arc<Lane>,
    pub provider: Arc<Provider>,
}

impl Sender {
    /// Freezes the call and claims its invites, in one transaction. `None` if one of them is another attempt's by now,
    /// or must not be sent.
    pub async fn claim(
        &self,
        invites: Vec<InviteRecord>,
        revision: i64,
        epoch: i64,
    ) -> Result<Option<(Claimed, Prepared)>, invite_store::Error> {
        let (invites, recipients): (Vec<_>, Vec<_>) = invites
            .into_iter()
            .filter_map(|invite| recipient(&invite).map(|recipient| (invite, recipient)))
            .unzip();
        let context = self.lane.context(&self.provider.limits);
        // The wall clock, because the provider compares this time with its own.
        let mut at = self.shared.clock.wall();
        loop {
            // If it cannot be prepared, `send` reports that as the outcome of this attempt.
            let preparing = async |context: &CallContext| {
                self.provider.adapter.prepare(context, &recipients, at).await
            };
            let prepared = self.door(Subject::default()).call(&context, preparing).await;
            let lease_end = Instant::now() + self.shared.settings.lease;
            let age = Arc::new(Stopwatch::start(self.shared.clock.clone()));
            let attempt = AttemptId::generate();
            failpoint("claim-before-commit");
            let claim = self.claim_with(attempt, &invites, prepared.as_ref().ok(), revision, epoch);
            match claim.await? {
                Changed::Written(invites) => {
                    failpoint("claim-after-commit");
                    self.lane.queue_shrank(invites.len());
                    let claimed = Claimed { attempt, invites, recipients, lease_end, age };
                    return Ok(Some((claimed, prepared)));
                }
                // Equal bytes in the same millisecond would be one activity at the provider.
                Changed::FingerprintTaken => at += Duration::from_millis(1),
                Changed::LaneLost => {
                    self.lane.lose_lease();
                    return Ok(None);
                }
                // Somebody withdrew one of them, or one came into doubt elsewhere: the next step chooses anew.
                Changed::Aborted
                | Changed::PersonTaken { .. }
                | Changed::ProviderRefTaken { .. } => return Ok(None),
            }
        }
    }

    async fn claim_with(
        &self,
        attempt: AttemptId,
        invites: &[InviteRecord],
        call: Option<&PreparedCall>,
        revision: i64,
        epoch: i64,
    ) -> Result<Changed, invite_store::Error> {
        let lease = self.shared.settings.lease;
        let change = Change {
            begin: Some(NewAttempt {
                id: attempt,
                provider: self.provider.name.clone(),
                operation: Operation::Create,
                call: call.cloned(),
                config_revision: revision,
                traceparent: None,
                started_at: self.shared.clock.now(),
            }),
            lane: Some((self.lane.name.clone(), epoch)),
            people: accounts::people_to_lock(invites, call),
            known: invites.to_vec(),
            ..Change::each(invites.iter().map(|invite| invite.id).collect(), move |state, now| {
                transition::claim(state, attempt, now + lease)
            })
        };
        self.shared.store.change(change).await
    }

    /// Makes the call and stores its outcome; returns the call if the provider took it and still works on it.
    pub async fn send(
        &self,
        claimed: Claimed,
        prepared: Prepared,
        under_way: CallUnderWay,
    ) -> Option<(Claimed, PreparedCall)> {
        let subject = Subject { attempt: Some(claimed.attempt), ..Subject::of(&claimed.invites) };
        let door = self.door(subject);
        let begun = door.begin();
        let context = door.context().guarded(self.guard(&claimed));
        let reply = match &prepared {
            Err(error) => Err(error.clone()),
            // The call might outlive its lease, and another attempt hold the invites by then.
            Ok(_) if !self.has_time(&claimed) => {
                Err(ProviderError::new(Outcome::NotSent, "the claim took too long to send safely"))
            }
            Ok(call) => {
                failpoint("create-before-request");
                let create = async |context: &CallContext| {
                    self.provider.adapter.create(context, call, &claimed.recipients).await
                };
                door.call(&context, create).await
            }
        };
        failpoint("create-after-reply");
        let judged = judge(&self.provider, &self.lane, &claimed, &reply, self.shared.clock.now());
        if let Some(destination) = claimed.destination() {
            let exists = |it: &&Settlement| matches!(it, Settlement::Exists(_));
            let count = judged.settlements.iter().filter(exists).count();
            self.lane.with_state(|state| state.invites += count as u64);
            door.report(Operation::Create, judged.outcome, judged.error.as_ref(), &begun);
            door.update_health(Some(destination), &judged.event, judged.error.as_ref());
        }
        store_outcome(&self.shared, &claimed, &judged, context.exchanges().pop()).await;
        failpoint("create-after-record");
        drop(under_way);
        self.lane.wake_look_ups.notify_one();
        accounts::wake_others(&self.shared, &self.provider, prepared.as_ref().ok());
        prepared.ok().filter(|_| judged.is_processing()).map(|call| (claimed, call))
    }

    /// Whether the call can end before the lease does.
    fn has_time(&self, claimed: &Claimed) -> bool {
        let left = self.shared.settings.lease.saturating_sub(claimed.age.elapsed());
        left >= self.provider.limits.timeout
    }

    /// Checked when the connection takes the bytes: connecting may have taken as long as a call may, and the process
    /// may have been frozen, or the machine suspended, since the claim.
    fn guard(&self, claimed: &Claimed) -> impl Fn() -> Result<(), String> + use<> {
        let (shared, age) = (self.shared.clone(), claimed.age.clone());
        move || {
            if age.elapsed() >= shared.settings.lease {
                return Err("its lease is over, and somebody else may hold its invites".to_owned());
            }
            clock_fault(&shared).map_or(Ok(()), Err)
        }
    }

    pub fn door(&self, subject: Subject) -> Door<'_> {
        Door { shared: &self.shared, lane: &self.lane, provider: &self.provider, subject }
    }
}

/// Stores the outcome of an attempt, which only this process knows. While the store is away it tries again, until one
/// lease after the end of the claim: by then recovery has put the invites in doubt, and look-ups settle them. What is
/// stored after the claim's end counts as a late reply.
pub(crate) async fn store_outcome(
    shared: &Shared,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
) {
    let provider = claimed.invites.first().and_then(|invite| invite.provider.as_deref());
    let provider = provider.unwrap_or_default();
    let mut pause = Duration::from_millis(50);
    loop {
        let change = |taken: &BTreeSet<InviteId>| {
            outcome_change(shared, claimed, judged, exchange.clone(), taken)
        };
        match commit(shared, provider, &claimed.invites, change).await {
            Ok(Changed::Written(_)) => break,
            Ok(other) => {
                tracing::error!(attempt.id = %claimed.attempt, provider.name = provider, ?other, "the outcome of a call to {provider} was not stored");
                break;
            }
            Err(error) => {
                tracing::warn!(attempt.id = %claimed.attempt, provider.name = provider, %error, "cannot store the outcome of a call to {provider}; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
        let lost = claimed.lease_end.elapsed() > shared.settings.lease;
        if lost || (shared.stopping.is_cancelled() && claimed.lease_end <= Instant::now()) {
            tracing::error!(attempt.id = %claimed.attempt, provider.name = provider, "gave up storing the outcome of a call to {provider}: look-ups have to find it out");
            // It may be stored although no answer came, so whoever waits for it looks again.
            shared.waiters.wake(claimed.invites.iter().map(|invite| invite.batch_id));
            break;
        }
    }
}

fn outcome_change(
    shared: &Shared,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
    taken: &BTreeSet<InviteId>,
) -> Change {
    let attempt = claimed.attempt;
    // The attempt holds the request already, as its call.
    let exchange = exchange.map(|exchange| Exchange { request: None, ..exchange });
    let end = attempt_end(shared, attempt, judged.outcome, judged.error.as_ref(), exchange);
    let settled = claimed.invites.iter().zip(&judged.settlements);
    let settlements: Vec<Settlement> = settled
        .map(|(invite, settlement)| match taken.contains(&invite.id) {
            true => Settlement::Failed(reason::already_held()),
            false => settlement.clone(),
        })
        .collect();
    Change {
        known: claimed.invites.clone(),
        end: Some(AttemptEnd { unpaired: judged.unpaired.clone(), ..end }),
        ..Change::of(
            claimed.invites.iter().map(|invite| invite.id).collect(),
            move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| {
                transition::settle(state, attempt, &settlements[i], now)
            },
        )
    }
}
