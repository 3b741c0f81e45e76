//! What a provider asked to wait for, and how often it is called.

use super::*;

fn told(outcome: Outcome, status: u16, wait: Duration) -> ProviderError {
    ProviderError { retry_after: Some(wait), ..error(outcome) }.with_status(status)
}

#[tokio::test]
async fn an_unknown_outcome_with_a_wait_keeps_look_ups_and_creates_for_as_long() {
    let wait = Duration::from_millis(400);
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        match calls {
            1 => Answer::TakesButFails(told(Outcome::Unknown, 503, wait)),
            _ => Answer::Takes,
        }
    });
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let ada = bench.post("ada").await;
    let began = Instant::now();
    bench.until(ada, &[Status::Unknown]).await;
    let status = bench.status().await;
    assert_eq!(status.state, LaneState::Paused);
    assert!(status.until.is_some(), "{status:?}");
    let grace = bench.post("grace").await;
    bench.until(ada, ENDS).await;
    assert!(began.elapsed() >= wait, "looked up after {:?}", began.elapsed());
    bench.until(grace, ENDS).await;
    let world = bench.world.lock();
    let apart = world.asked[1].at - world.asked[0].at;
    assert!(apart >= wait - Duration::from_millis(5), "{apart:?}");
    assert_eq!(world.asked.len(), 2);
}

#[tokio::test]
async fn what_a_provider_says_counts_beyond_our_own_longest_wait_but_not_beyond_its_bound() {
    let waits = Duration::from_millis(400);
    for (asked, bound) in [(waits, "1h"), (Duration::from_secs(60), "400ms")] {
        let mut calls = 0;
        let world = World::new(move |_| {
            calls += 1;
            match calls {
                1 => Answer::Fails(told(Outcome::Throttled, 429, asked)),
                _ => Answer::Takes,
            }
        });
        let retry = "retry = { first = \"20ms\", max = \"200ms\", max_retry_after";
        let bench = start(&format!("max_batch = 1\n{retry} = \"{bound}\" }}"), world).await;
        let batch = bench.post("ada").await;
        assert_eq!(bench.until(batch, ENDS).await, [Status::Pending]);
        let world = bench.world.lock();
        let apart = world.asked[1].at - world.asked[0].at;
        assert!(apart >= waits - Duration::from_millis(5), "{bound}: {apart:?}");
    }
}

#[tokio::test]
async fn a_person_asks_nothing_of_a_provider_that_asked_to_be_left_alone() {
    let world = World::new(|_| Answer::Takes);
    let bench = start("max_batch = 1", world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, ENDS).await;
    bench.world.lock().silence = Some(told(Outcome::Unknown, 503, Duration::from_secs(60)));
    let ada = bench.one(batch).await.id;
    bench.engine.refresh(ada).await.unwrap_err();
    bench.world.lock().silence = None;
    let refused = bench.engine.refresh(ada).await.unwrap_err();
    assert!(matches!(refused, invite_delivery::OperationError::Busy { .. }), "{refused}");
    let next = bench.post("grace").await;
    let_pass(Duration::from_millis(100)).await;
    assert_eq!(bench.one(next).await.state.status(), Status::Queued);
    bench.engine.secret_changed("fake");
    assert_eq!(bench.until(next, ENDS).await, [Status::Pending]);
}

#[tokio::test]
async fn another_process_on_the_store_keeps_to_the_rate_of_the_one_before() {
    let bench =
        start("max_batch = 1\nrequests_per_second = 20", World::new(|_| Answer::Takes)).await;
    let names: Vec<String> = (0..14).map(|n| format!("p{n}")).collect();
    let first = bench.post(&names[..7].join(" ")).await;
    bench.until(first, ENDS).await;
    bench.engine.shutdown().await;
    let next = serve(&bench.store, &bench.live, &bench.world, settings()).await;
    let items = names[7..].iter().enumerate().map(|(index, name)| item(name, "here", index));
    next.accept(batch(items.collect())).await.unwrap();
    bench.eventually("all calls", async || (bench.world.calls().len() == 14).then_some(())).await;
    let world = bench.world.lock();
    let apart = world.asked[7].at - world.asked[6].at;
    assert!(apart >= Duration::from_millis(45), "{apart:?}");
}
