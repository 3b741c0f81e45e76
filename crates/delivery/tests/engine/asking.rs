//! What a person asks for: how long they are kept waiting, and what their word is taken for.

use invite_delivery::OperationError;

use super::*;

#[tokio::test]
async fn a_person_is_not_kept_waiting_for_a_rate_budget_that_is_used_up() {
    let bench = start("requests_per_second = 0.01", World::new(|_| Answer::Takes)).await;
    bench.engine.probe("fake").await.unwrap();
    tokio::time::pause();
    let refused = bench.engine.probe("fake").await.unwrap_err();
    assert!(matches!(refused, OperationError::Busy { .. }), "{refused}");
}

/// An invite to ada that nothing is known of for now, on a provider that shows these effects.
pub(super) async fn unknown(effects: &[&str]) -> (Bench, InviteRecord) {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let patient = Settings { settle: Duration::from_secs(3600), ..settings() };
    let retry = "max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }";
    let bench = start_with(patient, retry, world).await;
    let batch = bench.post("ada").await;
    let invite = bench
        .eventually("the first look-up", async || {
            let invite = bench.one(batch).await;
            (lookups(&invite) == 1).then_some(invite)
        })
        .await;
    let shown = effects.iter().map(|id| ("ada@example.org".to_owned(), (*id).to_owned()));
    bench.world.lock().effects.extend(shown);
    (bench, invite)
}

#[tokio::test]
async fn what_a_person_found_is_held_where_the_provider_shows_one_that_nobody_holds() {
    let (bench, invite) = unknown(&["id-7"]).await;
    let found = bench.engine.set_status(invite.id, Status::Pending).await.unwrap();
    let state = &found.state;
    assert_eq!((state.status(), state.provider_ref.as_deref()), (Status::Pending, Some("id-7")));
    assert_eq!(state.source, invite_core::StatusSource::Caller);
    assert!(!state.duplicate_effect);
    let page = bench.store.attempts(invite.id, None, 10, false).await.unwrap();
    let asked: Vec<_> = page.attempts.iter().map(|attempt| attempt.operation.as_str()).collect();
    assert_eq!(asked, ["create", "reconcile", "reconcile"]);
    let said: Vec<_> = page.attempts[1..].iter().map(|a| a.detail.as_deref().unwrap()).collect();
    assert_eq!(
        said,
        ["cannot tell: the fake shows nothing", "taken for the one that a person found: id-7"]
    );
}

#[tokio::test]
async fn what_a_person_found_stays_without_an_id_where_the_provider_shows_several_or_none() {
    for effects in [&["id-7", "id-8"][..], &[]] {
        let (bench, invite) = unknown(effects).await;
        let found = bench.engine.set_status(invite.id, Status::Pending).await.unwrap();
        assert_eq!((found.state.status(), found.state.provider_ref), (Status::Pending, None));
        let said = bench.looks(invite.id).await.pop().unwrap().1;
        assert!(effects.iter().all(|id| said.contains(id)), "{said}");
    }
}

#[tokio::test]
async fn what_a_person_found_is_not_said_of_another_call_that_is_in_doubt_by_then() {
    let (bench, invite) = unknown(&["id-7"]).await;
    let gate = Arc::new(Notify::new());
    bench.world.lock().lookup_waits_for = Some(gate.clone());
    let settling = bench.engine.set_status(invite.id, Status::Pending);
    let meanwhile = async {
        let asked = async || (bench.world.lock().lookups == 2).then_some(());
        bench.eventually("the look-up of what was found", asked).await;
        // It is found absent, and the next call comes into doubt, too.
        let again = Change::of(vec![invite.id], |_, _, state, _| {
            let Phase::Unknown(unknown) = &mut state.phase else { return Decision::Abort };
            unknown.holder = invite_core::AttemptId::generate();
            Decision::Write
        });
        bench.store.change(again).await.unwrap();
        gate.notify_one();
    };
    let settled = futures::future::join(settling, meanwhile).await.0;
    assert!(matches!(settled, Err(OperationError::NotSettled { .. })), "{settled:?}");
    let now = bench.store.invite(invite.id).await.unwrap().unwrap();
    assert_eq!(now.state.status(), Status::Unknown);
}

