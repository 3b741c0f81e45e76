//! Revisions of the provider document: which there were, and putting one of them in force again.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use invite_delivery::Origin;
use invite_store::Revision;

use super::config::{read_note, revise};
use crate::{
    Gateway,
    auth::Caller,
    body::refuse_body,
    openapi,
    precondition::Basis,
    problem::Problem,
    query::{Parameters, cursor, refuse_parameters},
    segment::Segment,
    views::configuration::{AppliedView, ConfigurationView, RevisionList, RevisionView},
};

/// List the revisions of the provider document
///
/// Newest first, each with what it changed. What is live, whether the file says something else, and
/// the last document that was refused stand beside them.
#[utoipa::path(
    get,
    path = "/v1/admin/config/revisions",
    tag = "administration",
    params(openapi::Page),
    responses(
        (status = 200, description = "A page", body = RevisionList),
        openapi::AnyCall,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn list_revisions(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<RevisionList>, Problem> {
    caller.require_administrator()?;
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let before = parameters.cursor::<i64>();
    parameters.finish()?;
    // One more: the last of the page is compared with it.
    let found = gateway.store().revisions(before, limit + 1).await?.revisions;
    let views = found.iter().zip(1..).take(limit as usize);
    let revisions: Vec<_> =
        views.map(|(revision, next)| RevisionView::new(revision, found.get(next))).collect();
    let next = found.get(limit as usize).and(found.get(limit as usize - 1));
    Ok(Json(RevisionList {
        revisions,
        configuration: ConfigurationView::new(gateway.engine().configuration_status(), true),
        next_cursor: next.map(|last| cursor(last.revision)),
    }))
}

async fn find_revision(gateway: &Gateway, number: &str) -> Result<Revision, Problem> {
    let number: Option<i64> = number.parse().ok();
    let revision = match number {
        Some(number) => gateway.store().revision(number).await?,
        None => None,
    };
    revision.ok_or_else(|| Problem::not_found("revision"))
}

/// Read a revision of the provider document
#[utoipa::path(
    get,
    path = "/v1/admin/config/revisions/{revision}",
    tag = "administration",
    params(openapi::RevisionParameter),
    responses(
        (status = 200, description = "The revision with its document", body = RevisionView),
        openapi::AnyCall,
        openapi::NotFound,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn get_revision(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(number): Segment,
    uri: Uri,
) -> Result<Json<RevisionView>, Problem> {
    caller.require_administrator()?;
    let revision = find_revision(&gateway, &number).await?;
    refuse_parameters(&uri)?;
    let before = gateway.store().revisions(Some(revision.revision), 1).await?.revisions;
    Ok(Json(RevisionView::new(&revision, before.first()).with_document(revision.document)))
}

/// Put a revision in force again
///
/// Its document passes the gate again and becomes the next revision.
#[utoipa::path(
    post,
    path = "/v1/admin/config/revisions/{revision}/restore",
    tag = "administration",
    params(
        openapi::RevisionParameter,
        ("note" = Option<String>, Query, description = "Why; kept with the revision",
            max_length = 256, pattern = r"^[^\u0000-\u001f\u007f]*$"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the document that is \
            to be replaced; without it whatever is live", example = "\"7\""),
    ),
    responses(
        (status = 200, description = "It is live", body = AppliedView,
            headers(("ETag" = String, description = "Its revision, quoted"))),
        openapi::AnyCall,
        openapi::WithoutBody,
        openapi::MalformedHeader,
        openapi::NotFound,
        openapi::Unprocessable,
        openapi::OutdatedBasis,
    )
)]
pub(crate) async fn restore_revision(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(number): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.require_administrator()?;
    let basis = Basis::read(&headers)?;
    let revision = find_revision(&gateway, &number).await?;
    refuse_body(body, gateway.limits().max_body_bytes, &["note"]).await?;
    let note = read_note(&uri)?;
    let live = gateway.live().current().revision();
    let lag = gateway.engine().lag();
    let expected = basis.map_or(Ok(None), |basis| basis.expected(live, lag))?;
    let origin = Origin { source: "restore", actor: caller.name(), note };
    revise(&gateway, revision.document, origin, expected).await
}
