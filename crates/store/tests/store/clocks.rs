//! What time it is for a store, whatever the machine's clock shows.

use std::{sync::Arc, time::Duration};

use invite_core::{Clock, ManualClock, Status, SystemClock, WrongClock};
use invite_store::{Acceptance, IdempotencyKey, Store};
use jiff::SignedDuration;

use crate::fixture::{
    Db, accept, batch, claim, due_anywhere, item, now, on_both, queue, set, set_status,
};
use crate::states::{phase, set_due};

on_both! {
    a_step_of_the_clock_ages_nothing,
    whoever_opens_a_database_goes_on_from_the_time_that_was_left,
}

const DAY: Duration = Duration::from_secs(86_400);

async fn open(db: &Db, machine: &WrongClock) -> Store {
    db.open_on(Arc::new(machine.clone())).await
}

fn key() -> IdempotencyKey {
    IdempotencyKey { key: "k".into(), body_hash: "h".into(), retention: DAY }
}

/// A store with an idempotency key whose batch has settled, an invite that expires tomorrow, one that
/// waits, one that is due, and one that is being sent.
async fn filled(store: &Store) {
    let mut request = batch(vec![item(0, "settled@example.org")]);
    request.idempotency = Some(key());
    accept(store, request.clone()).await;
    set_status(store, request.items[0].id, Status::Failed).await;
    let emails = ["open@example.org", "waits@example.org", "due@example.org", "sent@example.org"];
    let [open, waits, _, sending] = queue(store, emails).await;
    set(store, open, |state, now| {
        (state.phase, state.expires_at) = (phase(Status::Pending), Some(now + DAY));
    })
    .await;
    set(store, waits, |state, now| set_due(state, Some(now + Duration::from_secs(60)))).await;
    claim(store, sending).await;
}

/// Nothing in it is older than it is, and nothing has yet to wait for longer.
async fn assert_as_filled(store: &Store, case: &str) {
    assert_eq!(store.purge_idempotency(DAY).await.unwrap(), 0, "{case}");
    let known = store.find_idempotent("default", &key()).await.unwrap();
    assert!(matches!(known, Some(Acceptance::Replayed(_))), "{case}");
    assert_eq!(store.leases_over(false, 10).await.unwrap().len(), 0, "{case}");
    let now = store.clock().now();
    let count = |invites: Vec<_>| invites.len();
    assert_eq!(count(due_anywhere(store, now, 10).await), 1, "{case}: one is due");
    let soon = now + Duration::from_secs(61);
    assert_eq!(count(due_anywhere(store, soon, 10).await), 2, "{case}: one waits a minute");
    let long_ago = now - Duration::from_secs(3600);
    assert_eq!(count(store.queued_before("summit", long_ago, 10).await.unwrap()), 0, "{case}");
    assert_eq!(count(store.queued_before("summit", soon, 10).await.unwrap()), 2, "{case}");
    let counts = store.provider_counts().await.unwrap();
    assert_eq!(counts["summit"][&Status::Pending], 1, "{case}: it has not expired");
}

async fn a_step_of_the_clock_ages_nothing(db: &Db) {
    let machine = WrongClock::default();
    let store = open(db, &machine).await;
    filled(&store).await;
    for hours in [25, 0, -25, 9000, -9000] {
        machine.set(hours);
        assert_as_filled(&store, &format!("{hours} hours off")).await;
    }
    assert!(store.clock().wall() < now() - DAY * 300, "what it shows is told as it is");
}

async fn whoever_opens_a_database_goes_on_from_the_time_that_was_left(db: &Db) {
    let machine = WrongClock::default();
    let store = open(db, &machine).await;
    filled(&store).await;
    // On PostgreSQL the machine's clock has never mattered; on SQLite it is set while the gateway runs,
    // and is set back while it does not.
    machine.set(25);
    store.report_replica("a", 1, None).await.unwrap();
    store.close().await;
    for hours in [25, 0, -25] {
        machine.set(hours);
        let store = open(db, &machine).await;
        assert_as_filled(&store, &format!("opened with the clock {hours} hours off")).await;
        store.report_replica("a", 1, None).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn replicas_on_machines_with_other_clocks_agree_on_the_time() {
    let db = Db::postgres().await;
    let right = open(&db, &WrongClock::default()).await;
    filled(&right).await;
    for hours in [25, -25] {
        let machine = WrongClock::default();
        machine.set(hours);
        let wrong = open(&db, &machine).await;
        assert_as_filled(&wrong, &format!("{hours} hours off")).await;
        let difference = wrong.clock().now().duration_since(right.clock().now());
        assert!(difference.abs() < SignedDuration::from_secs(1), "{difference}");
        let [new] = queue(&wrong, [format!("new{hours}@example.org").as_str()]).await;
        let new = right.invite(new).await.unwrap().unwrap();
        for at in [new.created_at, new.state.queued_at, new.state.updated_at] {
            assert!(at.duration_since(now()).abs() < SignedDuration::from_secs(60), "{at}");
        }
        set_status(&wrong, new.id, Status::Failed).await;
        let ahead = wrong.clock().wall_ahead().as_secs();
        assert!((ahead - 3600 * hours).abs() < 60, "{ahead}");
    }
    assert!(right.clock().wall_ahead().abs() < SignedDuration::from_secs(1));
    assert_as_filled(&right, "beside the others").await;
    db.remove().await;
}

#[tokio::test]
async fn on_sqlite_time_that_passes_while_nothing_runs_has_passed() {
    let db = Db::sqlite();
    let machine = ManualClock::new(SystemClock.now());
    let store = db.open_on(Arc::new(machine.clone())).await;
    filled(&store).await;
    store.report_replica("a", 1, None).await.unwrap();
    store.close().await;
    machine.advance(DAY * 2);
    let store = db.open_on(Arc::new(machine.clone())).await;
    assert_eq!(store.clock().now(), machine.wall());
    assert_eq!(store.leases_over(false, 10).await.unwrap().len(), 1);
    assert_eq!(store.purge_idempotency(DAY).await.unwrap(), 1);
}
