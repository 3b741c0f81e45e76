//! What a refusal means for the invites of the call: one of rights, one that is learnt only by a
//! look-up, and one that comes after the call waited for approval.

use invite_core::{
    AttemptOutcome, BatchId, Cause, Fault, ItemFault, Outcome, ProviderError, ReasonCode, Status,
};

use super::{Answer, Bench, ENDS, QUICK, World, error, refused, start};

/// A refusal that names these places of the call.
fn naming(places: &[usize]) -> ProviderError {
    let item = |index: &usize| ItemFault { index: *index, fault: Fault::new("", "rejected", "no") };
    ProviderError { items: places.iter().map(item).collect(), ..error(Outcome::Rejected) }
}

#[tokio::test]
async fn whoever_shares_an_unnamed_refusal_in_a_reply_that_shows_others_is_halved() {
    let mut calls = 0;
    let world = World::new(move |to| {
        calls += 1;
        match to.iter().any(|address| address.starts_with("bad")) {
            _ if calls == 1 => Answer::TakesBut(vec![1, 2, 3], error(Outcome::Rejected)),
            true => Answer::Fails(error(Outcome::Rejected)),
            false => Answer::Takes,
        }
    });
    let bench = start(QUICK, world).await;
    let batch = bench.post("ada bad barbara joan").await;
    let (pending, failed) = (Status::Pending, Status::Failed);
    assert_eq!(bench.until(batch, ENDS).await, [pending, failed, pending, pending]);
    for name in ["ada", "barbara", "joan"] {
        assert_eq!(bench.world.effects_of(name), 1, "{name}");
    }
}

#[tokio::test]
async fn of_a_reply_that_shows_others_whoever_is_refused_alone_or_by_name_fails() {
    for refusal in [error(Outcome::Rejected), naming(&[1])] {
        let mut first = Some(Answer::TakesBut(vec![1], refusal));
        let world = World::new(move |_| first.take().unwrap_or(Answer::Takes));
        let bench = start(QUICK, world).await;
        let batch = bench.post("ada grace barbara").await;
        let (pending, failed) = (Status::Pending, Status::Failed);
        assert_eq!(bench.until(batch, ENDS).await, [pending, failed, pending]);
        assert_eq!(bench.world.calls().len(), 1);
    }
}

/// A world whose first call has no effect and no answer; look-ups find that it ended like this.
fn ending(refusal: ProviderError) -> World {
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        if calls == 1 { Answer::Fails(error(Outcome::Unknown)) } else { Answer::Takes }
    });
    world.lock().ended = Some(refusal);
    world
}

#[tokio::test]
async fn everybody_whom_a_refusal_found_later_names_fails_and_nobody_is_sent_again() {
    let bench = start(QUICK, ending(naming(&[0, 1, 2, 3]))).await;
    let batch = bench.post("ada grace barbara joan").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Failed; 4]);
    assert_eq!(bench.world.calls(), ["ada grace barbara joan"]);
}

#[tokio::test]
async fn whom_a_refusal_found_later_does_not_name_is_sent_again() {
    let bench = start(QUICK, ending(naming(&[1]))).await;
    let batch = bench.post("ada grace barbara").await;
    let (pending, failed) = (Status::Pending, Status::Failed);
    assert_eq!(bench.until(batch, ENDS).await, [pending, failed, pending]);
    assert_eq!(bench.world.calls(), ["ada grace barbara", "ada barbara"]);
}

#[tokio::test]
async fn a_refusal_found_later_that_names_nobody_is_halved() {
    let bench = start(QUICK, ending(naming(&[]))).await;
    let batch = bench.post("ada grace barbara joan").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 4]);
    assert_eq!(bench.world.calls()[1..], ["ada grace", "barbara joan"]);
}

#[tokio::test]
async fn one_whom_the_provider_does_not_allow_fails_and_holds_up_nobody() {
    let world = World::new(|to| match to.iter().any(|address| address.starts_with("bad")) {
        true => Answer::Fails(refused(Cause::NotAuthorized)),
        false => Answer::Takes,
    });
    let bench = start(&format!("max_batch = 4\n{QUICK}"), world).await;
    let batch = bench.post("bad ada grace barbara").await;
    let (pending, failed) = (Status::Pending, Status::Failed);
    assert_eq!(bench.until(batch, ENDS).await, [failed, pending, pending, pending]);
    for name in ["ada", "grace", "barbara"] {
        assert_eq!(bench.world.effects_of(name), 1, "{name}");
    }
}

