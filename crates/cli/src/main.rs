//! `invite-gateway`: the command line and the composition root.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0 done, 1 it failed, 2 wrong usage
//! or wrong configuration.

mod action;
mod apply;
mod args;
mod audit;
mod batches;
mod client;
mod compose;
mod configuration;
mod core_dumps;
mod descriptors;
mod erase;
mod events;
mod exposure;
mod failure;
mod invites;
mod keys;
mod panics;
mod probe;
mod sandbox;
mod serve;
mod settings;
mod simulate;
mod stats;
mod table;
mod telemetry;
mod watch;

use std::{io::Write, path::PathBuf, process::ExitCode};

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use invite_core::text::legible;
use settings::Loaded;

/// mimalloc gives memory of large documents and lists back to the system; the system's own allocator keeps
/// it for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    core_dumps::disable();
    panics::install_hook();
    if let Err(why) = arm_failpoints() {
        return end(Err(Failure::wrong(why)));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(Failure::failed(format!("cannot start: {error}")))),
    };
    let result = runtime.block_on(run(cli));
    // Threads that still wait for a disk or a name server are not waited for.
    runtime.shutdown_background();
    end(result)
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let files = &cli.config;
    match cli.command {
        Command::Sandbox(_) if !cli.config.is_empty() => {
            Err(Failure::wrong("sandbox has settings of its own: leave --config out, or use serve"))
        }
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Serve(args) => with(files, async |it| serve::run(&it.settings, args).await).await,
        Command::Simulate(args) => simulate::run(args).await,
        Command::Config(what) => with(files, async |it| configuration::run(it, what).await).await,
        Command::Keys(what) => with(files, async |it| keys::run(&it.settings, what).await).await,
        Command::Audit(what) => with(files, async |it| audit::run(&it.settings, what).await).await,
        Command::Invites(what) => {
            with(files, async |it| invites::run(&it.settings, what).await).await
        }
        Command::Batches(what) => {
            with(files, async |it| batches::run(&it.settings, what).await).await
        }
        Command::Events(args) => {
            with(files, async |it| events::run(&it.settings, args).await).await
        }
        Command::Stats(args) => with(files, async |it| stats::run(&it.settings, args).await).await,
        Command::Erase(args) => with(files, async |it| erase::run(&it.settings, args).await).await,
        Command::Probe(args) => with(files, async |it| probe::run(&it.settings, args).await).await,
        Command::Openapi => print_json(&invite_http::openapi()),
    }
}

/// Runs a command with the settings. If it fails because of one of them, the message says where that was set.
async fn with(
    files: &[PathBuf],
    run: impl AsyncFnOnce(&Loaded) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let loaded = Loaded::read(files).map_err(Failure::wrong)?;
    run(&loaded).await.map_err(|failure| failure.map_message(|message| loaded.placed(message)))
}

/// Debug builds let the fault campaign choose where the process dies and what its clocks show. Release
/// builds do not.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "the composition root reads the environment")]
fn arm_failpoints() -> Result<(), String> {
    let crash = std::env::var("INVITE_GATEWAY_CRASH_AT").ok();
    let blind_resend = std::env::var_os("INVITE_GATEWAY_BLIND_RESEND").is_some();
    if let Some(file) = std::env::var_os("INVITE_GATEWAY_CLOCKS") {
        invite_core::failpoint::arm_clocks(file.into());
    }
    invite_core::failpoint::arm(crash.as_deref(), blind_resend)
}

#[cfg(not(debug_assertions))]
fn arm_failpoints() -> Result<(), String> {
    Ok(())
}

fn end(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if telemetry::is_json() && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{failure}");
    } else {
        tell(&failure.to_string());
    }
    failure.status()
}

/// Writes a message beside the result, to stderr.
fn tell(text: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "invite-gateway: {}", shown(text));
}

/// Writes a result to stdout. If the reader went away (`| head`) it wanted no more, so that is no failure.
fn print(text: &str) -> Result<(), Failure> {
    print_more(text).map(drop)
}

/// The same for one of many; false if the reader went away.
fn print_more(text: &str) -> Result<bool, Failure> {
    match std::io::stdout().write_all(shown(text).as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write the result: {error}"))),
    }
}

/// The text without what could control a terminal: it may quote documents and gateways of other people.
fn shown(text: &str) -> String {
    let pieces = text.split_inclusive(['\n', '\t']);
    let piece = |piece: &str| match piece.strip_suffix(['\n', '\t']) {
        Some(words) => legible(words.to_owned()) + &piece[words.len()..],
        None => legible(piece.to_owned()),
    };
    pieces.map(piece).collect()
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write the result as JSON: {error}")))?;
    print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_tells_a_terminal_nothing_but_text() {
        assert_eq!(shown("a\tb\n\nc"), "a\tb\n\nc");
        assert_eq!(shown("a\u{1b}[31mb\r\n\u{202e}c"), "a\\u001b[31mb\\u000d\n\\u202ec");
    }
}
