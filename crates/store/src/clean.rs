//! Cleaning the database's files of what was deleted. SQLite overwrites it in its page (`secure_delete`), but older copies of
//! a page stay in the log until that is truncated, and parts in the unused room of other pages until the file is rewritten.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Error, Store,
    connection::Connection,
    database::Use,
    deadline::{CONNECT, within},
    dialect::Dialect,
    statement::Statement,
};

/// How often truncating a log that somebody reads is tried, and the pause between.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);
/// The longest file that is rewritten, in bytes: nothing else can be written meanwhile.
const REWRITTEN: i64 = 256 << 20;
/// How long rewriting may take.
const REWRITE: Duration = Duration::from_secs(60);

impl Store {
    /// Truncates SQLite's log; `thorough`: rewrites its file before that, if it is not too long, or has
    /// PostgreSQL vacuum its tables. Whether all of that was done.
    ///
    /// # Errors
    /// The database cannot be used; what was erased is erased all the same.
    pub async fn clean(&self, thorough: bool) -> Result<bool, Error> {
        let dialect = self.database().dialect;
        if dialect == Dialect::Postgres && !thorough {
            return Ok(true);
        }
        let _alone = self.cleaning().lock().await;
        let mut connection = within(CONNECT, self.database().connect(Use::Writing)).await?;
        let cleaned = match dialect {
            Dialect::Sqlite => clean_file(&mut connection, thorough).await,
            Dialect::Postgres => vacuum_tables(&mut connection).await,
        };
        // The connection is not used again, so it does not matter whether this succeeds.
        let _ = timeout(CONNECT, connection.close()).await;
        cleaned
    }
}

async fn clean_file(connection: &mut Connection, thorough: bool) -> Result<bool, Error> {
    let mut is_rewritten = !thorough;
    if thorough && file_length(connection).await? <= REWRITTEN {
        within(REWRITE, connection.batch("VACUUM")).await?;
        is_rewritten = true;
    }
    // Nothing can be written while it waits for readers, so it does not wait long at a time.
    within(CONNECT, connection.batch("PRAGMA busy_timeout = 100")).await?;
    for _ in 0..TRIES {
        let checkpoint = Statement::new("PRAGMA wal_checkpoint(TRUNCATE)");
        if checkpoint.first(connection, |row| row.number()).await? == Some(0) {
            return Ok(is_rewritten);
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(false)
}

async fn file_length(connection: &mut Connection) -> Result<i64, Error> {
    let mut length = 1;
    for pragma in ["PRAGMA page_count", "PRAGMA page_size"] {
        let found = Statement::new(pragma).first(connection, |row| row.number()).await?;
        length *= found.unwrap_or_default();
    }
    Ok(length)
}

async fn vacuum_tables(connection: &mut Connection) -> Result<bool, Error> {
    within(CONNECT, connection.batch("SET statement_timeout = '55s'")).await?;
    let tables = "VACUUM invites, invite_labels, attempts, attempt_invites, batches";
    within(REWRITE, connection.batch(tables)).await?;
    Ok(true)
}
