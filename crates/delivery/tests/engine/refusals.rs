//! What a refusal that is learnt only by a look-up means for the invites of the call.

use invite_core::{Fault, ItemFault, Outcome, ProviderError, Status};

use super::{Answer, ENDS, QUICK, World, error, start};

/// A refusal that names these places of the call.
fn naming(places: &[usize]) -> ProviderError {
    let item = |index: &usize| ItemFault { index: *index, fault: Fault::new("", "rejected", "no") };
    ProviderError { items: places.iter().map(item).collect(), ..error(Outcome::Rejected) }
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
