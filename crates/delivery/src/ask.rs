//! Asking a provider about one invite, or to change it, outside the lanes: for persons, and for the loop that
//! refreshes open invites.

mod approval;

use std::{collections::BTreeSet, slice, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    Cause, InviteId, Observed, Operation, Outcome, ProviderError, Remote, Status,
    failpoint::failpoint, http::CallContext,
};
use invite_store::{AttemptView, Change, Changed, Decision, InviteRecord, InviteState};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    commit::{commit, ended_attempt},
    door::{Busy, Door, Subject},
    error::OperationError,
    lane::Lane,
    lookups::case::is_shown,
    shared::{Engine, SHARED_POLL},
    transition,
};

/// How long a person is kept waiting for a provider's rate budget.
pub(crate) const PERSON_WAITS: Duration = Duration::from_secs(10);

/// Takes back what was stored before a call that then was not made, or was refused.
pub(crate) type Undo = fn(&mut InviteState) -> Decision;

pub(crate) type Result<T, E = OperationError> = std::result::Result<T, E>;

impl Engine {
    /// Asks the provider for an invite's present state, as [`refresh`](Engine::refresh) does, and waits for its
    /// rate budget for at most `max_wait`.
    pub(crate) async fn ask(&self, id: InviteId, max_wait: Duration) -> Result<InviteRecord> {
        let invite = self.find(id).await?;
        let asked = matches!(
            invite.state.status(),
            Status::AwaitingApproval
                | Status::Pending
                | Status::Sent
                | Status::Accepted
                | Status::Declined
                | Status::Expired
        );
        if invite.state.status() == Status::Unknown {
            return self.look_up_now(&invite, max_wait).await;
        }
        if !asked || !is_known_there(&invite) {
            return Ok(invite);
        }
        let provider = self.provider_of(&invite)?;
        let call = self.call_of(&invite).await?;
        let remote = remote(&invite, position(call.as_ref()))?;
        self.wait_for_budget(&provider, max_wait).await?;
        let call = call.filter(|_| invite.state.status() == Status::AwaitingApproval);
        let mut refused = None;
        let get = async |context: &CallContext| {
            let seen = provider.adapter.get(context, &remote).await?;
            refused = Some(seen.clone()).filter(|seen| seen.failure.is_some());
            Ok(seen)
        };
        let awaits_approval = call.is_some();
        let was_withdrawn = remote.revoke_sent;
        let apply = move |state: &mut InviteState, seen: &Observed, now| match &seen.failure {
            // The others of its call may be refused, too: all of them are settled together, below.
            Some(_) if awaits_approval => transition::ask_later(state, now),
            // The adapter did not know of the withdrawal that began meanwhile, whose own answer counts.
            _ if state.revoke_sent && !was_withdrawn => transition::ask_later(state, now),
            _ => transition::observe(state, seen, now),
        };
        let invite = self.operate(&invite, &provider, Operation::Get, apply, None, get).await?;
        match call.zip(refused) {
            Some((call, seen)) => {
                self.settle_refused(&invite, &provider, &call, seen, max_wait).await
            }
            None => Ok(invite),
        }
    }

    /// Has the look-up of an unknown invite made now instead of when it is due, and waits for that for at most
    /// `max_wait`.
    async fn look_up_now(&self, invite: &InviteRecord, max_wait: Duration) -> Result<InviteRecord> {
        let (Some(provider), Some(destination)) = (&invite.provider, &invite.destination) else {
            return Ok(invite.clone());
        };
        let lane = self.shared.lane(provider);
        let check_pause = || {
            let now = self.shared.clock.now();
            let paused = lane.with_state(|state| {
                let until = state.opens_at(destination, now, true)?;
                Some((until, state.pause_reason(destination, now).unwrap_or_default()))
            });
            let Some((until, reason)) = paused else { return Ok(()) };
            let (provider, wait) = (provider.clone(), crate::lane::until(now, until));
            Err(OperationError::LanePaused { provider, until, wait, reason })
        };
        check_pause()?;
        let waiting = self.shared.waiters.wait_for(invite.batch_id);
        let before = self.decide(invite, transition::look_up_now).await?.state.checked_at;
        lane.wake_look_ups.notify_one();
        let began = Instant::now();
        loop {
            let changed = waiting.changed();
            let invite = self.find(invite.id).await?;
            if invite.state.status() != Status::Unknown || invite.state.checked_at != before {
                return Ok(invite);
            }
            check_pause()?;
            if began.elapsed() >= max_wait || self.shared.stopping.is_cancelled() {
                return Err(OperationError::Busy { provider: provider.clone() });
            }
            tokio::select! {
                () = changed => {}
                // Another replica may have looked it up, or another invite's look-up may have begun a pause.
                () = tokio::time::sleep(SHARED_POLL) => {}
                () = self.shared.stopping.cancelled() => {}
            }
        }
    }

