//! Erasing a person: live invites are withdrawn if that is asked for, what has ended is taken out of the
//! store, and what is left is named with why.

use std::{collections::HashMap, time::Duration};

use invite_core::{Address, InviteId, Status};
use invite_store::{Erased, InviteFilter, InviteRecord, UnreadableInvite};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::{error::OperationError, reason, shared::Engine, tasks::expiring::lapse};

const PAGE: u32 = 200;
/// How many of the invites that still hold the person are named.
const MAX_NAMED: usize = 1000;
/// How long withdrawing goes on, since whoever asks waits for it.
const WITHDRAWING: Duration = Duration::from_secs(60);

/// What came of erasing a person. It names nobody.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Erasure {
    /// What was erased by this call.
    pub erased: Erased,
    /// Invites that were withdrawn first.
    pub withdrawn: u64,
    /// Invites that still hold the person, newest first, up to about a thousand.
    pub left: Vec<Left>,
    /// There are more than are listed.
    #[serde(rename = "more_left")]
    pub has_more: bool,
    /// The database let go of what it keeps beside its tables: SQLite's file was rewritten and its log
    /// truncated, PostgreSQL's tables were vacuumed. If false, ask again, or see docs/privacy.md.
    #[serde(rename = "cleaned")]
    pub is_cleaned: bool,
}

/// An invite that still holds the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LeftInvite")]
pub struct Left {
    /// Its id.
    pub id: String,
    /// Whose it is, as far as that can be read.
    pub tenant: Option<String>,
    /// The configured provider.
    pub provider: Option<String>,
    /// The word for its status.
    pub status: Option<String>,
    /// Why it still holds the person.
    pub reason: LeftReason,
    /// What that means, and what to do.
    pub detail: String,
}

/// Why a person is not erased from an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftReason {
    /// It has not ended, and withdrawing it was not asked for.
    Live,
    /// It has not ended, and withdrawing it was not possible.
    NotWithdrawn,
    /// It shares a call with an invite of which it has to be found out yet what became of it.
    CallUnsettled,
    /// Its row cannot be read, and it may not have ended.
    Unreadable,
}

impl Engine {
    /// Takes a person out of all invites to this address that have ended, over all tenants and providers,
    /// and names the others. With `withdraw` live ones are withdrawn before that, as
    /// [`revoke`](Self::revoke) does it. Asking again goes on where this ended.
    ///
    /// # Errors
    /// If the store cannot be read or written; what was erased until then is.
    pub async fn erase(
        &self,
        address: &Address,
        withdraw: bool,
    ) -> Result<Erasure, invite_store::Error> {
        let mut erasure = Erasure::default();
        let refused = self.end_all(address, withdraw, &mut erasure).await?;
        erasure.erased = self.store().erase_person(address).await?;
        self.name_left(address, &refused, &mut erasure).await?;
        erasure.is_cleaned = self.store().clean(true).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a person was erased, but the database could not clean its files of what was erased");
            false
        });
        Ok(erasure)
    }

    /// Withdraws live invites, if asked to, and marks those as expired that have lapsed; returns why some were not
    /// withdrawn.
    async fn end_all(
        &self,
        address: &Address,
        withdraw: bool,
        erasure: &mut Erasure,
    ) -> Result<HashMap<InviteId, String>, invite_store::Error> {
        let until = Instant::now() + WITHDRAWING;
        let (mut refused, mut before) = (HashMap::new(), None);
        loop {
            let page = self.store().invites(&to(address), before, PAGE).await?;
            let now = self.shared.clock.now();
            let (lapsed, live): (Vec<_>, Vec<_>) = page
                .invites
                .into_iter()
                .filter(|invite| invite.state.status().is_live())
                .partition(|invite| invite.status_at(now).0 == Status::Expired);
            lapse(&self.shared, &lapsed).await?;
            for invite in live.iter().filter(|_| withdraw) {
                if Instant::now() > until {
                    refused.insert(invite.id, "there was no time left for it: ask again".into());
                    continue;
                }
                match self.revoke(invite.id, false).await {
                    Ok(_) => erasure.withdrawn += 1,
                    Err(OperationError::AlreadyFinal { .. }) => {}
                    Err(OperationError::Store(error)) => return Err(error),
                    Err(error) => _ = refused.insert(invite.id, why(&error)),
                }
            }
            before = page.next;
            if before.is_none() {
                return Ok(refused);
            }
        }
    }

    async fn name_left(
        &self,
        address: &Address,
        refused: &HashMap<InviteId, String>,
        erasure: &mut Erasure,
    ) -> Result<(), invite_store::Error> {
        let mut before = None;
        loop {
            let page = self.store().invites(&to(address), before, PAGE).await?;
            erasure.left.extend(page.unreadable.into_iter().map(unreadable));
            let left = page.invites.into_iter().map(|invite| left(invite, refused));
            erasure.left.extend(left);
            before = page.next;
            if before.is_none() {
                return Ok(());
            }
            if erasure.left.len() >= MAX_NAMED {
                erasure.has_more = true;
                return Ok(());
            }
        }
    }
}

fn to(address: &Address) -> InviteFilter {
    InviteFilter { address: Some(address.clone()), ..InviteFilter::default() }
}

/// Why an invite was not withdrawn, without the provider's words, which may name the person.
fn why(error: &OperationError) -> String {
    match error {
        OperationError::Provider { provider, error }
        | OperationError::Unanswered { provider, error } => {
            format!("provider `{provider}`: {}", reason::failure_kind(error))
        }
        error => error.to_string(),
    }
}

fn left(invite: InviteRecord, refused: &HashMap<InviteId, String>) -> Left {
    let status = invite.state.status();
    let (reason, detail) = match refused.get(&invite.id) {
        _ if status.is_final() => (
            LeftReason::CallUnsettled,
            "it shares a call with an invite of which it has to be found out yet what became of it; \
             ask again when that has settled"
                .to_owned(),
        ),
        Some(why) => (LeftReason::NotWithdrawn, why.clone()),
        None => (
            LeftReason::Live,
            "it has not ended: withdraw it (`withdraw`), or ask again when it has".to_owned(),
        ),
    };
    Left {
        id: invite.id.to_string(),
        tenant: Some(invite.tenant.clone()),
        provider: invite.provider.clone(),
        status: Some(status.to_string()),
        reason,
        detail,
    }
}

fn unreadable(invite: UnreadableInvite) -> Left {
    let detail = "its row cannot be read, and it may not have ended: look at its provider, DELETE it, and \
                  ask again";
    Left {
        id: invite.id,
        tenant: invite.tenant,
        provider: invite.provider,
        status: invite.status,
        reason: LeftReason::Unreadable,
        detail: detail.to_owned(),
    }
}
