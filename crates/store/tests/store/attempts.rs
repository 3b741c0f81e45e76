//! Attempts: pages of them, what a reader gets of the exchange, and which are kept.

use std::collections::BTreeSet;

use invite_core::{AttemptId, AttemptOutcome, InviteId, Operation};
use invite_store::{AttemptView, Change, Decision, Store};

use crate::fixture::{Db, accept, attempt, attempts, batch, end, item, on_both, queue};

on_both!(
    pages_of_attempts_join_up,
    what_was_exchanged_is_read_only_where_it_is_wanted,
    the_creates_of_an_invite_are_read_with_their_calls,
    an_attempt_for_several_tenants_is_known_as_one,
    of_calls_that_only_ask_the_newest_twenty_are_kept,
    a_call_that_only_asks_is_forgotten_by_each_of_its_invites_alone,
);

/// Records a call that has ended; its id.
async fn make(store: &Store, operation: Operation, invites: &[InviteId]) -> AttemptId {
    let mut begin = attempt(None);
    let id = begin.id;
    begin.operation = operation;
    if operation != Operation::Create {
        begin.call = None;
    }
    let mut outcome = end(id, AttemptOutcome::Succeeded);
    outcome.request = Some("asked".into());
    let change = Change {
        begin: Some(begin),
        end: Some(outcome),
        ..Change::of(invites.to_vec(), |_, _, _, _| Decision::Keep)
    };
    store.change(change).await.unwrap();
    id
}

fn ids(attempts: &[AttemptView]) -> Vec<AttemptId> {
    attempts.iter().map(|attempt| attempt.id).collect()
}

async fn an_attempt_for_several_tenants_is_known_as_one(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let mut other = batch(vec![item(0, "eve@example.org")]);
    other.tenant = "other".into();
    let eve = other.items[0].id;
    accept(&store, other).await;
    make(&store, Operation::Create, &[ada, bob]).await;
    make(&store, Operation::Create, &[ada, eve]).await;
    for with_exchange in [false, true] {
        let page = store.attempts(ada, None, 10, with_exchange).await.unwrap();
        let shared: Vec<bool> = page.attempts.iter().map(|attempt| attempt.is_shared).collect();
        assert_eq!(shared, [false, true]);
    }
}

async fn pages_of_attempts_join_up(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let mut made = Vec::new();
    for operation in
        [Operation::Create, Operation::Get, Operation::Revoke, Operation::Get, Operation::Create]
    {
        made.push(make(&store, operation, &[ada]).await);
    }
    make(&store, Operation::Get, &[bob]).await;
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = store.attempts(ada, after, 2, false).await.unwrap();
        found.extend(ids(&page.attempts));
        sizes.push(page.attempts.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, sizes), (made, vec![2, 2, 1]));
    let all = store.attempts(ada, None, 5, false).await.unwrap();
    assert_eq!((all.attempts.len(), all.next), (5, None));
}

async fn what_was_exchanged_is_read_only_where_it_is_wanted(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    make(&store, Operation::Create, &[ada]).await;
    let page = store.attempts(ada, None, 10, false).await.unwrap();
    let [short] = &page.attempts[..] else { panic!("{page:?}") };
    let [full] = &attempts(&store, ada).await[..] else { panic!() };
    assert!(full.call.is_some() && full.request.is_some() && full.reply.is_some());
    let bare = AttemptView { call: None, request: None, reply: None, ..full.clone() };
    assert_eq!(*short, bare);
}

async fn the_creates_of_an_invite_are_read_with_their_calls(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let first = make(&store, Operation::Create, &[bob, ada]).await;
    make(&store, Operation::Reconcile, &[ada]).await;
    let second = make(&store, Operation::Create, &[ada]).await;
    make(&store, Operation::Create, &[bob]).await;
    let creates = store.creates(ada).await.unwrap();
    assert_eq!(ids(&creates), [first, second]);
    assert_eq!(creates[0].position, 1);
    assert!(creates.iter().all(|create| create.call == attempt(None).call));
    assert!(creates.iter().all(|create| create.request.is_none() && create.reply.is_none()));
    assert!(store.creates(InviteId::generate()).await.unwrap().is_empty());
}

async fn of_calls_that_only_ask_the_newest_twenty_are_kept(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let mut kept = BTreeSet::new();
    for round in 0..25 {
        for operation in Operation::ALL.iter().copied() {
            let id = make(&store, operation, &[ada]).await;
            if round >= 5 || !operation.is_question() {
                kept.insert(id);
            }
        }
    }
    let found = attempts(&store, ada).await;
    assert_eq!(ids(&found), kept.into_iter().collect::<Vec<_>>());
}

async fn a_call_that_only_asks_is_forgotten_by_each_of_its_invites_alone(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let shared = make(&store, Operation::Reconcile, &[ada, bob]).await;
    for _ in 0..20 {
        make(&store, Operation::Reconcile, &[ada]).await;
    }
    assert!(!ids(&attempts(&store, ada).await).contains(&shared));
    assert_eq!(ids(&attempts(&store, bob).await), [shared]);
    assert_eq!(store.attempt_invites(shared).await.unwrap().len(), 1);
    for _ in 0..20 {
        make(&store, Operation::Reconcile, &[bob]).await;
    }
    assert!(store.attempt_invites(shared).await.unwrap().is_empty());
    // With its last invite the attempt is gone as well: its id is free.
    let mut again = attempt(None);
    again.id = shared;
    let begin = Change { begin: Some(again), ..Change::of(vec![ada], |_, _, _, _| Decision::Keep) };
    store.change(begin).await.unwrap();
    assert!(ids(&attempts(&store, ada).await).contains(&shared));
}
