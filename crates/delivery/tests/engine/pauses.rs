//! What waits, for how long, and what ends it.

use super::*;

#[tokio::test]
async fn what_is_given_up_names_the_invite_that_it_waited_for() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let retry = "retry = { first = \"20ms\", max = \"40ms\", give_up_after = \"1s\" }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    let first = bench.post("ada").await;
    bench.until(first, &[Status::Unknown]).await;
    let waiting = bench.post("ada").await;
    bench.until(waiting, &[Status::Failed]).await;
    let (first, waiting) = (bench.one(first).await, bench.one(waiting).await);
    let detail = waiting.state.error.unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&first.id.to_string()), "{detail}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_look_ups_that_wait_for_their_turn() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    let bench = start("max_batch = 1\nrequests_per_second = 0.01", world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Unknown]).await;
    let began = Instant::now();
    bench.engine.shutdown().await;
    assert!(began.elapsed() < settings().shutdown_grace / 3, "{:?}", began.elapsed());
    assert_eq!(bench.world.lock().lookups, 0);
}

#[tokio::test]
async fn another_document_ends_the_wait_for_a_refused_credential() {
    let world = World::new(|_| Answer::Fails(refused(Cause::Credentials)));
    let limits = "max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }";
    let bench = start(limits, world).await;
    bench.post("ada").await;
    bench.eventually("a call", async || (bench.world.calls().len() == 1).then_some(())).await;
    let began = Instant::now();
    bench.live.swap(configuration(&bench.world, limits, 2));
    bench.post("grace").await;
    bench.eventually("another", async || (bench.world.calls().len() >= 2).then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_look_up_ends_a_pause_where_no_create_is_waiting_to() {
    let world = World::new(|_| Answer::TakesButFails(error(Outcome::Unknown)));
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("a b c d e").await;
    bench.until(batch, &[Status::Pending]).await;
    bench
        .eventually("the lane to be ready", async || {
            let status = bench.engine.provider_status("fake").await.unwrap().unwrap();
            (status.state == LaneState::Ready).then_some(())
        })
        .await;
    assert_eq!(bench.world.calls().len(), 5);
}

#[tokio::test]
async fn a_caller_of_many_small_places_sees_all_of_them_served() {
    let world = World::new(|_| Answer::Takes);
    let bench = start("max_batch = 2", world).await;
    let mut batches = Vec::new();
    for n in 0..15 {
        batches.push(bench.post_at(&format!("place-{n}"), "ada grace barbara").await);
    }
    for batch in batches {
        assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 3]);
    }
    assert_eq!(bench.world.effects_of("ada"), 15);
}

#[tokio::test]
async fn a_wait_that_a_refresh_is_told_of_is_kept_by_creates() {
    let world = World::new(|_| Answer::Takes);
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let bench = start_with(refreshed, "max_batch = 1", world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, ENDS).await;
    let wait = Some(Duration::from_secs(60));
    let throttled = ProviderError { retry_after: wait, ..error(Outcome::Throttled) };
    bench.world.lock().silence = Some(throttled.with_status(429));
    bench
        .eventually("the lane to pause", async || {
            let status = bench.engine.provider_status("fake").await.unwrap().unwrap();
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let waiting = bench.post("grace").await;
    bench.engine.wait_settled(waiting, Duration::from_millis(100)).await;
    assert_eq!(bench.one(waiting).await.state.status, Status::Queued);
}

#[tokio::test]
async fn a_refused_credential_of_a_refresh_pauses_nothing() {
    let world = World::new(|_| Answer::Takes);
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let bench = start_with(refreshed, "max_batch = 1", world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, ENDS).await;
    bench.world.lock().silence = Some(refused(Cause::Credentials));
    bench
        .eventually("a refusal", async || {
            let status = bench.engine.provider_status("fake").await.unwrap().unwrap();
            status.last_error.map(|_| ())
        })
        .await;
    let next = bench.post("grace").await;
    assert_eq!(bench.until(next, ENDS).await, [Status::Pending]);
}

#[tokio::test]
async fn a_refused_look_up_after_a_pause_is_not_the_last_one() {
    let world = World::new(|_| Answer::TakesButFails(error(Outcome::Unknown)));
    world.lock().silence = Some(refused(Cause::Credentials));
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("a b c d e").await;
    bench.until(batch, &[Status::Unknown]).await;
    let status = async || bench.engine.provider_status("fake").await.unwrap().unwrap();
    // The pause is over, and the one look-up that follows it was refused.
    bench
        .eventually("the pause to end", async || {
            (status().await.state == LaneState::Slowed).then_some(())
        })
        .await;
    let looks = bench.world.lock().lookups;
    bench.engine.secret_changed("fake");
    bench
        .eventually("a refusal", async || (bench.world.lock().lookups > looks).then_some(()))
        .await;
    let began = Instant::now();
    bench.world.lock().silence = None;
    bench.engine.secret_changed("fake");
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 5]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_call_that_our_own_budget_left_no_time_for_pauses_nothing() {
    let world = World::new(|to| match to[0].starts_with("ada") {
        true => Answer::Fails(error(Outcome::Throttled)),
        false => Answer::Takes,
    });
    let bench = start("max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }", world).await;
    let waiting = bench.post("ada").await;
    bench.eventually("a call", async || (bench.world.calls().len() == 1).then_some(())).await;
    bench.until(waiting, &[Status::Queued]).await;
    let next = bench.post("grace").await;
    assert_eq!(bench.until(next, ENDS).await, [Status::Pending]);
    let status = bench.engine.provider_status("fake").await.unwrap().unwrap();
    assert_eq!(status.state, LaneState::Ready);
    assert_eq!(bench.one(waiting).await.state.status, Status::Queued);
}

#[tokio::test]
async fn what_waits_for_the_rate_budget_goes_by_the_document_that_came_meanwhile() {
    let bench = start("max_batch = 1\nrequests_per_second = 0.001", World::new(|_| Answer::Takes));
    let bench = bench.await;
    let first = bench.post("ada").await;
    bench.until(first, ENDS).await;
    let waiting = bench.post("grace").await;
    bench.engine.wait_settled(waiting, Duration::from_millis(50)).await;
    let faster = configuration(&bench.world, "max_batch = 1\nrequests_per_second = 100", 2);
    bench.live.swap(faster);
    let next = bench.post("barbara").await;
    for batch in [waiting, next] {
        assert_eq!(bench.until(batch, ENDS).await, [Status::Pending]);
        assert_eq!(bench.revisions(batch).await, [2]);
    }
}

#[tokio::test]
async fn what_waits_for_company_goes_by_the_document_that_came_meanwhile() {
    let limits = "max_batch = 4\nlinger = \"300ms\"";
    let bench = start(limits, World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.live.swap(configuration(&bench.world, limits, 2));
    bench.until(batch, ENDS).await;
    assert_eq!(bench.revisions(batch).await, [2]);
}