/// A call that waits for approval; of the next ones those that somebody bad is in are refused.
async fn awaiting_approval(names: &str) -> (Bench, BatchId) {
    let mut calls = 0;
    let world = World::new(move |to| {
        calls += 1;
        match to.iter().any(|address| address.starts_with("bad")) {
            _ if calls == 1 => Answer::AwaitsApproval,
            true => Answer::Fails(error(Outcome::Rejected)),
            false => Answer::Takes,
        }
    });
    let bench = start(&format!("max_batch = 4\n{QUICK}"), world).await;
    let batch = bench.post(names).await;
    bench.until(batch, &[Status::AwaitingApproval]).await;
    (bench, batch)
}

/// A call that waited for approval and then ended without effect and with this refusal, each of its
/// invites having been asked about.
async fn ended_after_approval(names: &str, refusal: ProviderError) -> (Bench, BatchId) {
    let (bench, batch) = awaiting_approval(names).await;
    bench.world.lock().ended = Some(refusal);
    for invite in bench.invites(batch).await {
        bench.engine.refresh(invite.id).await.unwrap();
    }
    (bench, batch)
}

#[tokio::test]
async fn whom_a_refusal_after_approval_names_fails_and_the_others_go_again() {
    let (bench, batch) = ended_after_approval("ada grace barbara", naming(&[1])).await;
    let (pending, failed) = (Status::Pending, Status::Failed);
    assert_eq!(bench.until(batch, ENDS).await, [pending, failed, pending]);
    let reason = bench.invites(batch).await.remove(1).state.error.unwrap();
    let told = (reason.code, reason.provider.as_deref());
    assert_eq!(told, (ReasonCode::ProviderRejected, Some("fake")));
    assert!(bench.world.calls()[1..].iter().all(|call| !call.contains("grace")));
}

#[tokio::test]
async fn a_refusal_after_approval_that_names_nobody_is_halved() {
    let (bench, batch) = ended_after_approval("ada grace bad joan", naming(&[])).await;
    let (pending, failed) = (Status::Pending, Status::Failed);
    assert_eq!(bench.until(batch, ENDS).await, [pending, pending, failed, pending]);
    let mut again = bench.world.calls().split_off(1);
    again.sort();
    // Once more, unless whom it shared a refused call with was heard of before it.
    again.dedup();
    assert_eq!(again, ["ada grace", "bad", "bad joan", "joan"]);
}

#[tokio::test]
async fn of_a_call_refused_after_approval_whoever_exists_for_all_that_is_not_sent_again() {
    let (bench, batch) = awaiting_approval("ada grace barbara joan").await;
    {
        let mut world = bench.world.lock();
        world.ended = Some(naming(&[]));
        world.effects.push(("grace@example.org".into(), "id-7".into()));
    }
    let first = bench.one(batch).await.id;
    bench.engine.refresh(first).await.unwrap();
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 4]);
    let mut again = bench.world.calls().split_off(1);
    again.sort();
    assert_eq!(again, ["ada", "barbara joan"]);
    assert_eq!(bench.world.effects_of("grace"), 1);
    let looks = bench.looks(first).await;
    let told = "3 of 4 ended without effect; 1 of 4 exists";
    assert_eq!(looks, [(AttemptOutcome::Succeeded, told.to_owned())]);
}

#[tokio::test]
async fn a_call_refused_after_approval_waits_on_while_nobody_says_what_became_of_the_others() {
    let (bench, batch) = awaiting_approval("ada grace").await;
    let first = bench.one(batch).await.id;
    {
        let mut world = bench.world.lock();
        world.ended = Some(naming(&[]));
        world.lookups_fail = Some(error(Outcome::Unknown));
    }
    let asked = bench.engine.refresh(first).await.unwrap();
    assert_eq!(asked.state.status(), Status::AwaitingApproval);
    bench.world.lock().lookups_fail = None;
    bench.engine.refresh(first).await.unwrap();
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 2]);
}

#[tokio::test]
async fn one_alone_whose_call_is_refused_after_approval_fails() {
    let (bench, batch) = ended_after_approval("ada", naming(&[])).await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Failed]);
    assert_eq!(bench.world.calls().len(), 1);
}
