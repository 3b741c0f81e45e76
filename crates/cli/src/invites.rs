//! `invites`: what operators do about invites on a running gateway.

use invite_client::{Call, Client, Invite, Pages};
use invite_core::InviteId;
use serde_json::{Value, json};

use crate::{
    action,
    args::calls::{ActArgs, CallArgs, Filter, Found, InvitesCommand, ListFilter},
    client,
    failure::Failure,
    print, print_json,
    settings::Settings,
    table::{print_table, text},
    tell,
};

pub async fn run(settings: &Settings, command: InvitesCommand) -> Result<(), Failure> {
    match command {
        InvitesCommand::List { filter, limit, call } => {
            let client = connect(settings, &call)?;
            list(&client, &of_list(&filter), limit, call.json).await
        }
        InvitesCommand::Show { id, call } => {
            let client = connect(settings, &call)?;
            show(&client, id, call.json).await
        }
        InvitesCommand::Withdraw(act) => {
            let one = |id| Call::new(http::Method::DELETE, path(id, ""));
            run_on(settings, act, json!({ "action": "withdraw" }), one).await
        }
        InvitesCommand::Refresh(act) => {
            let one = |id| Call::post(path(id, "/refresh"));
            run_on(settings, act, json!({ "action": "refresh" }), one).await
        }
        InvitesCommand::Retry { accept_duplicate_risk, act } => {
            if accept_duplicate_risk && act.ids.is_empty() {
                return Err(Failure::wrong(
                    "--accept-duplicate-risk is for invites that are named by their ids: look at each before it may be sent twice",
                ));
            }
            let body = json!({ "accept_duplicate_risk": accept_duplicate_risk });
            let one = |id| Call::post(path(id, "/retry")).json(&body);
            run_on(settings, act, json!({ "action": "retry" }), one).await
        }
        InvitesCommand::Settle { found, as_of, act } => {
            let status = match found {
                Found::Pending => "pending",
                Found::Failed => "failed",
            };
            let one = |id| {
                Call::new(http::Method::PATCH, path(id, "")).json(&json!({ "status": status }))
            };
            let mut wanted = json!({ "action": "settle", "status": status });
            wanted["as_of"] = json!(as_of);
            run_on(settings, act, wanted, one).await
        }
        InvitesCommand::Action { id, cancel, call } => {
            action::follow(connect(settings, &call)?, id, cancel, call.json).await
        }
    }
}

fn connect(settings: &Settings, call: &CallArgs) -> Result<Client, Failure> {
    client::of(settings, call.url.as_deref(), &call.key_env)
}

fn path(id: InviteId, what: &str) -> String {
    format!("/v1/invites/{id}{what}")
}

