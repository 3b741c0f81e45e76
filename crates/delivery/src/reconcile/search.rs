//! One look-up, from its first request to what it says of each invite.

use std::collections::BTreeMap;

use invite_config::Provider;
use invite_core::{
    InviteId, Observed, Outcome, ProviderError, Sighting, Status,
    http::{CallContext, Exchange},
    sabotage::crash_point,
};

use super::Case;
use crate::{engine::Inner, judge, lane::Lane, transition::Verdict};
use invite_store::InviteRecord;

/// Asks page by page; each request has its own time-out and takes its own token.
pub(super) async fn search(
    engine: &Inner,
    lane: &Lane,
    provider: &Provider,
    lookup: invite_core::Lookup,
) -> (Result<Vec<Vec<Sighting>>, ProviderError>, Option<Exchange>) {
    let mut reconciliation = provider.adapter.reconcile(lookup);
    loop {
        lane.take_turn(&provider.limits, &*engine.clock).await;
        let context = CallContext::new(provider.limits.timeout);
        crash_point("reconcile-before-request");
        let step = reconciliation.step(&context).await;
        crash_point("reconcile-after-reply");
        lane.ease(&context, &provider.limits.retry, engine.clock.now());
        let exchange = context.exchanges().pop();
        match step {
            Ok(None) => {}
            Ok(Some(seen)) => return (Ok(seen), exchange),
            Err(error) => return (Err(error), exchange),
        }
    }
}

pub(super) fn refs(seen: &[Vec<Sighting>]) -> Vec<String> {
    let of = |sighting: &Sighting| {
        let exact = sighting.exact.iter().filter_map(|seen| seen.provider_ref.clone());
        exact.chain(sighting.near.iter().cloned()).collect::<Vec<_>>()
    };
    seen.iter().flatten().flat_map(of).collect()
}

/// What a look-up showed, in one line, for the record.
pub(super) fn describe(verdicts: &[Verdict]) -> String {
    let count = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| is(verdict)).count();
    let shown = [
        (count(|it| matches!(it, Verdict::Exists(_))), "exists"),
        (count(|it| matches!(it, Verdict::Absent)), "absent"),
        (
            count(|it| {
                matches!(it, Verdict::Refused(_) | Verdict::AtFault(_) | Verdict::Faultless)
            }),
            "ended without effect",
        ),
        (
            count(|it| matches!(it, Verdict::CannotTell)),
            "cannot tell: a similar one is there, or not all could be seen",
        ),
    ];
    let shown = shown.iter().filter(|(count, _)| *count > 0);
    let words = shown.map(|(count, word)| match verdicts.len() {
        1 => (*word).to_owned(),
        all => format!("{count} of {all} {word}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

/// What ours do not hold decides.
pub(super) fn verdicts(
    provider: &Provider,
    case: &Case,
    sightings: &[Sighting],
    held: &BTreeMap<String, InviteId>,
) -> Vec<Verdict> {
    let verdict = |(i, invite): (usize, &InviteRecord)| {
        let Some(sighting) = sightings.get(i) else { return Verdict::CannotTell };
        let is_free = |id: &str| held.get(id).is_none_or(|holder| *holder == invite.id);
        let free = |seen: &&Observed| seen.provider_ref.as_deref().is_none_or(is_free);
        let mut exact: Vec<&Observed> = sighting.exact.iter().filter(free).collect();
        exact.sort_by_key(|seen| seen.created_at);
        match exact.first() {
            Some(seen) if seen.status == Status::Failed => {
                let refused =
                    ProviderError::new(Outcome::Rejected, "the provider ended it without effect");
                let error = seen.failure.as_ref().unwrap_or(&refused);
                judge::blame(provider, error, i, case.invites.len())
            }
            Some(seen) => Verdict::Exists(Box::new((*seen).clone())),
            None if sighting.near.iter().any(|id| is_free(id)) => Verdict::CannotTell,
            None if sighting.complete => Verdict::Absent,
            None => Verdict::CannotTell,
        }
    };
    case.invites.iter().enumerate().map(verdict).collect()
}
