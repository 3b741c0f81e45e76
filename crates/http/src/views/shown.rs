//! How much of an invite a caller is shown.

use invite_core::{BatchId, InviteId, Status, StatusSource};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::InviteView;
use crate::{
    Gateway,
    auth::{Caller, Scope},
};

/// What a provider showed of an invite, without the codes that let in whoever holds them, unless the
/// caller may see them. Where it is not known which those are, nothing is left.
pub(crate) fn without_codes(
    mut data: Map<String, Value>,
    kind: Option<&str>,
    gateway: &Gateway,
    caller: &Caller,
) -> Map<String, Value> {
    if !caller.has(Scope::InvitesCodes) {
        match gateway.kinds().iter().find(|known| Some(known.name) == kind) {
            Some(kind) => data.retain(|name, _| !kind.codes.contains(&name.as_str())),
            None => data.clear(),
        }
    }
    data
}

/// What a key that may not read invites sees of one that was there before.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteOutline {
    /// Prefixed and ordered by time.
    id: InviteId,
    /// Its item's place in the request that is answered, or in the one that it came with.
    index: usize,
    /// The configured provider; null for an item that was refused as invalid.
    provider: Option<String>,
    /// The provider's kind.
    provider_kind: Option<String>,
    /// Where it stands.
    status: Status,
    /// How that is known.
    status_source: StatusSource,
    /// `on_duplicate` answered with this existing Invite.
    duplicate: bool,
    #[serde(skip)]
    batch_id: BatchId,
}

/// An invite, as far as the caller may see it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ShownInvite {
    /// All of it: with the scope invites:read, and of what the same request made.
    Whole(Box<InviteView>),
    /// What is left without that scope.
    Outline(InviteOutline),
}

impl ShownInvite {
    /// An invite that was there before the request.
    pub fn existing(invite: InviteView, caller: &Caller) -> Self {
        if caller.has(Scope::InvitesRead) {
            return Self::Whole(Box::new(invite));
        }
        Self::Outline(InviteOutline {
            id: invite.id,
            index: invite.index,
            provider: invite.provider,
            provider_kind: invite.provider_kind,
            status: invite.status,
            status_source: invite.status_source,
            duplicate: invite.duplicate,
            batch_id: invite.batch_id,
        })
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match self {
            Self::Whole(invite) => invite.status,
            Self::Outline(invite) => invite.status,
        }
    }

    /// Where it is; none if it was refused as invalid.
    pub fn provider(&self) -> Option<&str> {
        match self {
            Self::Whole(invite) => invite.provider.as_deref(),
            Self::Outline(invite) => invite.provider.as_deref(),
        }
    }

    /// The request that it came with.
    pub fn batch_id(&self) -> BatchId {
        match self {
            Self::Whole(invite) => invite.batch_id,
            Self::Outline(invite) => invite.batch_id,
        }
    }

    /// Its place in the request that is answered.
    pub fn index(&self) -> usize {
        match self {
            Self::Whole(invite) => invite.index,
            Self::Outline(invite) => invite.index,
        }
    }

    /// Another request's invite that answers an item of this one.
    pub fn is_duplicate(&self) -> bool {
        match self {
            Self::Whole(invite) => invite.duplicate,
            Self::Outline(invite) => invite.duplicate,
        }
    }
}
