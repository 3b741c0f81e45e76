//! API keys: making, listing and revoking them. What a key may do once it is there is `auth`'s.

use std::collections::HashSet;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
};
use invite_core::{Fault, Faults, KeyId, schema::nearest, text::check_word};
use invite_store::ApiKey;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    Gateway,
    auth::{Caller, MAX_KEY_NAME, SCOPES, generate_key, hash_key},
    body::{read_json, refuse_body},
    moment, openapi,
    problem::Problem,
    query::{Parameters, refuse_parameters},
    requests::NewKeySchema,
    segment::Segment,
    submission::{refuse_unknown, take},
    views::{
        keys::{KeyList, KeyView},
        unreadable::UnreadableView,
    },
};

/// The longest name of a tenant, in characters.
const MAX_TENANT: usize = 200;
/// Whose invites a key sees that names no tenant.
const DEFAULT_TENANT: &str = "default";
/// How many requests per second a key can be limited to.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;
const MEMBERS: [&str; 6] =
    ["name", "scopes", "tenant", "providers", "requests_per_second", "expires_at"];

/// Make an API key
///
/// The secret is in this answer as `key`, and is never shown again.
#[utoipa::path(
    post,
    path = "/v1/admin/keys",
    tag = "administration",
    request_body = NewKeySchema,
    responses(
        (status = 201, description = "The key with its secret", body = KeyView,
            headers(("Location" = String, description = "The key"))),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn create_key(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<KeyView>), Problem> {
    caller.require_administrator()?;
    let body = read_json(&headers, body, gateway.limits().max_body_bytes).await?;
    let mut faults = Parameters::read(&uri, &[]).into_faults();
    let (now, secret) = (gateway.clock().now(), generate_key());
    let configuration = gateway.live().current();
    let providers: Vec<&str> = configuration.providers().map(|it| it.name.as_str()).collect();
    let key = read_key(body, &providers, now, &mut faults);
    if !faults.is_empty() {
        return Err(Problem::invalid(faults.into_vec()));
    }
    let key = ApiKey { hash: hash_key(&secret), ..key };
    let (store, stored, actor) = (gateway.store().clone(), key.clone(), caller.actor());
    crate::to_the_end(async move { store.insert_key(&stored, &actor).await }).await??;
    let location = [(header::LOCATION, format!("/v1/admin/keys/{}", key.id))];
    let view = KeyView::new(key, now).with_secret(secret);
    Ok((StatusCode::CREATED, location, Json(view)))
}

/// List the API keys
///
/// Never with their secrets, which are not stored.
#[utoipa::path(
    get,
    path = "/v1/admin/keys",
    tag = "administration",
    responses(
        (status = 200, description = "All keys", body = KeyList),
        openapi::AnyCall,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn list_keys(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<KeyList>, Problem> {
    caller.require_administrator()?;
    refuse_parameters(&uri)?;
    let ((keys, unreadable), now) = (gateway.store().keys().await?, gateway.clock().now());
    Ok(Json(KeyList {
        keys: keys.into_iter().map(|key| KeyView::new(key, now)).collect(),
        unreadable: UnreadableView::all(unreadable),
    }))
}

/// Revoke an API key
///
/// It is refused from the next request on; also the one that this call is made with.
#[utoipa::path(
    delete,
    path = "/v1/admin/keys/{id}",
    tag = "administration",
    params(("id" = String, Path, description = "The key's id", pattern = "^key_[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The key, also when it was revoked before", body = KeyView),
        openapi::AnyCall,
        openapi::WithoutBody,
        openapi::NotFound,
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
    caller.require_administrator()?;
    let Ok(id) = id.parse::<KeyId>() else { return Err(Problem::not_found("key")) };
    refuse_body(body, gateway.limits().max_body_bytes, &[]).await?;
    refuse_parameters(&uri)?;
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let key = crate::to_the_end(async move { store.revoke_key(id, &actor).await }).await??;
    let key = key.ok_or_else(|| Problem::not_found("key"))?;
    Ok(Json(KeyView::new(key, gateway.clock().now())))
}

/// Reads the body of a key to make, with a new id and without a hash; `providers` are those that
/// there are.
fn read_key(body: Value, providers: &[&str], now: Timestamp, faults: &mut Faults) -> ApiKey {
    let is_object = body.is_object();
    let mut members = match body {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let mut found = Faults::default();
    let name = read_word(&mut members, "name", MAX_KEY_NAME, &mut found);
    let scopes = read_names(&mut members, "scopes", SCOPES, "not-allowed", &mut found);
    let tenant = read_word(&mut members, "tenant", MAX_TENANT, &mut found);
    let providers =
        read_names(&mut members, "providers", providers, "unknown-provider", &mut found);
    let requests_per_second = read_rate(&mut members, &mut found);
    let expires_at = read_expiry(&mut members, now, &mut found);
    refuse_unknown(&members, &MEMBERS, &mut found);
    for (member, is_missing) in [("name", name.is_none()), ("scopes", scopes.is_none())] {
        let pointer = format!("/{member}");
        if is_missing && !found.iter().any(|fault| fault.pointer.starts_with(&pointer)) {
            found.push(Fault::new(pointer, "required", format!("`{member}` is missing")));
        }
    }
    if is_object {
        faults.extend(found.into_iter().map(|fault| fault.under("#")));
    } else {
        faults.push(Fault::new("#", "wrong-type", "the body must be an object"));
    }
    ApiKey {
        id: KeyId::generate(),
        hash: String::new(),
        name: name.unwrap_or_default(),
        tenant: tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        scopes: scopes.unwrap_or_default(),
        providers,
        requests_per_second,
        created_at: whole_milliseconds(now),
        expires_at: expires_at.map(whole_milliseconds),
        revoked_at: None,
        last_used_at: None,
    }
}

/// As the store keeps it, so that every answer shows the same.
fn whole_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// What stands in a column of a list, and in the log.
fn read_word(
    members: &mut Map<String, Value>,
    name: &str,
    max: usize,
    faults: &mut Faults,
) -> Option<String> {
    let value = take(members, name)?;
    let (code, detail) = match value {
        Value::String(word) => match check_word(&word, max) {
            Ok(()) => return Some(word),
            Err(fault) => fault,
        },
        _ => ("wrong-type", "must be a string".to_owned()),
    };
    faults.push(Fault::new(format!("/{name}"), code, format!("`{name}` {detail}")));
    None
}

/// An array of names out of those that are `known`, at least one; `unknown` is the code for others.
/// Each is taken once, in the order in which they are known.
fn read_names(
    members: &mut Map<String, Value>,
    name: &str,
    known: &[&str],
    unknown: &str,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let values = match take(members, name)? {
        Value::Array(values) if !values.is_empty() => values,
        Value::Array(_) => {
            let detail = format!("`{name}` is empty: name at least one");
            faults.push(Fault::new(format!("/{name}"), "too-few", detail));
            return None;
        }
        _ => {
            let detail = format!("`{name}` must be an array of strings");
            faults.push(Fault::new(format!("/{name}"), "wrong-type", detail));
            return None;
        }
    };
    let names: HashSet<&str> = known.iter().copied().collect();
    let is_wrong = |value: &Value| value.as_str().is_none_or(|word| !names.contains(word));
    let wrong = values.iter().enumerate().filter(|(_, value)| is_wrong(value));
    let before = faults.len();
    faults.extend(wrong.map(|(index, value)| {
        let pointer = format!("/{name}/{index}");
        let Some(word) = value.as_str() else {
            return Fault::new(pointer, "wrong-type", "a name must be a string");
        };
        let detail = format!("there is no such name; known are: {}", known.join(", "));
        let suggestion = nearest(word, known.iter().copied()).map(str::to_owned);
        Fault { suggestion, ..Fault::new(pointer, unknown, detail) }
    }));
    let given: HashSet<&str> = values.iter().filter_map(Value::as_str).collect();
    let taken = known.iter().filter(|name| given.contains(*name));
    (faults.len() == before).then(|| taken.map(ToString::to_string).collect())
}

fn read_rate(members: &mut Map<String, Value>, faults: &mut Faults) -> Option<f64> {
    const MEMBER: &str = "requests_per_second";
    let value = take(members, MEMBER)?;
    let rate = value.as_f64().filter(|rate| RATES.contains(rate));
    if rate.is_none() {
        let code = if value.is_number() { "out-of-range" } else { "wrong-type" };
        let detail = format!("`{MEMBER}` must be a number from 0.001 to 1000000");
        faults.push(Fault::new(format!("/{MEMBER}"), code, detail));
    }
    rate
}

fn read_expiry(
    members: &mut Map<String, Value>,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Timestamp> {
    let value = take(members, "expires_at")?;
    let at: Option<Timestamp> = value.as_str().and_then(moment::read);
    let (code, detail) = match at {
        Some(at) if at > now => return Some(at),
        Some(_) => ("out-of-range", "`expires_at` must be a time to come"),
        None if value.is_string() => {
            ("invalid", "`expires_at` must be a time such as 2026-01-31T12:00:00Z")
        }
        None => ("wrong-type", "`expires_at` must be a string"),
    };
    faults.push(Fault::new("/expires_at", code, detail));
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<ApiKey, Vec<(String, String)>> {
        let mut faults = Faults::default();
        let key = read_key(body, &["north"], Timestamp::UNIX_EPOCH, &mut faults);
        if faults.is_empty() {
            return Ok(key);
        }
        Err(faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    #[test]
    fn a_key_needs_a_name_and_scopes_and_the_rest_has_defaults() {
        let key = read(json!({ "name": "hr", "scopes": ["admin"], "tenant": null })).unwrap();
        assert_eq!((key.tenant.as_str(), key.providers, key.expires_at), ("default", None, None));
        let missing = [("#/name", "required"), ("#/scopes", "required")];
        assert_eq!(read(json!({})), Err(missing.map(|(p, c)| (p.into(), c.into())).to_vec()));
    }

    #[test]
    fn a_scope_that_is_named_twice_is_had_once() {
        let key = read(json!({ "name": "hr", "scopes": ["admin", "invites:read", "admin"] }));
        assert_eq!(key.unwrap().scopes, ["invites:read", "admin"]);
    }

    #[test]
    fn a_key_may_lapse_at_the_end_of_time() {
        let key = |at: &str| json!({ "name": "hr", "scopes": ["admin"], "expires_at": at });
        let read_at = |at: &str| read(key(at)).unwrap().expires_at.unwrap();
        assert_eq!(read_at("9999-12-31T23:59:59Z"), whole_milliseconds(Timestamp::MAX));
        assert_eq!(read_at("2030-01-01T01:00:00+01:00").to_string(), "2030-01-01T00:00:00Z");
        assert_eq!(read(key("2030")), Err(vec![("#/expires_at".into(), "invalid".into())]));
    }

    #[test]
    fn every_fault_of_a_key_is_found_at_once() {
        let faults = read(json!({
            "name": "x\u{202e}", "scopes": ["admin", "everything", 1], "tenant": "", "providers": ["gone"],
            "requests_per_second": 0, "expires_at": "1969-12-31T00:00:00Z", "scope": 1,
        }));
        let expected = [
            ("#/name", "invalid"),
            ("#/scopes/1", "not-allowed"),
            ("#/scopes/2", "wrong-type"),
            ("#/tenant", "too-short"),
            ("#/providers/0", "unknown-provider"),
            ("#/requests_per_second", "out-of-range"),
            ("#/expires_at", "out-of-range"),
            ("#/scope", "unknown-member"),
        ];
        assert_eq!(faults.unwrap_err(), expected.map(|(p, c)| (p.into(), c.into())));
        let types = json!({ "name": 1, "scopes": [], "requests_per_second": "1", "expires_at": 1 });
        let expected = [
            ("#/name", "wrong-type"),
            ("#/scopes", "too-few"),
            ("#/requests_per_second", "wrong-type"),
            ("#/expires_at", "wrong-type"),
        ];
        assert_eq!(read(types).unwrap_err(), expected.map(|(p, c)| (p.into(), c.into())));
        assert_eq!(read(json!("x")).unwrap_err(), [("#".to_owned(), "wrong-type".to_owned())]);
    }
}
