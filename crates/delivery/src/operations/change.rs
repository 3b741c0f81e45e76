//! Asking about an invite, setting its status, and withdrawing it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use invite_config::Provider;
use invite_core::{InviteId, Operation, Remote, Status};
use invite_store::{InviteRecord, InviteState};

use crate::{
    ask::{PERSON_WAITS, Result, Undo, is_known_there, position, remote},
    error::OperationError,
    shared::Engine,
    transition,
};

/// What is left to do to withdraw an invite.
pub(crate) enum Withdrawal {
    /// It is withdrawn.
    Made,
    /// It is queued, so nobody has to be asked.
    Here,
    /// It exists there.
    AtProvider(Arc<Provider>),
}

impl Engine {
    /// Asks the provider for the present state. An invite that the provider cannot know anything
    /// of is returned as it is.
    ///
    /// # Errors
    /// The provider refused or did not answer.
    pub async fn refresh(&self, id: InviteId) -> Result<InviteRecord> {
        self.ask(id, PERSON_WAITS).await
    }

    /// Sets the status: at the provider, or by hand for an unknown invite.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn set_status(&self, id: InviteId, to: Status) -> Result<InviteRecord> {
        let invite = self.find(id).await?;
        let status = invite.status_at(self.shared.clock.now()).0;
        if status == Status::Unknown {
            if !matches!(to, Status::Pending | Status::Failed) {
                return Err(OperationError::NotSettled { status });
            }
            return self.settle_unknown(&invite, to).await;
        }
        if invite.provider.is_none() {
            return Err(OperationError::AlreadyFinal { status });
        }
        let provider = self.provider_of(&invite)?;
        if !provider.adapter.capabilities().update_status.contains(&to) {
            return Err(unsupported(&provider, "set this status"));
        }
        match status {
            Status::Revoked | Status::Expired | Status::Failed => {
                return Err(OperationError::AlreadyFinal { status });
            }
            Status::Queued | Status::Sending | Status::AwaitingApproval => {
                return Err(OperationError::NotSettled { status });
            }
            _ => {}
        }
        let remote = remote(&invite, 0)?;
        self.wait_for_budget(&provider, PERSON_WAITS).await?;
        self.operate(
            &invite,
            &provider,
            Operation::UpdateStatus,
            transition::override_status,
            None,
            async |context| provider.adapter.update_status(context, &remote, to).await,
        )
        .await
    }

    /// Records what a person found of an unknown invite: `pending` (it is there) or `failed`.
    pub(crate) async fn settle_unknown(
        &self,
        invite: &InviteRecord,
        to: Status,
    ) -> Result<InviteRecord> {
        let invite = self.settle_by_hand(invite, to).await?;
        if let Some(provider) = &invite.provider {
            // Another invite to the same person may have waited for this.
            self.shared.lane(provider).wake_for_all();
        }
        Ok(invite)
    }

    /// Withdraws it: here while it is queued, at the provider once it exists.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn revoke(&self, id: InviteId, force: bool) -> Result<InviteRecord> {
        self.revoke_within(id, force, PERSON_WAITS).await
    }

    /// The same, waiting for the provider's rate budget for at most `max_wait`.
    pub(crate) async fn revoke_within(
        &self,
        id: InviteId,
        force: bool,
        max_wait: Duration,
    ) -> Result<InviteRecord> {
        let invite = self.find(id).await?;
        let provider = match self.how_to_withdraw(&invite)? {
            Withdrawal::Made => return Ok(invite),
            Withdrawal::Here => {
                return self.decide(&invite, |state, _| transition::withdraw(state)).await;
            }
            Withdrawal::AtProvider(provider) => provider,
        };
        self.wait_for_budget(&provider, max_wait).await?;
        let (invite, was_sent) = self.expect_withdrawal(&invite).await?;
        // If it is gone already, only an earlier call can have withdrawn it.
        let remote = Remote {
            revoke_sent: was_sent,
            ..remote(&invite, position(self.call_of(&invite).await?.as_ref()))?
        };
        let forget: Undo = transition::forget_withdrawal;
        let forget = (!was_sent).then_some(forget);
        let invite = self
            .operate(
                &invite,
                &provider,
                Operation::Revoke,
                transition::observe,
                forget,
                async |context| provider.adapter.revoke(context, &remote, force).await,
            )
            .await?;
        match invite.state.status() {
            status if status.is_final() && status != Status::Revoked => {
                Err(OperationError::AlreadyFinal { status })
            }
            _ => Ok(invite),
        }
    }

    /// Where an invite can be withdrawn, as it is now.
    pub(crate) fn how_to_withdraw(&self, invite: &InviteRecord) -> Result<Withdrawal> {
        match invite.status_at(self.shared.clock.now()).0 {
            Status::Revoked => return Ok(Withdrawal::Made),
            Status::Queued => return Ok(Withdrawal::Here),
            Status::Pending | Status::Sent => {}
            status if status.is_final() => return Err(OperationError::AlreadyFinal { status }),
            status => return Err(OperationError::NotSettled { status }),
        }
        let provider = self.provider_of(invite)?;
        if !provider.adapter.capabilities().revoke {
            return Err(unsupported(&provider, "withdraw an invite"));
        }
        if !is_known_there(invite) {
            return Err(OperationError::PairingUnproven);
        }
        Ok(Withdrawal::AtProvider(provider))
    }

    /// Stores that a call to withdraw it is about to be made; says whether one was made before.
    async fn expect_withdrawal(&self, invite: &InviteRecord) -> Result<(InviteRecord, bool)> {
        let was_sent = Arc::new(AtomicBool::new(false));
        let told = was_sent.clone();
        let expect = move |state: &mut InviteState, _| {
            told.store(state.revoke_sent, Ordering::Relaxed);
            transition::expect_withdrawal(state)
        };
        let invite = self.decide(invite, expect).await?;
        Ok((invite, was_sent.load(Ordering::Relaxed)))
    }
}

fn unsupported(provider: &Provider, operation: &'static str) -> OperationError {
    OperationError::Unsupported { kind: provider.kind.name.to_owned(), operation }
}
