//! The control endpoints, `/_control/...` at each simulator: what happened there, what is to go wrong, and what the
//! invitee does. Only the loopback may use them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::fault::{FaultScript, Rule};
use crate::simulator::{self, ControlError, Reply};

const PREFIX: &str = "/_control";
const LARGEST_BODY: usize = 1 << 20;

/// Whether a path is one of the control endpoints'.
pub(crate) fn concerns(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Refused(StatusCode, String);

impl Refused {
    fn bad(why: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound => {
                Self(StatusCode::NOT_FOUND, "there is no such thing".to_owned())
            }
            ControlError::Impossible(why) => Self(StatusCode::CONFLICT, why),
        }
    }
}

pub(crate) async fn answer(
    exchange: &Arc<Exchange>,
    peer: SocketAddr,
    parts: Parts,
    body: Incoming,
) -> Reply {
    let answered = if peer.ip().to_canonical().is_loopback() {
        match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => carry_out(exchange, &parts, &body.to_bytes()),
            Err(error) => Err(Refused::bad(error)),
        }
    } else {
        Err(Refused(StatusCode::FORBIDDEN, "control is for the loopback only".to_owned()))
    };
    let mut reply = match answered {
        Ok(value) => simulator::json(StatusCode::OK, &value),
        Err(Refused(status, why)) => simulator::json(status, &json!({ "error": why })),
    };
    simulator::set_header(reply.headers_mut(), "date", &exchange.date());
    reply
}

fn carry_out(exchange: &Exchange, parts: &Parts, body: &Bytes) -> Result<Value, Refused> {
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default().trim_matches('/');
    let (noun, id) = path.split_once('/').unwrap_or((path, ""));
    let shown_faults = || json!({ "faults": exchange.faults.shown() });
    match (parts.method.as_str(), noun, id) {
        ("GET", "effects", "") => Ok(json!({ "effects": exchange.simulator().effects() })),
        ("GET", "requests", "") => Ok(exchange.journal.shown()),
        ("GET", "faults", "") => Ok(shown_faults()),
        ("POST", "faults", "") => {
            exchange.faults.add(rules(parts, body)?);
            Ok(shown_faults())
        }
        ("DELETE", "faults", "") => {
            exchange.faults.clear();
            Ok(shown_faults())
        }
        ("GET", "settings", "") => Ok(exchange.simulator().settings()),
        ("PATCH", "settings", "") => {
            let patch = serde_json::from_slice(body).map_err(Refused::bad)?;
            let mut simulator = exchange.simulator();
            simulator.change_settings(&patch).map_err(Refused::bad)?;
            Ok(simulator.settings())
        }
        ("POST", "reset", "") => {
            exchange.reset();
            Ok(json!({}))
        }
        ("POST", "invites", id) if !id.is_empty() => {
            let Move { status } = serde_json::from_slice(body).map_err(Refused::bad)?;
            exchange.simulator().move_invite(id, &status)?;
            Ok(json!({ "id": id, "status": status }))
        }
        ("POST", "activities", id) if !id.is_empty() => {
            let Ballot { vote } = serde_json::from_slice(body).map_err(Refused::bad)?;
            exchange.simulator().vote(id, vote == Vote::Approve)?;
            Ok(json!({ "id": id }))
        }
        (method, _, _) => Err(Refused(
            StatusCode::NOT_FOUND,
            format!("no {method} {PREFIX}/{path}; the README lists the control endpoints"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ballot {
    vote: Vote,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Vote {
    Approve,
    Reject,
}

/// Reads rules from TOML (`[[fault]]`), or from JSON: `{"fault": [..]}`, a list of rules, or one rule.
fn rules(parts: &Parts, body: &Bytes) -> Result<Vec<Rule>, Refused> {
    let text = std::str::from_utf8(body).map_err(Refused::bad)?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if content_type.is_some_and(|value| value.contains("toml")) {
        return Ok(FaultScript::from_toml(text).map_err(Refused::bad)?.rules);
    }
    let value: Value = serde_json::from_str(text).map_err(Refused::bad)?;
    let rules = match value {
        Value::Array(_) => serde_json::from_value(value),
        Value::Object(ref members) if members.contains_key("fault") => {
            serde_json::from_value::<FaultScript>(value).map(|script| script.rules)
        }
        rule => serde_json::from_value(rule).map(|rule| vec![rule]),
    };
    rules.map_err(Refused::bad)
}
