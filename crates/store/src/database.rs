//! Where the database is, how to connect to it, and its tables.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use sha2::{Digest, Sha256};
use sqlx::{ConnectOptions, Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::{
    Error,
    connection::Connection,
    dialect::{Dialect, MIGRATION_LOCK},
    file::DatabaseFile,
    postgres,
    sqlite::FileConnection,
    statement::Statement,
};

/// The tables, and the number of the change of them that this version knows last. No version has been released yet: until one
/// is, they change in place.
const SCHEMA: &str = include_str!("../migrations/0001_schema.sql");
static SQLITE_SCHEMA: LazyLock<String> = LazyLock::new(|| {
    let tables = SCHEMA.replace("/* WITHOUT ROWID */", "WITHOUT ROWID");
    tables.replace("CREATE SEQUENCE event_numbers;", "")
});
const VERSION: i64 = 1;

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Rows that an index finds at once: a file is read right there, on the thread that asks, because handing the statement to
    /// another thread takes longer than running it.
    Reading,
    /// What may take long: a file is read on a thread beside the async workers.
    Scanning,
    /// Such connections are handed out with a transaction begun.
    Writing,
}

/// Where the database is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) dialect: Dialect,
    place: Place,
}

#[derive(Clone)]
enum Place {
    File(Arc<DatabaseFile>),
    Server(Box<PgConnectOptions>),
}

impl Database {
    pub(crate) fn at(url: &str, must_exist: bool) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(Error::Url("names no file: expected sqlite://PATH"));
            }
            let file = DatabaseFile::at(path, must_exist)?;
            Ok(Self { dialect: Dialect::Sqlite, place: Place::File(file) })
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let server = Box::new(postgres::options(url)?.disable_statement_logging());
            Ok(Self { dialect: Dialect::Postgres, place: Place::Server(server) })
        } else {
            Err(Error::Url("must start with sqlite:// or postgres://"))
        }
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> Option<&Arc<DatabaseFile>> {
        match &self.place {
            Place::File(file) => Some(file),
            Place::Server(_) => None,
        }
    }

    /// How a server is reached.
    pub(crate) fn server(&self) -> Option<&PgConnectOptions> {
        match &self.place {
            Place::File(_) => None,
            Place::Server(options) => Some(options),
        }
    }

    /// A new connection, however long that takes.
    pub(crate) async fn connect(&self, purpose: Use) -> Result<Connection, Error> {
        let mut connection = self.connect_bare().await?;
        connection.batch(self.dialect.settings()).await?;
        let settings = match purpose {
            Use::Reading | Use::Scanning => self.dialect.reader_settings(),
            Use::Writing => self.dialect.writer_settings(),
        };
        connection.batch(settings).await?;
        // The file may have been replaced while it was opened.
        self.check_file().await?;
        if let Some(file) = self.file() {
            let mode = Statement::new("PRAGMA journal_mode")
                .first(&mut connection, |row| row.string())
                .await?;
            if mode.as_deref() != Some("wal") {
                let reason =
                    "its file system does not let SQLite write ahead (WAL): use another one";
                return Err(Error::File { path: file.path().to_owned(), reason: reason.into() });
            }
        }
        Ok(connection)
    }

    /// A new connection without any settings.
    async fn connect_bare(&self) -> Result<Connection, Error> {
        self.check_file().await?;
        Ok(match &self.place {
            Place::File(file) => Connection::Sqlite(FileConnection::open(file.path()).await?),
            Place::Server(options) => {
                Connection::Postgres(Box::new(PgConnection::connect_with(options).await?))
            }
        })
    }

    /// Fails if the file of SQLite is no longer the one that was opened: what is written to a file that nobody finds again is
    /// lost.
    pub(crate) async fn check_file(&self) -> Result<(), Error> {
        match self.file() {
            Some(file) => file.check().await,
            None => Ok(()),
        }
    }

    /// The same on this thread.
    pub(crate) fn check_file_here(&self) -> Result<(), Error> {
        self.file().map_or(Ok(()), |file| file.check_now())
    }

    /// A connection that has read: while it is open, SQLite keeps its log.
    pub(crate) async fn anchor(&self) -> Result<Option<Connection>, Error> {
        let Some(file) = self.file() else { return Ok(None) };
        let mut anchor = self.connect(Use::Scanning).await?;
        anchor.batch("SELECT count(*) FROM sqlite_schema").await?;
        file.note_opened()?;
        Ok(Some(anchor))
    }

    /// Fails if there are no tables of ours, without touching the file, which may be another program's.
    pub(crate) async fn expect_tables(&self) -> Result<(), Error> {
        let mut connection = self.connect_bare().await?;
        let found = self.has_tables(&mut connection).await?;
        connection.close().await;
        if found { Ok(()) } else { Err(Error::Empty) }
    }

    async fn has_tables(&self, connection: &mut Connection) -> Result<bool, Error> {
        let found = Statement::new(self.dialect.has_tables()).first(connection, |_| Ok(())).await?;
        Ok(found.is_some())
    }

    fn schema(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => &SQLITE_SCHEMA,
            Dialect::Postgres => SCHEMA,
        }
    }

    /// Brings the tables up to date, in one transaction under a lock, so that several processes may start at the same time.
    pub(crate) async fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.batch(self.dialect.begin()).await?;
        connection.batch(self.dialect.migration_settings()).await?;
        self.dialect.lock(connection, &BTreeSet::from([MIGRATION_LOCK])).await?;
        let hash = base16ct::lower::encode_string(&Sha256::digest(SCHEMA));
        if self.has_tables(connection).await? {
            check_version(connection, &hash).await?;
        } else {
            connection.batch(self.schema()).await?;
            Statement::with(
                "INSERT INTO schema_versions (version, hash) VALUES (?, ?)",
                [VERSION.into(), hash.into()],
            )
            .execute(connection)
            .await?;
        }
        connection.batch("COMMIT").await
    }
}

/// Fails unless the tables are those that this version knows.
async fn check_version(connection: &mut Connection, hash: &str) -> Result<(), Error> {
    let newest = Statement::new("SELECT version, hash FROM schema_versions ORDER BY version DESC")
        .first(connection, |row| Ok((row.number()?, row.string()?)))
        .await?;
    match newest {
        Some((version, _)) if version > VERSION => Err(Error::Newer { version }),
        Some((VERSION, known)) if known == hash => Ok(()),
        _ => Err(Error::Migration(
            "they were made by a version between releases, with other tables; use a database of its own"
                .into(),
        )),
    }
}
