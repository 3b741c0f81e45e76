//! What the API shows of API keys: never a hash, and the secret once.

use invite_core::KeyId;
use invite_store::{ApiKey, Unreadable};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::keys::key_state;

/// An API key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct KeyView {
    /// Its id.
    id: KeyId,
    /// The secret; only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What it is for.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// Whose invites it sees.
    tenant: String,
    /// The providers that it may use; null: all.
    providers: Option<Vec<String>>,
    /// How many requests it may make; null: no limit.
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; null: no limit.
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; null: no limit.
    invites_per_day: Option<u64>,
    /// Whether it is good.
    #[schemars(extend("enum" = ["active", "expired", "revoked"]))]
    state: &'static str,
    /// When it was made.
    created_at: Timestamp,
    /// When it lapses; null: never.
    expires_at: Option<Timestamp>,
    /// When it was revoked.
    revoked_at: Option<Timestamp>,
    /// When it was last used, some seconds late.
    last_used_at: Option<Timestamp>,
    /// The key that it was made with, and is revoked with; null: it was made on the gateway's machine.
    parent: Option<KeyId>,
}

/// API keys.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyList {
    /// Newest first, among them revoked and expired ones.
    pub keys: Vec<KeyView>,
    /// Those that cannot be read, and are refused; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

impl KeyView {
    /// The key as it stands at `now`.
    pub fn new(key: ApiKey, now: Timestamp) -> Self {
        let state = key_state(&key, now);
        Self {
            id: key.id,
            key: None,
            name: key.name,
            scopes: key.scopes,
            tenant: key.tenant,
            providers: key.providers,
            requests_per_second: key.limits.requests_per_second,
            invites_per_second: key.limits.invites_per_second,
            invites_per_day: key.limits.invites_per_day,
            state,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            parent: key.parent,
        }
    }

    /// The same with its secret, for who made it.
    pub fn with_secret(self, secret: String) -> Self {
        Self { key: Some(secret), ..self }
    }
}
