//! A clock that never jumps, whatever is done to the clock that it follows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::Clock;

/// While a [`SteadyClock`] makes up for a step of its reference, it runs fast or slow by one part in so many, and so
/// does every duration that is measured with it.
const SLEW: u32 = 10;
/// A larger difference from the reference is a step. Between two readings the machine's clock and the reference drift
/// apart by far less.
const STEP_THRESHOLD: SignedDuration = SignedDuration::from_secs(1);

/// A clock that agrees with a reference (the machine's wall clock, or a database's) but never jumps. It advances by the
/// clock that counts from boot on, and makes up for a step of the reference so slowly that no duration is off by
/// more than a tenth.
pub struct SteadyClock {
    machine: Arc<dyn Clock>,
    /// Whether the reference is the machine's wall clock.
    follows_wall: bool,
    course: Mutex<Course>,
}

/// What was known when the reference was read last.
#[derive(Clone, Copy, Debug)]
struct Course {
    since_boot: Duration,
    /// The steady clock's time.
    at: Timestamp,
    /// How far the reference was ahead of it.
    ahead: SignedDuration,
    /// What the reference showed, and how long it took to answer: it may have shown this that much earlier.
    reference: Timestamp,
    asked_for: Duration,
}

impl Course {
    /// The steady clock's time at that moment, and how far the reference is ahead of it.
    fn at(&self, since_boot: Duration) -> (Timestamp, SignedDuration) {
        let elapsed = since_boot.saturating_sub(self.since_boot);
        let most = SignedDuration::try_from(elapsed / SLEW).unwrap_or(SignedDuration::MAX);
        let made_up = self.ahead.clamp(-most, most);
        let at = self.at.saturating_add(elapsed).unwrap_or(Timestamp::MAX);
        (at.saturating_add(made_up).unwrap_or(at), self.ahead - made_up)
    }

    /// Takes in what the reference showed at a moment between `asked` and `answered`; returns how far it is ahead,
    /// as far as that is certain.
    fn synchronize(
        &mut self,
        reference: Timestamp,
        asked: Duration,
        answered: Duration,
    ) -> SignedDuration {
        let (latest, _) = self.at(answered);
        let asked_for = answered.saturating_sub(asked);
        let earliest = latest.saturating_sub(asked_for).unwrap_or(latest);
        let ahead = difference(reference, earliest, latest);
        *self = Self { since_boot: answered, at: latest, ahead, reference, asked_for };
        ahead
    }

    /// How far a wall clock is ahead of the reference, as far as that is certain.
    fn wall_ahead(&self, wall: Timestamp, since_boot: Duration) -> SignedDuration {
        let elapsed = since_boot.saturating_sub(self.since_boot);
        let earliest = self.reference.saturating_add(elapsed).unwrap_or(Timestamp::MAX);
        let latest = earliest.saturating_add(self.asked_for).unwrap_or(Timestamp::MAX);
        difference(wall, earliest, latest)
    }
}

/// How far a time is ahead of a range of times; zero within it.
fn difference(at: Timestamp, earliest: Timestamp, latest: Timestamp) -> SignedDuration {
    at.duration_since(at.clamp(earliest.min(latest), latest))
}

impl SteadyClock {
    /// A clock that follows the machine's wall clock, or another reference, which [`synchronize`](Self::synchronize)
    /// is told of whenever it is read. It begins with what the reference shows, or, after an earlier clock with
    /// these last [`readings`](Self::readings), as far from the reference as that was, and never before its time.
    pub fn resuming(
        machine: Arc<dyn Clock>,
        follows_wall: bool,
        reference: Timestamp,
        last: Option<(Timestamp, Timestamp)>,
    ) -> Self {
        let at = last.map_or(reference, |(at, shown)| {
            let passed = reference.duration_since(shown).max(SignedDuration::ZERO);
            at.saturating_add(passed).unwrap_or(at)
        });
        let since_boot = machine.since_boot();
        let ahead = reference.duration_since(at);
        let course = Course { since_boot, at, ahead, reference, asked_for: Duration::ZERO };
        Self { machine, follows_wall, course: Mutex::new(course) }
    }

