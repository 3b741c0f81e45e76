//! Looking for second effects of invites that were sent again: there should be none.

use invite_config::Provider;
use invite_core::{Destination, InviteId, Observed};
use invite_store::{AttemptView, Change, Changed, InviteRecord};
use jiff::Timestamp;

use super::{Case, UNKNOWN, refs, search};
use crate::{
    attempt::{self, recipient},
    engine::Inner,
    lane::{self, Lane},
    transition,
};

/// Looks for effects of earlier calls of invites that were sent again: there should be none.
pub(crate) async fn find_second_effects(
    engine: &Inner,
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    invites: &[InviteRecord],
) -> Result<(), invite_store::Error> {
    let mut cases = Vec::new();
    for invite in invites.iter().filter(|i| i.state.attempt_count > 1 && !i.state.duplicate_effect)
    {
        let attempts = engine.store.attempts(invite.id).await?;
        let is_unknown = |view: &&AttemptView| view.outcome.as_deref() == Some(UNKNOWN);
        let mut calls = attempts.iter().filter(|view| view.call.is_some()).filter(is_unknown);
        let (Some(first), Some(recipient)) = (calls.next(), recipient(invite)) else { continue };
        cases.push(Case {
            attempt: first.id,
            call: first.call.clone(),
            started_at: first.started_at,
            first_attempt_at: first.started_at,
            invites: vec![invite.clone()],
            recipients: vec![recipient],
        });
    }
    if cases.is_empty() {
        return Ok(());
    }
    let doubts = cases.iter().filter_map(Case::doubt).collect();
    let lookup = invite_core::Lookup { destination: destination.clone(), doubts };
    let (Ok(seen), _) = search(lane, provider, lookup).await else { return Ok(()) };
    let mut awaited = Vec::with_capacity(cases.len());
    for invite in cases.iter().flat_map(|case| &case.invites) {
        awaited.push(lane::in_doubt_to(engine, invite, None).await?.is_some());
    }
    // In this order, so that what is not awaited any more is held.
    let held = engine.store.find_held(destination, &refs(&seen)).await?;
    for ((case, sightings), awaited) in cases.iter().zip(&seen).zip(awaited) {
        let free =
            |seen: &Observed| seen.provider_ref.as_ref().is_some_and(|id| !held.contains_key(id));
        if awaited || !sightings.iter().any(|sighting| sighting.exact.iter().any(free)) {
            continue;
        }
        let ids: Vec<InviteId> = case.invites.iter().map(|invite| invite.id).collect();
        let change = Change::of(ids, |_, _: &InviteRecord, state: &mut _, _: Timestamp| {
            transition::report_duplicate(state)
        });
        if let Changed::Written(after) = engine.store.change(change).await? {
            attempt::tell_of_second_effects(&lane.name, &case.invites, &after);
        }
    }
    Ok(())
}
