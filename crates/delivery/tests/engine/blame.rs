//! What a refusal is about: an invite, some of a call, or the call as such.

use super::*;

fn many(count: usize) -> String {
    (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_refusal_in_the_same_words_whatever_the_call_holds_is_the_lanes_and_invites_wait() {
    let world = World::new(|to| {
        let words = format!("made up: {} more than we care to say", to.len());
        Answer::Fails(ProviderError::new(Outcome::Rejected, words))
    });
    let bench = start(&format!("max_batch = 32\nmax_in_flight = 1\n{QUICK}"), world).await;
    let batch = bench.post(&many(64)).await;
    let status = async || bench.status().await;
    bench
        .eventually("the lane to be misconfigured", async || {
            (status().await.state == LaneState::Misconfigured).then_some(())
        })
        .await;
    let calls = bench.world.calls().len();
    assert!(calls < 10, "{calls} calls");
    assert!(status().await.reason.unwrap().contains("more than we care to say"));
    // Tried again and again, and nothing fails.
    bench.eventually("more", async || (bench.world.calls().len() > calls + 3).then_some(())).await;
    let waits = bench.invites(batch).await.into_iter().map(|invite| invite.state.status());
    assert!(waits.into_iter().all(|it| matches!(it, Status::Queued | Status::Sending)));
    bench.world.lock().rule_is(|_| Answer::Takes);
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 64]);
}

#[tokio::test]
async fn what_the_configuration_is_refused_for_fails_no_invite() {
    for error in
        [refused(Cause::Configuration), error(Outcome::NotSent).caused_by(Cause::Configuration)]
    {
        let world = World::new(move |_| Answer::Fails(error.clone()));
        let bench = start(&format!("max_batch = 8\n{QUICK}"), world).await;
        let batch = bench.post(&many(8)).await;
        bench
            .eventually("the lane to be misconfigured", async || {
                let status = bench.status().await;
                (status.state == LaneState::Misconfigured).then_some(())
            })
            .await;
        bench.world.lock().rule_is(|_| Answer::Takes);
        assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 8]);
    }
}

#[tokio::test]
async fn bad_invites_that_are_refused_alike_fail_and_good_ones_do_not_wait_for_them() {
    for bad in [vec![5], vec![0, 15], vec![2, 3, 9]] {
        let is_bad: Vec<_> = bad.iter().map(|n| format!("p{n}@example.org")).collect();
        let world = World::new(move |to| match to.iter().any(|address| is_bad.contains(address)) {
            true => Answer::Fails(error(Outcome::Rejected)),
            false => Answer::Takes,
        });
        let bench = start(&format!("max_batch = 16\n{QUICK}"), world).await;
        let batch = bench.post(&many(16)).await;
        let ends = bench.until(batch, ENDS).await;
        let failed: Vec<_> = (0..16).filter(|i| ends[*i] == Status::Failed).collect();
        assert_eq!(failed, bad);
    }
}

#[tokio::test]
async fn what_is_not_there_fails_all_of_a_call_at_once() {
    let world = World::new(|_| Answer::Fails(refused(Cause::NotFound).with_status(404)));
    let bench = start("max_batch = 16", world).await;
    let batch = bench.post(&many(16)).await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Failed; 16]);
    assert_eq!(bench.world.calls().len(), 1);
}

#[tokio::test]
async fn a_quota_refuses_what_does_not_fit_and_not_the_call() {
    let mut room = 5;
    let world = World::new(move |to| match to.len() <= room {
        true => {
            room -= to.len();
            Answer::Takes
        }
        false => Answer::Fails(refused(Cause::Quota)),
    });
    let bench = start(&format!("max_batch = 16\nmax_in_flight = 1\n{QUICK}"), world).await;
    let batch = bench.post(&many(9)).await;
    let ends = bench.until(batch, ENDS).await;
    let created = ends.iter().filter(|end| **end == Status::Pending).count();
    assert_eq!(created, 5, "{:?}", bench.world.calls());
    let codes = bench.invites(batch).await.into_iter().filter_map(|invite| invite.state.error);
    assert!(codes.into_iter().all(|reason| reason.code == ReasonCode::ProviderQuota));
}

#[tokio::test]
async fn a_call_that_was_refused_in_part_settles_its_good_invites_within_two_settles() {
    let settle = Duration::from_secs(5);
    let world = World::new(|to| {
        let bad = to.iter().position(|address| address.starts_with("p7@"));
        match bad {
            None => Answer::Takes,
            Some(_) if to.len() == 1 => Answer::Fails(error(Outcome::Rejected).with_status(400)),
            Some(_) => Answer::Fails(error(Outcome::Unknown).with_status(400)),
        }
    });
    let patient = Settings { settle, ..settings() };
    let bench = start_with(patient, &format!("max_batch = 16\n{QUICK}"), world).await;
    let began = Instant::now();
    let batch = bench.post(&many(16)).await;
    let ends = bench.until(batch, ENDS).await;
    assert!(began.elapsed() < 2 * settle, "{:?}", began.elapsed());
    let failed: Vec<_> = (0..16).filter(|i| ends[*i] == Status::Failed).collect();
    assert_eq!(failed, [7]);
    // Each goes alone once, so that no other bad one is in its way.
    assert_eq!(bench.world.calls().len(), 17);
}
