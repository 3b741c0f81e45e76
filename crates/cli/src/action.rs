//! Something that is done to all invites that match: counted first, begun only with the number that was counted, and followed
//! until it ends.

use std::time::Duration;

use http::Method;
use invite_client::{Call, Client};
use invite_core::ActionId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{client, failure::Failure, print, print_json, table::text, tell};

const ACTIONS: &str = "/v1/invites/actions";
/// How often it is asked how far an action has come.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Begun {
    id: ActionId,
}

/// Counts, or with the number of the count begins and follows.
pub async fn run(
    client: Client,
    mut wanted: Value,
    filter: Value,
    confirm: Option<u64>,
    json: bool,
) -> Result<(), Failure> {
    wanted["filter"] = filter;
    let kind = text(&wanted["action"]);
    let Some(confirm) = confirm else {
        wanted["dry_run"] = json!(true);
        let counted: Value = client.read(Call::post(ACTIONS).json(&wanted)).await?;
        if json {
            return print_json(&counted);
        }
        let matched = &counted["matched"];
        let as_of = counted["as_of"].as_str();
        let as_of = as_of.map(|at| format!(" --as-of {at}")).unwrap_or_default();
        return print(&format!(
            "{matched} invites match, and nothing was done. To {kind} them: the same command with --confirm {matched}{as_of}\n"
        ));
    };
    wanted["confirm"] = json!(confirm);
    let Begun { id } = client.read(Call::post(ACTIONS).json(&wanted)).await?;
    tell(&format!(
        "it has begun, and goes on also if this command is ended; `invites action {id}` shows how far it is, with --cancel it ends"
    ));
    follow(client, id, false, json).await
}

/// Says how far an action has come until it ends, or ends it first.
pub async fn follow(client: Client, id: ActionId, cancel: bool, json: bool) -> Result<(), Failure> {
    let path = format!("{ACTIONS}/{id}");
    if cancel {
        client.call(Call::new(Method::DELETE, &path)).await?;
    }
    let mut said = String::new();
    let client = client.with_patience(client::PATIENCE);
    let action = loop {
        let action: Value = client.read(Call::get(&path)).await?;
        if action["state"] != "running" {
            break action;
        }
        let mut progress = format!("{} of {}", action["succeeded"], action["matched"]);
        if let Some(why) = action["held_up_by"].as_str() {
            progress.push_str(&format!(", and waits because of {why}"));
        }
        if progress != said {
            tell(&progress);
            said = progress;
        }
        sleep(EVERY).await;
    };
    if json {
        print_json(&action)?;
    } else {
        let [kind, state, succeeded, matched] =
            ["action", "state", "succeeded", "matched"].map(|name| text(&action[name]));
        print(&format!("{kind} {state}: {succeeded} of {matched}\n"))?;
        for (code, count) in action["failed"].as_object().into_iter().flatten() {
            print(&format!("not done: {count} {code}\n"))?;
        }
    }
    let [succeeded, matched] = ["succeeded", "matched"].map(|name| action[name].as_u64());
    match action["cancelled_because"].as_str() {
        Some(why) if !cancel => Err(Failure::failed(format!("the action was cancelled: {why}"))),
        _ if cancel || succeeded == matched => Ok(()),
        _ => Err(Failure::failed(
            "it was not done to all of them: some could not be, or came into another status before",
        )),
    }
}
