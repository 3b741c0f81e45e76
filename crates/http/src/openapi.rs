//! The OpenAPI document. It is generated from the handlers; here is what they share. It has every
//! status and every problem code that a call can answer with.

mod examples;
mod headers;
mod problems;

use std::collections::BTreeMap;

use invite_core::text::MAX_LABELS;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use utoipa::{
    IntoParams, IntoResponses, OpenApi,
    openapi::{Array, ArrayBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type},
};

use crate::problem::{Code, codes};

/// The document without its calls and schemas.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Invite Gateway",
        description = "One API for invitations through several providers: accepted durably, \
            delivered once. Later versions may add members to answers, words to closed sets, and \
            problem codes: take what you do not know for what it says in general."
    ),
    servers(
        (url = "/", description = "The gateway that this document is from"),
        (url = "http://127.0.0.1:8080", description = "`serve` and `sandbox`, unless they are told \
            another address"),
    ),
    security(("api_key" = [])),
    tags(
        (name = "invites", description = "Creating, reading and changing invites"),
        (name = "events", description = "What becomes of invites, as it happens"),
        (name = "providers", description = "Configured providers and their kinds"),
        (name = "administration", description = "Configuration, keys and their record"),
        (name = "service", description = "For those who run the gateway"),
    )
)]
pub(crate) struct Document;

pub(crate) fn limit_invites(document: &mut Value, max: usize) {
    let invites = "/components/schemas/NewInvites/properties/invites/maxItems";
    if let Some(most) = document.pointer_mut(invites) {
        *most = max.into();
    }
}

/// The reference to the schema of a type.
pub(crate) fn place<T: JsonSchema>() -> String {
    format!("#/components/schemas/{}", T::schema_name())
}

/// Completes what utoipa made of the handlers.
pub(crate) fn complete(document: &mut Value, schemas: Map<String, Value>) {
    document["components"] = json!({
        "schemas": schemas,
        "headers": headers::all(),
        "examples": problems::examples(),
        "securitySchemes": { "api_key": {
            "type": "http", "scheme": "bearer", "description": "An API key of this gateway (`igk_…`)",
        } },
    });
    let mut examples = examples::all();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in paths.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        problems::write(operation);
        headers::write(operation);
        let name = operation["operationId"].as_str().unwrap_or_default();
        if let Some(examples) = examples.remove(name) {
            examples::write(operation, examples);
        }
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        parameters.into_iter().flatten().for_each(mend_parameter);
    }
}

/// A parameter is left out and never null. What it is stands beside its schema, where readers look for it.
fn mend_parameter(parameter: &mut Value) {
    let Some(schema) = parameter["schema"].as_object_mut() else { return };
    if let Some([kind, null]) = schema.get("type").and_then(Value::as_array).map(Vec::as_slice)
        && null == "null"
    {
        schema["type"] = kind.clone();
    }
    if let Some(description) = schema.shift_remove("description") {
        parameter["description"] = description;
    }
}

type Responses = BTreeMap<String, RefOr<Response>>;

/// A response for each code, which has the place of a status until [`problems::write`] puts those of one
/// status together: of two responses with the same status utoipa would keep one.
fn responses(codes: &[&Code]) -> Responses {
    let response = |code: &&Code| {
        let response = ResponseBuilder::new().description(code.title).build();
        (code.word.to_owned(), RefOr::T(response))
    };
    codes.iter().map(response).collect()
}

macro_rules! problem_sets {
    ($($(#[$doc:meta])* $name:ident = [$($code:ident),* $(,)?];)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> Responses {
                    responses(&[$(&codes::$code),*])
                }
            }
        )*
    };
}

