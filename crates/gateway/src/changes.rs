//! Changing one invite: its status, withdrawing it, asking about it, sending it again.
//!
//! What each change means is the engine's; it runs to its end even if the caller hangs up.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::{Fault, Faults, InviteId, Outcome, Status, schema::nearest};
use invite_delivery::{Engine, OperationError};
use invite_store::{Ended, InviteRecord, NewAudit, UnreadableInvite};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Gateway,
    admin::audit,
    auth::{Caller, Scope},
    body::{read_json, read_optional_json, refuse_body},
    invites::{find_invite, find_row},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    reads,
    requests::{InviteChange, RetryRequest},
    segment::Segment,
    submission::{object, refuse_unknown, take},
    views::{InviteView, shown::ShownInvite},
};

/// The statuses that a caller may set; `failed` only on an unknown invite, which the engine checks.
const SETTABLE: [Status; 5] =
    [Status::Pending, Status::Sent, Status::Accepted, Status::Declined, Status::Failed];

/// Set an invite's status
///
/// At a provider that can. On an `unknown` invite `pending` (a person found it there) or `failed`
/// (found absent) is recorded and nothing is set there. For `pending` the provider is asked once, so
/// that the id of what was found is known if it is the only one that no other Invite stands for.
#[utoipa::path(
    patch,
    path = "/v1/invites/{id}",
    tag = "invites",
    params(openapi::InviteParameter),
    request_body = InviteChange,
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::NotFound,
        openapi::Unprocessable,
        openapi::OneChange,
    )
)]
pub(crate) async fn update_invite(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ShownInvite>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let invite = find_invite(&gateway, &caller, &id).await?;
    let mut faults = Parameters::read(&uri, &[]).into_faults();
    let mut members = read_members(body, &mut faults);
    let status = read_status(members.remove("status"), &mut faults);
    refuse_unknown_members(&members, "status", &mut faults);
    let (Some(to), true) = (status, faults.is_empty()) else {
        return Err(Problem::invalid(faults.into_vec()));
    };
    let noted = note(&gateway, &caller, "invite.status", &invite, None);
    change(&gateway, &caller, invite.id, noted, async move |engine, id| {
        engine.set_status(id, to).await
    })
    .await
}

fn read_members(body: Value, faults: &mut Faults) -> Map<String, Value> {
    object(body).unwrap_or_else(|fault| {
        faults.push(fault.under("#"));
        Map::new()
    })
}

fn refuse_unknown_members(members: &Map<String, Value>, known: &str, faults: &mut Faults) {
    let mut found = Faults::default();
    refuse_unknown(members, &[known], &mut found);
    faults.extend(found.into_iter().map(|fault| fault.under("#")));
}

fn read_status(value: Option<Value>, faults: &mut Faults) -> Option<Status> {
    let fault = match value {
        None => Fault::new("#/status", "required", "`status` is missing"),
        Some(Value::String(word)) => {
            if let Some(status) = word.parse().ok().filter(|status| SETTABLE.contains(status)) {
                return Some(status);
            }
            let detail = "`status` must be pending, sent, accepted or declined; on an unknown invite \
                          pending or failed";
            let suggestion = meant(&word).map(|status| status.to_string());
            Fault { suggestion, ..Fault::new("#/status", "not-allowed", detail) }
        }
        Some(_) => Fault::new("#/status", "wrong-type", "`status` must be a string"),
    };
    faults.push(fault);
    None
}

/// The status that a word was probably meant for: providers and people have words of their own.
fn meant(word: &str) -> Option<Status> {
    match word.to_lowercase().as_str() {
        "rejected" | "refused" | "denied" => Some(Status::Declined),
        "approved" | "confirmed" | "joined" => Some(Status::Accepted),
        "created" | "open" => Some(Status::Pending),
        "delivered" => Some(Status::Sent),
        other => {
            let words = SETTABLE.map(|status| status.to_string());
            nearest(other, words.iter().map(String::as_str))?.parse().ok()
        }
    }
}

