//! What a look-up says of each invite.

use std::collections::BTreeMap;

use invite_config::Provider;
use invite_core::{InviteId, Observed, Sighting, Status};
use invite_store::InviteRecord;

use crate::{
    judge::{self, is_mixed},
    transition::Verdict,
};

const SIMILAR: &str = "a similar one is there";
/// How many ids are named at most; a call may have created a hundred.
const MAX_NAMED: usize = 5;

/// The provider ids that look-ups have shown.
pub(crate) fn refs(seen: &[Vec<Sighting>]) -> Vec<String> {
    let of = |sighting: &Sighting| {
        let exact = sighting.exact.iter().filter_map(|seen| seen.provider_ref.clone());
        exact.chain(sighting.near.iter().cloned()).collect::<Vec<_>>()
    };
    seen.iter().flatten().flat_map(of).collect()
}

/// What a look-up showed of these invites, in one line, for the record that all of them share.
pub(crate) fn summary(invites: &[InviteRecord], verdicts: &[Verdict]) -> String {
    let is_mixed = is_mixed(invites);
    let mut shown: Vec<(String, usize)> = Vec::new();
    for verdict in verdicts {
        let words = words(verdict, is_mixed);
        match shown.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => shown.push((words, 1)),
        }
    }
    let all = verdicts.len();
    let words = shown.into_iter().map(|(words, count)| match all {
        _ if is_mixed => words,
        1 => words,
        _ => format!("{count} of {all} {words}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

fn words(verdict: &Verdict, is_mixed: bool) -> String {
    match verdict {
        Verdict::Exists(seen) if seen.status == Status::Sending => "still being worked on".into(),
        Verdict::Exists(_) => "exists".into(),
        Verdict::Absent => "absent".into(),
        Verdict::Refused(_) | Verdict::AtFault(_) | Verdict::Faultless => {
            "ended without effect".into()
        }
        Verdict::Similar(_) | Verdict::CannotTell(_) => {
            format!("cannot tell: {}", why_unsolved(verdict, is_mixed).unwrap_or_default())
        }
    }
}

/// Why a look-up did not settle an invite, as a clause for the person who has to; `None` if it did.
pub(crate) fn why_unsolved(verdict: &Verdict, is_mixed: bool) -> Option<String> {
    match verdict {
        Verdict::Similar(_) if is_mixed => Some(SIMILAR.to_owned()),
        Verdict::Similar(ids) => Some(format!("{SIMILAR}: {}", join_some(ids))),
        Verdict::CannotTell(why) => Some(why.clone()),
        Verdict::Exists(seen) if seen.status == Status::Sending => {
            Some("the provider is still working on it".to_owned())
        }
        _ => None,
    }
}

/// The ids in one line, of which some are left out if they are many.
pub(crate) fn join_some(ids: &[impl AsRef<str>]) -> String {
    let named: Vec<&str> = ids.iter().take(MAX_NAMED).map(AsRef::as_ref).collect();
    match ids.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

pub(crate) fn left_out() -> Verdict {
    Verdict::CannotTell("the provider's answer says nothing of it".to_owned())
}

/// What a look-up says of each of these invites. What is `held` by another invite of ours counts for nothing.
pub(crate) fn verdicts(
    provider: &Provider,
    invites: &[InviteRecord],
    sightings: &[Sighting],
    held: &BTreeMap<String, InviteId>,
) -> Vec<Verdict> {
    let verdict = |(i, invite): (usize, &InviteRecord)| {
        let Some(sighting) = sightings.get(i) else { return left_out() };
        let is_free = |id: &str| is_free(id, invite, held);
        match shown(sighting, invite, held) {
            Some(seen) => match judge::refusal(seen) {
                Some(error) => judge::blame(provider, &error, i, invites.len()),
                None => Verdict::Exists(Box::new(seen.clone().since(invite.created_at))),
            },
            None => {
                let near: Vec<_> = sighting.near.iter().filter(|id| is_free(id)).cloned().collect();
                match &sighting.gap {
                    _ if !near.is_empty() => Verdict::Similar(near),
                    Some(gap) => Verdict::CannotTell(gap.clone()),
                    None => Verdict::Absent,
                }
            }
        }
    };
    invites.iter().enumerate().map(verdict).collect()
}

/// The oldest that is this invite by its contents and that no other invite of ours holds.
pub(crate) fn shown<'a>(
    sighting: &'a Sighting,
    invite: &InviteRecord,
    held: &BTreeMap<String, InviteId>,
) -> Option<&'a Observed> {
    let is_free = |id: &str| is_free(id, invite, held);
    let free = |seen: &&Observed| seen.provider_ref.as_deref().is_none_or(is_free);
    sighting.exact.iter().filter(free).min_by_key(|seen| seen.created_at)
}

fn is_free(id: &str, invite: &InviteRecord, held: &BTreeMap<String, InviteId>) -> bool {
    held.get(id).is_none_or(|holder| *holder == invite.id)
}
