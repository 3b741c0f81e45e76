//! The settings of Turnkey's simulator.

use serde::{Deserialize, Serialize};

use crate::settings::Shared;

/// What becomes of an activity that creates or deletes invitations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// It completes at once.
    Completed,
    /// It is PENDING for a number of looks.
    Pending,
    /// It is CREATED for a number of looks.
    Created,
    /// It is CONSENSUS_NEEDED until there are enough votes.
    Consensus,
    Failed,
    /// It never completes.
    AuthenticatorsNeeded,
    /// It never completes, and has a status that no client knows.
    UnknownStatus,
}

/// How `get_organization` answers, which the public documents do not mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GetOrganization {
    On,
    NotFound,
    Forbidden,
}

/// What `get_organization` shows of a deleted invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeletedInvitations {
    Vanish,
    Revoked,
}

/// What `after` and `before` mean in a list that is newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CursorOrder {
    /// `after` leads to what follows in the list.
    List,
    /// `after` leads to what was created later.
    Time,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    pub shared: Shared,
    pub activity_mode: Mode,
    pub pending_looks: u32,
    pub votes_needed: usize,
    pub get_organization: GetOrganization,
    pub deleted_invitations: DeletedInvitations,
    pub nested_result: bool,
    pub cursor_order: CursorOrder,
    /// Whether a body that was seen before may also be too old.
    pub liveness_on_replay: bool,
    /// So many open invitations the organization may have.
    pub quota: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::default(),
            activity_mode: Mode::Completed,
            pending_looks: 2,
            votes_needed: 2,
            get_organization: GetOrganization::On,
            deleted_invitations: DeletedInvitations::Vanish,
            nested_result: false,
            cursor_order: CursorOrder::List,
            liveness_on_replay: false,
            quota: 100,
        }
    }
}
