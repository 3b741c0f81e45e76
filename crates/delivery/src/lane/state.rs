//! What a lane remembers: how the provider is doing as a whole, and at each destination.
//!
//! What concerns the provider (it cannot be reached, or told us to wait) pauses the lane. What may
//! concern a single destination (refusals, answers that say nothing) pauses that one, and the lane only
//! when several destinations fail alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use invite_core::{
    AttemptOutcome, Destination, Operation, ProviderError, Retry, http::ClockDifference,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    destination::DestinationState,
    health::{Event, Health, left},
    refusals::Refusals,
    status::{Condition, DestinationStatus, LaneState, LastError, LastProbe},
};

/// How far a provider's clock may be from ours before the log says so.
const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_secs(30);
/// Why a provider is left alone for a while although no call failed.
pub(super) const NEARLY_USED_UP: &str = "the provider's rate limit is nearly used up";
pub(super) const TOLD_TO_WAIT: &str = "the provider asked to be left alone for a while";
/// How many destinations are remembered. Those that are well and had no turn for longest are forgotten first.
const MAX_DESTINATIONS: usize = 1000;
/// How many of the destinations that calls wait for are shown.
const MAX_SHOWN: usize = 20;
/// How many destinations have to fail, without a success between them, to count as a failure of the provider although
/// none of them has failed often enough to pause by itself.
const FAIL_ALIKE: usize = 5;

/// What a lane remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The health of the provider as a whole.
    provider: Health,
    destinations: BTreeMap<Destination, DestinationState>,
    /// Until when the provider is left alone because a reply asked for that, and why.
    back_off: Option<(Timestamp, &'static str)>,
    /// The destinations that failed, and those that refused, since the last success at any.
    failing: [BTreeSet<Destination>; 2],
    /// How many calls were noted.
    calls: u64,
    /// The tenant that had the last turn.
    pub last_tenant: Option<String>,
    /// Where the next scan of the queues begins, and how many scans began there.
    pub scan_from: Option<String>,
    pub scans: usize,
    /// The revision since which the adapter is the same; a later one may have mended what was wrong.
    adapter_since: i64,
    /// The revision since which it is the same account; 0 before a call.
    account_since: i64,
    pub last_error: Option<LastError>,
    pub last_probe: Option<LastProbe>,
    /// By how much the provider's clock is ahead of this machine's.
    pub clock_difference: Option<ClockDifference>,
    pub outcomes: BTreeMap<AttemptOutcome, u64>,
    pub invites: u64,
}

/// Which look-ups may be made at a destination now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUps {
    Any,
    /// Only one, to try whether a pause is over.
    OneTrial,
}

impl State {
    /// What is remembered of a destination, which may push out another.
    pub fn destination(&mut self, destination: &Destination) -> &mut DestinationState {
        if !self.destinations.contains_key(destination)
            && self.destinations.len() >= MAX_DESTINATIONS
        {
            let idle =
                |place: &DestinationState| place.under_way == 0 && !place.health.awaits_success();
            let idle = self.destinations.iter().filter(|(_, place)| idle(place));
            let rested =
                idle.min_by_key(|(_, place)| place.last_call).map(|(name, _)| name.clone());
            // If all of them fail, any may go: the lane as a whole is about to pause.
            let gone = rested.or_else(|| self.destinations.keys().next().cloned());
            gone.and_then(|gone| self.destinations.remove(&gone));
        }
        self.destinations.entry(destination.clone()).or_default()
    }

    /// How long no call may be made to any destination; `None` if one may be made now.
    pub fn wait(&self, now: Timestamp, in_flight: u32) -> Option<Duration> {
        self.provider.wait(now, in_flight).max(self.backing_off(now))
    }

    /// How long no call may be made to a destination; `None` if one may be made now.
    pub fn wait_at(&self, destination: &Destination, now: Timestamp) -> Option<Duration> {
        self.destination_wait(destination, now).max(self.wait(now, 0))
    }

    /// The same by the destination's own health alone.
    pub fn destination_wait(&self, destination: &Destination, now: Timestamp) -> Option<Duration> {
        self.destinations.get(destination).and_then(|place| place.health.wait(now, place.under_way))
    }

