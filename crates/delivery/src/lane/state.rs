//! The state of a lane: one mechanism for a provider that fails, refuses the credential, or told us
//! to wait.

use std::{collections::BTreeMap, time::Duration};

use invite_core::{Outcome, ProviderError, Retry, random, secret::CredentialUse};
use jiff::Timestamp;
use serde::Serialize;

/// Calls in a row that may end unknown before the lane pauses.
const TOLERATED_UNKNOWN: u32 = 5;
/// The longest a lane waits before it tries a refused credential again.
const CREDENTIAL_PAUSE: Duration = Duration::from_secs(15);

/// How a provider is doing, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Calls are made as limits allow.
    Ready,
    /// One call at a time, until one succeeds.
    Slowed,
    /// No calls until a time.
    Paused,
    /// The credential was refused; invites wait.
    Misconfigured,
    /// Switched off by its configuration; takes no new invites.
    Disabled,
}

impl LaneState {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Ready, Self::Slowed, Self::Paused, Self::Misconfigured, Self::Disabled];

    /// The word used in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Slowed => "slowed",
            Self::Paused => "paused",
            Self::Misconfigured => "misconfigured",
            Self::Disabled => "disabled",
        }
    }
}

/// The last call that did not succeed.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Which operation.
    pub operation: String,
    /// What is known of its effect.
    pub outcome: Outcome,
    /// One line, without secrets and personal data.
    pub message: String,
    /// The provider's own code.
    pub code: Option<String>,
    /// The HTTP status it answered with.
    pub http_status: Option<u16>,
}

/// The last credential check.
#[derive(Clone, Debug, Serialize)]
pub struct LastProbe {
    /// When.
    pub at: Timestamp,
    /// Whether the credential was accepted.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// All that can be said of one provider now.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderStatus {
    /// In a word.
    pub state: LaneState,
    /// Why, unless it is ready.
    pub reason: Option<String>,
    /// When it is tried again.
    pub until: Option<Timestamp>,
    /// Invites in the queue.
    pub queued: u64,
    /// Calls under way in this process.
    pub in_flight: u32,
    /// Invites that count as live (queued to sent).
    pub live: u64,
    /// The last call that did not succeed.
    pub last_error: Option<LastError>,
    /// Attempts of this process by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// How each secret fared.
    pub credentials: Vec<CredentialUse>,
    /// The last credential check.
    pub last_probe: Option<LastProbe>,
}

/// What a call's end means to its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider answered as it should.
    Success,
    /// It could not be reached, or its answer could not be read.
    Failing {
        /// No byte was sent: the next call would fare alike.
        unreachable: bool,
    },
    /// It told us to wait.
    Throttled(Option<Duration>),
    /// It refused the credential.
    Credentials,
    /// A refusal that says nothing of the provider's health.
    Neutral,
}

/// What a lane remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    pause: Option<Pause>,
    /// Until when the provider is left alone so that its rate limit is not run into.
    eased: Option<Timestamp>,
    failures: u32,
    /// The revision under which the credential has created something.
    pub created_under: Option<i64>,
    pub last_error: Option<LastError>,
    pub last_probe: Option<LastProbe>,
    pub outcomes: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Pause {
    until: Timestamp,
    credentials: bool,
    reason: String,
}

impl State {
    /// How long no call may be made; `None` if one may be made now. After a pause only one call is
    /// under way until one succeeds.
    pub fn wait(&self, now: Timestamp, in_flight: u32) -> Option<Duration> {
        let left = |until: Timestamp| {
            let left = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
            (left > Duration::ZERO).then_some(left)
        };
        let eased = self.eased.and_then(left);
        let Some(pause) = &self.pause else { return eased };
        if let Some(left) = left(pause.until).max(eased) {
            return Some(left);
        }
        (in_flight > 0).then_some(Duration::from_secs(60))
    }

