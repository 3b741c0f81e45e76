//! Where the database is, how to connect to it, and its tables.

use std::{
    collections::BTreeSet,
    sync::{Arc, Once},
};

use sqlx::{
    AnyConnection, ConnectOptions, Connection, Executor, Row, SqlSafeStr,
    any::AnyConnectOptions,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

use crate::{
    Error,
    dialect::{Dialect, MIGRATION_LOCK},
    file::DatabaseFile,
    postgres,
};

/// The tables. No version has been released yet: until one is, they change in place.
const SCHEMA: &str = include_str!("../migrations/0001_schema.sql");

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Reading,
    /// Such connections are handed out with a transaction begun.
    Writing,
}

/// Where the database is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) dialect: Dialect,
    options: AnyConnectOptions,
    /// The file of a SQLite database.
    pub(crate) file: Option<Arc<DatabaseFile>>,
}

impl Database {
    pub(crate) fn at(url: &str, must_exist: bool) -> Result<Self, Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let (dialect, options, file) = if let Some(path) = url.strip_prefix("sqlite://") {
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(Error::Url("names no file: expected sqlite://PATH"));
            }
            let file = DatabaseFile::at(path, must_exist)?;
            // SQLite must not create another file if this one goes.
            let options = SqliteConnectOptions::new().filename(file.path());
            (Dialect::Sqlite, AnyConnectOptions::from_url(&options.to_url_lossy()), Some(file))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self {
                dialect: Dialect::Postgres,
                options: postgres::options(url)?.disable_statement_logging(),
                file: None,
            });
        } else {
            return Err(Error::Url("must start with sqlite:// or postgres://"));
        };
        // The parser's error may quote the password.
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
        // The file may have been replaced while it was opened.
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

    /// Fails if the file of SQLite is no longer the one that was opened: what is written to a file that nobody finds again is
    /// lost.
    pub(crate) async fn check_file(&self) -> Result<(), Error> {
        match &self.file {
            Some(file) => file.check().await,
            None => Ok(()),
        }
    }

    /// A connection that has read: while it is open, SQLite keeps its log.
    pub(crate) async fn anchor(&self) -> Result<Option<AnyConnection>, Error> {
        let Some(file) = &self.file else { return Ok(None) };
        let mut anchor = self.connect(Use::Reading).await?;
        anchor.execute("SELECT count(*) FROM sqlite_schema").await?;
        file.note_opened()?;
        Ok(Some(anchor))
    }

    /// Fails if there are no tables of ours, without touching the file, which may be another program's.
    pub(crate) async fn expect_tables(&self) -> Result<(), Error> {
        let mut connection = AnyConnection::connect_with(&self.options).await?;
        let found = connection.fetch_optional(self.dialect.has_tables()).await?;
        connection.close().await?;
        found.map(|_| ()).ok_or(Error::Empty)
    }

    /// Brings the tables up to date, in one transaction under a lock, so that several processes may start at the same time.
    pub(crate) async fn migrate(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        let mut migrator = Migrator::with_migrations(vec![Migration::new(
            1,
            "schema".into(),
            MigrationType::Simple,
            SCHEMA.into_sql_str(),
            false,
        )]);
        migrator.set_locking(false);
        let mut transaction = connection.begin_with(self.dialect.begin()).await?;
        transaction.execute(self.dialect.migration_settings()).await?;
        self.dialect.lock(&mut transaction, &BTreeSet::from([MIGRATION_LOCK])).await?;
        migrator.run(&mut *transaction).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                Error::Newer { version }
            }
            MigrateError::VersionMismatch(version) => Error::Migration(format!(
                "they were made by a version between releases, with another change {version}; use a \
                 database of its own"
            )),
            error => Error::Migration(error.to_string()),
        })?;
        Ok(transaction.commit().await?)
    }
}
