//! Actions: what is done to all invites that a filter matches, counted first.

pub(crate) mod body;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use invite_core::{ActionId, ActionKind, ActionState, Fault};
use invite_delivery::OperationError;
use invite_store::{Action, ActionFilter, InviteFilter, Progress};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::{read_json, refuse_body},
    keys::whole_milliseconds,
    openapi,
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    reads,
    segment::Segment,
    views::actions::{ActionView, CountedAction},
};

use body::{NewAction, Wanted, read_new};

/// How many actions of a tenant run at once.
const MOST_RUNNING: i64 = 10;
/// How many invites an action is for, at most.
const MOST_INVITES: u32 = 100_000;

pub(crate) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(create_action)).routes(routes!(get_action, cancel_action))
}

/// The code that the problem of an invite is counted under.
pub(crate) fn name_problem(error: OperationError) -> &'static str {
    match error {
        // Any other failure of the database ends the step.
        OperationError::Store(_) => codes::UNREADABLE.word,
        error => Problem::from(error).code(),
    }
}

/// Do something to all invites that a filter matches
///
/// Count first: with `dry_run` nothing is done, and `matched` says to how many it would be. That number as `confirm` starts it, if it is still
/// the right one (409 `count-differs`). It goes on by itself, step by step, also after a crash; each invite is treated as by the call
/// for it alone. Invites that are accepted later are left alone.
#[utoipa::path(
    post, path = "/v1/invites/actions", tag = "invites",
    request_body = NewAction,
    responses(
        (status = 200, description = "How many invites the filter matches; nothing was done", body = CountedAction),
        (status = 202, description = "It has begun", body = ActionView,
            headers(("Location" = String, description = "The action"))),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable, openapi::CountDiffers,
    )
)]
pub(crate) async fn create_action(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let Wanted { kind, settled_as, filter, confirm } = read_new(body, &caller, faults)?;
    let matched = count(&gateway, &caller, &filter).await?;
    let Some(confirm) = confirm else {
        return Ok(Json(CountedAction { action: kind, matched }).into_response());
    };
    if confirm != matched {
        let detail = format!("the filter matches {matched} invites, and `confirm` is {confirm}");
        return Err(Problem::new(&codes::COUNT_DIFFERS, detail));
    }
    let now = gateway.clock.now();
    if kind == ActionKind::Retry {
        let count = usize::try_from(matched).unwrap_or(usize::MAX);
        gateway.budgets.take_invites(caller.lineage(), count, now)?;
    }
    let action = Action {
        id: ActionId::generate(),
        tenant: caller.tenant().to_owned(),
        key: caller.id(),
        actor: caller.name(),
        kind,
        settled_as,
        filter,
        day_limits: caller.day_limits(),
        state: ActionState::Running,
        cancelled_because: None,
        matched,
        progress: Progress::new(),
        created_at: whole_milliseconds(now),
        ended_at: None,
    };
    let (store, stored) = (gateway.store().clone(), action.clone());
    let adding =
        crate::run_to_completion(async move { store.add_action(&stored, MOST_RUNNING).await });
    if !adding.await?? {
        let detail =
            format!("{MOST_RUNNING} actions of the tenant are running: wait for one, or cancel it");
        return Err(Problem::invalid(vec![Fault::new("#", "too-many", detail)]));
    }
    let location = [(header::LOCATION, format!("/v1/invites/actions/{}", action.id))];
    Ok((StatusCode::ACCEPTED, location, Json(ActionView::from(action))).into_response())
}

async fn count(gateway: &Gateway, caller: &Caller, filter: &ActionFilter) -> Result<u64, Problem> {
    if filter.tenant.as_deref() != Some(caller.tenant()) {
        let tenant = filter.tenant.iter().map(|tenant| ("tenant", tenant.as_str()));
        reads::record(gateway, caller, "invites.read", &reads::filters(tenant)).await?;
    }
    let filter = InviteFilter::from(filter.clone());
    let matched = gateway.store().count_invites(&filter, MOST_INVITES + 1).await?;
    if matched > u64::from(MOST_INVITES) {
        let detail = format!("it matches more than {MOST_INVITES} invites: narrow it");
        return Err(Problem::invalid(vec![Fault::new("#/filter", "too-many", detail)]));
    }
    Ok(matched)
}

/// Read how far an action has come
///
/// Its last hundred that have ended are kept of each tenant.
#[utoipa::path(
    get, path = "/v1/invites/actions/{id}", tag = "invites",
    params(openapi::ActionParameter),
    responses(
        (status = 200, description = "The action", body = ActionView),
        openapi::AnyCall, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_action(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<ActionView>, Problem> {
    let action = find(&gateway, &caller, &id).await?;
    refuse_parameters(&uri)?;
    Ok(Json(action.into()))
}

/// Cancel an action
///
/// What was done stays done, and nothing more is, but for the invite that it is at. One that has ended stays as it is.
#[utoipa::path(
    delete, path = "/v1/invites/actions/{id}", tag = "invites",
    params(openapi::ActionParameter),
    responses(
        (status = 200, description = "The action as it is now", body = ActionView),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
    )
)]
pub(crate) async fn cancel_action(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<ActionView>, Problem> {
    let action = find(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let cancelling = crate::run_to_completion(async move {
        store.cancel_action(action.id, "somebody cancelled it", &actor).await
    });
    let action = cancelling.await??.ok_or_else(|| Problem::not_found("action"))?;
    Ok(Json(action.into()))
}

/// The action, if the caller might have asked for it.
async fn find(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Action, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let id: ActionId = id.parse().map_err(|_| Problem::not_found("action"))?;
    let action = gateway.store().action(id).await?;
    let may_see = |action: &Action| {
        let ActionFilter { tenant, providers, .. } = &action.filter;
        let is_own = tenant.as_deref() == Some(caller.tenant());
        let is_allowed = caller.providers().is_none()
            || !providers.is_empty() && providers.iter().all(|name| caller.may_use(name));
        (is_own || caller.sees_all_tenants()) && is_allowed
    };
    action.filter(may_see).ok_or_else(|| Problem::not_found("action"))
}
