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
async fn each_look_at_a_followed_call_is_an_attempt_and_says_when_the_next_is_due() {
    let (bench, batch) = followed(true).await;
    let invite = bench
        .eventually("the first look to be stored", async || {
            let invite = bench.one(batch).await;
            invite.state.next_attempt_at().is_some().then_some(invite)
        })
        .await;
    let asked = bench.store.creates(invite.id).await.unwrap()[0].finished_at.unwrap();
    let (checked, next) =
        (invite.state.checked_at.unwrap(), invite.state.next_attempt_at().unwrap());
    assert!(asked < checked && checked < next, "{asked} {checked} {next}");
    assert_eq!(invite.state.status(), Status::Sending);
    wait(&bench, 1).await;
    let looks = bench
        .eventually("the next look to be stored", async || {
            Some(bench.looks(invite.id).await).filter(|looks| looks.len() > 1)
        })
        .await;
    let working = (AttemptOutcome::Succeeded, "still being worked on".to_owned());
    assert!(looks.iter().all(|look| *look == working), "{looks:?}");
}

#[tokio::test]
async fn a_look_that_fails_is_told_of_on_its_attempt_and_by_the_provider() {
    let world = World::new(|_| Answer::Works);
    world.lock().silence = Some(error(Outcome::Unknown).with_status(500));
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Sending]).await;
    let id = bench.one(batch).await.id;
    let looks = bench
        .eventually("a look", async || Some(bench.looks(id).await).filter(|it| !it.is_empty()))
        .await;
    assert_eq!(looks[0], (AttemptOutcome::Unknown, "made up: unknown".to_owned()));
    let status = bench.status().await;
    let last = status.last_error.unwrap();
    assert_eq!((last.operation, last.http_status), (Operation::Reconcile, Some(500)));
}

#[tokio::test]
async fn a_followed_call_keeps_its_lease_while_it_waits_for_its_turn() {
    let world = World::new(|_| Answer::Works);
    let short = Settings { lease: Duration::from_millis(1500), ..settings() };
    let bench = start_with(short, "max_batch = 1\nrequests_per_second = 0.01", world).await;
    let batch = bench.post("ada").await;
    let lease = async || match bench.one(batch).await.state.phase {
        Phase::Sending { lease_until, .. } => Some(lease_until),
        _ => None,
    };
    let mut known = bench.eventually("the call", lease).await;
    for _ in 0..5 {
        let renewed = async || lease().await.filter(|until| *until > known);
        known = bench.eventually("the lease to be renewed", renewed).await;
    }
    assert_eq!(bench.world.lock().lookups, 0);
}

#[tokio::test]
async fn a_followed_call_that_nothing_is_heard_of_is_left_to_look_ups() {
    let (bench, batch) = followed(false).await;
    assert_eq!(bench.one(batch).await.state.status(), Status::Sending);
    wait(&bench, 11).await;
    bench.until(batch, &[Status::Unknown]).await;
    let error = bench.one(batch).await.state.error.unwrap();
    assert!(error.detail.contains("does not say"), "{error:?}");
}

#[tokio::test]
async fn a_call_that_the_provider_says_it_works_on_is_followed_on_for_a_day() {
    let (bench, batch) = followed(true).await;
    for _ in 0..2 {
        wait(&bench, 9).await;
        assert_eq!(bench.one(batch).await.state.status(), Status::Sending);
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
    bench
        .eventually("the first look to be stored", async || {
            bench.one(followed).await.state.next_attempt_at()
        })
        .await;
    bench.post("grace").await;
    let until = bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            status.until.filter(|_| status.state == LaneState::Paused)
        })
        .await;
    assert_eq!(bench.engine.next_attempt_at(&bench.one(followed).await), Some(until));
    let looks = bench.world.lock().lookups;
    let_pass(Duration::from_millis(1800)).await;
    assert_eq!(bench.world.lock().lookups, looks);
    assert_eq!(bench.one(followed).await.state.status(), Status::Sending);
}
