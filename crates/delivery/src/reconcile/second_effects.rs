//! Looking for second effects of invites that were sent again: there should be none.

use invite_config::Provider;
use invite_core::{Destination, InviteId, Observed};
use invite_store::{AttemptView, Change, Changed, InviteRecord};
use jiff::Timestamp;

use super::{Case, SUCCEEDED, UNKNOWN, heed, refs, search};
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
    let is_idempotent = provider.adapter.capabilities().create.idempotent;
    let mut cases = Vec::new();
    for invite in invites.iter().filter(|i| i.state.attempt_count > 1 && !i.state.duplicate_effect)
    {
        let creates = engine.store.creates(invite.id).await?;
        let Some(recipient) = recipient(invite) else { continue };
        let first_attempts: Vec<_> =
            creates.iter().map(|view| view.started_at).min().into_iter().collect();
        for view in doubtful(&creates, is_idempotent) {
            cases.push(Case {
                attempt: view.id,
                call: view.call.clone(),
                started_at: view.started_at,
                first_attempts: first_attempts.clone(),
                invites: vec![invite.clone()],
                recipients: vec![recipient.clone()],
            });
        }
    }
    if cases.is_empty() {
        return Ok(());
    }
    let doubts = cases.iter().filter_map(Case::doubt).collect();
    let lookup = invite_core::Lookup { destination: destination.clone(), doubts };
    let (seen, _) = search(engine, lane, provider, lookup).await;
    heed(engine, lane, provider, seen.as_ref().err()).await?;
    let Ok(seen) = seen else { return Ok(()) };
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

/// The calls of an invite that may have an effect beside the one that it stands for. Where calls are
/// told by their contents, one look shows what all of them did. Where each is told by its bytes, the
/// provider may also have gone on with an earlier one of which it said that it was working on it.
fn doubtful(creates: &[AttemptView], is_idempotent: bool) -> impl Iterator<Item = &AttemptView> {
    let last = creates.last().map(|view| view.id);
    let may_have_effect = move |view: &&AttemptView| match view.outcome.as_deref() {
        Some(UNKNOWN) => true,
        Some(SUCCEEDED) => is_idempotent && Some(view.id) != last,
        _ => false,
    };
    let calls = creates.iter().filter(|view| view.call.is_some()).filter(may_have_effect);
    calls.take(if is_idempotent { usize::MAX } else { 1 })
}
