//! What administrators change, and what is kept of it: the audit, revisions made for a basis, the
//! replicas, and what keeps a provider from being removed.

use std::time::Duration;

use invite_core::{InviteId, KeyId, Status};
use invite_store::{
    Acceptance, Added, ApiKey, Decision, Error, KeyChanged, KeyLimits, NewAudit, NewRevision,
    Placement, Quotas, Store,
};
use serde_json::json;

use crate::fixture::{
    Db, accept, added, api, batch, draft, item, now, on_both, queue, seconds, set, set_status,
};
use crate::states::{phase, set_due};

on_both!(
    every_change_leaves_an_entry_that_names_who_made_it,
    entries_are_listed_newest_first_page_by_page,
    a_key_is_recorded_without_its_hash_and_its_end_once,
    a_key_is_revoked_with_all_that_were_made_with_it_and_makes_none_after,
    the_keys_that_a_key_descends_from_are_known,
    a_change_of_a_key_is_made_as_it_is_decided_and_recorded,
    a_revision_is_refused_if_another_one_was_first,
    of_racing_revisions_for_the_same_basis_one_is_stored,
    replicas_say_what_they_serve_until_they_are_not_heard_of,
    what_a_provider_has_left_to_do_is_counted,
    a_revision_does_not_take_away_a_provider_that_has_work,
    nothing_is_accepted_by_a_document_that_another_replica_replaced,
    of_a_removal_and_work_that_race_one_is_stored,
    a_new_revision_has_every_lane_asked_for_again,
);

fn redrive(target: &str) -> NewAudit {
    NewAudit {
        actor: api(),
        action: "invites.redrive".into(),
        target: target.into(),
        before: None,
        after: Some(json!({ "queued": 2 })),
        note: None,
    }
}

async fn every_change_leaves_an_entry_that_names_who_made_it(db: &Db) {
    let store = db.open().await;
    let document = "# a document\n";
    let because = |draft| NewRevision { note: Some("because".into()), ..draft };
    added(store.add_revision(draft(document), None, &[]).await);
    added(store.add_revision(because(draft("")), None, &[]).await);
    added(
        store.add_revision(NewRevision { restored: Some(1), ..draft(document) }, None, &[]).await,
    );
    store.record_audit(redrive("provider=a")).await.unwrap();
    let page = store.audit(None, 50).await.unwrap();
    assert_eq!(page.next, None);
    let [recorded, restored, second, first] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!(restored.change.after, Some(json!({ "revision": 3, "restored": 1 })));
    assert_eq!(recorded.change, redrive("provider=a"));
    assert!(now().duration_since(recorded.at).abs() < jiff::SignedDuration::from_secs(60));
    let expected = NewAudit {
        actor: api(),
        action: "config.revise".into(),
        target: "2".into(),
        before: Some(json!({ "revision": 1 })),
        after: Some(json!({ "revision": 2 })),
        note: Some("because".into()),
    };
    assert_eq!(second.change, expected);
    assert_eq!((&first.change.before, &*first.change.target), (&None, "1"));
    assert!(!format!("{page:?}").contains(document), "the document itself is in its revision");
}

