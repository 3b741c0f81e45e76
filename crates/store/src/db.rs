//! The database: opening it, its connections, and closing it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Once, PoisonError},
};

use invite_core::{Clock, random};
use jiff::Timestamp;
use sqlx::{
    AnyConnection, ConnectOptions, Connection, Executor, Row, any::AnyConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tokio::time::timeout;

use crate::{
    Error, Lock,
    connections::{Connections, Taken, Use},
    deadline::{CLOSE, CONNECT, MIGRATION, within},
    dialect::{Dialect, MIGRATION_LOCK},
    file::DatabaseFile,
    readiness::{self, Readiness},
    statement::Statement,
    writer::{self, Writer},
};

/// Connections for reading.
const READERS: usize = 4;

/// All that the gateway remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Arc<dyn Clock>,
    readers: Connections,
    writer: Writer,
    /// A connection to a file that is open from the start to the end, so that SQLite does not remove
    /// the log when no other is: it can be told from another by its number.
    anchor: Mutex<Option<AnyConnection>>,
    readiness: Readiness,
    readiness_row: i64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?})", self.0.database.dialect)
    }
}

impl Store {
    /// Opens a database and brings its tables up to date. `url` is `sqlite://PATH`, where file and
    /// folder are made if need be, or `postgres://…`.
    ///
    /// # Errors
    /// The URL, the file or the server cannot be used, or the tables belong to a newer version.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::start(Database::at(url)?, clock).await
    }

    /// The same for the process that serves it: a SQLite database is held against a second one from
    /// before anything in it is touched, by an exclusive lock on the file `<database>.lock` beside it.
    /// PostgreSQL is made for several, and nothing is held.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it; and as above.
    pub async fn open_to_serve(
        url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Option<Lock>), Error> {
        let database = Database::at(url)?;
        let lock = database.file.as_ref().map(|file| file.lock()).transpose()?;
        Ok((Self::start(database, clock).await?, lock))
    }

    async fn start(database: Database, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut connection = within(CONNECT, database.connect(Use::Writing)).await?;
        within(MIGRATION, database.migrate(&mut connection)).await?;
        let anchor = within(CONNECT, database.anchor()).await?;
        let readers = Connections::new(database.clone(), Use::Reading, READERS);
        let writer = writer::start(database.clone(), connection, Arc::clone(&clock));
        let anchor = Mutex::new(anchor);
        let readiness_row = i64::from(u32::from_le_bytes(random::bytes()) % readiness::ROWS);
        let readiness = Readiness::default();
        let inner = Inner { database, clock, readers, writer, anchor, readiness, readiness_row };
        Ok(Self(Arc::new(inner)))
    }

    /// Other replicas may be at work on this database.
    pub fn is_shared(&self) -> bool {
        self.0.database.dialect == Dialect::Postgres
    }

    /// What of the server's settings lets a crash lose what was answered; nothing of a SQLite file.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn unsafe_settings(&self) -> Result<Vec<String>, Error> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        let mut connection = self.reader().await?;
        Statement::new("SELECT name FROM pg_settings WHERE setting = 'off' ")
            .text("AND name IN ('fsync', 'full_page_writes') ORDER BY name")
            .all(&mut connection, |row| row.string())
            .await
    }

    /// Finishes the writes that were asked for, then ends every connection. A database that does not
    /// answer is not waited for.
    pub async fn close(&self) {
        let anchor = self.0.anchor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closing = async {
            self.0.writer.close().await;
            self.0.readers.close().await;
            // The last one: it moves SQLite's log into the database file.
            if let Some(anchor) = anchor {
                let _ = anchor.close().await;
            }
        };
        if timeout(CLOSE, closing).await.is_err() {
            tracing::warn!("the database does not answer; its connections are given up");
            self.0.writer.abort();
        }
    }

    /// How many transactions this process has committed.
    pub fn commits(&self) -> u64 {
        self.0.writer.commits()
    }

    pub(crate) async fn reader(&self) -> Result<Taken, Error> {
        self.0.readers.take().await
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    pub(crate) fn readiness_row(&self) -> i64 {
        self.0.readiness_row
    }

    /// The time by the gateway's clock, for reading an `expires_at`.
    pub(crate) fn clock_now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The time by the clock that leases are written with.
    pub(crate) async fn lease_now(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Timestamp, Error> {
        self.0.database.dialect.now(connection, &*self.0.clock).await
    }
}

/// Where the database is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) dialect: Dialect,
    options: AnyConnectOptions,
    /// Of SQLite.
    pub(crate) file: Option<Arc<DatabaseFile>>,
}

impl Database {
    fn at(url: &str) -> Result<Self, Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let (dialect, options, file) = if let Some(path) = url.strip_prefix("sqlite://") {
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(Error::Url("names no file: expected sqlite://PATH"));
            }
            let file = DatabaseFile::at(path)?;
            // If it goes, no other takes its place.
            let options = SqliteConnectOptions::new().filename(file.path());
            (Dialect::Sqlite, AnyConnectOptions::from_url(&options.to_url_lossy()), Some(file))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            (Dialect::Postgres, url.parse(), None)
        } else {
            return Err(Error::Url("must start with sqlite:// or postgres://"));
        };
        // What the parser says may quote the password.
        let options = options.map_err(|_| Error::Url("is not a valid URL"))?;
        Ok(Self { dialect, options: options.disable_statement_logging(), file })
    }

    /// A new connection, however long that takes.
    pub(crate) async fn connect(&self, purpose: Use) -> Result<AnyConnection, Error> {
        self.check_file().await?;
        let mut connection = AnyConnection::connect_with(&self.options).await?;
        connection.execute(self.dialect.settings()).await?;
        let settings = match purpose {
            Use::Reading => self.dialect.reader_settings(),
            Use::Writing => self.dialect.writer_settings(),
        };
        connection.execute(settings).await?;
        // Now it is known which file that was.
        self.check_file().await?;
        if let Some(file) = &self.file {
            let mode = connection.fetch_one("PRAGMA journal_mode").await?;
            if mode.try_get::<&str, _>(0)? != "wal" {
                let reason =
                    "its file system does not let SQLite write ahead (WAL): use another one";
                return Err(Error::File { path: file.path().to_owned(), reason: reason.into() });
            }
        }
        Ok(connection)
    }

    /// The file of SQLite is the one that was opened.
    pub(crate) async fn check_file(&self) -> Result<(), Error> {
        match &self.file {
            Some(file) => file.check().await,
            None => Ok(()),
        }
    }

    /// A connection that has read, which SQLite keeps its log for.
    async fn anchor(&self) -> Result<Option<AnyConnection>, Error> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut anchor = self.connect(Use::Reading).await?;
        anchor.execute("SELECT count(*) FROM sqlite_schema").await?;
        file.note_log()?;
        Ok(Some(anchor))
    }

    /// Everything in one transaction that no other process enters, so that several may start at
    /// the same time.
    async fn migrate(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        let mut migrator = sqlx::migrate!();
        migrator.set_locking(false);
        let mut transaction = connection.begin_with(self.dialect.begin()).await?;
        transaction.execute(self.dialect.migration_settings()).await?;
        self.dialect.lock(&mut transaction, &BTreeSet::from([MIGRATION_LOCK])).await?;
        migrator.run(&mut *transaction).await.map_err(|e| Error::Migration(e.to_string()))?;
        Ok(transaction.commit().await?)
    }
}