#[tokio::test]
async fn what_another_invite_holds_is_not_what_a_person_found() {
    let (bench, invite) = unknown(&["id-7"]).await;
    let other = bench.post_at("here", "grace").await;
    let other = bench.one(other).await;
    let hold = Change::of(vec![other.id], |_, _, state, _| {
        state.provider_ref = Some("id-7".into());
        Decision::Write
    });
    bench.store.change(hold).await.unwrap();
    let found = bench.engine.set_status(invite.id, Status::Pending).await.unwrap();
    assert_eq!(found.state.provider_ref, None);
}

#[tokio::test]
async fn a_queued_invite_says_for_which_other_one_it_waits_to_whoever_may_see_that() {
    let (bench, first) = unknown(&[]).await;
    let second = bench.post("ada").await;
    let second = bench.one(second).await;
    let told = async |tenant| {
        let reason = bench.engine.waits_for(&second, tenant).await.unwrap();
        reason.map(|reason| reason.detail)
    };
    for tenant in [None, Some("default")] {
        let detail = told(tenant).await.unwrap();
        assert!(detail.contains(&first.id.to_string()), "{detail}");
    }
    let detail = told(Some("other")).await.unwrap();
    assert!(detail.contains("another invite") && !detail.contains("inv_"), "{detail}");
    assert_eq!(bench.engine.waits_for(&first, None).await.unwrap(), None);
}

