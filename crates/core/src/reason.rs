//! Why an invite failed, waits or is in doubt.

use serde::{Deserialize, Serialize};

use crate::{Cause, Fault, InviteId, Outcome, ProviderError, invite::words};

words!(
    /// Whose doing something is.
    Origin {
        /// The request asks for what cannot be done.
        Caller = "caller",
        /// The gateway cannot do it at present.
        Gateway = "gateway",
        /// The provider said no, or nothing.
        Provider = "provider",
    }
);

words!(
    /// The kinds of reasons; each is a problem code of the API.
    ReasonCode {
        /// Whether a call took effect is not known.
        OutcomeUnknown = "outcome-unknown",
        /// The provider refused.
        ProviderRejected = "provider-rejected",
        /// The provider refused the credential, or how it is configured here.
        ProviderCredentials = "provider-credentials",
        /// A quota of the provider's account is used up.
        ProviderQuota = "provider-quota",
        /// The provider asked to wait.
        ProviderThrottled = "provider-throttled",
        /// The provider could not be reached.
        ProviderUnreachable = "provider-unreachable",
        /// The invite's provider is no longer configured.
        ProviderGone = "provider-gone",
        /// It could not be sent in time, or its calls never had an effect.
        GivenUp = "given-up",
        /// It waits for another invite to the same person.
        Waiting = "waiting",
        /// The provider answered with what another invite stands for.
        AlreadyHeld = "already-held",
        /// A person recorded that it does not exist.
        FoundAbsent = "found-absent",
        /// The person has a live invite at that place.
        Duplicate = "duplicate",
        /// It was not valid.
        ValidationFailed = "validation-failed",
        /// No route was for it.
        NoRoute = "no-route",
        /// Its provider took no new invites.
        ProviderDisabled = "provider-disabled",
    }
);

impl ReasonCode {
    /// The code for a call or a question that failed with this error.
    pub fn of(error: &ProviderError) -> Self {
        match (error.outcome, error.cause) {
            (Outcome::Unknown, _) => Self::OutcomeUnknown,
            (_, Cause::Quota) => Self::ProviderQuota,
            (_, Cause::Credentials | Cause::Configuration | Cause::NotAuthorized) => {
                Self::ProviderCredentials
            }
            (Outcome::Rejected, _) => Self::ProviderRejected,
            (Outcome::Throttled, _) => Self::ProviderThrottled,
            (Outcome::NotSent, _) => Self::ProviderUnreachable,
        }
    }
}

/// Why an invite failed, waits or is in doubt: the members of a problem that concern the invite itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of reason.
    pub code: ReasonCode,
    /// One line for the person who reads it.
    pub detail: String,
    /// Whose doing it is.
    pub origin: Origin,
    /// What is known of the effect.
    pub outcome: Outcome,
    /// The provider that it happened at, by its configured name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The provider's own code for the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_code: Option<String>,
    /// The HTTP status that the provider answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_http_status: Option<u16>,
    /// The live invite that this one is a duplicate of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<InviteId>,
    /// What is wrong with the invite, each fault with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Reason {
    /// A reason that names neither provider nor faults.
    pub fn new(
        code: ReasonCode,
        origin: Origin,
        outcome: Outcome,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            code,
            detail: detail.into(),
            origin,
            outcome,
            provider: None,
            provider_code: None,
            provider_http_status: None,
            existing: None,
            errors: Vec::new(),
        }
    }

    /// The reason for a call or a question that failed with this error.
    pub fn of(provider: Option<&str>, error: &ProviderError) -> Self {
        Self {
            provider: provider.map(str::to_owned),
            provider_code: error.code.clone(),
            provider_http_status: error.http_status,
            ..Self::new(
                ReasonCode::of(error),
                Origin::Provider,
                error.outcome,
                error.message.clone(),
            )
        }
    }

    /// The reason of a duplicate: the person has this live invite at the same place.
    pub fn duplicate(existing: InviteId) -> Self {
        let detail = format!("{existing} is a live invite to the same person at the same place");
        let reason = Self::new(ReasonCode::Duplicate, Origin::Caller, Outcome::Rejected, detail);
        Self { existing: Some(existing), ..reason }
    }

    /// The same, at this provider.
    pub fn at(self, provider: &str) -> Self {
        Self { provider: Some(provider.to_owned()), ..self }
    }

    /// The same without anything that may tell of a person: only the gateway's own words stay.
    pub fn bare(&self) -> Self {
        let detail = "the details went with the person's data";
        let provider = self.provider.clone();
        Self { provider, ..Self::new(self.code, self.origin, self.outcome, detail) }
    }
}
