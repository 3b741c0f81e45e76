//! What the API shows of events.

use std::{borrow::Cow, collections::BTreeMap};

use invite_core::{EventId, EventType, Status, StatusSource};
use invite_delivery::LaneState;
use invite_store::{Event, Told};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::InviteView;
use crate::{Gateway, auth::Caller};

/// Something that happened. It is the same in the feed, in a stream and in a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{D}Event")]
pub(crate) struct EventView<D = EventData> {
    /// Orders events: a later one has a higher id, as a text. It never changes and is never used again.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    #[schemars(schema_with = "types_of::<D>")]
    pub event_type: EventType,
    /// When, by the gateway's clock. The `id` is what orders events.
    timestamp: Timestamp,
    /// The id of the Invite, the batch or the webhook, the name of the provider, or the number of the revision.
    subject: String,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// What there is to tell.
    data: D,
}

/// What an event tells, as it is written.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum EventData {
    Invite(Box<InviteChanged>),
    /// What was stored with the event: one of the other types of [`AnyEvent`].
    Other(Value),
}

/// Something that happened. Its `type` says of which form it is.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Event", transform = tell_apart)]
#[expect(dead_code, reason = "describes events")]
enum AnyEvent {
    Invite(Box<EventView<InviteChanged>>),
    Batch(EventView<BatchCompleted>),
    Provider(EventView<ProviderStateChanged>),
    Config(EventView<ConfigRevised>),
    Webhook(EventView<WebhookDisabled>),
}

/// A change of an invite.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InviteChanged {
    /// The Invite with the status and all else that changes as it then was. Null if it was removed since or cannot be read.
    invite: Option<InviteView>,
    /// Its status before; null for one that was just accepted.
    previous: Option<Status>,
    /// How its status was known.
    status_source: Option<StatusSource>,
}

/// What became of a batch.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes events")]
struct BatchCompleted {
    /// Its invites by status.
    counts: BTreeMap<Status, u64>,
}

/// A change of how a provider is doing.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes events")]
struct ProviderStateChanged {
    /// Its state since.
    state: LaneState,
    /// Why.
    reason: Option<String>,
    /// Until when nothing is sent to it, if that is known.
    until: Option<Timestamp>,
}

/// A document that went live.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes events")]
struct ConfigRevised {
    /// The number of the new revision.
    revision: i64,
    /// By which way it came.
    source: String,
    /// Who put it there.
    actor: String,
    /// The revision that it restores; null if it is no restoration.
    restored: Option<i64>,
}

/// The end of a webhook, until somebody enables it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes events")]
struct WebhookDisabled {
    /// Why.
    reason: String,
    /// Whose webhook it is.
    tenant: String,
}

/// The name of the form that an event of this type has.
const fn form_of(event_type: EventType) -> &'static str {
    match event_type {
        EventType::BatchCompleted => "BatchCompletedEvent",
        EventType::ProviderStateChanged => "ProviderStateChangedEvent",
        EventType::ConfigRevised => "ConfigRevisedEvent",
        EventType::WebhookDisabled => "WebhookDisabledEvent",
        _ => "InviteChangedEvent",
    }
}

/// The types of the form that tells this.
fn types_of<D: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let form = format!("{}Event", D::schema_name());
    let types = EventType::ALL.iter().filter(|event_type| form_of(**event_type) == form);
    match &types.collect::<Vec<_>>()[..] {
        [only] => json_schema!({ "type": "string", "const": only }),
        _ => generator.subschema_for::<InviteEventType>(),
    }
}

/// The types of what is told of an invite.
struct InviteEventType;

impl JsonSchema for InviteEventType {
    fn schema_name() -> Cow<'static, str> {
        "InviteEventType".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = EventType::json_schema(generator);
        if let Some(words) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
            words.retain(|form| {
                form["const"].as_str().is_some_and(|word| word.starts_with("invite."))
            });
        }
        schema
    }
}

/// Says by which member one form is told from another, so that clients need not try them.
fn tell_apart(schema: &mut Schema) {
    if let Some(forms) = schema.remove("anyOf") {
        schema.insert("oneOf".to_owned(), forms);
    }
    let place = |event_type: &EventType| {
        let place = format!("#/components/schemas/{}", form_of(*event_type));
        (event_type.to_string(), Value::from(place))
    };
    let mapping: Map<String, Value> = EventType::ALL.iter().map(place).collect();
    let discriminator = json!({ "propertyName": "type", "mapping": mapping });
    schema.insert("discriminator".to_owned(), discriminator);
}

impl EventView {
    pub fn new(event: Event, gateway: &Gateway, caller: &Caller) -> Self {
        let Event { id, event_type, at, tenant, subject, previous, told } = event;
        let data = match told {
            Told::Other(data) => EventData::Other(data),
            Told::Gone => EventData::Invite(Box::new(InviteChanged {
                invite: None,
                previous,
                status_source: None,
            })),
            Told::Invite(invite) => EventData::Invite(Box::new(InviteChanged {
                previous,
                status_source: Some(invite.state.source),
                invite: Some(InviteView::at(*invite, at, gateway, caller)),
            })),
        };
        let tenant = tenant.filter(|_| caller.sees_all_tenants());
        Self { id, event_type, timestamp: at, subject, tenant, data }
    }
}

/// Events.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EventList {
    /// Oldest first.
    #[schemars(with = "Vec<AnyEvent>")]
    pub events: Vec<EventView>,
    /// The `after` with which to go on, also if there are none.
    pub next_after: EventId,
    /// There are more, or there may be: ask again at once. Otherwise wait (`Prefer: wait=60`).
    pub has_more: bool,
}
