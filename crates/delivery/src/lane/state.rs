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
    health::{Event, Health, left},
    place::Place,
    refusals::Refusals,
    status::{DestinationStatus, LaneState, LastError, LastProbe},
};

/// By how much a provider's clock may differ from ours without anybody being told.
const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_secs(30);
/// Why a provider is left alone for a while, though no call failed.
pub(super) const NEARLY_USED_UP: &str = "the provider's rate limit is nearly used up";
pub(super) const TOLD_TO_WAIT: &str = "the provider asked to be left alone for a while";
/// So many destinations are remembered; those that are well and rested longest are forgotten first.
const MOST_PLACES: usize = 1000;
/// So many destinations that calls wait for are told of.
const TOLD: usize = 20;
/// So many destinations that fail one after the other, and none that succeeds between them, are failures
/// of the provider, although none of them failed often enough to pause by itself.
const FAIL_ALIKE: usize = 5;

/// What a lane remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Of the provider as a whole.
    whole: Health,
    places: BTreeMap<Destination, Place>,
    /// Until when the provider is left alone because a reply said so, and what it said.
    eased: Option<(Timestamp, &'static str)>,
    /// Failures since the last success at any destination, by whether they were refusals.
    failing: [BTreeSet<Destination>; 2],
    /// Turns so far.
    turns: u64,
    /// Whose turn it was last.
    pub last_tenant: Option<String>,
    /// Where the next look at the queues goes on, and how many there were that went on from there.
    pub look_from: Option<String>,
    pub looked: usize,
    /// The revision since which the adapter of the last call is the same; another one may have mended
    /// what was wrong.
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

impl State {
    /// What is remembered of a destination.
    pub fn place(&mut self, destination: &Destination) -> &mut Place {
        if !self.places.contains_key(destination) && self.places.len() >= MOST_PLACES {
            let idle = |place: &Place| place.under_way == 0 && !place.health.is_paused();
            let idle = self.places.iter().filter(|(_, place)| idle(place));
            let rested =
                idle.min_by_key(|(_, place)| place.last_turn).map(|(name, _)| name.clone());
            // Where all of them fail, the lane as a whole does soon.
            let gone = rested.or_else(|| self.places.keys().next().cloned());
            gone.and_then(|gone| self.places.remove(&gone));
        }
        self.places.entry(destination.clone()).or_default()
    }

    /// How long no call may be made anywhere; none if one may be made now.
    pub fn wait(&self, now: Timestamp, in_flight: u32) -> Option<Duration> {
        self.whole.wait(now, in_flight).max(self.eased(now))
    }

    /// How long no call may be made to a destination; none if one may be made now.
    pub fn wait_at(&self, destination: &Destination, now: Timestamp) -> Option<Duration> {
        self.place_wait(destination, now).max(self.wait(now, 0))
    }

    /// The same, of what is the destination's own.
    pub fn place_wait(&self, destination: &Destination, now: Timestamp) -> Option<Duration> {
        self.places.get(destination).and_then(|place| place.health.wait(now, place.under_way))
    }

    /// Which turn of all was a destination's last; 0 if none is known of.
    pub fn last_turn(&self, destination: &Destination) -> u64 {
        self.places.get(destination).map_or(0, |place| place.last_turn)
    }

    /// It is a destination's turn.
    pub fn choose(&mut self, destination: &Destination) {
        self.turns += 1;
        let turn = self.turns;
        self.place(destination).last_turn = turn;
    }

    /// A call to a destination begins.
    pub fn begin(&mut self, destination: &Destination) {
        self.place(destination).under_way += 1;
    }

    /// A call to a destination is over.
    pub fn end(&mut self, destination: &Destination) {
        if let Some(place) = self.places.get_mut(destination) {
            place.under_way = place.under_way.saturating_sub(1);
        }
    }

    /// Until when no create is made to a destination, or no look-up there; none if one may be made now.
    pub fn opens_at(
        &self,
        destination: &Destination,
        now: Timestamp,
        for_looks: bool,
    ) -> Option<Timestamp> {
        let place = self.places.get(destination).and_then(|it| it.health.opens_at(now, for_looks));
        let eased = self.eased.map(|(until, _)| until).filter(|until| *until > now);
        self.whole.opens_at(now, for_looks).max(eased).max(place)
    }

    /// How many invites the next call to a destination may hold, of the `most` that one may. Only one
    /// while what is refused may be about a single invite (a provider's policy): whatever shared a call
    /// with that one would never show that all is well. And no more than there is room for.
    pub fn most_in_call(&self, destination: &Destination, most: u32, now: Timestamp) -> u32 {
        let Some(place) = self.places.get(destination) else {
            return if self.whole.is_refused() { 1 } else { most };
        };
        let is_trial = place.health.is_refused() || place.refusals.are_suspicious();
        if self.whole.is_refused() || is_trial {
            return 1;
        }
        place.room(now).map_or(most, |room| most.min(room.max(1)))
    }

    /// What keeps calls to a destination from being made, for anybody to read.
    pub fn hindrance(&self, destination: &Destination, now: Timestamp) -> Option<String> {
        let place = self.places.get(destination).and_then(|place| place.health.hindrance());
        let eased = || self.eased(now).and(self.eased).map(|(_, why)| why.to_owned());
        self.whole.hindrance().or(place).or_else(eased)
    }

    /// How long the provider is left alone because a reply said so.
    pub fn eased(&self, now: Timestamp) -> Option<Duration> {
        left(now, self.eased?.0)
    }

    /// How long no look-up may be made anywhere; none if one may be made now.
    pub fn look_wait(&self, now: Timestamp) -> Option<Duration> {
        self.whole.look_wait(now).max(self.eased(now))
    }

    /// Whether look-ups may be made at a destination now, and only one of them, as a trial; else how long
    /// to wait.
    pub fn may_look(
        &mut self,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<bool, Duration> {
        let mut place = self.places.get_mut(destination).map(|place| &mut place.health);
        let wait = place.as_ref().and_then(|place| place.look_wait(now));
        let eased = self.eased.and_then(|(until, _)| left(now, until));
        let whole = self.whole.look_wait(now).max(eased);
        if let Some(wait) = wait.max(whole) {
            return Err(wait);
        }
        let is_trial = place.as_mut().is_some_and(|place| place.try_look(now));
        Ok(self.whole.try_look(now) || is_trial)
    }

    /// The destinations that are closed to creates, or to look-ups, by themselves, and when the first of
    /// them opens.
    pub fn closed(&self, now: Timestamp, for_looks: bool) -> BTreeMap<Destination, Duration> {
        let wait = |place: &Place| match for_looks {
            true => place.health.look_wait(now),
            false => place.health.wait(now, place.under_way),
        };
        let closed = self.places.iter().filter_map(|(name, it)| Some((name.clone(), wait(it)?)));
        closed.collect()
    }

    /// A pause of the lane, or of this destination, is under way or has not been ended by a success yet.
    pub fn is_paused(&self, destination: &Destination) -> bool {
        let place = self.places.get(destination).is_some_and(|place| place.health.is_paused());
        self.whole.is_paused() || place
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

    /// Takes in the end of a call to a destination.
    pub fn take(
        &mut self,
        destination: &Destination,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        match event {
            Event::Unasked => {}
            Event::Throttled(_) => self.take_of_whole(event, error, retry, now),
            Event::Failing { unreachable: true } => self.whole.take(event, error, retry, now),
            Event::Success => {
                self.failing = Default::default();
                self.whole.take(event, error, retry, now);
                self.place(destination).health.take(event, error, retry, now);
            }
            Event::Failing { unreachable: false } | Event::Refused => {
                let place = self.place(destination);
                place.health.take(event, error, retry, now);
                let is_refusal = *event == Event::Refused;
                let failing = &mut self.failing[usize::from(is_refusal)];
                failing.insert(destination.clone());
                let fail = |name: &&Destination| {
                    self.places.get(*name).is_some_and(|place| place.health.is_paused())
                };
                let paused = failing.iter().filter(fail).count();
                if paused > 1 || failing.len() >= FAIL_ALIKE || self.whole.is_paused() {
                    let event = match event {
                        Event::Refused => Event::Refused,
                        _ => Event::Failing { unreachable: true },
                    };
                    self.whole.take(&event, error, retry, now);
                }
            }
        }
    }

    /// Takes in the end of what was asked of the provider as a whole, which says something only of that.
    pub fn take_of_whole(
        &mut self,
        event: &Event,
        error: Option<&ProviderError>,
        retry: &Retry,
        now: Timestamp,
    ) {
        if let Event::Throttled(asked) = event {
            self.whole.take(event, error, retry, now);
            if let Some(asked) = asked {
                self.ease(now, (*asked).max(retry.first), TOLD_TO_WAIT, retry);
            }
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

    /// The document or a secret changed: what it was paused for may be over, and what was refused, or
    /// what the credential could do, says nothing any more.
    pub fn resume(&mut self, now: Timestamp) {
        self.eased = None;
        self.whole.resume(now);
        for place in self.places.values_mut() {
            place.created_under = None;
            place.refusals = Refusals::default();
            place.health.resume(now);
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

    /// State, reason, and the end of the pause if that is still to come. The provider does as its
    /// destinations do if all of them do alike; where some are well, it is slowed.
    pub fn describe(
        &self,
        enabled: bool,
        now: Timestamp,
    ) -> (LaneState, Option<String>, Option<Timestamp>) {
        if !enabled {
            return (LaneState::Disabled, Some("enabled = false".to_owned()), None);
        }
        let whole = self.whole.describe(now);
        let eased = self.eased.filter(|(until, _)| *until > now);
        match (whole.0, eased) {
            (LaneState::Ready, Some((until, why))) => {
                let is_told = why == TOLD_TO_WAIT;
                let state = if is_told { LaneState::Paused } else { LaneState::Slowed };
                return (state, Some(why.to_owned()), Some(until));
            }
            (LaneState::Slowed, Some((until, _))) => {
                return (LaneState::Paused, whole.1, Some(until));
            }
            (LaneState::Ready, None) => {}
            (_, eased) => return (whole.0, whole.1, whole.2.max(eased.map(|(until, _)| until))),
        }
        let unwell = self.places.values().map(|place| place.health.describe(now));
        let unwell: Vec<_> = unwell.filter(|(state, ..)| *state != LaneState::Ready).collect();
        let (some, all) = (unwell.len(), self.places.len());
        match unwell.into_iter().min_by_key(|(_, _, until)| *until) {
            None => whole,
            Some(unwell) if some == all => unwell,
            Some((_, reason, until)) => {
                let reason = reason.unwrap_or_default();
                let reason = format!("{some} of {all} destinations: {reason}");
                (LaneState::Slowed, Some(reason), until)
            }
        }
    }

    /// The destinations that calls wait for, some of them if they are many.
    pub fn describe_places(&self, now: Timestamp) -> Vec<DestinationStatus> {
        let describe = |(destination, place): (&Destination, &Place)| {
            let (state, reason, until) = place.health.describe(now);
            let scope = destination.scope.clone();
            let is_told = state != LaneState::Ready;
            is_told.then_some(DestinationStatus { scope, state, reason, until })
        };
        self.places.iter().filter_map(describe).take(TOLD).collect()
    }
}

#[cfg(test)]
mod tests {
    use invite_core::Outcome;

    use super::*;
    use crate::lane::{health::LOOK_EVERY, place::ROOM_COUNTS_FOR};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn at(scope: &str) -> Destination {
        Destination { kind: "fake".into(), base_url: "http://fake".into(), scope: scope.into() }
    }

    fn here() -> Destination {
        at("here")
    }

    fn failing(unreachable: bool) -> Event {
        Event::Failing { unreachable }
    }

    /// The states of destinations after so many calls to each came to this, and of the provider.
    fn after(calls: &[(&str, usize, Event)]) -> (State, Vec<LaneState>) {
        let mut state = State::default();
        for (scope, times, event) in calls {
            for _ in 0..*times {
                state.take(&at(scope), event, None, &Retry::default(), now());
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
            assert_eq!(state.describe(true, now()).0, LaneState::Slowed);
            assert_eq!(state.describe_places(now())[0].scope, "bad");
        }
    }

    #[test]
    fn what_concerns_the_provider_pauses_all_of_it() {
        for event in [Event::Throttled(None), failing(true)] {
            let (state, _) = after(&[("one", 1, event)]);
            assert!(state.wait_at(&at("other"), now()).is_some());
            assert_eq!(state.describe(true, now()).0, LaneState::Paused);
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
        assert_eq!(state.describe(true, now()).0, LaneState::Misconfigured);
    }

    #[test]
    fn a_call_holds_no_more_than_the_room_that_a_refusal_has_shown() {
        let mut state = State::default();
        let most = |state: &State| state.most_in_call(&here(), 8, now());
        state.place(&here()).lacks_room_for(8, now());
        assert_eq!(most(&state), 7);
        state.place(&here()).succeed(1, 5, now());
        assert_eq!(most(&state), 2);
        state.place(&here()).lacks_room_for(1, now());
        assert_eq!(most(&state), 1);
        assert_eq!(state.most_in_call(&here(), 8, now() + ROOM_COUNTS_FOR), 8);
        // There was room after all.
        state.place(&here()).succeed(1, 1, now());
        assert_eq!(most(&state), 8);
    }

    #[test]
    fn destinations_beyond_what_is_remembered_push_out_those_that_rested_longest() {
        let mut state = State::default();
        for n in 0..MOST_PLACES + 5 {
            let place = at(&n.to_string());
            state.choose(&place);
        }
        assert_eq!(state.places.len(), MOST_PLACES);
        assert_eq!(state.last_turn(&at("0")), 0);
    }

    #[test]
    fn another_document_ends_a_pause_and_what_was_known_of_the_credential() {
        let mut state = State::default();
        state.follow(1, 1, now());
        state.place(&here()).created_under = Some(1);
        state.take(&here(), &Event::Refused, None, &Retry::default(), now());
        state.follow(1, 1, now());
        assert!(
            state.wait_at(&here(), now()).is_some() && state.place(&here()).created_under.is_some()
        );
        state.follow(2, 1, now());
        assert_eq!(
            (state.wait_at(&here(), now()), state.place(&here()).created_under),
            (None, None)
        );
        assert!(state.is_paused(&here()));
        state.follow(3, 3, now());
        assert!(!state.is_paused(&here()), "of another account nothing is known");
    }

    #[test]
    fn after_a_pause_one_look_up_is_made_until_a_success() {
        let mut state = State::default();
        assert_eq!(state.may_look(&here(), now()), Ok(false));
        state.take(&here(), &failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert!(state.may_look(&here(), now()).is_err());
        assert_eq!(state.may_look(&here(), later), Ok(true));
        assert!(state.may_look(&here(), later).is_err());
        state.take(&here(), &Event::Success, None, &Retry::default(), later);
        assert_eq!(state.may_look(&here(), later), Ok(false));
    }

    #[test]
    fn a_look_up_that_said_nothing_is_tried_again_later_or_at_once_on_a_change() {
        let mut state = State::default();
        state.take(&here(), &failing(true), None, &Retry::default(), now());
        let later = now() + Duration::from_secs(1);
        assert_eq!(state.may_look(&here(), later), Ok(true));
        assert_eq!(state.may_look(&here(), later), Err(LOOK_EVERY));
        assert_eq!(state.may_look(&here(), later + LOOK_EVERY), Ok(true));
        assert!(state.may_look(&here(), later + LOOK_EVERY).is_err());
        state.resume(later + LOOK_EVERY);
        assert_eq!(state.may_look(&here(), later + LOOK_EVERY), Ok(true));
    }

    #[test]
    fn while_a_credential_counts_as_refused_a_call_holds_one_invite() {
        let mut state = State::default();
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
        state.take(&here(), &failing(true), None, &Retry::default(), now());
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
        state.take(&here(), &Event::Refused, None, &Retry::default(), now());
        assert_eq!(state.most_in_call(&here(), 8, now()), 1);
        let later = now() + Duration::from_secs(15);
        state.take(&here(), &Event::Success, None, &Retry::default(), later);
        assert_eq!(state.most_in_call(&here(), 8, now()), 8);
    }

    #[test]
    fn the_end_of_a_pause_is_told_until_it_is_over_and_look_ups_have_their_own() {
        let mut state = State::default();
        assert_eq!(state.opens_at(&here(), now(), false), None);
        let wait = Event::Throttled(Some(Duration::from_secs(7)));
        state.take(&here(), &wait, None, &Retry::default(), now());
        let later = now() + Duration::from_secs(7);
        assert_eq!(state.describe(true, now()).2, Some(later));
        assert_eq!([false, true].map(|it| state.opens_at(&here(), now(), it)), [Some(later); 2]);
        assert_eq!(state.describe(true, later).2, None);
        assert_eq!(state.may_look(&here(), later), Ok(true));
        let next = Some(later + LOOK_EVERY);
        assert_eq!([false, true].map(|it| state.opens_at(&here(), later, it)), [None, next]);
    }

    #[test]
    fn what_hinders_calls_says_nothing_of_the_one_that_showed_it() {
        let error = ProviderError::new(Outcome::Throttled, "creating 3 invites to event e-7: 429");
        let mut state = State::default();
        assert_eq!(state.hindrance(&here(), now()), None);
        let error = ProviderError { http_status: Some(429), ..error };
        state.take(&here(), &Event::Throttled(None), Some(&error), &Retry::default(), now());
        assert_eq!(state.hindrance(&here(), now()).unwrap(), "it told us to wait (HTTP 429)");
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
    fn no_later_reply_shortens_a_wait_that_was_asked_for_but_another_document_ends_it() {
        let (mut state, retry) = (State::default(), Retry::default());
        state.ease(now(), Duration::from_secs(60), TOLD_TO_WAIT, &retry);
        state.ease(now(), Duration::from_secs(1), NEARLY_USED_UP, &retry);
        assert_eq!(state.wait(now(), 0), Some(Duration::from_secs(60)));
        assert_eq!(state.hindrance(&here(), now()).as_deref(), Some(TOLD_TO_WAIT));
        state.resume(now());
        assert_eq!(state.wait(now(), 0), None);
        state.ease(now(), Duration::MAX, TOLD_TO_WAIT, &retry);
        assert_eq!(state.wait(now(), 0), Some(retry.max_retry_after));
    }
}
