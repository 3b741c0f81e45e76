//! API keys, revisions of the provider document, and what Debug output shows.

use invite_core::{AttemptOutcome, KeyId, Status};
use invite_store::{Actor, ApiKey, InviteFilter, KeyLimits, NewRevision};
use serde_json::json;

use crate::fixture::{
    Db, accept, added, api, attempt, attempts, batch, claim, draft, end, item, millis, now,
    on_both, queue, seconds, set,
};
use crate::states::{phase, reason};

on_both!(
    a_key_reads_back_and_is_found_by_its_hash,
    revoking_a_key_twice_keeps_the_first_time,
    uses_of_keys_only_move_forward,
    revisions_are_numbered_without_gaps_also_by_racing_stores,
    the_latest_revision_is_known_per_source,
    the_file_that_was_refused_last_is_known_by_its_text,
    debug_output_shows_no_personal_data,
);

fn key(hash: &str) -> ApiKey {
    ApiKey {
        id: KeyId::generate(),
        hash: hash.into(),
        name: "payroll".into(),
        tenant: "default".into(),
        scopes: vec!["invites:write".into(), "invites:read".into()],
        providers: None,
        limits: KeyLimits::default(),
        created_at: now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        parent: None,
    }
}

async fn a_key_reads_back_and_is_found_by_its_hash(db: &Db) {
    let store = db.open().await;
    let plain = key("h1");
    let full = ApiKey {
        providers: Some(vec!["summit".into()]),
        limits: KeyLimits { requests_per_second: Some(2.5), ..KeyLimits::default() },
        expires_at: Some(seconds(60)),
        last_used_at: Some(seconds(-60)),
        ..key("h2")
    };
    for key in [&plain, &full, &key("h3")] {
        store.insert_key(key, &api()).await.unwrap();
    }
    assert_eq!(store.key_by_hash("h1").await.unwrap(), Some(plain.clone()));
    assert_eq!(store.key_by_hash("h2").await.unwrap(), Some(full.clone()));
    assert_eq!(store.key_by_hash("h4").await.unwrap(), None);
    let keys = store.keys(None).await.unwrap().0;
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[1..], [full, plain]);
    assert!(store.insert_key(&key("h1"), &api()).await.is_err(), "a hash belongs to one key");
}

async fn revoking_a_key_twice_keeps_the_first_time(db: &Db) {
    let store = db.open().await;
    let key = key("h1");
    store.insert_key(&key, &api()).await.unwrap();
    let first = store.revoke_key(key.id, &api()).await.unwrap().unwrap();
    assert!(first.revoked_at.is_some());
    assert_eq!(store.revoke_key(key.id, &api()).await.unwrap(), Some(first.clone()));
    assert_eq!(store.key_by_hash("h1").await.unwrap(), Some(first));
    assert_eq!(store.revoke_key(KeyId::generate(), &api()).await.unwrap(), None);
}

async fn uses_of_keys_only_move_forward(db: &Db) {
    let store = db.open().await;
    let (a, b) = (key("h1"), key("h2"));
    store.insert_key(&a, &api()).await.unwrap();
    store.insert_key(&b, &api()).await.unwrap();
    let (early, late) = (seconds(-60), seconds(0));
    store.touch_keys(&[(a.id, late), (b.id, early), (KeyId::generate(), late)]).await.unwrap();
    store.touch_keys(&[(a.id, early), (b.id, late)]).await.unwrap();
    store.touch_keys(&[]).await.unwrap();
    for hash in ["h1", "h2"] {
        assert_eq!(store.key_by_hash(hash).await.unwrap().unwrap().last_used_at, Some(late));
    }
}

async fn revisions_are_numbered_without_gaps_also_by_racing_stores(db: &Db) {
    let stores = [db.open().await, db.open().await];
    assert_eq!(stores[0].latest_revision().await.unwrap(), None);
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                added(store.add_revision(draft(&format!("# {n}")), None, &[]).await)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all.sort_by_key(|revision| -revision.revision);
    let numbers: Vec<_> = all.iter().map(|revision| revision.revision).collect();
    assert_eq!(numbers, (1..=20).rev().collect::<Vec<_>>());
    let page = stores[0].revisions(None, 15).await.unwrap();
    assert_eq!((&page.revisions[..], page.next), (&all[..15], Some(6)));
    let page = stores[0].revisions(page.next, 15).await.unwrap();
    assert_eq!((&page.revisions[..], page.next), (&all[15..], None));
    assert_eq!(stores[0].latest_revision().await.unwrap().as_ref(), Some(&all[0]));
    assert_eq!(stores[0].revision(1).await.unwrap().as_ref(), Some(&all[19]));
    assert_eq!(stores[0].revision(21).await.unwrap(), None);
}

