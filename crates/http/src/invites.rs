//! Reading invites and the calls that were made for them.

use axum::{Json, extract::State, http::Uri};
use invite_core::{
    Address, AttemptId, AttemptOutcome, BatchId, InviteId, Operation, Status,
    text::{MAX_LABELS, plain_json},
};
use invite_store::{
    AttemptPage, AttemptView as Attempt, InviteFilter, InviteRecord, Row, UnreadableInvite,
};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::{Problem, codes},
    providers::describe_failure,
    query::{Parameters, cursor, cut_to_fit, refuse_parameters},
    reads,
    segment::Segment,
    views::{AttemptList, AttemptView, InviteList, InviteView},
};

/// The most attempts on a page that shows what was exchanged, which may be long.
const MAX_RAW: u32 = 50;

/// The filters of invites, but for the status, which only some lists are filtered by.
pub(crate) const FILTERS: &[&str] = &[
    "batch_id",
    "provider",
    "email",
    "external_id",
    "label",
    "created_after",
    "created_before",
    "updated_after",
    "tenant",
];

/// List invites
///
/// Newest first; the pages do not shift when invites are created meanwhile.
#[utoipa::path(
    get, path = "/v1/invites", tag = "invites",
    params(
        openapi::StatusFilter, openapi::Filters,
        ("unreadable" = Option<bool>, Query, description = "Only those that are set aside because \
            they cannot be read"),
        openapi::Page,
    ),
    responses(
        (status = 200, description = "A page", body = InviteList),
        openapi::AnyCall, openapi::Stored, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<InviteList>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let known = FILTERS.iter().copied().chain(["status", "unreadable", "limit", "cursor"]);
    let mut parameters = Parameters::read(&uri, &known.collect::<Vec<_>>());
    let target = reads::filters(parameters.given());
    let unreadable = parameters.flag("unreadable");
    let filter = InviteFilter { unreadable, ..read_filter(&mut parameters, &caller)? };
    let limit = parameters.limit();
    let before = parameters.cursor::<String>();
    parameters.finish()?;
    let mut page = gateway.store().invites(&filter, before, limit).await?;
    let shown = page.invites.iter().map(|invite| Some(&invite.tenant));
    let mut shown =
        shown.chain(page.unreadable.iter().map(|unreadable| unreadable.tenant.as_ref()));
    if shown.any(|tenant| tenant.is_none_or(|tenant| tenant != caller.tenant())) {
        reads::record(&gateway, &caller, "invites.read", &target).await?;
    }
    let ids: Vec<InviteId> = page.invites.iter().map(|invite| invite.id).collect();
    let view = |record| InviteView::new(record, &gateway, &caller);
    let mut invites: Vec<_> = page.invites.into_iter().map(view).collect();
    if let Some(last) = cut_to_fit(&mut invites, &ids) {
        page.unreadable.retain(|unreadable| unreadable.id > last);
        page.next = Some(last);
    }
    Ok(Json(InviteList {
        invites,
        unreadable: page.unreadable.into_iter().map(|it| redact(it, &caller)).collect(),
        next_cursor: page.next.map(cursor),
    }))
}

/// Takes out what the caller may not know.
pub(crate) fn redact(mut unreadable: UnreadableInvite, caller: &Caller) -> UnreadableInvite {
    unreadable.tenant.take_if(|_| !caller.sees_all_tenants());
    unreadable
}

/// Reads whose the key asks for; `None`: everybody's. A key of one tenant asks for its own.
pub(crate) fn read_tenant(
    parameters: &mut Parameters,
    caller: &Caller,
) -> Result<Option<String>, Problem> {
    let tenant = parameters.one("tenant");
    if tenant.is_some() {
        caller.require(Scope::InvitesAllTenants)?;
    }
    Ok(if caller.sees_all_tenants() { tenant } else { Some(caller.tenant().to_owned()) })
}

