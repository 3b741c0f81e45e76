//! Destinations whose account is not known, and what becomes of them once it is.

use futures::future::join_all;
use invite_core::{Account, Destination, InviteId, Status};
use invite_store::{
    Change, Changed, Decision, InviteRecord, NewBatch, NewItem, OnDuplicate, Placement, Store,
};

use crate::fixture::{Db, accept, batch, item, on_both, set, set_status};
use crate::states::phase;

on_both!(
    at_most_one_invite_is_in_doubt_where_destinations_may_be_one,
    what_may_be_held_there_is_held,
    once_an_account_is_known_all_its_names_share_the_rule_of_duplicates,
    an_account_that_turns_out_another_takes_what_comes_from_then_on,
    racing_stores_bring_only_one_of_what_may_be_one_place_into_doubt,
);

const SERVICE: &str = "https://tenancies.example";

fn tenancy(scope: &str) -> Destination {
    Destination { kind: "rkvst".into(), base_url: SERVICE.into(), scope: scope.into() }
}

fn unknown(name: &str) -> Destination {
    Destination::provisional("rkvst", SERVICE, name)
}

fn item_at(place: &Destination, email: &str) -> NewItem {
    let mut item = item(0, email);
    if let Placement::Bound { destination, .. } = &mut item.placement {
        *destination = place.clone();
    }
    item
}

async fn invite(store: &Store, place: &Destination, email: &str) -> InviteId {
    let item = item_at(place, email);
    let id = item.id;
    let batch = NewBatch { on_duplicate: OnDuplicate::Send, ..batch(vec![item]) };
    accept(store, batch).await;
    id
}

async fn read(store: &Store, id: InviteId) -> InviteRecord {
    store.invite(id).await.unwrap().unwrap()
}

/// Brings an invite into doubt, if no other to the person is.
async fn doubt(store: &Store, id: InviteId) -> Changed {
    let people = read(store, id).await.address.clone().into_iter().collect();
    let change = Change::of(vec![id], |_, _, state, _| {
        state.phase = phase(Status::Unknown);
        Decision::Write
    });
    store.change(Change { people, ..change }).await.unwrap()
}

async fn is_due(store: &Store, id: InviteId) -> bool {
    let due = crate::fixture::due_anywhere(store, crate::fixture::now(), 100).await;
    due.iter().any(|invite| invite.id == id)
}

async fn at_most_one_invite_is_in_doubt_where_destinations_may_be_one(db: &Db) {
    let store = db.open().await;
    let elsewhere = Destination { base_url: "https://else.example".into(), ..unknown("acme") };
    for (first, second, may_be_one) in [
        (tenancy("t1"), tenancy("t1"), true),
        (tenancy("t1"), tenancy("t2"), false),
        (tenancy("t1"), unknown("acme"), true),
        (unknown("acme"), tenancy("t1"), true),
        (unknown("acme"), unknown("beta"), true),
        (unknown("acme"), elsewhere, false),
    ] {
        let one = invite(&store, &first, "ada@example.org").await;
        let other = invite(&store, &second, "ada@example.org").await;
        assert!(matches!(doubt(&store, one).await, Changed::Written(_)));
        assert_eq!(is_due(&store, other).await, !may_be_one, "{first} {second}");
        let crowded = matches!(doubt(&store, other).await, Changed::PersonTaken { .. });
        assert_eq!(crowded, may_be_one, "{first} {second}");
        for id in [one, other] {
            set_status(&store, id, Status::Failed).await;
        }
    }
}