    /// The number of the last call to a destination; 0 if none is remembered.
    pub fn last_call(&self, destination: &Destination) -> u64 {
        self.destinations.get(destination).map_or(0, |place| place.last_call)
    }

    /// Notes that a call to a destination is about to be made.
    pub fn note_call(&mut self, destination: &Destination) {
        self.calls += 1;
        let number = self.calls;
        self.destination(destination).last_call = number;
    }

    pub fn begin(&mut self, destination: &Destination) {
        self.destination(destination).under_way += 1;
    }

    pub fn end(&mut self, destination: &Destination) {
        if let Some(place) = self.destinations.get_mut(destination) {
            place.under_way = place.under_way.saturating_sub(1);
        }
    }

    /// Until when no create, or no look-up, is made at a destination; `None` if one may be made now.
    pub fn opens_at(
        &self,
        destination: &Destination,
        now: Timestamp,
        for_look_ups: bool,
    ) -> Option<Timestamp> {
        let place =
            self.destinations.get(destination).and_then(|it| it.health.opens_at(now, for_look_ups));
        let left_alone = self.back_off.map(|(until, _)| until).filter(|until| *until > now);
        self.provider.opens_at(now, for_look_ups).max(left_alone).max(place)
    }

    /// How many invites the next call to a destination may hold, at most `most` and as many as there is room for. Only
    /// one while a refusal may be about a single invite (a provider's policy): a call that holds that one is refused whatever
    /// else it holds, so only calls of one show whom the refusal is about.
    pub fn most_in_call(&self, destination: &Destination, most: u32, now: Timestamp) -> u32 {
        let Some(place) = self.destinations.get(destination) else {
            return if self.provider.is_refused() { 1 } else { most };
        };
        let may_blame_one = place.health.is_refused() || place.refusals.are_suspicious();
        if self.provider.is_refused() || may_blame_one {
            return 1;
        }
        place.room(now).map_or(most, |room| most.min(room.max(1)))
    }

    /// Why no calls are made to a destination, for anybody to read.
    pub fn pause_reason(&self, destination: &Destination, now: Timestamp) -> Option<String> {
        let place =
            self.destinations.get(destination).and_then(|place| place.health.pause_reason());
        let left_alone = || self.backing_off(now).and(self.back_off).map(|(_, why)| why.to_owned());
        self.provider.pause_reason().or(place).or_else(left_alone)
    }

    /// How long the provider is left alone because a reply asked for that.
    pub fn backing_off(&self, now: Timestamp) -> Option<Duration> {
        left(now, self.back_off?.0)
    }

    /// How long no look-up may be made at any destination; `None` if one may be made now.
    pub fn look_up_wait(&self, now: Timestamp) -> Option<Duration> {
        self.provider.look_up_wait(now).max(self.backing_off(now))
    }

