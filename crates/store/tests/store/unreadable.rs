//! Rows that cannot be read: each costs the invite that it is, and nothing else.

use std::collections::BTreeMap;

use invite_core::{InviteId, Status};
use invite_store::{ChangesFrom, Ended, InviteFilter, InviteRecord, Store};
use serde_json::json;

use crate::fixture::{
    Db, accept, api, attempts, batch, claim, draft, due_anywhere, item, now, on_both, queue,
    seconds, set, set_status,
};
use crate::states::{phase, set_due};

on_both!(
    a_damaged_row_costs_one_invite_whatever_is_damaged_and_wherever_it_stands,
    a_damaged_row_that_may_be_in_doubt_keeps_others_to_the_person_waiting,
    a_row_that_is_repaired_is_taken_up_again,
    an_unreadable_invite_is_ended_once,
    a_claim_is_of_all_its_invites_or_of_none,
    members_of_a_call_keep_their_places,
    damaged_records_are_listed_apart,
    an_address_is_read_as_it_was_stored,
);

/// Each column, with values that cannot be read in it.
fn damages(db: &Db) -> Vec<(&'static str, &'static str)> {
    const FIRST: &str = "-9223372036854775808";
    let mut damages = vec![
        ("id", "'damaged ' || id"),
        ("batch_id", "'damaged'"),
        ("item_index", "-1"),
        ("destination", "'damaged'"),
        ("params", "'{'"),
        ("invitee", "'{}'"),
        ("labels", "'[]'"),
        ("status", "'parked'"),
        ("status_source", "'nobody'"),
        ("provider_data", "'damaged'"),
        ("attempt_count", "-1"),
        ("holder", "'damaged'"),
        ("error", "'{\"detail'"),
        ("lookups", "4294967296"),
        ("found_absent", "-1"),
    ];
    let times = [
        "created_at",
        "expires_at",
        "checked_at",
        "sent_at",
        "next_attempt_at",
        "lease_until",
        "queued_at",
        "ended_at",
        "absent_since",
        "updated_at",
    ];
    damages.extend(times.map(|column| (column, FIRST)));
    if !db.is_postgres() {
        // SQLite keeps anything in any column.
        let texts =
            ["id", "tenant", "kind", "call_key", "address", "invitee", "external_id", "labels"];
        damages.extend(texts.map(|column| (column, "CAST(x'ff' AS TEXT)")));
        damages.extend(["kind", "provider_data", "group_id"].map(|column| (column, "x'00ff'")));
        damages.extend(["item_index", "attempt_count", "created_at"].map(|it| (it, "'damaged'")));
    }
    damages
}

async fn damage(db: &Db, id: InviteId, column: &str, value: &str) {
    db.execute(&format!("UPDATE invites SET {column} = {value} WHERE id = '{id}'")).await;
}

/// What the engine finds to do about invites in a status.
async fn found(store: &Store, status: Status) -> Vec<InviteRecord> {
    match status {
        Status::Queued => {
            let late = store.queued_before("summit", seconds(60), 1).await.unwrap();
            assert_eq!(late.len(), 1);
            Ok(due_anywhere(store, now(), 1).await.into_iter().take(1).collect())
        }
        Status::Sending => store.leases_over(true, 1).await,
        Status::Unknown => {
            assert!(store.next_lookup("summit", &[]).await.unwrap().is_some_and(|at| at <= now()));
            store.doubtful("summit", &[], now(), 1).await
        }
        _ => store.stale("summit", &[], now(), 1).await,
    }
    .unwrap()
}

/// Everything on pages of one, and how many of it could not be read.
async fn page_on(store: &Store, filter: &InviteFilter) -> (Vec<InviteId>, usize) {
    let (mut seen, mut unreadable, mut before) = (Vec::new(), 0, None);
    loop {
        let page = store.invites(filter, before, 1).await.unwrap();
        assert!(page.invites.len() + page.unreadable.len() <= 1);
        seen.extend(page.invites.iter().map(|invite| invite.id));
        unreadable += page.unreadable.len();
        before = page.next;
        if before.is_none() {
            return (seen, unreadable);
        }
    }
}

