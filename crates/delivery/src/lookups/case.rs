//! Calls in doubt, with what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use invite_config::Provider;
use invite_core::{
    AttemptId, Destination, Doubt, InviteId, Observed, PreparedCall, Recipient, Sighting, Status,
};
use invite_store::{AttemptView, Change, InviteRecord};
use jiff::Timestamp;

use super::verdicts::{join_some, verdicts, why_unsolved};
use crate::{
    call::recipient,
    judge::{self, is_mixed},
    lane::Lane,
    reason,
    shared::Shared,
    transition::{self, LookupTerms, Verdict},
};

/// One call in doubt, with all of its invites.
pub(crate) struct Case {
    pub attempt: AttemptId,
    pub call: Option<PreparedCall>,
    pub started_at: Timestamp,
    /// The provider refused it, so it is not on its way any more, although some of it may have taken effect.
    pub is_refused: bool,
    /// Ids of new invites that its reply named without showing whose they are, and that no Invite held when this was
    /// read.
    pub unpaired: Vec<String>,
    /// When the first attempt of each of its invites began.
    pub first_attempts: Vec<Timestamp>,
    /// A call for the invite that is due was answered with 2xx, whatever became of it. It counts only where that is the
    /// only one of the call.
    pub was_answered: bool,
    /// In the order of the call.
    pub invites: Vec<InviteRecord>,
    pub recipients: Vec<Recipient>,
}

/// The calls that hold the invites that are `due` at a destination, in their order; and those invites for which no record
/// of the call that holds them can be read.
pub(crate) async fn find_cases(
    shared: &Shared,
    destination: &Destination,
    due: Vec<InviteRecord>,
) -> Result<(Vec<Case>, Vec<InviteRecord>), invite_store::Error> {
    let (mut cases, mut lost, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for invite in due.into_iter().filter(|invite| invite.destination.as_ref() == Some(destination))
    {
        if invite.state.holder().is_some_and(|attempt| known.contains(&attempt)) {
            continue;
        }
        let creates = match shared.store.creates(invite.id).await {
            Err(invite_store::Error::Corrupt { .. }) => Vec::new(),
            creates => creates?,
        };
        let call = creates.iter().find(|view| invite.state.holder() == Some(view.id));
        let Some(view) = call else {
            lost.push(invite);
            continue;
        };
        let attempt = view.id;
        known.insert(attempt);
        let invites = shared.store.attempt_invites(attempt).await?;
        let (invites, recipients): (Vec<_>, Vec<_>) =
            invites.into_iter().filter_map(|i| recipient(&i).map(|r| (i, r))).unzip();
        let held = shared.store.find_held(destination, &view.unpaired).await?;
        let is_free = |id: &&String| !held.contains_key(*id);
        cases.push(Case {
            attempt,
            is_refused: view.http_status.is_some_and(is_refusal),
            unpaired: view.unpaired.iter().filter(is_free).cloned().collect(),
            was_answered: creates.iter().any(is_success),
            call: view.call.clone(),
            started_at: view.started_at,
            first_attempts: first_attempts(shared, &invites, view.started_at).await?,
            invites,
            recipients,
        });
    }
    Ok((cases, lost))
}

/// When the first attempt of each of these invites began; all are in the call of `started_at`.
async fn first_attempts(
    shared: &Shared,
    invites: &[InviteRecord],
    started_at: Timestamp,
) -> Result<Vec<Timestamp>, invite_store::Error> {
    let mut first_attempts = Vec::with_capacity(invites.len());
    for invite in invites {
        // Most invites have been in this call only.
        let first = match invite.state.attempt_count {
            0 | 1 => None,
            _ => match shared.store.creates(invite.id).await {
                // Its attempts cannot be read, but it was accepted before all of them.
                Err(invite_store::Error::Corrupt { .. }) => Some(invite.created_at),
                creates => creates?.iter().map(|view| view.started_at).min(),
            },
        };
        first_attempts.push(first.unwrap_or(started_at));
    }
    Ok(first_attempts)
}

/// Whether the provider showed that these bytes created the invite.
pub(crate) fn is_shown(invite: &InviteRecord, attempt: &AttemptView) -> bool {
    let shown = invite.state.shown_fingerprint.as_deref();
    let sent = attempt.call.as_ref().and_then(|call| call.fingerprint.as_deref());
    shown.zip(sent).is_some_and(|(shown, sent)| shown.eq_ignore_ascii_case(sent))
}

/// Whether an answer with this status ends the call, so that nothing of it is on its way any more.
fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 425 | 499)
}

fn is_success(view: &AttemptView) -> bool {
    view.http_status.is_some_and(|status| (200..300).contains(&status))
}

