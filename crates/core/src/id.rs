//! Ids: a prefix that says of what, and a time-ordered UUID (version 7). All ids are made here.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, OnceLock},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{ContextV7, Uuid};

use crate::{Clock, SystemClock};

static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
/// Orders the ids of one moment, and keeps ids at the latest moment if the clock goes back.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// From now on this process's ids carry the time of this clock instead of the machine's, so that lists in the order
/// of ids are in the order of the stored times, too.
pub fn time_by(clock: Arc<dyn Clock>) {
    // A process has one clock, which is set once.
    let _ = CLOCK.set(clock);
}

fn time_ordered() -> Uuid {
    let now = CLOCK.get().map_or_else(|| SystemClock.now(), |clock| clock.now());
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(&SEQUENCE, seconds, nanos))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of every id of this type.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than every earlier one of this process.
            pub fn generate() -> Self {
                Self(time_ordered())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Accepts exactly what `Display` writes, so that an id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { prefix: $prefix };
                let hex = text.strip_prefix($prefix).ok_or(invalid)?;
                if hex.len() != 32 || hex.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(invalid);
                }
                Uuid::try_parse(hex).map(Self).map_err(|_| invalid)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "[0-9a-f]{32}$"),
                    "examples": [concat!($prefix, "0199c0de0000700080000000000000aa")],
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// One invite at one provider.
    InviteId, "inv_"
);
id!(
    /// What one request to create invites became.
    BatchId, "bat_"
);
id!(
    /// One call to a provider.
    AttemptId, "att_"
);
id!(
    /// One change that an administrator made.
    AuditId, "aud_"
);
id!(
    /// One API key (the record, not the secret).
    KeyId, "key_"
);

id!(
    /// One webhook.
    WebhookId, "whk_"
);

id!(
    /// One action on the invites that a filter matches.
    ActionId, "act_"
);

id!(
    /// One process that serves a database.
    ReplicaId, "rep_"
);

/// A text that is no id of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {prefix} and 32 lower-case hexadecimal digits")]
pub struct InvalidId {
    prefix: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = InviteId::generate();
        assert_eq!(id.to_string().parse::<InviteId>(), Ok(id));
    }

    #[test]
    fn ids_are_ordered_by_the_time_they_were_made() {
        let ids: Vec<_> = (0..1000).map(|_| BatchId::generate().to_string()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn ids_are_of_the_time_that_the_clock_of_the_process_shows() {
        let clock = crate::ManualClock::new("2040-01-01T00:00:00Z".parse().unwrap());
        time_by(Arc::new(clock.clone()));
        let made = || BatchId::generate().0.get_timestamp().unwrap().to_unix().0;
        assert_eq!(made(), 2_208_988_800);
        clock.set("2039-12-31T00:00:00Z".parse().unwrap());
        assert_eq!(made(), 2_208_988_800, "they never go back");
        clock.advance(std::time::Duration::from_secs(3 * 86_400));
        assert_eq!(made(), 2_208_988_800 + 2 * 86_400);
    }

    #[test]
    fn an_id_of_another_type_or_spelling_is_refused() {
        let id = InviteId::generate().to_string();
        for text in ["", "inv_", "inv_xyz", &id.to_uppercase(), &id.replace("inv_", "bat_")] {
            assert!(text.parse::<InviteId>().is_err(), "{text}");
        }
    }
}
