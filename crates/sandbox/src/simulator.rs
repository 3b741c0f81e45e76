//! What the simulators have in common: a call comes in, a reply goes out, effects remain.
//! Nothing here knows a provider's wire format, and nothing here knows about faults or sockets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{accounts::Account, settings::Shared};

/// A whole answer of a provider.
pub(crate) type Reply = Response<Bytes>;

/// What a request asks for, in words that all providers share: fault rules and the list of requests use them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Every operation; only rules say this.
    #[default]
    #[serde(rename = "*")]
    Any,
    Create,
    Get,
    List,
    Lookup,
    UpdateStatus,
    Delete,
    Token,
    Members,
    Whoami,
    GetActivity,
    ListActivities,
    GetOrganization,
    Approve,
    Reject,
    Event,
    /// Something that the provider does not serve.
    Unknown,
}

/// A request that was read to its end.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its place among the requests, from 1 on.
    pub number: u64,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How many invites of the batch come to exist, if a fault cuts it short.
    pub only_first: Option<usize>,
}

impl Call {
    /// A query parameter, decoded. The last value counts, as in FastAPI.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?.as_bytes();
        url::form_urlencoded::parse(query)
            .filter(|(key, _)| key == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How many of `count` invites may come to exist.
    pub fn taken(&self, count: usize) -> usize {
        self.only_first.map_or(count, |first| first.min(count))
    }
}

/// A refusal that a fault or a limit causes. Each provider has its own words for it.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The provider's error body for this status.
    Status(StatusCode),
    /// Too many requests. The reply shows the wait if the provider has a header for it.
    RateLimited {
        wait: Option<String>,
    },
    Quota,
}

/// An invite that came to exist at a provider, whatever became of it since.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Effect {
    pub id: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    pub status: String,
    pub created_at: String,
    /// The number of the request that made it.
    pub request: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Why a control endpoint could not change something.
#[derive(Debug)]
pub(crate) enum ControlError {
    NotFound,
    /// The provider has no such state, or it cannot be reached from the present one.
    Impossible(String),
}

/// A simulated provider.
pub(crate) trait Simulator: Send + 'static {
    fn account(&self) -> &'static Account;

    /// The operation that a request line asks for.
    fn operation(&self, method: &Method, path: &str) -> Operation;

    /// Checks the call, lets it take effect and answers it.
    fn answer(&mut self, call: &Call) -> Reply;

    /// A refusal in the provider's own shape. It has no effect.
    fn refuse(&self, refusal: Refusal) -> Reply;

    /// Shows the state of the rate limit, if the provider has headers for it.
    fn show_rate(&self, _headers: &mut HeaderMap, _limit: f64, _remaining: f64) {}

    /// The event, tenancy or organization that a request is about.
    fn destination(&self, call: &Call) -> Option<String>;

    /// The settings that every simulator has.
    fn shared(&self) -> &Shared;

    /// Every invite that ever came to exist, in order.
    fn effects(&self) -> Vec<Effect>;

    fn settings(&self) -> Value;

    fn change_settings(&mut self, patch: &Map<String, Value>) -> Result<(), String>;

    /// Gives an invite the status that its invitee, time, or another administrator would give it.
    fn move_invite(&mut self, id: &str, status: &str) -> Result<(), ControlError>;

    /// Votes on an activity as another user of the organization.
    fn vote(&mut self, _activity: &str, _approve: bool) -> Result<(), ControlError> {
        Err(ControlError::Impossible("this provider has no activities".to_owned()))
    }

    /// Forgets everything, settings included.
    fn reset(&mut self);
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Reply {
    text(status, "application/json", body.to_string())
}

pub(crate) fn text(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply
}

/// Sets a header, unless the value cannot be one.
pub(crate) fn set_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// The gRPC code that grpc-gateway turns into this status.
pub(crate) fn grpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 3,
        401 => 16,
        402 | 429 => 8,
        403 => 7,
        404 => 5,
        405 | 501 => 12,
        409 => 6,
        500 => 13,
        503 => 14,
        504 => 4,
        _ => 2,
    }
}

/// Locks a state, even after a panic: one that failed must not make every later request of a test fail too.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
