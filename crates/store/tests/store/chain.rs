//! The chain of hashes through the record of changes.

use std::{collections::BTreeMap, time::Duration};

use invite_core::Clock;
use invite_store::{AuditCheck, AuditFault, NewAudit, Store};
use serde_json::json;

use crate::fixture::{Db, api, draft, on_both};

on_both!(
    a_record_that_nobody_touched_is_whole,
    whatever_is_altered_in_an_entry_is_found,
    an_entry_that_is_removed_put_in_or_cut_off_is_found,
    replicas_that_record_at_once_make_one_chain,
    old_entries_go_and_the_rest_is_still_whole,
);

fn read(target: &str) -> NewAudit {
    NewAudit {
        actor: api(),
        action: "invite.read".into(),
        target: target.into(),
        before: Some(json!({ "a": "ö\u{0}\"" })),
        after: None,
        note: Some("why\u{0}".into()),
    }
}

async fn with_entries(db: &Db, count: usize) -> Store {
    let store = db.open().await;
    for n in 0..count {
        store.record_audit(read(&n.to_string())).await.unwrap();
    }
    store
}

async fn verify(store: &Store) -> AuditCheck {
    store.verify_audit(&BTreeMap::new()).await.unwrap()
}

async fn a_record_that_nobody_touched_is_whole(db: &Db) {
    let store = db.open().await;
    assert_eq!(verify(&store).await, AuditCheck::default());
    let store = with_entries(db, 3).await;
    store.add_revision(draft("x"), None, &[]).await.unwrap();
    let check = verify(&store).await;
    assert_eq!((check.entries, check.first, &check.faults[..]), (4, Some(1), &[][..]));
    let entries = store.audit(None, 50).await.unwrap().entries;
    let places: Vec<i64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(places, [4, 3, 2, 1]);
    let head = check.head.unwrap();
    assert_eq!((head.sequence, &head.hash), (4, &entries[0].hash));

    let logged = entries.iter().map(|entry| (entry.sequence, vec![entry.hash.clone()])).collect();
    assert_eq!(store.verify_audit(&logged).await.unwrap().faults, []);
}

async fn whatever_is_altered_in_an_entry_is_found(db: &Db) {
    let store = with_entries(db, 3).await;
    for column in
        ["id", "actor", "source", "action", "target", "before", "after", "note", "previous", "hash"]
    {
        let keep = format!(
            "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM audit_entries;
             UPDATE audit_entries SET {column} = 'another' WHERE sequence = 2"
        );
        db.execute(&keep).await;
        let faults = verify(&store).await.faults;
        assert!(faults.contains(&AuditFault::Altered(2)), "{column}: {faults:?}");
        db.execute("DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM kept").await;
        assert_eq!(verify(&store).await.faults, [], "{column}");
    }
    for change in ["at = at + 1", "before = NULL", "after = ''", "note = NULL"] {
        db.execute(&format!("UPDATE audit_entries SET {change} WHERE sequence = 2")).await;
        assert_eq!(verify(&store).await.faults, [AuditFault::Altered(2)], "{change}");
        db.execute("DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM kept").await;
    }
}

async fn an_entry_that_is_removed_put_in_or_cut_off_is_found(db: &Db) {
    let store = with_entries(db, 5).await;
    let entries = store.audit(None, 50).await.unwrap().entries;
    let logged: BTreeMap<i64, Vec<String>> =
        entries.iter().map(|entry| (entry.sequence, vec![entry.hash.clone()])).collect();
    let faults = async || store.verify_audit(&logged).await.unwrap().faults;
    db.execute("CREATE TABLE kept AS SELECT * FROM audit_entries").await;
    let restore = "DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM kept";

    db.execute("DELETE FROM audit_entries WHERE sequence IN (2, 3)").await;
    assert_eq!(faults().await, [AuditFault::Missing(2, 3)]);
    db.execute("UPDATE audit_entries SET sequence = sequence - 2 WHERE sequence > 3").await;
    assert!(faults().await.contains(&AuditFault::Unlinked(2)));
    db.execute(restore).await;
    db.execute("DELETE FROM audit_entries WHERE sequence = 1").await;
    assert_eq!(faults().await, [AuditFault::Beheaded(2)]);

    // A new end that hangs together is told only by the log.
    db.execute(restore).await;
    db.execute("DELETE FROM audit_entries WHERE sequence > 3").await;
    assert_eq!(verify(&store).await.faults, []);
    assert_eq!(faults().await, [AuditFault::CutOff(5)]);
    for _ in 0..2 {
        store.record_audit(read("another")).await.unwrap();
    }
    assert_eq!(verify(&store).await.faults, []);
    assert_eq!(faults().await, [AuditFault::Differs(4), AuditFault::Differs(5)]);
}

async fn replicas_that_record_at_once_make_one_chain(db: &Db) {
    let stores = [db.open().await, db.open().await, db.open().await];
    let writes = (0..60).map(|n| {
        let store = stores[n % stores.len()].clone();
        tokio::spawn(async move {
            if n % 7 == 0 {
                store.add_revision(draft(&n.to_string()), None, &[]).await.unwrap();
            } else {
                store.record_audit(read(&n.to_string())).await.unwrap();
            }
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let check = verify(&stores[0]).await;
    assert_eq!((check.entries, &check.faults[..]), (60, &[][..]));
}

async fn old_entries_go_and_the_rest_is_still_whole(db: &Db) {
    let store = with_entries(db, 7).await;
    let now = store.clock().now();
    assert_eq!(store.trim_audit(now - Duration::from_secs(60), 3).await.unwrap(), 0);
    let later = now + Duration::from_secs(60);
    assert_eq!(store.trim_audit(later, 3).await.unwrap(), 3);
    let check = verify(&store).await;
    assert_eq!((check.entries, check.first, &check.faults[..]), (5, Some(4), &[][..]));
    // One that says that others were removed goes in its turn; the newest stays.
    for _ in 0..5 {
        store.trim_audit(later, 3).await.unwrap();
        assert_eq!(verify(&store).await.faults, []);
    }
    db.execute("UPDATE audit_entries SET action = 'audit.other' WHERE action = 'audit.trim'").await;
    assert!(matches!(verify(&store).await.faults[..], [.., AuditFault::Beheaded(_)]));
}