/// Ends the look-ups for invites of whose call no record can be read: there is nothing to compare with what the provider
/// shows.
pub(crate) async fn leave_to_people(
    shared: &Shared,
    lane: &Lane,
    lost: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    for invite in &lost {
        tracing::error!(provider.name = lane.name, invite.id = %invite.id, "the call for an invite whose outcome is unknown cannot be read from the database: a person has to look for it at {}", lane.name);
    }
    let error = reason::unrecorded(&lane.name);
    let ids = lost.iter().map(|invite| invite.id).collect();
    let change = Change::each(ids, move |state, _| transition::leave_to_person(state, &error));
    shared.store.change(change).await?;
    shared.waiters.wake(lost.iter().map(|invite| invite.batch_id));
    Ok(())
}

impl Case {
    /// The case as adapters are told of it, with whether it would count now that each invite is absent.
    pub fn doubt(&self, absence_counts: Vec<bool>) -> Option<Doubt> {
        let mut known = self.invites.iter().map(|i| i.state.provider_data.clone());
        Some(Doubt {
            call: self.call.clone()?,
            recipients: self.recipients.clone(),
            first_attempts: self.first_attempts.clone(),
            absence_counts,
            started_at: self.started_at,
            data: known.find(|said| !said.is_empty()).unwrap_or_default(),
        })
    }

    /// For each invite whether it would count if a look-up that begins now found it absent.
    pub fn absence_counts(&self, shared: &Shared, provider: &Provider) -> Vec<bool> {
        let terms = self.terms(shared, provider, shared.clock.now(), &[], 0.0);
        let states = self.invites.iter().map(|invite| &invite.state);
        states.zip(&terms).map(|(state, terms)| transition::counts_absence(state, terms)).collect()
    }

    /// What a look-up says of each invite. While nobody holds an id that the call's own reply named, no invite counts as
    /// absent; where one invite and one id are left, they belong together.
    pub fn verdicts(
        &self,
        provider: &Provider,
        sightings: &[Sighting],
        held: &BTreeMap<String, InviteId>,
    ) -> Vec<Verdict> {
        let mut verdicts = verdicts(provider, &self.invites, sightings, held);
        let shown = |verdict: &Verdict| match verdict {
            Verdict::Exists(seen) => seen.provider_ref.clone(),
            _ => None,
        };
        let taken: BTreeSet<String> = verdicts.iter().filter_map(shown).collect();
        let left: Vec<&String> = self.unpaired.iter().filter(|id| !taken.contains(*id)).collect();
        if left.is_empty() {
            return verdicts;
        }
        let has_none = |(i, invite): (usize, &InviteRecord)| {
            (invite.state.provider_ref.is_none() && shown(&verdicts[i]).is_none()).then_some(i)
        };
        let without_id: Vec<usize> = self.invites.iter().enumerate().filter_map(has_none).collect();
        match (without_id.as_slice(), left.as_slice()) {
            ([i], [id]) => {
                let seen = Observed::new(Some((*id).clone()), Status::Pending);
                verdicts[*i] = Verdict::Exists(Box::new(seen));
            }
            _ => {
                let named = match is_mixed(&self.invites) {
                    true => "ids".to_owned(),
                    false => join_some(&left),
                };
                let why = format!("the reply to its call named {named} that no Invite stands for");
                for i in without_id {
                    if matches!(verdicts[i], Verdict::Absent) {
                        verdicts[i] = Verdict::CannotTell(why.clone());
                    }
                }
            }
        }
        verdicts
    }

    /// The terms of the look-up for each invite. A call of several that turns out absent is halved. What was looked up
    /// together shares one random `fraction`, so that the next look-up finds it together again.
    pub fn terms(
        &self,
        shared: &Shared,
        provider: &Provider,
        began: Timestamp,
        verdicts: &[Verdict],
        fraction: f64,
    ) -> Vec<LookupTerms> {
        let appeared = |verdict: &Verdict| matches!(verdict, Verdict::Exists(_));
        let in_doubt = |invite: &InviteRecord| {
            invite.state.status() == Status::Unknown && invite.state.holder() == Some(self.attempt)
        };
        let disturbed = self
            .invites
            .iter()
            .zip(verdicts)
            .any(|(invite, verdict)| in_doubt(invite) && appeared(verdict));
        let n = self.invites.len();
        let is_idempotent = provider.adapter.capabilities().create.idempotent;
        let is_refused = self.is_refused && !is_idempotent;
        // After a refusal some of them are at fault; each goes alone, so that these hold up no others.
        let groups = if is_refused { judge::singles(n) } else { judge::halves(n) };
        let is_mixed = is_mixed(&self.invites);
        let why = |verdict| why_unsolved(verdict, is_mixed);
        let lookup = |i: usize| LookupTerms {
            holder: self.attempt,
            began,
            disturbed,
            group: groups.get(i).cloned().flatten(),
            told_by_bytes: is_idempotent,
            is_refused,
            settle: shared.settings.settle,
            timeout: provider.limits.timeout,
            retry: provider.limits.retry,
            fraction,
            unsolved: reason::unsolved(&provider.name, verdicts.get(i).and_then(why)),
            exhausted: reason::exhausted(self.was_answered),
        };
        (0..n).map(lookup).collect()
    }
}
