//! Invites by their last change, followed with a cursor.

use std::collections::BTreeMap;

use invite_core::{EventId, InviteId, Status};
use invite_store::{ChangesFrom, InviteFilter, RemovedUpTo, Store};

use crate::fixture::{Db, accept, batch, item, on_both, queue, seconds, set, set_status};

on_both!(
    invites_come_by_their_last_change_each_once,
    changes_at_one_millisecond_are_all_listed,
    they_are_listed_from_a_time_on,
    a_change_within_a_status_and_an_erased_person_come_again,
    what_follows_beside_three_writers_ends_with_what_is_stored,
    changes_that_were_removed_are_said_to_be,
);

const START: ChangesFrom = ChangesFrom::Place(EventId::START);

/// The ids of all that is listed from a place on, in pages, and where it ends.
async fn follow(
    store: &Store,
    filter: &InviteFilter,
    mut from: ChangesFrom,
    limit: u32,
) -> (Vec<InviteId>, ChangesFrom) {
    let mut ids = Vec::new();
    loop {
        let page = store.changed_invites(filter, from, limit).await.unwrap().unwrap();
        assert!(page.rows.len() <= limit as usize);
        let places: Vec<EventId> = page.rows.iter().map(|(place, _)| *place).collect();
        assert!(places.is_sorted() && places.last() <= Some(&page.next));
        ids.extend(page.rows.into_iter().map(|(_, row)| row.unwrap().id));
        assert!(page.is_last || from != ChangesFrom::Place(page.next), "a page goes on");
        from = ChangesFrom::Place(page.next);
        if page.is_last {
            return (ids, from);
        }
    }
}

async fn invites_come_by_their_last_change_each_once(db: &Db) {
    let store = db.open().await;
    let emails = ["ada@example.org", "grace@example.org", "edsger@example.org"];
    let [ada, grace, edsger] = queue(&store, emails).await;
    set_status(&store, ada, Status::Sending).await;
    set_status(&store, ada, Status::Pending).await;
    let any = InviteFilter::default();
    for limit in 1..=4 {
        let (ids, end) = follow(&store, &any, START, limit).await;
        assert_eq!(ids, [grace, edsger, ada]);
        assert_eq!(follow(&store, &any, end, limit).await, (vec![], end));
    }
    let (_, end) = follow(&store, &any, START, 10).await;
    set_status(&store, grace, Status::Failed).await;
    set_status(&store, ada, Status::Accepted).await;
    assert_eq!(follow(&store, &any, end, 10).await.0, [grace, ada]);
    let failed = InviteFilter { statuses: vec![Status::Failed], ..InviteFilter::default() };
    assert_eq!(follow(&store, &failed, START, 10).await.0, [grace]);
    let of_others = InviteFilter { tenant: Some("hr".into()), ..InviteFilter::default() };
    assert_eq!(follow(&store, &of_others, START, 10).await.0, []);
    let to = InviteFilter { address: "ada@example.org".parse().ok(), ..InviteFilter::default() };
    assert_eq!(follow(&store, &to, START, 10).await.0, [ada]);
}

async fn changes_at_one_millisecond_are_all_listed(db: &Db) {
    let store = db.open().await;
    let mut items: Vec<_> =
        (0..1234).map(|index| item(index, &format!("{index}@example.org"))).collect();
    items[900].labels = [("team".to_owned(), "sales".to_owned())].into();
    let ids: Vec<InviteId> = items.iter().map(|item| item.id).collect();
    accept(&store, batch(items)).await;
    assert_eq!(follow(&store, &InviteFilter::default(), START, 100).await.0, ids);
    let labels = vec![("team".to_owned(), "sales".to_owned())];
    let labelled = InviteFilter { labels, ..InviteFilter::default() };
    assert_eq!(follow(&store, &labelled, START, 100).await.0, ids[900..=900]);
}

