//! `events`: what happened, and what happens.

use invite_client::{Client, Event};

use crate::{args::calls::EventsArgs, client, failure::Failure, print_more, settings::Settings};

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
    while let Some(page) = events.read().await? {
        if !print_all(&page, args.call.json)? {
            return Ok(());
        }
    }
    if !args.follow {
        return Ok(());
    }
    let place = events.place().map(str::to_owned);
    // From here on a gateway that starts again is waited for.
    let client = client.with_patience(client::PATIENCE);
    let mut events = client.events(&filters, place.as_deref());
    while print_all(&events.next().await?, args.call.json)? {}
    Ok(())
}

/// Prints events; false if nobody reads them any more.
fn print_all(events: &[Event], json: bool) -> Result<bool, Failure> {
    for event in events {
        if !print_more(&line(event, json)?)? {
            return Ok(false);
        }
    }
    Ok(true)
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
