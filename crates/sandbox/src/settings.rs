//! The settings that all simulators have, and how settings are changed while a simulator runs. Settings of a single
//! simulator are in its folder.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock;
use crate::spelling::Spellings;
use crate::wait::Form;

/// The settings of every simulator.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub clock_offset_ms: i64,
    /// So many requests are answered in a second, with bursts of one second's worth.
    pub rate_per_second: Option<f64>,
    /// How long lists and look-ups do not find what is new.
    pub list_lag_ms: i64,
    pub revoked_credentials: Vec<String>,
    /// How text is respelled where it is shown.
    pub spelling: Spellings,
    /// Whether a query finds only the exact spelling that is kept. Otherwise the query is respelled as what is kept was.
    pub literal_queries: bool,
    /// The rate limit that every answer shows.
    pub rate_told: Option<RateTold>,
}

/// A rate limit as headers show it, whether or not there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateTold {
    pub remaining: u32,
    /// How far `ratelimit-reset` is from now.
    pub reset_in_ms: i64,
    #[serde(default)]
    pub form: Form,
}

impl Shared {
    pub fn now(&self) -> Timestamp {
        clock::shifted(clock::now(), self.clock_offset_ms)
    }

    /// Lists do not show what was made later than this.
    pub fn newest_listed(&self) -> Timestamp {
        clock::shifted(self.now(), -self.list_lag_ms)
    }

    pub fn is_revoked(&self, credential: &str) -> bool {
        self.revoked_credentials.iter().any(|own| own == credential)
    }

    /// Whether a query for the address `asked` finds one that was sent as `sent`.
    pub fn finds(&self, asked: &str, sent: &str) -> bool {
        let kept = self.spelling.kept(sent);
        if self.literal_queries { asked == kept } else { self.spelling.kept(asked) == kept }
    }
}

/// The settings `current` with those of `patch` in their place.
///
/// # Errors
/// A member is no setting: if a misspelt one were ignored, a test would silently test nothing.
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

pub(crate) fn shown<T: Serialize>(settings: &T) -> Value {
    serde_json::to_value(settings).unwrap_or(Value::Null)
}