/// Reads the filters. What the key may not see is filtered out, and asking for it by name is refused.
pub(crate) fn read_filter(
    parameters: &mut Parameters,
    caller: &Caller,
) -> Result<InviteFilter, Problem> {
    let tenant = read_tenant(parameters, caller)?;
    let providers = match (parameters.one("provider"), caller.providers()) {
        (Some(provider), _) => {
            caller.require_provider(&provider)?;
            vec![provider]
        }
        (None, Some(allowed)) => allowed.to_vec(),
        (None, None) => Vec::new(),
    };
    if caller.providers().is_some_and(<[String]>::is_empty) {
        let detail = "this key may use no provider";
        return Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail));
    }
    Ok(InviteFilter {
        tenant,
        batch_id: parameters.parsed::<BatchId>("batch_id", "the id of a batch"),
        providers,
        statuses: read_statuses(parameters),
        address: parameters.parsed::<Address>("email", "an email address"),
        external_id: parameters.one("external_id"),
        labels: read_labels(parameters),
        created_after: parameters.moment("created_after"),
        created_before: parameters.moment("created_before"),
        updated_after: parameters.moment("updated_after"),
        unreadable: false,
    })
}

fn read_statuses(parameters: &mut Parameters) -> Vec<Status> {
    let mut statuses = Vec::new();
    for word in parameters.all("status") {
        match word.parse() {
            Ok(status) if statuses.contains(&status) => {}
            Ok(status) => statuses.push(status),
            Err(_) => parameters.fault("status", "not-allowed", "there is no such status"),
        }
    }
    statuses
}

fn read_labels(parameters: &mut Parameters) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let given = parameters.all("label");
    if given.len() > MAX_LABELS {
        let detail = format!("an invite has at most {MAX_LABELS} labels, so none has all of these");
        parameters.fault("label", "too-many", detail);
        return labels;
    }
    for label in given {
        match label.split_once(':') {
            Some((key, value)) if !key.is_empty() => labels.push((key.into(), value.into())),
            _ => parameters.fault("label", "invalid", "expected key:value"),
        }
    }
    labels
}

/// The invite of this id, if the caller may see it and its row can be read.
pub(crate) async fn find_invite(
    gateway: &Gateway,
    caller: &Caller,
    id: &str,
) -> Result<InviteRecord, Problem> {
    find_row(gateway, caller, id).await?.map_err(|unreadable| {
        let status = unreadable.status.map(|word| format!(" Its status is `{word}`."));
        let detail = format!(
            "the invite's row in the database cannot be read: its column `{}` is damaged, or of another \
             version.{} Until it can be read nothing is done about it; DELETE by an administrator ends \
             it",
            unreadable.column,
            status.unwrap_or_default()
        );
        Problem::new(&codes::UNREADABLE, detail)
    })
}

/// The row of this id, if the caller may see it, whether it can be read or not.
pub(crate) async fn find_row(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Row, Problem> {
    caller.require_invite(gateway.store().invite_row(id).await?)
}

/// Read an invite
#[utoipa::path(
    get, path = "/v1/invites/{id}", tag = "invites",
    params(openapi::InviteParameter),
    responses(
        (status = 200, description = "The invite", body = InviteView),
        openapi::AnyCall, openapi::Stored, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_invite(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<InviteView>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let invite = find_invite(&gateway, &caller, &id).await?;
    refuse_parameters(&uri)?;
    reads::across_tenants(&gateway, &caller, &invite.tenant, "invite.read", &id).await?;
    let tenant = Some(caller.tenant()).filter(|_| !caller.sees_all_tenants());
    let waits_for = gateway.engine.waits_for(&invite, tenant).await?;
    let view = InviteView::new(invite, &gateway, &caller);
    Ok(Json(view.waiting_for(waits_for)))
}

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

fn view_attempt(
    gateway: &Gateway,
    invite: &InviteRecord,
    attempt: Attempt,
    visibility: Visibility,
) -> AttemptView {
    let has_failed = attempt.outcome.and_then(AttemptOutcome::failure).is_some();
    let hides = attempt.is_shared && !visibility.sees_all;
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
        request,
        reply,
    }
}
