//! Webhooks: making, listing, changing and removing them, and sending something again.

mod access;
mod attempts;
pub(crate) mod body;
pub(crate) mod payload;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
};
use invite_core::{EventId, Fault, random};
use invite_store::{SigningSecret, Webhook};
use jiff::Timestamp;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Gateway,
    auth::Caller,
    body::{read_json, read_optional_json, refuse_body},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    segment::Segment,
    views::webhooks::{Recovered, WebhookAttemptView, WebhookList, WebhookView},
};

use access::{apply, find, find_again, may_manage, require};
use body::{NewWebhook, Resend, Rotation, WebhookChange, new_secret};

/// How many webhooks a tenant has at most.
const MOST: i64 = 50;
/// How many secrets sign at the same time at most: a new one, and those that are replaced and still good.
const SECRETS: usize = 6;

pub(crate) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, change_webhook, remove_webhook))
        .routes(routes!(rotate_webhook_secret))
        .routes(routes!(test_webhook))
        .routes(routes!(resend_event))
        .routes(routes!(recover_events))
        .routes(routes!(attempts::list_webhook_attempts))
}

type Created = (StatusCode, [(HeaderName, String); 1], Json<WebhookView>);

/// Make a webhook
///
/// From now on the events that it asks for are sent to it, each with POST, signed as Standard Webhooks says. The secret is in
/// this answer, and is never shown again.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "events",
    request_body = NewWebhook,
    responses(
        (status = 201, description = "The webhook with its secret", body = WebhookView,
            headers(("Location" = String, description = "The webhook"))),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable,
    )
)]
pub(crate) async fn create_webhook(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Created, Problem> {
    require(&caller)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let now = gateway.clock.now();
    let read_up_to = gateway.store().end_of_feed().await?;
    let webhook = Webhook { read_up_to, ..body::read_new(body, &gateway, &caller, now, faults)? };
    let (store, stored, actor) = (gateway.store().clone(), webhook.clone(), caller.actor());
    let adding =
        crate::run_to_completion(async move { store.add_webhook(&stored, MOST, &actor).await });
    if !adding.await?? {
        let detail = format!("the tenant has {MOST} webhooks already: remove or change one");
        return Err(Problem::invalid(vec![Fault::new("#", "too-many", detail)]));
    }
    let location = [(header::LOCATION, format!("/v1/webhooks/{}", webhook.id))];
    Ok((StatusCode::CREATED, location, Json(WebhookView::new(webhook, true, now))))
}

/// List the webhooks
///
/// Those of the key's tenant; with the scope invites:all-tenants those of all.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "events",
    responses(
        (status = 200, description = "All of them", body = WebhookList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_webhooks(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<WebhookList>, Problem> {
    require(&caller)?;
    refuse_parameters(&uri)?;
    let tenant = Some(caller.tenant()).filter(|_| !caller.sees_all_tenants());
    let now = gateway.clock.now();
    let webhooks = gateway.store().webhooks(tenant).await?;
    let webhooks = webhooks.into_iter().filter(|webhook| may_manage(&caller, webhook));
    let webhooks = webhooks.map(|webhook| WebhookView::new(webhook, false, now)).collect();
    Ok(Json(WebhookList { webhooks }))
}

/// Read a webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "events",
    params(openapi::WebhookParameter),
    responses(
        (status = 200, description = "The webhook", body = WebhookView),
        openapi::AnyCall, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_webhook(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<WebhookView>, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    refuse_parameters(&uri)?;
    Ok(Json(WebhookView::new(webhook, false, gateway.clock.now())))
}

/// Change a webhook
///
/// What is left out stays as it is. One that is enabled again goes on where it was.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", tag = "events",
    params(openapi::WebhookParameter),
    request_body = WebhookChange,
    responses(
        (status = 200, description = "The webhook as it is now", body = WebhookView),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn change_webhook(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WebhookView>, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let change = body::read_change(body, &gateway, &caller, faults)?;
    let changed = apply(&gateway, &caller, webhook.id, "webhook.change", move |webhook, _| {
        change.apply(webhook);
    });
    Ok(Json(WebhookView::new(changed.await?, false, gateway.clock.now())))
}

/// Remove a webhook
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "events",
    params(openapi::WebhookParameter),
    responses(
        (status = 204, description = "It is gone, with its record of attempts"),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
    )
)]
pub(crate) async fn remove_webhook(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<StatusCode, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let removing = crate::run_to_completion(async move {
        store.remove_webhook(webhook.id, &actor, move |it| may_manage(&caller, it)).await
    });
    if !removing.await?? {
        return Err(Problem::not_found("webhook"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new secret for a webhook
///
/// For a while (`overlap`, 24 hours unless said otherwise) requests carry a signature by each of both, so that the endpoint can
/// change over.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "events",
    params(openapi::WebhookParameter),
    request_body = Option<Rotation>,
    responses(
        (status = 200, description = "The webhook with its new secret", body = WebhookView),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn rotate_webhook_secret(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WebhookView>, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    let body = read_optional_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let overlap = body::read_rotation(body, faults)?;
    let secret = new_secret();
    let rotate = move |webhook: &mut Webhook, now: Timestamp| {
        for old in webhook.secrets.iter_mut().filter(|old| old.until.is_none()) {
            old.until = Some(now + overlap);
        }
        webhook.secrets.retain(|old| old.until.is_some_and(|until| until > now));
        webhook.secrets.insert(0, SigningSecret { key: secret.clone(), until: None });
        webhook.secrets.truncate(SECRETS);
    };
    let changed = apply(&gateway, &caller, webhook.id, "webhook.rotate", rotate).await?;
    Ok(Json(WebhookView::new(changed, true, gateway.clock.now())))
}

/// Send a test to a webhook
///
/// An event of the type `webhook.test` is sent at once, also to one that is disabled, and the answer says what came of it.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", tag = "events",
    params(openapi::WebhookParameter),
    responses(
        (status = 200, description = "What came of it", body = WebhookAttemptView),
        openapi::AnyCall, openapi::WithoutBody, openapi::NotFound,
    )
)]
pub(crate) async fn test_webhook(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<WebhookAttemptView>, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    let webhook = find_again(&gateway, &caller, &webhook).await?;
    let _place = gateway.waiting.acquire(caller.id(), 1).map_err(|_| {
        let detail = "too many requests wait, in all or of this key: try again";
        Problem::new(&codes::NOT_READY, detail)
    })?;
    // No event has such an id, and no endpoint that knows the ids it got takes one test for another.
    let event = EventId::of(i64::from_be_bytes(random::bytes()) & i64::MAX | 1 << 62);
    let payload = payload::test(event, gateway.clock.now());
    let sent = gateway.engine.test_webhook(&webhook, event, payload).await;
    let attempt = sent.map_err(|why| Problem::new(&codes::INTERNAL, why))?;
    Ok(Json(attempt.into()))
}

/// Send an event to a webhook again
///
/// Whether it was taken before or not, and whatever its type and labels. One that is disabled gets it once it is
/// enabled.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/resend", tag = "events",
    params(openapi::WebhookParameter),
    request_body = Resend,
    responses(
        (status = 202, description = "It is sent at once"),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn resend_event(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let event = body::read_resend(body, faults)?;
    let webhook = find_again(&gateway, &caller, &webhook).await?;
    if !gateway.store().resend_event(&webhook, event).await? {
        return Err(Problem::not_found("event"));
    }
    Ok(StatusCode::ACCEPTED)
}

/// Send again what a webhook missed
///
/// All events since a time that were given up, because the endpoint did not take them for three days.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/recover", tag = "events",
    params(
        openapi::WebhookParameter,
        ("since" = Timestamp, Query, description = "Events since this moment",
            example = "2026-01-01T00:00:00Z"),
    ),
    responses(
        (status = 202, description = "So many are sent again", body = Recovered),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
    )
)]
pub(crate) async fn recover_events(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<(StatusCode, Json<Recovered>), Problem> {
    let webhook = find(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &["since"]).await?;
    let mut parameters = Parameters::read(&uri, &["since"]);
    let since = parameters.required_moment("since");
    parameters.finish()?;
    let since = since.unwrap_or(Timestamp::MAX);
    let webhook = find_again(&gateway, &caller, &webhook).await?;
    let store = gateway.store().clone();
    let recovering =
        crate::run_to_completion(async move { store.recover_deliveries(webhook.id, since).await });
    let events = recovering.await??;
    Ok((StatusCode::ACCEPTED, Json(Recovered { events })))
}
