//! `batches`: the requests that invites came with.

use http::Method;
use invite_client::{Call, Client, Pages};
use serde_json::{Value, json};

use crate::{
    args::calls::{BatchesCommand, CallArgs},
    client,
    failure::Failure,
    print, print_json,
    settings::Settings,
    table::{print_table, text},
    tell,
};

pub async fn run(settings: &Settings, command: BatchesCommand) -> Result<(), Failure> {
    let connect = |call: &CallArgs| client::of(settings, call.url.as_deref(), &call.key_env);
    match command {
        BatchesCommand::List { state, tenant, limit, call } => {
            let filters = [("state", &state), ("tenant", &tenant)];
            let filters =
                filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            list(&connect(&call)?, filters.collect(), limit, call.json).await
        }
        BatchesCommand::Show { id, call } => {
            let client = connect(&call)?;
            let batch: Value = client.read(Call::get(format!("/v1/batches/{id}"))).await?;
            let path = format!("/v1/batches/{id}/invites");
            let mut pages: Pages<'_, Value> = client.pages(&path, "invites", &[("limit", "200")]);
            let mut invites = Vec::new();
            while let Some(page) = pages.next().await? {
                invites.extend(page);
            }
            if call.json {
                return print_json(&json!({ "batch": batch, "invites": invites }));
            }
            print(&format!("{id}: {}\n", text(&batch["state"])))?;
            for (what, count) in batch["counts"].as_object().into_iter().flatten() {
                print(&format!("{count} {what}\n"))?;
            }
            print("\n")?;
            let members = ["index", "id", "provider", "email", "status"];
            let row = |invite: &Value| members.map(|name| text(&invite[name])).to_vec();
            print_table(&members, invites.iter().map(row).collect())
        }
        BatchesCommand::Withdraw { id, dry_run, call } => {
            let client = connect(&call)?;
            let path = format!("/v1/batches/{id}");
            let asked =
                Call::new(Method::DELETE, path).query(dry_run.then_some(("dry_run", "true")));
            let answer: Value = client.read(asked).await?;
            if call.json {
                return print_json(&answer);
            }
            for (name, value) in answer.as_object().into_iter().flatten() {
                print(&format!("{name}: {}\n", text(value)))?;
            }
            Ok(())
        }
    }
}

async fn list(
    client: &Client,
    mut filters: Vec<(&str, &str)>,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let size = limit.clamp(1, 200).to_string();
    filters.push(("limit", &size));
    let mut pages: Pages<'_, Value> = client.pages("/v1/batches", "batches", &filters);
    let mut batches = Vec::new();
    while batches.len() < limit {
        let Some(page) = pages.next().await? else { break };
        batches.extend(page);
    }
    let has_more = batches.len() > limit || pages.has_more();
    batches.truncate(limit);
    if json {
        return print_json(&json!({ "batches": batches }));
    }
    let row = |batch: &Value| {
        let [id, state, at] = ["id", "state", "created_at"].map(|name| text(&batch[name]));
        vec![id, state, text(&batch["counts"]["total"]), at]
    };
    print_table(&["id", "state", "invites", "accepted"], batches.iter().map(row).collect())?;
    if has_more {
        tell(&format!("there are more than these {limit}: --limit shows more"));
    }
    Ok(())
}