    /// Takes in what the reference showed; `asked` is [`Clock::since_boot`] when it was asked. Returns the time to
    /// go by, which is what it showed, unless that is off by a step.
    pub fn synchronize(&self, reference: Timestamp, asked: Duration) -> Timestamp {
        let mut course = self.course();
        let answered = self.machine.since_boot();
        let ahead = course.synchronize(reference, asked, answered);
        if ahead.abs() <= STEP_THRESHOLD { reference } else { course.at }
    }

    /// How far the reference is ahead: the difference that this clock still has to make up for.
    pub fn to_make_up(&self) -> SignedDuration {
        self.course().at(self.machine.since_boot()).1
    }

    /// How far the machine's wall clock is ahead of the reference, as far as that is certain.
    pub fn wall_ahead(&self) -> SignedDuration {
        if self.follows_wall {
            return SignedDuration::ZERO;
        }
        let course = self.course();
        course.wall_ahead(self.machine.wall(), self.machine.since_boot())
    }

    /// The time of this clock and of its reference, from which a later one resumes.
    pub fn readings(&self) -> (Timestamp, Timestamp) {
        let at = self.now();
        let (_, ahead) = self.course().at(self.machine.since_boot());
        (at, at.saturating_add(ahead).unwrap_or(at))
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut course = self.course();
        let asked = self.machine.since_boot();
        if self.follows_wall {
            let wall = self.machine.wall();
            course.synchronize(wall, asked, self.machine.since_boot());
            return course.at;
        }
        course.at(asked).0
    }

    fn wall(&self) -> Timestamp {
        self.machine.wall()
    }

    fn since_boot(&self) -> Duration {
        self.machine.since_boot()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().unwrap()
    }

    fn of_machine(machine: &ManualClock) -> SteadyClock {
        SteadyClock::resuming(Arc::new(machine.clone()), true, machine.wall(), None)
    }

    fn by(at: Timestamp, hours: i64) -> Timestamp {
        at + SignedDuration::from_hours(hours)
    }

    /// What happens to a machine: time passes, in seconds, and then its clock is set by so many more.
    fn histories() -> impl Strategy<Value = Vec<(u64, i64)>> {
        let step = prop_oneof![3 => Just(0i64), 2 => -400_000i64..400_000, 1 => -3i64..3];
        proptest::collection::vec((0u64..100_000, step), 1..40)
    }

    /// Runs through a history; the machine's clock, the steady one, and at each moment how much time had
    /// passed in truth and by the steady clock.
    fn live(
        history: &[(u64, i64)],
        is_shared: bool,
    ) -> (ManualClock, SteadyClock, Vec<(i64, i64)>) {
        let machine = ManualClock::new(start());
        let boxed: Arc<dyn Clock> = Arc::new(machine.clone());
        let steady = SteadyClock::resuming(boxed, !is_shared, start(), None);
        let read = |machine: &ManualClock| {
            if is_shared {
                steady.synchronize(machine.wall(), machine.since_boot());
            }
            let passed = steady.now().duration_since(start());
            (machine.since_boot().as_millis() as i64, passed.as_millis() as i64)
        };
        let mut readings = vec![read(&machine)];
        for (seconds, step) in history {
            machine.advance(Duration::from_secs(*seconds));
            readings.push(read(&machine));
            machine.set(machine.wall() + SignedDuration::from_secs(*step));
            readings.push(read(&machine));
        }
        (machine, steady, readings)
    }

    proptest! {
        #[test]
        fn no_duration_is_off_by_more_than_a_tenth_whatever_is_done_to_the_clock(
            history in histories(),
            is_shared: bool,
        ) {
            let (_, _, readings) = live(&history, is_shared);
            for (place, (from, steady_from)) in readings.iter().enumerate() {
                for (to, steady_to) in &readings[place..] {
                    let (truth, measured) = (to - from, steady_to - steady_from);
                    // And a millisecond for rounding.
                    prop_assert!((measured - truth).abs() <= truth / 10 + 1, "{measured} for {truth}");
                }
            }
        }

        #[test]
        fn it_comes_back_to_a_reference_that_is_left_alone(
            history in histories(),
            is_shared: bool,
        ) {
            let (machine, steady, _) = live(&history, is_shared);
            let off = steady.to_make_up().unsigned_abs();
            // One reading halfway says that the reference is left alone.
            for _ in 0..2 {
                machine.advance(off * SLEW / 2 + Duration::from_millis(1));
                steady.synchronize(machine.wall(), machine.since_boot());
            }
            prop_assert_eq!(steady.now(), machine.wall());
            prop_assert!(steady.to_make_up().is_zero());
        }
    }

