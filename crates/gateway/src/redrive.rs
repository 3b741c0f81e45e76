//! Putting failed invites back in the queue, by filter.

use axum::{Json, extract::State, http::Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    invites::{FILTERS, read_filter},
    openapi,
    problem::Problem,
    query::Parameters,
};

/// What became of the failed invites that the filter matched.
#[derive(Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// Failed invites that the filter matched and that can be sent at all.
    matched: u64,
    /// Queued again; in a dry run those that would be.
    queued: u64,
    /// Left alone: the person has a live invite there by now.
    duplicates: u64,
}

/// Redrive failed invites
///
/// Failed invites that the filter matches go back into the queue, each by the rules of `retry`.
#[utoipa::path(
    post,
    path = "/v1/admin/redrive",
    tag = "administration",
    params(
        ("dry_run" = Option<bool>, Query, description = "Only count"),
        openapi::Filters,
    ),
    responses(
        (status = 200, description = "What became of them", body = Redriven),
        openapi::AnyCall,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn redrive_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Redriven>, Problem> {
    caller.require(Scope::Admin)?;
    let known: Vec<&str> = FILTERS.iter().copied().chain(["dry_run"]).collect();
    let mut parameters = Parameters::read(&uri, &known);
    let filter = read_filter(&mut parameters, &caller)?;
    let is_dry_run = parameters.flag("dry_run");
    parameters.finish()?;
    let engine = gateway.engine().clone();
    let done = crate::to_the_end(async move { engine.redrive(filter, is_dry_run).await }).await??;
    Ok(Json(Redriven { matched: done.matched, queued: done.queued, duplicates: done.duplicates }))
}
