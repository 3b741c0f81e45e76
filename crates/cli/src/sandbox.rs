//! `sandbox`: simulators, a gateway and an example on one machine, with no account anywhere.

use std::{
    fs::Permissions, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration,
};

use comfy_table::Table;
use http::{HeaderName, HeaderValue};
use invite_client::{Call, Client};
use invite_core::Clock;
use invite_sandbox::Sandbox;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    args::SandboxArgs,
    failure::Failure,
    keys, print, print_json,
    serve::{self, Running},
    settings::{Loaded, Settings},
    simulate, telemetry, tell,
};

const PROVIDERS: &str = include_str!("../../../config/sandbox/providers.toml");
const INVITES: &str = include_str!("../../../config/sandbox/invites.json");
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";
/// How long the example may take before its invites are shown as they are.
const MAX_EXAMPLE_TIME: Duration = Duration::from_secs(60);

/// Runs the example, prints what became of it, and serves on unless told to end.
pub async fn run(args: SandboxArgs) -> Result<(), Failure> {
    let simulators = simulate::start(Vec::new(), args.faults.as_deref()).await?;
    let folder = tempfile::Builder::new()
        .prefix("invite-gateway-sandbox-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| {
            Failure::failed(format!("cannot make a folder for the sandbox: {error}"))
        })?;
    let stop = serve::told_to_stop();
    tokio::pin!(stop);
    let gateway = tokio::select! {
        gateway = run_example(folder.path(), &simulators, &args) => gateway?,
        // Returning removes the folder, which ending the process at once would not.
        () = &mut stop => return Err(Failure::failed("stopped before the example was done")),
    };
    if !args.exit {
        stop.await;
    }
    gateway.stop().await;
    simulators.shutdown().await;
    Ok(())
}

/// Starts the gateway with its database in this folder, and shows the example once it is settled.
async fn run_example(
    folder: &Path,
    simulators: &Sandbox,
    args: &SandboxArgs,
) -> Result<Running, Failure> {
    let settings = settings(folder, simulators, address(args.listen).await?)?;
    telemetry::start(&settings.log).map_err(Failure::wrong)?;
    let gateway = Running::start(&settings).await?;
    let key = make_key(&gateway).await?;
    let batch = send_example(gateway.url(), &key).await?;
    show(&batch, &gateway, &key, simulators, args)?;
    Ok(gateway)
}

/// The address to listen at: the one that was given, else the usual one, else any that is free.
async fn address(told: Option<SocketAddr>) -> Result<String, Failure> {
    if let Some(address) = told {
        return Ok(address.to_string());
    }
    match TcpListener::bind(DEFAULT_ADDRESS).await {
        Ok(_) => Ok(DEFAULT_ADDRESS.to_owned()),
        Err(_) => Ok("127.0.0.1:0".to_owned()),
    }
}

/// The embedded defaults, with every file in the folder of the sandbox.
fn settings(folder: &Path, simulators: &Sandbox, listen: String) -> Result<Settings, Failure> {
    let document = simulators.fill_in(PROVIDERS);
    let file = folder.join("providers.toml");
    std::fs::write(&file, document)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
    let mut settings = Loaded::defaults().map_err(Failure::wrong)?.settings;
    settings.server.listen = listen;
    // Key and invites are made up, so there is nothing to encrypt.
    settings.server.behind_tls_proxy = true;
    settings.server.allow_private_hosts = vec!["127.0.0.1".to_owned()];
    settings.webhooks.allow_private_hosts = settings.server.allow_private_hosts.clone();
    settings.storage.url = format!("sqlite://{}", folder.join("invites.db").display());
    settings.providers.file = file;
    settings.log.filter = "warn,audit=off".to_owned();
    Ok(settings)
}

async fn make_key(gateway: &Running) -> Result<String, Failure> {
    let new = json!({ "name": "sandbox", "scopes": ["admin"] });
    let store = gateway.store();
    keys::create(store, new, &[], store.clock().now()).await
}

