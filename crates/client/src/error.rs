//! Why a call failed.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a call failed. No message shows the key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address or the key cannot be one: nothing was called.
    #[error("{0}")]
    Unusable(String),
    /// There was no answer. What was asked for may have been done.
    #[error("the gateway at {url} ({path}): {why}")]
    #[expect(missing_docs, reason = "their names say all")]
    NoAnswer { url: String, path: String, why: String },
    /// The gateway refused.
    #[error("the gateway at {url} ({path}): answered {}: {}", .problem.status, .problem.detail)]
    #[expect(missing_docs, reason = "their names say all")]
    Refused { url: String, path: String, problem: Box<Problem> },
    /// The answer is not what this client knows.
    #[error("the gateway at {url} ({path}): answered something unreadable: {why}")]
    #[expect(missing_docs, reason = "their names say all")]
    Unreadable { url: String, path: String, why: String },
}

impl Error {
    /// What the gateway says, if it refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(skip, default)]
    pub status: StatusCode,
    /// The stable word for programs, such as `validation-failed`; empty if a proxy on the way answered.
    #[serde(default)]
    pub code: String,
    /// What happened, in one line.
    #[serde(default = "nothing_said")]
    pub detail: String,
    /// All else that it holds, such as `errors`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

fn nothing_said() -> String {
    "without saying why".to_owned()
}

impl Problem {
    /// The gateway says that nothing was done.
    pub(crate) fn had_no_effect(&self) -> bool {
        matches!(self.more.get("outcome").and_then(Value::as_str), Some("not_sent" | "throttled"))
    }

    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        let read = serde_json::from_slice(body).ok();
        let (code, detail, more) = (String::new(), nothing_said(), Map::new());
        Self { status, ..read.unwrap_or(Self { status, code, detail, more }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_whoever_answered() {
        let body = br#"{"code":"not-found","detail":"there is no such invite","errors":[]}"#;
        let problem = Problem::read(StatusCode::NOT_FOUND, body);
        assert_eq!((problem.status.as_u16(), &*problem.code), (404, "not-found"));
        assert_eq!(problem.detail, "there is no such invite");
        for body in [&b"<html>"[..], b"", b"[]", b"{}"] {
            let problem = Problem::read(StatusCode::BAD_GATEWAY, body);
            assert_eq!((problem.status.as_u16(), &*problem.code), (502, ""));
            assert_eq!(problem.detail, "without saying why");
        }
    }
}