/// Does it to the invites that are named, each by a call of its own, or has the gateway do it to all that match.
async fn run_on(
    settings: &Settings,
    act: ActArgs,
    wanted: Value,
    one: impl Fn(InviteId) -> Call,
) -> Result<(), Failure> {
    let client = connect(settings, &act.call)?;
    let filter = act.filter.members()?;
    let has_filter = filter.as_object().is_some_and(|filter| !filter.is_empty());
    if act.ids.is_empty() {
        if !has_filter && !act.all {
            return Err(Failure::wrong(
                "name invites by their ids, or say what those have in common that it is done to; --all is for all",
            ));
        }
        return action::run(client, wanted, filter, act.confirm, act.call.json).await;
    }
    if has_filter {
        return Err(Failure::wrong("give ids or filters: an id names its invite already"));
    }
    let mut failed = 0;
    for id in &act.ids {
        match client.read::<Value>(one(*id)).await {
            Ok(answer) if act.call.json => print_json(&answer)?,
            Ok(answer) => print(&format!("{id} {}\n", text(&answer["status"])))?,
            Err(error) => {
                failed += 1;
                tell(&format!("{id}: {error}"));
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => {
            Err(Failure::failed(format!("{n} of {} invites: it could not be done", act.ids.len())))
        }
    }
}

async fn list(
    client: &Client,
    filters: &[(&'static str, String)],
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let size = limit.clamp(1, 200).to_string();
    let filters = filters.iter().map(|(name, value)| (*name, value.as_str()));
    let filters: Vec<(&str, &str)> = filters.chain([("limit", size.as_str())]).collect();
    let mut pages: Pages<'_, Invite> = client.invites(&filters);
    let (mut invites, mut unreadable) = (Vec::new(), Vec::new());
    while invites.len() < limit {
        let Some(page) = pages.next().await? else { break };
        invites.extend(page);
        unreadable.extend(pages.unreadable().iter().cloned());
    }
    let has_more = invites.len() > limit || pages.has_more();
    invites.truncate(limit);
    if json {
        return print_json(&json!({ "invites": invites, "unreadable": unreadable }));
    }
    let row = |invite: &Invite| {
        let error = invite.error.as_ref().map_or("-".to_owned(), |error| text(&error["code"]));
        let none = || "-".to_owned();
        vec![
            invite.id.to_string(),
            invite.provider.clone().unwrap_or_else(none),
            invite.email.clone().unwrap_or_else(none),
            invite.status.clone(),
            error,
            invite.updated_at.map_or_else(none, |at| format!("{at:.0}")),
        ]
    };
    let rows = invites.iter().map(row).collect();
    print_table(&["id", "provider", "email", "status", "error", "changed"], rows)?;
    for row in &unreadable {
        tell(&format!("{} cannot be read from the database", text(&row["id"])));
    }
    if has_more {
        tell(&format!("there are more than these {limit}: --limit shows more, filters narrow it"));
    }
    Ok(())
}

async fn show(client: &Client, id: InviteId, json: bool) -> Result<(), Failure> {
    let mut invite: Value = client.read(Call::get(path(id, ""))).await?;
    let attempts: Value = client.read(Call::get(path(id, "/attempts"))).await?;
    if json {
        invite["attempts"] = attempts["attempts"].clone();
        return print_json(&invite);
    }
    for (name, value) in invite.as_object().into_iter().flatten() {
        let is_empty = value.is_null() || value == &json!({}) || value == &json!([]);
        if !is_empty {
            print(&format!("{name}: {}\n", text(value)))?;
        }
    }
    let members = ["started_at", "operation", "outcome", "http_status", "duration_ms", "detail"];
    let row = |attempt: &Value| members.map(|name| text(&attempt[name])).to_vec();
    let rows = attempts["attempts"].as_array().into_iter().flatten().map(row).collect();
    print("\n")?;
    print_table(&["began", "call", "outcome", "HTTP", "ms", "detail"], rows)?;
    if attempts["next_cursor"].is_string() {
        tell("there are more calls; --json or the console shows where they go on");
    }
    Ok(())
}

/// The query of a list.
fn of_list(filter: &ListFilter) -> Vec<(&'static str, String)> {
    let of_many = &filter.of_many;
    let mut query = Vec::new();
    let mut push = |name, values: &mut dyn Iterator<Item = String>| {
        query.extend(values.map(|value| (name, value)));
    };
    push("provider", &mut of_many.provider.iter().cloned());
    push("status", &mut of_many.status.iter().map(|status| status.as_str().to_owned()));
    push("batch_id", &mut of_many.batch.iter().map(ToString::to_string));
    push("label", &mut of_many.label.iter().cloned());
    push("error_code", &mut of_many.error_code.iter().cloned());
    push("created_after", &mut of_many.created_after.iter().cloned());
    push("created_before", &mut of_many.created_before.iter().cloned());
    push("updated_after", &mut of_many.updated_after.iter().cloned());
    push("tenant", &mut of_many.tenant.iter().cloned());
    push("email", &mut filter.email.iter().cloned());
    push("external_id", &mut filter.external_id.iter().cloned());
    query
}

impl Filter {
    /// As an action takes it: only what is given.
    fn members(&self) -> Result<Value, Failure> {
        let mut labels = serde_json::Map::new();
        for label in &self.label {
            let Some((name, value)) = label.split_once(':') else {
                return Err(Failure::wrong(format!("--label {label}: expected NAME:VALUE")));
            };
            if labels.insert(name.to_owned(), json!(value)).is_some() {
                return Err(Failure::wrong(format!(
                    "--label {name} is given twice, and no invite has both"
                )));
            }
        }
        let statuses: Vec<&str> = self.status.iter().map(|status| status.as_str()).collect();
        let mut members = json!({
            "provider": self.provider, "status": statuses, "batch_id": self.batch, "label": labels,
            "error_code": self.error_code, "created_after": self.created_after,
            "created_before": self.created_before, "updated_after": self.updated_after,
            "tenant": self.tenant,
        });
        if let Some(members) = members.as_object_mut() {
            let is_given =
                |value: &Value| !value.is_null() && *value != json!([]) && *value != json!({});
            members.retain(|_, value| is_given(value));
        }
        Ok(members)
    }
}
