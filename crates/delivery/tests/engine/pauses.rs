//! What waits, for how long, and what ends it.

use invite_delivery::OperationError;

use super::*;
use crate::fairness::beside_company;

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
    let detail = waiting.state.error.unwrap().detail;
    assert!(detail.contains(&first.id.to_string()), "{detail}");
}

#[tokio::test]
async fn what_is_given_up_behind_another_tenants_invite_does_not_name_it() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let retry = "retry = { first = \"20ms\", max = \"40ms\", give_up_after = \"1s\" }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    let first = bench.post("ada").await;
    bench.until(first, &[Status::Unknown]).await;
    let others = NewBatch { tenant: "other".into(), ..batch(vec![item("ada", "here", 0)]) };
    let waiting = others.id;
    bench.engine.accept(others).await.unwrap();
    bench.until(waiting, &[Status::Failed]).await;
    let detail = bench.one(waiting).await.state.error.unwrap().detail;
    assert!(detail.contains("another invite") && !detail.contains("inv_"), "{detail}");
}

#[tokio::test]
async fn what_is_given_up_says_what_ailed_its_provider_but_nothing_of_others_calls() {
    let down = error(Outcome::NotSent).caused_by(Cause::Transport);
    let world = World::new(move |_| Answer::Fails(down.clone()));
    let retry = "retry = { first = \"20ms\", max = \"40ms\", give_up_after = \"1s\" }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Failed]).await;
    for invite in bench.invites(batch).await {
        let reason = invite.state.error.unwrap();
        let told = (reason.code, reason.provider.as_deref());
        assert_eq!(told, (ReasonCode::GivenUp, Some("fake")));
        let detail = reason.detail;
        assert!(detail.contains("could not be reached") && !detail.contains("made up"), "{detail}");
    }
}

#[tokio::test]
async fn the_next_attempt_is_not_before_the_pause_of_the_lane_is_over() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let bench = start("max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }", world).await;
    let unknown = bench.post("a b c d e").await;
    bench.until(unknown, &[Status::Unknown]).await;
    let until = bench.eventually("the lane to pause", async || bench.status().await.until).await;
    let queued = bench.one(bench.post("f").await).await;
    assert_eq!(bench.engine.next_attempt_at(&queued), Some(until));
    for mut invite in bench.invites(unknown).await {
        assert!(bench.engine.next_attempt_at(&invite) >= Some(until));
        // It is left to a person: nothing is due.
        in_doubt(&mut invite.state).next_attempt_at = None;
        assert_eq!(bench.engine.next_attempt_at(&invite), None);
    }
}

/// Invites whose calls, and the repeats of their bytes, have come to nothing that is known so far.
async fn repeatable(names: &str) -> (Bench, Vec<InviteRecord>) {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_idempotent = true;
    let patient = Settings { settle: Duration::from_secs(3600), ..settings() };
    let limits = "max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }";
    let bench = start_with(patient, limits, world).await;
    let batch = bench.post(names).await;
    bench.until(batch, &[Status::Unknown]).await;
    let invites = bench.invites(batch).await;
    (bench, invites)
}

/// Makes their look-ups due, for so many seconds.
async fn make_due(bench: &Bench, invites: &[InviteRecord], seconds: &[i64]) {
    let seconds = seconds.to_vec();
    let due = Change::of(invites.iter().map(|i| i.id).collect(), move |i, _, state, now| {
        in_doubt(state).next_attempt_at = Some(now - jiff::SignedDuration::from_secs(seconds[i]));
        Decision::Write
    });
    bench.store.change(due).await.unwrap();
}

#[tokio::test]
async fn of_several_look_ups_the_one_after_a_pause_is_that_which_is_due_longest() {
    let (bench, invites) = repeatable("a b c d e").await;
    bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let before = bench.world.calls().len();
    make_due(&bench, &invites, &[10, 30, 20, 20, 20]).await;
    bench.engine.secret_changed("fake");
    let next =
        bench.eventually("a repeat", async || bench.world.calls().get(before).cloned()).await;
    assert_eq!(next, "b");
}

