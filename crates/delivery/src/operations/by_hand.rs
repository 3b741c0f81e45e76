//! Settling an unknown invite by hand: which of a provider's invites a person means who found it there.

use std::{collections::BTreeSet, slice};

use invite_config::Provider;
use invite_core::{AttemptId, InviteId, Observed, Operation, Sighting, Status};
use invite_store::{Change, Decision, InviteRecord, InviteState, Phase};
use jiff::Timestamp;

use crate::{
    ask::Result,
    commit::{EndedAttempt, commit, ended_attempt},
    door::Subject,
    judge::is_mixed,
    lookups::{
        case::find_cases,
        verdicts::{join_some, refs},
    },
    reason,
    shared::Engine,
    transition::{self, Settlement},
};

impl Engine {
    /// Stores what a person found of an unknown invite: that it is there (`pending`) or is not (`failed`). If it is
    /// there, the provider is asked for its id once, so that this is not taken for another invite's later; without an
    /// answer it stays without an id.
    pub(crate) async fn settle_by_hand(
        &self,
        invite: &InviteRecord,
        to: Status,
    ) -> Result<InviteRecord> {
        let (found, attempt) = match self.provider_of(invite) {
            Ok(provider) if to == Status::Pending && invite.state.provider_ref.is_none() => {
                self.find_at_provider(&provider, invite).await?
            }
            _ => (None, None),
        };
        let error = (to == Status::Failed).then(reason::found_absent);
        let judged = doubt(&invite.state);
        let change = |taken: &BTreeSet<InviteId>| {
            let (begin, end) = attempt.clone().unzip();
            // If another invite holds the id by now, it is not this one's.
            let seen = found.clone().filter(|_| taken.is_empty());
            let error = error.clone();
            let decide = move |_, before: &InviteRecord, state: &mut _, now: Timestamp| {
                // By now it may be in doubt for another call, of which the person found nothing.
                if doubt(&before.state) != judged {
                    return Decision::Abort;
                }
                let decision = transition::decide_unknown(state, to, error.clone());
                if let (Some(seen), Some(holder)) = (&seen, before.state.holder()) {
                    let seen = seen.clone().since(before.created_at);
                    let effect = Settlement::Exists(Box::new(seen));
                    // It only adds the id and what was seen; whether that is written is decided above.
                    transition::settle(state, holder, &effect, now);
                }
                decision
            };
            Change { begin, end, ..Change::of(vec![invite.id], decide) }
        };
        let provider = invite.provider.as_deref().unwrap_or_default();
        let changed = commit(&self.shared, provider, slice::from_ref(invite), change).await?;
        self.decided(invite, changed).await
    }

    /// Looks up an unknown invite at its provider, for no longer than one call may take. Returns the one that may be it
    /// and that none of ours holds, unless there are several, and the look-up as an attempt.
    async fn find_at_provider(
        &self,
        provider: &Provider,
        invite: &InviteRecord,
    ) -> Result<(Option<Observed>, Option<EndedAttempt>)> {
        let Some(destination) = &invite.destination else { return Ok((None, None)) };
        let case = find_cases(&self.shared, destination, vec![invite.clone()]).await?.0.pop();
        let Some(case) = case else { return Ok((None, None)) };
        // Of the one that the person found, all is asked that can be.
        let is_found = case.invites.iter().map(|it| it.id == invite.id).collect();
        let Some(doubt) = case.doubt(is_found) else { return Ok((None, None)) };
        let lookup = invite_core::Lookup { destination: destination.clone(), doubts: vec![doubt] };
        let lane = self.shared.lane(&provider.name);
        let door = self.door(&lane, provider, Subject::of([invite]));
        let asked = door.look_up(lookup, Some(provider.limits.timeout)).await;
        let (begin, mut end) = ended_attempt(&door, Operation::Reconcile, &asked, None);
        let seen = asked.result.unwrap_or_default();
        let held = self.shared.store.find_held(destination, &refs(&seen)).await?;
        let sightings = case.invites.iter().zip(seen.first().into_iter().flatten());
        let sighting =
            sightings.filter(|(other, _)| other.id == invite.id).map(|(_, it)| it).next();
        let mut found = None;
        if let Some(sighting) = sighting {
            let mut free = free(sighting, |id| !held.contains_key(id));
            free.extend(case.unpaired.iter().map(String::as_str));
            end.detail = Some(summary(sighting, &free, is_mixed(&case.invites)));
            found = only(sighting, &free);
        }
        Ok((found, Some((begin, end))))
    }
}

/// Which call of an invite is in doubt, and since when.
fn doubt(state: &InviteState) -> Option<(AttemptId, Timestamp)> {
    let Phase::Unknown(unknown) = &state.phase else { return None };
    Some((unknown.holder, unknown.ended_at))
}

/// The ids of those that may be it, and that none of ours holds.
fn free(sighting: &Sighting, is_free: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let exact = sighting.exact.iter().filter_map(|seen| seen.provider_ref.as_deref());
    let near = sighting.near.iter().map(String::as_str);
    exact.chain(near).filter(|id| is_free(id)).collect()
}

/// What was found, in one line for the attempt. Where a call for several tenants leaves
/// several, it names none, which may be others'.
fn summary(sighting: &Sighting, free: &BTreeSet<&str>, is_mixed: bool) -> String {
    let ids: Vec<&str> = free.iter().copied().collect();
    match (ids.len(), &sighting.gap) {
        (1, _) => format!("taken for the one that a person found: {}", ids[0]),
        (0, Some(gap)) => format!("cannot tell which one a person found: {gap}"),
        (0, None) => "none is there that no other Invite holds".to_owned(),
        _ if is_mixed => "cannot tell which of several a person found".to_owned(),
        _ => format!("cannot tell which of these a person found: {}", join_some(&ids)),
    }
}

/// The one whose id is free, if only one is.
fn only(sighting: &Sighting, free: &BTreeSet<&str>) -> Option<Observed> {
    let id = free.first().filter(|_| free.len() == 1)?;
    let seen = sighting.exact.iter().find(|seen| seen.provider_ref.as_deref() == Some(*id));
    let unseen = || Observed::new(Some((*id).to_owned()), Status::Pending);
    Some(seen.cloned().unwrap_or_else(unseen))
}
