//! The headers that many answers have. Those of one call stand with its handler.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Answered before the request's key is looked at.
const BEFORE_THE_KEY: [StatusCode; 2] =
    [StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
/// A provider may say when, too.
const SAYS_WHEN: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::BAD_GATEWAY,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The headers by the names under which responses refer to them.
pub(super) fn all() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The request's id: the caller's own if that is short and plain, else a new one",
            "required": true,
            "schema": { "type": "string" },
            "example": "e8b4931dcd96713eefd52791fa95c918",
        },
        "RateLimit-Policy": {
            "description": "How many requests the key may make at once (`q`), and in how many seconds \
                that many come back (`w`); absent where it has no limit",
            "schema": { "type": "string" },
            "example": "\"key\";q=20;w=1",
        },
        "RateLimit": {
            "description": "How many requests are left now (`r`), and in how many seconds all are back \
                (`t`); absent where the key has no limit",
            "schema": { "type": "string" },
            "example": "\"key\";r=19;t=1",
        },
        "Retry-After": {
            "description": "Seconds until it is worth asking again",
            "schema": { "type": "integer", "minimum": 1 },
            "example": 5,
        },
        "WWW-Authenticate": {
            "description": "How to show a key",
            "required": true,
            "schema": { "type": "string" },
            "example": "Bearer",
        },
    })
}

/// Adds them to the responses of a call that have them.
pub(super) fn write(operation: &mut Value) {
    // A call that wants no key says so.
    let has_key = operation.get("security").is_none();
    let responses = operation["responses"].as_object_mut().into_iter().flatten();
    for (status, response) in responses {
        let mut names = vec!["X-Request-Id"];
        if has_key && !BEFORE_THE_KEY.iter().any(|before| before.as_str() == status) {
            names.extend(["RateLimit-Policy", "RateLimit"]);
        }
        if SAYS_WHEN.iter().any(|says| says.as_str() == status) {
            names.push("Retry-After");
        }
        if status == StatusCode::UNAUTHORIZED.as_str() {
            names.push("WWW-Authenticate");
        }
        for name in names {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
}
