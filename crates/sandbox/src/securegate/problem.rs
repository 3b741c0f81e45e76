//! Securegate's errors, in FastAPI's two forms: `detail` is text, or in a 422 a list of problems.

use http::StatusCode;
use serde_json::{Value, json};

use crate::simulator::{Reply, json as json_reply, set_header, text};

#[derive(Debug)]
pub(super) enum Problem {
    /// FastAPI's `HTTPException`.
    Told(StatusCode, String),
    /// All that is wrong with the parameters and the body.
    Invalid(Vec<Value>),
    /// The path exists, but only with this method.
    OtherMethod(&'static str),
    /// The path exists without the slash at its end, at this URL.
    Elsewhere(String),
}

impl Problem {
    pub fn told(status: StatusCode, what: impl Into<String>) -> Self {
        Self::Told(status, what.into())
    }

    /// The error that a bare status stands for.
    pub fn of_status(status: StatusCode) -> Self {
        Self::told(status, status.canonical_reason().unwrap_or("Unknown Error"))
    }

    pub fn absent(what: &str) -> Self {
        Self::told(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// A guess: nothing is documented about quotas.
    pub fn quota_exceeded() -> Self {
        Self::told(StatusCode::PAYMENT_REQUIRED, "Invite quota exceeded")
    }

    pub fn reply(self) -> Reply {
        match self {
            Self::Told(status, what) => json_reply(status, &json!({ "detail": what })),
            Self::Invalid(problems) => {
                json_reply(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "detail": problems }))
            }
            Self::OtherMethod(allow) => {
                let mut reply = Self::of_status(StatusCode::METHOD_NOT_ALLOWED).reply();
                set_header(reply.headers_mut(), "allow", allow);
                reply
            }
            Self::Elsewhere(location) => {
                let mut reply = text(StatusCode::TEMPORARY_REDIRECT, "text/plain", "");
                set_header(reply.headers_mut(), "location", &location);
                reply
            }
        }
    }
}
