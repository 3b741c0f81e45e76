//! How long the database may take: whoever is silent for longer is not waited for, since a peer that
//! is gone never says so.

use std::time::Duration;

use crate::Error;

/// A statement or a commit. PostgreSQL's own limits are shorter, so that what is slow there ends with
/// an error that says so.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// A new connection, ready to use.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// What costs the database nothing, on a connection that lay idle.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// A whole transaction, however many statements it has; and the writes that were to share one, when
/// each of them has to be tried by itself.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(30);
/// Bringing the tables up to date.
pub(crate) const MIGRATION: Duration = Duration::from_secs(600);
/// Closing everything.
pub(crate) const CLOSE: Duration = Duration::from_secs(5);

/// Waits for the database, but not for longer than this.
pub(crate) async fn within<T, E: Into<Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(silent(limit)),
    }
}

/// It did not answer in this time.
pub(crate) fn silent(limit: Duration) -> Error {
    Error::Away(format!("no answer came within {} s", limit.as_secs()))
}
