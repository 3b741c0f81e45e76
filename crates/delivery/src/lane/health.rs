//! How a provider is doing, as a whole or at one destination: one mechanism for one that fails, refuses
//! the credential, or told us to wait.

use std::time::Duration;

use invite_core::{ProviderError, Retry, random};
use jiff::Timestamp;

use super::{LaneState, status::Condition};
use crate::reason;

/// The failure in a row that begins a pause.
const PAUSES_AT_FAILURES: u32 = 5;
/// How many of the last 32 calls may fail before a pause begins.
const TOLERATED_OF_32: u32 = 15;
/// After a pause two calls may be under way at once, and twice as many each time that this is over.
const SPEED_UP: Duration = Duration::from_secs(1);
/// From this many calls at once on it is at full speed, and only `max_in_flight` limits it.
const FULL_SPEED: u32 = 32;
/// The longest wait before a call tries a refused credential again.
const CREDENTIAL_PAUSE: Duration = Duration::from_secs(15);
/// The time between two trial look-ups after a pause, unless one of them begins or ends a pause.
pub(super) const TRIAL_EVERY: Duration = Duration::from_secs(15);

/// What a call's end means to the health of a provider or of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider answered: it is well, also if it refused invites.
    Success,
    /// It could not be reached, or its answer could not be read.
    Failing {
        /// The next call would fare alike: no byte was sent, or all destinations fail.
        pauses_at_once: bool,
    },
    /// It told us to wait.
    Throttled(Option<Duration>),
    /// It refused the credential, or how it is configured here.
    Refused,
    /// The provider was not asked: our own rate budget left no time for it.
    Unasked,
}

/// How calls have fared.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pause: Option<Pause>,
    failures: u32,
    /// The last 32 calls, the latest lowest; a one for each that failed.
    failing: u32,
    /// When a success ended the last pause: from then on it comes back to full speed.
    resumed: Option<Timestamp>,
}

#[derive(Debug)]
struct Pause {
    until: Timestamp,
    /// The credential, or how the provider is configured here, was refused.
    is_refusal: bool,
    /// When the next trial look-up may be made.
    look_up_at: Timestamp,
    /// The error that began it.
    error: Option<ProviderError>,
}

impl Health {
    /// How long no call may be made; `None` if one may be made now. After a pause only one call is
    /// under way until one succeeds.
    pub fn wait(&self, now: Timestamp, in_flight: u32) -> Option<Duration> {
        if let Some(left) = self.pause.as_ref().and_then(|pause| left(now, pause.until)) {
            return Some(left);
        }
        match self.pause {
            // The end of that call wakes the lane; the time is only a bound.
            Some(_) => (in_flight > 0).then_some(Duration::from_secs(60)),
            None => self.at_once(now).filter(|most| in_flight >= *most).map(|_| SPEED_UP),
        }
    }

    /// Until when no create is made, or no look-up; none if one may be made now.
    pub fn opens_at(&self, now: Timestamp, for_look_ups: bool) -> Option<Timestamp> {
        let opens = |pause: &Pause| match for_look_ups {
            true => pause.until.max(pause.look_up_at),
            false => pause.until,
        };
        self.pause.as_ref().map(opens).filter(|at| *at > now)
    }

