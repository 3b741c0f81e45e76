//! For tests: the people whom they invite, and what Securegate shows of them.

use invite_core::{Destination, InviteId, Invitee, Recipient, canned::Peer};
use serde_json::{Value, json};

/// The time that the peer's replies show.
const DATE: &str = "date: Sat, 21 Nov 2026 10:00:00 GMT\r\n";

/// A peer with these replies, status and body.
pub fn replying(replies: Vec<(u16, Value)>) -> Peer {
    Peer::replying(DATE, replies)
}

/// The requests so far: request line, the key in brackets, the body.
pub fn requests(peer: &Peer) -> Vec<String> {
    let asked = peer.asked().into_iter().map(|asked| {
        let key = asked.header("x-api-key").unwrap_or_default();
        format!("{} [{key}] {}", asked.line, asked.body).trim_end().to_owned()
    });
    asked.collect()
}

/// A recipient at `base_url` in event-456.
pub fn recipient(base_url: &str, email: &str, first_name: &str) -> Recipient {
    Recipient {
        id: InviteId::generate(),
        invitee: Invitee {
            email: email.into(),
            first_name: Some(first_name.into()),
            last_name: Some("Lovelace".into()),
            phone: Some("+15551234567".into()),
            message: None,
        },
        address: email.parse().unwrap(),
        destination: destination(base_url),
        params: json!({"authentication_method": "QR Code"}),
    }
}

/// event-456 at `base_url`.
pub fn destination(base_url: &str) -> Destination {
    let (kind, scope) = ("securegate".into(), "event-456".into());
    Destination { kind, base_url: base_url.into(), scope }
}

/// What Securegate shows of such an invite.
pub fn shown(id: &str, email: &str, first_name: &str, created_at: &str) -> Value {
    json!({
        "id": id, "first_name": first_name, "last_name": "Lovelace", "email": email,
        "country_code": "1", "mobile_number": "5551234567",
        "authentication_method": "QR Code", "event_id": "event-456",
        "session_code": "ABC123", "session_id": "session-789", "image": null,
        "status": "pending", "created_at": created_at, "updated_at": created_at,
    })
}
