//! The feed as a stream of server-sent events.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{
        IntoResponse, Response,
        sse::{Event as Sent, Sse},
    },
};
use futures::stream;
use invite_core::{EventId, KeyId};
use invite_store::{Event, EventFilter, FeedWatch};
use tokio::time::{Instant, timeout_at};

use crate::{
    Gateway,
    auth::{self, Caller},
    events::{Asked, ask, read},
    listener::EndlessAnswer,
    openapi,
    pool::Permit,
    problem::{Problem, codes},
    query::Parameters,
    reads,
    views::events::EventView,
};

/// How often something is sent, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are read together.
const AT_ONCE: usize = 50;
const FILTERS: &[&str] = &["after", "type", "provider", "label", "invite_id", "tenant"];

/// Follow what happens, as a stream
///
/// The same as `GET /v1/events`, as server-sent events: `id`, `event` (its type) and `data` (the Event). Whoever connects again
/// with `Last-Event-ID`, as browsers do, goes on where it was; the header is stronger than `after`. Every 15 seconds a heartbeat
/// comes, which has an `id` and no data. It ends when the key ends or is changed, and when the gateway shuts down.
#[utoipa::path(
    get, path = "/v1/events/stream", tag = "events",
    params(
        openapi::EventFilters,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "Events, without end", body = String, content_type = "text/event-stream"),
        openapi::AnyCall, openapi::Stored, openapi::MalformedHeader, openapi::Removed, openapi::Unprocessable,
    )
)]
pub(crate) async fn stream_events(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked { filter, after, target } =
        ask(&gateway, &caller, Parameters::read(&uri, FILTERS)).await?;
    let after = last_event_id(&headers)?.or(after);
    let place = gateway.waiting.acquire(caller.id(), 1).map_err(|_| {
        let detail = "too many requests wait or follow streams, in all or of this key: a quarter of `server.max_connections`, and of those a quarter for one key";
        Problem::new(&codes::NOT_READY, detail)
    })?;
    if filter.tenant.as_deref() != Some(caller.tenant()) {
        reads::record(&gateway, &caller, "feed.read", &target).await?;
    }
    let watch = gateway.store().watch_feed();
    let first = read(&gateway, &filter, after, AT_ONCE).await?;
    let follower = Follower {
        after: first.next,
        is_last: first.is_last,
        waiting: first.events.into(),
        gateway,
        caller,
        headers,
        filter,
        watch,
        heartbeat: Instant::now() + HEARTBEAT,
        _place: place,
    };
    let sent = stream::unfold(follower, async |mut follower: Follower| {
        let sent = follower.next().await?;
        Some((Ok::<_, Infallible>(sent), follower))
    });
    let mut response = Sse::new(sent).into_response();
    response.extensions_mut().insert(EndlessAnswer);
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    // Browsers send an empty one after an event without an id.
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    let malformed = || {
        let detail = "`Last-Event-ID`: expected the id of an event, such as evt_0000000000001400";
        Problem::new(&codes::MALFORMED_HEADER, detail)
    };
    id.map(Some).ok_or_else(malformed)
}

/// Somebody who follows the feed.
struct Follower {
    gateway: Gateway,
    caller: Caller,
    headers: HeaderMap,
    filter: EventFilter,
    watch: FeedWatch,
    /// What was read and is not sent yet.
    waiting: VecDeque<Event>,
    /// All before was read.
    after: EventId,
    is_last: bool,
    heartbeat: Instant,
    _place: Permit<KeyId>,
}

impl Follower {
    /// What is sent next; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if self.gateway.engine.is_shutting_down() {
                return None;
            }
            if let Some(event) = self.waiting.pop_front() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                let view = EventView::new(event, &self.gateway, &self.caller);
                let sent = Sent::default().id(view.id.to_string()).event(view.event_type.as_str());
                return sent.json_data(view).ok();
            }
            if Instant::now() >= self.heartbeat {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return self
                    .is_admitted()
                    .await
                    .then(|| Sent::default().id(self.after.to_string()));
            }
            if self.is_last {
                let changed = async {
                    tokio::select! {
                        () = self.watch.changed() => {}
                        () = self.gateway.engine.shutdown_begun() => {}
                    }
                };
                if timeout_at(self.heartbeat, changed).await.is_err() {
                    continue;
                }
            }
            // Whoever comes back is told what was wrong.
            let page = read(&self.gateway, &self.filter, Some(self.after), AT_ONCE).await.ok()?;
            if !page.events.is_empty() && !self.is_admitted().await {
                return None;
            }
            (self.after, self.is_last) = (page.next, page.is_last);
            self.waiting.extend(page.events);
        }
    }

    /// Whether the key is still good, for as much as when the stream was opened.
    async fn is_admitted(&self) -> bool {
        let is_unchanged = auth::is_unchanged(&self.gateway, &self.headers, &self.caller);
        is_unchanged.await.is_ok_and(|is_unchanged| is_unchanged)
    }
}
