//! Reading the calls that were made for an invite.

use axum::{Json, extract::State, http::Uri};
use invite_core::{Address, AttemptId, AttemptOutcome, Operation, text::plain_json};
use invite_store::{AttemptPage, AttemptView as Attempt, InviteRecord};
use url::Url;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    invites::find_invite,
    openapi,
    problem::Problem,
    providers::describe_failure,
    query::{Parameters, cursor, cut_to_fit},
    reads,
    segment::Segment,
    views::{AttemptList, AttemptView},
};

/// The most attempts on a page that shows what was exchanged, which may be long.
const MAX_RAW: u32 = 50;

/// List the calls made for an invite
///
/// Oldest first. With the scope invites:raw also this invite's part of what was exchanged, until that is
/// removed. Of a call that invites of other tenants shared, what the provider said when it failed is shown to keys
/// with the scope invites:all-tenants alone. Every call that changes something (`create`, `update_status`, `revoke`) is kept as long as the
/// invite; of the calls that only ask, the newest 20 of each operation (`get`, `list`, `reconcile`).
#[utoipa::path(
    get, path = "/v1/invites/{id}/attempts", tag = "invites",
    params(openapi::InviteParameter, openapi::Page),
    responses(
        (status = 200, description = "A page", body = AttemptList),
        openapi::AnyCall, openapi::Stored, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_attempts(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<AttemptList>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let invite = find_invite(&gateway, &caller, &id).await?;
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.cursor::<String>();
    parameters.finish()?;
    let is_raw = caller.has(Scope::InvitesRaw);
    let visibility = Visibility { is_raw, sees_all: caller.sees_all_tenants() };
    let limit = if is_raw { limit.min(MAX_RAW) } else { limit };
    let page = gateway.store().attempts(invite.id, after, limit, is_raw).await?;
    if is_raw {
        reads::record(&gateway, &caller, "invite.read_raw", &id).await?;
    } else {
        reads::across_tenants(&gateway, &caller, &invite.tenant, "invite.read", &id).await?;
        return Ok(Json(view_attempts(&gateway, &invite, page, visibility)));
    }
    // What was exchanged may be about many invites, and the part of this one has to be found in it.
    let shared = gateway.clone();
    let list = move || view_attempts(&shared, &invite, page, visibility);
    Ok(Json(gateway.offload.run(caller.id(), list).await?))
}

/// How much of an attempt a key is shown: whether what was exchanged, and what concerns other tenants.
#[derive(Clone, Copy)]
struct Visibility {
    is_raw: bool,
    sees_all: bool,
}

/// What went wrong with a call that invites of other tenants shared. The provider's own words are left out,
/// as they may be about those.
fn general_failure(outcome: Option<AttemptOutcome>) -> Option<String> {
    Some(describe_failure(outcome?.failure()?).to_owned())
}

fn view_attempts(
    gateway: &Gateway,
    invite: &InviteRecord,
    mut page: AttemptPage,
    visibility: Visibility,
) -> AttemptList {
    let ids: Vec<AttemptId> = page.attempts.iter().map(|attempt| attempt.id).collect();
    let view = |attempt| view_attempt(gateway, invite, attempt, visibility);
    let mut attempts: Vec<_> = page.attempts.into_iter().map(view).collect();
    if let Some(last) = cut_to_fit(&mut attempts, &ids) {
        page.unreadable.retain(|unreadable| unreadable.id < last);
        page.next = Some(last);
    }
    AttemptList { attempts, unreadable: page.unreadable, next_cursor: page.next.map(cursor) }
}

/// Method and address of an attempt's request; of a create that was not made, those that it was to have.
fn place_of(attempt: &Attempt, invite: &InviteRecord) -> Option<(String, String)> {
    let sent = attempt.target.as_deref().and_then(|target| target.split_once(' '));
    if let Some((method, url)) = sent {
        return Some((method.to_owned(), own_address(url, invite)));
    }
    let call = attempt.call.as_ref()?;
    Some(("POST".to_owned(), format!("{}{}", call.destination.base_url, call.path)))
}

/// An address without its query if that names another person, for whom a look-up asked, too.
fn own_address(url: &str, invite: &InviteRecord) -> String {
    let is_own = |value: &str| Some(Address::shown(value)) == invite.address;
    match Url::parse(url) {
        Ok(mut parsed)
            if parsed.query_pairs().any(|(_, value)| value.contains('@') && !is_own(&value)) =>
        {
            parsed.set_query(None);
            parsed.into()
        }
        _ => url.to_owned(),
    }
}

fn view_attempt(
    gateway: &Gateway,
    invite: &InviteRecord,
    attempt: Attempt,
    visibility: Visibility,
) -> AttemptView {
    let has_failed = attempt.outcome.and_then(AttemptOutcome::failure).is_some();
    let hides = attempt.is_shared && !visibility.sees_all;
    let (method, url) = visibility.is_raw.then(|| place_of(&attempt, invite)).flatten().unzip();
    let detail = match hides && (has_failed || attempt.operation == Operation::Create) {
        true => general_failure(attempt.outcome),
        false => attempt.detail,
    };
    let kind = gateway.kinds.iter().find(|kind| Some(kind.name) == invite.kind.as_deref());
    let (request, reply) = kind
        .filter(|_| visibility.is_raw)
        .map(|kind| {
            let request = attempt.call.as_ref().map(|call| call.body.as_str());
            let request = request.or(attempt.request.as_deref());
            (kind.excerpt)(request, attempt.reply.as_deref(), attempt.position, &invite.invitee)
        })
        .map(|(request, reply)| match hides && has_failed && !reply.is_null() {
            true => (request, "[said of more than this invite]".into()),
            false => (request, plain_json(&reply)),
        })
        .unzip();
    AttemptView {
        id: attempt.id,
        provider: attempt.provider,
        operation: attempt.operation,
        started_at: attempt.started_at,
        duration_ms: attempt
            .finished_at
            .map(|finished| finished.as_millisecond() - attempt.started_at.as_millisecond()),
        outcome: attempt.outcome,
        http_status: attempt.http_status,
        config_revision: attempt.config_revision,
        detail,
        traceparent: attempt.traceparent,
        method,
        url,
        provider_request_id: attempt.provider_request_id.filter(|_| visibility.is_raw),
        request,
        reply,
    }
}
