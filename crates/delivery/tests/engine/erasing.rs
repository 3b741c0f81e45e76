//! Erasing a person beside everything else that goes on, and retention.

use invite_core::Address;
use invite_delivery::{LeftReason, OperationError};

use super::*;

fn address(name: &str) -> Address {
    format!("{name}@example.org").parse().unwrap()
}

#[tokio::test]
async fn a_reply_that_comes_after_its_person_was_erased_brings_nothing_back() {
    let slow = Arc::new(Notify::new());
    let gate = slow.clone();
    let world = World::new(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    world.lock().is_blind = true;
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    let invite = bench.lose_sender_of(batch).await;
    let erasure = bench.engine.erase(&address("ada"), true).await.unwrap();
    assert_eq!((erasure.erased.invites, erasure.left[0].reason), (0, LeftReason::NotWithdrawn));
    bench.engine.set_status(invite.id, Status::Failed).await.unwrap();
    let erasure = bench.engine.erase(&address("ada"), false).await.unwrap();
    assert_eq!((erasure.erased.invites, erasure.left.len()), (1, 0));
    assert!(erasure.is_cleaned);
    slow.notify_one();
    let attempt = bench
        .eventually("the late reply", async || {
            let attempts = bench.store.attempts(invite.id, None, 100, true).await.unwrap().attempts;
            let create =
                attempts.into_iter().find(|attempt| attempt.operation == Operation::Create);
            create.filter(|create| create.outcome == Some(AttemptOutcome::Succeeded))
        })
        .await;
    assert!(attempt.call.is_none() && attempt.reply.is_none() && attempt.target.is_none());
    let after = bench.one(batch).await;
    assert!(after.is_erased && after.address.is_none());
    assert_eq!((after.state.status(), after.state.provider_ref), (Status::Failed, None));
    assert!(after.state.provider_data.is_empty());
}

#[tokio::test]
async fn nothing_is_asked_or_changed_about_an_erased_invite() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Rejected)));
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Failed]).await;
    bench.engine.erase(&address("ada"), false).await.unwrap();
    let id = bench.one(batch).await.id;
    for risk in [false, true] {
        let retried = bench.engine.retry(id, risk, Vec::new()).await;
        assert!(matches!(retried, Err(OperationError::Erased)), "{retried:?}");
    }
    let set = bench.engine.set_status(id, Status::Accepted).await;
    assert!(matches!(set, Err(OperationError::Erased)), "{set:?}");
    let revoked = bench.engine.revoke(id, true).await;
    assert!(matches!(revoked, Err(OperationError::AlreadyFinal { .. })), "{revoked:?}");
    assert!(bench.engine.refresh(id).await.unwrap().is_erased);
    for dry_run in [true, false] {
        let redriven = bench.engine.redrive(Default::default(), dry_run, &[]).await.unwrap();
        assert_eq!(redriven.matched, 0);
    }
    assert_eq!(bench.world.calls(), ["ada"]);
}

#[tokio::test]
async fn what_is_queued_is_withdrawn_and_erased_and_what_is_under_way_is_named() {
    let slow = Arc::new(Notify::new());
    let gate = slow.clone();
    let world = World::new(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1", world).await;
    let first = bench.post_at("here", "ada").await;
    bench.until(first, &[Status::Sending]).await;
    let second = bench.post_at("there", "ada").await;
    let left = bench.engine.erase(&address("ada"), false).await.unwrap();
    assert_eq!((left.erased.invites, left.withdrawn, left.left.len()), (0, 0, 2));
    assert!(left.left.iter().all(|left| left.reason == LeftReason::Live));

    let erasure = bench.engine.erase(&address("ada"), true).await.unwrap();
    assert_eq!((erasure.erased.invites, erasure.withdrawn), (1, 1));
    let under_way = bench.one(first).await.id.to_string();
    let left: Vec<_> = erasure.left.iter().map(|left| (&left.id, left.reason)).collect();
    assert_eq!(left, [(&under_way, LeftReason::NotWithdrawn)]);
    let withdrawn = bench.one(second).await;
    assert!(withdrawn.is_erased);
    assert_eq!(withdrawn.state.status(), Status::Revoked);
    slow.notify_one();
    bench.until(first, &[Status::Pending]).await;
    assert_eq!(bench.world.calls(), ["ada"]);
}

#[tokio::test]
async fn an_erase_beside_new_invites_leaves_none_half_erased() {
    let world = World::new(|_| Answer::Fails(error(Outcome::Rejected)));
    let bench = start(&format!("max_batch = 1\nmax_in_flight = 8\n{QUICK}"), world).await;
    let post = async {
        let mut batches = Vec::new();
        for n in 0..30 {
            batches.push(bench.post_at(&format!("place-{n}"), "ada").await);
        }
        batches
    };
    let erase = async {
        for _ in 0..10 {
            bench.engine.erase(&address("ada"), true).await.unwrap();
        }
    };
    let (batches, ()) = tokio::join!(post, erase);
    for batch in &batches {
        bench.until(*batch, &[Status::Failed, Status::Revoked]).await;
    }
    let erasure = bench.engine.erase(&address("ada"), true).await.unwrap();
    assert!(erasure.left.is_empty(), "{:?}", erasure.left);
    for batch in batches {
        let invite = bench.one(batch).await;
        assert!(invite.is_erased && invite.address.is_none() && invite.invitee.email.is_empty());
        let attempts = bench.store.attempts(invite.id, None, 100, true).await.unwrap().attempts;
        assert!(attempts.iter().all(|attempt| attempt.call.is_none() && attempt.reply.is_none()));
    }
}

#[tokio::test]
async fn what_is_past_its_retention_goes_by_itself_and_live_invites_stay() {
    let world = World::new(|to| match to[0].starts_with("bad") {
        true => Answer::Fails(error(Outcome::Rejected)),
        false => Answer::Takes,
    });
    let retention = Retention {
        bodies: Some(Duration::ZERO),
        person: Some(Duration::from_millis(100)),
        row: Some(Duration::from_millis(200)),
        audit: None,
        events: None,
    };
    let bench =
        start_with(Settings { retention, ..settings() }, &format!("max_batch = 1\n{QUICK}"), world)
            .await;
    let (bad, good) = (bench.post("bad").await, bench.post("ada").await);
    bench.until(good, &[Status::Pending]).await;
    bench
        .eventually("the failed one to be removed", async || {
            bench.invites(bad).await.is_empty().then_some(())
        })
        .await;
    let removed = bench.store.removed_counts().await.unwrap();
    assert_eq!(removed[&("fake".to_owned(), Status::Failed)], 1);
    assert!(bench.one(good).await.address.is_some());
}
