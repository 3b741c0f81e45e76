//! What the API shows of the record of changes.

use invite_core::AuditId;
use invite_store::{AuditEntry, Unreadable};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// A change that an administrator made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct AuditEntryView {
    /// Its id; a later entry has a higher one.
    id: AuditId,
    /// Its place in the record, from 1 on.
    #[schemars(range(min = 1))]
    sequence: i64,
    /// SHA-256 over the entry and the hash of the one before it.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    hash: String,
    /// When.
    at: Timestamp,
    /// Who: an API key's id with its name, or what else it was.
    #[schemars(example = "key_0199c0de0000700080000000000000aa (HR)")]
    actor: String,
    /// By which way: `api`, `restore`, `file`, `cli`, or `gateway` for what it did by itself.
    source: String,
    /// What, such as `config.revise`, `config.refuse`, `provider.probe`, `key.create`, `invite.revoke` or
    /// `invite.read_raw`.
    action: String,
    /// To what: the number of a revision (of a document that was refused or checked: of the live one), the name of a
    /// provider, the id of a key or an invite, the filters of a list, the keyed hash of a person's address.
    target: String,
    /// What there was; references to secrets, never their values.
    #[schemars(with = "Option<Map<String, Value>>")]
    before: Option<Value>,
    /// What there is since.
    #[schemars(with = "Option<Map<String, Value>>")]
    after: Option<Value>,
    /// Why, as given.
    note: Option<String>,
}

/// Changes that administrators made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditEntryView>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

impl AuditEntryView {
    /// The entry as recorded.
    pub fn new(entry: AuditEntry) -> Self {
        let AuditEntry { id, sequence, hash, at, change } = entry;
        Self {
            id,
            sequence,
            hash,
            at,
            actor: change.actor.name,
            source: change.actor.source,
            action: change.action,
            target: change.target,
            before: change.before,
            after: change.after,
            note: change.note,
        }
    }
}
