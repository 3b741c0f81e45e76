//! The OpenAPI document. It is generated from the handlers; here is what they share. It has every
//! status that a call can answer with.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use invite_core::text::MAX_LABELS;
use schemars::JsonSchema;
use serde_json::Value;
use utoipa::{
    IntoParams, IntoResponses, OpenApi,
    openapi::{
        Array, ArrayBuilder, Content, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
    },
};

use crate::problem::MEDIA_TYPE;

/// The document without its calls and schemas.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Invite Gateway",
        description = "One API for invitations through several providers: accepted durably, \
            delivered once."
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

type Responses = BTreeMap<String, RefOr<Response>>;

fn problems(statuses: &[StatusCode]) -> Responses {
    let problem = |status: &StatusCode| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(status.canonical_reason().unwrap_or("A problem"))
            .content(MEDIA_TYPE, content)
            .build();
        (status.as_str().to_owned(), RefOr::T(response))
    };
    statuses.iter().map(problem).collect()
}

macro_rules! problem_sets {
    ($($(#[$doc:meta])* $name:ident = [$($status:ident),*];)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> Responses {
                    problems(&[$(StatusCode::$status),*])
                }
            }
        )*
    };
}

problem_sets! {
    /// What any call with a key can be answered with; 409 if what it concerns cannot be read.
    AnyCall = [
        UNAUTHORIZED, FORBIDDEN, CONFLICT, TOO_MANY_REQUESTS, INTERNAL_SERVER_ERROR,
        SERVICE_UNAVAILABLE
    ];
    /// What a call with a JSON body can be answered with.
    WithBody = [BAD_REQUEST, REQUEST_TIMEOUT, PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE];
    /// What a call that takes no body is answered with if there is one all the same.
    WithoutBody = [BAD_REQUEST, REQUEST_TIMEOUT, PAYLOAD_TOO_LARGE, UNPROCESSABLE_ENTITY];
    MalformedHeader = [BAD_REQUEST];
    /// The request is based on a document that is not the live one any more.
    OutdatedBasis = [PRECONDITION_FAILED];
    NoBasis = [PRECONDITION_REQUIRED];
    /// The content or the parameters are not valid.
    Unprocessable = [UNPROCESSABLE_ENTITY];
    NotFound = [NOT_FOUND];
    Removed = [GONE];
    NotReady = [SERVICE_UNAVAILABLE];
    AtProvider = [BAD_GATEWAY];
    OneChange = [CONFLICT, BAD_GATEWAY, GATEWAY_TIMEOUT];
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
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct InviteParameter {
    /// The invite's id.
    #[param(pattern = "^inv_[0-9a-f]{32}$")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct WebhookParameter {
    /// The webhook's id.
    #[param(pattern = "^whk_[0-9a-f]{32}$")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct BatchParameter {
    /// The batch's id.
    #[param(pattern = "^bat_[0-9a-f]{32}$")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct RevisionParameter {
    /// Its number.
    #[param(minimum = 1)]
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

fn batch_state_schema() -> Ref {
    Ref::from_schema_name("BatchState")
}

fn statuses_schema() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name("Status")).build()
}

fn event_types_schema() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name("EventType")).build()
}

fn labels_schema() -> Array {
    let label = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^[^:\u0000-\u001f\u007f]+:[^\u0000-\u001f\u007f]*$"));
    ArrayBuilder::new().items(label).max_items(Some(MAX_LABELS)).build()
}