    /// Takes in a call's end.
    pub fn take(
        &mut self,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        let backoff = |failures| retry.backoff(failures, random::fraction());
        let wait = match event {
            Event::Success => {
                self.failures = 0;
                self.pause = None;
                return;
            }
            Event::Neutral => {
                // It answered: whatever it was paused for is over.
                self.pause = None;
                return;
            }
            Event::Failing { unreachable } => {
                self.failures += 1;
                if !unreachable && self.failures < TOLERATED_UNKNOWN && self.pause.is_none() {
                    return;
                }
                backoff(self.failures)
            }
            Event::Throttled(asked) => {
                self.failures += 1;
                asked.unwrap_or_else(|| backoff(self.failures)).min(retry.max)
            }
            Event::Credentials => {
                self.failures += 1;
                backoff(self.failures).min(CREDENTIAL_PAUSE)
            }
        };
        self.pause = Some(Pause {
            until: now.saturating_add(wait).unwrap_or(Timestamp::MAX),
            credentials: *event == Event::Credentials,
            reason: error.map(|error| error.message.clone()).unwrap_or_default(),
        });
    }

    /// The provider's rate budget runs out: it is left alone for a while.
    pub fn ease(&mut self, now: Timestamp, by: Duration, retry: &Retry) {
        self.eased = now.saturating_add(by.min(retry.max)).ok();
    }

    /// The document or a secret changed: what it was paused for may be over.
    pub fn resume(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
        }
    }

    /// State, reason and end of the pause.
    pub fn describe(
        &self,
        enabled: bool,
        now: Timestamp,
    ) -> (LaneState, Option<String>, Option<Timestamp>) {
        match &self.pause {
            _ if !enabled => (LaneState::Disabled, Some("enabled = false".to_owned()), None),
            None => match self.eased.filter(|until| *until > now) {
                Some(until) => {
                    let reason = "the provider's rate limit is nearly used up".to_owned();
                    (LaneState::Slowed, Some(reason), Some(until))
                }
                None => (LaneState::Ready, None, None),
            },
            Some(pause) => {
                let state = match pause {
                    Pause { credentials: true, .. } => LaneState::Misconfigured,
                    Pause { until, .. } if *until > now => LaneState::Paused,
                    _ => LaneState::Slowed,
                };
                (state, Some(pause.reason.clone()), Some(pause.until))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn failing(unreachable: bool) -> Event {
        Event::Failing { unreachable }
    }

    #[test]
    fn an_unreachable_provider_pauses_its_lane_at_once_and_one_success_ends_it() {
        let mut state = State::default();
        state.take(&failing(true), None, &Retry::default(), now());
        assert!(state.wait(now(), 0).is_some());
        assert_eq!(state.describe(true, now()).0, LaneState::Paused);
        state.take(&Event::Success, None, &Retry::default(), now());
        assert_eq!(state.wait(now(), 0), None);
    }

    #[test]
    fn after_a_pause_one_call_is_tried_alone() {
        let mut state = State::default();
        state.take(&Event::Throttled(Some(Duration::from_secs(7))), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(7);
        assert_eq!(state.wait(later, 0), None);
        assert!(state.wait(later, 1).is_some());
        assert_eq!(state.describe(true, later).0, LaneState::Slowed);
    }

    #[test]
    fn single_unknown_outcomes_pause_nothing_but_a_row_of_them_does() {
        let mut state = State::default();
        for _ in 1..TOLERATED_UNKNOWN {
            state.take(&failing(false), None, &Retry::default(), now());
            assert_eq!(state.wait(now(), 0), None);
        }
        state.take(&failing(false), None, &Retry::default(), now());
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn a_refused_credential_is_tried_again_within_fifteen_seconds_or_at_once_on_a_change() {
        let mut state = State::default();
        for _ in 0..20 {
            state.take(&Event::Credentials, None, &Retry::default(), now());
        }
        assert!(state.wait(now(), 0).unwrap() <= CREDENTIAL_PAUSE);
        assert_eq!(state.describe(true, now()).0, LaneState::Misconfigured);
        state.resume(now());
        assert_eq!(state.wait(now(), 0), None);
    }

    #[test]
    fn a_rate_limit_nearly_used_up_slows_the_lane_for_a_while() {
        let mut state = State::default();
        state.ease(now(), Duration::from_secs(2), &Retry::default());
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(2)));
        assert_eq!(state.describe(true, now()).0, LaneState::Slowed);
        assert_eq!(state.wait(now() + Duration::from_secs(2), 0), None);
    }

    #[test]
    fn a_wait_that_the_provider_asks_for_is_capped() {
        let mut state = State::default();
        state.take(&Event::Throttled(Some(Duration::MAX)), None, &Retry::default(), now());
        assert_eq!(state.wait(now(), 0), Some(Retry::default().max));
    }
}
