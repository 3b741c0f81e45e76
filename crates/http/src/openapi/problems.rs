//! The problems in the document: for each call the codes that it can be answered with, for each code an
//! example.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::place;
use crate::problem::{Code, MEDIA_TYPE, Problem, ProblemView, codes};

/// What any request can be answered with, most of it before its call is known.
pub(super) const ANY_REQUEST: [&Code; 5] = [
    &codes::MALFORMED_REQUEST,
    &codes::URI_TOO_LONG,
    &codes::HEADERS_TOO_LARGE,
    &codes::INTERNAL,
    &codes::NOT_READY,
];
/// The id of the request in examples.
const REQUEST_ID: &str = "e8b4931dcd96713eefd52791fa95c918";

/// Makes a response for each status of the responses for each code, and lists the codes.
pub(super) fn write(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let mut by_status: BTreeMap<StatusCode, Vec<&Code>> = BTreeMap::new();
    let mut words = Vec::new();
    for code in codes::ALL {
        let is_answered = responses.shift_remove(code.word).is_some()
            || ANY_REQUEST.iter().any(|any| any.word == code.word);
        if let Some(status) = code.status.filter(|_| is_answered) {
            by_status.entry(status).or_default().push(code);
            words.push(code.word);
        }
    }
    let responses_of = by_status
        .into_iter()
        .map(|(status, codes)| (status.as_str().to_owned(), response(status, &codes)));
    responses.extend(responses_of);
    operation["x-problem-codes"] = json!(words);
}

fn response(status: StatusCode, codes: &[&Code]) -> Value {
    let name = status.canonical_reason().unwrap_or("A problem");
    let list: Vec<_> =
        codes.iter().map(|code| format!("- `{}`: {}", code.word, code.title)).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| {
            let example = json!({ "$ref": format!("#/components/examples/{}", code.word) });
            (code.word.to_owned(), example)
        })
        .collect();
    json!({
        "description": format!("{name}\n\n{}", list.join("\n")),
        "content": { MEDIA_TYPE: {
            "schema": { "$ref": place::<ProblemView>() },
            "examples": examples,
        } },
    })
}

/// A problem of each code that a call can be answered with.
pub(super) fn examples() -> Map<String, Value> {
    // A method that is not offered is no call.
    let is_shown = |status: StatusCode| status != StatusCode::METHOD_NOT_ALLOWED;
    let answered = codes::ALL.iter().filter(|code| code.status.is_some_and(is_shown));
    answered
        .map(|code| {
            let body = Problem::new(code, code.title).to_body(REQUEST_ID);
            let value: Value = serde_json::from_slice(&body).unwrap_or_default();
            (code.word.to_owned(), json!({ "summary": code.title, "value": value }))
        })
        .collect()
}
