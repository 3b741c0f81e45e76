//! The state of a lane: one mechanism for a provider that fails, refuses the credential, or told us
//! to wait.

use std::{collections::BTreeMap, time::Duration};

use invite_core::{ProviderError, Retry, http::ClockDifference, random};
use jiff::{SignedDuration, Timestamp};

use super::{LaneState, LastError, LastProbe};
use crate::fault;

/// Calls in a row that may end unknown before the lane pauses.
const TOLERATED_UNKNOWN: u32 = 5;
/// Of the last 32 calls, those that may end unknown before the lane pauses.
const TOLERATED_OF_32: u32 = 15;
/// How often the calls that may be under way double after a pause, from two on.
const SPEED_UP: Duration = Duration::from_secs(1);
/// So many at once are full speed: `max_in_flight` says what that is.
const FULL_SPEED: u32 = 32;
/// The longest a lane waits before it tries a refused credential again.
const CREDENTIAL_PAUSE: Duration = Duration::from_secs(15);
/// Between the look-ups that are tried after a pause, unless one of them begins or ends a pause.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// By how much a provider's clock may differ from ours without anybody being told.
const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_secs(30);
/// Why a provider is left alone for a while, though no call failed.
pub(super) const NEARLY_USED_UP: &str = "the provider's rate limit is nearly used up";
pub(super) const TOLD_TO_WAIT: &str = "the provider asked to be left alone for a while";

/// What a call's end means to its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider answered: it is well, also if it refused invites.
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
    /// The provider was not asked: our own rate budget left no time for it.
    Unasked,
}

/// What a lane remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    pause: Option<Pause>,
    /// Until when the provider is left alone because a reply said so, and what it said.
    eased: Option<(Timestamp, &'static str)>,
    failures: u32,
    /// The last 32 calls, the latest lowest; a one for each that ended unknown.
    unknown: u32,
    /// When the last pause ended, from when on it gradually comes back to full speed.
    resumed: Option<Timestamp>,
    /// The revision since which the adapter of the last call is the same; another one may have mended
    /// what was wrong.
    adapter_since: i64,
    /// The revision since which it is the same account; 0 before a call.
    account_since: i64,
    /// The `adapter_since` with which the credential has created something.
    pub created_under: Option<i64>,
    pub last_error: Option<LastError>,
    pub last_probe: Option<LastProbe>,
    /// By how much the provider's clock is ahead of this machine's.
    pub clock_difference: Option<ClockDifference>,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub invites: u64,
}

#[derive(Debug)]
struct Pause {
    until: Timestamp,
    credentials: bool,
    /// The earliest time of the next look-up that may be tried after it.
    look_at: Timestamp,
    /// What began it.
    error: Option<ProviderError>,
}

impl State {
    /// How long no call may be made; `None` if one may be made now. After a pause only one call is
    /// under way until one succeeds.
    pub fn wait(&self, now: Timestamp, in_flight: u32) -> Option<Duration> {
        let paused = self.pause.as_ref().and_then(|pause| left(now, pause.until));
        if let Some(left) = paused.max(self.eased(now)) {
            return Some(left);
        }
        match self.pause {
            Some(_) => (in_flight > 0).then_some(Duration::from_secs(60)),
            None => self.at_once(now).filter(|most| in_flight >= *most).map(|_| SPEED_UP),
        }
    }

    /// Until when no create is made, or no look-up; none if one may be made now.
    pub fn opens_at(&self, now: Timestamp, for_looks: bool) -> Option<Timestamp> {
        let opens = |pause: &Pause| match for_looks {
            true => pause.until.max(pause.look_at),
            false => pause.until,
        };
        let eased = self.eased.map(|(until, _)| until);
        self.pause.as_ref().map(opens).max(eased).filter(|at| *at > now)
    }

    /// How many invites the next call may hold, of the `most` that one may. While the credential
    /// counts as refused only one: the refusal may be about a single invite (a provider's policy), and
    /// whatever shared a call with that one would never show that the credential is good.
    pub fn most_in_call(&self, most: u32) -> u32 {
        let is_refused = self.pause.as_ref().is_some_and(|pause| pause.credentials);
        if is_refused { 1 } else { most }
    }