    /// Whether the credential, or how the provider is configured here, counts as refused.
    pub fn is_refused(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.is_refusal)
    }

    /// Why no calls are made, for anybody to read: it says nothing of the call that showed it, which may have held other
    /// tenants' invites.
    pub fn pause_reason(&self) -> Option<String> {
        self.pause.as_ref()?.error.as_ref().map(reason::failure_kind)
    }

    /// How many calls may be under way since the last pause; `None` at full speed.
    fn at_once(&self, now: Timestamp) -> Option<u32> {
        let since = Duration::try_from(now.duration_since(self.resumed?)).unwrap_or_default();
        let doublings = u32::try_from(since.as_secs() / SPEED_UP.as_secs()).unwrap_or(u32::MAX);
        2u32.checked_shl(doublings).filter(|most| (1..FULL_SPEED).contains(most))
    }

    /// How long no look-up may be made; `None` if one may be made now. After each pause one is tried, and every
    /// [`TRIAL_EVERY`] another, until a success comes.
    pub fn look_up_wait(&self, now: Timestamp) -> Option<Duration> {
        self.wait(now, 0).or_else(|| left(now, self.pause.as_ref()?.look_up_at))
    }

    /// Notes that a look-up is about to be made. True if it is a trial, beside which no other may be made.
    pub fn begin_look_up(&mut self, now: Timestamp) -> bool {
        let Some(pause) = &mut self.pause else { return false };
        pause.look_up_at = now.saturating_add(TRIAL_EVERY).unwrap_or(Timestamp::MAX);
        true
    }

    /// Whether a pause is under way, or is over and no call has succeeded since.
    pub fn awaits_success(&self) -> bool {
        self.pause.is_some()
    }

    pub fn update(
        &mut self,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        if *event != Event::Unasked {
            let failed = matches!(event, Event::Failing { .. });
            self.failing = (self.failing << 1) | u32::from(failed);
        }
        // Calls that were under way when a pause began say nothing of its cause: a success does not end it, and several
        // failures of the same moment count as one. Only a wait that is asked for, or a refused credential, is new.
        let pausing = self.pause.as_ref().filter(|pause| pause.until > now);
        let known_refusal = pausing.is_some_and(|pause| pause.is_refusal);
        let wait = match event {
            Event::Success | Event::Failing { .. } if pausing.is_some() => return,
            Event::Refused if known_refusal => return,
            Event::Success => return self.speed_up(now),
            Event::Unasked => return,
            Event::Failing { pauses_at_once } => {
                self.failures += 1;
                let is_tolerated = self.failures < PAUSES_AT_FAILURES
                    && self.failing.count_ones() <= TOLERATED_OF_32;
                if !pauses_at_once && is_tolerated && self.pause.is_none() {
                    return;
                }
                retry.backoff(self.failures, random::fraction())
            }
            Event::Throttled(asked) => {
                self.failures += u32::from(pausing.is_none());
                // `Retry-After: 0` waits for `retry.first` all the same, or calls would follow each other without a pause.
                let asked = asked.map(|asked| asked.max(retry.first).min(retry.max_retry_after));
                asked.unwrap_or_else(|| retry.backoff(self.failures, random::fraction()))
            }
            Event::Refused => {
                self.failures += u32::from(pausing.is_none());
                retry.backoff(self.failures, random::fraction()).min(CREDENTIAL_PAUSE)
            }
        };
        let until = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        self.failing = 0;
        self.pause = Some(Pause {
            until: pausing.map_or(until, |pause| pause.until.max(until)),
            is_refusal: *event == Event::Refused,
            look_up_at: now,
            error: error.cloned(),
        });
    }

    /// Ends the pause after a success that came once it was over; full speed comes back step by step.
    fn speed_up(&mut self, now: Timestamp) {
        self.failures = 0;
        if self.pause.take().is_some() {
            self.resumed = Some(now);
        }
    }

    /// Ends the pause, whose cause may be over; a success has to show whether it is.
    pub fn resume(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
            pause.look_up_at = now;
        }
    }

    pub fn condition(&self, now: Timestamp) -> Condition {
        let (state, reason, until) = match &self.pause {
            None if self.at_once(now).is_some() => {
                let reason = "after a pause it comes back to full speed step by step";
                (LaneState::Slowed, Some(reason.to_owned()), None)
            }
            None => (LaneState::Ready, None, None),
            Some(pause) => {
                let state = match pause {
                    Pause { is_refusal: true, .. } => LaneState::Misconfigured,
                    Pause { until, .. } if *until > now => LaneState::Paused,
                    _ => LaneState::Slowed,
                };
                let reason = pause.error.as_ref().map(|error| error.message.clone());
                let until = Some(pause.until).filter(|until| *until > now);
                (state, Some(reason.unwrap_or_default()), until)
            }
        };
        Condition { state, reason, until }
    }
}

