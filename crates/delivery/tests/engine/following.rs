//! Calls that the provider took but is still working on.

use super::*;

/// A call that is followed, at a provider whose look-ups show it as still being worked on, or not.
async fn followed(is_working: bool) -> (Bench, BatchId) {
    let world = World::new(|_| Answer::Works);
    {
        let mut world = world.lock();
        world.is_blind = true;
        world.is_working = is_working;
    }
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    bench.eventually("a look", async || (bench.world.lock().lookups > 0).then_some(())).await;
    (bench, batch)
}

/// Lets so many minutes go by, and the looks that are due then.
async fn wait(bench: &Bench, minutes: u64) {
    let looks = bench.world.lock().lookups;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(minutes * 60)).await;
    tokio::time::resume();
    bench
        .eventually("another look", async || (bench.world.lock().lookups > looks).then_some(()))
        .await;
}

#[tokio::test]
async fn a_followed_call_that_nothing_is_heard_of_is_left_to_look_ups() {
    let (bench, batch) = followed(false).await;
    assert_eq!(bench.one(batch).await.state.status, Status::Sending);
    wait(&bench, 11).await;
    bench.until(batch, &[Status::Unknown]).await;
    let error = bench.one(batch).await.state.error.unwrap();
    assert!(error["detail"].as_str().unwrap().contains("does not say"), "{error}");
}

#[tokio::test]
async fn a_call_that_the_provider_says_it_works_on_is_followed_on_for_a_day() {
    let (bench, batch) = followed(true).await;
    for _ in 0..2 {
        wait(&bench, 9).await;
        assert_eq!(bench.one(batch).await.state.status, Status::Sending);
    }
    wait(&bench, 24 * 60).await;
    bench.until(batch, &[Status::Unknown]).await;
}

#[tokio::test]
async fn a_followed_call_is_not_asked_about_while_its_lane_pauses() {
    let wait = Some(Duration::from_secs(60));
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        let throttled = ProviderError { retry_after: wait, ..error(Outcome::Throttled) };
        if calls == 1 { Answer::Works } else { Answer::Fails(throttled.with_status(429)) }
    });
    let bench = start("max_batch = 1", world).await;
    let followed = bench.post("ada").await;
    bench.until(followed, &[Status::Sending]).await;
    bench.post("grace").await;
    bench
        .eventually("the lane to pause", async || {
            let status = bench.engine.provider_status("fake").await.unwrap().unwrap();
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let looks = bench.world.lock().lookups;
    bench.engine.wait_settled(followed, Duration::from_millis(1800)).await;
    assert_eq!(bench.world.lock().lookups, looks);
    assert_eq!(bench.one(followed).await.state.status, Status::Sending);
}
