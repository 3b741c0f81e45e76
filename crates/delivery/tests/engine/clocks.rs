//! A machine whose clock is set while calls are made.

use std::sync::Mutex;

use invite_core::Clock;
use jiff::{SignedDuration, Timestamp};

use super::*;

/// A machine whose clock is off by as much as it was set.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<SignedDuration>>);

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    fn wall(&self) -> Timestamp {
        SystemClock.wall() + *self.0.lock().unwrap()
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_during_calls_and_pauses_neither_gives_up_nor_holds_up_anything() {
    for outcome in [Outcome::Throttled, Outcome::NotSent, Outcome::Unknown] {
        let machine = Machine::default();
        let (set, mut calls) = (machine.clone(), 0);
        let world = World::new(move |_| {
            calls += 1;
            // There and back, and further than anything waits for.
            *set.0.lock().unwrap() = SignedDuration::from_hours([25, -25, 0][calls % 3]);
            if calls < 7 { Answer::Fails(error(outcome)) } else { Answer::Takes }
        });
        let limits = "max_batch = 1\nretry = { first = \"1ms\", max = \"20ms\", max_attempts = 9, \
                      give_up_after = \"24h\" }";
        let bench = start_on(Arc::new(machine), settings(), limits, world).await;
        let began = Instant::now();
        let batch = bench.post("ada").await;
        bench.until(batch, &[Status::Pending]).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{outcome:?}: {:?}", began.elapsed());
        assert_eq!(bench.world.calls().len(), 7, "{outcome:?}");
    }
}
