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
use invite_delivery::{ActionRules, OperationError};
use invite_store::{Action, ActionFilter, ApiKey, Error, InviteFilter, Progress};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Gateway,
    auth::{Caller, Scope, has_scope},
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
/// How many match tells of their labels and errors, so that who begins one has to be allowed to read them, too.
const SCOPES: [Scope; 2] = [Scope::InvitesWrite, Scope::InvitesRead];

pub(crate) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(create_action)).routes(routes!(get_action, cancel_action))
}

/// What goes on with actions has to know of callers.
pub(crate) const RULES: ActionRules = ActionRules { name_problem, why_not };

/// The code that the problem of an invite is counted under, or for which an action waits.
fn name_problem(error: OperationError) -> &'static str {
    match error {
        OperationError::Store(Error::Corrupt { .. }) => codes::UNREADABLE.word,
        OperationError::Store(Error::Full(_)) => codes::STORAGE_FULL.word,
        OperationError::Store(Error::Defect(_)) => codes::INTERNAL.word,
        OperationError::Store(_) => codes::NOT_READY.word,
        error => Problem::from(error).code(),
    }
}

/// Why a key, as it is now, may not ask for an action that it asked for.
fn why_not(key: &ApiKey, action: &Action) -> Option<&'static str> {
    let ActionFilter { tenant, providers, .. } = &action.filter;
    let has = |scope: &Scope| has_scope(key, scope.as_str());
    if !SCOPES.iter().all(has) {
        return Some("the key that asked for it may no longer read and change invites");
    }
    if tenant.as_deref() != Some(&*key.tenant) && !has(&Scope::InvitesAllTenants) {
        return Some("the key that asked for it may no longer see the invites of other tenants");
    }
    let is_allowed = key.providers.as_ref().is_none_or(|allowed| {
        !providers.is_empty() && providers.iter().all(|name| allowed.contains(name))
    });
    (!is_allowed).then_some("the key that asked for it may no longer use all of its providers")
}

/// Do something to all invites that a filter matches
///
/// Count first: with `dry_run` nothing is done, and `matched` says to how many it would be. That number as `confirm` starts it, if it is still
/// the right one (409 `count-differs`); `settle` wants the moment `as_of` of the count, too, and is only for invites whose call has been
/// in doubt since before that. It goes on by itself, step by step, also after a crash; each invite is treated as by the call
/// for it alone, and it ends after as many as were confirmed. Invites that are accepted later are left alone. Needs the scopes invites:write and
/// invites:read.
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
    for scope in SCOPES {
        caller.require(scope)?;
    }
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let now = whole_milliseconds(gateway.clock.now());
    let faults = Parameters::read(&uri, &[]).into_faults();
    let Wanted { kind, settled_as, filter, confirm } = read_new(body, &caller, now, faults)?;
    let matched = count(&gateway, &caller, &filter).await?;
    let Some(confirm) = confirm else {
        let as_of = filter.in_doubt_before;
        return Ok(Json(CountedAction { action: kind, matched, as_of }).into_response());
    };
    if confirm != matched {
        let detail = format!("the filter matches {matched} invites, and `confirm` is {confirm}");
        return Err(Problem::new(&codes::COUNT_DIFFERS, detail));
    }
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
        state: ActionState::Running,
        cancelled_because: None,
        matched,
        progress: Progress::new(),
        created_at: now,
        ended_at: None,
    };
    let (store, stored) = (gateway.store().clone(), action.clone());
    let adding =
        crate::run_to_completion(async move { store.add_action(&stored, MOST_RUNNING).await });
    if !adding.await?? {
        if kind == ActionKind::Retry {
            gateway.budgets.give_back_invites(caller.lineage(), matched);
        }
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
/// What was done stays done, and nothing more is, but for the invite that it is at, which is counted when it is done. One that has ended stays as it is.
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

#[cfg(test)]
mod tests {
    use invite_core::KeyId;

    use super::*;

    #[test]
    fn an_action_goes_on_only_while_its_key_may_ask_for_it() {
        let of = |tenant: Option<&str>, providers: &[&str]| Action {
            id: ActionId::generate(),
            tenant: "acme".to_owned(),
            key: KeyId::generate(),
            actor: String::new(),
            kind: ActionKind::Withdraw,
            settled_as: None,
            filter: ActionFilter {
                tenant: tenant.map(str::to_owned),
                providers: providers.iter().map(|name| (*name).to_owned()).collect(),
                ..ActionFilter::default()
            },
            state: ActionState::Running,
            cancelled_because: None,
            matched: 1,
            progress: Progress::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            ended_at: None,
        };
        let key = |scopes: &[&str], providers| crate::keys::tests::key(scopes, providers);
        let both = ["invites:write", "invites:read"];
        let is_refused = |key: ApiKey, action: Action| why_not(&key, &action).is_some();
        let own = || of(Some("acme"), &["a"]);
        assert!(!is_refused(key(&both, None), own()));
        assert!(!is_refused(key(&both, Some(&["a", "b"])), own()));
        assert!(!is_refused(key(&["admin"], None), of(None, &[])));
        for scope in both {
            assert!(is_refused(key(&[scope], None), own()));
        }
        for tenant in [None, Some("other")] {
            assert!(is_refused(key(&both, None), of(tenant, &["a"])));
        }
        for providers in [&[][..], &["a", "c"]] {
            assert!(is_refused(key(&both, Some(&["a", "b"])), of(Some("acme"), providers)));
        }
    }
}
