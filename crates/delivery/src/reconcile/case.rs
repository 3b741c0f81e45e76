//! A call in doubt, with all that is known of it.

use std::collections::BTreeMap;

use invite_config::Provider;
use invite_core::{AttemptId, Destination, Doubt, PreparedCall, Recipient, Status, random};
use invite_store::InviteRecord;
use jiff::Timestamp;

use crate::{
    attempt::recipient,
    engine::Inner,
    fault, judge,
    transition::{Lookup, Verdict},
};

/// One call in doubt, with all of its invites.
pub(super) struct Case {
    pub attempt: AttemptId,
    pub call: Option<PreparedCall>,
    pub started_at: Timestamp,
    pub first_attempt_at: Timestamp,
    /// In the order of the call.
    pub invites: Vec<InviteRecord>,
    pub recipients: Vec<Recipient>,
}

pub(super) async fn gather(
    engine: &Inner,
    destination: &Destination,
    due: Vec<InviteRecord>,
) -> Result<Vec<Case>, invite_store::Error> {
    let mut cases: BTreeMap<AttemptId, Case> = BTreeMap::new();
    for invite in due.into_iter().filter(|invite| invite.destination.as_ref() == Some(destination))
    {
        let Some(attempt) = invite.state.holder else { continue };
        if cases.contains_key(&attempt) {
            continue;
        }
        let attempts = engine.store.attempts(invite.id).await?;
        let first = attempts.iter().find(|view| view.operation == "create");
        let Some(view) = attempts.iter().find(|view| view.id == attempt) else { continue };
        let invites = engine.store.attempt_invites(attempt).await?;
        let (invites, recipients) =
            invites.into_iter().filter_map(|i| recipient(&i).map(|r| (i, r))).unzip();
        cases.insert(
            attempt,
            Case {
                attempt,
                call: view.call.clone(),
                started_at: view.started_at,
                first_attempt_at: first.map_or(view.started_at, |view| view.started_at),
                invites,
                recipients,
            },
        );
    }
    Ok(cases.into_values().collect())
}

impl Case {
    pub fn doubt(&self) -> Option<Doubt> {
        let known = self.invites.iter().find(|i| !i.state.provider_data.is_empty());
        Some(Doubt {
            call: self.call.clone()?,
            recipients: self.recipients.clone(),
            first_attempt_at: self.first_attempt_at,
            started_at: self.started_at,
            data: known.map(|invite| invite.state.provider_data.clone()).unwrap_or_default(),
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
        let lookup = |i: usize| Lookup {
            holder: self.attempt,
            began,
            disturbed,
            group: groups.get(i).cloned().flatten(),
            settle: engine.settings.settle,
            timeout: provider.limits.timeout,
            retry: provider.limits.retry,
            fraction: random::fraction(),
            unsolved: fault::unsolved(&provider.name),
            exhausted: fault::exhausted(),
        };
        (0..n).map(lookup).collect()
    }
}
