//! Logs: to stderr, as lines for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{Log, LogFormat};

/// Starts logging. `RUST_LOG` is not read: the filter is a setting like any other.
pub fn start(log: &Log) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(log.filter()?);
    // The codes for colours would be noise in a file or a pipe.
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| format!("cannot start logging: {error}"))
}
