//! Who has a lane, and when each replica may start a request.

use std::time::Duration;

use invite_store::News;
use tokio::time::Instant;

use crate::fixture::{Db, on_both};

on_both!(
    a_lane_has_one_owner_until_its_lease_ends,
    an_owner_renews_its_lanes_at_once_and_no_others,
    a_released_lane_is_free_and_its_epoch_goes_on_rising,
    racing_stores_give_a_lane_to_one_owner,
    starts_are_given_out_once_and_apart,
);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn a_lane_has_one_owner_until_its_lease_ends(db: &Db) {
    let store = db.open().await;
    let take = |owner, ttl, force| store.acquire_lane("summit", owner, ttl, 0, force);
    assert_eq!(take("a", MINUTE, false).await.unwrap(), Some(1));
    assert_eq!(take("b", MINUTE, false).await.unwrap(), None);
    assert_eq!(take("a", Duration::ZERO, false).await.unwrap(), Some(1));
    assert_eq!(take("b", MINUTE, false).await.unwrap(), Some(2));
    assert_eq!(take("a", MINUTE, true).await.unwrap(), Some(3));
    assert_eq!(store.acquire_lane("tenancy", "b", MINUTE, 0, false).await.unwrap(), Some(1));
}

async fn a_released_lane_is_free_and_its_epoch_goes_on_rising(db: &Db) {
    let store = db.open().await;
    store.acquire_lane("summit", "a", MINUTE, 0, false).await.unwrap();
    store.release_lane("summit", "b").await.unwrap();
    assert_eq!(store.acquire_lane("summit", "b", MINUTE, 0, false).await.unwrap(), None);
    store.release_lane("summit", "a").await.unwrap();
    assert_eq!(store.acquire_lane("summit", "b", MINUTE, 0, false).await.unwrap(), Some(2));
}

#[tokio::test]
async fn other_replicas_hear_that_a_lane_is_free() {
    let db = Db::postgres().await;
    let stores = [db.open().await, db.open().await];
    let mut listener = stores[1].listen().await.unwrap().unwrap();
    stores[0].acquire_lane("the one set free", "a", MINUTE, 0, false).await.unwrap();
    stores[0].release_lane("the one set free", "a").await.unwrap();
    let news = News::Freed("the one set free".to_owned());
    // The tests share a channel.
    while !listener.next().await.unwrap().contains(&news) {}
    for store in stores {
        store.close().await;
    }
    db.remove().await;
}

async fn an_owner_renews_its_lanes_at_once_and_no_others(db: &Db) {
    let store = db.open().await;
    for (lane, owner) in [("summit", "a"), ("tenancy", "a"), ("treasury", "b")] {
        store.acquire_lane(lane, owner, Duration::ZERO, 0, false).await.unwrap();
    }
    let lanes = ["summit", "tenancy", "treasury", "gone"].map(str::to_owned);
    let commits = store.commits();
    let renewed = store.renew_lanes(lanes.to_vec(), "a", MINUTE, 0).await.unwrap();
    assert_eq!(renewed, [("summit".to_owned(), 1), ("tenancy".to_owned(), 1)].into());
    assert_eq!(store.commits() - commits, 1);
    for (lane, taken) in [("summit", None), ("tenancy", None), ("treasury", Some(2))] {
        assert_eq!(store.acquire_lane(lane, "c", MINUTE, 0, false).await.unwrap(), taken);
    }
    let holder = store.lane_holder("summit").await.unwrap().unwrap();
    assert!(holder.owner == "a" && holder.left > MINUTE / 2 && holder.left <= MINUTE, "{holder:?}");
}

async fn racing_stores_give_a_lane_to_one_owner(db: &Db) {
    let stores = [db.open().await, db.open().await];
    for round in 0..20 {
        let lane = format!("lane-{round}");
        let (a, b) = tokio::join!(
            stores[0].acquire_lane(&lane, "a", MINUTE, 0, false),
            stores[1].acquire_lane(&lane, "b", MINUTE, 0, false)
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.is_some() != b.is_some(), "{a:?} {b:?}");
    }
}

async fn starts_are_given_out_once_and_apart(db: &Db) {
    let stores = [db.open().await, db.open().await];
    let began = Instant::now();
    let mut starts = Vec::new();
    for round in 0..10 {
        let period = if round < 5 { SECOND } else { SECOND / 2 };
        let taken = tokio::join!(
            stores[0].take_starts("summit", period, 1, Duration::ZERO),
            stores[1].take_starts("summit", period, 3, Duration::ZERO)
        );
        starts.push((taken.0.unwrap() - began, 1, period));
        starts.push((taken.1.unwrap() - began, 3, period));
    }
    starts.sort();
    assert!(starts[0].0 < SECOND, "the first start need not wait");
    // What passes until the database's time is here makes a start look later than it is.
    let passed = began.elapsed();
    for pair in starts.windows(2) {
        let ((at, count, before), (next, _, period)) = (pair[0], pair[1]);
        let least = before * (count - 1) + period;
        assert!(next + passed >= at + least, "{pair:?}");
    }
    let elsewhere = async |lead| stores[0].take_starts("tenancy", SECOND, 1, lead).await.unwrap();
    assert!(elsewhere(Duration::ZERO).await < Instant::now() + SECOND);
    let asked = Instant::now();
    assert!(elsewhere(MINUTE).await >= asked + MINUTE);
}
