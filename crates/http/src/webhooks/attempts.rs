//! The attempts to deliver events to a webhook.

use axum::{Json, extract::State, http::Uri};
use invite_core::EventId;

use super::access::find;
use crate::{
    Gateway,
    auth::Caller,
    openapi,
    problem::Problem,
    query::{Parameters, cursor},
    segment::Segment,
    views::webhooks::{WebhookAttemptList, WebhookAttemptView},
};

/// List the attempts to deliver to a webhook
///
/// Those of the newest event first. They are kept as long as the events (`events.retention`).
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/attempts", tag = "events",
    params(
        openapi::WebhookParameter, openapi::Page,
        ("event_id" = Option<String>, Query, description = "Those of one event",
            pattern = "^evt_[0-7][0-9a-f]{15}$"),
    ),
    responses(
        (status = 200, description = "A page", body = WebhookAttemptList),
        openapi::AnyCall, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_webhook_attempts(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<WebhookAttemptList>, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    let mut parameters = Parameters::read(&uri, &["event_id", "limit", "cursor"]);
    let event = parameters.parsed::<EventId>("event_id", "the id of an event");
    let limit = parameters.limit();
    let before = parameters.cursor::<Place>();
    parameters.finish()?;
    let before = before.map(|Place(event, number)| (event, number));
    // One more than asked for tells whether there is a next page.
    let mut attempts =
        gateway.store().webhook_attempts(webhook.id, event, before, limit + 1).await?;
    let has_more = attempts.len() > limit as usize;
    attempts.truncate(limit as usize);
    let last = attempts.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor(Place(last.event, last.number)));
    let attempts = attempts.into_iter().map(WebhookAttemptView::from).collect();
    Ok(Json(WebhookAttemptList { attempts, next_cursor }))
}

/// A place among the attempts.
struct Place(EventId, u32);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (event, number) = text.split_once(' ').ok_or(())?;
        Ok(Self(event.parse().map_err(drop)?, number.parse().map_err(drop)?))
    }
}