async fn they_are_listed_from_a_time_on(db: &Db) {
    let store = db.open().await;
    let old: Vec<InviteId> = {
        let items: Vec<_> = (0..5).map(|index| item(index, &format!("{index}@x.org"))).collect();
        let ids = items.iter().map(|item| item.id).collect();
        accept(&store, batch(items)).await;
        ids
    };
    // Longer ago than the order of times may differ from that of events.
    db.execute("UPDATE events SET at = at - 3600000").await;
    db.execute("UPDATE invites SET updated_at = updated_at - 3600000").await;
    let [new] = queue(&store, ["ada@example.org"]).await;
    let any = InviteFilter::default();
    let from = async |at| follow(&store, &any, ChangesFrom::Time(at), 3).await.0;
    assert_eq!(from(seconds(-1800)).await, [new]);
    assert_eq!(from(seconds(-7200)).await, [&old[..], &[new]].concat());
    assert_eq!(from(seconds(1800)).await, []);
    // At first a little more is looked at; the filter takes it out.
    set_status(&store, old[2], Status::Failed).await;
    let filter = InviteFilter { updated_after: Some(seconds(-1800)), ..InviteFilter::default() };
    let from = ChangesFrom::Time(seconds(-3601));
    assert_eq!(follow(&store, &filter, from, 3).await.0, [new, old[2]]);
}

async fn a_change_within_a_status_and_an_erased_person_come_again(db: &Db) {
    let store = db.open().await;
    let [ada, grace] = queue(&store, ["ada@example.org", "grace@example.org"]).await;
    set_status(&store, ada, Status::AwaitingApproval).await;
    let any = InviteFilter::default();
    let (_, end) = follow(&store, &any, START, 10).await;
    set(&store, ada, |state, now| state.checked_at = Some(now)).await;
    assert_eq!(follow(&store, &any, end, 10).await.0, [], "a caller sees nothing of it");
    set(&store, ada, |state, _| _ = state.provider_data.insert("votes".into(), 1.into())).await;
    let (ids, end) = follow(&store, &any, end, 10).await;
    assert_eq!(ids, [ada]);
    set_status(&store, grace, Status::Failed).await;
    let (ids, end) = follow(&store, &any, end, 10).await;
    assert_eq!(ids, [grace]);
    store.erase_person(&"grace@example.org".parse().unwrap()).await.unwrap();
    assert_eq!(follow(&store, &any, end, 10).await.0, [grace]);
}

/// Each writer has its own connections, as replicas have on PostgreSQL; SQLite has one process.
async fn what_follows_beside_three_writers_ends_with_what_is_stored(db: &Db) {
    const EACH: usize = 80;
    let store = db.open().await;
    let mut writers = Vec::new();
    for writer in 0..3 {
        let store = if db.is_postgres() { db.open().await } else { store.clone() };
        writers.push(tokio::spawn(async move {
            for number in 0..EACH {
                let [id] = queue(&store, [&format!("{writer}-{number}@example.org")]).await;
                set_status(&store, id, Status::Pending).await;
                if number % 2 == 0 {
                    set_status(&store, id, Status::Accepted).await;
                }
            }
        }));
    }
    let any = InviteFilter::default();
    let (mut seen, mut from) = (BTreeMap::new(), START);
    loop {
        let has_ended = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = store.changed_invites(&any, from, 20).await.unwrap().unwrap();
        from = ChangesFrom::Place(page.next);
        for (_, row) in page.rows {
            let invite = row.unwrap();
            seen.insert(invite.id, invite.state.status());
        }
        if has_ended && page.is_last {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let count = |status| seen.values().filter(|seen| **seen == status).count();
    assert_eq!((seen.len(), count(Status::Accepted)), (3 * EACH, 3 * EACH / 2));
    assert_eq!(count(Status::Pending), 3 * EACH / 2);
}

async fn changes_that_were_removed_are_said_to_be(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, ada, Status::Pending).await;
    set_status(&store, ada, Status::Accepted).await;
    let any = InviteFilter::default();
    let (_, end) = follow(&store, &any, START, 10).await;
    assert_eq!(store.remove_events(seconds(60), 100).await.unwrap(), 2);
    for from in [START, ChangesFrom::Time(seconds(0))] {
        let page = store.changed_invites(&any, from, 10).await.unwrap();
        assert!(matches!(page, Err(RemovedUpTo(_))), "{from:?}: {page:?}");
    }
    for from in [end, ChangesFrom::Time(seconds(121))] {
        assert!(store.changed_invites(&any, from, 10).await.unwrap().is_ok(), "{from:?}");
    }
}
