//! The record of what administrators changed. What an entry says is decided where the change is made.

use axum::{Json, extract::State, http::Uri};
use invite_delivery::Engine;
use invite_store::{AuditEntry, NewAudit, Unreadable};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::Problem,
    query::{Parameters, cursor},
};

/// Changes that administrators made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditList {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Unreadable>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<String>,
}

/// Records a change that has been made. Where that fails it is logged, as the change cannot be undone.
pub(crate) async fn record(engine: &Engine, change: NewAudit) {
    if let Err(error) = engine.store().record_audit(change.clone()).await {
        tracing::error!(
            audit.actor = change.actor.name, audit.action = change.action,
            audit.target = change.target, %error,
            "a change was made and cannot be added to the record of changes"
        );
    }
}

/// List what administrators changed
///
/// Newest first, each with what there was before and after.
#[utoipa::path(
    get, path = "/v1/admin/audit", tag = "administration",
    params(openapi::Page),
    responses(
        (status = 200, description = "A page", body = AuditList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_audit(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<AuditList>, Problem> {
    caller.require_for_all(Scope::AuditRead)?;
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let before = parameters.cursor::<String>();
    parameters.finish()?;
    let page = gateway.store().audit(before, limit).await?;
    Ok(Json(AuditList {
        entries: page.entries,
        unreadable: page.unreadable,
        next_cursor: page.next.map(cursor),
    }))
}
