//! The HTTP API of the invite gateway.
//!
//! A request is read and checked here, and answered from what it became. What becomes of an invite
//! in between is decided in invite-delivery, SQL is in invite-store, and the provider document in
//! invite-config. Start with [`Gateway`].

mod actions;
mod admin;
mod attempts;
mod auth;
mod batch_lists;
mod batch_withdrawal;
mod batches;
mod binding;
mod body;
mod budget;
mod changes;
mod console;
mod create;
mod docs;
mod dry_run;
mod event_stream;
mod events;
mod host;
mod idempotency;
mod invite_list;
mod invites;
mod keys;
mod listener;
mod metrics;
mod moment;
mod observe;
mod offload;
mod openapi;
mod pool;
mod precondition;
mod prefer;
mod problem;
mod providers;
mod query;
mod reads;
mod schemas;
mod segment;
mod service;
mod stats;
mod strict_json;
mod submission;
mod trace;
mod views;
mod warnings;
mod webhooks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router, middleware,
    response::{IntoResponse, Redirect},
    routing::get,
};
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
pub use keys::{KeyChange, KeyState, new_key};
pub use listener::{Bounds, Listener, Tls, TlsFiles};
pub use metrics::MetricsUnavailable;

use problem::{Problem, codes};

/// What a request may ask for: the settings of these names.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_invites_per_request: usize,
    pub max_body_bytes: usize,
    pub idempotency_retention: Duration,
    /// How many requests may wait at once for their invites to settle. A quarter of them may be of one key.
    pub max_waiting: usize,
}

/// What the handlers work with. Cloning shares it.
#[derive(Clone)]
pub struct Gateway {
    engine: Engine,
    kinds: Arc<[Arc<ProviderKind>]>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    metrics: PrometheusHandle,
    openapi: Arc<Value>,
    key_uses: auth::KeyUses,
    budgets: Arc<budget::Budgets>,
    failures: Arc<auth::Failures>,
    recorded_reads: Arc<reads::RecordedReads>,
    offload: Arc<offload::Offload>,
    body_memory: body::Memory,
    waiting: Arc<pool::Pool<KeyId>>,
}

impl Gateway {
    /// The API of this engine, its store and its live configuration. From here on the process's metrics
    /// are recorded, by a task of the present runtime.
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
        let (key_uses, budgets, failures, recorded_reads, offload) = Default::default();
        Ok(Self {
            engine,
            kinds: kinds.into(),
            clock,
            limits,
            metrics,
            openapi: openapi.into(),
            key_uses,
            budgets,
            failures,
            recorded_reads,
            offload,
            body_memory: body::memory(limits.max_body_bytes),
            waiting: pool::Pool::new(limits.max_waiting, limits.max_waiting.div_ceil(4)),
        })
    }

    /// Starts to send events to webhooks, until the engine shuts down.
    ///
    /// # Errors
    /// What is wrong with this machine's TLS roots.
    pub fn start_webhooks(&self) -> Result<(), String> {
        let gateway = self.clone();
        let render =
            move |webhook: &_, event| webhooks::payload::of_event(&gateway, webhook, event);
        self.engine.start_webhooks(Arc::new(render))
    }

    /// Starts to go on with actions, until the engine shuts down.
    pub fn start_actions(&self) {
        self.engine.start_actions(actions::RULES);
    }

    pub fn router(&self) -> Router {
        let (with_key, _) = routes_with_key().split_for_parts();
        let (without_key, _) = routes_without_key().split_for_parts();
        let authenticate = middleware::from_fn_with_state(self.clone(), auth::authenticate);
        let routes = with_key
            .route_layer(authenticate)
            .merge(without_key)
            // Pages name their files relative to their folder, so their addresses end in a slash.
            .route("/docs", get(async || Redirect::permanent("/docs/")))
            .route("/docs/", get(docs::get_docs))
            .route("/docs/{*path}", get(docs::get_docs))
            .route("/console", get(async || Redirect::permanent("/console/")))
            .route("/console/", get(console::get_console))
            .route("/console/{*path}", get(console::get_console));
        with_middleware(routes).with_state(self.clone())
    }

    /// `/metrics` alone, without a key, for an address that only the monitoring reaches.
    pub fn metrics_router(&self) -> Router {
        with_middleware(Router::new().route("/metrics", get(service::get_open_metrics)))
            .with_state(self.clone())
    }

    fn store(&self) -> &Store {
        self.engine.store()
    }

    fn live(&self) -> &Live {
        self.engine.live()
    }

    fn body_bounds(&self, caller: &auth::Caller) -> body::Bounds {
        let (max_bytes, memory) = (self.limits.max_body_bytes, self.body_memory.clone());
        body::Bounds { max_bytes, memory, key: caller.id() }
    }
}

/// What a caller is told of a panic. Its words are in the log, and may be about a person.
const FAILED: &str = "the gateway failed; its log says more";
/// The shortest body that is compressed, in bytes. A shorter one hardly gets shorter.
const WORTH_COMPRESSING: u64 = 1024;

fn with_middleware(routes: Router<Gateway>) -> Router<Gateway> {
    let catch_panic = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        Problem::new(&codes::INTERNAL, FAILED).into_response()
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
/// If it cannot be written as JSON, or its examples cannot be read: defects that every test shows.
pub fn openapi() -> Value {
    let calls = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(routes_with_key())
        .merge(routes_without_key())
        .into_openapi();
    let mut document = serde_json::to_value(calls).expect("the document is JSON");
    openapi::complete(&mut document, schemas::all());
    document
}

fn routes_with_key() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(create::create_invites, invite_list::list_invites))
        .routes(routes!(invites::get_invite, changes::update_invite, changes::revoke_invite))
        .routes(routes!(attempts::list_attempts))
        .routes(routes!(changes::refresh_invite))
        .routes(routes!(changes::retry_invite))
        .routes(routes!(batch_lists::list_batches))
        .routes(routes!(batches::get_batch, batch_withdrawal::revoke_batch))
        .routes(routes!(batch_lists::list_batch_invites))
        .routes(routes!(stats::get_stats))
        .routes(routes!(events::list_events))
        .routes(routes!(event_stream::stream_events))
        .routes(routes!(providers::list_providers))
        .routes(routes!(providers::get_provider))
        .routes(routes!(providers::list_provider_invites))
        .routes(routes!(providers::list_provider_kinds))
        .merge(actions::routes())
        .merge(webhooks::routes())
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

/// Does work in a task of its own, so that it comes to its end also where the caller hangs up: then only the
/// handler is dropped.
async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|_| Problem::new(&codes::INTERNAL, FAILED))
}
