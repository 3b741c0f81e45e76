//! What a refusal that is learnt only by a look-up means for the invites of the call.

use invite_core::{Fault, ItemFault, Outcome, ProviderError, Status};

use super::{Answer, ENDS, QUICK, World, error, start};

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
