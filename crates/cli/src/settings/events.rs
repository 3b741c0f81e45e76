//! `[events]` and `[webhooks]`: what callers are told, and for how long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::duration;

/// What the feed and webhooks tell.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// How long an event is kept.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub retention: Duration,
    /// Whether there is one when a call begins, too.
    pub sending: bool,
}

/// Webhooks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// After how long without anything taken one is disabled, and an event is sent no more.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub give_up: Duration,
    /// Hosts that a webhook's URL may name although private.
    pub allow_private_hosts: Vec<String>,
}

impl Webhooks {
    /// Checks what the two say together.
    pub fn check(&self, events: &Events) -> Result<(), String> {
        if self.give_up.is_zero() {
            return Err(
                "webhooks.give_up: expected a time such as 72h; at 0 nothing would be sent again"
                    .to_owned(),
            );
        }
        if self.give_up > events.retention {
            return Err("webhooks.give_up: longer than events.retention, so that an event would be removed while it is still sent".to_owned());
        }
        Ok(())
    }
}
