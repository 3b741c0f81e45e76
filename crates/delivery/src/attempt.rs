//! One create call: prepare, claim, call, record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, InviteId, Operation, Outcome, PreparedCall, ProviderError, Stopwatch,
    http::{CallContext, Exchange},
    sabotage::crash_point,
};
use invite_store::{AttemptEnd, Change, Changed, InviteRecord, NewAttempt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    accounts,
    call::{Claimed, recipient},
    door::{Door, Subject},
    judge::{Judged, judge},
    lane::{Lane, Slot},
    obstacle::clock_fault,
    reason,
    record::{self, commit},
    shared::Shared,
    transition::{self, Settlement},
};

/// A call with its bytes, or why there are none.
pub(crate) type Prepared = Result<PreparedCall, ProviderError>;

/// A create call on its way.
pub(crate) struct Call {
    pub shared: Arc<Shared>,
    pub lane: Arc<Lane>,
    pub provider: Arc<Provider>,
}

impl Call {
    /// Freezes the call and claims its invites with it; none if others have them by now, or may not be sent to.
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
        // For the provider, which compares it with its own clock.
        let mut at = self.shared.clock.wall();
        loop {
            // Why it cannot be prepared is told with the call that it then does not become.
            let preparing = async |context: &CallContext| {
                self.provider.adapter.prepare(context, &recipients, at).await
            };
            let prepared = self.door(Subject::default()).make(&context, preparing).await;
            let lease_end = Instant::now() + self.shared.settings.lease;
            let held = Arc::new(Stopwatch::start(self.shared.clock.clone()));
            let attempt = AttemptId::generate();
            crash_point("claim-before-commit");
            let claim = self.claim_with(attempt, &invites, prepared.as_ref().ok(), revision, epoch);
            match claim.await? {
                Changed::Written(invites) => {
                    crash_point("claim-after-commit");
                    self.lane.queue_shrank(invites.len());
                    let claimed = Claimed { attempt, invites, recipients, lease_end, held };
                    return Ok(Some((claimed, prepared)));
                }
                // Equal bytes in the same millisecond would be one activity at the provider.
                Changed::FingerprintTaken => at += Duration::from_millis(1),
                Changed::LaneLost => {
                    self.lane.lose();
                    return Ok(None);
                }
                // Somebody withdrew one of them, or one came into doubt elsewhere: gather again.
                Changed::Aborted
                | Changed::PersonInDoubt { .. }
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
            people: accounts::overlapping(invites, call),
            ..Change::of(
                invites.iter().map(|invite| invite.id).collect(),
                move |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
                    transition::claim(state, attempt, now + lease)
                },
            )
        };
        self.shared.store.change(change).await
    }

    /// Makes the call and stores what it came to; the call, if the provider took it and still works on it.
    pub async fn send(
        &self,
        claimed: Claimed,
        prepared: Prepared,
        slot: Slot,
    ) -> Option<(Claimed, PreparedCall)> {
        let subject = Subject { attempt: Some(claimed.attempt), ..Subject::of(&claimed.invites) };
        let door = self.door(subject);
        let begun = door.begin();
        let context = door.context().guarded(self.guard(&claimed));
        let reply = match &prepared {
            Err(error) => Err(error.clone()),
            // A claim that took so long that the call might outlive its lease is not followed by a
            // call: somebody else may hold the invites by then.
            Ok(_) if !self.has_time(&claimed) => {
                Err(ProviderError::new(Outcome::NotSent, "the claim took too long to send safely"))
            }
            Ok(call) => {
                crash_point("create-before-request");
                let create = async |context: &CallContext| {
                    self.provider.adapter.create(context, call, &claimed.recipients).await
                };
                door.make(&context, create).await
            }
        };
        crash_point("create-after-reply");
        let judged = judge(&self.provider, &self.lane, &claimed, &reply, self.shared.clock.now());
        if let Some(destination) = claimed.destination() {
            let is_taken = |it: &&Settlement| matches!(it, Settlement::Exists(_));
            let count = judged.settlements.iter().filter(is_taken).count();
            self.lane.with_state(|state| state.invites += count as u64);
            door.tell(Operation::Create, judged.outcome, judged.error.as_ref(), &begun);
            door.take(Some(destination), &judged.event, judged.error.as_ref());
        }
        record_outcome(&self.shared, &claimed, &judged, context.exchanges().pop()).await;
        crash_point("create-after-record");
        drop(slot);
        self.lane.doubt.notify_one();
        accounts::wake_others(&self.shared, &self.provider, prepared.as_ref().ok());
        prepared.ok().filter(|_| judged.is_processing()).map(|call| (claimed, call))
    }

    /// The call can end before the lease does.
    fn has_time(&self, claimed: &Claimed) -> bool {
        let left = self.shared.settings.lease.saturating_sub(claimed.held.elapsed());
        left >= self.provider.limits.timeout
    }

    /// Asked when the connection takes the bytes: connecting may have taken as long as the call may, and
    /// the process may have been frozen, or the machine suspended, since.
    fn guard(&self, claimed: &Claimed) -> impl Fn() -> Result<(), String> + use<> {
        let (shared, held) = (self.shared.clone(), claimed.held.clone());
        move || {
            if held.elapsed() >= shared.settings.lease {
                return Err("its lease is over, and somebody else may hold its invites".to_owned());
            }
            clock_fault(&shared).map_or(Ok(()), Err)
        }
    }

    /// The way to its provider.
    pub fn door(&self, subject: Subject) -> Door<'_> {
        Door { shared: &self.shared, lane: &self.lane, provider: &self.provider, subject }
    }
}

/// Stores what the attempt came to, however long the store is away: the call was made, and only
/// this process knows how it ended. Once the lease is over the record is a late reply.
pub(crate) async fn record_outcome(
    shared: &Shared,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
) {
    let provider = claimed.invites.first().and_then(|invite| invite.provider.as_deref());
    let mut pause = Duration::from_millis(50);
    loop {
        let change = |taken: &BTreeSet<InviteId>| {
            record_change(shared, claimed, judged, exchange.clone(), taken)
        };
        let committed =
            commit(shared, provider.unwrap_or_default(), &claimed.invites, change).await;
        match committed {
            Ok(Changed::Written(_)) => break,
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
        let lost = claimed.lease_end.elapsed() > shared.settings.lease;
        if lost || (shared.stopping.is_cancelled() && claimed.lease_end <= Instant::now()) {
            // It may be stored all the same.
            shared.waiters.wake(claimed.invites.iter().map(|invite| invite.batch_id));
            break;
        }
    }
}

fn record_change(
    shared: &Shared,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
    taken: &BTreeSet<InviteId>,
) -> Change {
    let attempt = claimed.attempt;
    // The request is in the call already.
    let exchange = exchange.map(|exchange| Exchange { request: None, ..exchange });
    let end = record::end(shared, attempt, judged.outcome, judged.error.as_ref(), exchange);
    let settled = claimed.invites.iter().zip(&judged.settlements);
    let settlements: Vec<Settlement> = settled
        .map(|(invite, settlement)| match taken.contains(&invite.id) {
            true => Settlement::Failed(reason::already_held()),
            false => settlement.clone(),
        })
        .collect();
    Change {
        end: Some(AttemptEnd { unpaired: judged.unpaired.clone(), ..end }),
        ..Change::of(
            claimed.invites.iter().map(|invite| invite.id).collect(),
            move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| {
                transition::settle(state, attempt, &settlements[i], now)
            },
        )
    }
}
