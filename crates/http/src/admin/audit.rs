//! The record of what administrators changed. What is in an entry is said where the change is made.

use axum::{Json, extract::State, http::Uri};
use invite_delivery::Engine;
use invite_store::NewAudit;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::Problem,
    query::{Parameters, cursor},
    views::audit::{AuditEntryView, AuditList},
};

/// Records a change that has been made: that it could not be recorded does not undo it, and is logged.
pub(crate) async fn record(engine: &Engine, change: NewAudit) {
    let (actor, action) = (change.actor.name.clone(), change.action.clone());
    let target = change.target.clone();
    if let Err(error) = engine.store().record_audit(change).await {
        tracing::error!(
            audit.actor = actor, audit.action = action, audit.target = target, %error,
            "a change was made and cannot be recorded"
        );
    }
}

/// List what administrators changed
///
/// Newest first, each with what there was before and after.
#[utoipa::path(
    get,
    path = "/v1/admin/audit",
    tag = "administration",
    params(openapi::Page),
    responses(
        (status = 200, description = "A page", body = AuditList),
        openapi::AnyCall,
        openapi::Unprocessable,
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
        entries: page.entries.into_iter().map(AuditEntryView::new).collect(),
        unreadable: page.unreadable,
        next_cursor: page.next.map(cursor),
    }))
}
