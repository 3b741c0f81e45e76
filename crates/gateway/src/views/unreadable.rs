//! What the API shows of rows that cannot be read from the database.

use invite_core::BatchId;
use invite_store::{Unreadable, UnreadableInvite};
use serde::Serialize;
use utoipa::ToSchema;

/// A record that cannot be read from the database: damaged, or of another version.
#[derive(Serialize, ToSchema)]
#[schema(as = Unreadable)]
pub(crate) struct UnreadableView {
    /// Its id, as it is stored.
    id: String,
    /// The column that stands in the way.
    column: String,
}

/// An Invite that cannot be read from the database: damaged, or of another version. Nothing is done about
/// it until it can be read again or an administrator ends it (`DELETE`). What is null cannot be told.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = UnreadableInvite)]
pub(crate) struct UnreadableInviteView {
    /// Its id, as it is stored.
    id: String,
    /// The column that stands in the way.
    column: String,
    /// The request that it came with.
    #[schema(value_type = Option<String>)]
    batch_id: Option<BatchId>,
    /// Its item's place in that request.
    index: Option<usize>,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// The configured provider.
    provider: Option<String>,
    /// The word for its status, which may be of another version.
    status: Option<String>,
}

impl UnreadableView {
    /// The record as far as it can be told.
    pub fn new(row: Unreadable) -> Self {
        Self { id: row.id, column: row.column }
    }

    /// The same of several.
    pub fn all(rows: Vec<Unreadable>) -> Vec<Self> {
        rows.into_iter().map(Self::new).collect()
    }
}

impl UnreadableInviteView {
    /// The invite as far as it can be told; with its tenant for who sees all.
    pub fn new(invite: UnreadableInvite, with_tenant: bool) -> Self {
        Self {
            id: invite.id,
            column: invite.column,
            batch_id: invite.batch_id,
            index: invite.index,
            tenant: invite.tenant.filter(|_| with_tenant),
            provider: invite.provider,
            status: invite.status,
        }
    }
}
