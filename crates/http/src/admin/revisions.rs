//! Revisions of the provider document: which there were, and putting one of them in force again.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use invite_config::diff;
use invite_delivery::{Origin, Revised};
use invite_store::Revision;

use super::config::{NoteParameter, read_note, revise};
use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::refuse_body,
    openapi,
    precondition::Basis,
    problem::Problem,
    query::{Parameters, cursor, cut_to_fit, refuse_parameters},
    segment::Segment,
    views::configuration::{RevisionList, RevisionView},
};

/// How long the differences of a page may take together, and how long the shortest difference is looked for
/// where one revision is read alone.
const MAX_TIME: Duration = Duration::from_millis(500);
/// How long one difference of a page may take.
const MAX_TIME_OF_ONE: Duration = Duration::from_millis(100);
/// The longest difference that a page shows, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// List the revisions of the provider document
///
/// Newest first, each with what it changed, unless telling that takes long. What is live, whether the file says something else, and
/// the last document that was refused stand beside them.
#[utoipa::path(
    get, path = "/v1/admin/config/revisions", tag = "administration",
    params(openapi::Page),
    responses(
        (status = 200, description = "A page", body = RevisionList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_revisions(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<RevisionList>, Problem> {
    caller.require_for_all(Scope::ConfigWrite)?;
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let before = parameters.cursor::<i64>();
    parameters.finish()?;
    // One more than the page shows, as its last one is compared with that.
    let found = gateway.store().revisions(before, limit + 1).await?.revisions;
    let next = found.get(limit as usize).and(found.get(limit as usize - 1));
    let next_cursor = next.map(|last| cursor(last.revision));
    let show = move || {
        let mut page = show_page(&found, limit as usize);
        let numbers: Vec<_> = found.iter().map(|revision| revision.revision).collect();
        let last = cut_to_fit(&mut page, &numbers);
        (page, last)
    };
    let (revisions, cut) = gateway.offload.run(caller.id(), show).await?;
    let next_cursor = cut.map(cursor).or(next_cursor);
    Ok(Json(RevisionList {
        revisions,
        configuration: gateway.engine.document().status(),
        next_cursor,
    }))
}

/// The first `limit` revisions, newest first, each compared with the one after it, which is older.
fn show_page(revisions: &[Revision], limit: usize) -> Vec<RevisionView> {
    let end = Instant::now() + MAX_TIME;
    let views = revisions.iter().zip(1..).take(limit);
    views
        .map(|(revision, next)| {
            let now = Instant::now();
            let deadline = end.min(now + MAX_TIME_OF_ONE);
            let told = (now < end).then(|| difference(revision, revisions.get(next), deadline));
            // A difference that was cut short by its deadline is long, and many of them would make
            // a page many times the size of the documents.
            let is_short = |told: &String| told.len() <= MAX_BYTES && Instant::now() < deadline;
            RevisionView::new(revision, told.filter(is_short))
        })
        .collect()
}

/// What a revision changed in the one before it, if there is one. What is compared after `deadline` is
/// shown more coarsely.
fn difference(revision: &Revision, before: Option<&Revision>, deadline: Instant) -> String {
    let name = |revision: &Revision| format!("revision {}", revision.revision);
    let (own, old) = (name(revision), before.map_or("nothing".to_owned(), name));
    let old_text = before.map_or("", |before| before.document.as_str());
    diff((&old, old_text), (&own, &revision.document), deadline)
}

async fn find_revision(gateway: &Gateway, number: &str) -> Result<Revision, Problem> {
    let is_plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let number: Option<i64> = number.parse().ok().filter(|_| is_plain);
    let revision = match number {
        Some(number) => gateway.store().revision(number).await?,
        None => None,
    };
    revision.ok_or_else(|| Problem::not_found("revision"))
}

/// Read a revision of the provider document
#[utoipa::path(
    get, path = "/v1/admin/config/revisions/{revision}", tag = "administration",
    params(openapi::RevisionParameter),
    responses(
        (status = 200, description = "The revision with its document", body = RevisionView),
        openapi::AnyCall, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_revision(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(number): Segment,
    uri: Uri,
) -> Result<Json<RevisionView>, Problem> {
    caller.require_for_all(Scope::ConfigWrite)?;
    let revision = find_revision(&gateway, &number).await?;
    refuse_parameters(&uri)?;
    let before = gateway.store().revisions(Some(revision.revision), 1).await?.revisions;
    let view = gateway.offload.run(caller.id(), move || {
        let told = difference(&revision, before.first(), Instant::now() + MAX_TIME);
        RevisionView::new(&revision, Some(told)).with_document(revision.document)
    });
    Ok(Json(view.await?))
}

/// Put a revision in force again
///
/// Its document passes the gate again and becomes the next revision.
#[utoipa::path(
    post, path = "/v1/admin/config/revisions/{revision}/restore", tag = "administration",
    params(
        openapi::RevisionParameter,
        NoteParameter,
        ("If-Match" = Option<String>, Header, description = "The ETag of the document that is \
            to be replaced; without it whatever is live", example = "\"1\""),
    ),
    responses(
        (status = 200, description = "It is live", body = ref(openapi::place::<Revised>()),
            headers(("ETag" = String, description = "Its revision, quoted"))),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::MalformedHeader,
        openapi::NotFound, openapi::OutdatedBasis, openapi::RefusedDocument,
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
    caller.require_for_all(Scope::ConfigWrite)?;
    let basis = Basis::read(&headers)?;
    let revision = find_revision(&gateway, &number).await?;
    refuse_body(body, gateway.body_bounds(&caller), &["note"]).await?;
    let note = read_note(&uri)?;
    let live = gateway.live().current().revision();
    let lag = gateway.engine.document().unserved_reason();
    let expected = basis.map_or(Ok(None), |basis| basis.expected(live, lag))?;
    let restored = Some(revision.revision);
    let origin = Origin { source: "restore", actor: caller.name(), note, restored };
    revise(&gateway, revision.document, origin, expected).await
}
