//! The calls for those who run the gateway: whether it is alive, whether it is ready, and its metrics.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::{Problem, codes, storage},
};

type Metrics = ([(HeaderName, &'static str); 1], String);

/// How the gateway is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the process is alive
#[utoipa::path(
    get, path = "/livez", tag = "service", security(()),
    responses((status = 200, description = "It is", body = Health))
)]
pub(crate) async fn get_liveness() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the gateway can do its work
///
/// A row was written to the database, durably, and read within the last second, the newest provider
/// document can be served here, and it is not shutting down. However many ask, it is written once a
/// second, and the answer comes within a second.
#[utoipa::path(
    get, path = "/readyz", tag = "service", security(()),
    responses((status = 200, description = "It can", body = Health))
)]
pub(crate) async fn get_readiness(State(gateway): State<Gateway>) -> Result<Json<Health>, Problem> {
    if gateway.engine.is_shutting_down() {
        return Err(Problem::new(&codes::NOT_READY, "the gateway is shutting down"));
    }
    gateway.store().ready().await.map_err(|error| {
        tracing::warn!(%error, "the gateway is not ready: the database takes no write");
        Problem::new(&codes::NOT_READY, storage::describe(&error))
    })?;
    gateway.engine.check_serving()?;
    Ok(Json(Health { status: "ok" }))
}

/// Metrics, in the text format of Prometheus
///
/// They are about all providers: a key that is limited to some is refused.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "text/plain"),
        openapi::AnyCall,
    )
)]
pub(crate) async fn get_metrics(
    State(gateway): State<Gateway>,
    caller: Caller,
) -> Result<Metrics, Problem> {
    caller.require(Scope::ProvidersRead)?;
    caller.require_every_provider()?;
    Ok(get_open_metrics(State(gateway)).await)
}

pub(crate) async fn get_open_metrics(State(gateway): State<Gateway>) -> Metrics {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, gateway.metrics.render())
}
