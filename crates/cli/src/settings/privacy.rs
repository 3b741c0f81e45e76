//! `[privacy]`: what is kept of people, and for how long.

use std::time::Duration;

use invite_delivery::Retention;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

/// What is kept of people.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// What is removed of invites that have ended, and when.
    pub retention: Stages,
}

/// What is removed of invites that have ended, counted from their end, and of the record of changes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// What was exchanged with providers; `never` keeps it.
    #[serde(deserialize_with = "age")]
    #[schemars(with = "String")]
    bodies: Option<Duration>,
    /// The person; `never` keeps it.
    #[serde(deserialize_with = "age")]
    #[schemars(with = "String")]
    person: Option<Duration>,
    /// The rest; `never` keeps it.
    #[serde(deserialize_with = "age")]
    #[schemars(with = "String")]
    row: Option<Duration>,
    /// Entries of the record of changes, counted from when they were made; `never` keeps them.
    #[serde(deserialize_with = "age")]
    #[schemars(with = "String")]
    audit: Option<Duration>,
}

impl Stages {
    /// These, and how long events are kept.
    pub fn stages(&self, events: Duration) -> Retention {
        let Self { bodies, person, row, audit } = *self;
        Retention { bodies, person, row, audit, events: Some(events) }
    }

    /// Checks that each stage comes after the one before, and that an idempotency key is not remembered for
    /// longer than the invites that it stands for.
    pub fn check(&self, idempotency: Duration) -> Result<(), String> {
        let order = [("bodies", self.bodies), ("person", self.person), ("row", self.row)];
        for pair in order.windows(2) {
            let [(first, before), (second, after)] = pair else { continue };
            // `never` is later than any age.
            if after.is_some_and(|after| before.is_none_or(|before| before > after)) {
                return Err(format!(
                    "privacy.retention.{second} is shorter than privacy.retention.{first}: the stages \
                     are bodies, person, row, and none may come before the one that it builds on"
                ));
            }
        }
        if self.row.is_some_and(|row| row < idempotency) {
            return Err(
                "privacy.retention.row is shorter than idempotency.retention: a request could \
                        not be answered with the invites that it made"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// A time, or never.
fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "never" {
        return Ok(None);
    }
    let wrong = |error| {
        D::Error::custom(format!("`{text}` is neither a time such as 30d nor `never`: {error}"))
    };
    humantime::parse_duration(&text).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bodies: &str, person: &str, row: &str) -> Result<Stages, String> {
        let json = serde_json::json!({
            "bodies": bodies, "person": person, "row": row, "audit": "never",
        });
        let stages: Stages = serde_json::from_value(json).map_err(|error| error.to_string())?;
        stages.check(Duration::from_secs(24 * 3600)).map(|()| stages)
    }

    #[test]
    fn the_stages_come_one_after_the_other() {
        for (bodies, person, row) in [
            ("30d", "180d", "730d"),
            ("0s", "0s", "1d"),
            ("30d", "30d", "never"),
            ("30d", "never", "never"),
            ("never", "never", "never"),
        ] {
            assert!(read(bodies, person, row).is_ok(), "{bodies} {person} {row}");
        }
        for (bodies, person, row, told) in [
            ("31d", "30d", "730d", "privacy.retention.person is shorter"),
            ("never", "30d", "730d", "privacy.retention.person is shorter"),
            ("1d", "30d", "29d", "privacy.retention.row is shorter than privacy.retention.person"),
            (
                "1d",
                "never",
                "29d",
                "privacy.retention.row is shorter than privacy.retention.person",
            ),
            ("1s", "1m", "23h", "privacy.retention.row is shorter than idempotency.retention"),
            ("soon", "1m", "23h", "`soon` is neither a time such as 30d nor `never`"),
        ] {
            let error = read(bodies, person, row).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
