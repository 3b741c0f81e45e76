//! How long the database may take. A peer that is gone never says so, so nothing waits for longer.

use std::time::Duration;

use crate::Error;

/// For a statement or a commit. PostgreSQL's own limits are shorter, so that what is slow there ends with an error that says
/// so.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// For making a connection ready to use.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// For a ping on a connection that was idle.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// For a whole transaction, and for all writes that were to share one, when each has to be tried by itself.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(30);
/// For a write from when it is asked for, in which it may have to wait for others' transactions.
pub(crate) const WRITE: Duration = Duration::from_secs(90);
/// For bringing the tables up to date.
pub(crate) const MIGRATION: Duration = Duration::from_secs(600);
/// For closing everything.
pub(crate) const CLOSE: Duration = Duration::from_secs(5);

/// Waits for the database, but not for longer than `limit`.
pub(crate) async fn within<T, E: Into<Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(no_answer(limit)),
    }
}

pub(crate) fn no_answer(limit: Duration) -> Error {
    Error::Away(format!("no answer came within {} s", limit.as_secs()))
}
