//! Changing one invite: its status, withdrawing it, asking about it, sending it again.
//!
//! What each change means is decided in invite-delivery. A change is made to its end even if the
//! caller hangs up.

use std::sync::LazyLock;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::{Fault, Faults, InviteId, Outcome, Status, schema::Schema};
use invite_delivery::{Engine, OperationError};
use invite_store::{Ended, InviteRecord, NewAudit, UnreadableInvite};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Gateway,
    admin::audit,
    auth::{Caller, Scope},
    body::{read_json, read_members, read_optional_json, refuse_body},
    invites::{find_invite, find_row},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    reads,
    segment::Segment,
    views::{InviteView, shown::ShownInvite},
};

/// A change of an invite.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteChange {
    /// The status to set; `failed` only on an unknown invite, which then can be `pending` as well.
    #[schemars(with = "SettableStatus")]
    status: Option<SettableStatus>,
}

/// A status that a caller may set.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SettableStatus {
    /// Exists at the provider, no answer yet.
    Pending,
    /// Was mailed.
    Sent,
    /// The person accepted.
    Accepted,
    /// The person declined.
    Declined,
    /// Does not exist at the provider.
    Failed,
}

impl From<SettableStatus> for Status {
    fn from(status: SettableStatus) -> Self {
        match status {
            SettableStatus::Pending => Self::Pending,
            SettableStatus::Sent => Self::Sent,
            SettableStatus::Accepted => Self::Accepted,
            SettableStatus::Declined => Self::Declined,
            SettableStatus::Failed => Self::Failed,
        }
    }
}

/// How to retry an invite.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// Send an unknown one again, although the person may then get two.
    accept_duplicate_risk: Option<bool>,
}

static CHANGE: LazyLock<Schema> = LazyLock::new(Schema::of::<InviteChange>);
static RETRY: LazyLock<Schema> = LazyLock::new(Schema::of::<RetryRequest>);

/// Set an invite's status
///
/// At a provider that can. On an `unknown` invite `pending` (a person found it there) or `failed`
/// (found absent) is recorded and nothing is set there. For `pending` the provider is asked once, so
/// that the id of what was found is known if it is the only one that no other Invite stands for.
#[utoipa::path(
    patch, path = "/v1/invites/{id}", tag = "invites",
    params(openapi::InviteParameter),
    request_body = InviteChange,
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound,
        openapi::Unprocessable, openapi::NotAdmitted, openapi::NotChanged,
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
    let (Some(to), true) = (read_status(body, &mut faults), faults.is_empty()) else {
        return Err(Problem::invalid(faults.into_vec()));
    };
    let noted = note(&gateway, &caller, "invite.status", &invite, None);
    change(&gateway, &caller, invite.id, noted, async move |engine, id| {
        engine.set_status(id, to).await
    })
    .await
}

fn read_status(body: Value, faults: &mut Faults) -> Option<Status> {
    let meant = body["status"].as_str().and_then(meant);
    let mut found = Faults::default();
    let change: InviteChange = read_members(body, &CHANGE, &mut found);
    faults.extend(found.into_iter().map(|fault| match fault.pointer.as_str() {
        "#/status" => Fault { suggestion: meant.map(str::to_owned).or(fault.suggestion), ..fault },
        _ => fault,
    }));
    change.status.map(Status::from)
}

/// The status of ours that providers or people call by this word, which is not spelled like ours.
fn meant(word: &str) -> Option<&'static str> {
    match word.to_lowercase().as_str() {
        "rejected" | "refused" | "denied" => Some("declined"),
        "approved" | "confirmed" | "joined" => Some("accepted"),
        "created" | "open" => Some("pending"),
        "delivered" => Some("sent"),
        _ => None,
    }
}

/// Withdraw an invite
///
/// A queued one here, an existing one at a provider that can. One that cannot be read is ended here by an
/// administrator, whatever there is of it at its provider.
#[utoipa::path(
    delete, path = "/v1/invites/{id}", tag = "invites",
    params(
        openapi::InviteParameter,
        ("force" = Option<bool>, Query, description = "Withdraw although it is not proven that the \
            provider's id is this invite's"),
    ),
    responses(
        (status = 200, description = "The invite as it is now", body = Revoked),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
        openapi::NotAdmitted, openapi::NotChanged,
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
    let (engine, actor) = (gateway.engine.clone(), caller.actor());
    let ended = crate::run_to_completion(async move { engine.end_unreadable(&id, &actor).await });
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
    post, path = "/v1/invites/{id}/refresh", tag = "invites",
    params(openapi::InviteParameter),
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
        openapi::NotAdmitted, openapi::NotAnswered, openapi::NotAsked,
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
    post, path = "/v1/invites/{id}/retry", tag = "invites",
    params(openapi::InviteParameter),
    request_body = Option<RetryRequest>,
    responses(
        (status = 200, description = "The invite as it is now", body = ShownInvite),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound,
        openapi::Unprocessable, openapi::NotAdmitted, openapi::NotQueued,
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
    let given: RetryRequest = match body {
        Some(body) => read_members(body, &RETRY, &mut faults),
        None => RetryRequest::default(),
    };
    if !faults.is_empty() {
        return Err(Problem::invalid(faults.into_vec()));
    }
    gateway.budgets.take_invites(caller.lineage(), 1, gateway.clock.now())?;
    let day_limits = caller.day_limits();
    let accept_risk = given.accept_duplicate_risk.unwrap_or_default();
    let flag = accept_risk.then_some("accept_duplicate_risk");
    let noted = note(&gateway, &caller, "invite.retry", &invite, flag);
    change(&gateway, &caller, invite.id, noted, async move |engine, id| {
        engine.retry(id, accept_risk, day_limits).await
    })
    .await
}

/// The entry of an administrator's change without what comes of it. Changes by others are not recorded.
/// `flag` is the one that the request sets.
fn note(
    gateway: &Gateway,
    caller: &Caller,
    action: &str,
    invite: &InviteRecord,
    flag: Option<&str>,
) -> Option<NewAudit> {
    let status = invite.status_at(gateway.clock.now()).0;
    let after = flag.map_or_else(|| json!({}), |flag| json!({ flag: true }));
    caller.sees_all_tenants().then(|| NewAudit {
        before: Some(json!({ "status": status.as_str() })),
        after: Some(after),
        ..NewAudit::new(caller.actor(), action, invite.id.to_string())
    })
}

/// Makes a change. Where `noted` is given, the change is recorded if it was made, or may have been.
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
    let engine = gateway.engine.traced(caller.traceparent());
    let (made, now) = (call(engine.clone(), id), gateway.clock.now());
    let invite = crate::run_to_completion(async move {
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

/// Whether the change may have been made although this error came back.
pub(crate) fn is_open(error: &OperationError) -> bool {
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
        assert_eq!(read(json!({ "status": "declined" })), (Some(Status::Declined), None));
        for (value, code) in [
            (json!({}), "required"),
            (json!({ "status": null }), "wrong-type"),
            (json!({ "status": 1 }), "wrong-type"),
            (json!({ "status": "revoked" }), "not-allowed"),
            (json!({ "status": "Pending" }), "not-allowed"),
            (json!([]), "wrong-type"),
        ] {
            assert_eq!(read(value), (None, Some(code.to_owned())));
        }
    }
}
