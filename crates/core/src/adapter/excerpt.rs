//! Helpers for what a caller may see of a stored exchange ([`excerpt`](crate::ProviderKind::excerpt)). Which members
//! belong to whom, each adapter says.

use serde_json::{Map, Value};

/// The part of a reply that `show` takes from its JSON; null without a reply. A reply that is not JSON is not shown,
/// because anything may be in it.
pub fn of_reply(reply: Option<&str>, show: impl FnOnce(Value) -> Value) -> Value {
    match reply.map(serde_json::from_str) {
        None => Value::Null,
        Some(Ok(reply)) => show(reply),
        Some(Err(_)) => "[not JSON]".into(),
    }
}

/// The JSON of a request; null if there is none, or if it is not JSON.
pub fn of_request(request: Option<&str>) -> Value {
    request.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The members of an object that are named.
pub fn members(object: &Value, names: &[&str]) -> Map<String, Value> {
    let member = |name: &&str| Some(((*name).to_owned(), object.get(*name)?.clone()));
    names.iter().filter_map(member).collect()
}

/// The object of these members, or null if there are none.
pub fn or_null(members: Map<String, Value>) -> Value {
    if members.is_empty() { Value::Null } else { members.into() }
}
