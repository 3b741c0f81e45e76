//! What is heard of a call after somebody gave up waiting for it.

use super::*;

/// A world whose first call is answered when the gate opens, and whose others take effect.
fn first_after(gate: &Arc<Notify>, answer: Answer) -> World {
    let mut first = Some(Answer::After(gate.clone(), Box::new(answer)));
    let world = World::new(move |_| first.take().unwrap_or(Answer::Takes));
    world.lock().is_blind = true;
    world
}

/// One call at a time: while the first is under way, what is queued stays so.
const ALONE: &str =
    "max_batch = 1\nmax_in_flight = 1\nretry = { first = \"20ms\", max = \"40ms\" }";

#[tokio::test]
async fn a_person_who_found_an_unknown_invite_hears_no_alarm_when_it_is_heard_of_later() {
    let slow = Arc::new(Notify::new());
    let gate = slow.clone();
    let world = World::new(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    world.lock().is_blind = true;
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    bench.engine.set_status(invite.id, Status::Pending).await.unwrap();
    slow.notify_one();
    let state = bench
        .eventually("the late reply", async || {
            let state = bench.one(batch).await.state;
            (state.provider_ref.is_some() || state.duplicate_effect).then_some(state)
        })
        .await;
    assert!(!state.duplicate_effect);
    assert_eq!((state.status(), state.provider_ref.as_deref()), (Status::Pending, Some("id-0")));
}

#[tokio::test]
async fn a_second_effect_after_a_retry_at_a_persons_risk_is_reported() {
    let slow = Arc::new(Notify::new());
    let gate = slow.clone();
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        match calls {
            1 => Answer::After(
                gate.clone(),
                Box::new(Answer::TakesButFails(error(Outcome::Unknown))),
            ),
            _ => Answer::Takes,
        }
    });
    world.lock().is_blind = true;
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let bench = start_with(refreshed, &format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    bench.engine.retry(invite.id, true, Vec::new()).await.unwrap();
    bench.until(batch, &[Status::Pending]).await;
    slow.notify_one();
    let state = bench
        .eventually("the second effect to be reported", async || {
            let state = bench.one(batch).await.state;
            state.duplicate_effect.then_some(state)
        })
        .await;
    assert_eq!(state.provider_ref.as_deref(), Some("id-0"));
    assert_eq!(state.second_effects, ["id-1"]);
    let told = "a second effect is there: id-1".to_owned();
    assert!(bench.looks(invite.id).await.contains(&(AttemptOutcome::Succeeded, told)));
}

#[tokio::test]
async fn what_turns_out_to_be_worked_on_is_not_sent_again() {
    let gate = Arc::new(Notify::new());
    let bench = start(ALONE, first_after(&gate, Answer::Works)).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    bench.engine.retry(invite.id, true, Vec::new()).await.unwrap();
    assert_eq!(bench.one(batch).await.state.status(), Status::Queued);
    gate.notify_one();
    bench.until(batch, &[Status::Unknown]).await;
    assert_eq!(bench.one(batch).await.state.holder(), invite.state.holder());
    // Others go on, and it still is not sent.
    let other = bench.post("grace").await;
    bench.until(other, ENDS).await;
    assert_eq!(bench.world.calls(), ["ada", "grace"]);
}

impl Bench {
    /// Has another invite to this person be `sending`, by a call that is nowhere.
    async fn bring_another_into_doubt(&self, person: &str) {
        let batch = self.post(person).await;
        let id = self.one(batch).await.id;
        let claim = Change::of(vec![id], |_, _, state, now| {
            let holder = "att_00000000000000000000000000000001".parse().unwrap();
            transition::claim(state, holder, now + Duration::from_secs(60))
        });
        self.store.change(claim).await.unwrap();
    }
}

#[tokio::test]
async fn what_turns_out_to_be_worked_on_fails_beside_another_invite_that_is_in_doubt() {
    let gate = Arc::new(Notify::new());
    let bench = start(ALONE, first_after(&gate, Answer::Works)).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    bench.engine.retry(invite.id, true, Vec::new()).await.unwrap();
    bench.bring_another_into_doubt("ada").await;
    gate.notify_one();
    bench.until(batch, &[Status::Failed]).await;
    let detail = bench.one(batch).await.state.error.unwrap().detail;
    assert!(detail.contains("another invite to the same person"), "{detail}");
    assert_eq!(bench.world.calls(), ["ada"]);
}

#[tokio::test]
async fn of_a_call_that_is_worked_on_only_the_invite_whose_person_is_in_doubt_fails() {
    let gate = Arc::new(Notify::new());
    let limits = format!("max_batch = 2\nmax_in_flight = 1\n{QUICK}");
    let bench = start(&limits, first_after(&gate, Answer::Works)).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Sending]).await;
    let ids: Vec<_> = bench.invites(batch).await.iter().map(|invite| invite.id).collect();
    let lose = Change::of(ids.clone(), |_, _, state, now| {
        transition::lose_sender(state, state.holder().unwrap(), &sender_lost(), now)
    });
    bench.store.change(lose).await.unwrap();
    for id in &ids {
        bench.engine.retry(*id, true, Vec::new()).await.unwrap();
    }
    bench.bring_another_into_doubt("ada").await;
    gate.notify_one();
    let ends = bench.until(batch, &[Status::Failed, Status::Unknown]).await;
    assert_eq!(ends, [Status::Failed, Status::Unknown]);
    // It may have taken effect.
    let refused = bench.engine.retry(ids[0], false, Vec::new()).await.unwrap_err();
    assert!(matches!(refused, invite_delivery::OperationError::Risky), "{refused}");
    for dry_run in [true, false] {
        let redriven = bench.engine.redrive(Default::default(), dry_run, &[]).await.unwrap();
        assert_eq!((redriven.matched, redriven.left), (1, 1));
    }
}

