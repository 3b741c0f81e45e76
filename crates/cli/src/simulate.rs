//! `simulate`: the simulators of the providers alone.

use std::{net::SocketAddr, path::Path};

use invite_sandbox::{Account, FaultScript, Options, Sandbox};
use serde_json::Value;

use crate::{args::SimulateArgs, failure::Failure, print, print_json, serve};

/// Starts the simulators, prints where they are, and serves until told to stop.
pub async fn run(args: SimulateArgs) -> Result<(), Failure> {
    let simulators = start(args.listen, args.faults.as_deref()).await?;
    let accounts = accounts(&simulators);
    if args.json {
        print_json(&accounts)?;
    } else {
        for (kind, account) in accounts.as_object().into_iter().flatten() {
            for (name, value) in account.as_object().into_iter().flatten() {
                print(&format!("{kind}.{name} = {value}\n"))?;
            }
        }
    }
    serve::told_to_stop().await;
    simulators.shutdown().await;
    Ok(())
}

pub async fn start(listen: Vec<SocketAddr>, faults: Option<&Path>) -> Result<Sandbox, Failure> {
    let faults = faults.map(read_faults).transpose()?;
    invite_sandbox::start(Options { listen, faults })
        .await
        .map_err(|error| Failure::failed(format!("cannot start the simulators: {error}")))
}

fn read_faults(path: &Path) -> Result<FaultScript, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::wrong(format!("cannot read {}: {error}", path.display())))?;
    FaultScript::from_toml(&text)
        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

fn accounts(simulators: &Sandbox) -> Value {
    let account = |(account, url): (&'static Account, String)| {
        let members = account.members().map(|(name, value)| (name.to_owned(), value.into()));
        let members = members.chain([("base_url".to_owned(), url.into())]);
        (account.kind.to_owned(), Value::Object(members.collect()))
    };
    simulators.simulators().map(account).collect()
}