#[tokio::test]
async fn after_a_pause_a_look_up_that_is_due_longest_comes_before_repeats() {
    let (bench, invites) = repeatable("a b c d e").await;
    bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let before = bench.world.calls().len();
    bench.world.lock().silence = Some(error(Outcome::Rejected));
    // What a reply told of is looked up.
    let told = Change::of(vec![invites[1].id], |_, _, state, _| {
        state.provider_data.insert("told".into(), true.into());
        Decision::Write
    });
    bench.store.change(told).await.unwrap();
    make_due(&bench, &invites, &[10, 30, 20, 20, 20]).await;
    bench.engine.secret_changed("fake");
    bench
        .eventually("the look-up", async || {
            (bench.looks(invites[1].id).await.last()?.1 == "made up: rejected").then_some(())
        })
        .await;
    assert_eq!(bench.world.lock().lookups, 1);
    assert_eq!(bench.world.calls().len(), before);
}

#[tokio::test]
async fn a_look_up_after_a_refused_repeat_ends_a_pause() {
    let (bench, invites) = repeatable("a b c d e").await;
    let in_state = async |wanted| {
        let status = bench.status().await;
        (status.state == wanted).then_some(())
    };
    bench.eventually("the lane to pause", async || in_state(LaneState::Paused).await).await;
    bench.world.lock().rule_is(|_| Answer::Fails(error(Outcome::Rejected)));
    make_due(&bench, &invites, &[20; 5]).await;
    bench.engine.secret_changed("fake");
    bench.eventually("the lane to be ready", async || in_state(LaneState::Ready).await).await;
    assert!(bench.world.lock().lookups > 0);
}

#[tokio::test]
async fn repeats_that_are_due_do_not_go_on_through_a_pause() {
    let (bench, invites) = repeatable("a b c").await;
    bench
        .eventually("the first repeats to be stored", async || {
            let invites = bench.invites(invites[0].batch_id).await;
            invites.iter().all(|invite| lookups(invite) == 1).then_some(())
        })
        .await;
    assert_eq!(bench.world.calls().len(), 6);
    let wait = Some(Duration::from_secs(60));
    let throttled = ProviderError { retry_after: wait, ..error(Outcome::Throttled) };
    let throttled = throttled.with_status(429);
    bench.world.lock().rule_is(move |_| Answer::Fails(throttled.clone()));
    make_due(&bench, &invites, &[30, 20, 10]).await;
    // The first one's repeat begins the pause, whether this has it made or it was under way.
    let refused = bench.engine.refresh(invites[2].id).await.unwrap_err();
    assert!(matches!(refused, OperationError::LanePaused { .. }), "{refused}");
    bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let_pass(Duration::from_millis(200)).await;
    assert_eq!(bench.world.calls().len(), 7);
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
            let status = bench.status().await;
            (status.state == LaneState::Ready).then_some(())
        })
        .await;
    assert_eq!(bench.world.calls().len(), 5);
}

#[tokio::test]
async fn a_refusal_is_an_answer_too_and_ends_a_pause_step_by_step() {
    let mut answers = vec![error(Outcome::Rejected), error(Outcome::NotSent)];
    answers[1].cause = Cause::Transport;
    let world = World::new(move |_| answers.pop().map_or(Answer::Takes, Answer::Fails));
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Failed]);
    let status = bench.status().await;
    assert_eq!((status.state, status.until), (LaneState::Slowed, None));
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
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let waiting = bench.post("grace").await;
    let_pass(Duration::from_millis(100)).await;
    assert_eq!(bench.one(waiting).await.state.status(), Status::Queued);
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
            let status = bench.status().await;
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
    let status = async || bench.status().await;
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
    let status = bench.status().await;
    assert_eq!(status.state, LaneState::Ready);
    assert_eq!(bench.one(waiting).await.state.status(), Status::Queued);
}

#[tokio::test]
async fn what_waits_for_the_rate_budget_goes_by_the_document_that_came_meanwhile() {
    let bench = start("max_batch = 1\nrequests_per_second = 0.001", World::new(|_| Answer::Takes));
    let bench = bench.await;
    let first = bench.post("ada").await;
    bench.until(first, ENDS).await;
    let waiting = bench.post("grace").await;
    let_pass(Duration::from_millis(50)).await;
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
    let gate = Arc::new(Notify::new());
    let world = beside_company(&gate, || Answer::Takes);
    let bench = start(limits, world).await;
    let company = bench.post("company").await;
    bench.until(company, &[Status::Sending]).await;
    let batch = bench.post("ada").await;
    bench.live.swap(configuration(&bench.world, limits, 2));
    bench.until(batch, ENDS).await;
    gate.notify_one();
    assert_eq!(bench.revisions(batch).await, [2]);
}
