//! API keys: making, listing, changing and revoking them. What a key may be is decided in `keys`,
//! what may be done with it in `auth`.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
};
use invite_core::{Fault, Faults, KeyId};
use invite_store::{ApiKey, KeyChanged, Unreadable};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Gateway,
    auth::{Caller, Scope, generate_key, hash_key},
    body::{read_json, refuse_body},
    keys::{KeyChange, KeyState, MAX_LINEAGE, NewKey, excess, manages, new_key},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, cursor, cut_to_fit, refuse_parameters},
    segment::Segment,
};

/// An API key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct KeyView {
    #[serde(flatten)]
    record: ApiKey,
    /// The secret; only in the answer to the call that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whether it is good.
    state: KeyState,
}

/// API keys.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyList {
    /// Newest first, among them revoked and expired ones.
    keys: Vec<KeyView>,
    /// Those that cannot be read, and are refused; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Unreadable>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<String>,
}

impl KeyView {
    /// The key as it stands at `now`. Its secret is for whoever made it, in the answer to that.
    fn new(record: ApiKey, secret: Option<String>, now: Timestamp) -> Self {
        let state = KeyState::of(&record, now);
        Self { record, key: secret, state }
    }
}

/// Make an API key
///
/// The secret is in this answer as `key`, and is never shown again. The new key can do no more than the
/// one that makes it, counts against its limits too, ends no later, and is revoked with it.
#[utoipa::path(
    post, path = "/v1/admin/keys", tag = "administration",
    request_body = NewKey,
    responses(
        (status = 201, description = "The key with its secret", body = KeyView,
            headers(("Location" = String, description = "The key"))),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable,
        openapi::ExceededKey,
    )
)]
pub(crate) async fn create_key(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<KeyView>), Problem> {
    caller.require_for_all(Scope::KeysWrite)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let (now, secret) = (gateway.clock.now(), generate_key());
    let configuration = gateway.live().current();
    let providers: Vec<&str> = configuration.providers().map(|it| it.name.as_str()).collect();
    let key = with_faults(new_key(body, Some(caller.key()), &providers, now), faults)?;
    let beyond = excess(&key, caller.key());
    if !beyond.is_empty() {
        let detail = format!(
            "the new key would exceed {}, the key that this call is made with, in its {}",
            caller.id(),
            beyond.join(", ")
        );
        return Err(Problem::new(&codes::KEY_EXCEEDED, detail));
    }
    if caller.lineage().count() >= MAX_LINEAGE {
        let detail = format!(
            "{} has {} keys above it, each made with the one before, and makes no more: make the new \
             one with one of those",
            caller.id(),
            caller.ancestors().len()
        );
        return Err(Problem::new(&codes::KEY_EXCEEDED, detail));
    }
    let key = ApiKey { hash: hash_key(&secret), ..key };
    let (store, stored, actor) = (gateway.store().clone(), key.clone(), caller.actor());
    let is_made = crate::run_to_completion(async move { store.insert_key(&stored, &actor).await });
    if !is_made.await?? {
        let detail = "the API key that this call is made with has ended meanwhile";
        return Err(Problem::new(&codes::UNAUTHORIZED, detail));
    }
    let location = [(header::LOCATION, format!("/v1/admin/keys/{}", key.id))];
    let view = KeyView::new(key, Some(secret), now);
    Ok((StatusCode::CREATED, location, Json(view)))
}

