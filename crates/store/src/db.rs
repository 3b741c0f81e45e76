//! The database: opening it, its connections, and what can go wrong with it.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};

use invite_core::{Clock, SteadyClock};
use jiff::Timestamp;
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
    pool::PoolConnection,
    sqlite::SqliteConnectOptions,
};

use crate::{
    clock,
    dialect::{Dialect, MIGRATION_LOCK},
    statement::Statement,
    writer::{self, Writer},
};

/// Connections for reading.
const READERS: u32 = 4;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// What went wrong in the store, in one line without personal data.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Whether the write took place is not known; asking again, or looking, tells.
    #[error(
        "storing the change: the database gave no answer to the commit, so it may or may not have been stored"
    )]
    CommitUnknown,
    /// The database cannot be reached, or refused the work. Nothing was written.
    #[error("using the database: {0}; check storage.url and that the database is up")]
    Unavailable(String),
    /// Another process wrote the same thing in between. Nothing was written.
    #[error("storing the change: another process stored the same in between: {0}")]
    Conflict(String),
    /// Another replica put another provider document in force, which this one has not seen. Nothing
    /// was written.
    #[error("storing the change: another provider document went live in between; ask again")]
    Outdated,
    /// A row holds what this version of the program never writes.
    #[error(
        "reading the database: the column {what:?} holds something unreadable; was it written by a newer version?"
    )]
    Corrupt {
        /// The column.
        what: String,
    },
    /// Another process serves this database.
    #[error("opening the database: {} is locked: another gateway serves this database; stop it first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// `storage.url` names no database.
    #[error("opening the database: storage.url {0}")]
    Url(&'static str),
    /// The database file, its folder or its lock file cannot be used.
    #[error("opening the database: {}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The database's tables cannot be brought up to date.
    #[error("bringing the database's tables up to date: {0}")]
    Migration(String),
}

impl From<sqlx::Error> for Error {
    /// Keeps the message only: a database's further details quote the row.
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(e) if e.is_unique_violation() => {
                Self::Conflict(e.message().to_owned())
            }
            sqlx::Error::ColumnDecode { index, .. } => Self::Corrupt { what: index },
            sqlx::Error::PoolTimedOut => {
                Self::Unavailable("no connection became free in time".into())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// All that the gateway remembers. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Arc<SteadyClock>,
    readers: AnyPool,
    writer: Writer,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?})", self.0.database.dialect)
    }
}

/// Holds a SQLite database against a second gateway until it is dropped.
#[derive(Debug)]
#[must_use = "the database is locked only as long as this lives"]
pub struct Lock(#[expect(dead_code, reason = "closing the file ends the lock")] Option<File>);

impl Store {
    /// Opens a database and brings its tables up to date. `url` is `sqlite://PATH`, where file and
    /// folder are made if need be, or `postgres://…`. `machine` are this machine's clocks; what to go by
    /// is the store's own [`clock`](Self::clock).
    ///
    /// # Errors
    /// The URL, the file or the server cannot be used, or the tables belong to a newer version.
    pub async fn open(url: &str, machine: Arc<dyn Clock>) -> Result<Self, Error> {
        let database = Database::at(url)?;
        let mut connection = database.connect().await?;
        database.migrate(&mut connection).await?;
        let dialect = database.dialect;
        let clock = Arc::new(clock::start(dialect, &mut connection, machine).await?);
        let readers = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(CONNECT)
            // A connection of SQLite's does not get lost.
            .test_before_acquire(dialect == Dialect::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute(dialect.settings()).await?;
                    connection.execute(dialect.reader_settings()).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(database.options.clone());
        let writer = writer::start(database.clone(), connection, Arc::clone(&clock));
        Ok(Self(Arc::new(Inner { database, clock, readers, writer })))
    }

    /// Holds a SQLite database against a second gateway, by an exclusive lock on the file
    /// `<database>.lock` beside it. PostgreSQL is made for several, and nothing is held.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let Some(database) = &self.0.database.path else { return Ok(Lock(None)) };
        let mut path = database.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let unusable =
            |e: std::io::Error| Error::File { path: path.clone(), reason: e.to_string() };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
            Err(TryLockError::Error(e)) => Err(unusable(e)),
        }
    }

    /// Other replicas may be at work on this database.
    pub fn is_shared(&self) -> bool {
        self.0.database.dialect == Dialect::Postgres
    }

    /// The database can be read and written.
    ///
    /// # Errors
    /// It cannot.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut connection = self.reader().await?;
        Statement::new("SELECT 1").first(&mut connection, |_| Ok(())).await?;
        self.write(Vec::new(), |_| Box::pin(async { Ok(()) })).await
    }

    /// Finishes the writes that were asked for, then ends every connection.
    pub async fn close(&self) {
        self.0.writer.close().await;
        self.0.readers.close().await;
    }

    /// How many transactions this process has committed.
    pub fn commits(&self) -> u64 {
        self.0.writer.commits()
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<sqlx::Any>, Error> {
        Ok(self.0.readers.acquire().await?)
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// The time that everything stored is written and read by, steadily: PostgreSQL's, or with SQLite this
    /// machine's. Whoever compares a time with a stored one goes by this clock.
    pub fn clock(&self) -> Arc<SteadyClock> {
        Arc::clone(&self.0.clock)
    }

    /// The same without asking the database.
    pub(crate) fn clock_now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The time at this moment, which the database is asked for.
    pub(crate) async fn lease_now(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Timestamp, Error> {
        clock::now(self.0.database.dialect, connection, &self.0.clock).await
    }
}

/// Where the database is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) dialect: Dialect,
    options: AnyConnectOptions,
    /// The file, of SQLite.
    path: Option<PathBuf>,
}

impl Database {
    fn at(url: &str) -> Result<Self, Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let (dialect, options, path) = if let Some(path) = url.strip_prefix("sqlite://") {
            let path = database_file(path)?;
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            (Dialect::Sqlite, AnyConnectOptions::from_url(&options.to_url_lossy()), Some(path))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            (Dialect::Postgres, url.parse(), None)
        } else {
            return Err(Error::Url("must start with sqlite:// or postgres://"));
        };
        // What the parser says may quote the password.
        let options = options.map_err(|_| Error::Url("is not a valid URL"))?;
        Ok(Self { dialect, options: options.disable_statement_logging(), path })
    }

    /// A connection for writing.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, Error> {
        let connecting = async {
            let mut connection = AnyConnection::connect_with(&self.options).await?;
            connection.execute(self.dialect.settings()).await?;
            connection.execute(self.dialect.writer_settings()).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(Error::Unavailable("no connection came about in time".into())),
        }
    }

    /// Everything in one transaction that no other process enters, so that several may start at
    /// the same time.
    async fn migrate(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        let mut migrator = sqlx::migrate!();
        migrator.set_locking(false);
        let mut transaction = connection.begin_with(self.dialect.begin()).await?;
        self.dialect.lock(&mut transaction, &BTreeSet::from([MIGRATION_LOCK])).await?;
        migrator.run(&mut *transaction).await.map_err(|e| Error::Migration(e.to_string()))?;
        Ok(transaction.commit().await?)
    }
}

/// The file that the URL names, as an absolute path; its folder is made.
fn database_file(path: &str) -> Result<PathBuf, Error> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path.is_empty() || path == ":memory:" {
        return Err(Error::Url("names no file: expected sqlite://PATH"));
    }
    let unusable =
        |e: std::io::Error| Error::File { path: PathBuf::from(path), reason: e.to_string() };
    let path = std::path::absolute(path).map_err(unusable)?;
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(unusable)?;
    Ok(path)
}