    /// Notes that look-ups are about to be made at a destination; the error is how long none may be made.
    pub fn begin_look_up(
        &mut self,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<LookUps, Duration> {
        let mut place = self.destinations.get_mut(destination).map(|place| &mut place.health);
        let wait = place.as_ref().and_then(|place| place.look_up_wait(now));
        let left_alone = self.back_off.and_then(|(until, _)| left(now, until));
        let whole = self.provider.look_up_wait(now).max(left_alone);
        if let Some(wait) = wait.max(whole) {
            return Err(wait);
        }
        let is_trial = place.as_mut().is_some_and(|place| place.begin_look_up(now));
        let is_trial = self.provider.begin_look_up(now) || is_trial;
        Ok(if is_trial { LookUps::OneTrial } else { LookUps::Any })
    }

    /// The destinations where no create, or no look-up, may be made because of their own health, and for how long.
    pub fn closed(&self, now: Timestamp, for_look_ups: bool) -> BTreeMap<Destination, Duration> {
        let wait = |place: &DestinationState| match for_look_ups {
            true => place.health.look_up_wait(now),
            false => place.health.wait(now, place.under_way),
        };
        let closed =
            self.destinations.iter().filter_map(|(name, it)| Some((name.clone(), wait(it)?)));
        closed.collect()
    }

    /// Whether the lane or this destination is paused, or was and no call has succeeded since.
    pub fn awaits_success(&self, destination: &Destination) -> bool {
        let place =
            self.destinations.get(destination).is_some_and(|place| place.health.awaits_success());
        self.provider.awaits_success() || place
    }

    /// Counts a call by its outcome, and keeps why it did not succeed.
    pub fn count(
        &mut self,
        operation: Operation,
        outcome: AttemptOutcome,
        error: Option<&ProviderError>,
        at: Timestamp,
    ) {
        *self.outcomes.entry(outcome).or_default() += 1;
        if let Some(error) = error {
            self.last_error = Some(LastError {
                at,
                operation,
                outcome: error.outcome,
                message: error.message.clone(),
                code: error.code.clone(),
                http_status: error.http_status,
            });
        }
    }

    /// Updates the health of the destination that a call was for, and of the provider, by how it ended.
    pub fn update(
        &mut self,
        destination: &Destination,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        match event {
            Event::Unasked => {}
            Event::Throttled(_) => self.update_provider(event, error, retry, now),
            Event::Failing { pauses_at_once: true } => {
                self.provider.update(event, error, retry, now)
            }
            Event::Success => {
                self.failing = Default::default();
                self.provider.update(event, error, retry, now);
                self.destination(destination).health.update(event, error, retry, now);
            }
            Event::Failing { pauses_at_once: false } | Event::Refused => {
                let place = self.destination(destination);
                place.health.update(event, error, retry, now);
                let is_refusal = *event == Event::Refused;
                let failing = &mut self.failing[usize::from(is_refusal)];
                failing.insert(destination.clone());
                let fail = |name: &&Destination| {
                    self.destinations.get(*name).is_some_and(|place| place.health.awaits_success())
                };
                let paused = failing.iter().filter(fail).count();
                if paused > 1 || failing.len() >= FAIL_ALIKE || self.provider.awaits_success() {
                    let event = match event {
                        Event::Refused => Event::Refused,
                        _ => Event::Failing { pauses_at_once: true },
                    };
                    self.provider.update(&event, error, retry, now);
                }
            }
        }
    }

    /// Pauses the provider as a whole if a reply asked for a wait; other ends of calls change nothing here.
    pub fn update_provider(
        &mut self,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        if let Event::Throttled(asked) = event {
            self.provider.update(event, error, retry, now);
            if let Some(asked) = asked {
                self.back_off(now, (*asked).max(retry.first), TOLD_TO_WAIT, retry);
            }
        }
    }

    /// Leaves the provider alone for a while, because a reply asked for a wait or said that the rate limit runs out. It
    /// does not shorten what another reply asked for before.
    pub fn back_off(&mut self, now: Timestamp, by: Duration, why: &'static str, retry: &Retry) {
        let until = now.saturating_add(by.min(retry.max_retry_after)).unwrap_or(Timestamp::MAX);
        self.back_off = self.back_off.max(Some((until, why)));
    }

    /// Remembers how the provider's clock differs; says whether that is more than it may be, if that has changed.
    pub fn note_clock(&mut self, difference: ClockDifference) -> Option<bool> {
        let was_off = self.is_clock_off();
        self.clock_difference = Some(difference);
        let is_off = self.is_clock_off();
        (is_off != was_off).then_some(is_off)
    }

    pub fn is_clock_off(&self) -> bool {
        let proven = self.clock_difference.map(|difference| difference.proven().abs());
        proven.is_some_and(|difference| difference > CLOCKS_MAY_DIFFER)
    }

    /// Ends all waits, because the document or a secret changed, which may have mended their cause. Refusals before that,
    /// and what the credential was good for, say nothing any more.
    pub fn resume(&mut self, now: Timestamp) {
        self.back_off = None;
        self.provider.resume(now);
        for place in self.destinations.values_mut() {
            place.created_under = None;
            place.refusals = Refusals::default();
            place.health.resume(now);
        }
    }

    /// Takes over since when adapter and account are the same, see [`invite_config::Provider`]. A new adapter ends all
    /// waits; of another account nothing is remembered.
    pub fn set_revisions(&mut self, adapter_since: i64, account_since: i64, now: Timestamp) {
        let known = std::mem::replace(&mut self.account_since, account_since);
        if known != 0 && known != account_since {
            *self = Self { account_since, ..Self::default() };
        }
        if std::mem::replace(&mut self.adapter_since, adapter_since) != adapter_since {
            self.resume(now);
        }
    }

    /// How the provider is doing. It does as its destinations do if none of them is well, and is slowed if some are.
    pub fn condition(&self, enabled: bool, now: Timestamp) -> Condition {
        if !enabled {
            let reason = Some("enabled = false".to_owned());
            return Condition { state: LaneState::Disabled, reason, until: None };
        }
        let whole = self.provider.condition(now);
        let back_off = self.back_off.filter(|(until, _)| *until > now);
        match (whole.state, back_off) {
            (LaneState::Ready, Some((until, why))) => {
                let is_told = why == TOLD_TO_WAIT;
                let state = if is_told { LaneState::Paused } else { LaneState::Slowed };
                return Condition { state, reason: Some(why.to_owned()), until: Some(until) };
            }
            (LaneState::Slowed, Some((until, _))) => {
                return Condition { state: LaneState::Paused, until: Some(until), ..whole };
            }
            (LaneState::Ready, None) => {}
            (_, back_off) => {
                let until = whole.until.max(back_off.map(|(until, _)| until));
                return Condition { until, ..whole };
            }
        }
        let unwell = self.destinations.values().map(|it| it.health.condition(now));
        let unwell: Vec<_> = unwell.filter(|it| it.state != LaneState::Ready).collect();
        let (some, all) = (unwell.len(), self.destinations.len());
        match unwell.into_iter().min_by_key(|it| it.until) {
            None => whole,
            Some(unwell) if some == all => unwell,
            Some(Condition { reason, until, .. }) => {
                let reason = reason.unwrap_or_default();
                let reason = Some(format!("{some} of {all} destinations: {reason}"));
                Condition { state: LaneState::Slowed, reason, until }
            }
        }
    }

    /// The destinations that are not ready, the first [`MAX_SHOWN`] of them.
    pub fn waiting_destinations(&self, now: Timestamp) -> Vec<DestinationStatus> {
        let status = |(destination, known): (&Destination, &DestinationState)| {
            let Condition { state, reason, until } = known.health.condition(now);
            let scope = destination.scope.clone();
            (state != LaneState::Ready).then_some(DestinationStatus { scope, state, reason, until })
        };
        self.destinations.iter().filter_map(status).take(MAX_SHOWN).collect()
    }
}

#[cfg(test)]
mod tests {
    use invite_core::Outcome;