/// The time until a moment; `None` once that is past.
pub(super) fn left(now: Timestamp, until: Timestamp) -> Option<Duration> {
    Duration::try_from(until.duration_since(now)).ok().filter(|left| *left > Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn failing(pauses_at_once: bool) -> Event {
        Event::Failing { pauses_at_once }
    }

    #[test]
    fn an_unreachable_provider_pauses_its_lane_at_once_and_one_success_ends_it() {
        let mut state = Health::default();
        state.update(&failing(true), None, &Retry::default(), now());
        assert!(state.wait(now(), 0).is_some());
        assert_eq!(state.condition(now()).state, LaneState::Paused);
        let later = now() + Duration::from_secs(1);
        state.update(&Event::Success, None, &Retry::default(), later);
        assert_eq!(state.wait(later, 0), None);
    }

    #[test]
    fn after_a_pause_one_call_is_tried_alone() {
        let mut state = Health::default();
        state.update(
            &Event::Throttled(Some(Duration::from_secs(7))),
            None,
            &Retry::default(),
            now(),
        );
        let later = now() + Duration::from_secs(7);
        assert_eq!(state.wait(later, 0), None);
        assert!(state.wait(later, 1).is_some());
        assert_eq!(state.condition(later).state, LaneState::Slowed);
    }

    #[test]
    fn single_unknown_outcomes_pause_nothing_but_a_row_of_them_does() {
        let mut state = Health::default();
        for _ in 1..PAUSES_AT_FAILURES {
            state.update(&failing(false), None, &Retry::default(), now());
            assert_eq!(state.wait(now(), 0), None);
        }
        state.update(&failing(false), None, &Retry::default(), now());
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn calls_that_fail_together_are_one_failure_and_a_success_among_them_ends_no_pause() {
        let retry = Retry::default();
        let mut state = Health::default();
        for _ in 0..8 {
            state.update(&failing(true), None, &retry, now());
        }
        assert!(state.wait(now(), 0).unwrap() <= retry.first);
        state.update(&Event::Success, None, &retry, now());
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn half_of_the_last_calls_unknown_pauses_although_never_many_in_a_row() {
        let mut state = Health::default();
        for n in 0..31 {
            let event = if n % 2 == 0 { failing(false) } else { Event::Success };
            assert_eq!(state.wait(now(), 0), None, "{n}");
            state.update(&event, None, &Retry::default(), now());
        }
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn after_a_pause_what_may_be_under_way_doubles_every_second() {
        let mut state = Health::default();
        state.update(&failing(true), None, &Retry::default(), now());
        let after = |seconds| now() + Duration::from_secs(seconds);
        state.update(&Event::Success, None, &Retry::default(), after(1));
        for (seconds, most) in [(1, 2), (2, 4), (3, 8), (4, 16)] {
            assert_eq!(state.wait(after(seconds), most - 1), None);
            assert!(state.wait(after(seconds), most).is_some());
            assert_eq!(state.condition(after(seconds)).state, LaneState::Slowed);
        }
        for seconds in [5, 6, 40, 4000] {
            assert_eq!(state.wait(after(seconds), 1000), None, "{seconds}");
            assert_eq!(state.condition(after(seconds)).state, LaneState::Ready);
        }
    }

    #[test]
    fn what_the_provider_was_not_asked_changes_nothing() {
        let mut state = Health::default();
        for _ in 0..40 {
            state.update(&Event::Unasked, None, &Retry::default(), now());
        }
        assert_eq!((state.wait(now(), 1000), state.failures), (None, 0));
        state.update(&failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        state.update(&Event::Unasked, None, &Retry::default(), later);
        assert!(state.awaits_success());
    }

    #[test]
    fn any_answer_ends_a_pause_gradually_and_is_no_failure() {
        let retry = Retry::default();
        let mut state = Health::default();
        for n in 0..3u64 {
            state.update(&failing(true), None, &retry, now() + Duration::from_secs(60 * n));
        }
        let later = now() + Duration::from_secs(600);
        state.update(&Event::Success, None, &retry, later);
        assert!(!state.awaits_success());
        assert!(state.wait(later, 2).is_some(), "not at full speed yet");
        state.update(&failing(true), None, &retry, later);
        assert!(state.wait(later, 0).unwrap() <= retry.first, "it fails for the first time again");
    }

    #[test]
    fn a_wait_of_no_length_is_none_of_ours() {
        let mut state = Health::default();
        state.update(&Event::Throttled(Some(Duration::ZERO)), None, &Retry::default(), now());
        assert_eq!(state.wait(now(), 0), Some(Retry::default().first));
    }

    #[test]
    fn a_refused_credential_is_tried_again_within_fifteen_seconds_or_at_once_on_a_change() {
        let mut state = Health::default();
        for _ in 0..20 {
            state.update(&Event::Refused, None, &Retry::default(), now());
        }
        assert!(state.wait(now(), 0).unwrap() <= CREDENTIAL_PAUSE);
        assert_eq!(state.condition(now()).state, LaneState::Misconfigured);
        state.resume(now());
        assert_eq!(state.wait(now(), 0), None);
    }

    #[test]
    fn a_wait_that_the_provider_asks_for_has_a_bound_of_its_own() {
        let retry = Retry { max: Duration::from_secs(2), ..Retry::default() };
        for (asked, waits) in [
            (Duration::from_secs(10), Duration::from_secs(10)),
            (Duration::MAX, retry.max_retry_after),
        ] {
            let mut state = Health::default();
            state.update(&Event::Throttled(Some(asked)), None, &retry, now());
            assert_eq!(state.wait(now(), 0), Some(waits));
        }
    }
}
