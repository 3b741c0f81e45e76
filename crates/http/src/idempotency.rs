//! The `Idempotency-Key` header
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>), and when two
//! bodies count as the same. What is remembered by a key is in the store.

use axum::http::HeaderMap;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::problem::{Problem, codes};

const MAX_LENGTH: usize = 255;

/// Reads the key: a quoted string as in the draft, or bare. It fails with 400 for a header that is neither,
/// or two of them.
pub(crate) fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|value| parse(value.trim()));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let detail = format!(
                "Idempotency-Key must be given once: 1 to {MAX_LENGTH} visible ASCII characters, \
                 quoted or bare"
            );
            Err(Problem::new(&codes::MALFORMED_HEADER, detail))
        }
    }
}

fn parse(value: &str) -> Option<String> {
    let key = match value.strip_prefix('"') {
        Some(rest) => unescape(rest.strip_suffix('"')?)?,
        None if value.contains('"') => return None,
        None => value.to_owned(),
    };
    let is_valid =
        (1..=MAX_LENGTH).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    is_valid.then_some(key)
}

/// The inside of a quoted string (RFC 9651, 3.3.3): a backslash stands before a quote or another.
fn unescape(inside: &str) -> Option<String> {
    let mut key = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            '"' => return None,
            c => key.push(c),
        }
    }
    Some(key)
}

/// A hash that is the same for bodies that are equal as JSON: it does not depend on white space, on the
/// order of members, or on how numbers and strings are written.
pub(crate) fn hash_body(body: &Value) -> String {
    let mut hasher = Sha256::new();
    hash(body, &mut hasher);
    base16ct::lower::encode_string(&hasher.finalize())
}

// Every value begins with a letter for its type and with its length, so that no two different
// values give the same bytes. The JSON reader has limited the depth.
fn hash(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Null => hasher.update(b"z"),
        Value::Bool(flag) => hasher.update(if *flag { b"t" } else { b"f" }),
        Value::Number(number) => hash_text(b"n", &canonical(number), hasher),
        Value::String(text) => hash_text(b"s", text, hasher),
        Value::Array(items) => {
            hash_length(b"a", items.len(), hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        Value::Object(members) => {
            hash_length(b"o", members.len(), hasher);
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                hash_text(b"k", name, hasher);
                hash(value, hasher);
            }
        }
    }
}

fn hash_text(kind: &[u8], text: &str, hasher: &mut Sha256) {
    hash_length(kind, text.len(), hasher);
    hasher.update(text.as_bytes());
}

fn hash_length(kind: &[u8], length: usize, hasher: &mut Sha256) {
    hasher.update(kind);
    hasher.update((length as u64).to_be_bytes());
}

/// One spelling for equal numbers: `1`, `1.0` and `1e0` are the same.
fn canonical(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if !(number.is_i64() || number.is_u64()) => {
            // Up to 2^53 every whole number is exact as a float, so it is written like the integer.
            let is_whole = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
            if is_whole { (float as i64).to_string() } else { float.to_string() }
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", HeaderValue::from_str(value).unwrap());
        read_key(&headers).map_err(|problem| problem.code())
    }

    fn hash_of(text: &str) -> String {
        hash_body(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_quoted_key_and_a_bare_one_are_the_same() {
        let expected = Ok(Some("8e03978e-40d5".to_owned()));
        assert_eq!(read("\"8e03978e-40d5\""), expected);
        assert_eq!(read("8e03978e-40d5"), expected);
        assert_eq!(read(r#""a\"b\\c""#), Ok(Some(r#"a"b\c"#.to_owned())));
        assert_eq!(read_key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_malformed_key_is_refused() {
        let long = "x".repeat(MAX_LENGTH + 1);
        for value in ["", "\"\"", "\"a", "a\"", "\"a\\b\"", "\"a\"b\"", "a b", "\"a b\"", &long] {
            assert_eq!(read(value), Err("malformed-header"), "{value}");
        }
        assert!(read(&long[1..]).is_ok());
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        assert!(read_key(&twice).is_err());
    }

    #[test]
    fn bodies_that_are_equal_as_json_have_one_hash() {
        let hash = hash_of(r#"{"a": [1, 2.5, "é"], "b": {"c": null, "d": true}}"#);
        assert_eq!(hash, hash_of(r#"{"b":{"d":true,"c":null},"a":[1.0,25e-1,"\u00e9"]}"#));
    }

    #[test]
    fn bodies_that_differ_have_different_hashes() {
        let bodies = r#"null true false 0 "0" [] {} [[]] [[],[]] ["a","b"] ["ab"] {"a":"b"} {"a":{"b":null}}
            [2,1] [1,2] 1.5 -1 9007199254740993 9007199254740992 18446744073709551615"#;
        let hashes: BTreeSet<_> = bodies.split_whitespace().map(hash_of).collect();
        assert_eq!(hashes.len(), 20);
    }

    proptest! {
        #[test]
        fn every_visible_key_reads_back_quoted(key in "[!-~]{1,255}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(read(&quoted), Ok(Some(key)));
        }
    }
}