    use super::*;
    use crate::lane::{destination::ROOM_COUNTS_FOR, health::TRIAL_EVERY};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn at(scope: &str) -> Destination {
        Destination { kind: "fake".into(), base_url: "http://fake".into(), scope: scope.into() }
    }

    fn here() -> Destination {
        at("here")
    }

    fn failing(pauses_at_once: bool) -> Event {
        Event::Failing { pauses_at_once }
    }

    /// The states of destinations after so many calls to each came to this, and of the provider.
    fn after(calls: &[(&str, usize, Event)]) -> (State, Vec<LaneState>) {
        let mut state = State::default();
        for (scope, times, event) in calls {
            for _ in 0..*times {
                state.update(&at(scope), event, None, &Retry::default(), now());
            }
        }
        let of = |scope: &str| match state.wait_at(&at(scope), now()) {
            None => LaneState::Ready,
            Some(_) => LaneState::Paused,
        };
        let all = calls.iter().map(|(scope, ..)| of(scope)).collect();
        (state, all)
    }

    #[test]
    fn a_destination_that_fails_or_refuses_pauses_alone() {
        use LaneState::{Paused, Ready};
        for event in [Event::Refused, failing(false)] {
            let calls = [("bad", 5, event), ("good", 1, Event::Success)];
            let (state, all) = after(&calls);
            assert_eq!(all, [Paused, Ready]);
            assert_eq!(state.wait(now(), 1), None);
            assert_eq!(state.condition(true, now()).state, LaneState::Slowed);
            assert_eq!(state.waiting_destinations(now())[0].scope, "bad");
        }
    }

