//! Time as a parameter, so that tests step it instead of sleeping. The system's clocks are read nowhere else.
//!
//! A machine's wall clock may be wrong, and may be set while the gateway runs, which therefore goes by a
//! [`SteadyClock`].

mod steady;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::failpoint::clocks_off_by;

pub use steady::SteadyClock;

/// Where the present time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment: what is stored, waited for and decided goes by this.
    fn now(&self) -> Timestamp;

    /// What the machine's wall clock shows, which somebody may set at any moment. It is only for what is compared
    /// with clocks elsewhere, such as a time that a provider wants in a request.
    fn wall(&self) -> Timestamp;

    /// The time since the machine was started. It includes the time during which the machine was suspended, and
    /// nobody can set it.
    fn since_boot(&self) -> Duration;
}

/// The machine's clocks; `now` is the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    fn wall(&self) -> Timestamp {
        let off_by = SignedDuration::from_millis(clocks_off_by().0);
        let shown = Timestamp::now();
        shown.saturating_add(off_by).unwrap_or(shown)
    }

    fn since_boot(&self) -> Duration {
        let counted = clock_gettime(FROM_BOOT);
        let counted = SignedDuration::new(counted.tv_sec, counted.tv_nsec as i32);
        let off_by = SignedDuration::from_millis(clocks_off_by().1);
        counted.saturating_add(off_by).try_into().unwrap_or_default()
    }
}

/// The clock that counts while the machine is suspended: on macOS the monotonic one does. On other systems it may
/// stand still, and only the wall clock shows how long.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FROM_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FROM_BOOT: ClockId = ClockId::Monotonic;

/// Measures how much time may have passed: as much as the clock says which says most. The monotonic clock may stand
/// still while the machine is suspended, and only the wall clock may show that a virtual machine was paused.
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    started: Instant,
    since_boot: Duration,
    wall: Timestamp,
}

impl Stopwatch {
    /// Starts measuring.
    pub fn start(clock: Arc<dyn Clock>) -> Self {
        let (since_boot, wall) = (clock.since_boot(), clock.wall());
        Self { clock, started: Instant::now(), since_boot, wall }
    }

    /// The most time that may have passed since the start.
    pub fn elapsed(&self) -> Duration {
        let by_wall = Duration::try_from(self.clock.wall().duration_since(self.wall));
        let from_boot = self.clock.since_boot().saturating_sub(self.since_boot);
        self.started.elapsed().max(from_boot).max(by_wall.unwrap_or_default())
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    wall: Timestamp,
    since_boot: Duration,
}

impl ManualClock {
    /// A clock that shows `start`, at a machine that was just started.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands { wall: start, since_boot: Duration::ZERO })))
    }

    /// Lets time pass, up to the last moment that can be represented.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hands.wall = hands.wall.saturating_add(by).unwrap_or(Timestamp::MAX);
        hands.since_boot += by;
    }

    /// Sets the wall clock, as a person or a time service may.
    pub fn set(&self, wall: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    fn wall(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since_boot
    }
}

/// The machine's clocks with a wall clock that is wrong, for tests in which real time passes.
#[derive(Clone, Debug, Default)]
pub struct WrongClock(Arc<Mutex<SignedDuration>>);

impl WrongClock {
    /// Sets the wall clock so many hours ahead of the machine's.
    pub fn set(&self, hours: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = SignedDuration::from_hours(hours);
    }
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    fn wall(&self) -> Timestamp {
        let ahead = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = SystemClock.wall();
        shown.saturating_add(ahead).unwrap_or(shown)
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_counts_from_boot_and_shows_the_time() {
        let (before, shown) = (SystemClock.since_boot(), SystemClock.wall());
        assert!(SystemClock.since_boot() >= before && before > Duration::ZERO);
        assert!(shown > "2026-01-01T00:00:00Z".parse().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopwatch_believes_whichever_clock_says_more() {
        let clock = ManualClock::new("2026-11-29T12:00:00Z".parse().unwrap());
        let seconds = Duration::from_secs;
        let watch = Stopwatch::start(Arc::new(clock.clone()));
        assert_eq!(watch.elapsed(), seconds(0));
        tokio::time::advance(seconds(1)).await;
        assert_eq!(watch.elapsed(), seconds(1), "by the monotonic clock");
        clock.advance(seconds(2));
        assert_eq!(watch.elapsed(), seconds(2), "suspended");
        clock.set(clock.wall() + seconds(3));
        assert_eq!(watch.elapsed(), seconds(5), "by the wall clock alone");
        clock.set("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(watch.elapsed(), seconds(2), "set back");
    }
}
