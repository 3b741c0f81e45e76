//! What can be said of a provider: to callers, administrators and metrics.

use std::collections::BTreeMap;

use invite_core::{
    AttemptOutcome, Cause, Operation, Outcome, ProviderError, secret::CredentialUse,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a provider is doing, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProviderState")]
pub enum LaneState {
    /// Calls are made as limits allow.
    Ready,
    /// One call at a time until one succeeds after a pause, then gradually more; or few, because the
    /// provider's rate limit is nearly used up.
    Slowed,
    /// No calls until a time.
    Paused,
    /// The credential was refused; invites wait.
    Misconfigured,
    /// Switched off by its configuration; takes no new invites.
    Disabled,
}

impl LaneState {
    /// Every state.
    pub const ALL: &[Self] =
        &[Self::Ready, Self::Slowed, Self::Paused, Self::Misconfigured, Self::Disabled];

    /// The word used in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Slowed => "slowed",
            Self::Paused => "paused",
            Self::Misconfigured => "misconfigured",
            Self::Disabled => "disabled",
        }
    }
}

/// The last call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Which operation.
    pub operation: Operation,
    /// What is known of its effect.
    pub outcome: Outcome,
    /// One line, without secrets and personal data.
    pub message: String,
    /// The provider's own code.
    pub code: Option<String>,
    /// The HTTP status it answered with.
    pub http_status: Option<u16>,
}

/// A destination that calls wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Destination")]
pub struct DestinationStatus {
    /// Event, tenancy or organization.
    pub scope: String,
    /// How it is doing, in a word.
    pub state: LaneState,
    /// Why.
    pub reason: Option<String>,
    /// When it is tried again.
    pub until: Option<Timestamp>,
}

/// What became of a credential that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// The provider took it.
    Accepted,
    /// The provider refused it.
    Refused,
    /// The provider took it and refused what it is to be used for, an event that is not there, say.
    Unusable,
    /// The provider did not answer, or not as it should, so that nothing is known of the credential.
    NotChecked,
}

impl ProbeResult {
    /// The result of a check that ended with this error.
    pub fn of(error: &ProviderError) -> Self {
        match (error.outcome, error.cause) {
            (Outcome::Rejected, Cause::Credentials) => Self::Refused,
            (Outcome::Rejected, _) => Self::Unusable,
            _ => Self::NotChecked,
        }
    }
}

/// The last credential check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LastProbe {
    /// When.
    pub at: Timestamp,
    /// What became of the credential.
    pub result: ProbeResult,
    /// What was found.
    pub detail: String,
    /// By how much the provider's clock is ahead of this machine's, as far as its reply proves it; null
    /// if it does not show its time.
    pub clock_difference_seconds: Option<f64>,
}

/// How a provider or a destination is doing, why, and until when it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub state: LaneState,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
}

/// What the replica that makes a provider's calls knows of it, and the others show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub state: LaneState,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    pub destinations: Vec<DestinationStatus>,
    pub last_error: Option<LastError>,
}

/// All that can be said of one provider now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderStatus {
    /// How it is doing, in a word.
    pub state: LaneState,
    /// Why, unless it is ready.
    #[serde(rename = "state_reason")]
    pub reason: Option<String>,
    /// When it is tried again.
    #[serde(rename = "state_until")]
    pub until: Option<Timestamp>,
    /// The replica that makes its calls, one of `replicas`; null while none does. State, `destinations` and
    /// `last_error` are what that one knows.
    pub holder: Option<String>,
    /// Destinations that calls wait for while others go on, some of them if they are many; empty for a key
    /// without the scope `invites:all-tenants`, as they may be another tenant's.
    pub destinations: Vec<DestinationStatus>,
    /// Invites that count as live: queued to sent, and those that cannot be read.
    #[serde(skip)]
    pub live: u64,
    /// Invites in the queue.
    pub queued: u64,
    /// Invites that cannot be read from the database and that no administrator has ended.
    pub unreadable: u64,
    /// Calls under way in this process.
    pub in_flight: u32,
    /// The last call that did not succeed.
    pub last_error: Option<LastError>,
    /// Calls of this process, counted.
    pub counters: Counters,
    /// The last credential check.
    pub last_probe: Option<LastProbe>,
    /// By how much the provider's clock is ahead of this machine's, as far as its last reply proves it
    /// (0 while both may show the same); null before one. More than 30 s either way is logged.
    pub clock_difference_seconds: Option<f64>,
}

/// Calls since the process started, and what they came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Counters {
    /// By outcome.
    pub outcomes: BTreeMap<AttemptOutcome, u64>,
    /// Invites that the provider took; one call may carry several.
    pub invites: u64,
    /// By secret.
    pub credentials: Vec<CredentialUse>,
}
