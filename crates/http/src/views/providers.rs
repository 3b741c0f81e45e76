//! What the API shows of providers, their kinds, and what they list.

use std::time::Duration;

use invite_config::{Configuration, Provider};
use invite_core::{
    Capabilities, Limits, Observed, ProviderKind, Reason, Status, StatusSource, text,
};
use invite_delivery::{ConfigurationStatus, ProviderStatus};
use invite_store::Replica;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::problem::ProblemView;

/// A configured provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
pub(crate) struct ProviderView {
    /// Its name in the configuration.
    name: String,
    /// Its kind.
    kind: String,
    #[serde(flatten)]
    status: ProviderStatus,
    /// What it can do, as configured.
    capabilities: Capabilities,
    /// What protects it and the gateway from each other.
    limits: LimitsView,
    /// Live invites, and how many there may be.
    quota: QuotaView,
    /// The revision of the provider document that this replica serves.
    config_revision: i64,
    /// The replicas of this gateway, and the revision that each serves.
    replicas: Vec<Replica>,
}

/// The limits of a provider; durations have units, as in its configuration.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limits")]
struct LimitsView {
    /// One attempt, all of it.
    #[schemars(example = "20s")]
    timeout: String,
    /// Calls under way at once.
    max_in_flight: u32,
    /// Requests started per second.
    requests_per_second: f64,
    /// Invites in one call.
    max_batch: u32,
    /// How long a first invite waits for company.
    linger: String,
    /// Queued invites beyond which new ones are turned away.
    max_backlog: u64,
    /// Queued invites of one tenant beyond which its new ones are turned away.
    max_backlog_per_tenant: u64,
    /// When a call is made again.
    retry: RetryView,
}

/// When a call is made again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retry")]
struct RetryView {
    /// The first wait.
    first: String,
    /// The longest wait.
    max: String,
    /// The longest wait that is taken on the provider's word.
    max_retry_after: String,
    /// Calls that were unknown and then found absent, beyond which an invite fails.
    max_attempts: u32,
    /// The age at which an invite that could not be sent fails.
    give_up_after: String,
}

/// Live invites at a provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Quota")]
struct QuotaView {
    /// How many there may be, if an administrator limited them.
    limit: Option<u64>,
    /// How many there are, by our count.
    live: u64,
}

/// The configured providers.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ProviderList {
    /// In the order of the configuration.
    pub providers: Vec<ProviderView>,
    /// Which document is in force, and what was in the way of others.
    pub configuration: ConfigurationStatus,
}

/// A kind of provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProviderKind")]
pub(crate) struct KindView {
    /// The word for it.
    kind: &'static str,
    /// What its providers can do unless configured otherwise.
    capabilities: Capabilities,
    /// JSON Schema of its part of the configuration.
    #[schemars(with = "Map<String, Value>")]
    config_schema: Value,
    /// JSON Schema of `options.<kind>`.
    #[schemars(with = "Map<String, Value>")]
    options_schema: Value,
}

/// The kinds of providers.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KindList {
    /// All that this gateway knows.
    pub kinds: Vec<KindView>,
}

/// An invite as a provider lists it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RemoteInvite")]
pub(crate) struct RemoteInviteView {
    /// The provider's own id for it.
    provider_ref: Option<String>,
    /// Where it stands, normalized.
    status: Status,
    /// How that is known.
    status_source: StatusSource,
    /// The provider's own word for its status.
    provider_status: Option<String>,
    /// What callers need of the provider's reply, in the provider's own names.
    provider_data: Map<String, Value>,
    /// When it lapses.
    expires_at: Option<Timestamp>,
    /// When it was made.
    created_at: Option<Timestamp>,
    /// The address.
    email: Option<String>,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// Phone number.
    phone: Option<String>,
    /// The text for the mail.
    message: Option<String>,
    /// Why it failed.
    error: Option<ProblemView>,
}

/// A page of what a provider lists.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RemoteInviteList {
    /// The invites.
    pub invites: Vec<RemoteInviteView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

impl ProviderView {
    pub fn new(
        configuration: &Configuration,
        provider: &Provider,
        status: ProviderStatus,
        replicas: &[Replica],
    ) -> Self {
        Self {
            name: provider.name.clone(),
            kind: provider.kind.name.to_owned(),
            capabilities: provider.adapter.capabilities().clone(),
            limits: LimitsView::new(&provider.limits),
            quota: QuotaView { limit: provider.limits.quota, live: status.live },
            status,
            config_revision: configuration.revision(),
            replicas: replicas.to_vec(),
        }
    }
}

impl KindView {
    pub fn new(kind: &ProviderKind) -> Self {
        Self {
            kind: kind.name,
            capabilities: kind.capabilities.clone(),
            config_schema: kind.config_schema.clone(),
            options_schema: kind.options_schema.clone(),
        }
    }
}

impl LimitsView {
    fn new(limits: &Limits) -> Self {
        let Limits { retry, .. } = limits;
        let duration = |duration: Duration| humantime::format_duration(duration).to_string();
        Self {
            timeout: duration(limits.timeout),
            max_in_flight: limits.max_in_flight,
            requests_per_second: limits.requests_per_second,
            max_batch: limits.max_batch,
            linger: duration(limits.linger),
            max_backlog: limits.max_backlog,
            max_backlog_per_tenant: limits.max_backlog_per_tenant,
            retry: RetryView {
                first: duration(retry.first),
                max: duration(retry.max),
                max_retry_after: duration(retry.max_retry_after),
                max_attempts: retry.max_attempts,
                give_up_after: duration(retry.give_up_after),
            },
        }
    }
}

impl RemoteInviteView {
    pub fn new(seen: Observed) -> Self {
        let invitee = seen.invitee.unwrap_or_default();
        let plain = |text: Option<String>| text.map(text::plain);
        let data = seen.data.iter().filter(|(_, value)| !value.is_null());
        Self {
            provider_ref: plain(seen.provider_ref),
            status: seen.status,
            status_source: seen.source,
            provider_status: plain(seen.provider_status),
            provider_data: data.map(|(name, it)| (name.clone(), text::plain_json(it))).collect(),
            expires_at: seen.expires_at,
            created_at: seen.created_at,
            email: plain(Some(invitee.email).filter(|email| !email.is_empty())),
            first_name: plain(invitee.first_name),
            last_name: plain(invitee.last_name),
            phone: plain(invitee.phone),
            message: invitee
                .message
                .map(|it| it.lines().map(text::plain).collect::<Vec<_>>().join("\n")),
            error: seen.failure.map(|error| Reason::of(None, &error).into()),
        }
    }
}
