//! What was learnt of a call in doubt, and how it is stored.

use std::collections::BTreeSet;

use invite_core::{InviteId, Operation, sabotage::crash_point};
use invite_store::{Change, Changed, InviteRecord};
use jiff::Timestamp;

use super::{case::Case, verdicts::describe};
use crate::{
    accounts,
    door::{Asked, Door},
    judge::is_mixed,
    reason,
    record::{Ended, commit, ended},
    transition::{self, Lookup, Verdict},
};

/// Stores what was learnt of each invite of a case, as an attempt of its own.
pub(super) async fn record(
    door: &Door<'_>,
    case: &Case,
    mut verdicts: Vec<Verdict>,
    asked: &Asked<()>,
) -> Result<(), invite_store::Error> {
    if is_mixed(&case.invites) {
        for verdict in &mut verdicts {
            if let Verdict::Refused(reason) | Verdict::AtFault(reason) = verdict {
                *reason = reason::in_own_words(reason.clone());
            }
        }
    }
    let change = |taken: &BTreeSet<InviteId>| {
        // It is another invite's by now.
        let free = verdicts.iter().zip(&case.invites).map(|(verdict, invite)| {
            match taken.contains(&invite.id) {
                true => Verdict::CannotTell("it is another Invite's by now".to_owned()),
                false => verdict.clone(),
            }
        });
        let verdicts: Vec<Verdict> = free.collect();
        let detail = describe(&case.invites, &verdicts);
        change(door, case, verdicts, asked, ended(door, Operation::Reconcile, asked, Some(detail)))
    };
    match commit(door.shared, &door.lane.name, &case.invites, change).await? {
        Changed::Written(_) => {}
        other => {
            tracing::error!(attempt.id = %case.attempt, ?other, "what a look-up learnt was not recorded");
        }
    }
    crash_point("reconcile-after-record");
    door.lane.wake.notify_one();
    accounts::wake_others(door.shared, door.provider, case.call.as_ref());
    Ok(())
}

fn change(
    door: &Door<'_>,
    case: &Case,
    verdicts: Vec<Verdict>,
    asked: &Asked<()>,
    (begin, end): Ended,
) -> Change {
    let lookups = case.lookups(door.shared, door.provider, asked.begun.at, &verdicts);
    let age = asked.begun.age.clone();
    let decide = move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| {
        // By the time that the state's other times are written with. What it saw is no newer than
        // that, however long the machine was suspended since.
        let began = now.saturating_sub(age.elapsed()).unwrap_or(now);
        transition::look(state, &Lookup { began, ..lookups[i].clone() }, &verdicts[i], now)
    };
    let ids = case.invites.iter().map(|invite| invite.id).collect();
    Change { begin: Some(begin), end: Some(end), ..Change::of(ids, decide) }
}
