//! Unknown invites whose call left no record that can be read.

use invite_core::AttemptId;

use super::*;

#[tokio::test]
async fn an_unknown_invite_without_a_record_of_its_call_is_left_to_a_person_and_holds_up_no_other()
{
    let world = World::new(|_| Answer::Fails(error(Outcome::Unknown)));
    world.lock().is_blind = true;
    let bench = start(QUICK, world).await;
    let (lost, other) = (bench.post_at("here", "ada").await, bench.post_at("there", "bob").await);
    bench.until(lost, &[Status::Unknown]).await;
    bench.until(other, &[Status::Unknown]).await;
    let id = bench.one(lost).await.id;
    let lose = Change::of(vec![id], |_, _, state, now| {
        // Due before the other, for ever.
        let unknown = in_doubt(state);
        unknown.holder = AttemptId::generate();
        unknown.next_attempt_at = now.checked_sub(Duration::from_secs(3600)).ok();
        Decision::Write
    });
    bench.store.change(lose).await.unwrap();
    bench.world.lock().effects.push(("bob@example.org".to_owned(), "id-7".to_owned()));
    bench.until(other, &[Status::Pending]).await;
    let state = bench
        .eventually("nothing more to be looked up", async || {
            let state = bench.one(lost).await.state;
            state.next_attempt_at().is_none().then_some(state)
        })
        .await;
    assert_eq!(state.status(), Status::Unknown);
    let detail = state.error.unwrap().detail;
    assert!(detail.contains("record in the database cannot be read"), "{detail}");
    let decided = bench.engine.set_status(id, Status::Failed).await.unwrap();
    assert_eq!(decided.state.status(), Status::Failed);
}
