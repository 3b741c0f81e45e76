//! The settings that all simulators have, and changing settings while a simulator runs. What only
//! one of them has is there.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock;
use crate::spelling::Spellings;
use crate::wait::Form;

/// What can be changed at every simulator while it runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub clock_offset_ms: i64,
    /// How many requests are answered, with one second's burst.
    pub rate_per_second: Option<f64>,
    /// For how long what is new is not yet found by lists and look-ups.
    pub list_lag_ms: i64,
    /// Credentials that are good no longer.
    pub revoked_credentials: Vec<String>,
    /// What is done to the text that is shown.
    pub spelling: Spellings,
    /// Whether a query finds only the very spelling that is kept. Without it, the query is spelled
    /// as what is kept is.
    pub literal_queries: bool,
    /// What every answer tells of a rate limit.
    pub rate_told: Option<RateTold>,
}

/// A rate limit as the headers of an answer tell it, whether or not there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateTold {
    /// `ratelimit-remaining`
    pub remaining: u32,
    /// `ratelimit-reset`, as the time from now until then.
    pub reset_in_ms: i64,
    #[serde(default)]
    pub form: Form,
}

impl Shared {
    /// The simulator's own time.
    pub fn now(&self) -> Timestamp {
        clock::shifted(clock::now(), self.clock_offset_ms)
    }

    /// What was made later than this is not yet listed.
    pub fn newest_listed(&self) -> Timestamp {
        clock::shifted(self.now(), -self.list_lag_ms)
    }

    pub fn is_revoked(&self, credential: &str) -> bool {
        self.revoked_credentials.iter().any(|own| own == credential)
    }

    /// Whether a query for an address finds one that was sent.
    pub fn finds(&self, asked: &str, sent: &str) -> bool {
        let kept = self.spelling.kept(sent);
        if self.literal_queries { asked == kept } else { self.spelling.kept(asked) == kept }
    }
}

/// `current` with the members of `patch` laid over it. A member that is no setting is refused,
/// because a mistyped setting would otherwise silently test nothing.
pub(crate) fn patched<T: Serialize + DeserializeOwned>(
    current: &T,
    patch: &Map<String, Value>,
) -> Result<T, String> {
    let mut merged = serde_json::to_value(current).map_err(|error| error.to_string())?;
    let Some(members) = merged.as_object_mut() else {
        return Err("the settings are not an object".to_owned());
    };
    for (name, value) in patch {
        match members.get_mut(name) {
            Some(member) => *member = value.clone(),
            None => {
                let known: Vec<_> = members.keys().cloned().collect();
                return Err(format!("no setting {name:?}; the settings are {}", known.join(", ")));
            }
        }
    }
    serde_json::from_value(merged).map_err(|error| error.to_string())
}

/// The settings as the control endpoint shows them.
pub(crate) fn shown<T: Serialize>(settings: &T) -> Value {
    serde_json::to_value(settings).unwrap_or(Value::Null)
}
