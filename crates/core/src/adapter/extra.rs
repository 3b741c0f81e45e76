//! `options.<kind>.extra`: members that a caller adds to the provider's request, for what a provider offers tomorrow. They
//! go out as they are, beside the members that the adapter writes and never in the place of one.

use serde_json::{Map, Value};

use crate::{Fault, schema::escape};

/// The most bytes that the members of one invite take as JSON.
const MAX_BYTES: usize = 4096;
/// So many objects and arrays may stand in each other.
const MAX_DEPTH: usize = 8;
/// So many members that are not the caller's to write are named.
const MOST_NAMED: usize = 20;

/// Reads the members that an invite adds; `is_allowed` is what the provider's configuration says, and `known` names the
/// members that the adapter knows, also those that it may leave out. Names are compared by their letters and digits alone,
/// in any case: some services take a member by several spellings, such as `receiverUserEmail` and `receiver_user_email`.
///
/// # Errors
/// All faults, with pointers relative to the options.
pub fn read(
    given: Option<Map<String, Value>>,
    is_allowed: bool,
    known: &[&str],
) -> Result<Map<String, Value>, Vec<Fault>> {
    let Some(given) = given else { return Ok(Map::new()) };
    let at_all = |code: &str, detail: String| Err(vec![Fault::new("/extra", code, detail)]);
    if !is_allowed {
        let detail =
            "the provider's configuration does not allow `extra` (allow_extra = true would)";
        return at_all("not-allowed", detail.to_owned());
    }
    let known: Vec<String> = known.iter().map(|name| bare(name)).collect();
    let ours = given.keys().filter(|name| known.contains(&bare(name))).take(MOST_NAMED);
    let faults: Vec<Fault> = ours
        .map(|name| {
            let detail = "the gateway writes this member itself, from the rest of the invite";
            Fault::new(format!("/extra/{}", escape(name)), "not-allowed", detail)
        })
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let given = Value::Object(given);
    if given.to_string().len() > MAX_BYTES {
        return at_all("too-long", format!("`extra` has at most {MAX_BYTES} bytes of JSON"));
    }
    if depth(&given) > MAX_DEPTH {
        let detail = format!("at most {MAX_DEPTH} objects and arrays may stand in each other");
        return at_all("too-deep", detail);
    }
    match given {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

/// The call key of an invite with these members, which shares its call with none that has others: what the provider
/// refuses of them costs nobody else.
pub fn call_key(key: String, extra: &Map<String, Value>) -> String {
    match extra.is_empty() {
        true => key,
        false => format!("{key} {}", Value::Object(extra.clone())),
    }
}

/// The texts in a value, for no error to show them.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(given: Value, is_allowed: bool) -> Result<Map<String, Value>, Vec<(String, String)>> {
        let given = given.as_object().cloned();
        let read = super::read(given, is_allowed, &["receiverUserEmail", "first_name"]);
        read.map_err(|faults| faults.into_iter().map(|it| (it.pointer, it.code)).collect())
    }

    fn fault(pointer: &str, code: &str) -> Result<Map<String, Value>, Vec<(String, String)>> {
        Err(vec![(pointer.to_owned(), code.to_owned())])
    }

    #[test]
    fn members_pass_as_they_are_only_where_they_are_allowed() {
        let given = json!({ "vip": { "lounge": [1, null, "north"] }, "x/y": false });
        assert_eq!(read(given.clone(), true).map(Value::Object), Ok(given.clone()));
        assert_eq!(read(given, false), fault("/extra", "not-allowed"));
        assert_eq!(read(Value::Null, false), Ok(Map::new()));
    }

    #[test]
    fn a_member_that_the_adapter_knows_is_refused_however_it_is_spelt() {
        for name in ["receiverUserEmail", "receiver_user_email", "RECEIVER-USER-EMAIL", "firstName"]
        {
            let at = format!("/extra/{name}");
            assert_eq!(read(json!({ name: null, "vip": 1 }), true), fault(&at, "not-allowed"));
        }
        assert!(read(json!({ "receiver_user_emails": 1, "first": 2 }), true).is_ok());
    }

    #[test]
    fn what_is_long_or_deep_is_refused() {
        let deep = |levels: usize| (1..levels).fold(json!("x"), |inner, _| json!([inner]));
        assert!(read(json!({ "a": deep(MAX_DEPTH) }), true).is_ok());
        assert_eq!(read(json!({ "a": deep(MAX_DEPTH + 1) }), true), fault("/extra", "too-deep"));
        let long = |length: usize| json!({ "a": "x".repeat(length - r#"{"a":""}"#.len()) });
        assert!(read(long(MAX_BYTES), true).is_ok());
        assert_eq!(read(long(MAX_BYTES + 1), true), fault("/extra", "too-long"));
    }

    #[test]
    fn only_invites_with_equal_members_share_a_call() {
        let key = |extra: Value| call_key("notify=2".into(), extra.as_object().unwrap());
        assert_eq!(key(json!({})), "notify=2");
        assert_eq!(key(json!({ "a": 1 })), key(json!({ "a": 1 })));
        assert_ne!(key(json!({ "a": 1 })), key(json!({ "a": 2 })));
    }
}