    #[test]
    fn a_clock_of_the_machine_that_is_set_is_made_up_for_by_six_minutes_an_hour() {
        for hours in [25, -25] {
            let machine = ManualClock::new(start());
            let steady = of_machine(&machine);
            machine.set(by(start(), hours));
            assert_eq!(steady.now(), start());
            assert_eq!(steady.wall(), by(start(), hours));
            machine.advance(HOUR);
            let six_minutes = HOUR.as_secs() as i64 / 10 * hours.signum();
            assert_eq!(steady.now(), start() + HOUR + SignedDuration::from_secs(six_minutes));
            assert_eq!(steady.wall_ahead(), SignedDuration::ZERO, "there is no other clock");
        }
    }

    #[test]
    fn a_suspended_machine_was_away_for_as_long_as_it_was() {
        let machine = ManualClock::new(start());
        let steady = of_machine(&machine);
        machine.advance(HOUR * 30);
        assert_eq!(steady.now(), start() + HOUR * 30);
    }

    #[test]
    fn a_wrong_clock_of_the_machine_changes_nothing_about_a_time_that_follows_another() {
        let machine = ManualClock::new(by(start(), 25));
        let steady = SteadyClock::resuming(Arc::new(machine.clone()), false, start(), None);
        assert_eq!((steady.now(), steady.wall()), (start(), by(start(), 25)));
        assert_eq!(steady.wall_ahead(), SignedDuration::from_hours(25));
        machine.set(by(start(), -1));
        assert_eq!(steady.wall_ahead(), SignedDuration::from_hours(-1), "noticed without asking");
        machine.set(start());
        machine.advance(HOUR);
        assert_eq!(steady.synchronize(start() + HOUR, machine.since_boot()), start() + HOUR);
        assert_eq!(steady.wall_ahead(), SignedDuration::ZERO);
    }

    #[test]
    fn what_took_long_to_answer_is_no_difference() {
        let machine = ManualClock::new(start());
        let steady = SteadyClock::resuming(Arc::new(machine.clone()), false, start(), None);
        let asked = machine.since_boot();
        machine.advance(Duration::from_secs(20));
        for (shown, to_make_up) in [(0, 0), (10, 0), (20, 0), (-7, -7), (27, 7)] {
            let reference = start() + SignedDuration::from_secs(shown);
            steady.synchronize(reference, asked);
            assert_eq!(steady.to_make_up(), SignedDuration::from_secs(to_make_up), "{shown}");
        }
        steady.synchronize(start(), asked);
        let ahead = "the reference's clock is between twenty seconds behind and right";
        assert_eq!(steady.wall_ahead(), SignedDuration::ZERO, "{ahead}");
    }

    #[test]
    fn a_step_of_the_reference_is_not_taken_and_a_small_difference_is() {
        let machine = ManualClock::new(start());
        let steady = SteadyClock::resuming(Arc::new(machine.clone()), false, start(), None);
        let near = start() + SignedDuration::from_millis(800);
        assert_eq!(steady.synchronize(near, machine.since_boot()), near);
        assert_eq!(steady.synchronize(by(start(), 25), machine.since_boot()), start());
        assert_eq!(steady.synchronize(by(start(), -25), machine.since_boot()), start());
    }

    #[test]
    fn whoever_resumes_is_as_far_from_the_reference_as_the_last_one_and_no_earlier() {
        let resumed = |reference, left| {
            let machine = Arc::new(ManualClock::new(start()));
            let steady = SteadyClock::resuming(machine, false, reference, Some(left));
            (steady.now(), steady.to_make_up())
        };
        let hours = SignedDuration::from_hours;
        // The reference had gone ahead by a day, and an hour passed.
        let left = (start(), by(start(), 24));
        assert_eq!(resumed(by(start(), 25), left), (by(start(), 1), hours(24)));
        // It was set back by a day while nobody looked.
        let left = (start(), start());
        assert_eq!(resumed(by(start(), -24), left), (start(), hours(-24)));
    }
}
