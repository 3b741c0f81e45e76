//! `events`: what happened, and what happens.

use invite_client::{Client, Event};

use crate::{args::calls::EventsArgs, client, failure::Failure, print, settings::Settings};

/// Prints events, one to a line, until there is no more; with `--follow` for ever.
pub async fn run(settings: &Settings, args: EventsArgs) -> Result<(), Failure> {
    let client: Client = client::of(settings, args.call.url.as_deref(), &args.call.key_env)?;
    let one = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    let of_many = |name: &'static str, values: &[String]| -> Vec<(&'static str, String)> {
        values.iter().map(|value| (name, value.clone())).collect()
    };
    let mut filters = of_many("type", &args.types);
    filters.extend(of_many("label", &args.label));
    filters.extend(one("provider", &args.provider));
    filters.extend(one("tenant", &args.tenant));
    filters.extend(one("invite_id", &args.invite.map(|id| id.to_string())));
    let filters: Vec<(&str, &str)> =
        filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut events = client.events(&filters, args.after.as_deref());
    loop {
        let page = match args.follow {
            true => Some(events.next().await?),
            false => events.read().await?,
        };
        let Some(page) = page else { return Ok(()) };
        for event in page {
            print(&line(&event, args.call.json)?)?;
        }
    }
}

fn line(event: &Event, json: bool) -> Result<String, Failure> {
    if json {
        let text = serde_json::to_string(event)
            .map_err(|error| Failure::failed(format!("cannot write an event as JSON: {error}")))?;
        return Ok(format!("{text}\n"));
    }
    let mut line =
        format!("{} {:.0} {} {}", event.id, event.timestamp, event.event_type, event.subject);
    if let Some(invite) = &event.data.invite {
        for word in [&invite.provider, &invite.email].into_iter().flatten() {
            line.push(' ');
            line.push_str(word);
        }
    }
    if let Some(previous) = &event.data.previous {
        line.push_str(&format!(" (was {previous})"));
    }
    line.push('\n');
    Ok(line)
}
