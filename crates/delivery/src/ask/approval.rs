//! What became of a call that waited for approval, once one of its invites is found refused.

use std::{slice, time::Duration};

use invite_config::Provider;
use invite_core::{Doubt, Observed, Operation, PreparedCall, Recipient, Sighting, Status};
use invite_store::{AttemptEnd, AttemptView, Change, Decision, InviteRecord, InviteState};
use jiff::Timestamp;

use super::Result;
use crate::{
    call::recipient,
    commit::{EndedAttempt, commit, ended_attempt},
    door::Subject,
    error::OperationError,
    judge,
    lookups::verdicts::{refs, shown, summary, verdicts},
    shared::Engine,
    transition::{self, Settlement},
};

/// What is shown of an invite that waits for approval.
#[derive(Clone)]
struct Ending {
    /// How many it had when it was read; with more, another call is under way and this ending is void.
    attempts: u32,
    seen: Observed,
    /// `None` unless the provider refused it.
    settlement: Option<Settlement>,
}

impl Engine {
    /// Settles all invites of a call that waited for approval, after the provider ended it without effect for this
    /// one, as `seen`. One change settles all of them, so that those that go again share calls, each of which people
    /// have to approve. Others of the call may exist all the same, so one look-up shows what became of each; those
    /// that it does not show in time wait for the next question.
    pub(crate) async fn settle_refused(
        &self,
        invite: &InviteRecord,
        provider: &Provider,
        call: &AttemptView,
        seen: Observed,
        max_wait: Duration,
    ) -> Result<InviteRecord> {
        let members = self.shared.store.attempt_invites(call.id).await?;
        let waits = |member: &InviteRecord| member.state.status() == Status::AwaitingApproval;
        let still_waits = members.iter().any(|member| member.id == invite.id && waits(member));
        let Some(prepared) = call.call.as_ref().filter(|_| still_waits) else {
            // It was settled meanwhile, together with another invite of its call.
            return self.find(invite.id).await;
        };
        let (sightings, asked) = match members.len() {
            1 => (vec![Sighting { exact: vec![seen], near: Vec::new(), gap: None }], None),
            _ => self.look_up_members(&members, provider, prepared, invite, max_wait).await,
        };
        let held = self
            .shared
            .store
            .find_held(&prepared.destination, &refs(slice::from_ref(&sightings)))
            .await?;
        let (begin, mut end) = asked.unzip();
        if let Some(end) = end.as_mut().filter(|end: &&mut AttemptEnd| end.detail.is_none()) {
            let verdicts = verdicts(provider, &members, &sightings, &held);
            end.detail = Some(summary(&members, &verdicts));
        }
        let is_mixed = judge::is_mixed(&members);
        let (n, mut groups) = (members.len(), judge::halves(members.len()).into_iter());
        let mut endings = Vec::with_capacity(n);
        for (i, member) in members.iter().enumerate() {
            let group = groups.next().flatten();
            let sighting = sightings.get(i).filter(|_| waits(member));
            let seen = sighting.and_then(|sighting| shown(sighting, member, &held));
            let last = match self.call_of(member).await {
                // Its calls cannot be read, so a person has to decide.
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
        self.shared.lane(&provider.name).wake_for_all();
        self.find(invite.id).await
    }

    /// Looks up once what became of the call, for at most `max_wait` and the provider's `timeout`: what is shown of
    /// each invite, and the look-up as an attempt.
    async fn look_up_members(
        &self,
        members: &[InviteRecord],
        provider: &Provider,
        call: &PreparedCall,
        invite: &InviteRecord,
        max_wait: Duration,
    ) -> (Vec<Sighting>, Option<EndedAttempt>) {
        let recipients: Vec<Recipient> = members.iter().filter_map(recipient).collect();
        let doubt = Doubt {
            call: call.clone(),
            recipients,
            // Each was accepted before its first attempt.
            first_attempts: members.iter().map(|member| member.created_at).collect(),
            absence_counts: Vec::new(),
            started_at: invite.state.sent_at.unwrap_or(invite.created_at),
            data: invite.state.provider_data.clone(),
        };
        let lookup =
            invite_core::Lookup { destination: call.destination.clone(), doubts: vec![doubt] };
        let lane = self.shared.lane(&provider.name);
        let door = self.door(&lane, provider, Subject::of(members));
        let max_wait = max_wait.saturating_add(provider.limits.timeout);
        let asked = door.look_up(lookup, Some(max_wait)).await;
        let attempt = ended_attempt(&door, Operation::Reconcile, &asked, None);
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
