//! The command line as clap reads it.

pub mod calls;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use invite_core::KeyId;
use serde::Serialize;

use self::calls::{BatchesCommand, EventsArgs, InvitesCommand, StatsArgs};
use crate::client::KEY_VARIABLE;

/// One API for inviting people through Securegate, RKVST and Turnkey.
#[derive(Debug, Parser)]
#[command(name = "invite-gateway", version, propagate_version = true)]
pub struct Cli {
    /// Settings file; may be repeated, later ones win. Without it config/gateway.toml if present,
    /// else the embedded defaults. `sandbox` has settings of its own and refuses it.
    #[arg(long = "config", value_name = "FILE", global = true)]
    pub config: Vec<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole thing on a bare machine: simulators, gateway, an example batch, a table of outcomes
    Sandbox(SandboxArgs),
    /// The gateway
    Serve(ServeArgs),
    /// The simulators of the providers alone
    Simulate(SimulateArgs),
    /// Check and show configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// API keys, in the database itself: before the first start, or beside a running gateway
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The record of what administrators changed, in the database itself
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Invites on a running gateway: list, show, withdraw, refresh, retry, settle
    #[command(subcommand)]
    Invites(InvitesCommand),
    /// Requests on a running gateway, and the invites that came with each
    #[command(subcommand)]
    Batches(BatchesCommand),
    /// What happened on a running gateway, oldest first
    Events(EventsArgs),
    /// How many invites on a running gateway came into which status
    Stats(StatsArgs),
    /// Erase a person on a running gateway: all that it holds of an address
    Erase(EraseArgs),
    /// Check the credential of each configured provider, without side effects
    Probe(ProbeArgs),
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where the gateway listens; port 0 picks a free one. Without it 127.0.0.1:8080, or a free
    /// port if that is taken.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// End after the table instead of serving on; exit status 0 if every invite ended as expected.
    #[arg(long)]
    pub exit: bool,
    /// A fault script for the simulators (see config/sandbox/faults.toml).
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Write the gateway's address to this file once it accepts connections.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    #[arg(long, value_name = "ADDR", help = listen_help())]
    pub listen: Vec<SocketAddr>,
    /// A fault script (see config/sandbox/faults.toml).
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Print addresses and credentials as JSON.
    #[arg(long)]
    pub json: bool,
}

fn listen_help() -> String {
    let kinds: Vec<&str> = invite_sandbox::accounts().iter().map(|account| account.kind).collect();
    let kinds = kinds.join(", ");
    format!("Where to listen: {kinds}, in that order. Missing ones get a free port")
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Run the gate over a provider document
    Check {
        /// The document; without it the one that providers.file names.
        file: Option<PathBuf>,
        /// Also check the credential of each provider, without side effects.
        #[arg(long)]
        probe: bool,
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a provider document in force on a running gateway, if it passes the gate there
    Apply(ApplyArgs),
    /// Show every effective setting and where it came from; secrets never
    Show {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of both documents
    Schema,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The document.
    pub file: PathBuf,
    /// Why; kept with the revision.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The gateway; without it the one at server.listen.
    #[arg(long)]
    pub url: Option<String>,
    /// The environment variable that holds an API key with the scope admin.
    #[arg(long, value_name = "NAME", default_value = KEY_VARIABLE)]
    pub key_env: String,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it, alone, on stdout; it is shown this once
    Create(CreateKeyArgs),
    /// Change a key's name and limits; its secret stays
    Change(ChangeKeyArgs),
    /// List the keys; never the secrets
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, and those that were made with it
    Revoke {
        /// Its id, as `keys list` shows it.
        id: KeyId,
    },
}

#[derive(Debug, Args, Serialize)]
pub struct CreateKeyArgs {
    /// What the key is for.
    #[arg(long)]
    pub name: String,
    /// Comma-separated: invites:write, invites:read, invites:raw, invites:codes,
    /// invites:all-tenants, providers:read, providers:act, config:write, keys:write,
    /// people:erase, audit:read, webhooks:write (with invites:read); admin is all of them.
    #[arg(long, value_delimiter = ',', required = true)]
    pub scopes: Vec<String>,
    /// The tenant whose invites it sees.
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Comma-separated names of the providers that it may use; without it all.
    #[arg(long, value_delimiter = ',')]
    pub providers: Option<Vec<String>>,
    /// How many requests it may make in a second; without it as many as it likes.
    #[arg(long, value_name = "N")]
    pub requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; without it as many as it likes.
    #[arg(long, value_name = "N")]
    pub invites_per_second: Option<f64>,
    /// How many invites are accepted of it from midnight to midnight UTC; without it as many as it
    /// likes.
    #[arg(long, value_name = "N")]
    pub invites_per_day: Option<u64>,
    /// When it lapses, counted from now, such as 90d.
    #[arg(long, value_parser = humantime::parse_duration)]
    #[serde(skip)]
    pub expires: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ChangeKeyArgs {
    /// Its id, as `keys list` shows it.
    pub id: KeyId,
    /// What the key is for.
    #[arg(long)]
    pub name: Option<String>,
    /// Comma-separated names of the providers that it may use; `none` for no limit.
    #[arg(long, value_delimiter = ',')]
    pub providers: Option<Vec<String>>,
    /// How many requests it may make in a second; `none` for no limit.
    #[arg(long, value_name = "N")]
    pub requests_per_second: Option<String>,
    /// How many invites it may ask for in a second, on average; `none` for no limit.
    #[arg(long, value_name = "N")]
    pub invites_per_second: Option<String>,
    /// How many invites are accepted of it from midnight to midnight UTC; `none` for no limit.
    #[arg(long, value_name = "N")]
    pub invites_per_day: Option<String>,
    /// When it lapses, counted from now, such as 90d; `none` for never.
    #[arg(long, value_name = "EXPIRES")]
    pub expires: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no entry was altered, removed or put in since it was written; exit status 1 if one was
    Verify {
        /// Also compare with the entries in this log of the gateway, in either format; `-` is stdin.
        #[arg(long, value_name = "FILE")]
        log: Option<PathBuf>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The address, in any of its spellings; `-` reads it from stdin, so that no list of processes and no
    /// shell's history shows it.
    pub address: String,
    /// Withdraw live invites first; without it they are named and left.
    #[arg(long)]
    pub withdraw: bool,
    /// Print the receipt as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway; without it the one at server.listen.
    #[arg(long)]
    pub url: Option<String>,
    /// The environment variable that holds an API key with the scope people:erase.
    #[arg(long, value_name = "NAME", default_value = KEY_VARIABLE)]
    pub key_env: String,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Only this provider.
    pub name: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_sandbox_says_that_it_takes_no_settings_file() {
        let mut cli = Cli::command();
        cli.build();
        let help = cli.find_subcommand_mut("sandbox").unwrap().render_help().to_string();
        assert!(help.contains("--config <FILE>"), "{help}");
        assert!(help.contains("`sandbox` has settings of its own and refuses it"), "{help}");
    }
}
