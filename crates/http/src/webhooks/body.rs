//! What a caller says of a webhook.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use invite_core::{
    EventId, EventType, Fault, Faults, WebhookId, pattern, random, schema::Schema, text::check_word,
};
use invite_store::{SigningSecret, Webhook};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Gateway, auth::Caller, body::read_members, problem::Problem, submission::Labels,
    views::webhooks::WebhookPayload,
};

/// What says in the place of a reason that somebody disabled it.
const BY_HAND: &str = "somebody disabled it";
const MAX_URL: usize = 2_000;
const MAX_DESCRIPTION: usize = 200;
/// How long both secrets sign unless it is said otherwise, and at most.
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A webhook to make.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where events are sent to: https, with a host that is not private, unless the gateway's settings list it.
    #[schemars(
        required,
        length(min = 1, max = 2000),
        example = "https://hr.example.com/hooks/invites"
    )]
    url: Option<String>,
    /// What it is for.
    #[schemars(length(min = 1, max = 200), transform = pattern::word)]
    description: Option<String>,
    /// Events of these types only, of invites and batches; absent: of all.
    types: Option<Vec<EventType>>,
    /// Events of invites at these providers only; absent: at all that the key may use.
    providers: Option<Vec<String>>,
    /// Events of invites with all of these labels only.
    #[schemars(with = "Option<Labels>")]
    labels: Option<BTreeMap<String, String>>,
    /// What a request holds; absent: `full`.
    payload: Option<WebhookPayload>,
}

/// A change of a webhook: what is absent stays as it is.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookChange {
    /// Where events are sent to.
    #[schemars(length(min = 1, max = 2000), example = "https://hr.example.com/hooks/invites")]
    url: Option<String>,
    /// What it is for.
    #[schemars(length(min = 1, max = 200), transform = pattern::word)]
    description: Option<String>,
    /// Events of these types only; empty: of all.
    types: Option<Vec<EventType>>,
    /// Events of invites at these providers only; empty: at all.
    providers: Option<Vec<String>>,
    /// Events of invites with all of these labels only.
    #[schemars(with = "Option<Labels>")]
    labels: Option<BTreeMap<String, String>>,
    /// What a request holds.
    payload: Option<WebhookPayload>,
    /// Whether anything is sent to it.
    enabled: Option<bool>,
}

/// How a secret is replaced.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how long the old secret signs, too: `0s` to `30d`; absent: `24h`.
    #[schemars(pattern("^[0-9]+ ?(ms|s|m|min|h|d)$"), example = "24h")]
    overlap: Option<String>,
}

/// What is sent again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resend {
    /// The event.
    #[schemars(required)]
    event_id: Option<EventId>,
}

static NEW_WEBHOOK: LazyLock<Schema> = LazyLock::new(Schema::of::<NewWebhook>);
static WEBHOOK_CHANGE: LazyLock<Schema> = LazyLock::new(Schema::of::<WebhookChange>);
static ROTATION: LazyLock<Schema> = LazyLock::new(Schema::of::<Rotation>);
static RESEND: LazyLock<Schema> = LazyLock::new(Schema::of::<Resend>);

/// The key of a new secret, in base64: 32 random bytes.
pub(crate) fn new_secret() -> String {
    BASE64_STANDARD.encode(random::bytes::<32>())
}

/// A webhook to make, enabled, from the first event on.
pub(crate) fn read_new(
    body: Value,
    gateway: &Gateway,
    caller: &Caller,
    now: Timestamp,
    mut faults: Faults,
) -> Result<Webhook, Problem> {
    let new: NewWebhook = read_members(body, &NEW_WEBHOOK, &mut faults);
    let mut webhook = Webhook {
        id: WebhookId::generate(),
        tenant: caller.tenant().to_owned(),
        url: String::new(),
        description: None,
        types: Vec::new(),
        providers: Vec::new(),
        labels: Vec::new(),
        is_thin: false,
        secrets: vec![SigningSecret { key: new_secret(), until: None }],
        disabled_because: None,
        failing_since: None,
        read_up_to: EventId::START,
        created_at: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
    };
    let allowed = || caller.providers().map(<[String]>::to_vec);
    let change = WebhookChange {
        url: new.url,
        description: new.description,
        types: new.types,
        providers: new.providers.filter(|names| !names.is_empty()).or_else(allowed),
        labels: new.labels,
        payload: new.payload,
        enabled: None,
    };
    check(&change, gateway, caller, &mut faults);
    finish(faults)?;
    change.apply(&mut webhook);
    Ok(webhook)
}

