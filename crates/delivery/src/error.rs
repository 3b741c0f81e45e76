//! Why something asked of an invite or a provider was not done.

#![expect(missing_docs, reason = "the messages say what the fields are")]

use std::time::Duration;

use invite_core::{InviteId, ProviderError, Status};
use jiff::Timestamp;

/// Why something asked of an invite or a provider was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There is no such invite, or no such provider.
    #[error("not found")]
    NotFound,
    #[error("the invite is {status}, which is final")]
    AlreadyFinal { status: Status },
    /// Its status does not admit this yet.
    #[error("the invite is {status}; try again when it is settled")]
    NotSettled { status: Status },
    /// Only failed invites are retried; those that may have taken effect at a person's risk.
    #[error("the invite is {status}, and only a failed one can be retried")]
    NotRetryable { status: Status },
    /// It failed while nobody knew whether it took effect.
    #[error(
        "the invite is failed, but may exist at the provider (see its error); look there, then retry \
         with accept_duplicate_risk"
    )]
    Risky,
    /// It was refused before it was bound to a provider, so there is nothing to send.
    #[error("the invite was refused as invalid; post a corrected one")]
    NeverBound,
    #[error(
        "the person's data was erased from the invite, so that it changes no more and nothing can be \
         asked about it"
    )]
    Erased,
    #[error("{kind} offers no way to {operation}")]
    Unsupported { kind: String, operation: &'static str },
    /// The provider id may be another invite's.
    #[error("which invite carries this provider id is not proven; `force` skips the proof")]
    PairingUnproven,
    #[error("{existing} is a live invite to the same person at the same place")]
    Duplicate { existing: InviteId },
    /// It cannot be queued again: mostly because its provider's backlog or quota is full.
    #[error(transparent)]
    NoRoom(#[from] AcceptError),
    /// The provider's rate budget is taken by other calls, or the provider asked to be left alone, for
    /// longer than a person is kept waiting.
    #[error(
        "the rate budget of provider `{provider}` (limits.requests_per_second) is taken by other \
         calls, or the provider asked to be left alone for a while; it was not asked, try again later"
    )]
    Busy { provider: String },
    /// Nothing is asked at the invite's destination before the end of a pause.
    #[error("provider `{provider}` is not asked before {until:.0}: {reason}")]
    LanePaused { provider: String, until: Timestamp, wait: Duration, reason: String },
    #[error("provider `{name}` is no longer configured")]
    ProviderGone { name: String },
    /// The provider refused, or did not answer.
    #[error("{error}")]
    Provider { provider: String, error: Box<ProviderError> },
    /// The provider did not answer a question, or not as it should. Nothing was changed by asking.
    #[error("{error}")]
    Unanswered { provider: String, error: Box<ProviderError> },
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}

/// Why a batch was not accepted. Nothing of it was stored, but for `Store(CommitUnknown)`.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("the gateway is shutting down and accepts nothing more")]
    ShuttingDown,
    #[error("the queue of provider `{provider}` is full (limits.max_backlog); try again later")]
    BacklogFull { provider: String, retry_after: Duration },
    /// A provider's queue holds as many invites of the tenant as it takes of one.
    #[error(
        "the queue of provider `{provider}` takes no more invites of this tenant \
         (limits.max_backlog_per_tenant); try again later"
    )]
    ShareFull { provider: String, retry_after: Duration },
    /// More would be accepted of the caller's key today than may be.
    #[error(
        "{room} more invites of this key are accepted today (invites_per_day of it, or of a key that it \
         descends from); the next day begins at midnight UTC"
    )]
    DayExhausted { room: u64, retry_after: Duration },
    /// A provider would have more live invites than its administrator allows.
    #[error(
        "provider `{provider}` has room for {room} more live invites (limits.quota is {quota})"
    )]
    QuotaExceeded { provider: String, quota: u64, room: u64 },
    /// Another document went live after the batch was bound to one: it has to be bound to that.
    #[error("the provider document was changed meanwhile")]
    Outdated,
    #[error("{}", crate::reason::revision_unserved(*.newest))]
    Unserved { newest: i64 },
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}
