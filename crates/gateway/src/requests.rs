//! What callers send, as the OpenAPI document describes it. What is enforced stands in
//! `submission`, `changes` and `admin`, which find all faults at once where a derived reader stops at the
//! first; a test compares the two.

use std::collections::BTreeMap;

use invite_core::text::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::auth::Scope;
use crate::submission::{MAX_EXTERNAL_ID, MAX_MESSAGE, MAX_NAME, MAX_TARGETS};

const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f]*$";
const WORD: &str = r"^[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])?$";
const NO_CONTROLS_BUT_LINES: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$";

/// Invites to create.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `submission` reads")]
pub(crate) struct NewInvites {
    /// Where they go that do not say so themselves; absent: the routing rules decide.
    to: Option<Targets>,
    /// The invites.
    #[schemars(length(min = 1, max = 1000))]
    invites: Vec<NewInviteSchema>,
    /// What to do about a person who already has a live invite at the same place: answer with that
    /// (`return_existing`, the default), fail the item (`reject`), or send another (`send`).
    on_duplicate: Option<OnDuplicate>,
}

/// Names of providers and routes. An invite's own wins over the request's; without any the routing rules
/// decide. Each destination is taken once.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Targets")]
#[expect(dead_code, reason = "describes what `submission` reads")]
enum Targets {
    /// The name of a provider or a route.
    One(String),
    /// Several of them.
    Several(#[schemars(length(min = 1, max = MAX_TARGETS))] Vec<String>),
}

/// What to do about a person who already has a live invite at the same place.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `submission` reads")]
enum OnDuplicate {
    /// Answer with that.
    ReturnExisting,
    /// Fail the item.
    Reject,
    /// Send another.
    Send,
}

/// One invite to create.
#[derive(JsonSchema)]
#[schemars(rename = "NewInvite")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `submission` reads")]
pub(crate) struct NewInviteSchema {
    /// The address.
    #[schemars(length(max = 254), email, example = "ada@example.org")]
    email: String,
    /// Given name.
    #[schemars(length(max = MAX_NAME), regex(pattern = NO_CONTROLS))]
    first_name: Option<String>,
    /// Family name.
    #[schemars(length(max = MAX_NAME), regex(pattern = NO_CONTROLS))]
    last_name: Option<String>,
    /// `+` and 8 to 15 digits.
    #[schemars(regex(pattern = r"^\+[1-9][0-9]{7,14}$"), example = "+15551234567")]
    phone: Option<String>,
    /// A text for the mail.
    #[schemars(length(max = MAX_MESSAGE), regex(pattern = NO_CONTROLS_BUT_LINES))]
    message: Option<String>,
    /// The caller's own id for it.
    #[schemars(length(max = MAX_EXTERNAL_ID), regex(pattern = NO_CONTROLS))]
    external_id: Option<String>,
    /// Stored, filterable and used by routing rules; never sent to a provider.
    #[schemars(transform = bound_labels)]
    labels: Option<BTreeMap<String, String>>,
    /// Where it goes; wins over the request's.
    to: Option<Targets>,
    /// Per provider kind, in that provider's own vocabulary; schemas in `GET /v1/provider-kinds`.
    options: Option<BTreeMap<String, Map<String, Value>>>,
}

/// A change of an invite.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `changes` reads")]
pub(crate) struct InviteChange {
    /// The status to set; `failed` only on an unknown invite.
    status: SettableStatus,
}

/// A status that a caller may set.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `changes` reads")]
pub(crate) enum SettableStatus {
    /// Exists at the provider, no answer yet.
    Pending,
    /// Was mailed.
    Sent,
    /// The person accepted.
    Accepted,
    /// The person declined.
    Declined,
    /// Does not exist at the provider.
    Failed,
}

/// How to retry an invite.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `changes` reads")]
pub(crate) struct RetryRequest {
    /// Send an unknown one again, although the person may then get two.
    accept_duplicate_risk: Option<bool>,
}

/// A person to look for.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::people` reads")]
pub(crate) struct PersonRequest {
    /// The address, in any of its spellings.
    #[schemars(length(max = 254), email, example = "ada@example.org")]
    email: String,
}

/// A person to erase.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::erase` reads")]
pub(crate) struct EraseRequest {
    /// The address, in any of its spellings.
    #[schemars(length(max = 254), email, example = "ada@example.org")]
    email: String,
    /// Withdraw live invites first. Without it they are named and left.
    withdraw: Option<bool>,
}

/// An API key to make.
#[derive(JsonSchema)]
#[schemars(rename = "NewKey")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::keys` reads")]
pub(crate) struct NewKeySchema {
    /// What it is for, and who uses it.
    #[schemars(length(min = 1, max = 100), regex(pattern = WORD), example = "HR onboarding")]
    name: String,
    /// What it may do; `admin` is all of them, over all tenants.
    #[schemars(length(min = 1))]
    scopes: Vec<Scope>,
    /// Whose invites it sees; absent: `default`, or that of the key that makes it if that is not for all
    /// tenants.
    #[schemars(length(min = 1, max = 200), regex(pattern = WORD), example = "default".to_owned())]
    tenant: Option<String>,
    /// The providers that it may use; absent: those of the key that makes it.
    #[schemars(length(min = 1))]
    providers: Option<Vec<String>>,
    /// How many requests it may make; absent: as many as the key that makes it.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 100)]
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; absent: as many as the key that makes it.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 20)]
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; absent: as many as the key that makes it.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 5000)]
    invites_per_day: Option<u64>,
    /// When it lapses, a time to come; absent: with the key that makes it.
    expires_at: Option<Timestamp>,
}

/// A change of an API key.
#[derive(JsonSchema)]
#[schemars(rename = "KeyChange")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::keys` reads")]
pub(crate) struct KeyChangeSchema {
    /// What it is for, and who uses it.
    #[schemars(with = "String", length(min = 1, max = 100), regex(pattern = WORD), example = "HR onboarding")]
    #[serde(default)]
    name: Option<String>,
    /// The providers that it may use; null: all.
    #[schemars(length(min = 1))]
    providers: Option<Vec<String>>,
    /// How many requests it may make; null: no limit.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 100)]
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; null: no limit.
    #[schemars(range(min = 0.001, max = 1_000_000), example = 20)]
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; null: no limit.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 5000)]
    invites_per_day: Option<u64>,
    /// When it lapses, a time to come; null: never.
    expires_at: Option<Timestamp>,
}

/// What a map's type does not say of its keys and how many there may be.
fn bound_labels(schema: &mut schemars::Schema) {
    schema.insert("maxProperties".to_owned(), MAX_LABELS.into());
    let key = json!({ "minLength": 1, "maxLength": MAX_LABEL_KEY, "pattern": r"^[^:\u0000-\u001f\u007f]+$" });
    schema.insert("propertyNames".to_owned(), key);
    let value = json!({ "type": "string", "maxLength": MAX_LABEL_VALUE, "pattern": NO_CONTROLS });
    schema.insert("additionalProperties".to_owned(), value);
}
