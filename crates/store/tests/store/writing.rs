//! The writing task: group commit, callers that go, connections that break; and opening.

use std::{path::Path, sync::Arc};

use futures::future::join_all;
use invite_core::{Status, SystemClock};
use invite_store::{Change, Decision, Error, InviteFilter, Quotas, Store};

use crate::fixture::{Db, accept, batch, claim, item, on_both, queue, set_status, status};

on_both!(
    writes_that_wait_together_are_committed_together,
    a_write_that_fails_does_not_fail_its_company,
    a_write_lands_although_its_caller_has_gone,
    a_decision_that_panics_ends_nothing_but_its_own_change,
    closing_finishes_the_writes_that_wait_and_refuses_later_ones,
    what_was_acknowledged_outlives_a_process_that_never_closed,
    several_may_open_an_empty_database_at_once,
);

async fn writes_that_wait_together_are_committed_together(db: &Db) {
    let store = db.open().await;
    let before = store.commits();
    // On PostgreSQL all of them are asked for before the writing task gets its turn. SQLite's thread may begin with the
    // first ones; the others wait for that commit together.
    let most = if db.is_postgres() { 1 } else { 10 };
    join_all((0..100).map(|n| {
        let request = batch(vec![item(0, &format!("person-{n}@example.org"))]);
        accept(&store, request)
    }))
    .await;
    let commits = store.commits() - before;
    assert!(commits <= most, "{commits}");
    let all = store.invites(&InviteFilter::default(), None, 200).await.unwrap();
    assert_eq!(all.invites.len(), 100);
}

async fn a_write_that_fails_does_not_fail_its_company(db: &Db) {
    let store = db.open().await;
    let [taken] = queue(&store, ["ada@example.org"]).await;
    let requests = (0..10).map(|n| {
        let mut request = batch(vec![item(0, &format!("person-{n}@example.org"))]);
        if n == 4 {
            request.items[0].id = taken;
        }
        store.accept(request, 0, Quotas::new())
    });
    let answers = join_all(requests).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), n != 4, "{n}: {answer:?}");
    }
    assert!(matches!(answers[4], Err(Error::Conflict(_))));
    let all = store.invites(&InviteFilter::default(), None, 200).await.unwrap();
    assert_eq!(all.invites.len(), 10);
}

async fn a_write_lands_although_its_caller_has_gone(db: &Db) {
    let store = db.open().await;
    let request = batch(vec![item(0, "ada@example.org")]);
    let id = request.items[0].id;
    {
        let mut caller = Box::pin(store.accept(request, 0, Quotas::new()));
        assert!(futures::poll!(&mut caller).is_pending());
    }
    // A later write is done after it.
    queue(&store, ["bob@example.org"]).await;
    assert!(store.invite(id).await.unwrap().is_some());
}

async fn a_decision_that_panics_ends_nothing_but_its_own_change(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let broken = Change::of(vec![ada], |_, _, _, _| panic!("a defect"));
    let (broken, sound) = tokio::join!(store.change(broken), claim(&store, bob));
    assert!(matches!(broken, Err(Error::Defect(_))), "{broken:?}");
    assert!(matches!(sound.1, invite_store::Changed::Written(_)));
    assert_eq!(status(&store, ada).await, Status::Queued);
    assert_eq!(status(&store, bob).await, Status::Sending);
}

async fn closing_finishes_the_writes_that_wait_and_refuses_later_ones(db: &Db) {
    let store = db.open().await;
    let request = batch(vec![item(0, "ada@example.org")]);
    let id = request.items[0].id;
    tokio::join!(accept(&store, request), store.close());
    let late = store.accept(batch(Vec::new()), 0, Quotas::new()).await;
    assert!(matches!(late, Err(Error::Closed)));
    assert!(store.invite(id).await.is_err());
    assert!(store.ready().await.is_err());
    assert!(db.open().await.invite(id).await.unwrap().is_some());
}

async fn what_was_acknowledged_outlives_a_process_that_never_closed(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, ada, Status::Unknown).await;
    std::mem::forget(store);
    let store = db.open().await;
    assert_eq!(status(&store, ada).await, Status::Unknown);
    set_status(&store, ada, Status::Pending).await;
}

async fn several_may_open_an_empty_database_at_once(db: &Db) {
    let stores = join_all((0..4).map(|_| db.open())).await;
    for (n, store) in stores.iter().enumerate() {
        queue(store, [&format!("person-{n}@example.org")]).await;
    }
    let all = stores[0].invites(&InviteFilter::default(), None, 10).await.unwrap();
    assert_eq!(all.invites.len(), 4);
}

#[tokio::test]
async fn a_url_that_names_no_database_is_refused_without_quoting_it() {
    for url in [
        "",
        "sqlite://",
        "sqlite://:memory:",
        "mysql://root:pass@host/db",
        "postgres://user:pass@host:port/db",
    ] {
        let error = Store::open(url, Arc::new(SystemClock)).await.unwrap_err().to_string();
        assert!(error.contains("storage.url") && !error.contains("pass"), "{url}: {error}");
    }
}

