//! How the verdicts of a look-up are stored.

use std::collections::BTreeSet;

use invite_core::{InviteId, Operation, failpoint::failpoint};
use invite_store::{Change, Changed, InviteRecord};
use jiff::Timestamp;

use super::{case::Case, verdicts::summary};
use crate::{
    accounts,
    commit::{EndedAttempt, commit, ended_attempt},
    door::{Asked, Door},
    judge::is_mixed,
    reason,
    transition::{self, LookupTerms, Verdict},
};

/// Stores the verdict on each invite of a case, and the look-up as an attempt.
pub(super) async fn store_verdicts(
    door: &Door<'_>,
    case: &Case,
    mut verdicts: Vec<Verdict>,
    asked: &Asked<()>,
    fraction: f64,
) -> Result<(), invite_store::Error> {
    if is_mixed(&case.invites) {
        for verdict in &mut verdicts {
            if let Verdict::Refused(reason) | Verdict::AtFault(reason) = verdict {
                *reason = reason::in_own_words(reason.clone());
            }
        }
    }
    let change = |taken: &BTreeSet<InviteId>| {
        let free = verdicts.iter().zip(&case.invites).map(|(verdict, invite)| {
            match taken.contains(&invite.id) {
                true => Verdict::CannotTell("it is another Invite's by now".to_owned()),
                false => verdict.clone(),
            }
        });
        let verdicts: Vec<Verdict> = free.collect();
        let detail = summary(&case.invites, &verdicts);
        change(
            door,
            case,
            verdicts,
            asked,
            fraction,
            ended_attempt(door, Operation::Reconcile, asked, Some(detail)),
        )
    };
    match commit(door.shared, &door.lane.name, &case.invites, change).await? {
        Changed::Written(_) => {}
        other => {
            tracing::error!(attempt.id = %case.attempt, provider.name = door.lane.name, ?other, "what a look-up at {} showed was not stored", door.lane.name);
        }
    }
    failpoint("reconcile-after-record");
    door.lane.wake_for_all();
    accounts::wake_others(door.shared, door.provider, case.call.as_ref());
    Ok(())
}

fn change(
    door: &Door<'_>,
    case: &Case,
    verdicts: Vec<Verdict>,
    asked: &Asked<()>,
    fraction: f64,
    (begin, end): EndedAttempt,
) -> Change {
    let terms = case.terms(door.shared, door.provider, asked.begun.at, &verdicts, fraction);
    let age = asked.begun.age.clone();
    let decide = move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| {
        // Counted back from the transaction's own time, so that what it saw never looks newer than it is, whatever the
        // clocks differ by and however long the machine was suspended.
        let began = now.saturating_sub(age.elapsed()).unwrap_or(now);
        transition::apply_verdict(
            state,
            &LookupTerms { began, ..terms[i].clone() },
            &verdicts[i],
            now,
        )
    };
    let ids = case.invites.iter().map(|invite| invite.id).collect();
    Change { begin: Some(begin), end: Some(end), ..Change::of(ids, decide) }
}
