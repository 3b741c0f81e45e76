//! One create call: prepare, claim, call, record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, Destination, InviteId, Observed, Outcome, PreparedCall, ProviderError, Recipient,
    Stopwatch,
    http::{CallContext, Exchange},
    sabotage::crash_point,
};
use invite_store::{AttemptEnd, Change, Changed, InviteRecord, NewAttempt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    accounts,
    door::{Door, Subject},
    engine::Inner,
    fault, follow,
    judge::{Judged, judge},
    lane::{Lane, Slot},
    record::{self, commit},
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
            // Why it cannot be prepared is told with the call that it then does not become.
            let preparing = async |context: &CallContext| {
                self.provider.adapter.prepare(context, &recipients, at).await
            };
            let prepared = self.door(Subject::default()).make(&context, preparing).await;
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
        let judged = judge(&self.provider, &self.lane, &claimed, &reply, self.engine.clock.now());
        if let Some(destination) = claimed.destination() {
            let is_taken = |it: &&Settlement| matches!(it, Settlement::Exists(_));
            let count = judged.settlements.iter().filter(is_taken).count();
            self.lane.with_state(|state| state.invites += count as u64);
            door.tell("create", judged.outcome, judged.error.as_ref(), &begun);
            door.take(Some(destination), &judged.event, judged.error.as_ref());
        }
        record_outcome(&self.engine, &claimed, &judged, context.exchanges().pop()).await;
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

    /// The way to its provider.
    pub fn door(&self, subject: Subject) -> Door<'_> {
        Door { engine: &self.engine, lane: &self.lane, provider: &self.provider, subject }
    }
}

/// Stores what the attempt came to, however long the store is away: the call was made, and only
/// this process knows how it ended. Once the lease is over the record is a late reply.
pub(crate) async fn record_outcome(
    engine: &Inner,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
) {
    let provider = claimed.invites.first().and_then(|invite| invite.provider.as_deref());
    let mut pause = Duration::from_millis(50);
    loop {
        let change = |taken: &BTreeSet<InviteId>| {
            record_change(engine, claimed, judged, exchange.clone(), taken)
        };
        let committed =
            commit(engine, provider.unwrap_or_default(), &claimed.invites, change).await;
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
        let lost = claimed.lease_end.elapsed() > engine.settings.lease;
        if lost || (engine.stopping.is_cancelled() && claimed.lease_end <= Instant::now()) {
            break;
        }
    }
}

fn record_change(
    engine: &Inner,
    claimed: &Claimed,
    judged: &Judged,
    exchange: Option<Exchange>,
    taken: &BTreeSet<InviteId>,
) -> Change {
    let attempt = claimed.attempt;
    // The request is in the call already.
    let exchange = exchange.map(|exchange| Exchange { request: None, ..exchange });
    let end = record::end(engine, attempt, judged.outcome, judged.error.as_ref(), exchange);
    let settled = claimed.invites.iter().zip(&judged.settlements);
    let settlements: Vec<Settlement> = settled
        .map(|(invite, settlement)| match taken.contains(&invite.id) {
            true => Settlement::Failed(fault::already_held()),
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