/// Posts the example, and returns it as it is once it is settled.
async fn send_example(url: &str, key: &str) -> Result<Value, Failure> {
    let client = Client::new(url, key)?;
    let prefer = HeaderValue::from_static("respond-async");
    let call = Call::post("/v1/invites").body("application/json", INVITES);
    let mut accepted: Value =
        client.read(call.header(HeaderName::from_static("prefer"), prefer)).await?;
    let id = accepted["batch"]["id"].as_str().unwrap_or_default().to_owned();
    let total = accepted["invites"].as_array().map_or(0, Vec::len);
    tell(&format!("{total} invites are accepted; waiting for what becomes of them"));
    let started = tokio::time::Instant::now();
    while started.elapsed() < MAX_EXAMPLE_TIME {
        let batch = get(&client, &format!("/v1/batches/{id}")).await?;
        if batch["state"] != "in_progress" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each invite is read again, as it may have moved on since it was posted.
    for posted in accepted["invites"].as_array_mut().into_iter().flatten() {
        let id = posted["id"].as_str().unwrap_or_default();
        let mut invite = get(&client, &format!("/v1/invites/{id}")).await?;
        // These two members say how the invite answers this request, and are not its own.
        for member in ["index", "duplicate"] {
            invite[member] = posted[member].take();
        }
        *posted = invite;
    }
    accepted["batch"] = get(&client, &format!("/v1/batches/{id}")).await?;
    Ok(accepted)
}

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    Ok(client.read(Call::get(path)).await?)
}

fn show(
    batch: &Value,
    gateway: &Running,
    key: &str,
    simulators: &Sandbox,
    args: &SandboxArgs,
) -> Result<(), Failure> {
    let url = gateway.url();
    let simulated: Vec<(&str, String)> =
        simulators.simulators().map(|(account, url)| (account.kind, url)).collect();
    if args.json {
        let simulators: serde_json::Map<String, Value> =
            simulated.iter().map(|(kind, url)| ((*kind).to_owned(), url.as_str().into())).collect();
        print_json(&serde_json::json!({
            "url": url, "key": key, "simulators": simulators,
            "batch": batch["batch"], "invites": batch["invites"],
        }))?;
    } else {
        print(&format!("{}\n", table(batch)))?;
        if !args.exit {
            print(&next(url, key, &simulated))?;
        }
    }
    const ARRIVED: [&str; 4] = ["pending", "sent", "awaiting_approval", "accepted"];
    let has_arrived = |invite: &&Value| ARRIVED.iter().any(|status| invite["status"] == *status);
    let invites = batch["invites"].as_array().into_iter().flatten();
    match invites.filter(|invite| !has_arrived(invite)).count() {
        n if n > 0 && args.exit => {
            Err(Failure::failed(format!("{n} invite(s) did not reach their provider")))
        }
        _ => Ok(()),
    }
}

fn table(batch: &Value) -> Table {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["invite", "provider", "status", "provider's id", "note"]);
    for invite in batch["invites"].as_array().into_iter().flatten() {
        let note = match (invite["duplicate"].as_bool(), invite["error"]["detail"].as_str()) {
            (_, Some(error)) => error.to_owned(),
            (Some(true), None) => "already invited: nothing sent".to_owned(),
            _ => String::new(),
        };
        table.add_row([
            text(&invite["email"]),
            format!("{} ({})", text(&invite["provider"]), text(&invite["provider_kind"])),
            text(&invite["status"]),
            text(&invite["provider_ref"]),
            note,
        ]);
    }
    table
}

fn next(url: &str, key: &str, simulated: &[(&str, String)]) -> String {
    let simulators: Vec<String> = simulated
        .iter()
        .map(|(kind, url)| format!("  {kind:<11}{url}/_control/effects\n"))
        .collect();
    format!(
        "\nThe gateway serves on until Ctrl-C:\n  \
         API        {url}/v1/invites\n  \
         docs       {url}/docs\n  \
         console    {url}/console (sign in with the key below)\n  \
         metrics    {url}/metrics\n\n\
         What the simulators hold:\n{}\n\
         The key, which may do everything here:\n  {key}\n\n\
         Try it:\n  \
         curl -s {url}/v1/invites -H 'Authorization: Bearer {key}' \\\n    \
         -H 'Content-Type: application/json' \\\n    \
         -d '{{\"to\":\"treasury\",\"invites\":[{{\"email\":\"margaret@example.org\",\
         \"first_name\":\"Margaret\",\"last_name\":\"Hamilton\"}}]}}'\n",
        simulators.concat()
    )
}
