//! What callers send, as the OpenAPI document describes it. What is enforced stands in
//! `submission`, `changes` and `admin`, which find all faults at once where a derived reader stops at the
//! first; a test compares the two.

use std::collections::BTreeMap;

use invite_core::text::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS};
use jiff::Timestamp;
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::{
        Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type,
        schema::{AdditionalProperties, SchemaType},
    },
};

use crate::auth::SCOPES;
use crate::submission::{MAX_EXTERNAL_ID, MAX_MESSAGE, MAX_NAME, MAX_TARGETS};

const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f]*$";
const NO_CONTROLS_BUT_LINES: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$";

/// Invites to create.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `submission` reads")]
pub(crate) struct NewInvites {
    /// Where they go that do not say so themselves; absent: the routing rules decide.
    #[schema(schema_with = targets_schema)]
    to: Option<Vec<String>>,
    /// The invites.
    #[schema(min_items = 1, max_items = 1000)]
    invites: Vec<NewInviteSchema>,
    /// What to do about a person who already has a live invite at the same place: answer with that
    /// (`return_existing`, the default), fail the item (`reject`), or send another (`send`).
    #[schema(schema_with = on_duplicate_schema)]
    on_duplicate: Option<String>,
}

/// One invite to create.
#[derive(ToSchema)]
#[schema(as = NewInvite)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `submission` reads")]
pub(crate) struct NewInviteSchema {
    /// The address.
    #[schema(max_length = 254, format = "email", example = "ada@example.org")]
    email: String,
    /// Given name.
    #[schema(schema_with = first_name_schema)]
    first_name: Option<String>,
    /// Family name.
    #[schema(schema_with = last_name_schema)]
    last_name: Option<String>,
    /// `+` and 8 to 15 digits.
    #[schema(pattern = r"^\+[1-9][0-9]{7,14}$", example = "+15551234567")]
    phone: Option<String>,
    /// A text for the mail.
    #[schema(schema_with = message_schema)]
    message: Option<String>,
    /// The caller's own id for it.
    #[schema(schema_with = external_id_schema)]
    external_id: Option<String>,
    /// Stored, filterable and used by routing rules; never sent to a provider.
    #[schema(schema_with = labels_schema)]
    labels: Option<BTreeMap<String, String>>,
    /// Where it goes; wins over the request's.
    #[schema(schema_with = targets_schema)]
    to: Option<Vec<String>>,
    /// Per provider kind, in that provider's own vocabulary; schemas in `GET /v1/provider-kinds`.
    #[schema(value_type = Option<BTreeMap<String, Map<String, Value>>>)]
    options: Option<Map<String, Value>>,
}

/// A change of an invite.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `changes` reads")]
pub(crate) struct InviteChange {
    /// The status to set; `failed` only on an unknown invite.
    status: SettableStatus,
}

/// A status that a caller may set.
#[derive(ToSchema)]
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
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `changes` reads")]
pub(crate) struct RetryRequest {
    /// Send an unknown one again, although the person may then get two.
    accept_duplicate_risk: Option<bool>,
}

/// A person to look for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::people` reads")]
pub(crate) struct PersonRequest {
    /// The address, in any of its spellings.
    #[schema(max_length = 254, format = "email", example = "ada@example.org")]
    email: String,
}

/// A person to erase.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::erase` reads")]
pub(crate) struct EraseRequest {
    /// The address, in any of its spellings.
    #[schema(max_length = 254, format = "email", example = "ada@example.org")]
    email: String,
    /// Withdraw live invites first. Without it they are named and left.
    withdraw: Option<bool>,
}

