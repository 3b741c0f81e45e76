//! What the provider itself said of an effect is not overruled by look-ups that do not see it.

use super::*;

#[tokio::test]
async fn what_a_reply_named_is_never_sent_again_although_no_look_up_shows_it() {
    let world = World::new(|_| Answer::Names);
    let retry = "retry = { first = \"20ms\", max = \"40ms\", max_attempts = 2 }";
    let bench = start(&format!("max_batch = 4\n{retry}"), world).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Unknown]).await;
    // Far more than `settle` passes between them.
    bench.eventually("look-ups", async || (bench.world.lock().lookups > 20).then_some(())).await;
    assert_eq!(bench.until(batch, &[Status::Unknown]).await, [Status::Unknown; 2]);
    assert_eq!(bench.world.calls(), ["ada grace"]);
    let invite = bench.one(batch).await;
    let told = bench.looks(invite.id).await.pop().unwrap().1;
    assert!(told.contains("named id-0, id-1 that no Invite stands for"), "{told}");
}

#[tokio::test]
async fn the_last_id_that_a_reply_named_is_the_last_invites() {
    let world = World::new(|_| Answer::Names);
    let bench = start(&format!("max_batch = 4\n{QUICK}"), world).await;
    let batch = bench.post("ada grace").await;
    bench.until(batch, &[Status::Unknown]).await;
    let ada = bench.one(batch).await;
    // A person finds one of them, which is then not the other's.
    let found = Change::of(vec![ada.id], |_, _, state, now| {
        let seen = invite_core::Observed::new(Some("id-0".into()), Status::Pending);
        let holder = state.holder().unwrap();
        let effect = transition::Settlement::Exists(Box::new(seen));
        transition::settle(state, holder, &effect, now)
    });
    bench.store.change(found).await.unwrap();
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 2]);
    let grace = bench.invites(batch).await.remove(1);
    assert_eq!(grace.state.provider_ref.as_deref(), Some("id-1"));
    assert_eq!(bench.world.calls().len(), 1);
}

#[tokio::test]
async fn what_was_answered_with_success_never_fails_as_not_sent() {
    let unreadable = error(Outcome::Unknown).with_status(200);
    let world = World::new(move |_| Answer::Fails(unreadable.clone()));
    let retry = "retry = { first = \"20ms\", max = \"40ms\", max_attempts = 2 }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    let batch = bench.post("ada").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Failed]);
    let error = bench.one(batch).await.state.error.unwrap();
    assert_eq!((error.code, error.outcome), (ReasonCode::GivenUp, Outcome::Unknown));
}

#[tokio::test]
async fn bytes_that_are_refused_when_they_are_repeated_are_looked_up() {
    let mut answers = vec![Answer::TakesButFails(error(Outcome::Unknown))];
    let world =
        World::new(move |_| answers.pop().unwrap_or(Answer::Fails(error(Outcome::Rejected))));
    world.lock().is_idempotent = true;
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    let batch = bench.post("ada").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending]);
    assert_eq!((bench.world.calls().len(), bench.world.lock().lookups), (2, 1));
    assert_eq!(bench.looks(bench.one(batch).await.id).await.len(), 2);
}
