//! A machine whose clock is set while calls are made.

use invite_core::WrongClock;

use super::*;

#[tokio::test]
async fn a_clock_that_is_set_during_calls_and_pauses_neither_gives_up_nor_holds_up_anything() {
    for outcome in [Outcome::Throttled, Outcome::NotSent, Outcome::Unknown] {
        let machine = WrongClock::default();
        let (set, mut calls) = (machine.clone(), 0);
        let world = World::new(move |_| {
            calls += 1;
            // There and back, and further than anything waits for.
            set.set([25, -25, 0][calls % 3]);
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