    pub(crate) async fn find(&self, id: InviteId) -> Result<InviteRecord> {
        self.shared.store.invite(id).await?.ok_or(OperationError::NotFound)
    }

    pub(crate) fn provider_of(&self, invite: &InviteRecord) -> Result<Arc<Provider>> {
        if invite.is_erased {
            return Err(OperationError::Erased);
        }
        let name = invite.provider.as_deref().ok_or(OperationError::NeverBound)?;
        let gone = || OperationError::ProviderGone { name: name.to_owned() };
        let provider = self.shared.live.current().provider(name).cloned();
        // Another kind may have taken over the name.
        let same = |provider: &Arc<Provider>| invite.kind.as_deref() == Some(provider.kind.name);
        provider.filter(same).ok_or_else(gone)
    }

    /// The call that created the invite: the one whose bytes the provider showed, else the last.
    pub(crate) async fn call_of(&self, invite: &InviteRecord) -> Result<Option<AttemptView>> {
        let mut creates = self.shared.store.creates(invite.id).await?;
        let shown = creates.iter().position(|attempt| is_shown(invite, attempt));
        Ok(match shown {
            Some(place) => Some(creates.swap_remove(place)),
            None => creates.pop(),
        })
    }

    /// Changes one invite without a call.
    pub(crate) async fn decide(
        &self,
        invite: &InviteRecord,
        decide: impl Fn(&mut InviteState, Timestamp) -> Decision + Send + Sync + 'static,
    ) -> Result<InviteRecord> {
        let changed = self.shared.store.change(Change::each(vec![invite.id], decide)).await?;
        self.decided(invite, changed).await
    }

    /// The invite after a change without a call; if nothing was written, the error names the status that it has by now.
    pub(crate) async fn decided(
        &self,
        invite: &InviteRecord,
        changed: Changed,
    ) -> Result<InviteRecord> {
        let Changed::Written(mut records) = changed else {
            let status = self.find(invite.id).await?.state.status();
            return Err(OperationError::NotSettled { status });
        };
        self.shared.waiters.wake(std::iter::once(invite.batch_id));
        records.pop().ok_or(OperationError::NotFound)
    }

