//! The body of a request to a webhook.

use invite_core::EventId;
use invite_store::{Event, Told, Webhook};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Gateway, auth::Caller, views::events::EventView};

/// An event as the webhook gets it: it shows what a key of its tenant with the scope invites:read does.
pub(crate) fn of_event(gateway: &Gateway, webhook: &Webhook, event: Event) -> Vec<u8> {
    if webhook.is_thin {
        return thin(&event).to_string().into_bytes();
    }
    let reader = Caller::reader(&webhook.tenant);
    serde_json::to_vec(&EventView::new(event, gateway, &reader)).unwrap_or_default()
}

/// What a test holds.
pub(crate) fn test(event: EventId, now: Timestamp) -> Vec<u8> {
    let body = json!({ "id": event, "type": "webhook.test", "timestamp": now, "subject": "test", "data": {} });
    body.to_string().into_bytes()
}

fn thin(event: &Event) -> Value {
    let data = match &event.told {
        Told::Invite(invite) => json!({
            "invite_id": invite.id, "batch_id": invite.batch_id, "status": invite.state.status(),
            "previous": event.previous,
        }),
        Told::Gone => json!({ "invite_id": event.subject, "previous": event.previous }),
        Told::Other(_) => json!({}),
    };
    json!({
        "id": event.id, "type": event.event_type, "timestamp": event.at, "subject": event.subject, "data": data,
    })
}
