//! Turnkey's error bodies: grpc-gateway's `rpcStatus` with the `turnkeyErrorCode` beside it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::ids;
use crate::simulator::{Reply, grpc_code, json as json_reply};

/// An error, which becomes an answer or the `failure` of an activity.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: u8,
    turnkey_code: &'static str,
    message: String,
    details: Vec<Value>,
}

impl Problem {
    pub fn new(status: StatusCode, turnkey_code: &'static str, message: impl Into<String>) -> Self {
        let code = grpc_code(status);
        Self { status, code, turnkey_code, message: message.into(), details: Vec::new() }
    }

    /// The error that a bare status stands for.
    pub fn of_status(status: StatusCode) -> Self {
        let (turnkey_code, message) = match status.as_u16() {
            400 => ("REQUEST_INVALID", "invalid request".to_owned()),
            401 => ("SIGNATURE_INVALID", "could not verify api key signature".to_owned()),
            403 => ("REQUEST_NOT_AUTHORIZED", "request not authorized".to_owned()),
            429 => return Self::rate_limited(),
            500 => ("INTERNAL", format!("internal server error (error id: {})", ids::random())),
            _ => ("", status.canonical_reason().unwrap_or("unknown error").to_owned()),
        };
        Self::new(status, turnkey_code, message)
    }

    pub fn rate_limited() -> Self {
        let message = "Too many requests. Please wait and try again in a few seconds";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", message)
    }

    pub fn quota_exceeded() -> Self {
        let message = "this organization is over its allotted quota. Please contact the Turnkey \
                       team (help@turnkey.com) for more information";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "SIGNING_QUOTA_EXCEEDED", message)
    }

    /// A resource limit: a 429 like a rate limit, but waiting does not help. Its code is not documented, so it has none
    /// here.
    pub fn too_many_invitations(limit: usize) -> Self {
        let message = format!("organization has reached its limit of {limit} invitations");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "", message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "REQUEST_INVALID", message)
    }

    /// An invalid field, which the details name, too.
    pub fn field(turnkey_code: &'static str, field: &str, description: &str) -> Self {
        let message = format!("invalid request: {field}: {description}");
        let mut problem = Self::new(StatusCode::BAD_REQUEST, turnkey_code, message);
        problem.details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": description }],
        }));
        problem
    }

    pub fn absent(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "", format!("could not find {what}"))
    }

    /// A refusal by the policy engine.
    pub fn denied() -> Self {
        let message = "You don't have sufficient permissions to take this action. See \
                       https://docs.turnkey.com/concepts/policies/overview";
        let mut problem = Self::new(StatusCode::FORBIDDEN, "REQUEST_NOT_AUTHORIZED", message);
        problem.details.push(json!({
            "@type": "type.googleapis.com/errors.v1.PolicyEnginePermissionError",
            "message": "no policy allows this activity",
            "policyEvaluations": [{ "policyId": ids::random().to_string(), "outcome": "OUTCOME_DENY_IMPLICIT" }],
        }));
        problem
    }

    pub fn reply(&self) -> Reply {
        let mut body = self.rpc_status();
        body["turnkeyErrorCode"] = Value::from(self.turnkey_code);
        json_reply(self.status, &body)
    }

    /// The `rpcStatus` without `turnkeyErrorCode`, as it stands in `activity.failure`.
    pub fn rpc_status(&self) -> Value {
        let mut details = self.details.clone();
        if !self.turnkey_code.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/errors.v1.TurnkeyErrorDetail",
                "turnkeyErrorCode": self.turnkey_code,
            }));
        }
        json!({ "code": self.code, "message": self.message, "details": details })
    }
}
