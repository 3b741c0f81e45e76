//! For tests: a provider named `acme`, whom it invites, and what RKVST shows.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use invite_core::{
    Clock, Doubt, Invitee, Recipient, Remote,
    canned::{self, Bench, Peer, context},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub const NOW: &str = "2026-11-21T10:00:00Z";
pub const EMAIL: &str = "Ada@example.org";
pub const INVITES: &str = "/archivist/iam/v1/invites";

/// A provider with these settings and secrets, at a fixed time.
pub fn bench(base_url: &str, mut settings: Value, secrets: &[&str]) -> Bench {
    settings["base_url"] = json!(base_url);
    Bench::build(crate::build, "acme", &settings, secrets, at(NOW)).unwrap()
}

pub fn with_token(peer: &Peer) -> Bench {
    bench(&peer.url, json!({"bearer_token": "t"}), &["token-1"])
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn invitee(message: Option<&str>) -> Invitee {
    let message = message.map(str::to_owned);
    Invitee { email: EMAIL.into(), message, ..Invitee::default() }
}

pub fn recipient(bench: &Bench, message: Option<&str>) -> Recipient {
    bench.recipient(invitee(message))
}

pub fn remote(bench: &Bench) -> Remote {
    let data = json!({"identity": "invites/1"});
    let invite = canned::remote(recipient(bench, None), Some("invites/1"), data);
    Remote { expires_at: Some(at("2026-12-01T10:00:00Z")), ..invite }
}

/// A call begun now, whose outcome is unknown.
pub async fn doubt(bench: &Bench, recipient: &Recipient) -> Doubt {
    let recipients = vec![recipient.clone()];
    let now = bench.clock.now();
    let call = bench.prepare(&context(), &recipients, now).await.unwrap();
    let (first_attempts, absence_counts) = (vec![now], vec![true]);
    Doubt { call, recipients, first_attempts, absence_counts, started_at: now, data: Map::new() }
}

pub fn invite(id: &str, email: &str, message: &str) -> Value {
    json!({
        "identity": format!("invites/{id}"), "email": email, "message": message,
        "expiry_time": "2026-12-01T10:00:00Z",
    })
}

/// A JWT of a tenancy, good for nothing else.
pub fn jwt(tenancy: &str, serial: usize) -> String {
    let claims = json!({"jit_tenant_id": tenancy, "jti": serial.to_string()}).to_string();
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
}
