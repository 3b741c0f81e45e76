//! Failed invites back in the queue: what stands in their way, one by one and by filter.

use invite_delivery::{OperationError, Redriven};
use invite_store::InviteFilter;

use super::*;

/// Refuses these people's first calls; the rest is for `then` to say.
fn refusing(times: usize, mut then: impl FnMut() -> Answer + Send + 'static) -> World {
    let mut calls = 0;
    World::new(move |_| {
        calls += 1;
        if calls <= times { Answer::Fails(error(Outcome::Rejected)) } else { then() }
    })
}

async fn failed(bench: &Bench, name: &str) -> InviteRecord {
    let batch = bench.post(name).await;
    bench.until(batch, &[Status::Failed]).await;
    bench.one(batch).await
}

#[tokio::test]
async fn a_retry_takes_no_room_that_the_backlog_does_not_have() {
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let world = refusing(1, move || Answer::After(closed.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\nmax_backlog = 1", world).await;
    let ada = failed(&bench, "ada").await;
    // A call that is under way has left the backlog, which a status may show a moment earlier.
    let calls = async |count| {
        let are_made = async || (bench.world.lock().asked.len() == count).then_some(());
        bench.eventually("the calls are made", are_made).await;
    };
    let under_way = bench.post("bob").await;
    calls(2).await;
    let waiting = bench.post("eve").await;
    let refused = bench.engine.retry(ada.id, false, Vec::new()).await.unwrap_err();
    let full = matches!(refused, OperationError::NoRoom(AcceptError::BacklogFull { .. }));
    assert!(full, "{refused}");
    gate.notify_one();
    bench.until(under_way, ENDS).await;
    calls(3).await;
    assert_eq!(bench.one(waiting).await.state.status(), Status::Sending);
    assert_eq!(
        bench.engine.retry(ada.id, false, Vec::new()).await.unwrap().state.status(),
        Status::Queued
    );
}

#[tokio::test]
async fn a_retry_keeps_the_quota_and_leaves_the_backlog_as_it_was() {
    let world = refusing(1, || Answer::Takes);
    let bench = start("max_batch = 1\nmax_backlog = 1\nquota = 1", world).await;
    let ada = failed(&bench, "ada").await;
    let bob = bench.post("bob").await;
    bench.until(bob, &[Status::Pending]).await;
    for _ in 0..3 {
        let refused = bench.engine.retry(ada.id, false, Vec::new()).await.unwrap_err();
        let used_up = matches!(
            refused,
            OperationError::NoRoom(AcceptError::QuotaExceeded { quota: 1, room: 0, .. })
        );
        assert!(used_up, "{refused}");
    }
}

#[tokio::test]
async fn of_retries_for_one_person_at_once_one_goes_through() {
    let world = refusing(8, || Answer::Takes);
    let bench = start("max_batch = 1\nmax_in_flight = 1", world).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(failed(&bench, "ada").await.id);
    }
    let answers = join_all(ids.iter().map(|id| bench.engine.retry(*id, false, Vec::new()))).await;
    let queued = answers.iter().filter(|answer| answer.is_ok()).count();
    let duplicates =
        answers.iter().filter(|a| matches!(a, Err(OperationError::Duplicate { .. }))).count();
    assert_eq!((queued, duplicates), (1, 7), "{answers:?}");
}

#[tokio::test]
async fn redriving_queues_what_has_room_and_a_dry_run_says_so_before() {
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let world = refusing(6, move || Answer::After(closed.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\nquota = 6", world).await;
    let first = bench.post("a b c d e").await;
    bench.until(first, &[Status::Failed]).await;
    failed(&bench, "e").await;
    for name in ["x", "y", "z"] {
        bench.post(name).await;
    }
    let redrive = |dry_run| bench.engine.redrive(InviteFilter::default(), dry_run, &[]);
    // The quota leaves room for three. Of the two to one person the newer one goes.
    let wanted = Redriven { matched: 6, queued: 3, duplicates: 1, left: 2 };
    assert_eq!(redrive(true).await.unwrap(), wanted);
    assert_eq!(redrive(false).await.unwrap(), wanted);
    let statuses: Vec<_> =
        bench.invites(first).await.iter().map(|invite| invite.state.status()).collect();
    let (failed, queued) = (Status::Failed, Status::Queued);
    assert_eq!(statuses, [failed, failed, queued, queued, failed]);
    let again = Redriven { matched: 3, queued: 0, duplicates: 0, left: 3 };
    assert_eq!(redrive(true).await.unwrap(), again);
}

#[tokio::test]
async fn redriving_fills_the_backlog_and_no_more() {
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let world = refusing(5, move || Answer::After(closed.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\nmax_backlog = 2", world).await;
    for name in ["a", "b", "c", "d", "e"] {
        failed(&bench, name).await;
    }
    let under_way = bench.post("x").await;
    bench.until(under_way, &[Status::Sending]).await;
    let wanted = Redriven { matched: 5, queued: 2, duplicates: 0, left: 3 };
    assert_eq!(bench.engine.redrive(InviteFilter::default(), true, &[]).await.unwrap(), wanted);
    assert_eq!(bench.engine.redrive(InviteFilter::default(), false, &[]).await.unwrap(), wanted);
}
