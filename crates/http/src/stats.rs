//! How many invites came into which status, from counts that are kept.

use std::time::Duration;

use axum::{Json, extract::State, http::Uri};
use invite_store::{CountFilter, Interval};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    invites::{read_providers, read_tenant},
    openapi,
    problem::Problem,
    query::Parameters,
    reads,
    views::stats::{CountView, Stats, StatsInterval},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is looked back unless it is said otherwise.
const USUAL: Duration = DAY;
/// How long a range may be: of minutes, of hours, and where only sums are asked for.
const MOST_MINUTES: Duration = DAY;
const MOST_HOURS: Duration = Duration::from_secs(31 * 24 * 60 * 60);
const MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// For how long minutes are there to be read: a little shorter than they are kept.
const MINUTES_KEPT: Duration = Duration::from_secs(47 * 60 * 60);
/// How many counts an answer holds at most.
const MOST_COUNTS: usize = 20_000;

/// Count what became of invites
///
/// How many invites came into which status: what a day looked like, and why invites failed. It is counted from the events,
/// within a few seconds, and kept as long as the rows of invites (`privacy.retention`); by minute for two days. An invite that is sent again comes into `queued` again.
#[utoipa::path(
    get, path = "/v1/stats", tag = "invites",
    params(openapi::StatsFilters),
    responses(
        (status = 200, description = "The counts", body = Stats),
        openapi::AnyCall, openapi::Stored, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_stats(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Stats>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let known = ["since", "until", "interval", "provider", "tenant"];
    let mut parameters = Parameters::read(&uri, &known);
    let target = reads::filters(parameters.given());
    let tenant = read_tenant(&mut parameters, &caller)?;
    let providers = read_providers(&mut parameters, &caller)?;
    let now = gateway.clock.now();
    let to = parameters.moment("until").unwrap_or(now);
    let from = parameters.moment("since").unwrap_or_else(|| back(to, USUAL));
    let asked = parameters.one("interval").and_then(|word| {
        let asked = serde_json::from_value::<StatsInterval>(Value::String(word)).ok();
        if asked.is_none() {
            parameters.fault("interval", "not-allowed", "expected minute or hour");
        }
        asked
    });
    let most = match asked {
        Some(StatsInterval::Minute) => MOST_MINUTES,
        Some(StatsInterval::Hour) => MOST_HOURS,
        None => MOST,
    };
    if from > to {
        parameters.fault("since", "invalid", "it is after `until`");
    } else if to.duration_since(from).unsigned_abs() > most {
        let days = most.as_secs() / DAY.as_secs();
        let detail = format!(
            "such a range is {days} days at most; shorten it, or leave out `interval` or ask for hours"
        );
        parameters.fault("since", "too-long", detail);
    }
    let has_minutes = from >= back(now, MINUTES_KEPT);
    if asked == Some(StatsInterval::Minute) && !has_minutes {
        let detail = "minutes are counted for two days only; ask for hours";
        parameters.fault("since", "too-old", detail);
    }
    parameters.finish()?;
    // A sum of minutes is more exact at its ends, where there are some.
    let is_short = to.duration_since(from).unsigned_abs() <= DAY;
    let interval = match asked {
        Some(StatsInterval::Minute) => Interval::Minute,
        None if has_minutes && is_short => Interval::Minute,
        _ => Interval::Hour,
    };
    let is_by_interval = asked.is_some();
    if tenant.as_deref() != Some(caller.tenant()) {
        reads::record(&gateway, &caller, "stats.read", &target).await?;
    }
    let filter = CountFilter { tenant, providers, from, to, interval, is_by_interval };
    let counts = gateway.store().counts(&filter, MOST_COUNTS).await?;
    if counts.len() > MOST_COUNTS {
        let mut parameters = Parameters::read(&uri, &known);
        let detail = format!(
            "the answer would hold more than {MOST_COUNTS} counts; shorten the range, or name a provider or tenant"
        );
        parameters.fault("since", "too-long", detail);
        parameters.finish()?;
    }
    let counts = counts.into_iter().map(CountView::from).collect();
    Ok(Json(Stats { since: interval.begin(from), until: to, interval: asked, counts }))
}

fn back(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
