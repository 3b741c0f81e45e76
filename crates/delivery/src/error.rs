//! Why something asked of an invite or a provider was not done.

use std::time::Duration;

use invite_core::{InviteId, ProviderError, Status};
use jiff::Timestamp;

/// Why something asked of an invite or a provider was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There is no such invite, or no such provider.
    #[error("not found")]
    NotFound,
    /// Its status is final.
    #[error("the invite is {status}, which is final")]
    AlreadyFinal {
        /// The final status.
        status: Status,
    },
    /// Its status does not admit this yet.
    #[error("the invite is {status}; try again when it is settled")]
    NotSettled {
        /// The present status.
        status: Status,
    },
    /// Only failed invites are retried; those that may have taken effect at a person's risk.
    #[error("the invite is {status}, and only a failed one can be retried")]
    NotRetryable {
        /// The present status.
        status: Status,
    },
    /// It failed while nobody knew whether it took effect.
    #[error(
        "the invite is failed, but may exist at the provider (see its error); look there, then retry \
         with accept_duplicate_risk"
    )]
    Risky,
    /// It was refused before it was bound to a provider, so there is nothing to send.
    #[error("the invite was refused as invalid; post a corrected one")]
    NeverBound,
    /// Its person was erased.
    #[error(
        "the person's data was erased from the invite, so that it changes no more and nothing can be \
         asked about it"
    )]
    Erased,
    /// The provider offers no such operation.
    #[error("{kind} offers no way to {operation}")]
    Unsupported {
        /// The provider's kind.
        kind: String,
        /// What was asked.
        operation: &'static str,
    },
    /// The provider id may be another invite's.
    #[error("which invite carries this provider id is not proven; `force` skips the proof")]
    PairingUnproven,
    /// A live invite to the same person at the same place exists.
    #[error("{existing} is a live invite to the same person at the same place")]
    Duplicate {
        /// The live one.
        existing: InviteId,
    },
    /// Its provider's backlog or quota is full.
    #[error(transparent)]
    NoRoom(#[from] AcceptError),
    /// The provider's rate budget is taken by other calls, or the provider asked to be left alone, for
    /// longer than a person is kept waiting.
    #[error(
        "the rate budget of provider `{provider}` (limits.requests_per_second) is taken by other \
         calls, or the provider asked to be left alone for a while; it was not asked, try again later"
    )]
    Busy {
        /// Its name.
        provider: String,
    },
    /// Nothing is asked at the invite's destination before the end of a pause.
    #[error("provider `{provider}` is not asked before {until:.0}: {reason}")]
    LanePaused {
        /// Its name.
        provider: String,
        /// When the pause ends.
        until: Timestamp,
        /// How long that is.
        wait: Duration,
        /// What it is for.
        reason: String,
    },
    /// The invite's provider is no longer configured.
    #[error("provider `{name}` is no longer configured")]
    ProviderGone {
        /// Its name.
        name: String,
    },
    /// The provider refused, or did not answer.
    #[error("{error}")]
    Provider {
        /// Its name.
        provider: String,
        /// What it said.
        error: Box<ProviderError>,
    },
    /// The provider did not answer a question, or not as it should. Nothing was changed by asking.
    #[error("{error}")]
    Unanswered {
        /// Its name.
        provider: String,
        /// What it said.
        error: Box<ProviderError>,
    },
    /// The database said no, or nothing.
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}

/// Why a batch was not accepted. Nothing of it was stored, but for `Store(CommitUnknown)`.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The process is stopping.
    #[error("the gateway is shutting down and accepts nothing more")]
    ShuttingDown,
    /// A provider's queue is full.
    #[error("the queue of provider `{provider}` is full (limits.max_backlog); try again later")]
    BacklogFull {
        /// Its name.
        provider: String,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// A provider's queue holds as many invites of the tenant as it takes of one.
    #[error(
        "the queue of provider `{provider}` takes no more invites of this tenant \
         (limits.max_backlog_per_tenant); try again later"
    )]
    ShareFull {
        /// Its name.
        provider: String,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// More would be accepted of the caller's key today than may be.
    #[error(
        "{room} more invites of this key are accepted today (invites_per_day of it, or of a key that it \
         descends from); the next day begins at midnight UTC"
    )]
    DayExhausted {
        /// How many more may be.
        room: u64,
        /// When the next day begins.
        retry_after: Duration,
    },
    /// A provider would have more live invites than its administrator allows.
    #[error(
        "provider `{provider}` has room for {room} more live invites (limits.quota is {quota})"
    )]
    QuotaExceeded {
        /// Its name.
        provider: String,
        /// `limits.quota`.
        quota: u64,
        /// How many more it takes.
        room: u64,
    },
    /// Another document went live after the batch was bound to one; binding it again, to the one
    /// that is live now, tells what becomes of it.
    #[error("the provider document was changed meanwhile")]
    Outdated,
    /// The newest document cannot be served here.
    #[error("{}", crate::reason::behind(*.newest))]
    Behind {
        /// Its revision.
        newest: i64,
    },
    /// The database said no, or nothing.
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}
