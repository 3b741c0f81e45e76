//! What was learnt of a call in doubt, and how it is stored.

use std::{collections::BTreeSet, sync::Arc};

use invite_config::Provider;
use invite_core::{InviteId, ProviderError, Stopwatch, http::Exchange, sabotage::crash_point};
use invite_store::{Change, Changed, InviteRecord};
use jiff::Timestamp;

use super::{
    case::Case,
    search::{describe, question},
};
use crate::{
    accounts, attempt,
    engine::Inner,
    fault,
    judge::is_mixed,
    lane::Lane,
    transition::{self, Lookup, Verdict},
};

/// What was learnt of a case.
pub(super) struct Answer {
    /// When it began, and how long ago that is at the most: meanwhile the machine may be suspended.
    pub began: Timestamp,
    pub age: Arc<Stopwatch>,
    pub verdicts: Vec<Verdict>,
    pub outcome: &'static str,
    pub error: Option<ProviderError>,
    pub exchange: Option<Exchange>,
}

/// Stores what was learnt, as an attempt of its own.
pub(super) async fn record(
    engine: &Arc<Inner>,
    lane: &Arc<Lane>,
    provider: &Provider,
    revision: i64,
    case: &Case,
    mut answer: Answer,
) -> Result<(), invite_store::Error> {
    if is_mixed(&case.invites) {
        for verdict in &mut answer.verdicts {
            if let Verdict::Refused(fault) | Verdict::AtFault(fault) = verdict {
                *fault = fault::in_own_words(fault.take());
            }
        }
    }
    let mut crowded = BTreeSet::new();
    loop {
        let change = record_change(engine, provider, revision, case, &answer, crowded.clone());
        match engine.store.change(change).await? {
            // Another invite came to hold it since the look-up: it is not this one's.
            Changed::ProviderRefTaken { invite } => {
                let place = case.invites.iter().position(|record| record.id == invite);
                let verdict = place.and_then(|i| answer.verdicts.get_mut(i));
                let Some(verdict) = verdict else { break };
                *verdict = Verdict::CannotTell("it is another Invite's by now".to_owned());
            }
            Changed::Written(after) => {
                attempt::tell_of_second_effects(&lane.name, &case.invites, &after);
                break;
            }
            // It would return to doubt while another invite to the same person is in doubt.
            Changed::PersonInDoubt { invite } if crowded.insert(invite) => {}
            other => {
                tracing::error!(attempt.id = %case.attempt, ?other, "what a look-up learnt was not recorded");
                break;
            }
        }
    }
    crash_point("reconcile-after-record");
    engine.waiters.wake(case.invites.iter().map(|invite| invite.batch_id));
    lane.wake.notify_one();
    accounts::wake_others(engine, provider, case.call.as_ref());
    Ok(())
}

fn record_change(
    engine: &Inner,
    provider: &Provider,
    revision: i64,
    case: &Case,
    answer: &Answer,
    crowded: BTreeSet<InviteId>,
) -> Change {
    let detail = match &answer.error {
        Some(error) => error.message.clone(),
        None => describe(&case.invites, &answer.verdicts),
    };
    let (outcome, exchange) = (answer.outcome, answer.exchange.as_ref());
    let (begin, end) =
        question(engine, provider, revision, answer.began, outcome, detail, exchange);
    let lookups = case.lookups(engine, provider, answer.began, &answer.verdicts);
    let (verdicts, age) = (answer.verdicts.clone(), answer.age.clone());
    Change {
        begin: Some(begin),
        end: Some(end),
        ..Change::of(
            case.invites.iter().map(|invite| invite.id).collect(),
            move |i: usize, invite: &InviteRecord, state: &mut _, now: Timestamp| {
                // By the time that the state's other times are written with. What it saw is no newer than
                // that, however long the machine was suspended since.
                let began = now.saturating_sub(age.elapsed()).unwrap_or(now);
                let lookup = Lookup { began, ..lookups[i].clone() };
                let decision = transition::look(state, &lookup, &verdicts[i], now);
                match crowded.contains(&invite.id) {
                    true => transition::keep_out_of_doubt(&invite.state, state, decision),
                    false => decision,
                }
            },
        )
    }
}