/// An API key to make.
#[derive(ToSchema)]
#[schema(as = NewKey)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::keys` reads")]
pub(crate) struct NewKeySchema {
    /// What it is for, and who uses it.
    #[schema(
        min_length = 1,
        max_length = 100,
        example = "HR onboarding",
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])?$"
    )]
    name: String,
    /// What it may do.
    #[schema(schema_with = scopes_schema)]
    scopes: Vec<String>,
    /// Whose invites it sees; absent: `default`, or that of the key that makes it if that is not for all
    /// tenants.
    #[schema(
        min_length = 1,
        max_length = 200,
        example = "default",
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*[^\s\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])?$"
    )]
    tenant: Option<String>,
    /// The providers that it may use; absent: those of the key that makes it.
    #[schema(min_items = 1)]
    providers: Option<Vec<String>>,
    /// How many requests it may make; absent: as many as the key that makes it.
    #[schema(minimum = 0.001, maximum = 1_000_000, example = 100)]
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; absent: as many as the key that makes it.
    #[schema(minimum = 0.001, maximum = 1_000_000, example = 20)]
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; absent: as many as the key that makes it.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 5000)]
    invites_per_day: Option<u64>,
    /// When it lapses, a time to come; absent: with the key that makes it.
    expires_at: Option<Timestamp>,
}

/// A change of an API key.
#[derive(ToSchema)]
#[schema(as = KeyChange)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `admin::keys` reads")]
pub(crate) struct KeyChangeSchema {
    /// What it is for, and who uses it.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 100,
        example = "HR onboarding",
        pattern = r"^[^\s\u0000-\u001f\u007f]([^\u0000-\u001f\u007f]*[^\s\u0000-\u001f\u007f])?$"
    )]
    name: Option<String>,
    /// The providers that it may use; null: all.
    #[schema(min_items = 1)]
    providers: Option<Vec<String>>,
    /// How many requests it may make; null: no limit.
    #[schema(minimum = 0.001, maximum = 1_000_000, example = 100)]
    requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; null: no limit.
    #[schema(minimum = 0.001, maximum = 1_000_000, example = 20)]
    invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; null: no limit.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 5000)]
    invites_per_day: Option<u64>,
    /// When it lapses, a time to come; null: never.
    expires_at: Option<Timestamp>,
}

fn text(description: &str, max: usize, pattern: &str) -> Object {
    ObjectBuilder::new()
        .description(Some(description))
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .max_length(Some(max))
        .pattern(Some(pattern))
        .build()
}

/// The name of a provider or a route, or several.
fn targets_schema() -> Schema {
    let name = || ObjectBuilder::new().schema_type(Type::String);
    let what = "Names of providers and routes. An invite's own wins over the request's; without \
                any the routing rules decide. Each destination is taken once.";
    OneOfBuilder::new()
        .description(Some(what))
        .item(name())
        .item(ArrayBuilder::new().items(name()).min_items(Some(1)).max_items(Some(MAX_TARGETS)))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .into()
}

fn on_duplicate_schema() -> Object {
    let words = ["return_existing", "reject", "send"].map(Value::from);
    let what = "About a person who already has a live invite at the same place: answer with that \
                (the default), fail the item, or send another.";
    ObjectBuilder::new()
        .description(Some(what))
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words.into_iter().chain([Value::Null])))
        .build()
}

fn scopes_schema() -> Array {
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(SCOPES.to_vec()));
    ArrayBuilder::new()
        .description(Some("What it may do; `admin` is all of them, over all tenants."))
        .items(word)
        .min_items(Some(1))
        .build()
}

fn first_name_schema() -> Object {
    text("Given name.", MAX_NAME, NO_CONTROLS)
}

fn last_name_schema() -> Object {
    text("Family name.", MAX_NAME, NO_CONTROLS)
}

fn message_schema() -> Object {
    text("A text for the mail.", MAX_MESSAGE, NO_CONTROLS_BUT_LINES)
}

fn external_id_schema() -> Object {
    text("The caller's own id for it.", MAX_EXTERNAL_ID, NO_CONTROLS)
}

fn labels_schema() -> Object {
    let string = || ObjectBuilder::new().schema_type(Type::String);
    let key = string()
        .min_length(Some(1))
        .max_length(Some(MAX_LABEL_KEY))
        .pattern(Some(r"^[^:\u0000-\u001f\u007f]+$"))
        .build();
    let value = string().max_length(Some(MAX_LABEL_VALUE)).pattern(Some(NO_CONTROLS)).build();
    ObjectBuilder::new()
        .description(Some("Stored, filterable, used by routing rules; never sent to a provider."))
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .max_properties(Some(MAX_LABELS))
        .property_names(Some(Schema::Object(key)))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(value)))))
        .build()
}
