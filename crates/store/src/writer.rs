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
use sqlx::{AnyConnection, Executor};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout},
};

use crate::{
    Error, clock,
    connections::{Connections, Taken},
    database::{Database, Use},
    deadline::{ANSWER, TRANSACTION, silent, within},
    dialect::Dialect,
    error::is_refused_commit,
};

/// Writes in one transaction at most.
const GROUP: usize = 128;

/// The transaction that a write takes part in. A write that returns an error is undone; one that
/// refuses returns `Ok` and must not have written anything.
pub(crate) struct Tx<'c> {
    pub(crate) connection: &'c mut AnyConnection,
    /// When it began, by the store's clock.
    pub(crate) now: Timestamp,
    pub(crate) dialect: Dialect,
    /// What is done once the transaction is committed, and only then.
    pub(crate) committed: &'c mut Vec<Box<dyn FnOnce() + Send>>,
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
    abort: AbortHandle,
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

    /// Ends the task wherever it is.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Has a write done, once and durably; it is done even if the caller goes away. `locks` are
    /// the advisory locks that it needs.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        locks: Vec<u32>,
        work: impl for<'c> Fn(Tx<'c>) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (caller, answer) = oneshot::channel();
        self.submit(Box::new(Write { work: Box::new(work), locks, written: None, caller }))?;
        // The task drops a write without an answer only when the process is ending.
        answer.await.unwrap_or(Err(Error::CommitUnknown))
    }

    fn submit(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::Unavailable("the store is closed".into());
        jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())
    }
}

/// Starts the task, which has this connection to begin with.
pub(crate) fn start(
    database: Database,
    connection: AnyConnection,
    clock: Arc<SteadyClock>,
) -> Writer {
    let (sender, jobs) = mpsc::unbounded_channel();
    let commits = Arc::new(AtomicU64::new(0));
    let connections = Connections::new(database.clone(), Use::Writing, 1);
    connections.keep(connection);
    let task = Task { database, connections, clock, commits: Arc::clone(&commits) };
    let task = tokio::spawn(task.run(jobs));
    let abort = task.abort_handle();
    Writer { jobs: Mutex::new(Some(sender)), task: Mutex::new(Some(task)), abort, commits }
}

struct Task {
    database: Database,
    /// One at most.
    connections: Connections,
    clock: Arc<SteadyClock>,
    commits: Arc<AtomicU64>,
}

/// Where a transaction came to its end before it was committed.
enum Stopped {
    /// Nothing can be written at present, whatever it is.
    Away(Error),
    /// One of the writes is at fault.
    Write(Error),
    Commit,
}

impl Task {
    async fn run(self, mut jobs: mpsc::UnboundedReceiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(GROUP);
        while jobs.recv_many(&mut group, GROUP).await > 0 {
            self.write(std::mem::take(&mut group)).await;
        }
        self.connections.close().await;
    }

    async fn write(&self, mut group: Vec<Box<dyn Job>>) {
        match self.transact(&mut group).await {
            // Which of them is at fault is not known: each gets a transaction of its own.
            Err(Stopped::Write(_)) if group.len() > 1 => self.write_each(group).await,
            result => answer(group, result),
        }
    }

    async fn write_each(&self, group: Vec<Box<dyn Job>>) {
        let began = Instant::now();
        let mut away = None;
        for job in group {
            if began.elapsed() > TRANSACTION {
                let why = "the writes before this one took too long";
                away.get_or_insert_with(|| Error::Unavailable(why.into()));
            }
            let mut alone = vec![job];
            let result = match &away {
                Some(error) => Err(Stopped::Away(error.clone())),
                None => self.transact(&mut alone).await,
            };
            if let Err(Stopped::Away(error)) = &result {
                away = Some(error.clone());
            }
            answer(alone, result);
        }
    }

    async fn transact(&self, group: &mut [Box<dyn Job>]) -> Result<(), Stopped> {
        let mut connection = self.connections.take().await.map_err(Stopped::Away)?;
        let mut committed = Vec::new();
        let dialect = self.database.dialect;
        let running = run_all(dialect, &self.clock, &mut connection, group, &mut committed);
        if let Err(error) = within(TRANSACTION, running).await {
            return Err(self.undo(connection, error).await);
        }
        match timeout(ANSWER, connection.execute("COMMIT")).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if is_refused_commit(&error) => {
                return Err(self.undo(connection, error.into()).await);
            }
            Ok(Err(error)) => return Err(self.lose_commit(&error.into())),
            Err(_) => return Err(self.lose_commit(&silent(ANSWER))),
        }
        // What was stored in a file that has gone meanwhile is lost.
        if let Err(error) = within(ANSWER, self.database.check_file()).await {
            return Err(self.lose_commit(&error));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        connection.keep();
        committed.into_iter().for_each(|act| act());
        Ok(())
    }

    /// Gives the transaction up. It is never committed: without a connection it is rolled back, too.
    async fn undo(&self, mut connection: Taken, error: Error) -> Stopped {
        if let Error::Away(_) = error {
            self.connections.lose(&error);
            return Stopped::Away(error);
        }
        // A connection that cannot even do this is dropped.
        if within(ANSWER, connection.execute("ROLLBACK")).await.is_ok() {
            connection.keep();
        }
        Stopped::Write(error)
    }

    fn lose_commit(&self, error: &Error) -> Stopped {
        tracing::error!(%error, "the result of a commit is lost");
        self.connections.lose(error);
        Stopped::Commit
    }
}

async fn run_all(
    dialect: Dialect,
    clock: &SteadyClock,
    connection: &mut AnyConnection,
    group: &mut [Box<dyn Job>],
    committed: &mut Vec<Box<dyn FnOnce() + Send>>,
) -> Result<(), Error> {
    // All at once and in one order, so that two replicas never wait for each other.
    let locks: BTreeSet<u32> = group.iter().flat_map(|job| job.locks()).copied().collect();
    dialect.lock(connection, &locks).await?;
    let now = clock::now(dialect, connection, clock).await?;
    for job in group {
        let committed = &mut *committed;
        job.run(Tx { connection: &mut *connection, now, dialect, committed }).await?;
    }
    Ok(())
}

fn answer(group: Vec<Box<dyn Job>>, result: Result<(), Stopped>) {
    let result = result.map_err(|stopped| match stopped {
        Stopped::Away(error) | Stopped::Write(error) => error,
        Stopped::Commit => Error::CommitUnknown,
    });
    for job in group {
        job.answer(result.clone());
    }
}