async fn a_damaged_row_costs_one_invite_whatever_is_damaged_and_wherever_it_stands(db: &Db) {
    let store = db.open().await;
    let mut n = 0;
    for status in [Status::Queued, Status::Sending, Status::Unknown, Status::Pending] {
        for (column, value) in damages(db) {
            let case = format!("{status}: {column} = {value}");
            let emails = [n, n + 1, n + 2].map(|n| format!("p{n}@example.org"));
            n += 3;
            let [a, b, c] = emails.each_ref().map(String::as_str);
            let ids = queue(&store, [a, b, c]).await;
            let [good, bad, last] = ids;
            for id in ids {
                set(&store, id, move |state, now| {
                    state.phase = phase(status);
                    set_due(state, (status == Status::Unknown).then_some(now));
                })
                .await;
            }
            damage(db, bad, column, value).await;
            // The engine asks for one, and the damaged one would come first or in between.
            let first = found(&store, status).await;
            assert!(first.iter().all(|invite| invite.id != bad), "{case}");
            assert_eq!(first.len(), 1, "{case}");
            let last_row = store.invite(last).await.unwrap().unwrap();
            if value != "CAST(x'ff' AS TEXT)" {
                let batch =
                    InviteFilter { batch_id: Some(last_row.batch_id), ..InviteFilter::default() };
                let expected = if column == "batch_id" { 0 } else { 1 };
                assert_eq!(page_on(&store, &batch).await, (vec![last, good], expected), "{case}");
                store.invites(&InviteFilter::default(), None, 3).await.unwrap();
                let aside = InviteFilter { unreadable: true, ..InviteFilter::default() };
                let page = store.invites(&aside, None, 10).await.unwrap();
                let [unreadable] = &page.unreadable[..] else { panic!("{case}: {page:?}") };
                assert_eq!((&*unreadable.column, &page.invites[..]), (column, &[][..]), "{case}");
                assert_eq!(unreadable.provider.as_deref(), Some("summit"));
                assert_eq!(store.unreadable_counts().await.unwrap()["summit"], 1, "{case}");
                let counts = store.provider_counts().await.unwrap();
                assert_eq!(counts["summit"], [(status, 2)].into(), "{case}");
                let ended = store.end_unreadable(&unreadable.id, &api()).await.unwrap();
                assert!(matches!(ended, Ended::Now(_)), "{case}: {ended:?}");
                assert!(store.unreadable_counts().await.unwrap().is_empty(), "{case}");
            } else {
                // The database cannot even say which one it is.
                assert!(
                    store.reexamine().await.is_ok() && store.keys(None).await.is_ok(),
                    "{case}"
                );
                db.execute(
                    "DELETE FROM invites WHERE tenant <> 'default' OR kind <> 'securegate' OR \
                    call_key <> 'kyc 2' OR address NOT LIKE '%@%' OR external_id IS NOT NULL OR \
                    labels NOT LIKE '{%' OR invitee NOT LIKE '{%' OR id NOT LIKE 'inv%'",
                )
                .await;
            }
            for id in [good, last] {
                set_status(&store, id, Status::Failed).await;
            }
            db.execute("DELETE FROM invites WHERE status = 'revoked'").await;
        }
    }
}

async fn a_damaged_row_that_may_be_in_doubt_keeps_others_to_the_person_waiting(db: &Db) {
    let store = db.open().await;
    for (n, status) in ["sending", "unknown", "parked"].into_iter().enumerate() {
        let email = format!("p{n}@example.org");
        let [bad] = queue(&store, [&email]).await;
        damage(db, bad, "status", &format!("'{status}'")).await;
        damage(db, bad, "provider_data", "'damaged'").await;
        let mut request = batch(vec![item(0, &email)]);
        request.tenant = "other".into();
        let waits = request.items[0].id;
        accept(&store, request).await;
        store.leases_over(true, 10).await.unwrap();
        store.reexamine().await.unwrap();
        assert!(store.queues("summit", None, &[]).await.unwrap().queues.is_empty(), "{status}");
        let waiting = store.invite(waits).await.unwrap().unwrap();
        let other = store.person_taken_by(&waiting).await.unwrap().unwrap();
        assert_eq!(other, (bad.to_string(), "default".to_owned()));
        let (_, claimed) = claim(&store, waits).await;
        assert!(matches!(claimed, invite_store::Changed::PersonTaken { .. }), "{claimed:?}");
        // It is somebody's live invite, too.
        let again = batch(vec![item(0, &email)]);
        let duplicates = store.new_duplicates("default", &again.items).await.unwrap();
        assert_eq!(duplicates.values().collect::<Vec<_>>(), [&bad]);
        store.end_unreadable(&bad.to_string(), &api()).await.unwrap();
        assert_eq!(due_anywhere(&store, now(), 1).await[0].id, waits);
        set_status(&store, waits, Status::Failed).await;
    }
}

async fn a_row_that_is_repaired_is_taken_up_again(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    for (column, value, right) in [("labels", "'{'", "'{}'"), ("status", "'parked'", "'queued'")] {
        damage(db, ada, column, value).await;
        assert!(due_anywhere(&store, now(), 1).await.is_empty());
        store.reexamine().await.unwrap();
        assert!(store.invite(ada).await.is_err());
        let end = ChangesFrom::Place(store.end_of_feed().await.unwrap());
        damage(db, ada, column, right).await;
        store.reexamine().await.unwrap();
        let changed = store.changed_invites(&InviteFilter::default(), end, 10).await;
        assert_eq!(changed.unwrap().unwrap().rows.len(), 1, "whoever follows learns of it");
        assert_eq!(due_anywhere(&store, now(), 1).await[0].id, ada);
        assert!(store.unreadable_counts().await.unwrap().is_empty());
    }
}

