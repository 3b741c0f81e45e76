//! What can go wrong with the database, and what each of its errors says of what is stored.

use std::{path::PathBuf, time::Duration};

use rusqlite::ffi;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// How long a list for a caller, who can narrow it, may take.
pub(crate) const LIST: Duration = Duration::from_secs(5);

/// What went wrong in the store, in one line without personal data.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Whether the write took place is not known; asking again, or reading, tells.
    #[error(
        "storing the change: the database gave no answer to the commit, so it may or may not have been stored"
    )]
    CommitUnknown,
    /// The database does not answer, or its connection broke. Nothing was written.
    #[error("reaching the database: {0}; check storage.url and that the database is up")]
    Away(String),
    /// The database refused the work, or had no time for it. Nothing was written.
    #[error("using the database: {0}; check storage.url and that the database is up")]
    Unavailable(String),
    /// The gateway itself failed, whatever the database does. Nothing was written.
    #[error("{0}, which is a defect of the gateway; its log shows where")]
    Defect(&'static str),
    /// The process is ending. Nothing was written.
    #[error("using the database: the gateway is ending and has closed it")]
    Closed,
    /// A list took longer than lists may.
    #[error("reading a list: it took longer than {} s; narrow it by filters", LIST.as_secs())]
    SlowList,
    /// The database has no room. Nothing was written.
    #[error(
        "storing the change: the database has no room or cannot be written: {0}; make room for it"
    )]
    Full(String),
    /// Another process wrote the same thing in between. Nothing was written.
    #[error("storing the change: another process stored the same in between: {0}")]
    Conflict(String),
    /// Another replica put a provider document in force that this one does not know. Nothing was written.
    #[error("storing the change: another provider document went live in between; ask again")]
    Outdated,
    /// A row holds what this version of the program never writes.
    #[error(
        "reading the database: the column {what:?} holds something unreadable; was it written by a newer version?"
    )]
    Corrupt { what: String },
    #[error("opening the database: {} is locked: another gateway serves this database; stop it first", path.display())]
    Locked { path: PathBuf },
    #[error("opening the database: storage.url {0}")]
    Url(&'static str),
    /// The database file, its folder or a file beside it cannot be used.
    #[error("using the database file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// A newer version of the program has changed the tables.
    #[error(
        "opening the database: it was written by a newer version of the gateway (its tables are at {version}, \
         which this version does not know): start that version, or a database of its own"
    )]
    Newer {
        /// The number of the change that this version does not know.
        version: i64,
    },
    /// There is nothing of the gateway in the database.
    #[error(
        "opening the database: it holds no tables of the gateway: name the one that the gateway uses \
         (storage.url), or start the gateway first"
    )]
    Empty,
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
            // A disk, a quota or a table of connections is full.
            sqlx::Error::Database(e) if e.code().is_some_and(|code| code.starts_with("53")) => {
                Self::Full(e.message().to_owned())
            }
            sqlx::Error::Database(e) if ends_connection(&*e) => Self::Away(e.to_string()),
            // Its text quotes the URL, and with it perhaps the password.
            sqlx::Error::Configuration(_) => {
                Self::Url("has a parameter with a value that it cannot have, such as sslmode")
            }
            other @ (sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => {
                Self::Away(other.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Error {
    /// Keeps SQLite's message only: the statement is of no use to whoever reads it.
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, message) = &error else {
            return Self::Unavailable(error.to_string());
        };
        let message = message.clone().unwrap_or_else(|| code.to_string());
        match code.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                Self::Conflict(message)
            }
            // SQLite has no code of its own for a quota: it tells of it as of a disk that cannot be written.
            ffi::SQLITE_FULL | ffi::SQLITE_IOERR_WRITE => Self::Full(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// PostgreSQL ends the connection with such an error.
fn ends_connection(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| error.severity() != PgSeverity::Error)
}

/// Whether this answer to a COMMIT tells that nothing is stored and, once it is rolled back, never will
/// be: PostgreSQL answers with an ERROR only before it commits, but for class 57, with which somebody may
/// interrupt it later, as a FATAL may.
pub(crate) fn is_refused_by_postgres(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
        error.severity() == PgSeverity::Error && !error.code().starts_with("57")
    })
}

/// The same of SQLite. It writes the pages, the last of them with the mark that makes them a commit, and
/// then syncs: a page that could not be written comes before that mark, while after an error of the sync
/// (or of the index behind it) pages and mark may be found by a process that opens the file after a crash.
pub(crate) fn is_refused_by_sqlite(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else { return false };
    code == ffi::SQLITE_IOERR_WRITE
        || [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_CONSTRAINT].contains(&(code & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_without_room_is_full_and_a_commit_that_it_refuses_is_refused() {
        let file = rusqlite::Connection::open_in_memory().unwrap();
        file.execute_batch("CREATE TABLE t (x); PRAGMA max_page_count = 3").unwrap();
        let full = file.execute_batch("INSERT INTO t VALUES (zeroblob(100000))").unwrap_err();
        assert!(is_refused_by_sqlite(&full));
        assert!(matches!(Error::from(full), Error::Full(_)));
        let other = file.execute_batch("COMMIT").unwrap_err();
        assert!(
            !is_refused_by_sqlite(&other),
            "whatever that is, it says nothing of what is stored"
        );
    }

    #[test]
    fn a_connection_that_broke_says_nothing_of_a_commit() {
        let broken = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(!is_refused_by_postgres(&broken));
        assert!(matches!(Error::from(broken), Error::Away(_)));
    }
}
