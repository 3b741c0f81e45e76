//! The provider document: reading the live one, checking a candidate, putting one in force. What
//! may go live is decided by the gate; earlier revisions are in `revisions`.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use invite_core::text::is_control;
use invite_delivery::{Origin, ReviseError, Revised};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::{TOML, read_document},
    openapi,
    precondition::{Basis, etag, is_not_modified, outdated},
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    views::configuration::ReviewView,
};

const MAX_NOTE: usize = 256;

/// Why a document is put in force.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter")]
pub(super) struct NoteParameter {
    /// Why; kept with the revision. Without control characters, those that change the direction of
    /// text among them.
    #[param(
        max_length = 256,
        pattern = r"^[^\u0000-\u001f\u007f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$"
    )]
    note: Option<String>,
}

/// Read the live provider document
///
/// Byte for byte as it was written. Its `ETag` is what `If-Match` takes.
#[utoipa::path(
    get, path = "/v1/admin/config", tag = "administration",
    params(
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer: \
            304 if that is still the live document", example = "\"7\""),
    ),
    responses(
        (status = 200, description = "The document", body = String,
            content_type = "application/toml", headers(
                ("ETag" = String, description = "Its revision, quoted"))),
        (status = 304, description = "The caller has it already",
            headers(("ETag" = String, description = "Its revision, quoted"))),
        openapi::AnyCall, openapi::MalformedHeader, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_configuration(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require_for_all(Scope::ConfigWrite)?;
    let configuration = gateway.live().current();
    let is_known = is_not_modified(&headers, configuration.revision())?;
    refuse_parameters(&uri)?;
    let tag = [(header::ETAG, etag(configuration.revision()))];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let kind = [(header::CONTENT_TYPE, TOML)];
    Ok((tag, kind, configuration.text().to_owned()).into_response())
}

/// Check a candidate provider document
///
/// Runs the whole gate on it and applies nothing. A document that does not pass is an answer 200,
/// too: with what is wrong. It may use the secrets that the live document uses for the same member, kind and
/// `base_url`, and those that the gateway's settings release; a check with a probe is on record.
#[utoipa::path(
    post, path = "/v1/admin/config/check", tag = "administration",
    params(("probe" = Option<bool>, Query, description = "Also check the credential of each \
        provider that would change, without side effects")),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "What the gate says", body = ReviewView),
        openapi::AnyCall, openapi::Stored, openapi::WithDocument, openapi::Unprocessable,
    )
)]
pub(crate) async fn check_configuration(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReviewView>, Problem> {
    caller.require_for_all(Scope::ConfigWrite)?;
    let text = read_document(&headers, body, gateway.body_bounds(&caller)).await?;
    let mut parameters = Parameters::read(&uri, &["probe"]);
    let probe = parameters.flag("probe");
    parameters.finish()?;
    let review = gateway.engine.document().review(&text, probe, caller.actor()).await?;
    Ok(Json(ReviewView::new(review)))
}

/// Put a provider document in force
///
/// It passes the gate, is swapped in as a whole and becomes the next revision; calls under way
/// finish with the one before. Which secrets it may use is as for a check; one that is refused is on record. The document that is live already is answered with its revision.
#[utoipa::path(
    put, path = "/v1/admin/config", tag = "administration",
    params(
        NoteParameter,
        ("If-Match" = Option<String>, Header, description = "The ETag of the document that the \
            change was made to, or `*`; without it the answer is 428", example = "\"1\""),
    ),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "It is live", body = ref(openapi::place::<Revised>()),
            headers(("ETag" = String, description = "Its revision, quoted"))),
        openapi::AnyCall, openapi::Stored, openapi::WithDocument, openapi::Unprocessable,
        openapi::MalformedHeader, openapi::OutdatedBasis, openapi::NoBasis, openapi::RefusedDocument,
    )
)]
pub(crate) async fn replace_configuration(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.require_for_all(Scope::ConfigWrite)?;
    let text = read_document(&headers, body, gateway.body_bounds(&caller)).await?;
    let basis = Basis::read(&headers)?;
    let note = read_note(&uri)?;
    let basis = basis.ok_or_else(|| {
        let detail = "say with If-Match which document the change was made to: the ETag of \
                      GET /v1/admin/config, or * for whatever is live";
        Problem::new(&codes::PRECONDITION_REQUIRED, detail)
    })?;
    let expected = basis.expected(
        gateway.live().current().revision(),
        gateway.engine.document().unserved_reason(),
    )?;
    let origin = Origin { source: "api", actor: caller.name(), note, restored: None };
    revise(&gateway, text, origin, expected).await
}

pub(super) fn read_note(uri: &Uri) -> Result<Option<String>, Problem> {
    let mut parameters = Parameters::read(uri, &["note"]);
    let note = parameters.one("note").filter(|note| !note.is_empty());
    if note.as_ref().is_some_and(|note| note.contains(is_control)) {
        let detail = "characters that change the direction of text are not allowed";
        parameters.fault("note", "invalid", detail);
    } else if note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
        let detail = format!("a note is at most {MAX_NOTE} characters long");
        parameters.fault("note", "too-long", detail);
    }
    parameters.finish()?;
    Ok(note)
}

/// Puts a document in force, if revision `expected` is still the live one or none is expected.
pub(super) async fn revise(
    gateway: &Gateway,
    text: String,
    origin: Origin,
    expected: Option<i64>,
) -> Result<Response, Problem> {
    let engine = gateway.engine.clone();
    let revised =
        crate::run_to_completion(async move { engine.revise(&text, origin, expected).await })
            .await?;
    let revised = revised.map_err(|error| match error {
        ReviseError::Refused(review) => Problem::refused_document(review.findings),
        ReviseError::Conflict { live } => outdated(
            "and the request is based on another",
            live,
            gateway.engine.document().unserved_reason(),
        ),
        ReviseError::Store(error) => error.into(),
    })?;
    let tag = [(header::ETAG, etag(revised.revision))];
    Ok((tag, Json(revised)).into_response())
}
