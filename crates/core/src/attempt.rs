//! An attempt: one thing that was asked of a provider, and how that ended.

use crate::{Outcome, ProviderError, invite::words};

words!(
    /// What is asked of a provider.
    Operation {
        /// To create invites.
        Create = "create",
        /// What state one invite is in.
        Get = "get",
        /// Which invites it has.
        List = "list",
        /// To set an invite's status.
        UpdateStatus = "update_status",
        /// To withdraw an invite.
        Revoke = "revoke",
        /// What became of calls whose effect is not known.
        Reconcile = "reconcile",
        /// Whether it takes the credential.
        Probe = "probe",
        /// Which account the credential belongs to.
        Account = "account",
    }
);

impl Operation {
    /// Whether it changes nothing at the provider.
    pub const fn is_question(self) -> bool {
        !matches!(self, Self::Create | Self::UpdateStatus | Self::Revoke)
    }
}

words!(
    /// How an attempt ended.
    AttemptOutcome {
        /// It did what it was for, as far as was told.
        Succeeded = "succeeded",
        /// No byte of the request was written.
        NotSent = "not_sent",
        /// Refused for now.
        Throttled = "throttled",
        /// Refused, without effect.
        Rejected = "rejected",
        /// It may have taken effect.
        Unknown = "unknown",
    }
);

impl AttemptOutcome {
    /// What is known of the effect of an attempt that failed; none if it succeeded.
    pub const fn failure(self) -> Option<Outcome> {
        match self {
            Self::Succeeded => None,
            Self::NotSent => Some(Outcome::NotSent),
            Self::Throttled => Some(Outcome::Throttled),
            Self::Rejected => Some(Outcome::Rejected),
            Self::Unknown => Some(Outcome::Unknown),
        }
    }

    /// The outcome of an attempt that failed with this error, or succeeded without one.
    pub fn of(error: Option<&ProviderError>) -> Self {
        error.map_or(Self::Succeeded, |error| error.outcome.into())
    }
}

impl From<Outcome> for AttemptOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotSent => Self::NotSent,
            Outcome::Throttled => Self::Throttled,
            Outcome::Rejected => Self::Rejected,
            Outcome::Unknown => Self::Unknown,
        }
    }
}
