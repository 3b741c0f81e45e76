//! What the gateway answers. Members that have no name here are in `more`, so that a later version of the gateway may have
//! others; what they mean is in the OpenAPI document.

use std::collections::BTreeMap;

use invite_core::{BatchId, InviteId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An invite. Words, such as a status, are texts, because a later version may have others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Invite {
    pub id: InviteId,
    pub status: String,
    /// How the status is known.
    pub status_source: String,
    /// `None`: it was refused before it was bound to one.
    pub provider: Option<String>,
    /// `None`: its person was erased.
    pub email: Option<String>,
    pub external_id: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its id at the provider.
    pub provider_ref: Option<String>,
    /// Why it failed, or is in doubt; a problem.
    pub error: Option<Value>,
    /// `None` here and in others: the key may not read invites, and this one was there before.
    pub created_at: Option<Timestamp>,
    /// When it last read otherwise.
    pub updated_at: Option<Timestamp>,
    #[expect(missing_docs, reason = "the module says all")]
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The invites of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Batch {
    pub id: BatchId,
    /// `in_progress`, `completed` or `completed_with_failures`.
    pub state: String,
    /// How many there are, by status.
    pub counts: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Created {
    pub batch: Batch,
    /// In the order of the request. One that has `duplicate` in its `more` was there before.
    pub invites: Vec<Invite>,
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Event {
    /// Orders events, as a text.
    pub id: String,
    /// Such as `invite.accepted`.
    #[serde(rename = "type")]
    pub event_type: String,
    pub timestamp: Timestamp,
    /// The id of the invite or the batch, or the name of what else it tells of.
    pub subject: String,
    pub data: EventData,
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct EventData {
    /// As it then was; `None` where the event is about something else, or the invite is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<Invite>,
    /// The status before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
