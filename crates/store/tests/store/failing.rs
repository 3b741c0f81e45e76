//! A database that refuses, has no room, or does not answer: what is known of a write then, and that
//! nobody is kept waiting.

use std::time::{Duration, Instant};

use futures::future::join_all;
use invite_store::{Acceptance, Error, InviteFilter, NoRoom, Quotas, Store};

use crate::fixture::{Db, batch, item, on_both, queue};

on_both!(whether_it_is_ready_is_found_out_once_for_all_who_ask);

async fn whether_it_is_ready_is_found_out_once_for_all_who_ask(db: &Db) {
    let store = db.open().await;
    let before = store.commits();
    for ready in join_all((0..100).map(|_| store.ready())).await {
        ready.unwrap();
    }
    assert_eq!(store.commits() - before, 1, "it is a write, and one");
    store.close().await;
}

async fn post(
    store: &Store,
    email: &str,
    tenant: &str,
) -> Result<Result<Acceptance, NoRoom>, Error> {
    let mut request = batch(vec![item(0, email)]);
    request.tenant = tenant.into();
    store.accept(request, 0, Quotas::new()).await
}

/// A PostgreSQL database that says this, with this code, when a batch of the tenant `bad` is about to
/// be committed.
async fn that_refuses_commits(says: &str, code: &str) -> Db {
    let db = Db::postgres().await;
    db.open().await;
    let refuse = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION '{says}' USING ERRCODE = '{code}'; END $$; \
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW WHEN (NEW.tenant = 'bad') EXECUTE FUNCTION refuse()"
    );
    db.execute(&refuse).await;
    db
}

#[tokio::test]
async fn a_commit_that_the_database_refuses_is_known_not_to_be_stored() {
    let db = that_refuses_commits("no space left on device", "53100").await;
    let store = db.open().await;
    let (good, bad) = tokio::join!(
        post(&store, "ada@example.org", "default"),
        post(&store, "bob@example.org", "bad"),
    );
    assert!(good.is_ok(), "{good:?}");
    assert!(matches!(bad, Err(Error::Full(_))), "{bad:?}");
    let all = store.invites(&InviteFilter::default(), None, 10).await.unwrap();
    assert_eq!(all.invites.len(), 1);
    db.remove().await;
}

#[tokio::test]
async fn a_commit_that_was_interrupted_may_have_been_stored() {
    let db = that_refuses_commits("canceling statement due to user request", "57014").await;
    let store = db.open().await;
    let bad = post(&store, "bob@example.org", "bad").await;
    assert!(matches!(bad, Err(Error::CommitUnknown)), "{bad:?}");
    queue(&store, ["ada@example.org"]).await;
    db.remove().await;
}

#[tokio::test]
async fn a_default_isolation_of_the_database_does_not_let_a_duplicate_through() {
    let db = Db::postgres().await;
    let stores =
        [db.open_with("default_transaction_isolation=serializable").await, db.open().await];
    // Each waits for the other's locks and must then see what it has written.
    for n in 0..20 {
        let email = format!("person-{n}@example.org");
        let both = join_all(stores.iter().map(|store| post(store, &email, "default"))).await;
        assert!(both.iter().all(Result::is_ok), "{both:?}");
    }
    let all = stores[0].invites(&InviteFilter::default(), None, 100).await.unwrap();
    assert_eq!(all.invites.len(), 20);
    db.remove().await;
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_waited_for_once_and_nothing_else_waits() {
    let db = Db::sqlite();
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let other = rusqlite::Connection::open(db.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = post(&store, "bob@example.org", "default").await;
    assert!(matches!(first, Err(Error::Unavailable(_))), "{first:?}");
    let began = Instant::now();
    let second = post(&store, "bob@example.org", "default").await;
    assert!(matches!(second, Err(Error::Unavailable(_))), "{second:?}");
    assert!(store.ready().await.is_err());
    assert!(store.invite(ada).await.unwrap().is_some());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    let began = Instant::now();
    while post(&store, "bob@example.org", "default").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}
