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

/// The simulated provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    Securegate,
    Rkvst,
    Turnkey,
}

/// The provider-neutral name of an endpoint, as fault rules and the list of requests use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// In rules only: every operation.
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
    /// A request for something that the provider does not serve.
    Unknown,
}

/// One request, wholly read.
#[derive(Debug)]
pub(crate) struct Call {
    pub number: u64,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// A fault: only this many invites of the batch come to exist.
    pub only_first: Option<usize>,
}

impl Call {
    /// A query parameter, decoded; of several values the last, as in FastAPI.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?.as_bytes();
        url::form_urlencoded::parse(query)
            .filter(|(key, _)| key == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    /// A header that is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How many of `count` invites may come to exist.
    pub fn taken(&self, count: usize) -> usize {
        self.only_first.map_or(count, |first| first.min(count))
    }
}

/// A refusal that a fault or a limit asks for, told in the provider's own words.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// The provider's error body for this status.
    Status(StatusCode),
    /// Too many requests; the wait is told where the provider has a header for it.
    RateLimited { wait: Option<String> },
    /// The plan's quota is used up.
    Quota,
}

/// An invite that came to exist at a provider, whatever became of it since.
#[derive(Debug, Serialize)]
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

/// Why an order of the control endpoints was not carried out.
#[derive(Debug)]
pub(crate) enum Unmoved {
    /// There is nothing of that name.
    Absent,
    /// The provider has no such state, or not from here.
    Impossible(String),
}

/// One provider.
pub(crate) trait Simulator: Send + Sync + 'static {
    fn provider(&self) -> Provider;

    /// How a provider document says to reach it.
    fn account(&self) -> &'static Account;

    /// Which operation a request line names.
    fn operation(&self, method: &Method, path: &str) -> Operation;

    /// Checks the call, lets it take effect and answers it.
    fn answer(&self, call: &Call) -> Reply;

    /// A refusal in the provider's own shape, without any effect.
    fn refuse(&self, refusal: Refusal) -> Reply;

    /// Shows the state of the rate limit, where the provider has headers for it.
    fn show_rate(&self, _headers: &mut HeaderMap, _limit: f64, _remaining: f64) {}

    /// The event, tenancy or organization that a request is about.
    fn destination(&self, call: &Call) -> Option<String>;

    /// The settings that every simulator has.
    fn shared(&self) -> Shared;

    /// Every invite that ever came to exist, in order.
    fn effects(&self) -> Vec<Effect>;

    fn settings(&self) -> Value;

    fn change_settings(&self, patch: &Map<String, Value>) -> Result<(), String>;

    /// Does to an invite what its invitee (or time, or another administrator) would do.
    fn move_invite(&self, id: &str, status: &str) -> Result<(), Unmoved>;

    /// Votes on an activity as another user of the organization.
    fn vote(&self, _activity: &str, _approve: bool) -> Result<(), Unmoved> {
        Err(Unmoved::Impossible("this provider has no activities".to_owned()))
    }

    /// Forgets everything, settings included.
    fn reset(&self);
}

/// A JSON reply.
pub(crate) fn json(status: StatusCode, body: &Value) -> Reply {
    text(status, "application/json", body.to_string())
}

/// A reply of any content type.
pub(crate) fn text(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply
}

/// Sets a header; a value that cannot be one is left out.
pub(crate) fn set_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// Locks a state. A panic elsewhere must not make every later request of a test fail too.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