/// Withdraw an invite
///
/// A queued one here, an existing one at a provider that can. One that cannot be read is ended here by an
/// administrator, whatever there is of it at its provider.
#[utoipa::path(
    delete,
    path = "/v1/invites/{id}",
    tag = "invites",
    params(
        openapi::InviteParameter,
        ("force" = Option<bool>, Query, description = "Withdraw although it is not proven that the \
            provider's id is this invite's"),
    ),
    responses(
        (status = 200, description = "The invite as it is now", body = Revoked),
        openapi::AnyCall,
        openapi::WithoutBody,
        openapi::NotFound,
        openapi::Unprocessable,
        openapi::OneChange,
    )
)]
pub(crate) async fn revoke_invite(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<Revoked>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let row = find_row(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &["force"]).await?;
    let mut parameters = Parameters::read(&uri, &["force"]);
    let force = parameters.flag("force");
    parameters.finish()?;
    if row.is_err() && caller.sees_all_tenants() {
        return end_unreadable(&gateway, &caller, id).await;
    }
    let invite = find_invite(&gateway, &caller, &id).await?;
    let noted = note(&gateway, &caller, "invite.revoke", &invite, force.then_some("force"));
    change(&gateway, &caller, invite.id, noted, async move |engine, id| {
        engine.revoke(id, force).await
    })
    .await
    .map(|Json(invite)| Json(Revoked::Invite(invite)))
}

/// What is left of an invite that was withdrawn.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Revoked {
    /// It.
    Invite(ShownInvite),
    /// What can be told of one that cannot be read.
    Unreadable(Box<UnreadableInvite>),
}

async fn end_unreadable(
    gateway: &Gateway,
    caller: &Caller,
    id: String,
) -> Result<Json<Revoked>, Problem> {
    let (engine, actor) = (gateway.engine().clone(), caller.actor());
    let ended = crate::to_the_end(async move { engine.end_unreadable(&id, &actor).await });
    match ended.await?? {
        Ended::Before(invite) if invite.status.as_deref() != Some(Status::Revoked.as_str()) => {
            Err(Problem::new(&codes::ALREADY_FINAL, "the invite has ended, which is final"))
        }
        Ended::Now(invite) | Ended::Before(invite) => {
            Ok(Json(Revoked::Unreadable(Box::new(invite))))
        }
        Ended::NotSetAside => {
            let detail = "the invite could be read again meanwhile; send the request again";
            Err(Problem::new(&codes::NOT_SETTLED, detail))
        }
    }
}

/// Ask the provider about an invite now
#[utoipa::path(
    post,
    path = "/v1/invites/{id}/refresh",
    tag = "invites",
    params(openapi::InviteParameter),
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall,
        openapi::WithoutBody,
        openapi::NotFound,
        openapi::Unprocessable,
        openapi::OneChange,
    )
)]
pub(crate) async fn refresh_invite(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<ShownInvite>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let invite = find_invite(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    reads::across_tenants(&gateway, &caller, &invite.tenant, "invite.read", &id).await?;
    change(&gateway, &caller, invite.id, None, async move |engine, id| engine.refresh(id).await)
        .await
}

/// Put an invite back in the queue
///
/// A failed one; an unknown one only at the risk of sending it twice. What holds for a new invite holds
/// here: no other live one to the person (409 `duplicate`), room in the provider's queue (503
/// `backlog-full`), in its quota (422 `quota-exceeded`) and in the invites that the key may ask for (429
/// `rate-limited`).
#[utoipa::path(
    post,
    path = "/v1/invites/{id}/retry",
    tag = "invites",
    params(openapi::InviteParameter),
    request_body = Option<RetryRequest>,
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::NotFound,
        openapi::Unprocessable,
        openapi::OneChange,
    )
)]
pub(crate) async fn retry_invite(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ShownInvite>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let body = read_optional_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let invite = find_invite(&gateway, &caller, &id).await?;
    let mut faults = Parameters::read(&uri, &[]).into_faults();
    let mut accept_risk = false;
    if let Some(body) = body {
        let mut members = read_members(body, &mut faults);
        match take(&mut members, "accept_duplicate_risk") {
            None => {}
            Some(Value::Bool(flag)) => accept_risk = flag,
            Some(_) => faults.push(Fault::new(
                "#/accept_duplicate_risk",
                "wrong-type",
                "`accept_duplicate_risk` must be true or false",
            )),
        }
        refuse_unknown_members(&members, "accept_duplicate_risk", &mut faults);
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults.into_vec()));
    }
    gateway.budgets().take_invites(caller.line(), 1, gateway.clock().now())?;
    let day_limits = caller.day_limits();
    let flag = accept_risk.then_some("accept_duplicate_risk");
    let noted = note(&gateway, &caller, "invite.retry", &invite, flag);
    change(&gateway, &caller, invite.id, noted, async move |engine, id| {
        engine.retry(id, accept_risk, day_limits).await
    })
    .await
}

