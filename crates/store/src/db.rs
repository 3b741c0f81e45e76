//! The store: opening it, its connections, and closing it.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use invite_core::{Clock, EventType, SteadyClock, random};
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Error, Lock, clock,
    connection::Connection,
    connections::{Connections, InUse},
    counts::LastCount,
    database::{Database, Use},
    deadline::{ANSWER, CLOSE, CONNECT, MIGRATION, within},
    dialect::Dialect,
    events::Signal,
    keyed::HashKey,
    news::Teller,
    readiness::{self, Readiness},
    sessions,
    statement::Statement,
    together::{Together, Work},
    writer::{self, Tx, Writer},
};

const READERS: usize = 4;
const SCANNERS: usize = 4;
/// Lists, which may take long, have connections of their own, so that whoever reads one row does not wait for them.
const LISTERS: usize = 2;

/// All that the gateway remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Arc<SteadyClock>,
    readers: Connections,
    scanners: Connections,
    listers: Connections,
    writer: Writer,
    told: Arc<Signal>,
    /// With PostgreSQL.
    teller: Option<Teller>,
    /// A connection that is open from start to end, so that SQLite does not remove its log while no other is: by the log's
    /// number [`DatabaseFile`](crate::file::DatabaseFile) sees that it is the same.
    anchor: Mutex<Option<Connection>>,
    readiness: Readiness,
    readiness_row: i64,
    hash_key: Arc<HashKey>,
    last_count: LastCount,
    cleaning: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?})", self.0.database.dialect)
    }
}

impl Store {
    /// Opens a database and brings its tables up to date. `url` is `sqlite://PATH`, where file and folder are made if need be,
    /// or `postgres://…`. `machine` is this machine's clock, from which the store makes its own [`clock`](Self::clock).
    ///
    /// # Errors
    /// The URL, the file or the server cannot be used, or the tables belong to a newer version.
    pub async fn open(url: &str, machine: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::start(Database::at(url, false)?, false, machine).await
    }

    /// The same, but no SQLite file is made where there is none.
    ///
    /// # Errors
    /// As above, and there is no such file.
    pub async fn open_existing(url: &str, machine: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::start(Database::at(url, true)?, true, machine).await
    }

    /// The same for the process that serves it: before anything in a SQLite database is touched, it is locked against a second
    /// gateway, by an exclusive lock on the file `<database>.lock` beside it. PostgreSQL is made for several, without a lock.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it; and as above.
    pub async fn open_to_serve(
        url: &str,
        machine: Arc<dyn Clock>,
    ) -> Result<(Self, Option<Lock>), Error> {
        let database = Database::at(url, false)?;
        let lock = database.file().map(|file| file.lock()).transpose()?;
        Ok((Self::start(database, false, machine).await?, lock))
    }

    async fn start(
        database: Database,
        must_exist: bool,
        machine: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        if let Some(server) = database.server() {
            sessions::expect_own(server).await?;
        }
        if must_exist {
            within(CONNECT, database.expect_tables()).await?;
        }
        let mut connection = within(CONNECT, database.connect(Use::Writing)).await?;
        within(MIGRATION, database.migrate(&mut connection)).await?;
        let hash_key = Arc::new(within(ANSWER, HashKey::of(&mut connection)).await?);
        let clock = Arc::new(clock::start(database.dialect, &mut connection, machine).await?);
        let anchor = within(CONNECT, database.anchor()).await?;
        let readers = Connections::new(database.clone(), Use::Reading, READERS);
        let scanners = Connections::new(database.clone(), Use::Scanning, SCANNERS);
        let listers = Connections::new(database.clone(), Use::Scanning, LISTERS);
        let teller =
            (database.dialect == Dialect::Postgres).then(|| Teller::start(readers.clone()));
        let told = Arc::new(Signal::default());
        let writer =
            writer::start(database.clone(), connection, Arc::clone(&clock), Arc::clone(&told))?;
        let anchor = Mutex::new(anchor);
        let readiness_row = i64::from(u32::from_le_bytes(random::bytes()) % readiness::ROWS);
        let readiness = Readiness::default();
        Ok(Self(Arc::new(Inner {
            database,
            clock,
            readers,
            scanners,
            listers,
            writer,
            told,
            teller,
            anchor,
            readiness,
            readiness_row,
            hash_key,
            last_count: LastCount::default(),
            cleaning: tokio::sync::Mutex::default(),
        })))
    }

    /// Whether other replicas may use this database.
    pub fn is_shared(&self) -> bool {
        self.0.database.dialect == Dialect::Postgres
    }

    /// The absolute path of a SQLite database's file, and whether it was made when it was opened.
    pub fn file(&self) -> Option<(&Path, bool)> {
        self.0.database.file().map(|file| (file.path(), file.is_new()))
    }