    #[test]
    fn what_concerns_the_provider_pauses_all_of_it() {
        for event in [Event::Throttled(None), failing(true)] {
            let (state, _) = after(&[("one", 1, event)]);
            assert!(state.wait_at(&at("other"), now()).is_some());
            assert_eq!(state.condition(true, now()).state, LaneState::Paused);
        }
    }

    #[test]
    fn several_destinations_that_fail_alike_pause_the_lane() {
        for (event, one) in [(Event::Refused, 1), (failing(false), 5)] {
            let (state, _) = after(&[("a", one, event.clone()), ("b", one, event.clone())]);
            assert!(state.wait(now(), 0).is_some(), "{event:?}");
            let success = ("good", 1, Event::Success);
            let (state, _) = after(&[("a", one, event.clone()), success, ("b", one, event)]);
            assert_eq!(state.wait(now(), 0), None);
        }
        let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|it| (it, 1, failing(false))).into();
        assert!(after(&many).0.wait(now(), 0).is_some());
        assert_eq!(after(&many[..4]).0.wait(now(), 0), None);
    }

    #[test]
    fn a_lone_destination_that_is_refused_shows_as_the_state_of_its_provider() {
        let (state, _) = after(&[("only", 1, Event::Refused)]);
        assert_eq!(state.condition(true, now()).state, LaneState::Misconfigured);
    }

    #[test]
    fn a_call_holds_no_more_than_the_room_that_a_refusal_has_shown() {
        let mut state = State::default();
        let most = |state: &State| state.most_in_call(&here(), 8, now());
        state.destination(&here()).lacks_room_for(8, now());
        assert_eq!(most(&state), 7);
        state.destination(&here()).succeed(1, 5, now());
        assert_eq!(most(&state), 2);
        state.destination(&here()).lacks_room_for(1, now());
        assert_eq!(most(&state), 1);
        assert_eq!(state.most_in_call(&here(), 8, now() + ROOM_COUNTS_FOR), 8);
        // There was room after all.
        state.destination(&here()).succeed(1, 1, now());
        assert_eq!(most(&state), 8);
    }

    #[test]
    fn destinations_beyond_what_is_remembered_push_out_those_that_rested_longest() {
        let mut state = State::default();
        for n in 0..MAX_DESTINATIONS + 5 {
            let place = at(&n.to_string());
            state.note_call(&place);
        }
        assert_eq!(state.destinations.len(), MAX_DESTINATIONS);
        assert_eq!(state.last_call(&at("0")), 0);
    }

    #[test]
    fn another_document_ends_a_pause_and_what_was_known_of_the_credential() {
        let mut state = State::default();
        state.set_revisions(1, 1, now());
        state.destination(&here()).created_under = Some(1);
        state.update(&here(), &Event::Refused, None, &Retry::default(), now());
        state.set_revisions(1, 1, now());
        assert!(
            state.wait_at(&here(), now()).is_some()
                && state.destination(&here()).created_under.is_some()
        );
        state.set_revisions(2, 1, now());
        assert_eq!(
            (state.wait_at(&here(), now()), state.destination(&here()).created_under),
            (None, None)
        );
        assert!(state.awaits_success(&here()));
        state.set_revisions(3, 3, now());
        assert!(!state.awaits_success(&here()), "of another account nothing is known");
    }

