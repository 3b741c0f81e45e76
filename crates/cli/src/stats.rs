//! `stats`: how many invites came into which status.

use invite_client::Call;
use serde_json::Value;

use crate::{
    args::calls::StatsArgs,
    client,
    failure::Failure,
    print_json,
    settings::Settings,
    table::{print_table, text},
};

pub async fn run(settings: &Settings, args: StatsArgs) -> Result<(), Failure> {
    let client = client::of(settings, args.call.url.as_deref(), &args.call.key_env)?;
    let query = [
        ("since", &args.since),
        ("until", &args.until),
        ("interval", &args.interval),
        ("provider", &args.provider),
        ("tenant", &args.tenant),
    ];
    let query = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let stats: Value = client.read(Call::get("/v1/stats").query(query)).await?;
    if args.call.json {
        return print_json(&stats);
    }
    let mut header = vec!["provider", "status", "code", "count"];
    if args.interval.is_some() {
        header.insert(0, "at");
    }
    let row = |count: &Value| header.iter().map(|name| text(&count[*name])).collect();
    let rows = stats["counts"].as_array().into_iter().flatten().map(row).collect();
    print_table(&header, rows)
}
