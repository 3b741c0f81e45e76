//! A call in doubt, with all that is known of it.

use std::collections::BTreeSet;

use invite_config::Provider;
use invite_core::{AttemptId, Destination, Doubt, PreparedCall, Recipient, Status, random};
use invite_store::{Change, InviteRecord};
use jiff::Timestamp;

use super::search::{is_mixed, why_unsolved};
use crate::{
    attempt::recipient,
    engine::Inner,
    fault, judge,
    lane::Lane,
    transition::{self, Lookup, Verdict},
};

/// One call in doubt, with all of its invites.
pub(super) struct Case {
    pub attempt: AttemptId,
    pub call: Option<PreparedCall>,
    pub started_at: Timestamp,
    /// When the first attempt of each of its invites began.
    pub first_attempts: Vec<Timestamp>,
    /// In the order of the call.
    pub invites: Vec<InviteRecord>,
    pub recipients: Vec<Recipient>,
}

/// The calls at a destination that hold any of these, in their order; and those of these of which no
/// record can be read of the call that holds them.
pub(super) async fn gather(
    engine: &Inner,
    destination: &Destination,
    due: Vec<InviteRecord>,
) -> Result<(Vec<Case>, Vec<InviteRecord>), invite_store::Error> {
    let (mut cases, mut lost, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for invite in due.into_iter().filter(|invite| invite.destination.as_ref() == Some(destination))
    {
        if invite.state.holder.is_some_and(|attempt| known.contains(&attempt)) {
            continue;
        }
        let creates = match engine.store.creates(invite.id).await {
            Err(invite_store::Error::Corrupt { .. }) => Vec::new(),
            creates => creates?,
        };
        let call = creates.iter().find(|view| invite.state.holder == Some(view.id));
        let Some(view) = call else {
            lost.push(invite);
            continue;
        };
        let attempt = view.id;
        known.insert(attempt);
        let invites = engine.store.attempt_invites(attempt).await?;
        let (invites, recipients): (Vec<_>, Vec<_>) =
            invites.into_iter().filter_map(|i| recipient(&i).map(|r| (i, r))).unzip();
        cases.push(Case {
            attempt,
            call: view.call.clone(),
            started_at: view.started_at,
            first_attempts: first_attempts(engine, &invites, view.started_at).await?,
            invites,
            recipients,
        });
    }
    Ok((cases, lost))
}

/// When the first attempt of each of these invites began, all of which are of one that began at
/// `started_at`.
async fn first_attempts(
    engine: &Inner,
    invites: &[InviteRecord],
    started_at: Timestamp,
) -> Result<Vec<Timestamp>, invite_store::Error> {
    let mut first_attempts = Vec::with_capacity(invites.len());
    for invite in invites {
        // Most have been in one call only.
        let first = match invite.state.attempt_count {
            0 | 1 => None,
            _ => match engine.store.creates(invite.id).await {
                // It was accepted before them.
                Err(invite_store::Error::Corrupt { .. }) => Some(invite.created_at),
                creates => creates?.iter().map(|view| view.started_at).min(),
            },
        };
        first_attempts.push(first.unwrap_or(started_at));
    }
    Ok(first_attempts)
}

/// Ends the look-ups for invites of whose call there is no record that can be read: there is nothing to
/// compare with what is there.
pub(super) async fn leave_to_people(
    engine: &Inner,
    lane: &Lane,
    lost: Vec<InviteRecord>,
) -> Result<(), invite_store::Error> {
    for invite in &lost {
        tracing::error!(provider.name = lane.name, invite.id = %invite.id, "no record of the call for an unknown invite can be read; a person has to look at its provider");
    }
    let error = fault::unrecorded(&lane.name);
    let ids = lost.iter().map(|invite| invite.id).collect();
    let decide =
        move |_, _: &InviteRecord, state: &mut _, _| transition::leave_to_person(state, &error);
    engine.store.change(Change::of(ids, decide)).await?;
    engine.waiters.wake(lost.iter().map(|invite| invite.batch_id));
    Ok(())
}

impl Case {
    pub fn doubt(&self) -> Option<Doubt> {
        let mut known = self.invites.iter().map(|i| transition::replies(&i.state));
        Some(Doubt {
            call: self.call.clone()?,
            recipients: self.recipients.clone(),
            first_attempts: self.first_attempts.clone(),
            started_at: self.started_at,
            data: known.find(|said| !said.is_empty()).unwrap_or_default(),
        })
    }

    /// What each invite's look-up goes by. A call of several that turns out absent or refused is
    /// halved.
    pub fn lookups(
        &self,
        engine: &Inner,
        provider: &Provider,
        began: Timestamp,
        verdicts: &[Verdict],
    ) -> Vec<Lookup> {
        let appeared = |verdict: &Verdict| matches!(verdict, Verdict::Exists(_));
        let in_doubt = |invite: &InviteRecord| {
            invite.state.status == Status::Unknown && invite.state.holder == Some(self.attempt)
        };
        let disturbed = self
            .invites
            .iter()
            .zip(verdicts)
            .any(|(invite, verdict)| in_doubt(invite) && appeared(verdict));
        let n = self.invites.len();
        let groups = judge::halves(n);
        let is_mixed = is_mixed(&self.invites);
        let why = |verdict| why_unsolved(verdict, is_mixed);
        let lookup = |i: usize| Lookup {
            holder: self.attempt,
            began,
            disturbed,
            group: groups.get(i).cloned().flatten(),
            told_by_bytes: provider.adapter.capabilities().create.idempotent,
            settle: engine.settings.settle,
            timeout: provider.limits.timeout,
            retry: provider.limits.retry,
            fraction: random::fraction(),
            unsolved: fault::unsolved(&provider.name, verdicts.get(i).and_then(why)),
            exhausted: fault::exhausted(),
        };
        (0..n).map(lookup).collect()
    }
}