    /// A door whose calls belong to the trace of this request.
    pub(crate) fn door<'a>(
        &'a self,
        lane: &'a Lane,
        provider: &'a Provider,
        subject: Subject,
    ) -> Door<'a> {
        let subject = Subject { trace: self.trace.clone(), ..subject };
        Door { shared: &self.shared, lane, provider, subject }
    }

    pub(crate) async fn wait_for_budget(
        &self,
        provider: &Provider,
        max_wait: Duration,
    ) -> Result<()> {
        let lane = self.shared.lane(&provider.name);
        let waited = self.door(&lane, provider, Subject::default()).wait_for_person(max_wait).await;
        waited.map_err(|Busy| OperationError::Busy { provider: provider.name.clone() })
    }

    /// Makes one request about one invite, for which the rate budget was waited for, stores it as an attempt, and applies what
    /// it showed; or `undo`, if the call was not made or was refused, and the invite was not written since it was read.
    pub(crate) async fn operate(
        &self,
        invite: &InviteRecord,
        provider: &Arc<Provider>,
        operation: Operation,
        apply: impl Fn(&mut InviteState, &Observed, Timestamp) -> Decision + Send + Sync + 'static,
        undo: Option<Undo>,
        call: impl AsyncFnOnce(&CallContext) -> Result<Observed, ProviderError>,
    ) -> Result<InviteRecord> {
        let lane = self.shared.lane(&provider.name);
        let door = self.door(&lane, provider, Subject::of([invite]));
        failpoint("operation-before-request");
        let asked = door.ask(operation, invite.destination.as_ref(), call).await;
        failpoint("operation-after-reply");
        let attempt = ended_attempt(&door, operation, &asked, None);
        let result = asked.result;
        let is_in_doubt = |error: &ProviderError| error.outcome == Outcome::Unknown;
        let undo = undo.filter(|_| result.as_ref().err().is_some_and(|error| !is_in_doubt(error)));
        let seen = result.as_ref().ok().cloned().map(|seen| seen.since(invite.created_at));
        let version = invite.version;
        let decide = move |before: &InviteRecord, state: &mut InviteState, now| match (&seen, undo)
        {
            // A status that the invite cannot take any more changes nothing; the attempt shows it.
            (Some(seen), _) => match apply(state, seen, now) {
                Decision::Abort => Decision::Keep,
                decision => decision,
            },
            // Another call that began meanwhile may have taken effect.
            (None, Some(undo)) if before.version == version => undo(state),
            (None, _) => Decision::Keep,
        };
        let decide = Arc::new(decide);
        let change = |taken: &BTreeSet<InviteId>| {
            let ((begin, end), decide, is_free) =
                (attempt.clone(), decide.clone(), taken.is_empty());
            let decide = move |_, before: &InviteRecord, state: &mut _, now| match is_free {
                true => decide(before, state, now),
                // What it showed is another invite's: this one is asked about again after all others.
                false => transition::ask_later(state, now),
            };
            Change { begin: Some(begin), end: Some(end), ..Change::of(vec![invite.id], decide) }
        };
        let changed = commit(&self.shared, &provider.name, slice::from_ref(invite), change).await?;
        let to_error = if operation.is_question() { question_error } else { provider_error };
        result.map_err(|error| to_error(provider, error))?;
        match changed {
            Changed::Written(records) => records.into_iter().next().ok_or(OperationError::NotFound),
            _ => self.find(invite.id).await,
        }
    }
}

/// Whether the provider can be asked about an invite: it has an id there, or will have one once it is approved. One
/// that a person found there has none here.
pub(crate) fn is_known_there(invite: &InviteRecord) -> bool {
    invite.state.provider_ref.is_some() || invite.state.status() == Status::AwaitingApproval
}

/// The invite's place in the call that created it.
pub(crate) fn position(call: Option<&AttemptView>) -> usize {
    call.map_or(0, |attempt| attempt.position)
}

pub(crate) fn remote(invite: &InviteRecord, index: usize) -> Result<Remote> {
    Ok(Remote {
        destination: invite.destination.clone().ok_or(OperationError::NeverBound)?,
        provider_ref: invite.state.provider_ref.clone(),
        data: invite.state.provider_data.clone(),
        invitee: invite.invitee.clone(),
        address: invite.address.clone().ok_or(OperationError::NeverBound)?,
        index,
        status: invite.state.status(),
        expires_at: invite.state.expires_at,
        revoke_sent: invite.state.revoke_sent,
    })
}

/// The error of a call that only asks: if its outcome is unknown, nothing has changed all the same.
pub(crate) fn question_error(provider: &Provider, error: ProviderError) -> OperationError {
    match error.outcome {
        Outcome::Unknown => {
            OperationError::Unanswered { provider: provider.name.clone(), error: Box::new(error) }
        }
        _ => provider_error(provider, error),
    }
}

fn provider_error(provider: &Provider, error: ProviderError) -> OperationError {
    match error.cause {
        Cause::PairingUnproven => OperationError::PairingUnproven,
        _ => OperationError::Provider { provider: provider.name.clone(), error: Box::new(error) },
    }
}
