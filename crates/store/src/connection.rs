//! A connection to either database: what runs on it, and the rows that it answers with, which look the same for both.

use sqlx::{Connection as _, PgConnection};

use crate::{
    Error,
    dialect::Dialect,
    error::{is_refused_by_postgres, is_refused_by_sqlite},
    postgres,
    sqlite::{self, FileConnection},
    values::{Rows, Value},
};

pub(crate) enum Connection {
    Sqlite(FileConnection),
    Postgres(Box<PgConnection>),
}

/// Why there is no answer that says that a commit is stored.
pub(crate) enum NotCommitted {
    /// Nothing is stored and, once it is rolled back, never will be.
    Refused(Error),
    /// It may be stored.
    Unknown(Error),
}

impl Connection {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Whether it can be used again. A file's connection cannot once somebody has stopped waiting for it.
    pub(crate) fn is_usable(&self) -> bool {
        match self {
            Self::Sqlite(file) => file.is_usable(),
            Self::Postgres(_) => true,
        }
    }

    /// From now on a file's statements run on the thread that asks for them.
    pub(crate) fn stay_on_this_thread(&mut self) {
        if let Self::Sqlite(file) = self {
            file.stay_on_this_thread();
        }
    }

    /// Runs statements that have no values and whose rows nobody reads.
    pub(crate) async fn batch(&mut self, text: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(file) => file.batch(text).await,
            Self::Postgres(connection) => Ok(postgres::batch(connection, text).await?),
        }
    }

    /// Runs a statement; returns how many rows it wrote.
    pub(crate) async fn execute(
        &mut self,
        text: String,
        values: Vec<Value<'_>>,
    ) -> Result<u64, Error> {
        match self {
            Self::Sqlite(file) => file.execute(text, values).await,
            Self::Postgres(connection) => Ok(postgres::execute(connection, text, values).await?),
        }
    }

    /// Runs a statement; returns its rows.
    pub(crate) async fn fetch(
        &mut self,
        text: String,
        values: Vec<Value<'_>>,
    ) -> Result<Rows, Error> {
        match self {
            Self::Sqlite(file) => file.fetch(text, values).await,
            Self::Postgres(connection) => Ok(postgres::fetch(connection, text, values).await?),
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), NotCommitted> {
        const COMMIT: &str = "COMMIT";
        let (is_refused, error) = match self {
            Self::Sqlite(file) => match file.run(|file| sqlite::execute(file, COMMIT, &[])).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => (is_refused_by_sqlite(&error), error.into()),
                Err(error) => (false, error),
            },
            Self::Postgres(connection) => match postgres::batch(connection, COMMIT).await {
                Ok(()) => return Ok(()),
                Err(error) => (is_refused_by_postgres(&error), error.into()),
            },
        };
        Err(if is_refused { NotCommitted::Refused(error) } else { NotCommitted::Unknown(error) })
    }

    /// Whether there is still somebody at the other end.
    pub(crate) async fn ping(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(connection) => Ok(connection.ping().await?),
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(file) => file.close().await,
            // If this fails, the server notices that the connection is gone.
            Self::Postgres(connection) => drop(connection.close().await),
        }
    }
}
