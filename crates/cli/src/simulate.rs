//! `simulate`: the simulators of the three providers alone.

use std::path::Path;

use invite_sandbox::{FaultScript, Options, accounts};
use serde_json::{Value, json};

use crate::{args::SimulateArgs, failure::Failure, print, print_json, serve};

/// Starts the simulators, says where they are, and serves until told to stop.
pub async fn run(args: SimulateArgs) -> Result<(), Failure> {
    let faults = args.faults.as_deref().map(read_faults).transpose()?;
    let simulators = invite_sandbox::start(Options { listen: args.listen, faults })
        .await
        .map_err(|error| Failure::failed(format!("cannot start the simulators: {error}")))?;
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

/// Reads a fault script.
pub fn read_faults(path: &Path) -> Result<FaultScript, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::wrong(format!("cannot read {}: {error}", path.display())))?;
    FaultScript::from_toml(&text)
        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

fn accounts(simulators: &invite_sandbox::Sandbox) -> Value {
    json!({
        "securegate": { "base_url": simulators.securegate_url(),
            "api_key": accounts::SECUREGATE_API_KEY, "event_id": accounts::SECUREGATE_EVENT_ID },
        "rkvst": { "base_url": simulators.rkvst_url(), "client_id": accounts::RKVST_CLIENT_ID,
            "client_secret": accounts::RKVST_CLIENT_SECRET,
            "bearer_token": accounts::RKVST_BEARER_TOKEN },
        "turnkey": { "base_url": simulators.turnkey_url(),
            "organization_id": accounts::TURNKEY_ORGANIZATION_ID,
            "api_private_key": accounts::TURNKEY_API_PRIVATE_KEY },
    })
}
