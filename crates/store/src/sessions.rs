//! Whether each connection has a session of its own on the PostgreSQL server. A pooler that hands sessions from one
//! transaction to the next is refused: there the settings of one connection would hold for others, and what a replica
//! listens for would never come.

use std::time::Duration;

use invite_core::random;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};

use crate::{
    Error,
    deadline::{ANSWER, CONNECT, within},
};

/// Keeps the locks of this check apart from all others.
const LOCK_CLASS: i32 = 0x1418;
/// The pause between two looks whether a session is over.
const AGAIN: Duration = Duration::from_millis(10);
const SHARED: Error = Error::Url(
    "leads to a pooler whose clients share sessions of PostgreSQL, so that their settings would mix and notices get lost: \
     let it keep one session for each client (PgBouncer: pool_mode = session), or name the server itself",
);

/// Fails if connections share sessions. That is certain, whatever session a pooler picks: a lock that a connection takes for
/// its session is held as long as the connection is open, by no other connection's session, and no longer.
pub(crate) async fn expect_own(server: &PgConnectOptions) -> Result<(), Error> {
    let lock = u32::from_le_bytes(random::bytes()) >> 1;
    let connect = async || within(CONNECT, PgConnection::connect_with(server)).await;
    let (mut locking, mut looking) = (connect().await?, connect().await?);
    // A prepared statement may be missing, or another client's, in a session that is shared.
    let take = format!("SELECT pg_advisory_lock({LOCK_CLASS}, {lock})");
    let taking = sqlx::raw_sql(AssertSqlSafe(take)).execute(&mut locking);
    within(ANSWER, taking).await?;
    if find_holder(&mut looking, lock).await? != Some(false) {
        return Err(SHARED);
    }
    // If this fails, the server notices that the connection is gone.
    let _ = within(ANSWER, locking.close()).await;
    let began = Instant::now();
    while find_holder(&mut looking, lock).await?.is_some() {
        if began.elapsed() > ANSWER {
            return Err(SHARED);
        }
        sleep(AGAIN).await;
    }
    drop(within(ANSWER, looking.close()).await);
    Ok(())
}

/// Whether the session that has the lock is the one that answers; `None` if no session has it.
async fn find_holder(looking: &mut PgConnection, lock: u32) -> Result<Option<bool>, Error> {
    let find = format!(
        "SELECT pid = pg_backend_pid() FROM pg_locks \
         WHERE locktype = 'advisory' AND classid = {LOCK_CLASS} AND objid = {lock}"
    );
    let finding = sqlx::raw_sql(AssertSqlSafe(find)).fetch_optional(looking);
    let found = within(ANSWER, finding).await?;
    found.map(|row| row.try_get(0)).transpose().map_err(Into::into)
}
