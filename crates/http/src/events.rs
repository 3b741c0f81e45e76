//! The feed: what happened, oldest first.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use invite_core::{EventId, EventType, InviteId};
use invite_store::{EventFilter, EventPage, RemovedUpTo};
use tokio::time::{Instant, timeout_at};

use crate::{
    Gateway,
    auth::{self, Caller, Scope},
    invites::{read_labels, read_providers, read_tenant},
    openapi,
    prefer::Preferences,
    problem::{Problem, codes},
    query::{Parameters, cut_to_fit},
    reads,
    views::events::{EventList, EventView},
};

/// The filters of events.
const FILTERS: &[&str] = &["after", "type", "provider", "label", "invite_id", "tenant"];

/// What a request asks of the feed.
pub(crate) struct Asked {
    pub filter: EventFilter,
    /// `None`: from the first event that is kept.
    pub after: Option<EventId>,
    /// The filters, as they are recorded.
    pub target: String,
}

/// Follow what happens
///
/// Events, oldest first, those behind `after`. No event ever comes to stand before one that was answered here: whoever goes on
/// with `next_after` misses none. With `Prefer: wait=N` the answer waits for the next one if there is none; if the key ends or is
/// changed meanwhile, it does not tell what came. Filters narrow what is shown; a page may then be empty although `has_more`. A key that is limited to some providers gets the events of their
/// invites; a key with the scope `admin` that is not, also those of the gateway itself.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        openapi::EventFilters,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Default 50"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (0 to 60 seconds)",
            example = "wait=1"),
    ),
    responses(
        (status = 200, description = "Events", body = EventList, headers(
            ("Preference-Applied" = String, description = "The wait, unless it is not waited for"))),
        openapi::AnyCall, openapi::Stored, openapi::Removed, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_events(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known: Vec<&str> = FILTERS.iter().copied().chain(["limit"]).collect();
    let mut parameters = Parameters::read(&uri, &known);
    let limit = parameters.limit() as usize;
    let Asked { filter, after, target } = ask(&gateway, &caller, parameters).await?;
    let preferences = Preferences::read(&headers);
    let (preferences, wait, _place) = preferences.admit(&gateway, &caller, Duration::ZERO);
    let until = Instant::now() + wait;
    // Watched from before the first read, so that nothing is missed between the two.
    let mut watch = gateway.store().watch_feed();
    let mut page = read(&gateway, &filter, after, limit).await?;
    while page.events.is_empty() && page.is_last && !gateway.engine.is_shutting_down() {
        let changed = async {
            tokio::select! {
                () = watch.changed() => {}
                () = gateway.engine.shutdown_begun() => {}
            }
        };
        if wait.is_zero() || timeout_at(until, changed).await.is_err() {
            break;
        }
        let before = page.next;
        page = read(&gateway, &filter, Some(before), limit).await?;
        // The key may have changed during the wait. What it may see now, the next request asks for.
        if !page.events.is_empty() && !auth::is_unchanged(&gateway, &headers, &caller).await? {
            page = EventPage { events: Vec::new(), next: before, is_last: false };
            break;
        }
    }
    if page.events.iter().any(|event| event.tenant.as_deref() != Some(caller.tenant())) {
        reads::record(&gateway, &caller, "feed.read", &target).await?;
    }
    let ids: Vec<EventId> = page.events.iter().map(|event| event.id).collect();
    let view = |event| EventView::new(event, &gateway, &caller);
    let mut events: Vec<_> = page.events.into_iter().map(view).collect();
    let cut = cut_to_fit(&mut events, &ids).and_then(|last| last.parse().ok());
    let list = EventList {
        events,
        next_after: cut.unwrap_or(page.next),
        has_more: cut.is_some() || !page.is_last,
    };
    let mut response = Json(list).into_response();
    preferences.write_applied(response.headers_mut(), false);
    Ok(response)
}

/// Reads what is asked for. What the key may not see is filtered out, and asking for it by name is refused.
pub(crate) async fn ask(
    gateway: &Gateway,
    caller: &Caller,
    mut parameters: Parameters,
) -> Result<Asked, Problem> {
    caller.require(Scope::InvitesRead)?;
    let target = reads::filters(parameters.given());
    let tenant = read_tenant(&mut parameters, caller)?;
    let is_of_all = tenant.is_none();
    let providers = read_providers(&mut parameters, caller)?;
    let mut types = Vec::new();
    for word in parameters.all("type") {
        match word.parse::<EventType>() {
            Ok(event_type) => types.push(event_type),
            Err(_) => parameters.fault("type", "not-allowed", "there is no such type of event"),
        }
    }
    let filter = EventFilter {
        tenant,
        of_gateway: is_of_all && caller.has(Scope::Admin) && caller.providers().is_none(),
        types,
        providers,
        labels: read_labels(&mut parameters),
        invite: parameters.parsed::<InviteId>("invite_id", "the id of an invite"),
    };
    let after = match parameters.one("after") {
        Some(word) if word == "latest" => Some(gateway.store().end_of_feed().await?),
        Some(word) => {
            let id = word.parse::<EventId>().ok();
            if id.is_none() {
                let wanted = "expected the id of an event, the `next_after` of an earlier answer, or `latest`";
                parameters.fault("after", "invalid", wanted);
            }
            id
        }
        None => None,
    };
    parameters.finish()?;
    Ok(Asked { filter, after, target })
}

pub(crate) async fn read(
    gateway: &Gateway,
    filter: &EventFilter,
    after: Option<EventId>,
    limit: usize,
) -> Result<EventPage, Problem> {
    let read = gateway.store().events(filter, after, limit).await?;
    read.map_err(|RemovedUpTo(last)| {
        let detail = format!(
            "events up to {last} were removed (`events.retention`), so that some behind `after` may be missing: read \
             what you follow anew (GET /v1/invites), and go on without `after`, or with `after=latest`"
        );
        Problem::new(&codes::EVENTS_REMOVED, detail)
    })
}