    /// What keeps calls from being made, for anybody to read: it says nothing of the call that showed
    /// it, which may have held other tenants' invites.
    pub fn hindrance(&self, now: Timestamp) -> Option<String> {
        match &self.pause {
            Some(pause) => pause.error.as_ref().map(fault::ailment),
            None => self.eased(now).and(self.eased).map(|(_, why)| why.to_owned()),
        }
    }

    /// How long the provider is left alone because a reply said so.
    pub fn eased(&self, now: Timestamp) -> Option<Duration> {
        left(now, self.eased?.0)
    }

    /// Calls that may be under way since the last pause; none for full speed.
    fn at_once(&self, now: Timestamp) -> Option<u32> {
        let since = Duration::try_from(now.duration_since(self.resumed?)).unwrap_or_default();
        let doublings = u32::try_from(since.as_secs() / SPEED_UP.as_secs()).unwrap_or(u32::MAX);
        2u32.checked_shl(doublings).filter(|most| (1..FULL_SPEED).contains(most))
    }

    /// Whether look-ups may be made now, and only one of them: after each pause one is tried, and
    /// another a while later should it have said nothing, until a success ends what the pause was for.
    /// Else how long to wait.
    pub fn may_look(&mut self, now: Timestamp) -> Result<bool, Duration> {
        if let Some(left) = self.wait(now, 0) {
            return Err(left);
        }
        match &mut self.pause {
            None => Ok(false),
            Some(pause) => match left(now, pause.look_at) {
                Some(left) => Err(left),
                None => {
                    pause.look_at = now.saturating_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
                    Ok(true)
                }
            },
        }
    }

    /// A pause is under way or has not been ended by a success yet.
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Counts a call by its outcome, and keeps why it did not succeed.
    pub fn count(
        &mut self,
        operation: &'static str,
        outcome: &'static str,
        error: Option<&ProviderError>,
        at: Timestamp,
    ) {
        *self.outcomes.entry(outcome).or_default() += 1;
        self.keep(operation, error, at);
    }

    /// Keeps why a call did not succeed.
    pub fn keep(&mut self, operation: &'static str, error: Option<&ProviderError>, at: Timestamp) {
        if let Some(error) = error {
            self.last_error = Some(LastError {
                at,
                operation: operation.to_owned(),
                outcome: error.outcome,
                message: error.message.clone(),
                code: error.code.clone(),
                http_status: error.http_status,
            });
        }
    }

    /// Takes in a call's end.
    pub fn take(
        &mut self,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        if *event != Event::Unasked {
            let failed = matches!(event, Event::Failing { .. });
            self.unknown = (self.unknown << 1) | u32::from(failed);
        }
        // Calls that were under way when a pause began say nothing of what it is for: a success does
        // not end it, and several failures of the same moment are one. Only a wait that is asked for,
        // or a refused credential, is news.
        let pausing = self.pause.as_ref().filter(|pause| pause.until > now);
        let known_refusal = pausing.is_some_and(|pause| pause.credentials);
        let wait = match event {
            Event::Success | Event::Failing { .. } if pausing.is_some() => return,
            Event::Credentials if known_refusal => return,
            Event::Success => return self.speed_up(now),
            Event::Unasked => return,
            Event::Failing { unreachable } => {
                self.failures += 1;
                let is_tolerated = self.failures < TOLERATED_UNKNOWN
                    && self.unknown.count_ones() <= TOLERATED_OF_32;
                if !unreachable && is_tolerated && self.pause.is_none() {
                    return;
                }
                retry.backoff(self.failures, random::fraction())
            }
            Event::Throttled(asked) => {
                self.failures += u32::from(pausing.is_none());
                // Asked for no wait at all it waits all the same.
                let asked = asked.map(|asked| asked.max(retry.first).min(retry.max_retry_after));
                asked.unwrap_or_else(|| retry.backoff(self.failures, random::fraction()))
            }
            Event::Credentials => {
                self.failures += u32::from(pausing.is_none());
                retry.backoff(self.failures, random::fraction()).min(CREDENTIAL_PAUSE)
            }
        };
        let until = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        self.unknown = 0;
        self.pause = Some(Pause {
            until: pausing.map_or(until, |pause| pause.until.max(until)),
            credentials: *event == Event::Credentials,
            look_at: now,
            error: error.cloned(),
        });
        if let Event::Throttled(Some(asked)) = event {
            self.ease(now, (*asked).max(retry.first), TOLD_TO_WAIT, retry);
        }
    }

