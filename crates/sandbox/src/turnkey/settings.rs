//! What can be changed at the Turnkey simulator while it runs.

use serde::{Deserialize, Serialize};

use crate::settings::Shared;

/// What becomes of a submitted activity that creates or deletes invitations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// The first answer is the last.
    Completed,
    /// PENDING for a number of looks.
    Pending,
    /// The same, but CREATED.
    Created,
    /// CONSENSUS_NEEDED until there are enough votes.
    Consensus,
    /// FAILED, with a reason.
    Failed,
    /// Waits for ever.
    AuthenticatorsNeeded,
    /// Waits for ever, in a status that no client knows.
    UnknownStatus,
}

/// Whether `get_organization`, which is not part of the public documents, answers.
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

/// What `after` and `before` mean in a list whose first element is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CursorOrder {
    /// `after`: what follows in the list.
    List,
    /// `after`: what was created later.
    Time,
}

/// What can be changed while the simulator runs.
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
    /// Whether the liveness window also holds for a body that was seen before.
    pub liveness_on_replay: bool,
    /// How many open invitations the organization may have.
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