/// List the API keys
///
/// Those that can do no more than the one that this call is made with, without those that it descends
/// from; never with their secrets, which are not stored.
#[utoipa::path(
    get, path = "/v1/admin/keys", tag = "administration",
    params(("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses(
        (status = 200, description = "A page", body = KeyList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_keys(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<KeyList>, Problem> {
    caller.require_for_all(Scope::KeysWrite)?;
    let mut parameters = Parameters::read(&uri, &["cursor"]);
    let after = parameters.cursor::<String>();
    parameters.finish()?;
    let (mut keys, mut unreadable) = gateway.store().keys(after).await?;
    let now = gateway.clock.now();
    keys.retain(|key| manages(&caller, key));
    let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    let mut keys: Vec<_> = keys.into_iter().map(|key| KeyView::new(key, None, now)).collect();
    let last = cut_to_fit(&mut keys, &ids);
    let is_here = |it: &Unreadable| last.as_ref().is_none_or(|last| it.id >= *last);
    unreadable.retain(|it| caller.has(Scope::Admin) && is_here(it));
    Ok(Json(KeyList { keys, unreadable, next_cursor: last.map(cursor) }))
}

/// Change an API key
///
/// Its name, providers, limit of requests and end; its secret stays. What is left out stays as it is,
/// and null takes a limit away. It cannot come to exceed the key that this call is made with or the one
/// that it was made with, nor be exceeded by those that were made with it.
#[utoipa::path(
    patch, path = "/v1/admin/keys/{id}", tag = "administration",
    params(("id" = String, Path, description = "The key's id", pattern = "^key_[0-9a-f]{32}$",
        example = "key_0199c0de0000700080000000000000aa")),
    request_body = KeyChange,
    responses(
        (status = 200, description = "The key as it is now", body = KeyView),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::NotFound,
        openapi::Unprocessable, openapi::ExceededKey,
    )
)]
pub(crate) async fn change_key(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeyView>, Problem> {
    caller.require_for_all(Scope::KeysWrite)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let id = find_key(&gateway, &caller, &id).await?;
    let faults = Parameters::read(&uri, &[]).into_faults();
    let now = gateway.clock.now();
    let configuration = gateway.live().current();
    let providers: Vec<&str> = configuration.providers().map(|it| it.name.as_str()).collect();
    let change = Arc::new(with_faults(KeyChange::read(body, &providers, now), faults)?);
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let (decided, changer) = (Arc::clone(&change), caller.clone());
    let changed = crate::run_to_completion(async move {
        let decide = move |family: &_| decided.decide(family, Some(changer.key()));
        store.change_key(id, &actor, decide).await
    });
    match changed.await??.ok_or_else(|| Problem::not_found("key"))? {
        KeyChanged::Changed(key) => Ok(Json(KeyView::new(*key, None, now))),
        KeyChanged::Refused(family) => {
            let detail = change.refusal(&family, Some(caller.key())).unwrap_or_default();
            Err(Problem::new(&codes::KEY_EXCEEDED, detail))
        }
    }
}

/// What was read of a body, unless there is a fault in it or in the query, whose faults are given.
fn with_faults<T>(read: Result<T, Vec<Fault>>, mut faults: Faults) -> Result<T, Problem> {
    let read = read.map_err(|found| faults.extend(found)).ok();
    read.filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(faults.into_vec()))
}

/// The id of a key that the caller may see.
async fn find_key(gateway: &Gateway, caller: &Caller, id: &str) -> Result<KeyId, Problem> {
    let Ok(id) = id.parse::<KeyId>() else { return Err(Problem::not_found("key")) };
    let key = gateway.store().key(id).await?.filter(|key| manages(caller, key));
    key.map(|key| key.id).ok_or_else(|| Problem::not_found("key"))
}

/// Revoke an API key
///
/// It is refused from the next request on, with all keys that were made with it; also the one that this
/// call is made with.
#[utoipa::path(
    delete, path = "/v1/admin/keys/{id}", tag = "administration",
    params(("id" = String, Path, description = "The key's id", pattern = "^key_[0-9a-f]{32}$",
        example = "key_0199c0de0000700080000000000000aa")),
    responses(
        (status = 200, description = "The key, also when it was revoked before", body = KeyView),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn revoke_key(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<KeyView>, Problem> {
    caller.require_for_all(Scope::KeysWrite)?;
    let id = find_key(&gateway, &caller, &id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &[]).await?;
    refuse_parameters(&uri)?;
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let key = crate::run_to_completion(async move { store.revoke_key(id, &actor).await }).await??;
    let key = key.ok_or_else(|| Problem::not_found("key"))?;
    Ok(Json(KeyView::new(key, None, gateway.clock.now())))
}
