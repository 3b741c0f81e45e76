//! What providers are asked no more often than it is of use.

use invite_store::Quotas;

use super::*;

#[tokio::test]
async fn a_list_is_read_once_for_all_that_are_open_there() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/invites.db", folder.path().display());
    let store = Store::open(&url, Arc::new(SystemClock)).await.unwrap();
    let world = World::new(|_| Answer::Takes);
    let shown = (0..5_300).map(|n| (format!("p{n}@example.org"), format!("id-{n}")));
    world.lock().effects.extend(shown);
    let new = batch((0..5_300).map(|n| item(&format!("p{n}"), "here", n)).collect());
    let (batch, ids) = (new.id, new.items.iter().map(|item| item.id).collect());
    store.accept(new, 1, Quotas::new()).await.unwrap().unwrap();
    // All but the last few were never asked about: more than a round takes on.
    let before = store.clock().now();
    let exist = Change::of(ids, move |place, _, state, _| {
        state.phase = Phase::Settled(Status::Pending);
        state.provider_ref = Some(format!("id-{place}"));
        state.checked_at = (place >= 5_200).then_some(before);
        Decision::Write
    });
    store.change(exist).await.unwrap();
    // A round comes every few seconds, and no invite is asked about twice while the test goes on.
    let refreshed = Settings { refresh: Duration::from_secs(60), ..settings() };
    let live = Live::new(configuration(&world, "", 1));
    let engine = serve(&store, &live, &world, refreshed).await;
    let bench = Bench { engine, store, world, live, _folder: folder };
    bench
        .eventually("the round", async || {
            let never = bench.store.stale("fake", &[], before - Duration::from_secs(3600), 1).await;
            never.unwrap().is_empty().then_some(())
        })
        .await;
    assert_eq!(bench.world.lock().lists, 1);
    let mut invites = bench.invites(batch).await.into_iter();
    assert!(invites.all(|invite| invite.state.checked_at > Some(before)), "the last few, too");
}

#[tokio::test]
async fn look_ups_are_told_whose_absence_counts() {
    let hour = Duration::from_secs(3600);
    let patient = Settings { settle: hour, ..settings() };
    let limits = "max_batch = 3\nretry = { first = \"1h\", max = \"1h\" }";
    for (status, counts) in [(504, false), (400, true)] {
        let world = World::new(move |to| match to.len() {
            1 => Answer::Takes,
            _ => Answer::Fails(error(Outcome::Unknown).with_status(status)),
        });
        let bench = start_with(patient, limits, world).await;
        bench.post("ada grace barbara").await;
        let told = async || bench.world.lock().absence_counts.first().cloned();
        assert_eq!(bench.eventually("a look-up", told).await, [counts; 3], "HTTP {status}");
    }
}