    /// A call succeeded that began after the pause, if there was one.
    fn speed_up(&mut self, now: Timestamp) {
        self.failures = 0;
        if self.pause.take().is_some() {
            self.resumed = Some(now);
        }
    }

    /// A reply asked for a wait, or said that the rate limit runs out: the provider is left alone for a
    /// while. What another reply asked for before is not shortened.
    pub fn ease(&mut self, now: Timestamp, by: Duration, why: &'static str, retry: &Retry) {
        let until = now.saturating_add(by.min(retry.max_retry_after)).unwrap_or(Timestamp::MAX);
        self.eased = self.eased.max(Some((until, why)));
    }

    /// The provider's clock was measured; whether it differs from ours by more than it may, where that
    /// is news.
    pub fn measure(&mut self, difference: ClockDifference) -> Option<bool> {
        let was_off = self.is_clock_off();
        self.clock_difference = Some(difference);
        let is_off = self.is_clock_off();
        (is_off != was_off).then_some(is_off)
    }

    /// Whether the provider's clock differs from ours by more than it may.
    pub fn is_clock_off(&self) -> bool {
        let proven = self.clock_difference.map(|difference| difference.proven().abs());
        proven.is_some_and(|difference| difference > CLOCKS_MAY_DIFFER)
    }

    /// The document or a secret changed: what it was paused for may be over, and what the credential
    /// could do says nothing any more.
    pub fn resume(&mut self, now: Timestamp) {
        self.created_under = None;
        self.eased = None;
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
            pause.look_at = now;
        }
    }

    /// The provider is what it is since these revisions; see [`invite_config::Provider`]. What is
    /// remembered of another account says nothing of this one.
    pub fn follow(&mut self, adapter_since: i64, account_since: i64, now: Timestamp) {
        let known = std::mem::replace(&mut self.account_since, account_since);
        if known != 0 && known != account_since {
            *self = Self { account_since, ..Self::default() };
        }
        if std::mem::replace(&mut self.adapter_since, adapter_since) != adapter_since {
            self.resume(now);
        }
    }

    /// State, reason, and the end of the pause if that is still to come.
    pub fn describe(
        &self,
        enabled: bool,
        now: Timestamp,
    ) -> (LaneState, Option<String>, Option<Timestamp>) {
        match &self.pause {
            _ if !enabled => (LaneState::Disabled, Some("enabled = false".to_owned()), None),
            None => match self.eased.filter(|(until, _)| *until > now) {
                Some((until, why)) => {
                    let is_told = why == TOLD_TO_WAIT;
                    let state = if is_told { LaneState::Paused } else { LaneState::Slowed };
                    (state, Some(why.to_owned()), Some(until))
                }
                None if self.at_once(now).is_some() => {
                    let reason = "after a pause it comes back to full speed step by step";
                    (LaneState::Slowed, Some(reason.to_owned()), None)
                }
                None => (LaneState::Ready, None, None),
            },
            Some(pause) => {
                let until = self.opens_at(now, false);
                let state = match pause {
                    Pause { credentials: true, .. } => LaneState::Misconfigured,
                    _ if until.is_some() => LaneState::Paused,
                    _ => LaneState::Slowed,
                };
                let reason = pause.error.as_ref().map(|error| error.message.clone());
                (state, Some(reason.unwrap_or_default()), until)
            }
        }
    }
}

