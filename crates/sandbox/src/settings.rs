//! Changing a simulator's settings while it runs. The settings themselves are in each simulator.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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
