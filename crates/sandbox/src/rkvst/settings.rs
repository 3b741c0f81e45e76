//! How RKVST's simulator can be told to behave.

use serde::{Deserialize, Serialize};

use crate::settings::Shared;

/// The body of the answer to a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeleteAnswer {
    /// 200 with `{}`, as in the swagger.
    Object,
    /// 200 without a body, as in the prose.
    Empty,
    /// 204.
    NoContent,
}

/// The form of error bodies; the vendor documents none since 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorBody {
    /// `{"code":5,"message":"...","details":[]}`
    RpcStatus,
    /// `{"error":"..."}`
    Error,
    /// Plain text.
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

/// What is shown as the `expiry_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExpiryShown {
    Real,
    /// Go's zero time: 0001-01-01T00:00:00Z.
    Zero,
    /// 1970-01-01T00:00:00Z.
    Epoch,
}

/// What can be changed while the simulator runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    pub shared: Shared,
    /// The most that a page holds, and what it holds if no size is asked for.
    pub page_size_cap: usize,
    pub delete_answer: DeleteAnswer,
    pub error_body: ErrorBody,
    pub required: Required,
    /// How many invites may be pending.
    pub quota: Option<usize>,
    pub token_lifetime_seconds: i64,
    /// Whether the tokens that were got with a client secret end when it is revoked.
    pub revocation_ends_tokens: bool,
    pub invite_lifetime_seconds: i64,
    /// Whether an expired invite is no longer found at all.
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