#[tokio::test]
async fn whoever_only_reads_makes_no_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invites.db");
    let url = format!("sqlite://{}", path.display());
    for content in [&b""[..], &foreign(folder.path())[..]] {
        std::fs::write(&path, content).unwrap();
        let error = Store::open_existing(&url, Arc::new(SystemClock)).await.unwrap_err();
        assert!(matches!(error, Error::Empty), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    std::fs::write(&path, b"").unwrap();
    Store::open(&url, Arc::new(SystemClock)).await.unwrap().close().await;
    Store::open_existing(&url, Arc::new(SystemClock)).await.unwrap();
}

/// The file of another program's database.
fn foreign(folder: &Path) -> Vec<u8> {
    let path = folder.join("foreign.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(file);
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invites.db");
    let url = format!("sqlite://{}", path.display());
    let machine = || Arc::new(SystemClock);
    Store::open(&url, machine()).await.unwrap().close().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("INSERT INTO schema_versions (version, hash) VALUES (9999, 'later')")
        .unwrap();
    drop(file);
    let error = Store::open(&url, machine()).await.unwrap_err();
    assert!(matches!(error, Error::Newer { version: 9999 }), "{error:?}");
    assert!(error.to_string().contains("written by a newer version of the gateway"), "{error}");
}

#[tokio::test]
async fn a_file_is_made_only_where_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below").join("invites.db");
    let url = format!("sqlite://{}", path.display());
    let error = Store::open_existing(&url, Arc::new(SystemClock)).await.unwrap_err();
    assert!(error.to_string().contains("there is no database"), "{error}");
    assert!(!folder.path().join("below").exists());
    for is_new in [true, false] {
        let store = Store::open(&url, Arc::new(SystemClock)).await.unwrap();
        assert_eq!(store.file(), Some((path.canonicalize().unwrap().as_path(), is_new)));
        store.close().await;
    }
    Store::open_existing(&url, Arc::new(SystemClock)).await.unwrap().close().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_told_without_its_password() {
    let url = "postgres://user:pass@127.0.0.1:1/db";
    let error = Store::open(url, Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, Error::Away(_)));
    assert!(!format!("{error} {error:?}").contains("pass"), "{error:?}");
}

/// A server that speaks no TLS; what it is told before it says so, and after.
async fn plain_server() -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 8];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let mut more = vec![0; 512];
        let length = stream.read(&mut more).await.unwrap_or(0);
        more.truncate(length);
        more
    });
    (port, heard)
}

#[tokio::test]
async fn a_server_elsewhere_that_does_not_encrypt_is_told_nothing() {
    // An address that leads here, and that is not this machine's by its name.
    for (host, query, is_told) in [
        ("0.0.0.0", "", false),
        ("0.0.0.0", "?sslmode=require", false),
        ("0.0.0.0", "?sslmode=prefer", true),
        ("127.0.0.1", "", true),
    ] {
        let (port, heard) = plain_server().await;
        let url = format!("postgres://somebody:pass@{host}:{port}/db{query}");
        assert!(Store::open(&url, Arc::new(SystemClock)).await.is_err());
        let heard = String::from_utf8_lossy(&heard.await.unwrap()).into_owned();
        assert_eq!(heard.contains("somebody"), is_told, "{host}{query}: {heard:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("sqlite://{}/invites.db", file.path().display());
    let error = Store::open(&url, Arc::new(SystemClock)).await.unwrap_err().to_string();
    assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
}

#[tokio::test]
async fn a_write_waits_for_another_process_that_writes() {
    let db = Db::sqlite();
    let (serving, beside) = (db.open().await, db.open().await);
    let decide = |_: usize, _: &_, _: &mut _, _| Decision::Keep;
    let writes = (0..50).map(|n| {
        let store = if n % 2 == 0 { &serving } else { &beside };
        store.change(Change::of(Vec::new(), decide))
    });
    for written in join_all(writes).await {
        written.unwrap();
    }
}

// What only a database behind a network can do.

#[tokio::test]
async fn the_store_is_used_again_after_its_connections_were_cut() {
    let db = Db::postgres().await;
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    assert!(store.invite(ada).await.unwrap().is_some());
    db.cut_connections().await;
    assert!(store.invite(ada).await.unwrap().is_some());
    let [bob] = queue(&store, ["bob@example.org"]).await;
    assert!(store.invite(bob).await.unwrap().is_some());
    db.remove().await;
}

#[tokio::test]
async fn a_lost_commit_result_is_told_to_every_caller_of_the_group() {
    let db = Db::postgres().await;
    let store = db.open().await;
    // The server cuts the connection at the very moment of the commit.
    db.execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW WHEN (NEW.tenant = 'cut') EXECUTE FUNCTION cut()",
    )
    .await;
    let answers = join_all((0..3).map(|n| {
        let mut request = batch(vec![item(0, &format!("person-{n}@example.org"))]);
        if n == 1 {
            request.tenant = "cut".into();
        }
        store.accept(request, 0, Quotas::new())
    }))
    .await;
    for answer in answers {
        assert!(matches!(answer, Err(Error::CommitUnknown)), "{answer:?}");
    }
    queue(&store, ["ada@example.org"]).await;
    db.remove().await;
}
