//! The HTTP API of the invite gateway.
//!
//! Requests become invites here, and invites become answers. What is done with an invite in between
//! is the delivery engine's; SQL is the store's; which provider is which is the configuration's.
//! Start with [`Gateway`].

mod admin;
mod aside;
mod auth;
mod batches;
mod binding;
mod body;
mod budget;
mod changes;
mod console;
mod create;
mod docs;
mod host;
mod idempotency;
mod invites;
mod keys;
mod listener;
mod metrics;
mod moment;
mod observe;
mod openapi;
mod precondition;
mod prefer;
mod problem;
mod providers;
mod query;
mod reads;
mod rehearsal;
mod segment;
mod service;
mod shapes;
mod shares;
mod submission;
mod trace;
mod unambiguous;
mod views;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware, response::IntoResponse, routing::get};
use invite_config::Live;
use invite_core::{Clock, KeyId, ProviderKind};
use invite_delivery::Engine;
use invite_store::Store;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, DefaultPredicate, Predicate, predicate::SizeAbove},
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use auth::{generate_key, hash_key};
pub use keys::{KeyChange, key_state, new_key};
pub use listener::{Bounds, Listener, Tls, TlsFiles};
pub use metrics::MetricsUnavailable;

use problem::{Problem, codes};

/// What a request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Invites in one request at most (`server.max_invites_per_request`).
    pub max_invites_per_request: usize,
    /// The longest body, in bytes (`server.max_body_bytes`).
    pub max_body_bytes: usize,
    /// How long an Idempotency-Key is remembered (`idempotency.retention`).
    pub idempotency_retention: Duration,
    /// Requests that wait for their invites to settle at once; of one key a quarter of them.
    pub max_waiting: usize,
}

/// What the handlers work with. Cloning shares it.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

struct Parts {
    engine: Engine,
    kinds: Vec<Arc<ProviderKind>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    metrics: PrometheusHandle,
    openapi: Value,
    key_uses: auth::KeyUses,
    budgets: budget::Budgets,
    failures: auth::Failures,
    recorded_reads: reads::RecordedReads,
    aside: aside::Aside,
    body_memory: body::Memory,
    waiting: Arc<shares::Shares<KeyId>>,
}

impl Gateway {
    /// A gateway before this engine, with its store and its live configuration; `kinds` are all
    /// provider kinds. It also starts recording the process's metrics, in the present runtime.
    ///
    /// # Errors
    /// Something else records this process's metrics already.
    pub fn new(
        engine: Engine,
        kinds: Vec<Arc<ProviderKind>>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, MetricsUnavailable> {
        let metrics = metrics::recorder()?;
        let mut openapi = openapi();
        openapi::limit_invites(&mut openapi, limits.max_invites_per_request);
        let (key_uses, budgets, failures, recorded_reads, aside) = Default::default();
        Ok(Self(Arc::new(Parts {
            engine,
            kinds,
            clock,
            limits,
            metrics,
            openapi,
            key_uses,
            budgets,
            failures,
            recorded_reads,
            aside,
            body_memory: body::memory(limits.max_body_bytes),
            waiting: shares::Shares::new(limits.max_waiting, limits.max_waiting.div_ceil(4)),
        })))
    }

    /// The whole API.
    pub fn router(&self) -> Router {
        let (with_key, _) = routes_with_key().split_for_parts();
        let (without_key, _) = routes_without_key().split_for_parts();
        let authenticate = middleware::from_fn_with_state(self.clone(), auth::authenticate);
        let routes = with_key
            .route_layer(authenticate)
            .merge(without_key)
            .route("/docs", get(docs::redirect_docs))
            .route("/docs/", get(docs::get_docs))
            .route("/docs/{*path}", get(docs::get_docs))
            .route("/console", get(console::redirect_console))
            .route("/console/", get(console::get_console))
            .route("/console/{*path}", get(console::get_console));
        around(routes).with_state(self.clone())
    }

    /// `/metrics` alone, without a key: for an address that only the monitoring reaches.
    pub fn metrics_router(&self) -> Router {
        around(Router::new().route("/metrics", get(service::get_open_metrics)))
            .with_state(self.clone())
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn store(&self) -> &Store {
        self.0.engine.store()
    }

    fn live(&self) -> &Live {
        self.0.engine.live()
    }

    fn kinds(&self) -> &[Arc<ProviderKind>] {
        &self.0.kinds
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn metrics(&self) -> &PrometheusHandle {
        &self.0.metrics
    }

    fn openapi(&self) -> &Value {
        &self.0.openapi
    }

    fn key_uses(&self) -> &auth::KeyUses {
        &self.0.key_uses
    }

    fn failures(&self) -> &auth::Failures {
        &self.0.failures
    }

    fn budgets(&self) -> &budget::Budgets {
        &self.0.budgets
    }

    fn recorded_reads(&self) -> &reads::RecordedReads {
        &self.0.recorded_reads
    }

    fn aside(&self) -> &aside::Aside {
        &self.0.aside
    }

    fn body_bounds(&self, caller: &auth::Caller) -> body::Bounds {
        let (max_bytes, memory) = (self.0.limits.max_body_bytes, self.0.body_memory.clone());
        body::Bounds { max_bytes, memory, key: caller.id() }
    }

    fn waiting(&self) -> &Arc<shares::Shares<KeyId>> {
        &self.0.waiting
    }
}

/// Shorter answers would hardly become shorter, in bytes.
const WORTH_COMPRESSING: u64 = 1024;

/// What surrounds every request.
fn around(routes: Router<Gateway>) -> Router<Gateway> {
    let catch_panic = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        Problem::new(&codes::INTERNAL, "the gateway failed; its log says more").into_response()
    });
    let compress = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(DefaultPredicate::new().and(SizeAbove::new(WORTH_COMPRESSING)));
    routes
        .layer(catch_panic)
        .layer(middleware::from_fn(host::require))
        .layer(middleware::from_fn(observe::observe))
        .layer(compress)
}

/// The OpenAPI 3.1 document of the API.
///
/// # Panics
/// If it cannot be written as JSON: a defect that every test shows.
pub fn openapi() -> Value {
    let calls = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(routes_with_key())
        .merge(routes_without_key())
        .into_openapi();
    let mut document = serde_json::to_value(calls).expect("the document is JSON");
    document["components"]["schemas"] = shapes::all().into();
    document
}

fn routes_with_key() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(create::create_invites, invites::list_invites))
        .routes(routes!(invites::get_invite, changes::update_invite, changes::revoke_invite))
        .routes(routes!(invites::list_attempts))
        .routes(routes!(changes::refresh_invite))
        .routes(routes!(changes::retry_invite))
        .routes(routes!(batches::get_batch))
        .routes(routes!(providers::list_providers))
        .routes(routes!(providers::get_provider))
        .routes(routes!(providers::list_provider_invites))
        .routes(routes!(providers::list_provider_kinds))
        .merge(admin::routes())
        .routes(routes!(service::get_metrics))
}

fn routes_without_key() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(service::get_liveness))
        .routes(routes!(service::get_readiness))
        .routes(routes!(docs::get_openapi))
        .routes(routes!(problem::pages::get_problem))
}

/// Does the work even if the caller hangs up, which drops only the handler.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|_| {
        // What it panicked with is in the log already, and may be personal.
        Problem::new(&codes::INTERNAL, "the gateway failed; its log says more")
    })
}
