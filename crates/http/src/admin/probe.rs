//! Checking a provider's credential without side effects.

use axum::{Json, body::Body, extract::State, http::Uri};
use invite_delivery::LastProbe;
use invite_store::NewAudit;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::refuse_body,
    openapi,
    problem::Problem,
    providers::find_provider,
    query::refuse_parameters,
    segment::Segment,
};

/// Check a provider's credential
///
/// With a call that has no side effects: Turnkey's whoami, a list of one at RKVST, the event at
/// Securegate. A provider that refuses, or does not answer as it should, is a 502.
#[utoipa::path(
    post, path = "/v1/admin/providers/{name}/probe", tag = "administration",
    params(("name" = String, Path, description = "The provider's name", example = "treasury")),
    responses(
        (status = 200, description = "It was accepted", body = ref(openapi::place::<LastProbe>())),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
        openapi::NotAnswered,
    )
)]
pub(crate) async fn probe_provider(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<LastProbe>, Problem> {
    caller.require(Scope::ProvidersAct)?;
    find_provider(&gateway.live().current(), &caller, &name)?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    // The record comes first: no credential is sent for a check that is not on record.
    let entry = NewAudit::new(caller.actor(), "provider.probe", &name);
    gateway.store().record_audit(entry).await?;
    let engine = gateway.engine.clone();
    let probe = crate::run_to_completion(async move { engine.probe(&name).await }).await??;
    Ok(Json(probe))
}
