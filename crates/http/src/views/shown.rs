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

/// What a provider showed of an invite, without the codes that let in whoever holds them, unless the caller
/// may see these. If it is not known which they are, nothing is left.
pub(crate) fn without_codes(
    mut data: Map<String, Value>,
    kind: Option<&str>,
    gateway: &Gateway,
    caller: &Caller,
) -> Map<String, Value> {
    if !caller.has(Scope::InvitesCodes) {
        match gateway.kinds.iter().find(|known| Some(known.name) == kind) {
            Some(kind) => data.retain(|name, _| !kind.codes.contains(&name.as_str())),
            None => data.clear(),
        }
    }
    data
}

/// What a key that may not read invites sees of one that was there before.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteOutline {
    /// Prefixed and ordered by time.
    pub id: InviteId,
    /// Its item's place in the request that is answered, or in the one that it came with.
    pub index: usize,
    /// The configured provider; null for an item that was refused as invalid.
    pub provider: Option<String>,
    /// The provider's kind.
    pub provider_kind: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How that is known.
    pub status_source: StatusSource,
    /// `on_duplicate` answered with this existing Invite.
    pub duplicate: bool,
    #[serde(skip)]
    pub batch_id: BatchId,
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
        match caller.has(Scope::InvitesRead) {
            true => Self::Whole(Box::new(invite)),
            false => Self::Outline(invite.outline),
        }
    }

    pub fn outline(&self) -> &InviteOutline {
        match self {
            Self::Whole(invite) => &invite.outline,
            Self::Outline(outline) => outline,
        }
    }
}
