//! Counts of what became of invites.

use std::time::Duration;

use invite_core::Status;
use invite_store::{Count, CountFilter, Interval, Placement, Store};
use jiff::Timestamp;

use crate::fixture::{Db, accept, batch, item, now, on_both, queue, seconds, set, set_status};
use crate::states::{phase, reason};

on_both!(
    what_is_bound_to_no_provider_or_says_an_unknown_word_stops_no_count,
    each_change_is_counted_once,
    counts_are_by_minute_and_by_hour_and_old_ones_go,
);

fn filter(tenant: Option<&str>, interval: Interval, is_by_interval: bool) -> CountFilter {
    let (from, to) = (seconds(-120), seconds(120));
    let (tenant, providers) = (tenant.map(str::to_owned), Vec::new());
    CountFilter { tenant, providers, from, to, interval, is_by_interval }
}

async fn count(store: &Store) -> Vec<(String, Status, u64)> {
    let mut all = Vec::new();
    loop {
        let (settled, has_more) = store.count_events(async || Ok(true)).await.unwrap();
        all.extend(settled.into_iter().map(|((provider, status), n)| (provider, status, n)));
        if !has_more {
            return all;
        }
    }
}

/// Status, code and number.
fn told(counts: &[Count]) -> Vec<(Status, Option<&str>, u64)> {
    counts.iter().map(|it| (it.status, it.code.as_deref(), it.count)).collect()
}

async fn what_is_bound_to_no_provider_or_says_an_unknown_word_stops_no_count(db: &Db) {
    let store = db.open().await;
    let refused = Placement::Refused { error: reason("no such address") };
    let mut items = vec![item(0, "ada@example.org"), item(1, "grace@example.org")];
    items[1].placement = refused;
    accept(&store, batch(items)).await;
    let [other] = queue(&store, ["mary@example.org"]).await;
    set_status(&store, other, Status::Pending).await;
    db.execute("UPDATE events SET previous = 'parked' WHERE type = 'invite.pending'").await;
    count(&store).await;
    let counts = store.counts(&filter(None, Interval::Hour, false), 100).await.unwrap();
    let found: Vec<_> =
        counts.iter().map(|it| (it.provider.as_deref(), it.status, it.count)).collect();
    let summit = Some("summit");
    let expected =
        [(None, Status::Failed, 1), (summit, Status::Pending, 1), (summit, Status::Queued, 2)];
    assert_eq!(found, expected);
}

async fn each_change_is_counted_once(db: &Db) {
    let store = db.open().await;
    let [one, other] = queue(&store, ["ada@example.org", "grace@example.org"]).await;
    let of_hr = batch(vec![item(0, "mary@example.org")]);
    accept(&store, invite_store::NewBatch { tenant: "hr".into(), ..of_hr }).await;
    assert_eq!(count(&store).await, [], "nothing has settled");
    set_status(&store, one, Status::Sending).await;
    set_status(&store, one, Status::Pending).await;
    set(&store, other, |state, _| {
        state.phase = phase(Status::Failed);
        state.error = Some(reason("no room"));
    })
    .await;
    assert!(!store.count_events(async || Ok(false)).await.unwrap().1, "another replica does it");
    let settled = [("summit".to_owned(), Status::Failed, 1), ("summit".into(), Status::Pending, 1)];
    let mut found = count(&store).await;
    found.sort_by_key(|(_, status, _)| status.as_str());
    assert_eq!(found, settled);
    set_status(&store, one, Status::Accepted).await;
    assert_eq!(count(&store).await, [], "it had settled before");
    let code = reason("no room").code.to_string();
    let own = [
        (Status::Accepted, None, 1),
        (Status::Failed, Some(&*code), 1),
        (Status::Pending, None, 1),
        (Status::Queued, None, 2),
    ];
    let counts = |filter: CountFilter| {
        let store = store.clone();
        async move { store.counts(&filter, 100).await.unwrap() }
    };
    let default = counts(filter(Some("default"), Interval::Minute, false)).await;
    assert_eq!(told(&default), own);
    assert!(
        default
            .iter()
            .all(|count| count.at.is_none() && count.provider.as_deref() == Some("summit"))
    );
    let hours = counts(filter(Some("default"), Interval::Hour, false)).await;
    assert_eq!(told(&hours), own);
    let hr = counts(filter(Some("hr"), Interval::Minute, false)).await;
    assert_eq!(told(&hr), [(Status::Queued, None, 1)]);
    let all = counts(filter(None, Interval::Minute, false)).await;
    assert_eq!(told(&all)[3], (Status::Queued, None, 3));
    let elsewhere = vec!["elsewhere".to_owned()];
    let nothing = CountFilter { providers: elsewhere, ..filter(None, Interval::Minute, false) };
    assert_eq!(counts(nothing).await, []);
    let few = store.counts(&filter(None, Interval::Minute, false), 2).await.unwrap();
    assert_eq!(few.len(), 3, "one more than asked for tells that there are more");
}

async fn counts_are_by_minute_and_by_hour_and_old_ones_go(db: &Db) {
    let store = db.open().await;
    queue(&store, ["ada@example.org"]).await;
    count(&store).await;
    // As if it had happened two hours ago.
    let hours = Duration::from_secs(2 * 3600);
    db.execute(&format!("UPDATE invite_counts SET at = at - {}", hours.as_millis())).await;
    queue(&store, ["grace@example.org"]).await;
    count(&store).await;
    let from = seconds(-3 * 3600);
    for interval in [Interval::Minute, Interval::Hour] {
        let filter = CountFilter { from, ..filter(None, interval, true) };
        let counts = store.counts(&filter, 100).await.unwrap();
        let times: Vec<Timestamp> = counts.iter().filter_map(|count| count.at).collect();
        assert_eq!(times.len(), 2, "{counts:?}");
        assert!(times[1] <= now() && times[1].duration_since(times[0]).unsigned_abs() >= hours);
        assert!(times.iter().all(|at| interval.begin(*at) == *at));
        // Of both tenants and of all together, in steps.
        assert_eq!(store.remove_counts(interval, seconds(-3600), 1).await.unwrap(), 2);
        assert_eq!(store.remove_counts(interval, seconds(-3600), 1).await.unwrap(), 0);
        assert_eq!(store.counts(&filter, 100).await.unwrap().len(), 1);
    }
}
