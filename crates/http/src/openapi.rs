//! The OpenAPI document: generated from the handlers; here is what they share. Every status that a
//! call can answer with stands in it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use invite_core::text::MAX_LABELS;
use schemars::JsonSchema;
use serde_json::Value;
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi,
    openapi::{
        Array, ArrayBuilder, Content, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::problem::MEDIA_TYPE;

/// The document without its calls.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Invite Gateway",
        description = "One API for invitations through several providers: accepted durably, \
            delivered once."
    ),
    security(("api_key" = [])),
    modifiers(&ApiKeyScheme),
    tags(
        (name = "invites", description = "Creating, reading and changing invites"),
        (name = "providers", description = "Configured providers and their kinds"),
        (name = "administration", description = "Configuration, keys and their record"),
        (name = "service", description = "For those who run the gateway"),
    )
)]
pub(crate) struct Document;

struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key of this gateway (`igk_…`)"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

/// Writes the configured number of invites per request into the document.
pub(crate) fn limit_invites(document: &mut Value, max: usize) {
    let invites = "/components/schemas/NewInvites/properties/invites/maxItems";
    if let Some(most) = document.pointer_mut(invites) {
        *most = max.into();
    }
}

/// Where the shape of a type stands in the document.
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
    /// A header is malformed.
    MalformedHeader = [BAD_REQUEST];
    /// The request is based on a document that is not the live one any more.
    OutdatedBasis = [PRECONDITION_FAILED];
    /// The request does not say which document it is based on.
    NoBasis = [PRECONDITION_REQUIRED];
    /// The content or the parameters are not valid.
    Unprocessable = [UNPROCESSABLE_ENTITY];
    /// Nothing is there, or nothing that the caller may see.
    NotFound = [NOT_FOUND];
    /// The gateway cannot do its work.
    NotReady = [SERVICE_UNAVAILABLE];
    /// What asking a provider can be answered with.
    AtProvider = [BAD_GATEWAY];
    /// What changing one invite can be answered with.
    OneChange = [CONFLICT, BAD_GATEWAY, GATEWAY_TIMEOUT];
}

/// A page of a list.
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

/// The path of one invite.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct InviteParameter {
    /// The invite's id.
    #[param(pattern = "^inv_[0-9a-f]{32}$")]
    id: String,
}

/// The path of one revision of the provider document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct RevisionParameter {
    /// Its number.
    #[param(minimum = 1)]
    revision: i64,
}

/// The filter of invites by status.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct StatusFilter {
    /// Those in one of these statuses.
    #[param(schema_with = statuses_schema)]
    status: Option<Vec<String>>,
}

/// The filters of invites, but for their status.
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

fn statuses_schema() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name("Status")).build()
}

fn labels_schema() -> Array {
    let label = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^[^:\u0000-\u001f\u007f]+:[^\u0000-\u001f\u007f]*$"));
    ArrayBuilder::new().items(label).max_items(Some(MAX_LABELS)).build()
}
