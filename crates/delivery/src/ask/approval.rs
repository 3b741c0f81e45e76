//! What became of a call that waited for approval, once one of its invites is found refused.

use std::{slice, time::Duration};

use invite_config::Provider;
use invite_core::{Doubt, Observed, Operation, PreparedCall, Recipient, Sighting, Status};
use invite_store::{AttemptEnd, AttemptView, Change, Decision, InviteRecord, InviteState};
use jiff::Timestamp;

use super::Result;
use crate::{
    call::recipient,
    door::{Door, Subject},
    error::OperationError,
    judge,
    lookups::verdicts::{describe, refs, shown, verdicts},
    record::{Ended, commit, ended},
    shared::Engine,
    transition::{self, Settlement},
};

/// What is shown of an invite that waits for approval, the last of its `attempts` so far being the call.
#[derive(Clone)]
struct Ending {
    attempts: u32,
    seen: Observed,
    /// None unless it was refused.
    settlement: Option<Settlement>,
}

impl Engine {
    /// Settles all invites of a call that waited for approval and ended without effect for this one, as
    /// `seen`: in one change, so that those who go again share calls, each of which people have to
    /// approve. Others may exist for all that, so one look-up shows what became of each. Where it shows
    /// nothing in time they wait for the next question.
    pub(crate) async fn settle_refused(
        &self,
        invite: &InviteRecord,
        provider: &Provider,
        call: &AttemptView,
        seen: Observed,
        patience: Duration,
    ) -> Result<InviteRecord> {
        let members = self.shared.store.attempt_invites(call.id).await?;
        let waits = |member: &InviteRecord| member.state.status() == Status::AwaitingApproval;
        let still_waits = members.iter().any(|member| member.id == invite.id && waits(member));
        let Some(prepared) = call.call.as_ref().filter(|_| still_waits) else {
            // It was settled meanwhile, with another one of its call.
            return self.find(invite.id).await;
        };
        let (sightings, asked) = match members.len() {
            1 => (vec![Sighting { exact: vec![seen], near: Vec::new(), gap: None }], None),
            _ => self.look_at(&members, provider, prepared, invite, patience).await,
        };
        let held = self
            .shared
            .store
            .find_held(&prepared.destination, &refs(slice::from_ref(&sightings)))
            .await?;
        let (begin, mut end) = asked.unzip();
        if let Some(end) = end.as_mut().filter(|end: &&mut AttemptEnd| end.detail.is_none()) {
            let verdicts = verdicts(provider, &members, &sightings, &held);
            end.detail = Some(describe(&members, &verdicts));
        }
        let is_mixed = judge::is_mixed(&members);
        let (n, mut groups) = (members.len(), judge::halves(members.len()).into_iter());
        let mut endings = Vec::with_capacity(n);
        for (i, member) in members.iter().enumerate() {
            let group = groups.next().flatten();
            let sighting = sightings.get(i).filter(|_| waits(member));
            let seen = sighting.and_then(|sighting| shown(sighting, member, &held));
            let last = match self.call_of(member).await {
                // It waits for a person.
                Err(OperationError::Store(invite_store::Error::Corrupt { .. })) => None,
                last => last?.filter(|last| last.id == call.id),
            };
            endings.push(seen.zip(last).map(|(seen, _)| Ending {
                attempts: member.state.attempt_count,
                seen: seen.clone().since(member.created_at),
                settlement: judge::judge_approval(
                    provider,
                    seen,
                    i,
                    n,
                    group,
                    is_mixed,
                    self.shared.clock.now(),
                ),
            }));
        }
        let change = |_: &_| {
            let (begin, end, endings) = (begin.clone(), end.clone(), endings.clone());
            let decide = move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| {
                endings[i].as_ref().map_or(Decision::Keep, |ending| ending.apply(state, now))
            };
            let ids = members.iter().map(|member| member.id).collect();
            Change { begin, end, ..Change::of(ids, decide) }
        };
        commit(&self.shared, &provider.name, &members, change).await?;
        self.shared.lane(&provider.name).wake.notify_one();
        self.find(invite.id).await
    }

    /// Looks once at what became of the call, for hardly longer than somebody waits: what is shown of
    /// each invite, and the attempt that it was.
    async fn look_at(
        &self,
        members: &[InviteRecord],
        provider: &Provider,
        call: &PreparedCall,
        invite: &InviteRecord,
        patience: Duration,
    ) -> (Vec<Sighting>, Option<Ended>) {
        let recipients: Vec<Recipient> = members.iter().filter_map(recipient).collect();
        let doubt = Doubt {
            call: call.clone(),
            recipients,
            // No later than their first attempts.
            first_attempts: members.iter().map(|member| member.created_at).collect(),
            started_at: invite.state.sent_at.unwrap_or(invite.created_at),
            data: invite.state.provider_data.clone(),
        };
        let lookup =
            invite_core::Lookup { destination: call.destination.clone(), doubts: vec![doubt] };
        let lane = self.shared.lane(&provider.name);
        let subject = Subject { trace: self.trace.clone(), ..Subject::of(members) };
        let door = Door { shared: &self.shared, lane: &lane, provider, subject };
        let patience = patience.saturating_add(provider.limits.timeout);
        let asked = door.look_up(lookup, Some(patience)).await;
        let attempt = ended(&door, Operation::Reconcile, &asked, None);
        let seen = asked.result.unwrap_or_default().into_iter().next().unwrap_or_default();
        (seen, Some(attempt))
    }
}

impl Ending {
    fn apply(&self, state: &mut InviteState, now: Timestamp) -> Decision {
        let Self { attempts, seen, settlement } = self;
        let still_waits =
            state.status() == Status::AwaitingApproval && state.attempt_count == *attempts;
        match settlement {
            Some(settlement) => {
                transition::refuse_approval(state, *attempts, seen, settlement, now)
            }
            None if still_waits => transition::observe(state, seen, now),
            None => Decision::Keep,
        }
    }
}
