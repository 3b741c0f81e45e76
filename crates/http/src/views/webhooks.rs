//! What the API shows of webhooks.

use std::collections::BTreeMap;

use invite_core::{EventId, EventType, WebhookId};
use invite_store::{Webhook, WebhookAttempt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::submission::Labels;

/// What a request to a webhook holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebhookPayload {
    /// The Event as the feed shows it.
    #[default]
    Full,
    /// Ids and statuses only.
    Thin,
}

/// Where events are sent to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
pub(crate) struct WebhookView {
    id: WebhookId,
    /// Whose events it gets.
    tenant: String,
    /// Where they are sent to.
    url: String,
    /// What it is for.
    description: Option<String>,
    /// Events of these types only; empty: of all.
    types: Vec<EventType>,
    /// Events of invites at these providers only; empty: at all.
    providers: Vec<String>,
    /// Events of invites with all of these labels only.
    #[schemars(with = "Labels")]
    labels: BTreeMap<String, String>,
    payload: WebhookPayload,
    /// Whether anything is sent to it.
    enabled: bool,
    /// Why not.
    disabled_because: Option<String>,
    /// Since when it has taken nothing of what was sent to it; null if it took the last.
    failing_since: Option<Timestamp>,
    /// When the last of the secrets before the present one signs no more; null if none does.
    old_secret_until: Option<Timestamp>,
    /// What requests are signed with (`whsec_…`); only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    created_at: Timestamp,
}

/// What a secret of a webhook begins with.
const SECRET: &str = "whsec_";

impl WebhookView {
    /// The webhook as it is at `now`; its secret only if that was just made.
    pub fn new(webhook: Webhook, shows_secret: bool, now: Timestamp) -> Self {
        let old = webhook.secrets.iter().filter_map(|old| old.until).max();
        let old = old.filter(|until| *until > now);
        let secret = webhook.secrets.first().filter(|_| shows_secret);
        Self {
            id: webhook.id,
            tenant: webhook.tenant,
            url: webhook.url,
            description: webhook.description,
            types: webhook.types,
            providers: webhook.providers,
            labels: webhook.labels.into_iter().collect(),
            payload: if webhook.is_thin { WebhookPayload::Thin } else { WebhookPayload::Full },
            enabled: webhook.disabled_because.is_none(),
            disabled_because: webhook.disabled_because,
            failing_since: webhook.failing_since,
            old_secret_until: old,
            secret: secret.map(|secret| format!("{SECRET}{}", secret.key)),
            created_at: webhook.created_at,
        }
    }
}

/// Webhooks.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WebhookList {
    /// Oldest first.
    pub webhooks: Vec<WebhookView>,
}

/// One attempt to deliver an event to a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookAttempt")]
pub(crate) struct WebhookAttemptView {
    /// The event, whose id is the request's `webhook-id`.
    event_id: EventId,
    /// Which attempt it was for this event, from 1 on.
    #[schemars(range(min = 1))]
    number: u32,
    /// When it began.
    at: Timestamp,
    /// How long it took.
    duration_ms: u64,
    /// Whether the endpoint took it: it answered with 2xx.
    delivered: bool,
    /// What it answered; null if nothing.
    http_status: Option<u16>,
    /// What went wrong.
    failure: Option<String>,
    /// The first kilobyte of what it answered.
    reply: Option<String>,
}

impl From<WebhookAttempt> for WebhookAttemptView {
    fn from(attempt: WebhookAttempt) -> Self {
        Self {
            event_id: attempt.event,
            number: attempt.number,
            at: attempt.at,
            duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            delivered: attempt.failure.is_none(),
            http_status: attempt.http_status,
            failure: attempt.failure,
            reply: attempt.reply,
        }
    }
}

/// Attempts to deliver events to a webhook.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WebhookAttemptList {
    /// Those of the newest event first.
    pub attempts: Vec<WebhookAttemptView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

/// What is sent again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Recovered {
    /// How many events.
    pub events: u64,
}