#[tokio::test]
async fn an_earlier_call_that_is_told_by_its_bytes_is_read_as_a_whole() {
    let world = World::new(|to| match to.len() {
        1 => Answer::Takes,
        _ => Answer::Fails(error(Outcome::Unknown)),
    });
    world.lock().is_blind = true;
    world.lock().is_idempotent = true;
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let bench = start_with(refreshed, "max_batch = 2", world).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Unknown]).await;
    let [ada, grace] = [0, 1].map(async |i| bench.invites(batch).await.remove(i).id);
    let (ada, grace) = (ada.await, grace.await);
    bench.engine.retry(ada, true, Vec::new()).await.unwrap();
    let state = async |id| bench.store.invite(id).await.unwrap().unwrap().state;
    bench
        .eventually("ada to be sent again", async || {
            (state(ada).await.status() == Status::Pending).then_some(())
        })
        .await;
    bench.engine.set_status(grace, Status::Failed).await.unwrap();
    bench.world.lock().first_attempts.clear();
    let both = bench
        .eventually("a look for a second effect", async || {
            bench.world.lock().first_attempts.first().map(Vec::len)
        })
        .await;
    assert_eq!(both, 2);
    // What is there of the other one's is not hers.
    let mut effects = vec![("grace@example.org".to_owned(), "id-7".to_owned())];
    bench.world.lock().effects.append(&mut effects);
    let looks = bench.world.lock().lookups;
    bench
        .eventually("more looks", async || (bench.world.lock().lookups > looks + 1).then_some(()))
        .await;
    assert!(!state(ada).await.duplicate_effect);
    let mut effects = vec![("ada@example.org".to_owned(), "id-8".to_owned())];
    bench.world.lock().effects.append(&mut effects);
    bench
        .eventually("the second effect to be reported", async || {
            state(ada).await.duplicate_effect.then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_effect_after_a_person_found_none_is_kept_and_a_retry_sends_nothing() {
    let gate = Arc::new(Notify::new());
    let bench = start(ALONE, first_after(&gate, Answer::Takes)).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    bench.engine.set_status(invite.id, Status::Failed).await.unwrap();
    gate.notify_one();
    let state = bench
        .eventually("the late reply", async || {
            let state = bench.one(batch).await.state;
            state.provider_ref.is_some().then_some(state)
        })
        .await;
    assert_eq!((state.status(), state.duplicate_effect), (Status::Failed, false));
    let retried = bench.engine.retry(invite.id, false, Vec::new()).await.unwrap();
    assert_eq!(retried.state.status(), Status::Pending);
    assert_eq!(bench.world.calls(), ["ada"]);
}

#[tokio::test]
async fn a_reply_that_was_recorded_stays_when_the_follower_is_gone() {
    let Bench { engine, store, world, live, _folder } =
        start(ALONE, World::new(|_| Answer::Works)).await;
    world.lock().is_blind = true;
    let new = batch(vec![item("ada", "here", 0)]);
    let id = new.items[0].id;
    engine.accept(new).await.unwrap();
    let outcome = async || store.creates(id).await.unwrap().first()?.outcome;
    while outcome().await.is_none() {
        tokio::task::yield_now().await;
    }
    engine.shutdown().await;
    // The next process finds it `sending`.
    serve(&store, &live, &world, settings()).await;
    assert_eq!(store.invite(id).await.unwrap().unwrap().state.status(), Status::Unknown);
    assert_eq!(outcome().await, Some(AttemptOutcome::Succeeded));
}

#[tokio::test]
async fn what_may_be_the_one_that_a_person_found_is_no_second_effect() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let hour = Duration::from_secs(3600);
    let patient = Settings { refresh: Duration::from_millis(50), settle: hour, ..settings() };
    let limits = "max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }";
    let bench = start_with(patient, limits, world).await;
    let batch = bench.post("ada").await;
    bench
        .eventually("the first look-up", async || {
            (lookups(&bench.one(batch).await) == 1).then_some(())
        })
        .await;
    let id = bench.one(batch).await.id;
    let shown = ["id-7", "id-8"].map(|id| ("ada@example.org".to_owned(), id.to_owned()));
    bench.world.lock().effects.extend(shown);
    let again = Change::of(vec![id], |_, _, state, _| {
        state.attempt_count = 2;
        Decision::Write
    });
    bench.store.change(again).await.unwrap();
    bench.engine.set_status(id, Status::Pending).await.unwrap();
    for _ in 0..2 {
        let checked = bench.one(batch).await.state.checked_at;
        bench
            .eventually("a round of questions", async || {
                (bench.one(batch).await.state.checked_at > checked).then_some(())
            })
            .await;
    }
    let state = bench.one(batch).await.state;
    assert_eq!((state.provider_ref, state.duplicate_effect), (None, false));
    let looks = bench.looks(id).await;
    assert!(looks.iter().all(|(_, told)| !told.contains("second effect")), "{looks:?}");
}