async fn an_unreadable_invite_is_ended_once(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    damage(db, ada, "holder", "'damaged'").await;
    let end = async |id: InviteId| store.end_unreadable(&id.to_string(), &api()).await.unwrap();
    let Ended::Now(ended) = end(ada).await else { panic!() };
    assert_eq!((ended.column.as_str(), ended.status.as_deref()), ("holder", Some("revoked")));
    assert!(matches!(end(ada).await, Ended::Before(_)));
    assert_eq!(end(bob).await, Ended::NotSetAside);
    assert_eq!(store.end_unreadable("damaged", &api()).await.unwrap(), Ended::NotSetAside);
    let entries = store.audit(None, 10).await.unwrap().entries;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.change.before, Some(json!({ "status": "queued", "unreadable": "holder" })));
    // A second invite to the person is no duplicate any more.
    let again = batch(vec![item(0, "ada@example.org")]);
    assert!(store.new_duplicates("default", &again.items).await.unwrap().is_empty());
}

async fn a_claim_is_of_all_its_invites_or_of_none(db: &Db) {
    let store = db.open().await;
    store.acquire_lane("summit", "a", std::time::Duration::from_secs(60), 0, false).await.unwrap();
    let ids = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    damage(db, ids[0], "labels", "'{'").await;
    let change = |lane| invite_store::Change {
        lane,
        ..invite_store::Change::of(ids.into(), |_, _, state, _| {
            state.attempt_count += 1;
            invite_store::Decision::Write
        })
    };
    let claim = store.change(change(Some(("summit".to_owned(), 1)))).await.unwrap();
    assert_eq!(claim, invite_store::Changed::Aborted);
    // What became of a call is recorded for those that can be read.
    let recorded = store.change(change(None)).await.unwrap();
    let invite_store::Changed::Written(invites) = recorded else { panic!("{recorded:?}") };
    assert_eq!(invites.iter().map(|invite| invite.id).collect::<Vec<_>>(), [ids[1]]);
}

async fn members_of_a_call_keep_their_places(db: &Db) {
    let store = db.open().await;
    let ids = queue(&store, ["a@example.org", "b@example.org", "c@example.org"]).await;
    let begin = crate::fixture::attempt(None);
    let id = begin.id;
    let change = invite_store::Change {
        begin: Some(begin),
        ..invite_store::Change::of(ids.into(), |_, _, _, _| invite_store::Decision::Keep)
    };
    store.change(change).await.unwrap();
    let email = |invite: &InviteRecord| invite.invitee.email.clone();
    for (column, value, shown) in [
        ("labels", "'{'", "b@example.org"),
        ("invitee", "'{'", "b@example.org"),
        ("id", "'damaged'", "unreadable@unreadable.invalid"),
    ] {
        damage(db, ids[1], column, value).await;
        let members = store.attempt_invites(id).await.unwrap();
        let emails: Vec<String> = members.iter().map(email).collect();
        assert_eq!(emails, ["a@example.org", shown, "c@example.org"]);
        assert_eq!(members[1].state.status(), Status::Revoked);
        assert!(members[1].destination.is_some() && members[1].address.is_some());
    }
}

async fn damaged_records_are_listed_apart(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let (first, _) = claim(&store, ada).await;
    set_status(&store, ada, Status::Queued).await;
    let (second, _) = claim(&store, ada).await;
    db.execute(&format!("UPDATE attempts SET call = '{{' WHERE id = '{first}'")).await;
    let page = store.attempts(ada, None, 1, true).await.unwrap();
    assert_eq!((page.unreadable[0].column.as_str(), page.attempts.len()), ("call", 0));
    let page = store.attempts(ada, page.next, 1, true).await.unwrap();
    assert_eq!(page.attempts[0].id, second);
    // What became of its calls is not concluded from some of them.
    assert!(store.creates(ada).await.is_err());
    assert!(attempts(&store, ada).await.len() == 1);

    for document in ["one", "two"] {
        store.add_revision(draft(document), None, &[]).await.unwrap();
    }
    db.execute("UPDATE audit_entries SET after = '{' WHERE target = '2'").await;
    let page = store.audit(None, 1).await.unwrap();
    assert_eq!((page.unreadable[0].column.as_str(), page.entries.len()), ("after", 0));
    let page = store.audit(page.next, 1).await.unwrap();
    assert_eq!(page.entries[0].change.target, "1");

    db.execute("UPDATE config_revisions SET created_at = 9223372036854775807").await;
    let latest = store.latest_revision().await.unwrap().unwrap();
    assert_eq!((latest.revision, &*latest.document), (2, "two"));
    assert_eq!(store.revisions(None, 10).await.unwrap().revisions.len(), 2);

    let counts: BTreeMap<String, u64> = store.unreadable_counts().await.unwrap();
    assert!(counts.is_empty());
}

async fn an_address_is_read_as_it_was_stored(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    // As an earlier version may have stored it, and as nobody would write it.
    for address in ["i\u{307}nfo@example.org", "\"ada\"@example.org", "ada"] {
        damage(db, ada, "address", &format!("'{address}'")).await;
        let invite = store.invite(ada).await.unwrap().unwrap();
        assert_eq!(invite.address.as_ref().unwrap().as_str(), address);
    }
}
