//! What a caller may see of a stored exchange ([`excerpt`](crate::ProviderKind::excerpt)): the tools.
//! Which members are whose is each provider's.

use serde_json::{Map, Value};

/// A reply as JSON, of which `show` tells the recipient's part; of what is no JSON nothing is shown, as it
/// may hold anything.
pub fn of_reply(reply: Option<&str>, show: impl FnOnce(Value) -> Value) -> Value {
    match reply.map(serde_json::from_str) {
        None => Value::Null,
        Some(Ok(reply)) => show(reply),
        Some(Err(_)) => "[not JSON]".into(),
    }
}

/// A request as JSON; null if there is none, or it is not JSON.
pub fn of_request(request: Option<&str>) -> Value {
    request.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Those of an object's members that are named.
pub fn members(object: &Value, names: &[&str]) -> Map<String, Value> {
    let member = |name: &&str| Some(((*name).to_owned(), object.get(*name)?.clone()));
    names.iter().filter_map(member).collect()
}

/// An object, or null where nothing is in it.
pub fn or_null(members: Map<String, Value>) -> Value {
    if members.is_empty() { Value::Null } else { members.into() }
}
