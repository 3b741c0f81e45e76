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
async fn unknown(effects: &[&str]) -> (Bench, InviteRecord) {
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let patient = Settings { settle: Duration::from_secs(3600), ..settings() };
    let retry = "max_batch = 1\nretry = { first = \"1h\", max = \"1h\" }";
    let bench = start_with(patient, retry, world).await;
    let batch = bench.post("ada").await;
    let invite = bench
        .eventually("the first look-up", async || {
            let invite = bench.one(batch).await;
            (invite.state.lookups == 1).then_some(invite)
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
    assert_eq!((state.status, state.provider_ref.as_deref()), (Status::Pending, Some("id-7")));
    assert_eq!(state.source, invite_core::StatusSource::Caller);
    assert!(!state.duplicate_effect);
    let page = bench.store.attempts(invite.id, None, 10, false).await.unwrap();
    let asked: Vec<_> = page.attempts.iter().map(|attempt| attempt.operation.as_str()).collect();
    assert_eq!(asked, ["create", "reconcile", "reconcile"]);
    let first = page.attempts[1].detail.as_deref().unwrap_or_default();
    assert!(first.starts_with("cannot tell"), "it says what it showed: {first}");
}

#[tokio::test]
async fn what_a_person_found_stays_without_an_id_where_the_provider_shows_several_or_none() {
    for effects in [&["id-7", "id-8"][..], &[]] {
        let (bench, invite) = unknown(effects).await;
        let found = bench.engine.set_status(invite.id, Status::Pending).await.unwrap();
        assert_eq!((found.state.status, found.state.provider_ref), (Status::Pending, None));
    }
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
        reason.map(|reason| reason["detail"].as_str().unwrap().to_owned())
    };
    for tenant in [None, Some("default")] {
        let detail = told(tenant).await.unwrap();
        assert!(detail.contains(&first.id.to_string()), "{detail}");
    }
    assert_eq!(told(Some("other")).await, None);
    assert_eq!(bench.engine.waits_for(&first, None).await.unwrap(), None);
}
