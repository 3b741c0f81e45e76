//! The file of SQLite: one process serves it, under one name, and nothing is stored in a file that
//! nobody finds again.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::join_all;
use invite_core::SystemClock;
use invite_store::{Error, InviteFilter, Quotas, Store};

use crate::fixture::{Db, batch, item, on_both, queue};

on_both!(one_process_at_a_time_serves_a_database_that_is_not_shared);

async fn one_process_at_a_time_serves_a_database_that_is_not_shared(db: &Db) {
    let (store, held) = db.open_to_serve().await.unwrap();
    assert_eq!(store.is_shared(), db.is_postgres());
    let second = db.open_to_serve().await;
    if db.is_postgres() {
        assert!(held.is_none() && second.is_ok());
    } else {
        let error = second.unwrap_err();
        assert!(matches!(error, Error::Locked { .. }));
        assert!(error.to_string().contains("invites.db.lock"), "{error}");
        // Other commands come in beside it.
        db.open().await;
        drop(held);
        assert!(db.open_to_serve().await.is_ok());
    }
}

#[tokio::test]
async fn the_databases_files_are_for_their_owner_alone_also_where_they_were_not() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("data");
    let file = folder.join("invites.db");
    let url = format!("sqlite://{}", file.display());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let loosen = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    for round in ["made", "loosened"] {
        let machine = Arc::new(SystemClock);
        let (store, lock) = Store::open_to_serve(&url, machine).await.unwrap();
        for ending in ["", "-wal", "-shm", ".lock"] {
            let path = folder.join(format!("invites.db{ending}"));
            assert_eq!(mode(&path), 0o600, "{round}: {}", path.display());
        }
        assert_eq!(mode(&folder), 0o700, "{round}");
        store.close().await;
        drop(lock);
        loosen(&file, 0o666);
        loosen(&folder.join("invites.db.lock"), 0o644);
        loosen(&folder, 0o755);
    }
    // A folder that holds something else is somebody else's business.
    fs::write(folder.join("notes.txt"), "").unwrap();
    Store::open(&url, Arc::new(SystemClock)).await.unwrap().close().await;
    assert_eq!((mode(&file), mode(&folder)), (0o600, 0o755));
}

#[tokio::test]
async fn a_symbolic_link_is_the_same_database() {
    let db = Db::sqlite();
    let (store, _held) = db.open_to_serve().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("other.db");
    symlink(db.file(), &link).unwrap();
    let second = db.by_another_name(&link).open_to_serve().await;
    assert!(matches!(second, Err(Error::Locked { .. })));
    let folder = elsewhere.path().join("folder");
    symlink(db.file().parent().unwrap(), &folder).unwrap();
    let second = db.by_another_name(&folder.join("invites.db")).open_to_serve().await;
    assert!(matches!(second, Err(Error::Locked { .. })));
    queue(&db.by_another_name(&link).open().await, ["ada@example.org"]).await;
    let all = store.invites(&InviteFilter::default(), None, 10).await.unwrap();
    assert_eq!(all.invites.len(), 1);
}

#[tokio::test]
async fn a_symbolic_link_to_a_file_that_is_not_there_yet_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.db");
    symlink(folder.path().join("target.db"), &link).unwrap();
    let db = Db::sqlite().by_another_name(&link);
    queue(&db.open().await, ["ada@example.org"]).await;
    assert!(folder.path().join("target.db-wal").exists());
}

#[tokio::test]
async fn a_link_beside_the_database_is_refused_and_what_it_leads_to_is_left_alone() {
    for ending in ["-wal", "-shm", ".lock"] {
        let db = Db::sqlite();
        db.open().await.close().await;
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
        let mut beside = db.file().as_os_str().to_owned();
        beside.push(ending);
        let _ = fs::remove_file(&beside);
        symlink(elsewhere.path(), &beside).unwrap();
        let refused = db.open_to_serve().await;
        assert!(matches!(refused, Err(Error::File { .. })), "{ending}");
        let mode = fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644);
    }
}

#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let db = Db::sqlite();
    db.open().await.close().await;
    let second = db.file().with_extension("second");
    fs::hard_link(db.file(), &second).unwrap();
    for db in [&db, &db.by_another_name(&second)] {
        let error = db.open_to_serve().await.unwrap_err().to_string();
        assert!(error.contains("hard link"), "{error}");
    }
    fs::remove_file(second).unwrap();
    db.open().await;
}

async fn is_refused(store: &Store) {
    let invites = join_all((0..3).map(|n| {
        let request = batch(vec![item(0, &format!("person-{n}@example.org"))]);
        store.accept(request, 0, Quotas::new())
    }));
    for answer in invites.await {
        assert!(matches!(answer, Err(Error::File { .. })), "{answer:?}");
    }
    assert!(matches!(store.ready().await, Err(Error::File { .. })));
}

/// The database file and those beside it that hold what was stored, or hold others off.
fn files(db: &Db) -> Vec<PathBuf> {
    let file = db.file().display().to_string();
    ["", "-wal", "-shm", ".lock"].map(|ending| PathBuf::from(format!("{file}{ending}"))).into()
}

async fn is_taken_again(store: &Store) {
    let accept = || {
        let request = batch(vec![item(0, "later@example.org")]);
        store.accept(request, 0, Quotas::new())
    };
    let began = std::time::Instant::now();
    while accept().await.is_err() {
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}

#[tokio::test]
async fn nothing_is_stored_while_a_file_of_the_database_is_gone() {
    let db = Db::sqlite();
    let (store, _lock) = db.open_to_serve().await.unwrap();
    queue(&store, ["ada@example.org"]).await;
    for file in files(&db) {
        let aside = file.with_extension("aside");
        fs::rename(&file, &aside).unwrap();
        is_refused(&store).await;
        assert!(!file.exists(), "no other is made in its place");
        fs::rename(&aside, &file).unwrap();
        is_taken_again(&store).await;
    }
    let all = store.invites(&InviteFilter::default(), None, 100).await.unwrap();
    assert_eq!(all.invites.len(), 2);
}

#[tokio::test]
async fn nothing_is_stored_while_another_file_is_in_the_place_of_the_database() {
    let db = Db::sqlite();
    let (store, _lock) = db.open_to_serve().await.unwrap();
    let file = db.file();
    let aside = file.with_extension("aside");
    fs::copy(&file, file.with_extension("copy")).unwrap();
    fs::rename(&file, &aside).unwrap();
    fs::rename(file.with_extension("copy"), &file).unwrap();
    is_refused(&store).await;
    fs::rename(&aside, &file).unwrap();
    is_taken_again(&store).await;
}

#[tokio::test]
async fn the_log_is_not_made_anew_while_the_store_is_open() {
    let db = Db::sqlite();
    let store = db.open().await;
    queue(&store, ["ada@example.org"]).await;
    // Another process that comes and goes, as `keys create` does.
    for _ in 0..3 {
        db.open().await.close().await;
        queue(&store, ["ada@example.org"]).await;
    }
    store.ready().await.unwrap();
    store.close().await;
    assert!(!Path::new(&files(&db)[1]).exists(), "the last to close moves it into the database");
}