    /// The server's settings by which a crash may lose what was answered; none of a SQLite file.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn unsafe_settings(&self) -> Result<Vec<String>, Error> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        Statement::new("SELECT name FROM pg_settings WHERE setting = 'off' ")
            .text("AND name IN ('fsync', 'full_page_writes') ORDER BY name")
            .all(&mut *self.reader().await?, |row| row.string())
            .await
    }

    /// Finishes the writes that were asked for, then ends every connection. A database that does not
    /// answer is not waited for.
    pub async fn close(&self) {
        let anchor = self.0.anchor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closing = async {
            self.0.writer.close().await;
            self.0.readers.close().await;
            self.0.scanners.close().await;
            self.0.listers.close().await;
            // The last one: it moves SQLite's log into the database file.
            if let Some(anchor) = anchor {
                anchor.close().await;
            }
        };
        if timeout(CLOSE, closing).await.is_err() {
            tracing::warn!(
                "the database did not answer when it was closed; its connections are given up"
            );
            self.0.writer.abort();
        }
    }

    /// How many transactions this process has committed.
    pub fn commits(&self) -> u64 {
        self.0.writer.commits()
    }

    /// For rows that an index finds at once.
    pub(crate) async fn reader(&self) -> Result<InUse, Error> {
        self.0.readers.take().await
    }

    /// For what the engine counts and looks for, which takes longer the more there is.
    pub(crate) async fn scanner(&self) -> Result<InUse, Error> {
        self.0.scanners.take().await
    }

    /// For what callers list.
    pub(crate) async fn lister(&self) -> Result<InUse, Error> {
        self.0.listers.take().await
    }

    /// See [`Writer::write`].
    pub(crate) async fn write<D: Send + Sync + 'static, T: Send + 'static>(
        &self,
        locks: Vec<u32>,
        data: D,
        work: impl for<'c> Fn(Tx<'c>, &'c D) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.0.writer.write(locks, data, work).await
    }

    /// Tells the feed that a provider is in another state, soon, and in the order of these calls.
    pub fn tell_provider_state(&self, provider: &str, state: Json) {
        let data = (provider.to_owned(), state);
        self.0.writer.write_soon(data, |tx, (provider, state)| {
            tx.events.tell(EventType::ProviderStateChanged, None, provider, state);
            Box::pin(async { Ok(()) })
        });
    }

    /// The same for a write that is done together with others of its kind.
    pub(crate) async fn write_together<D: Send + Sync + 'static, T: Send + 'static>(
        &self,
        locks: Vec<u32>,
        data: D,
        work: Work<D, T>,
    ) -> Result<T, Error> {
        let (caller, answer) = oneshot::channel();
        let job = Together::one(locks, data, work, caller);
        self.0.writer.submit(Box::new(job), answer).await
    }

    pub(crate) fn hash_key(&self) -> &Arc<HashKey> {
        &self.0.hash_key
    }

    pub(crate) fn last_count(&self) -> &LastCount {
        &self.0.last_count
    }

    /// Held by the one task that cleans the database.
    pub(crate) fn cleaning(&self) -> &tokio::sync::Mutex<()> {
        &self.0.cleaning
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) fn teller(&self) -> Option<&Teller> {
        self.0.teller.as_ref()
    }

    /// Of events that are written.
    pub(crate) fn told(&self) -> &Signal {
        &self.0.told
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    pub(crate) fn readiness_row(&self) -> i64 {
        self.0.readiness_row
    }

    /// The clock of all times that are stored: PostgreSQL's, or with SQLite this machine's, without jumps. Whoever compares a
    /// time with a stored one uses this clock.
    pub fn clock(&self) -> Arc<SteadyClock> {
        Arc::clone(&self.0.clock)
    }

    /// The time by this clock, without asking the database.
    pub(crate) fn clock_now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The time by this clock, for which PostgreSQL is asked.
    pub(crate) async fn synchronized_now(
        &self,
        connection: &mut Connection,
    ) -> Result<Timestamp, Error> {
        clock::now(self.0.database.dialect, connection, &self.0.clock).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_and_webhooks_are_found_while_lists_hold_every_connection_of_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let store = Store::open(&url, Arc::new(invite_core::SystemClock)).await.unwrap();
        let lists = [store.lister().await.unwrap(), store.lister().await.unwrap()];
        let limit = std::time::Duration::from_secs(1);
        assert!(timeout(limit, store.lister()).await.is_err(), "a third list waits");
        assert!(timeout(limit, store.key_by_hash("x")).await.unwrap().unwrap().is_none());
        assert_eq!(timeout(limit, store.enabled_webhooks()).await.unwrap().unwrap(), []);
        drop(lists);
        assert!(store.lister().await.is_ok());
        store.close().await;
    }

    #[tokio::test]
    async fn a_connection_that_writes_to_a_file_waits_for_the_disk_and_overwrites_what_it_deletes()
    {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let mut connection =
            Database::at(&url, false).unwrap().connect(Use::Writing).await.unwrap();
        for (pragma, effective) in [
            ("synchronous", 3),
            ("fullfsync", 1),
            ("checkpoint_fullfsync", 1),
            ("secure_delete", 1),
        ] {
            let found = Statement::new(&format!("PRAGMA {pragma}"))
                .first(&mut connection, |row| row.number())
                .await;
            assert_eq!(found.unwrap(), Some(effective), "{pragma}");
        }
    }
}
