//! Logs: to stderr, as lines for people or as JSON.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
};

use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{Log, LogFormat};

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging. `RUST_LOG` is not read: the filter is a setting like any other.
pub fn start(log: &Log) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(log.filter()?);
    // The codes for colours would be noise in a file or a pipe.
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal() && !is_without_colour());
    let started = match log.format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| format!("cannot start logging: {error}"))?;
    IS_JSON.store(log.format == LogFormat::Json, Ordering::Relaxed);
    Ok(())
}

/// Whether whoever reads stderr takes each line for an object.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// <https://no-color.org>
#[expect(clippy::disallowed_methods, reason = "the composition root reads the environment")]
fn is_without_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
