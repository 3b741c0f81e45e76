//! Reading invites.

use axum::{Json, extract::State, http::Uri};
use invite_core::{Address, BatchId, ReasonCode, Status, text::MAX_LABELS};
use invite_store::{InviteFilter, InviteRecord, Row, UnreadableInvite};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    reads,
    segment::Segment,
    views::InviteView,
};

/// The filters of invites, but for the status, which only some lists are filtered by.
pub(crate) const FILTERS: &[&str] = &[
    "batch_id",
    "provider",
    "email",
    "external_id",
    "label",
    "error_code",
    "created_after",
    "created_before",
    "updated_after",
    "tenant",
];

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
    let providers = read_providers(parameters, caller)?;
    Ok(InviteFilter {
        tenant,
        batch_id: parameters.parsed::<BatchId>("batch_id", "the id of a batch"),
        providers,
        statuses: read_statuses(parameters),
        address: parameters.parsed::<Address>("email", "an email address"),
        external_id: parameters.one("external_id"),
        error_codes: read_error_codes(parameters),
        labels: read_labels(parameters),
        created_after: parameters.moment("created_after"),
        created_before: parameters.moment("created_before"),
        updated_after: parameters.moment("updated_after"),
        in_doubt_before: None,
        unreadable: false,
    })
}

/// Reads at which provider; or all that the key is limited to. None: at any.
pub(crate) fn read_providers(
    parameters: &mut Parameters,
    caller: &Caller,
) -> Result<Vec<String>, Problem> {
    if caller.providers().is_some_and(<[String]>::is_empty) {
        let detail = "this key may use no provider";
        return Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail));
    }
    match (parameters.one("provider"), caller.providers()) {
        (Some(provider), _) => {
            caller.require_provider(&provider)?;
            Ok(vec![provider])
        }
        (None, allowed) => Ok(allowed.unwrap_or_default().to_vec()),
    }
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

fn read_error_codes(parameters: &mut Parameters) -> Vec<ReasonCode> {
    let mut codes = Vec::new();
    for word in parameters.all("error_code") {
        match word.parse() {
            Ok(code) if codes.contains(&code) => {}
            Ok(code) => codes.push(code),
            Err(_) => parameters.fault("error_code", "not-allowed", "no error has this code"),
        }
    }
    codes
}

pub(crate) fn read_labels(parameters: &mut Parameters) -> Vec<(String, String)> {
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
    find_row(gateway, caller, id).await?.map_err(|unreadable| unreadable_invite(&unreadable))
}

/// An invite whose row cannot be read was to be read or changed.
pub(crate) fn unreadable_invite(unreadable: &UnreadableInvite) -> Problem {
    let status = unreadable.status.as_ref().map(|word| format!(" Its status is `{word}`."));
    let detail = format!(
        "the invite's row in the database cannot be read: its column `{}` is damaged, or of another \
         version.{} Until it can be read nothing is done about it; DELETE by an administrator ends \
         it",
        unreadable.column,
        status.unwrap_or_default()
    );
    Problem::new(&codes::UNREADABLE, detail)
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
