//! The one task of a process that writes: it gathers the writes that are waiting, runs them in one
//! transaction, commits once and answers all (group commit).
//!
//! It knows nothing of what is written.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use invite_core::SteadyClock;
use jiff::Timestamp;
use sqlx::{AnyConnection, Connection, Executor};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{Error, Store, clock, db::Database, dialect::Dialect};

/// Writes in one transaction at most.
const GROUP: usize = 128;

/// The transaction that a write takes part in. A write that returns an error is undone; one that
/// refuses returns `Ok` and must not have written anything.
pub(crate) struct Tx<'c> {
    pub(crate) connection: &'c mut AnyConnection,
    /// When it began, by the store's clock.
    pub(crate) now: Timestamp,
    pub(crate) dialect: Dialect,
}

/// A write, which can run again when the transaction had to be given up because of another.
type Work<T> = dyn for<'c> Fn(Tx<'c>) -> BoxFuture<'c, Result<T, Error>> + Send + Sync;

struct Write<T> {
    work: Box<Work<T>>,
    locks: Vec<u32>,
    written: Option<T>,
    caller: oneshot::Sender<Result<T, Error>>,
}

trait Job: Send {
    fn locks(&self) -> &[u32];
    fn run<'a>(&'a mut self, tx: Tx<'a>) -> BoxFuture<'a, Result<(), Error>>;
    fn answer(self: Box<Self>, result: Result<(), Error>);
}

impl<T: Send> Job for Write<T> {
    fn locks(&self) -> &[u32] {
        &self.locks
    }

    fn run<'a>(&'a mut self, tx: Tx<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // A defect in one write must not end the task that writes for all.
            let work = AssertUnwindSafe(async { (self.work)(tx).await });
            self.written = Some(work.catch_unwind().await.unwrap_or_else(|_| {
                Err(Error::Unavailable("a write panicked, which is a defect of the gateway".into()))
            })?);
            Ok(())
        })
    }

    fn answer(mut self: Box<Self>, result: Result<(), Error>) {
        let result = result.and_then(|()| self.written.take().ok_or(Error::CommitUnknown));
        // A caller that has gone wants no answer.
        let _ = self.caller.send(result);
    }
}

/// The way to the writing task.
pub(crate) struct Writer {
    /// Unbounded: each caller waits for its one write, so callers are the bound.
    jobs: Mutex<Option<mpsc::UnboundedSender<Box<dyn Job>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Finishes what was asked for and ends the task; later writes fail.
    pub(crate) async fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // It ends by itself and never panics.
            let _ = task.await;
        }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn submit(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::Unavailable("the store is closed".into());
        jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())
    }
}

impl Store {
    /// Has a write done, once and durably; it is done even if the caller goes away. `locks` are
    /// the advisory locks that it needs.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        locks: Vec<u32>,
        work: impl for<'c> Fn(Tx<'c>) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (caller, answer) = oneshot::channel();
        self.writer().submit(Box::new(Write {
            work: Box::new(work),
            locks,
            written: None,
            caller,
        }))?;
        // The task drops a write without an answer only when the process is ending.
        answer.await.unwrap_or(Err(Error::CommitUnknown))
    }
}

/// Starts the task.
pub(crate) fn start(
    database: Database,
    connection: AnyConnection,
    clock: Arc<SteadyClock>,
) -> Writer {
    let (sender, jobs) = mpsc::unbounded_channel();
    let commits = Arc::new(AtomicU64::new(0));
    let task =
        Task { database, connection: Some(connection), clock, commits: Arc::clone(&commits) };
    let task = tokio::spawn(task.run(jobs));
    Writer { jobs: Mutex::new(Some(sender)), task: Mutex::new(Some(task)), commits }
}

struct Task {
    database: Database,
    /// None after it was lost.
    connection: Option<AnyConnection>,
    clock: Arc<SteadyClock>,
    commits: Arc<AtomicU64>,
}

/// Where a transaction came to its end before it was committed.
enum Stopped {
    Begin(Error),
    Write(Error),
    Commit,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(GROUP);
        while jobs.recv_many(&mut group, GROUP).await > 0 {
            self.write(std::mem::take(&mut group)).await;
        }
        if let Some(connection) = self.connection.take() {
            // Everything is committed; the database notices a connection that goes.
            let _ = connection.close().await;
        }
    }

    async fn write(&mut self, mut group: Vec<Box<dyn Job>>) {
        match self.transact(&mut group).await {
            // Which of them is at fault is not known: each gets a transaction of its own.
            Err(Stopped::Write(_)) if group.len() > 1 => {
                for job in group {
                    let mut alone = vec![job];
                    let result = self.transact(&mut alone).await;
                    answer(alone, result);
                }
            }
            result => answer(group, result),
        }
    }

    async fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Stopped> {
        let mut connection = self.begin().await.map_err(Stopped::Begin)?;
        if let Err(error) =
            run_all(self.database.dialect, &self.clock, &mut connection, group).await
        {
            // A connection that cannot even do this is dropped.
            if connection.execute("ROLLBACK").await.is_ok() {
                self.connection = Some(connection);
            }
            return Err(Stopped::Write(error));
        }
        if let Err(error) = connection.execute("COMMIT").await {
            tracing::error!(error = %Error::from(error), "the result of a commit is lost");
            return Err(Stopped::Commit);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.connection = Some(connection);
        Ok(())
    }

    /// Begins on the connection at hand, or on a new one if that was lost while it lay idle.
    async fn begin(&mut self) -> Result<AnyConnection, Error> {
        let begin = self.database.dialect.begin();
        if let Some(mut connection) = self.connection.take()
            && connection.execute(begin).await.is_ok()
        {
            return Ok(connection);
        }
        let mut connection = self.database.connect().await?;
        connection.execute(begin).await?;
        Ok(connection)
    }
}

async fn run_all(
    dialect: Dialect,
    clock: &SteadyClock,
    connection: &mut AnyConnection,
    group: &mut [Box<dyn Job>],
) -> Result<(), Error> {
    // All at once and in one order, so that two replicas never wait for each other.
    let locks: BTreeSet<u32> = group.iter().flat_map(|job| job.locks()).copied().collect();
    dialect.lock(connection, &locks).await?;
    let now = clock::now(dialect, connection, clock).await?;
    for job in group {
        job.run(Tx { connection: &mut *connection, now, dialect }).await?;
    }
    Ok(())
}

fn answer(group: Vec<Box<dyn Job>>, result: Result<(), Stopped>) {
    let result = result.map_err(|stopped| match stopped {
        Stopped::Begin(error) | Stopped::Write(error) => error,
        Stopped::Commit => Error::CommitUnknown,
    });
    for job in group {
        job.answer(result.clone());
    }
}
