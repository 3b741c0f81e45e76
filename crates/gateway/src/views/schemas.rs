//! Schemas of the engine's and the domain's own types that the API shows as they are: those crates
//! know nothing of OpenAPI. A test compares them with the real ones.
#![expect(dead_code, reason = "only the schemas are used")]

use jiff::Timestamp;
use utoipa::ToSchema;

/// How a provider is doing, in a word.
#[derive(ToSchema)]
#[schema(as = ProviderState)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LaneStateSchema {
    /// Calls are made as limits allow.
    Ready,
    /// One call at a time, until one succeeds.
    Slowed,
    /// No calls until a time.
    Paused,
    /// The credential was refused; invites wait.
    Misconfigured,
    /// Switched off; takes no new invites.
    Disabled,
}

/// A destination that calls wait for.
#[derive(ToSchema)]
#[schema(as = Destination)]
pub(crate) struct DestinationStatusSchema {
    /// Event, tenancy or organization.
    scope: String,
    /// How it is doing, in a word.
    state: LaneStateSchema,
    /// Why.
    reason: Option<String>,
    /// When it is tried again.
    until: Option<Timestamp>,
}

/// What a provider can do.
#[derive(ToSchema)]
#[schema(as = Capabilities)]
pub(crate) struct CapabilitiesSchema {
    /// Creating invites.
    create: CreateCapabilitySchema,
    /// One invite's state can be asked for.
    get: bool,
    /// It lists its invites.
    list: bool,
    /// The statuses that can be set there.
    update_status: Vec<String>,
    /// An invite can be withdrawn there.
    revoke: bool,
    /// How an unknown outcome is settled.
    reconcile: String,
    /// It may want a human approval before an invite exists.
    approval: bool,
}

/// What a provider can do about creating invites.
#[derive(ToSchema)]
#[schema(as = CreateCapability)]
pub(crate) struct CreateCapabilitySchema {
    /// One call takes several invites.
    native_batch: bool,
    /// Invites in one call at most.
    max_batch: u32,
    /// Sending the same bytes twice has one effect.
    idempotent: bool,
    /// The members that it cannot do without, beyond `email`; `a|b` means one of them.
    required_fields: Vec<String>,
    /// The members that reach it; others are stored, not sent.
    fields: Vec<String>,
}

/// A call that did not succeed.
#[derive(ToSchema)]
#[schema(as = LastError)]
pub(crate) struct LastErrorSchema {
    /// When.
    at: Timestamp,
    /// Which operation.
    operation: String,
    /// What is known of its effect.
    #[schema(schema_with = crate::words::outcome_schema)]
    outcome: String,
    /// What went wrong, in one line.
    message: String,
    /// The provider's own code.
    code: Option<String>,
    /// The HTTP status that it answered with.
    http_status: Option<u16>,
}

/// What the gate has to say about a document, and at which place in it.
#[derive(ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingSchema {
    /// Whether the document is refused for it.
    severity: SeveritySchema,
    /// The line, from 1.
    line: usize,
    /// The character within the line, from 1.
    column: usize,
    /// A JSON pointer into the document; a missing member's ends in its name. Empty for what
    /// concerns the whole, such as syntax.
    pointer: String,
    /// A stable word for programs.
    code: String,
    /// One sentence: what is wrong and what to do.
    detail: String,
    /// What was probably meant.
    suggestion: Option<String>,
}

/// Whether a finding keeps a document from going live.
#[derive(ToSchema)]
#[schema(as = Severity)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeveritySchema {
    /// It does.
    Error,
    /// It does not, but is hardly meant.
    Warning,
}

/// What became of a credential that was checked.
#[derive(ToSchema)]
#[schema(as = ProbeResult)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProbeResultSchema {
    /// The provider took it.
    Accepted,
    /// The provider refused it.
    Refused,
    /// The provider took it and refused what it is to be used for, an event that is not there, say.
    Unusable,
    /// The provider did not answer, or not as it should, so that nothing is known of the credential.
    NotChecked,
}

/// A credential check.
#[derive(ToSchema)]
#[schema(as = LastProbe)]
pub(crate) struct LastProbeSchema {
    /// When.
    at: Timestamp,
    /// What became of the credential.
    result: ProbeResultSchema,
    /// What was found.
    detail: String,
    /// By how much the provider's clock is ahead of this machine's, as far as its reply proves it; null
    /// if it does not show its time.
    clock_difference_seconds: Option<f64>,
}

/// How one secret of a credential fared.
#[derive(ToSchema)]
#[schema(as = CredentialUse)]
pub(crate) struct CredentialUseSchema {
    /// How the configuration names it; never its value.
    reference: String,
    /// Calls made with it.
    used: u64,
    /// Calls that the provider refused because of it.
    refused: u64,
}