/// An administrator's change, but for what comes of it; others' are not recorded. `flag` is the one
/// that was set.
fn note(
    gateway: &Gateway,
    caller: &Caller,
    action: &str,
    invite: &InviteRecord,
    flag: Option<&str>,
) -> Option<NewAudit> {
    let status = invite.status_at(gateway.clock().now()).0;
    let after = flag.map(|flag| json!({ flag: true }));
    caller.sees_all_tenants().then(|| NewAudit {
        actor: caller.actor(),
        action: action.to_owned(),
        target: invite.id.to_string(),
        before: Some(json!({ "status": status.as_str() })),
        after: Some(after.unwrap_or_else(|| json!({}))),
        note: None,
    })
}

/// Makes a change, and records it as `noted`: also one that may have been made.
async fn change<C, F>(
    gateway: &Gateway,
    caller: &Caller,
    id: InviteId,
    noted: Option<NewAudit>,
    call: C,
) -> Result<Json<ShownInvite>, Problem>
where
    C: FnOnce(Engine, InviteId) -> F,
    F: Future<Output = Result<InviteRecord, OperationError>> + Send + 'static,
{
    let engine = gateway.engine().traced(caller.traceparent());
    let (made, now) = (call(engine.clone(), id), gateway.clock().now());
    let invite = crate::to_the_end(async move {
        let made = made.await;
        let (member, came_to) = match &made {
            Ok(invite) => ("status", invite.status_at(now).0.to_string()),
            Err(error) => ("failed", error.to_string()),
        };
        if let Some(mut noted) = noted.filter(|_| made.as_ref().err().is_none_or(is_open)) {
            if let Some(after) = &mut noted.after {
                after[member] = json!(came_to);
            }
            audit::record(&engine, noted).await;
        }
        made
    });
    let invite = invite.await??;
    Ok(Json(ShownInvite::existing(InviteView::new(invite, gateway, caller), caller)))
}

/// Whether the change may have been made although it failed.
fn is_open(error: &OperationError) -> bool {
    match error {
        OperationError::Provider { error, .. } => error.outcome == Outcome::Unknown,
        OperationError::Store(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_status_that_a_caller_may_set_is_taken() {
        let read = |value| {
            let mut faults = Faults::default();
            let status = read_status(value, &mut faults);
            (status, faults.into_vec().pop().map(|fault| fault.code))
        };
        assert_eq!(read(Some(json!("declined"))), (Some(Status::Declined), None));
        for (value, code) in [
            (None, "required"),
            (Some(json!(1)), "wrong-type"),
            (Some(json!("revoked")), "not-allowed"),
            (Some(json!("Pending")), "not-allowed"),
        ] {
            assert_eq!(read(value), (None, Some(code.to_owned())));
        }
    }
}
