//! Looking for second effects of invites that were sent again, of which there should be none.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use invite_config::Provider;
use invite_core::{AttemptId, AttemptOutcome, Destination, Doubt, Operation};
use invite_store::{AttemptView, Change, InviteRecord, InviteState};

use super::{case::is_shown, verdicts::refs};
use crate::{
    call::recipient,
    commit::{commit, ended_attempt},
    door::{Door, Subject},
    lane::Lane,
    shared::Shared,
    transition, waiting,
};

/// An earlier call, and those of its invites that are looked for, each with its place in `doubt`.
struct Earlier {
    doubt: Doubt,
    invites: Vec<(usize, InviteRecord)>,
}

/// Looks for effects of the earlier calls of invites that were sent again, and reports them.
pub(crate) async fn find_second_effects(
    shared: &Arc<Shared>,
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    invites: &[InviteRecord],
) -> Result<(), invite_store::Error> {
    let is_idempotent = provider.adapter.capabilities().create.idempotent;
    // An invite that a person found has no id here: any effect may be just that one.
    let has_one = |state: &InviteState| state.provider_ref.is_some() && !state.duplicate_effect;
    let again = invites.iter().filter(|i| i.state.attempt_count > 1 && has_one(&i.state));
    let calls = earlier_calls(shared, again, is_idempotent).await?;
    if calls.is_empty() {
        return Ok(());
    }
    let doubts = calls.iter().map(|call| call.doubt.clone()).collect();
    let lookup = invite_core::Lookup { destination: destination.clone(), doubts };
    let subject = Subject::of(calls.iter().flat_map(|call| call.invites.iter().map(|(_, it)| it)));
    let door = Door { shared, lane, provider, subject };
    let asked = door.look_up(lookup, None).await;
    let Ok(seen) = &asked.result else { return Ok(()) };
    let mut settled = Vec::new();
    for (call, sightings) in calls.iter().zip(seen) {
        for (place, invite) in &call.invites {
            if waiting::person_taken_by(shared, invite).await?.is_none() {
                settled.extend(sightings.get(*place).map(|sighting| (invite, sighting)));
            }
        }
    }
    // Read after the check for doubt: a call that was settled in between has given its effect to its invite by now, and
    // that is no second one.
    let held = shared.store.find_held(destination, &refs(seen)).await?;
    for (invite, sighting) in settled {
        let ids = sighting.exact.iter().filter_map(|seen| seen.provider_ref.clone());
        let free: Vec<String> = ids.filter(|id| !held.contains_key(id)).collect();
        if free.is_empty() {
            continue;
        }
        let detail = format!("a second effect is there: {}", free.join(", "));
        let attempt = ended_attempt(&door, Operation::Reconcile, &asked, Some(detail));
        let change = |_: &_| {
            let ((begin, end), free) = (attempt.clone(), free.clone());
            let note = move |state: &mut _, _| transition::note_second_effects(state, &free);
            Change { begin: Some(begin), end: Some(end), ..Change::each(vec![invite.id], note) }
        };
        commit(shared, &lane.name, std::slice::from_ref(invite), change).await?;
    }
    Ok(())
}

/// The earlier calls of these invites. Where calls are told apart by their bytes, each is looked up as a whole; elsewhere
/// only the invites that are looked for.
async fn earlier_calls(
    shared: &Shared,
    invites: impl Iterator<Item = &InviteRecord>,
    is_idempotent: bool,
) -> Result<Vec<Earlier>, invite_store::Error> {
    let mut calls: BTreeMap<AttemptId, Earlier> = BTreeMap::new();
    for invite in invites {
        let creates = match shared.store.creates(invite.id).await {
            // If its calls cannot be read, nobody can tell which had an effect.
            Err(invite_store::Error::Corrupt { .. }) => continue,
            creates => creates?,
        };
        let first = creates.iter().map(|view| view.started_at).min().unwrap_or(invite.created_at);
        for view in doubtful(invite, &creates, is_idempotent) {
            let Some(call) = view.call.clone() else { continue };
            let earlier = match calls.entry(view.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    // Each was accepted before its first attempt.
                    let (recipients, first_attempts) = if is_idempotent {
                        let members = shared.store.attempt_invites(view.id).await?;
                        members.iter().filter_map(|i| Some((recipient(i)?, i.created_at))).unzip()
                    } else {
                        Default::default()
                    };
                    let doubt = Doubt {
                        call,
                        recipients,
                        first_attempts,
                        // Nothing follows from what is not there.
                        absence_counts: Vec::new(),
                        started_at: view.started_at,
                        // What is known of an invite comes from the call that created it, not from this one.
                        data: Default::default(),
                    };
                    place.insert(Earlier { doubt, invites: Vec::new() })
                }
            };
            if !is_idempotent && let Some(recipient) = recipient(invite) {
                earlier.doubt.recipients.push(recipient);
                earlier.doubt.first_attempts.push(first);
            }
            let place = earlier.doubt.recipients.iter().position(|r| r.id == invite.id);
            earlier.invites.extend(place.map(|place| (place, invite.clone())));
        }
    }
    Ok(calls.into_values().collect())
}

/// The calls of an invite that may have an effect beside the known one. Where calls are told apart by their contents, one
/// look-up shows the effects of all. Where they are told apart by their bytes, the provider may also have gone on with an
/// earlier one that it said it was working on.
fn doubtful<'a>(
    invite: &InviteRecord,
    creates: &'a [AttemptView],
    is_idempotent: bool,
) -> impl Iterator<Item = &'a AttemptView> {
    let may_have_effect = move |view: &&AttemptView| match view.outcome {
        Some(AttemptOutcome::Unknown) => true,
        Some(AttemptOutcome::Succeeded) => is_idempotent && !is_shown(invite, view),
        _ => false,
    };
    let calls = creates.iter().filter(|view| view.call.is_some()).filter(may_have_effect);
    calls.take(if is_idempotent { usize::MAX } else { 1 })
}
