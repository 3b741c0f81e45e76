//! What the API shows of events.

use invite_core::{EventId, EventType, Status, StatusSource};
use invite_store::{Event, Told};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::InviteView;
use crate::{Gateway, auth::Caller};

/// Something that happened. It is the same in the feed, in a stream and in a webhook.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventView {
    /// Orders events: a later one has a higher id, as a text. It never changes and is never used again.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When, by the gateway's clock. The `id` is what orders events.
    timestamp: Timestamp,
    /// The id of the Invite or of the batch, or the name of what else it tells of.
    subject: String,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    data: EventData,
}

/// What there is to tell.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum EventData {
    /// Of an invite.
    Invite(Box<InviteEvent>),
    /// Of a batch: `counts` by status. Of a provider: `state`, `reason` and `until`. Of a revision: `revision`,
    /// `source`, `actor`, `restored`. Of a webhook: why it was disabled.
    Other(Value),
}

/// A change of an invite.
#[derive(Serialize, JsonSchema)]
struct InviteEvent {
    /// The Invite with the status and all else that changes as it then was. Null if it was removed since or cannot be read.
    invite: Option<InviteView>,
    /// Its status before; null for one that was just accepted.
    previous: Option<Status>,
    /// How its status was known.
    status_source: Option<StatusSource>,
}

impl EventView {
    pub fn new(event: Event, gateway: &Gateway, caller: &Caller) -> Self {
        let Event { id, event_type, at, tenant, subject, previous, told } = event;
        let data = match told {
            Told::Other(data) => EventData::Other(data),
            Told::Gone => EventData::Invite(Box::new(InviteEvent {
                invite: None,
                previous,
                status_source: None,
            })),
            Told::Invite(invite) => EventData::Invite(Box::new(InviteEvent {
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
    pub events: Vec<EventView>,
    /// The `after` with which to go on, also if there are none.
    pub next_after: EventId,
    /// There are more, or there may be: ask again at once. Otherwise wait (`Prefer: wait=60`).
    pub has_more: bool,
}