async fn the_latest_revision_is_known_per_source(db: &Db) {
    let store = db.open().await;
    let document = "# comment\r\n[providers]\n";
    let actor = Actor { name: "file".into(), source: "file".into() };
    let from_file = NewRevision { actor, ..draft(document) };
    let file = added(store.add_revision(from_file, None, &[]).await);
    let noted = NewRevision { note: Some("why".into()), restored: Some(1), ..draft("b") };
    let api = added(store.add_revision(noted, Some(1), &[]).await);
    assert_eq!((file.revision, api.revision), (1, 2));
    assert_eq!((file.restored, api.restored), (None, Some(1)));
    assert_eq!(file.document, document);
    assert_eq!(file.created_at, millis(file.created_at));
    assert_eq!(store.latest_revision().await.unwrap(), Some(api.clone()));
    assert_eq!(store.latest_revision_from("file").await.unwrap(), Some(file));
    assert_eq!(store.latest_revision_from("api").await.unwrap(), Some(api));
    assert_eq!(store.latest_revision_from("restore").await.unwrap(), None);
}

async fn the_file_that_was_refused_last_is_known_by_its_text(db: &Db) {
    let store = db.open().await;
    let known = async |text| store.refused_file(text).await.unwrap();
    assert_eq!(known("a").await, None);
    store.keep_refused_file("a", 3).await.unwrap();
    store.keep_refused_file("a", 4).await.unwrap();
    assert_eq!((known("a").await, known("a ").await), (Some(4), None));
    store.keep_refused_file("b", 0).await.unwrap();
    assert_eq!((known("a").await, known("b").await), (None, Some(0)));
    assert_eq!(db.open().await.refused_file("b").await.unwrap(), Some(0), "over a restart");
    store.forget_refused_file().await.unwrap();
    assert_eq!(known("b").await, None);
}

async fn debug_output_shows_no_personal_data(db: &Db) {
    let store = db.open().await;
    let mut secret = item(0, "secret@example.org");
    secret.external_id = Some("secret".into());
    secret.labels = [("secret".to_owned(), "secret".to_owned())].into();
    secret.invitee.last_name = Some("secret".into());
    let request = batch(vec![secret.clone()]);
    accept(&store, request.clone()).await;
    let (id, changed) = claim(&store, secret.id).await;
    set(&store, secret.id, |state, _| {
        state.phase = phase(Status::Failed);
        state.provider_data = json!({ "session_code": "secret" }).as_object().unwrap().clone();
        state.provider_ref = Some("secret".into());
        state.error = Some(reason("secret"));
    })
    .await;
    let mut begin = attempt(None);
    begin.call.as_mut().unwrap().body = "secret".into();
    let mut outcome = end(id, AttemptOutcome::Succeeded);
    (outcome.reply, outcome.request) = (Some("secret".into()), Some("secret".into()));
    (outcome.detail, outcome.target) = (Some("secret".into()), Some("secret".into()));
    let mut change =
        invite_store::Change::of(vec![secret.id], |_, _, _, _| invite_store::Decision::Keep);
    (change.begin, change.end) = (Some(begin), Some(outcome));
    let filter = InviteFilter {
        address: Some("secret@example.org".parse().unwrap()),
        external_id: Some("secret".into()),
        labels: vec![("secret".into(), "secret".into())],
        ..InviteFilter::default()
    };
    let shown = format!("{changed:?} {change:?} {request:?} {filter:?}");
    store.change(change).await.unwrap();
    let page = store.invites(&filter, None, 10).await.unwrap();
    assert_eq!(page.invites.len(), 1);
    let views = attempts(&store, secret.id).await;
    assert_eq!(views.len(), 2);
    let shown = format!("{shown} {page:?} {views:?}");
    assert!(!shown.contains("secret"), "{shown}");

    // A broken rule of the database is told without the row that broke it.
    let [other] = queue(&store, ["other@example.org"]).await;
    let mut again = batch(vec![item(0, "third@example.org"), secret]);
    again.items[1].id = other;
    again.on_duplicate = invite_store::OnDuplicate::Send;
    let error = store.accept(again, 0, Default::default()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
