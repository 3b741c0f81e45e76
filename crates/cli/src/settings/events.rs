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
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// After how long without anything taken one is disabled, and an event is sent no more.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub give_up: Duration,
}
