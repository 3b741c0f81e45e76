//! What the API shows of counts.

use invite_core::Status;
use invite_store::Count;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For how long a count is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatsInterval {
    Minute,
    Hour,
}

/// How many invites came into which status.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Stats {
    /// From when on was counted: the beginning of a minute or an hour.
    pub since: Timestamp,
    /// Minutes or hours that began before this are counted.
    pub until: Timestamp,
    /// For how long each count is; null where they are sums over all of it.
    pub interval: Option<StatsInterval>,
    /// By time, provider, status and code; what did not happen is left out.
    pub counts: Vec<CountView>,
}

/// How many invites of a provider came into a status.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Count")]
pub(crate) struct CountView {
    /// When the minute or hour began; absent in a sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Null: they were refused before they were bound to one.
    provider: Option<String>,
    /// The status that they came into.
    status: Status,
    /// Of those that failed: the code of their error. Null for any other.
    code: Option<String>,
    #[schemars(range(min = 1))]
    count: u64,
}

impl From<Count> for CountView {
    fn from(count: Count) -> Self {
        let Count { at, provider, status, code, count } = count;
        Self { at, provider, status, code, count }
    }
}
