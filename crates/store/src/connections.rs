//! Connections for one use, each for one task at a time. A database that does not answer is asked by
//! nobody but one task that tries to reach it: everybody else is told at once that it is away.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use sqlx::{AnyConnection, Connection, Executor};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Error,
    database::{Database, Use},
    deadline::{ANSWER, CONNECT, SIGN_OF_LIFE, within},
    dialect::Dialect,
};

/// How long a connection that others have is waited for.
const TURN: Duration = Duration::from_secs(10);
/// How long a database that is away is waited for: it may be back at this very moment.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a database that is away is tried.
const AGAIN: Duration = Duration::from_millis(500);

const HAS_CONNECTION: &str = "only keeping or dropping it takes the connection out";

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    database: Database,
    purpose: Use,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<AnyConnection>>,
    /// Why the database cannot be used at present.
    away: watch::Sender<Option<Error>>,
}

/// A connection in use. One for reading is kept when this is dropped; one for writing, whose
/// transaction may still be open, only if told to.
pub(crate) struct Taken {
    connection: Option<AnyConnection>,
    of: Connections,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(database: Database, purpose: Use, most: usize) -> Self {
        Self(Arc::new(Shared {
            database,
            purpose,
            places: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
            away: watch::Sender::default(),
        }))
    }

    /// A connection that answers.
    pub(crate) async fn take(&self) -> Result<Taken, Error> {
        let place = match timeout(TURN, Arc::clone(&self.0.places).acquire_owned()).await {
            Ok(place) => place.map_err(|_| closed())?,
            Err(_) => return Err(Error::Unavailable("no connection became free in time".into())),
        };
        let mut away = self.0.away.subscribe();
        if timeout(PATIENCE, away.wait_for(Option::is_none)).await.is_err() {
            let why = away.borrow().clone();
            return Err(why.unwrap_or_else(closed));
        }
        match self.ready().await {
            Ok(it) => Ok(Taken { connection: Some(it), of: self.clone(), _place: place }),
            Err(error) => {
                self.lose(&error);
                Err(error)
            }
        }
    }

    /// Nobody waits for the database any more until it is reached again.
    pub(crate) fn lose(&self, error: &Error) {
        self.idle().clear();
        if self.0.away.send_replace(Some(error.clone())).is_none() {
            tracing::error!(purpose = ?self.0.purpose, %error, "the database is away; trying again");
            tokio::spawn(self.clone().reach());
        }
    }

    /// Hands out no more, and ends those that lie idle.
    pub(crate) async fn close(&self) {
        self.0.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // The database notices a connection that goes.
            let _ = connection.close().await;
        }
    }

    /// One that lies idle, or else a new one.
    async fn ready(&self) -> Result<AnyConnection, Error> {
        within(SIGN_OF_LIFE, self.0.database.check_file()).await?;
        let idle = self.idle().pop();
        if let Some(mut connection) = idle {
            let limit = if self.waits_for_locks() { ANSWER } else { SIGN_OF_LIFE };
            match within(limit, self.prepare(&mut connection)).await {
                Ok(()) => return Ok(connection),
                // What became of this one became of the others, too.
                Err(Error::Away(_)) if !self.waits_for_locks() => self.idle().clear(),
                Err(error) => return Err(error),
            }
        }
        let limit = if self.waits_for_locks() { ANSWER } else { CONNECT };
        within(limit, self.open()).await
    }

    async fn open(&self) -> Result<AnyConnection, Error> {
        let mut connection = self.0.database.connect(self.0.purpose).await?;
        self.prepare(&mut connection).await?;
        Ok(connection)
    }

    async fn prepare(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        match self.0.purpose {
            Use::Reading => connection.ping().await?,
            Use::Writing => {
                connection.execute(self.0.database.dialect.begin()).await?;
            }
        }
        Ok(())
    }

    /// SQLite begins to write once no other process does.
    fn waits_for_locks(&self) -> bool {
        self.0.purpose == Use::Writing && self.is_file()
    }

    fn is_file(&self) -> bool {
        self.0.database.dialect == Dialect::Sqlite
    }

    /// Tries until a connection is made. On a network that has just begun to carry again an attempt
    /// from before may hang for long, so a new one is made beside it; of a file that blocks each
    /// attempt keeps a thread, and one is enough.
    async fn reach(self) {
        let mut attempts = FuturesUnordered::new();
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.0.places.is_closed() {
            tokio::select! {
                _ = again.tick(), if attempts.is_empty() || !self.is_file() => {
                    attempts.push(self.attempt());
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

    async fn attempt(&self) -> Result<AnyConnection, Error> {
        let attempt = async {
            let mut connection = self.open().await?;
            if self.0.purpose == Use::Writing {
                connection.execute("ROLLBACK").await?;
            }
            Ok(connection)
        };
        if self.is_file() { attempt.await } else { within(CONNECT, attempt).await }
    }

    /// Lets one lie idle that answers and has no transaction open.
    pub(crate) fn keep(&self, connection: AnyConnection) {
        if !self.0.places.is_closed() {
            self.idle().push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<AnyConnection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

impl Taken {
    /// Keeps it for the next one; no transaction is open.
    pub(crate) fn keep(mut self) {
        if let Some(connection) = self.connection.take() {
            self.of.keep(connection);
        }
    }
}

impl Deref for Taken {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.connection.as_ref().expect(HAS_CONNECTION)
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.connection.as_mut().expect(HAS_CONNECTION)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // One that is in the middle of an answer, or does not answer, is found out by the next.
        if let Some(connection) = self.connection.take()
            && self.of.0.purpose == Use::Reading
        {
            self.of.keep(connection);
        }
    }
}