    #[test]
    fn after_a_pause_one_look_up_is_made_until_a_success() {
        let mut state = State::default();
        assert_eq!(state.begin_look_up(&here(), now()), Ok(LookUps::Any));
        state.update(&here(), &failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert!(state.begin_look_up(&here(), now()).is_err());
        assert_eq!(state.begin_look_up(&here(), later), Ok(LookUps::OneTrial));
        assert!(state.begin_look_up(&here(), later).is_err());
        state.update(&here(), &Event::Success, None, &Retry::default(), later);
        assert_eq!(state.begin_look_up(&here(), later), Ok(LookUps::Any));
    }

    #[test]
    fn a_look_up_that_said_nothing_is_tried_again_later_or_at_once_on_a_change() {
        let mut state = State::default();
        state.update(&here(), &failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert_eq!(state.begin_look_up(&here(), later), Ok(LookUps::OneTrial));
        assert_eq!(state.begin_look_up(&here(), later), Err(TRIAL_EVERY));
        assert_eq!(state.begin_look_up(&here(), later + TRIAL_EVERY), Ok(LookUps::OneTrial));
        assert!(state.begin_look_up(&here(), later + TRIAL_EVERY).is_err());
        state.resume(later + TRIAL_EVERY);
        assert_eq!(state.begin_look_up(&here(), later + TRIAL_EVERY), Ok(LookUps::OneTrial));
    }

    #[test]
    fn while_a_credential_counts_as_refused_a_call_holds_one_invite() {
        let mut state = State::default();
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
        state.update(&here(), &failing(true), None, &Retry::default(), now());
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
        state.update(&here(), &Event::Refused, None, &Retry::default(), now());
        assert_eq!(state.most_in_call(&here(), 8, now()), 1);
        let later = now() + Duration::from_secs(15);
        state.update(&here(), &Event::Success, None, &Retry::default(), later);
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
    }

    #[test]
    fn the_end_of_a_pause_is_told_until_it_is_over_and_look_ups_have_their_own() {
        let mut state = State::default();
        assert_eq!(state.opens_at(&here(), now(), false), None);
        let wait = Event::Throttled(Some(Duration::from_secs(7)));
        state.update(&here(), &wait, None, &Retry::default(), now());
        let later = now() + Duration::from_secs(7);
        assert_eq!(state.condition(true, now()).until, Some(later));
        assert_eq!([false, true].map(|it| state.opens_at(&here(), now(), it)), [Some(later); 2]);
        assert_eq!(state.condition(true, later).until, None);
        assert_eq!(state.begin_look_up(&here(), later), Ok(LookUps::OneTrial));
        let next = Some(later + TRIAL_EVERY);
        assert_eq!([false, true].map(|it| state.opens_at(&here(), later, it)), [None, next]);
    }

    #[test]
    fn what_hinders_calls_says_nothing_of_the_one_that_showed_it() {
        let error = ProviderError::new(Outcome::Throttled, "creating 3 invites to event e-7: 429");
        let mut state = State::default();
        assert_eq!(state.pause_reason(&here(), now()), None);
        let error = ProviderError { http_status: Some(429), ..error };
        state.update(&here(), &Event::Throttled(None), Some(&error), &Retry::default(), now());
        assert_eq!(state.pause_reason(&here(), now()).unwrap(), "it told us to wait (HTTP 429)");
    }

    #[test]
    fn a_rate_limit_nearly_used_up_slows_the_lane_for_a_while() {
        let mut state = State::default();
        state.back_off(now(), Duration::from_secs(2), NEARLY_USED_UP, &Retry::default());
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(2)));
        assert_eq!(state.condition(true, now()).state, LaneState::Slowed);
        assert_eq!(state.wait(now() + Duration::from_secs(2), 0), None);
    }

    #[test]
    fn no_later_reply_shortens_a_wait_that_was_asked_for_but_another_document_ends_it() {
        let (mut state, retry) = (State::default(), Retry::default());
        state.back_off(now(), Duration::from_secs(60), TOLD_TO_WAIT, &retry);
        state.back_off(now(), Duration::from_secs(1), NEARLY_USED_UP, &retry);
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(60)));
        assert_eq!(state.pause_reason(&here(), now()).as_deref(), Some(TOLD_TO_WAIT));
        state.resume(now());
        assert_eq!(state.wait(now(), 0), None);
        state.back_off(now(), Duration::MAX, TOLD_TO_WAIT, &retry);
        assert_eq!(state.wait(now(), 0), Some(retry.max_retry_after));
    }
}