problem_sets! {
    /// What any call with a key can be answered with, beside [`problems::ANY_REQUEST`]; `unreadable` if
    /// what it concerns cannot be read.
    AnyCall = [
        UNAUTHORIZED, INSUFFICIENT_SCOPE, PROVIDER_NOT_ALLOWED, UNREADABLE, RATE_LIMITED, STORAGE_FULL,
    ];
    /// The call stores something, be it only that it was made.
    Stored = [ACCEPT_UNKNOWN];
    /// What a call with a JSON body can be answered with.
    WithBody = [MALFORMED_JSON, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE];
    /// What a call with a provider document can be answered with.
    WithDocument = [NOT_UTF_8, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE];
    /// What a call that takes no body is answered with if there is one all the same.
    WithoutBody = [MALFORMED_JSON, BODY_TIMEOUT, TOO_LARGE, VALIDATION_FAILED];
    MalformedHeader = [MALFORMED_HEADER];
    /// The request is based on a document that is not the live one any more.
    OutdatedBasis = [PRECONDITION_FAILED];
    NoBasis = [PRECONDITION_REQUIRED];
    RefusedDocument = [CONFIGURATION_REFUSED];
    /// The content or the parameters are not valid.
    Unprocessable = [VALIDATION_FAILED];
    NotFound = [NOT_FOUND];
    ExceededKey = [KEY_EXCEEDED];
    /// New invites are not accepted.
    NotAccepted = [
        MALFORMED_HEADER, NO_ROUTE, PROVIDER_DISABLED, QUOTA_EXCEEDED, IDEMPOTENCY_KEY_REUSED, BACKLOG_FULL,
    ];
    /// A question to a provider is not answered well.
    NotAnswered = [
        UNSUPPORTED_OPERATION, BACKLOG_FULL, PROVIDER_REJECTED, PROVIDER_CREDENTIALS, PROVIDER_QUOTA,
        PROVIDER_THROTTLED, PROVIDER_UNREACHABLE, PROVIDER_UNAVAILABLE,
    ];
    /// An invite's status does not admit the change, or its provider is gone.
    NotAdmitted = [ALREADY_FINAL, NOT_SETTLED, NOT_RETRYABLE, PROVIDER_GONE];
    /// A provider did not make a change as asked.
    NotChanged = [
        PAIRING_UNPROVEN, UNSUPPORTED_OPERATION, BACKLOG_FULL, PROVIDER_REJECTED, PROVIDER_CREDENTIALS,
        PROVIDER_QUOTA, PROVIDER_THROTTLED, PROVIDER_UNREACHABLE, OUTCOME_UNKNOWN, PROVIDER_TIMEOUT,
    ];
    /// An invite is not looked up, as its provider is left alone for a while.
    NotAsked = [LANE_PAUSED];
    /// An invite is not queued again.
    NotQueued = [DUPLICATE, QUOTA_EXCEEDED, BACKLOG_FULL];
    Removed = [EVENTS_REMOVED];
    /// An action is for another number of invites than was confirmed.
    CountDiffers = [COUNT_DIFFERS];
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct Page {
    /// Default 50
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct Sort {
    /// `created` (default): newest first. `updated`: by the last change, longest ago first
    #[param(schema_with = sort_schema)]
    sort: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct EventFilters {
    /// The id of an event: those behind it. `latest`: those that come from now on. Default: from the first that is kept
    #[param(pattern = "^(evt_[0-7][0-9a-f]{15}|latest)$")]
    after: Option<String>,
    /// Of these types; may be repeated
    #[param(schema_with = event_types_schema)]
    r#type: Option<Vec<String>>,
    /// Of invites at this provider, and its own
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    provider: Option<String>,
    /// Of invites with this label, `key:value`; may be repeated
    #[param(schema_with = labels_schema)]
    label: Option<Vec<String>>,
    /// Of this invite
    #[param(pattern = "^inv_[0-9a-f]{32}$")]
    invite_id: Option<String>,
    /// Of this tenant; needs the scope invites:all-tenants
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    tenant: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct StatsFilters {
    /// From the beginning of this one's minute or hour on; default: 24 hours before `until`
    since: Option<jiff::Timestamp>,
    /// Before this; default: now
    until: Option<jiff::Timestamp>,
    /// The counts of each minute (for a day at most, of the last two days) or each hour (31 days); without it their sums (366 days)
    #[param(schema_with = stats_interval_schema)]
    interval: Option<String>,
    /// At this provider
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    provider: Option<String>,
    /// Of this tenant; needs the scope invites:all-tenants, which otherwise counts all
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    tenant: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct InviteParameter {
    /// The invite's id.
    #[param(pattern = "^inv_[0-9a-f]{32}$", example = "inv_0199c0de0000700080000000000000aa")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct ActionParameter {
    /// The action's id.
    #[param(pattern = "^act_[0-9a-f]{32}$", example = "act_0199c0de0000700080000000000000aa")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct WebhookParameter {
    /// The webhook's id.
    #[param(pattern = "^whk_[0-9a-f]{32}$", example = "whk_0199c0de0000700080000000000000aa")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct BatchParameter {
    /// The batch's id.
    #[param(pattern = "^bat_[0-9a-f]{32}$", example = "bat_0199c0de0000700080000000000000aa")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct RevisionParameter {
    /// Its number.
    #[param(minimum = 1, example = 1)]
    revision: i64,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct StatusFilter {
    /// Those in one of these statuses.
    #[param(schema_with = statuses_schema)]
    status: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct BatchFilters {
    /// Those in this state
    #[param(schema_with = batch_state_schema)]
    state: Option<String>,
    /// Those of one tenant; needs the scope invites:all-tenants
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    tenant: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct Filters {
    /// Those of one request
    #[param(pattern = "^bat_[0-9a-f]{32}$")]
    batch_id: Option<String>,
    /// Those at one configured provider
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    provider: Option<String>,
    /// Those to one address
    #[param(format = "email")]
    email: Option<String>,
    /// Those with the caller's own id
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    external_id: Option<String>,
    /// Those whose `error` has one of these codes; may be repeated
    #[param(schema_with = error_codes_schema)]
    error_code: Option<Vec<String>>,
    /// Accepted after this moment
    created_after: Option<jiff::Timestamp>,
    /// Accepted before this moment
    created_before: Option<jiff::Timestamp>,
    /// Changed after this moment
    updated_after: Option<jiff::Timestamp>,
    /// Those of one tenant; needs the scope invites:all-tenants
    #[param(pattern = r"^[^\u0000-\u001f\u007f]*$")]
    tenant: Option<String>,
    /// Those with all of these labels, each as `key:value`.
    #[param(schema_with = labels_schema)]
    label: Option<Vec<String>>,
}

fn stats_interval_schema() -> Ref {
    Ref::from_schema_name("StatsInterval")
}

fn sort_schema() -> Ref {
    Ref::from_schema_name("InviteSort")
}

fn batch_state_schema() -> Ref {
    let mut schema = Ref::from_schema_name("BatchState");
    schema.description = "Those in this state".to_owned();
    schema
}

fn statuses_schema() -> Array {
    let statuses = ArrayBuilder::new().items(Ref::from_schema_name("Status"));
    statuses.description(Some("Those in one of these statuses")).build()
}

fn error_codes_schema() -> Array {
    let codes = ArrayBuilder::new().items(Ref::from_schema_name("ReasonCode"));
    codes.description(Some("Those whose `error` has one of these codes")).build()
}

fn event_types_schema() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name("EventType")).build()
}

fn labels_schema() -> Array {
    let label = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^[^:\u0000-\u001f\u007f]+:[^\u0000-\u001f\u007f]*$"));
    let labels = ArrayBuilder::new().items(label).max_items(Some(MAX_LABELS));
    labels.description(Some("Those with all of these labels, each as `key:value`")).build()
}
