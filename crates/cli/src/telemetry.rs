//! Logs: to stderr, as lines for people or as JSON.
//!
//! The record of changes is logged whatever the filter says, unless that names it (`audit=off`): what the
//! log holds of it shows whether somebody has altered the database's.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{Log, LogFormat};

/// What is logged.
///
/// # Errors
/// If the filter cannot be read.
pub fn filter(log: &Log) -> Result<EnvFilter, String> {
    let names_audit = log.filter.split(',').any(|part| part.trim().starts_with("audit"));
    let always = if names_audit { "" } else { "audit=info," };
    EnvFilter::try_new(format!("{always}{}", log.filter))
        .map_err(|error| format!("log.filter cannot be `{}`: {error}", log.filter))
}

/// Starts logging. `RUST_LOG` is not read: the filter is a setting like any other.
///
/// # Errors
/// If the filter cannot be read.
pub fn start(log: &Log) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(filter(log)?);
    // In a file or a pipe the codes for colours would stand between the words.
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| format!("cannot start logging: {error}"))
}
