//! A pool of connections for one use. While the database does not answer, only one task tries to reach it, and everybody
//! else gets an error at once.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Error,
    connection::Connection,
    database::{Database, Use},
    deadline::{ANSWER, CONNECT, SIGN_OF_LIFE, within},
    dialect::Dialect,
};

/// How long to wait for a connection while others have all of them.
const WAIT_FOR_FREE: Duration = Duration::from_secs(10);
/// How long to wait for a database that is away, as it may be just coming back.
const WAIT_FOR_AWAY: Duration = Duration::from_millis(250);
/// How often reaching a database that is away is tried.
const AGAIN: Duration = Duration::from_millis(500);

const HAS_CONNECTION: &str = "only keeping or dropping it takes the connection out";

/// Clones share the pool.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    database: Database,
    purpose: Use,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Why the database cannot be used at present.
    away: watch::Sender<Option<Error>>,
}

/// A connection in use. One that only reads goes back to the pool when this is dropped; one for writing, whose transaction may
/// still be open, only by [`keep`](Self::keep).
pub(crate) struct InUse {
    connection: Option<Connection>,
    of: Connections,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(database: Database, purpose: Use, most: usize) -> Self {
        Self(Arc::new(Shared {
            database,
            purpose,
            permits: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
            away: watch::Sender::default(),
        }))
    }

    /// Takes a connection that answers.
    pub(crate) async fn take(&self) -> Result<InUse, Error> {
        let permit = match timeout(WAIT_FOR_FREE, Arc::clone(&self.0.permits).acquire_owned()).await
        {
            Ok(permit) => permit.map_err(|_| Error::Closed)?,
            Err(_) => return Err(Error::Unavailable("no connection became free in time".into())),
        };
        let mut away = self.0.away.subscribe();
        if timeout(WAIT_FOR_AWAY, away.wait_for(Option::is_none)).await.is_err() {
            let why = away.borrow().clone();
            return Err(why.unwrap_or(Error::Closed));
        }
        match self.idle_or_new().await {
            Ok(mut it) => {
                if self.0.purpose != Use::Scanning {
                    it.stay_on_this_thread();
                }
                Ok(InUse { connection: Some(it), of: self.clone(), _permit: permit })
            }
            Err(error) => {
                self.mark_away(&error);
                Err(error)
            }
        }
    }

    /// Makes everybody get this error at once until the database is reached again.
    pub(crate) fn mark_away(&self, error: &Error) {
        self.idle().clear();
        if self.0.away.send_replace(Some(error.clone())).is_none() {
            tracing::error!(purpose = ?self.0.purpose, %error, "the database cannot be reached; trying again");
            tokio::spawn(self.clone().reconnect());
        }
    }

    /// Hands out no more connections, and closes those that are idle.
    pub(crate) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            connection.close().await;
        }
    }

    /// An idle connection that still answers, or a new one.
    async fn idle_or_new(&self) -> Result<Connection, Error> {
        match self.0.purpose {
            Use::Scanning => within(SIGN_OF_LIFE, self.0.database.check_file()).await?,
            Use::Reading | Use::Writing => self.0.database.check_file_here()?,
        }
        let idle = self.idle().pop();
        if let Some(mut connection) = idle {
            let limit = if self.waits_for_locks() { ANSWER } else { SIGN_OF_LIFE };
            match within(limit, self.prepare(&mut connection)).await {
                Ok(()) => return Ok(connection),
                // If this one broke, so did the others.
                Err(Error::Away(_)) if !self.waits_for_locks() => self.idle().clear(),
                Err(error) => return Err(error),
            }
        }
        let limit = if self.waits_for_locks() { ANSWER } else { CONNECT };
        // It happens seldom and keeps much: on the heap, whoever takes a connection needs no room for it.
        within(limit, Box::pin(self.open())).await
    }

    async fn open(&self) -> Result<Connection, Error> {
        let mut connection = self.0.database.connect(self.0.purpose).await?;
        self.prepare(&mut connection).await?;
        Ok(connection)
    }

    async fn prepare(&self, connection: &mut Connection) -> Result<(), Error> {
        match self.0.purpose {
            Use::Reading | Use::Scanning => connection.ping().await?,
            // Unlike a batch it stays prepared.
            Use::Writing => {
                let begin = self.0.database.dialect.begin();
                connection.execute(begin.to_owned(), Vec::new()).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// Whether beginning a transaction waits for other processes to end theirs, as SQLite does.
    fn waits_for_locks(&self) -> bool {
        self.0.purpose == Use::Writing && self.is_file()
    }

    fn is_file(&self) -> bool {
        self.0.database.dialect == Dialect::Sqlite
    }

    /// Tries until a connection is made. When a network is back, an earlier attempt may still hang for long, so new ones are
    /// made beside it. Each attempt at a file that blocks keeps a thread, so there is only one.
    async fn reconnect(self) {
        let mut attempts = FuturesUnordered::new();
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.0.permits.is_closed() {
            tokio::select! {
                _ = again.tick(), if attempts.is_empty() || !self.is_file() => {
                    attempts.push(self.try_once());
                }
                Some(reached) = attempts.next() => match reached {
                    Ok(connection) => {
                        self.keep(connection);
                        self.0.away.send_replace(None);
                        tracing::info!(purpose = ?self.0.purpose, "the database is back");
                        return;
                    }
                    Err(error) => {
                        self.0.away.send_replace(Some(error));
                    }
                },
            }
        }
    }

    async fn try_once(&self) -> Result<Connection, Error> {
        let tried = async {
            let mut connection = self.open().await?;
            if self.0.purpose == Use::Writing {
                connection.batch("ROLLBACK").await?;
            }
            Ok(connection)
        };
        if self.is_file() { tried.await } else { within(CONNECT, tried).await }
    }

    /// Puts a connection into the pool that answers and has no transaction open.
    pub(crate) fn keep(&self, connection: Connection) {
        if !self.0.permits.is_closed() && connection.is_usable() {
            self.idle().push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// Puts it back into the pool; no transaction may be open.
    pub(crate) fn keep(mut self) {
        if let Some(connection) = self.connection.take() {
            self.of.keep(connection);
        }
    }
}

impl Deref for InUse {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect(HAS_CONNECTION)
    }
}

impl DerefMut for InUse {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect(HAS_CONNECTION)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // If it is in the middle of an answer, or does not answer, whoever takes it next finds out.
        if let Some(connection) = self.connection.take()
            && self.of.0.purpose != Use::Writing
        {
            self.of.keep(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;

    #[tokio::test]
    async fn whoever_reads_keeps_little_memory_while_waiting_for_a_connection() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let store = Store::open(&url, std::sync::Arc::new(invite_core::SystemClock)).await.unwrap();
        let size = size_of_val(&store.reader());
        assert!(size <= 2048, "{size} bytes");
        store.close().await;
    }
}
