//! Putting failed invites back in the queue, by filter.

use axum::{Json, body::Body, extract::State, http::Uri};
use invite_delivery::Redriven;
use invite_store::NewAudit;
use serde_json::json;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::refuse_body,
    invites::{FILTERS, read_filter},
    openapi,
    problem::Problem,
    query::Parameters,
    reads,
};

/// Redrive failed invites
///
/// Failed invites that the filter matches, or with `all=true` all of them, go back into the queue, newest
/// first, each by the rules of `retry`. Those for which there is no room yet are left as they are: ask again later.
#[utoipa::path(
    post, path = "/v1/admin/redrive", tag = "administration",
    params(
        ("dry_run" = Option<bool>, Query, description = "Only count", example = true),
        ("all" = Option<bool>, Query, description = "Every failed invite; wanted where no filter is given",
            example = true),
        openapi::Filters,
    ),
    responses(
        (status = 200, description = "What became of them", body = ref(openapi::place::<Redriven>())),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::Unprocessable,
    )
)]
pub(crate) async fn redrive_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    body: Body,
) -> Result<Json<Redriven>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    caller.require(Scope::InvitesAllTenants)?;
    let known: Vec<&str> = FILTERS.iter().copied().chain(["dry_run", "all"]).collect();
    refuse_body(body, gateway.body_bounds(&caller), &known).await?;
    let mut parameters = Parameters::read(&uri, &known);
    let filters = parameters.given().filter(|(name, _)| FILTERS.contains(name));
    let target = reads::filters(filters);
    let is_filtered = parameters.given().any(|(name, _)| FILTERS.contains(&name));
    let filter = read_filter(&mut parameters, &caller)?;
    let is_dry_run = parameters.flag("dry_run");
    if parameters.flag("all") == is_filtered {
        let detail = "name a filter, such as provider or batch_id, or give all=true and no filter for \
                      every failed invite there is";
        parameters.fault("all", "required", detail);
    }
    parameters.finish()?;
    if !is_dry_run {
        gateway.budgets.take_invites(caller.lineage(), 0, gateway.clock.now())?;
    }
    let (engine, actor) = (gateway.engine.clone(), caller.actor());
    let day_limits = caller.day_limits();
    let done = crate::run_to_completion(async move {
        let done = engine.redrive(filter, is_dry_run, &day_limits).await;
        if !is_dry_run {
            let after = match &done {
                Ok(done) => json!(done),
                // Invites that were queued before the error stay queued.
                Err(error) => json!({ "failed": error.to_string() }),
            };
            let change = NewAudit::new(actor, "invites.redrive", target);
            super::audit::record(&engine, NewAudit { after: Some(after), ..change }).await;
        }
        done
    });
    let done = done.await??;
    if !is_dry_run {
        gateway.budgets.charge_invites(caller.lineage(), done.queued);
    }
    Ok(Json(done))
}
