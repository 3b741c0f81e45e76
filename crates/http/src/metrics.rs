//! The recorder behind `/metrics`. What is measured is told where it happens, through the
//! `metrics` macros; labels come from small fixed sets.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the duration histograms, in seconds.
const DURATIONS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Why connections are closed and keys refused: counted from zero on, so that the first is seen as an increase.
const CLOSED: [&str; 7] = [
    "head-timeout",
    "idle-timeout",
    "answer-timeout",
    "evicted",
    "no-room",
    "malformed",
    "tls-handshake",
];
const NOT_AUTHENTICATED: [&str; 6] =
    ["missing", "several", "unknown", "revoked", "expired", "unreadable"];
/// How often measurements are folded into the histograms if nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, thiserror::Error)]
#[error("recording metrics: {0}")]
pub struct MetricsUnavailable(String);

/// The recorder of the process. The first call makes it, and has to be made in the runtime.
pub(crate) fn recorder() -> Result<PrometheusHandle, MetricsUnavailable> {
    // A process can have only one recorder, however many gateways are made in it.
    static RECORDER: OnceLock<Result<PrometheusHandle, MetricsUnavailable>> = OnceLock::new();
    RECORDER.get_or_init(|| install().map_err(|e| MetricsUnavailable(e.to_string()))).clone()
}

fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&DURATIONS)?.install_recorder()?;
    metrics::describe_counter!("http_requests_total", "Requests answered");
    metrics::describe_histogram!(
        "http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from a request's head to its answer's head"
    );
    metrics::describe_gauge!("http_connections", "Connections that are open");
    metrics::describe_counter!(
        "http_connections_closed_total",
        "Connections closed that their callers would have kept, by reason"
    );
    metrics::describe_counter!(
        "http_authentication_failures_total",
        "Requests without a good API key, by reason"
    );
    metrics::describe_gauge!("invite_gateway_build_info", "1, with the version that runs");
    metrics::gauge!("invite_gateway_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for reason in CLOSED {
        metrics::counter!("http_connections_closed_total", "reason" => reason).increment(0);
    }
    for reason in NOT_AUTHENTICATED {
        metrics::counter!("http_authentication_failures_total", "reason" => reason).increment(0);
    }
    invite_delivery::describe_metrics();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