fn left(now: Timestamp, until: Timestamp) -> Option<Duration> {
    Duration::try_from(until.duration_since(now)).ok().filter(|left| *left > Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use invite_core::Outcome;

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
        let later = now() + Duration::from_secs(1);
        state.take(&Event::Success, None, &Retry::default(), later);
        assert_eq!(state.wait(later, 0), None);
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
    fn calls_that_fail_together_are_one_failure_and_a_success_among_them_ends_no_pause() {
        let retry = Retry::default();
        let mut state = State::default();
        for _ in 0..8 {
            state.take(&failing(true), None, &retry, now());
        }
        assert!(state.wait(now(), 0).unwrap() <= retry.first);
        state.take(&Event::Success, None, &retry, now());
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn half_of_the_last_calls_unknown_pauses_although_never_many_in_a_row() {
        let mut state = State::default();
        for n in 0..31 {
            let event = if n % 2 == 0 { failing(false) } else { Event::Success };
            assert_eq!(state.wait(now(), 0), None, "{n}");
            state.take(&event, None, &Retry::default(), now());
        }
        assert!(state.wait(now(), 0).is_some());
    }

    #[test]
    fn after_a_pause_what_may_be_under_way_doubles_every_second() {
        let mut state = State::default();
        state.take(&failing(true), None, &Retry::default(), now());
        let after = |seconds| now() + Duration::from_secs(seconds);
        state.take(&Event::Success, None, &Retry::default(), after(1));
        for (seconds, most) in [(1, 2), (2, 4), (3, 8), (4, 16)] {
            assert_eq!(state.wait(after(seconds), most - 1), None);
            assert!(state.wait(after(seconds), most).is_some());
            assert_eq!(state.describe(true, after(seconds)).0, LaneState::Slowed);
        }
        for seconds in [5, 6, 40, 4000] {
            assert_eq!(state.wait(after(seconds), 1000), None, "{seconds}");
            assert_eq!(state.describe(true, after(seconds)).0, LaneState::Ready);
        }
    }

    #[test]
    fn another_document_ends_a_pause_and_what_was_known_of_the_credential() {
        let mut state = State::default();
        state.follow(1, 1, now());
        state.created_under = Some(1);
        state.take(&Event::Credentials, None, &Retry::default(), now());
        state.follow(1, 1, now());
        assert!(state.wait(now(), 0).is_some() && state.created_under.is_some());
        state.follow(2, 1, now());
        assert_eq!((state.wait(now(), 0), state.created_under), (None, None));
        assert!(state.is_paused());
        state.follow(3, 3, now());
        assert!(!state.is_paused(), "of another account nothing is known");
    }

    #[test]
    fn after_a_pause_one_look_up_is_made_until_a_success() {
        let mut state = State::default();
        assert_eq!(state.may_look(now()), Ok(false));
        state.take(&failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert!(state.may_look(now()).is_err());
        assert_eq!(state.may_look(later), Ok(true));
        assert!(state.may_look(later).is_err());
        state.take(&Event::Success, None, &Retry::default(), later);
        assert_eq!(state.may_look(later), Ok(false));
    }

    #[test]
    fn a_look_up_that_said_nothing_is_tried_again_later_or_at_once_on_a_change() {
        let mut state = State::default();
        state.take(&failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert_eq!(state.may_look(later), Ok(true));
        assert_eq!(state.may_look(later), Err(LOOK_EVERY));
        assert_eq!(state.may_look(later + LOOK_EVERY), Ok(true));
        assert!(state.may_look(later + LOOK_EVERY).is_err());
        state.resume(later + LOOK_EVERY);
        assert_eq!(state.may_look(later + LOOK_EVERY), Ok(true));
    }

    #[test]
    fn what_the_provider_was_not_asked_changes_nothing() {
        let mut state = State::default();
        for _ in 0..40 {
            state.take(&Event::Unasked, None, &Retry::default(), now());
        }
        assert_eq!((state.wait(now(), 1000), state.failures), (None, 0));
        state.take(&failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        state.take(&Event::Unasked, None, &Retry::default(), later);
        assert!(state.is_paused());
    }

    #[test]
    fn any_answer_ends_a_pause_gradually_and_is_no_failure() {
        let retry = Retry::default();
        let mut state = State::default();
        for n in 0..3u64 {
            state.take(&failing(true), None, &retry, now() + Duration::from_secs(60 * n));
        }
        let later = now() + Duration::from_secs(600);
        state.take(&Event::Success, None, &retry, later);
        assert!(!state.is_paused());
        assert!(state.wait(later, 2).is_some(), "not at full speed yet");
        state.take(&failing(true), None, &retry, later);
        assert!(state.wait(later, 0).unwrap() <= retry.first, "it fails for the first time again");
    }

    #[test]
    fn while_a_credential_counts_as_refused_a_call_holds_one_invite() {
        let mut state = State::default();
        assert_eq!(state.most_in_call(8), 8);
        state.take(&failing(true), None, &Retry::default(), now());
        assert_eq!(state.most_in_call(8), 8);
        state.take(&Event::Credentials, None, &Retry::default(), now());
        assert_eq!(state.most_in_call(8), 1);
        let later = now() + CREDENTIAL_PAUSE;
        state.take(&Event::Success, None, &Retry::default(), later);
        assert_eq!(state.most_in_call(8), 8);
    }

    #[test]
    fn the_end_of_a_pause_is_told_until_it_is_over_and_look_ups_have_their_own() {
        let mut state = State::default();
        assert_eq!(state.opens_at(now(), false), None);
        let wait = Event::Throttled(Some(Duration::from_secs(7)));
        state.take(&wait, None, &Retry::default(), now());
        let later = now() + Duration::from_secs(7);
        assert_eq!(state.describe(true, now()).2, Some(later));
        assert_eq!([false, true].map(|it| state.opens_at(now(), it)), [Some(later); 2]);
        assert_eq!(state.describe(true, later).2, None);
        assert_eq!(state.may_look(later), Ok(true));
        let next = Some(later + LOOK_EVERY);
        assert_eq!([false, true].map(|it| state.opens_at(later, it)), [None, next]);
    }

    #[test]
    fn what_hinders_calls_says_nothing_of_the_one_that_showed_it() {
        let error = ProviderError::new(Outcome::Throttled, "creating 3 invites to event e-7: 429");
        let mut state = State::default();
        assert_eq!(state.hindrance(now()), None);
        let error = ProviderError { http_status: Some(429), ..error };
        state.take(&Event::Throttled(None), Some(&error), &Retry::default(), now());
        assert_eq!(state.hindrance(now()).unwrap(), "it told us to wait (HTTP 429)");
    }

    #[test]
    fn a_wait_of_no_length_is_none_of_ours() {
        let mut state = State::default();
        state.take(&Event::Throttled(Some(Duration::ZERO)), None, &Retry::default(), now());
        assert_eq!(state.wait(now(), 0), Some(Retry::default().first));
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
        state.ease(now(), Duration::from_secs(2), NEARLY_USED_UP, &Retry::default());
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(2)));
        assert_eq!(state.describe(true, now()).0, LaneState::Slowed);
        assert_eq!(state.wait(now() + Duration::from_secs(2), 0), None);
    }

    #[test]
    fn a_wait_that_the_provider_asks_for_has_a_bound_of_its_own() {
        let retry = Retry { max: Duration::from_secs(2), ..Retry::default() };
        for (asked, waits) in [
            (Duration::from_secs(10), Duration::from_secs(10)),
            (Duration::MAX, retry.max_retry_after),
        ] {
            let mut state = State::default();
            state.take(&Event::Throttled(Some(asked)), None, &retry, now());
            assert_eq!(state.wait(now(), 0), Some(waits));
            let mut state = State::default();
            state.ease(now(), asked, TOLD_TO_WAIT, &retry);
            assert_eq!(state.wait(now(), 0), Some(waits));
        }
    }

    #[test]
    fn no_later_reply_shortens_a_wait_that_was_asked_for_but_another_document_ends_it() {
        let (mut state, retry) = (State::default(), Retry::default());
        state.ease(now(), Duration::from_secs(60), TOLD_TO_WAIT, &retry);
        state.ease(now(), Duration::from_secs(1), NEARLY_USED_UP, &retry);
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(60)));
        assert_eq!(state.hindrance(now()).as_deref(), Some(TOLD_TO_WAIT));
        state.resume(now());
        assert_eq!(state.wait(now(), 0), None);
    }
}