#[tokio::test]
async fn an_invite_that_was_claimed_since_it_was_read_does_not_wait_for_itself() {
    let (bench, invite) = unknown(&[]).await;
    let mut as_read = invite.clone();
    as_read.state.phase = Phase::Queued { next_attempt_at: None };
    assert_eq!(bench.engine.waits_for(&as_read, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_persons_word_lets_another_invite_to_the_person_go_at_once() {
    let (bench, first) = unknown(&[]).await;
    let waiting = bench.post("ada").await;
    bench.world.lock().rule_is(|_| Answer::Takes);
    // The lane has found nothing to send, and rests.
    let_pass(Duration::from_millis(100)).await;
    let began = Instant::now();
    bench.engine.set_status(first.id, Status::Failed).await.unwrap();
    assert_eq!(bench.until(waiting, ENDS).await, [Status::Pending]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn thousands_that_wait_for_somebody_in_doubt_hold_up_nobody_and_are_not_forgotten() {
    let (bench, first) = unknown(&[]).await;
    let waiting = bench.post(&["ada"; 3000].join(" ")).await;
    bench.world.lock().rule_is(|_| Answer::Takes);
    for name in ["bob", "cyd", "dan"] {
        let batch = bench.post(name).await;
        assert_eq!(bench.until(batch, ENDS).await, [Status::Pending]);
    }
    let sent = || bench.world.calls().iter().filter(|name| *name == "ada").count();
    assert_eq!(sent(), 1);
    bench.engine.set_status(first.id, Status::Failed).await.unwrap();
    bench.eventually("some of them to go", async || (sent() > 3).then_some(())).await;
    let went = bench.invites(waiting).await;
    assert!(went.iter().any(|invite| invite.state.status() == Status::Pending));
}

#[tokio::test]
async fn a_withdrawal_that_was_surely_not_made_is_not_why_an_invite_is_gone() {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    for (outcome, sent) in [
        (Outcome::NotSent, false),
        (Outcome::Throttled, false),
        (Outcome::Rejected, false),
        (Outcome::Unknown, true),
        // The one before may still have been made.
        (Outcome::Rejected, true),
    ] {
        let batch = bench.post_at("here", "ada").await;
        bench.until(batch, &[Status::Pending]).await;
        let first = bench.one(batch).await.id;
        if (outcome, sent) == (Outcome::Rejected, true) {
            let mark =
                Change::of(vec![first], |_, _, state, _| transition::expect_withdrawal(state));
            bench.store.change(mark).await.unwrap();
        }
        bench.world.lock().refusal = Some(error(outcome));
        assert!(bench.engine.revoke(first, false).await.is_err());
        assert_eq!(bench.one(batch).await.state.revoke_sent, sent, "{outcome}");
    }
}

#[tokio::test]
async fn a_withdrawal_is_told_of_an_earlier_one_but_not_of_itself() {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let id = bench.one(batch).await.id;
    // The first is surely not made, and nobody knows of the second.
    for outcome in [Outcome::NotSent, Outcome::Unknown, Outcome::Rejected] {
        bench.world.lock().refusal = Some(error(outcome));
        assert!(bench.engine.revoke(id, false).await.is_err());
    }
    assert_eq!(bench.world.lock().withdrawals, [false, false, true]);
}

#[tokio::test]
async fn that_a_withdrawal_is_being_made_is_known_before_it_leaves_and_to_another_one() {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let id = bench.one(batch).await.id;
    let gate = Arc::new(Notify::new());
    bench.world.lock().withdrawal_waits_for = Some(gate.clone());
    let first = bench.engine.revoke(id, false);
    let meanwhile = async {
        let asked = async || (bench.world.lock().withdrawals.len() == 1).then_some(());
        bench.eventually("the call to withdraw it", asked).await;
        // A sender that were lost now would leave this behind.
        assert!(bench.one(batch).await.state.revoke_sent);
        assert!(bench.engine.revoke(id, false).await.is_err());
        gate.notify_one();
    };
    assert!(futures::future::join(first, meanwhile).await.0.is_err());
    assert_eq!(bench.world.lock().withdrawals, [false, true]);
}

#[tokio::test]
async fn a_withdrawal_that_was_not_made_does_not_make_another_one_forgotten() {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let id = bench.one(batch).await.id;
    let gate = Arc::new(Notify::new());
    bench.world.lock().withdrawal_waits_for = Some(gate.clone());
    let first = bench.engine.revoke(id, false);
    let meanwhile = async {
        let asked = async || (bench.world.lock().withdrawals.len() == 1).then_some(());
        bench.eventually("the call to withdraw it", asked).await;
        // Nobody knows whether the second one took effect, while the first one is refused.
        assert!(bench.engine.revoke(id, false).await.is_err());
        bench.world.lock().refusal = Some(error(Outcome::Throttled));
        gate.notify_one();
    };
    assert!(futures::future::join(first, meanwhile).await.0.is_err());
    assert!(bench.one(batch).await.state.revoke_sent);
}

#[tokio::test]
async fn an_invite_that_is_shown_under_anothers_id_is_asked_about_after_the_others() {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Pending]).await;
    let [ada, grace] = [0, 1].map(async |i| bench.invites(batch).await.remove(i));
    let (ada, grace) = (ada.await, grace.await);
    let held = |invite: &InviteRecord| invite.state.provider_ref.clone().unwrap();
    bench.world.lock().shown_for.insert(held(&ada), held(&grace));
    let asked = bench.engine.refresh(ada.id).await.unwrap();
    assert_eq!(asked.state.provider_ref, ada.state.provider_ref);
    assert!(asked.state.checked_at > ada.state.checked_at);
}

#[tokio::test]
async fn a_list_settles_nothing_that_it_shows_for_somebody_else_or_in_other_words() {
    let world = World::new(|_| Answer::Takes);
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let shown = Arc::new(Notify::new());
    {
        let mut world = world.lock();
        world.question_waits_for = Some(shown.clone());
        // Paired by order and wrongly so: what is accepted there is another person's.
        world.shown_as.insert("id-0".into(), "grace@example.org".into());
        world.states.insert("id-0".into(), [Status::Pending, Status::Accepted]);
        // Only whoever knows of the withdrawal reads this word as one.
        world.states.insert("id-1".into(), [Status::Revoked, Status::Declined]);
        world.states.insert("id-2".into(), [Status::Pending, Status::Accepted]);
        // Without an address it may be another person's as well.
        world.shown_as.insert("id-3".into(), String::new());
        world.states.insert("id-3".into(), [Status::Pending, Status::Accepted]);
    }
    let bench = start_with(refreshed, "max_batch = 4", world).await;
    let withdraw = {
        let batch = bench.post("ada grace barbara joan").await;
        bench.until(batch, &[Status::Pending]).await;
        batch
    };
    // It is withdrawn while the provider is asked for the list.
    until_asked(&bench).await;
    let second = bench.invites(withdraw).await[1].id;
    let mark = Change::of(vec![second], |_, _, state, _| {
        state.revoke_sent = true;
        Decision::Write
    });
    bench.store.change(mark).await.unwrap();
    shown.notify_one();
    let statuses = bench
        .eventually("the list to be read", async || {
            let all: Vec<_> =
                bench.invites(withdraw).await.iter().map(|i| i.state.status()).collect();
            (all[1] != Status::Pending && all[2] != Status::Pending).then_some(all)
        })
        .await;
    let expected = [Status::Pending, Status::Revoked, Status::Accepted, Status::Pending];
    assert_eq!(statuses, expected);
}

/// Until the question has come that waits for its answer.
async fn until_asked(bench: &Bench) {
    let asked = async || bench.world.lock().question_waits_for.is_none().then_some(());
    bench.eventually("a question", asked).await;
}

#[tokio::test]
async fn what_is_withdrawn_while_it_is_asked_about_is_not_told_by_that_question() {
    let world = World::new(|_| Answer::Takes);
    let bench = start("max_batch = 1", world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let answered = Arc::new(Notify::new());
    {
        let mut world = bench.world.lock();
        world.question_waits_for = Some(answered.clone());
        world.states.insert("id-0".into(), [Status::Declined; 2]);
    }
    let invite = bench.one(batch).await.id;
    let engine = bench.engine.clone();
    let asking = tokio::spawn(async move { engine.refresh(invite).await });
    until_asked(&bench).await;
    let mark = Change::of(vec![invite], |_, _, state, _| {
        state.revoke_sent = true;
        Decision::Write
    });
    bench.store.change(mark).await.unwrap();
    answered.notify_one();
    assert_eq!(asking.await.unwrap().unwrap().state.status(), Status::Pending);
}

#[tokio::test]
async fn whoever_asks_about_an_unknown_invite_gets_what_the_look_up_found() {
    let (bench, invite) = unknown(&[]).await;
    let looks = bench.world.lock().lookups;
    let asked = bench.engine.refresh(invite.id).await.unwrap();
    assert!(bench.world.lock().lookups > looks, "it was asked before the answer");
    assert!(asked.state.checked_at > invite.state.checked_at);
    assert_eq!(asked.state.status(), Status::Unknown);
}

#[tokio::test]
async fn nobody_is_told_that_a_paused_destination_was_asked() {
    let (bench, invite) = unknown(&[]).await;
    let wait = Some(Duration::from_secs(60));
    let throttled = ProviderError { retry_after: wait, ..error(Outcome::Throttled) };
    bench.world.lock().rule_is(move |_| Answer::Fails(throttled.clone().with_status(429)));
    let other = bench.post_at("here", "grace").await;
    bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    let looks = bench.world.lock().lookups;
    let refused = bench.engine.refresh(invite.id).await.unwrap_err();
    let OperationError::LanePaused { wait, .. } = &refused else { panic!("{refused}") };
    assert!(*wait > Duration::from_secs(50), "{wait:?}");
    assert_eq!(bench.world.lock().lookups, looks);
    // The lane pauses before what became of its call is stored.
    bench.until(other, &[Status::Queued]).await;
}