async fn entries_are_listed_newest_first_page_by_page(db: &Db) {
    let store = db.open().await;
    for n in 0..7 {
        store.record_audit(redrive(&n.to_string())).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut before = None;
    for _ in 0..3 {
        let page = store.audit(before, 3).await.unwrap();
        listed.extend(page.entries.into_iter().map(|entry| entry.change.target));
        before = page.next;
    }
    assert_eq!((listed.concat(), before), ("6543210".to_owned(), None));
}

async fn a_key_is_revoked_with_all_that_were_made_with_it_and_makes_none_after(db: &Db) {
    let store = db.open().await;
    let made_with = async |hash: &str, parent: Option<KeyId>| {
        let key = ApiKey { parent, ..payroll(hash) };
        store.insert_key(&key, &api()).await.unwrap().then_some(key.id)
    };
    let first = made_with("1", None).await;
    let child = made_with("2", first).await;
    let grandchild = made_with("3", child).await;
    let sibling = made_with("4", first).await.unwrap();
    let other = made_with("5", None).await.unwrap();
    store.revoke_key(sibling, &api()).await.unwrap();
    let earlier = store.key(sibling).await.unwrap().unwrap().revoked_at;
    store.revoke_key(first.unwrap(), &api()).await.unwrap();
    for id in [first, child, grandchild] {
        assert!(store.key(id.unwrap()).await.unwrap().unwrap().revoked_at.is_some());
    }
    assert_eq!(store.key(sibling).await.unwrap().unwrap().revoked_at, earlier);
    assert_eq!(store.key(other).await.unwrap().unwrap().revoked_at, None);
    let entries = store.audit(None, 50).await.unwrap().entries;
    let revoked = entries.iter().filter(|entry| entry.change.action == "key.revoke");
    assert_eq!(revoked.count(), 4, "each has an entry of its own");
    assert_eq!(made_with("6", first).await, None, "what has ended makes no key");
    assert_eq!(store.key_by_hash("6").await.unwrap(), None);
}

async fn the_keys_that_a_key_descends_from_are_known(db: &Db) {
    let store = db.open().await;
    let mut line = vec![payroll("1")];
    for hash in ["2", "3", "4"] {
        let parent = line.last().map(|key| key.id);
        line.push(ApiKey { parent, ..payroll(hash) });
    }
    let sibling = ApiKey { parent: Some(line[1].id), ..payroll("5") };
    for key in line.iter().chain([&sibling]) {
        store.insert_key(key, &api()).await.unwrap();
    }
    let above = async |key: &ApiKey| {
        let mut above = store.key_ancestors(key).await.unwrap();
        above.sort_by_key(|key| key.hash.clone());
        above
    };
    for (place, key) in line.iter().enumerate() {
        assert_eq!(above(key).await, line[..place]);
    }
    assert_eq!(above(&sibling).await, line[..2]);
}

async fn a_change_of_a_key_is_made_as_it_is_decided_and_recorded(db: &Db) {
    let store = db.open().await;
    let parent = ApiKey { limits: KeyLimits::default(), ..payroll("1") };
    let key = ApiKey { parent: Some(parent.id), ..payroll("2") };
    let child = ApiKey { parent: Some(key.id), ..payroll("3") };
    for key in [&parent, &key, &child] {
        store.insert_key(key, &api()).await.unwrap();
    }
    let refused = store.change_key(key.id, &api(), |_| None).await.unwrap();
    let Some(KeyChanged::Refused(family)) = refused else { panic!("{refused:?}") };
    assert_eq!((family.parent.unwrap().id, family.children[0].id), (parent.id, child.id));
    let change = |family: &invite_store::KeyFamily| {
        let (name, limits) = ("salaries".to_owned(), KeyLimits::default());
        Some(ApiKey { name, limits, expires_at: None, ..family.key.clone() })
    };
    store.change_key(key.id, &api(), change).await.unwrap().unwrap();
    let now = store.key_by_hash("2").await.unwrap().unwrap();
    let no_limits = KeyLimits::default();
    assert_eq!((&*now.name, now.limits, now.expires_at), ("salaries", no_limits, None));
    let entries = store.audit(None, 50).await.unwrap().entries;
    let change = &entries[0].change;
    assert_eq!(change.action, "key.change");
    assert_eq!(change.before.as_ref().unwrap()["requests_per_second"], 2.5);
    assert_eq!(change.after.as_ref().unwrap()["name"], "salaries");
    assert!(store.change_key(KeyId::generate(), &api(), |_| None).await.unwrap().is_none());
}

fn payroll(hash: &str) -> ApiKey {
    ApiKey {
        id: KeyId::generate(),
        hash: hash.into(),
        name: "payroll".into(),
        tenant: "acme".into(),
        scopes: vec!["invites:write".into()],
        providers: Some(vec!["summit".into()]),
        limits: KeyLimits {
            requests_per_second: Some(2.5),
            invites_per_second: Some(0.25),
            invites_per_day: Some(7),
        },
        created_at: now(),
        expires_at: Some(seconds(60)),
        revoked_at: None,
        last_used_at: None,
        parent: None,
    }
}

async fn a_key_is_recorded_without_its_hash_and_its_end_once(db: &Db) {
    let store = db.open().await;
    let key = payroll("f00d");
    store.insert_key(&key, &api()).await.unwrap();
    assert!(store.insert_key(&key, &api()).await.is_err(), "and leaves no entry");
    store.revoke_key(key.id, &api()).await.unwrap();
    store.revoke_key(key.id, &api()).await.unwrap();
    store.revoke_key(KeyId::generate(), &api()).await.unwrap();
    let entries = store.audit(None, 50).await.unwrap().entries;
    let [revoked, made] = &entries[..] else { panic!("{entries:?}") };
    assert!(!format!("{entries:?}").contains("f00d"));
    assert_eq!((&*made.change.action, &*revoked.change.action), ("key.create", "key.revoke"));
    assert_eq!(made.change.target, key.id.to_string());
    assert_eq!(made.change.before, None);
    let after = made.change.after.clone().unwrap();
    assert_eq!(
        after,
        json!({ "name": "payroll", "tenant": "acme", "scopes": ["invites:write"],
            "providers": ["summit"], "requests_per_second": 2.5, "invites_per_second": 0.25,
            "invites_per_day": 7, "expires_at": key.expires_at,
            "revoked_at": null, "parent": null })
    );
    assert_eq!(revoked.change.before, Some(after));
    assert!(revoked.change.after.as_ref().unwrap()["revoked_at"].is_string());
}

async fn a_revision_is_refused_if_another_one_was_first(db: &Db) {
    let store = db.open().await;
    let refused = store.add_revision(draft("a"), Some(1), &[]).await.unwrap();
    assert_eq!(refused, Added::Outdated { latest: 0 });
    added(store.add_revision(draft("a"), Some(0), &[]).await);
    let refused = store.add_revision(draft("b"), Some(0), &[]).await.unwrap();
    assert_eq!(refused, Added::Outdated { latest: 1 });
    assert_eq!(store.latest_revision_number().await.unwrap(), 1);
    assert_eq!(store.audit(None, 50).await.unwrap().entries.len(), 1, "none of a refused one");
}

async fn of_racing_revisions_for_the_same_basis_one_is_stored(db: &Db) {
    let stores = [db.open().await, db.open().await];
    let adding = (0..10).map(|n| {
        let store = stores[n % 2].clone();
        async move { store.add_revision(draft(&n.to_string()), Some(0), &[]).await.unwrap() }
    });
    let results = futures::future::join_all(adding).await;
    let stored = results.iter().filter(|result| matches!(result, Added::Revision(_)));
    assert_eq!(stored.count(), 1, "{results:?}");
}

async fn replicas_say_what_they_serve_until_they_are_not_heard_of(db: &Db) {
    let store = db.open().await;
    store.report_replica("rep_a", 1, None).await.unwrap();
    store.report_replica("rep_a", 2, Some("a secret is missing")).await.unwrap();
    let one = store.replicas().await.unwrap();
    assert_eq!((one.len(), &*one[0].id, one[0].revision), (1, "rep_a", 2));
    assert_eq!(one[0].refusal.as_deref(), Some("a secret is missing"));
    store.report_replica("rep_b", 2, None).await.unwrap();
    let ids = async || {
        let replicas = store.replicas().await.unwrap();
        replicas.into_iter().map(|replica| replica.id).collect::<Vec<_>>()
    };
    if db.is_postgres() {
        assert_eq!(ids().await, ["rep_a", "rep_b"]);
        db.execute("UPDATE config_replicas SET seen_at = seen_at - 16000 WHERE replica = 'rep_a'")
            .await;
    }
    assert_eq!(ids().await, ["rep_b"], "of SQLite there is only ever one");
    store.retire_replica("rep_b").await.unwrap();
    assert!(ids().await.is_empty());
}

async fn what_a_provider_has_left_to_do_is_counted(db: &Db) {
    let store = db.open().await;
    let ids = queue(&store, ["a@x.example", "b@x.example", "c@x.example", "d@x.example"]).await;
    let mut other = item(0, "e@x.example");
    if let Placement::Bound { provider, .. } = &mut other.placement {
        "other".clone_into(provider);
    }
    accept(&store, batch(vec![other])).await;
    let count = async || {
        let wanted = ["summit".to_owned(), "elsewhere".to_owned()];
        let counts = store.unfinished(&wanted).await.unwrap();
        assert!(counts.keys().all(|name| name == "summit"), "{counts:?}");
        counts.get("summit").copied().unwrap_or(0)
    };
    assert_eq!(count().await, 4);
    assert!(store.unfinished(&[]).await.unwrap().is_empty());
    for (status, has_look_ups_left, is_unfinished) in [
        (Status::Sending, false, true),
        (Status::AwaitingApproval, false, true),
        (Status::Unknown, true, true),
        (Status::Unknown, false, false),
        (Status::Pending, false, false),
        (Status::Failed, false, false),
    ] {
        set(&store, ids[0], move |state, now| {
            state.phase = phase(status);
            let in_a_while = now.checked_add(Duration::from_secs(60)).ok();
            set_due(state, in_a_while.filter(|_| has_look_ups_left));
        })
        .await;
        assert_eq!(count().await, 3 + u64::from(is_unfinished), "{status}");
    }
}

async fn a_revision_does_not_take_away_a_provider_that_has_work(db: &Db) {
    let store = db.open().await;
    let add = async |removed: &[&str]| {
        let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
        store.add_revision(draft("a"), None, &removed).await
    };
    let [id] = queue(&store, ["a@x.example"]).await;
    assert_eq!(add(&["elsewhere", "summit"]).await.unwrap(), Added::Unfinished);
    assert_eq!(store.latest_revision_number().await.unwrap(), 0);
    assert!(store.audit(None, 50).await.unwrap().entries.is_empty());
    added(add(&["elsewhere"]).await);
    set_status(&store, id, Status::Pending).await;
    added(add(&["summit"]).await);
}

async fn nothing_is_accepted_by_a_document_that_another_replica_replaced(db: &Db) {
    let store = db.open().await;
    added(store.add_revision(draft("a"), None, &[]).await);
    let [id] = queue_at(&store, 1, "a@x.example").await.unwrap();
    set_status(&store, id, Status::Failed).await;
    let failed = store.invite(id).await.unwrap().unwrap();
    added(store.add_revision(draft("b"), None, &[]).await);
    let again = || {
        store.requeue(vec![failed.clone()], 1, Quotas::new(), Vec::new(), |_, _, state, _| {
            state.phase = phase(Status::Queued);
            Decision::Write
        })
    };
    if db.is_postgres() {
        let refused = queue_at(&store, 1, "b@x.example").await;
        assert!(matches!(refused, Err(Error::Outdated)), "{refused:?}");
        let refused = again().await;
        assert!(matches!(refused, Err(Error::Outdated)), "{refused:?}");
        queue_at(&store, 2, "b@x.example").await.unwrap();
    } else {
        queue_at(&store, 1, "b@x.example").await.expect("its one process knows what it does");
        again().await.unwrap();
    }
}

async fn of_a_removal_and_work_that_race_one_is_stored(db: &Db) {
    if !db.is_postgres() {
        // One process, which keeps them apart itself.
        return;
    }
    let stores = [db.open().await, db.open().await];
    for round in 0..40 {
        let newest = stores[0].latest_revision_number().await.unwrap();
        let email = format!("a{round}@x.example");
        let removed = ["summit".to_owned()];
        let (accepted, revised) = tokio::join!(
            queue_at(&stores[0], newest, &email),
            stores[1].add_revision(draft("a"), Some(newest), &removed)
        );
        match (&accepted, revised.unwrap()) {
            (Ok([id]), Added::Unfinished) => {
                set_status(&stores[0], *id, Status::Failed).await;
            }
            (Err(Error::Outdated), Added::Revision(_)) => {}
            both => panic!("{both:?}"),
        }
    }
}

async fn a_new_revision_has_every_lane_asked_for_again(db: &Db) {
    let store = db.open().await;
    let ask = |owner, newest| store.acquire_lane("summit", owner, MINUTE, newest, false);
    assert_eq!(ask("a", 0).await.unwrap(), Some(1));
    added(store.add_revision(draft("a"), None, &[]).await);
    if db.is_postgres() {
        assert_eq!(ask("a", 0).await.unwrap(), None, "it has to catch up first");
    }
    assert_eq!(ask("b", 1).await.unwrap(), None, "whose it is does not change");
    assert_eq!(ask("a", 1).await.unwrap(), Some(2));
}

const MINUTE: Duration = Duration::from_secs(60);

/// Accepts an invite by whom this revision is the newest that he knows of.
async fn queue_at(store: &Store, newest: i64, email: &str) -> Result<[InviteId; 1], Error> {
    let batch = batch(vec![item(0, email)]);
    let id = batch.items[0].id;
    let accepted = store.accept(batch, newest, Quotas::new()).await?.unwrap();
    assert!(matches!(accepted, Acceptance::Accepted(_)), "{accepted:?}");
    Ok([id])
}