async fn what_may_be_held_there_is_held(db: &Db) {
    let store = db.open().await;
    let holder = invite(&store, &tenancy("t1"), "ada@example.org").await;
    set(&store, holder, |state, _| state.provider_ref = Some("invites/1".into())).await;
    let refs = ["invites/1".to_owned(), "invites/2".to_owned()];
    for (place, is_held) in [(tenancy("t1"), true), (unknown("acme"), true), (tenancy("t2"), false)]
    {
        let held = store.find_held(&place, &refs).await.unwrap();
        let expected = is_held.then(|| ("invites/1".to_owned(), holder));
        assert_eq!(held, expected.into_iter().collect(), "{place}");
        let other = invite(&store, &place, "ada@example.org").await;
        let taken = set(&store, other, |state, _| state.provider_ref = Some("invites/1".into()));
        let is_refused = matches!(taken.await, Changed::ProviderRefTaken { .. });
        assert_eq!(is_refused, is_held, "{place}");
    }
}

async fn once_an_account_is_known_all_its_names_share_the_rule_of_duplicates(db: &Db) {
    let store = db.open().await;
    let before = invite(&store, &unknown("app-1"), "ada@example.org").await;
    let held = invite(&store, &unknown("app-1"), "eve@example.org").await;
    set(&store, held, |state, _| {
        state.phase = phase(Status::Pending);
        state.provider_ref = Some("invites/1".into());
    })
    .await;
    doubt(&store, before).await;
    let account = Account { provisional: unknown("app-1"), destination: tenancy("t1") };
    for _ in 0..2 {
        store.remember_account(account.clone()).await.unwrap();
    }
    for id in [before, held] {
        assert_eq!(read(&store, id).await.destination, Some(tenancy("t1")));
    }
    // Under its own name, and under another one of the account.
    for place in [unknown("app-1"), tenancy("t1")] {
        for (email, existing) in [("ada@example.org", before), ("eve@example.org", held)] {
            let again = item_at(&place, email);
            let found =
                store.new_duplicates("default", std::slice::from_ref(&again)).await.unwrap();
            assert_eq!(found.get(&again.id), Some(&existing), "{place}");
            let id = again.id;
            accept(&store, batch(vec![again])).await;
            assert!(store.invite(id).await.unwrap().is_none(), "{place}");
        }
    }
    // Two in one request, by two names.
    let both =
        [item_at(&unknown("app-1"), "new@example.org"), item_at(&tenancy("t1"), "new@example.org")];
    let found = store.new_duplicates("default", &both).await.unwrap();
    assert_eq!(found.get(&both[1].id), Some(&both[0].id));
    let other = item_at(&tenancy("t2"), "ada@example.org");
    let found = store.new_duplicates("default", std::slice::from_ref(&other)).await.unwrap();
    assert!(found.is_empty());
}

async fn an_account_that_turns_out_another_takes_what_comes_from_then_on(db: &Db) {
    let store = db.open().await;
    let account = |scope| Account { provisional: unknown("app-1"), destination: tenancy(scope) };
    store.remember_account(account("t1")).await.unwrap();
    let before = invite(&store, &unknown("app-1"), "ada@example.org").await;
    store.remember_account(account("t2")).await.unwrap();
    let after = invite(&store, &unknown("app-1"), "ada@example.org").await;
    assert_eq!(read(&store, before).await.destination, Some(tenancy("t1")));
    assert_eq!(read(&store, after).await.destination, Some(tenancy("t2")));
}

async fn racing_stores_bring_only_one_of_what_may_be_one_place_into_doubt(db: &Db) {
    let stores = [db.open().await, db.open().await];
    for _ in 0..5 {
        let places = [unknown("acme"), tenancy("t1"), unknown("beta"), unknown("acme")];
        let mut ids = Vec::new();
        for place in &places {
            ids.push(invite(&stores[0], place, "ada@example.org").await);
        }
        let racing = ids.iter().zip(stores.iter().cycle());
        let ends = join_all(racing.map(|(id, store)| doubt(store, *id))).await;
        let entered = ends.iter().filter(|end| matches!(end, Changed::Written(_))).count();
        assert_eq!(entered, 1, "{ends:?}");
        for id in ids {
            set_status(&stores[0], id, Status::Failed).await;
        }
    }
}
