//! The settings of RKVST's simulator.

use serde::{Deserialize, Serialize};

use crate::settings::Shared;

/// How a delete is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeleteAnswer {
    /// 200 with `{}`, as in the swagger.
    Object,
    /// 200 without a body, as in the prose.
    Empty,
    NoContent,
}

/// The form of error bodies, which the vendor has not documented since 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorBody {
    /// `{"code":5,"message":"...","details":[]}`
    RpcStatus,
    /// `{"error":"..."}`
    Error,
    Text,
}

/// Which members a create must have: the prose and the swagger contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Required {
    Both,
    Email,
    Message,
}

/// What the API shows as `expiry_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExpiryShown {
    Real,
    /// Go's zero time: 0001-01-01T00:00:00Z.
    Zero,
    Epoch,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    pub shared: Shared,
    /// The largest size of a page, and the size if none is asked for.
    pub page_size_cap: usize,
    pub delete_answer: DeleteAnswer,
    pub error_body: ErrorBody,
    pub required: Required,
    /// So many invites may be pending.
    pub quota: Option<usize>,
    pub token_lifetime_seconds: i64,
    /// Whether revoking a client secret ends the tokens that were issued for it.
    pub revocation_ends_tokens: bool,
    pub invite_lifetime_seconds: i64,
    /// Whether an expired invite is not found any more.
    pub purge_expired: bool,
    pub expiry_shown: ExpiryShown,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::default(),
            page_size_cap: 100,
            delete_answer: DeleteAnswer::Object,
            error_body: ErrorBody::RpcStatus,
            required: Required::Both,
            quota: None,
            token_lifetime_seconds: 3_600,
            revocation_ends_tokens: false,
            invite_lifetime_seconds: 10 * 86_400,
            purge_expired: false,
            expiry_shown: ExpiryShown::Real,
        }
    }
}