pub(crate) fn read_change(
    body: Value,
    gateway: &Gateway,
    caller: &Caller,
    mut faults: Faults,
) -> Result<WebhookChange, Problem> {
    let change: WebhookChange = read_members(body, &WEBHOOK_CHANGE, &mut faults);
    check(&change, gateway, caller, &mut faults);
    finish(faults)?;
    Ok(change)
}

/// For how long the old secret signs, too.
pub(crate) fn read_rotation(body: Option<Value>, mut faults: Faults) -> Result<Duration, Problem> {
    let body = body.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let rotation: Rotation = read_members(body, &ROTATION, &mut faults);
    let overlap = match rotation.overlap.as_deref().map(humantime::parse_duration) {
        None => OVERLAP,
        Some(Ok(overlap)) if overlap <= LONGEST_OVERLAP => overlap,
        Some(_) => {
            let detail = "expected a time from 0s to 30d, such as 24h";
            faults.push(Fault::new("#/overlap", "invalid", detail));
            OVERLAP
        }
    };
    finish(faults)?;
    Ok(overlap)
}

pub(crate) fn read_resend(body: Value, mut faults: Faults) -> Result<EventId, Problem> {
    let resend: Resend = read_members(body, &RESEND, &mut faults);
    finish(faults)?;
    // A body without it has a fault.
    Ok(resend.event_id.unwrap_or(EventId::START))
}

fn finish(faults: Faults) -> Result<(), Problem> {
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults.into_vec())) }
}

fn check(change: &WebhookChange, gateway: &Gateway, caller: &Caller, faults: &mut Faults) {
    if let Some(url) = &change.url {
        let found = match url.len() > MAX_URL {
            true => Err(Fault::new("", "too-long", format!("at most {MAX_URL} bytes"))),
            false => gateway.engine.check_webhook_url(url),
        };
        faults.extend(found.err().map(|fault| fault.under("#/url")));
    }
    if let Some(text) = &change.description
        && let Err((code, detail)) = check_word(text, MAX_DESCRIPTION)
    {
        faults.push(Fault::new("#/description", code, detail));
    }
    let is_of_gateway = |of: &EventType| !of.is_of_invite() && *of != EventType::BatchCompleted;
    for (place, event_type) in change.types.iter().flatten().enumerate() {
        if is_of_gateway(event_type) {
            let detail = format!(
                "{event_type} is no event of a tenant; GET /v1/events shows it to administrators"
            );
            faults.push(Fault::new(format!("#/types/{place}"), "not-allowed", detail));
        }
    }
    let configuration = gateway.live().current();
    for (place, name) in change.providers.iter().flatten().enumerate() {
        let pointer = format!("#/providers/{place}");
        if configuration.provider(name).is_none() {
            faults.push(Fault::new(pointer, "unknown", "there is no such provider"));
        } else if !caller.may_use(name) {
            faults.push(Fault::new(pointer, "not-allowed", "this key may not use this provider"));
        }
    }
    if caller.providers().is_some() && change.providers.as_ref().is_some_and(Vec::is_empty) {
        let detail = "this key is limited to some providers, so name some of them";
        faults.push(Fault::new("#/providers", "not-allowed", detail));
    }
}

fn without_repeats<T: Clone + PartialEq>(given: &[T]) -> Vec<T> {
    let mut kept = Vec::new();
    for one in given {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    kept
}

impl WebhookChange {
    pub fn apply(&self, webhook: &mut Webhook) {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if self.description.is_some() {
            webhook.description.clone_from(&self.description);
        }
        if let Some(types) = &self.types {
            webhook.types = without_repeats(types);
        }
        if let Some(providers) = &self.providers {
            webhook.providers = without_repeats(providers);
        }
        if let Some(labels) = &self.labels {
            webhook.labels = labels.clone().into_iter().collect();
        }
        if let Some(payload) = self.payload {
            webhook.is_thin = payload == WebhookPayload::Thin;
        }
        match self.enabled {
            Some(true) => (webhook.disabled_because, webhook.failing_since) = (None, None),
            Some(false) if webhook.disabled_because.is_none() => {
                webhook.disabled_because = Some(BY_HAND.to_owned());
            }
            _ => {}
        }
    }
}
