//! The one task of a process that writes (group commit): it runs all writes that are waiting in one transaction, commits once
//! and answers all. It does not know what they write.

use std::{
    any::{Any, TypeId},
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{AbortHandle, BoxFuture, abortable},
};
use invite_core::SteadyClock;
use jiff::Timestamp;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::{
    Error, clock,
    connection::{Connection, NotCommitted},
    connections::{Connections, InUse},
    database::{Database, Use},
    deadline::{ANSWER, TRANSACTION, WRITE, no_answer, within},
    dialect::Dialect,
    events::{NewEvents, Signal},
};

/// How many writes one transaction has at most.
const GROUP: usize = 128;

/// The transaction that a write is part of. A write that returns an error is rolled back; one that refuses returns `Ok` and
/// must not have written anything.
pub(crate) struct Tx<'c> {
    pub(crate) connection: &'c mut Connection,
    /// When it began, by the store's clock.
    pub(crate) now: Timestamp,
    pub(crate) dialect: Dialect,
    /// The newest revision of the provider document, once a write of the transaction has read it.
    pub(crate) newest: &'c mut Option<i64>,
    /// What the transaction's changes tell the feed.
    pub(crate) events: &'c mut NewEvents,
    /// What to do once the transaction is committed.
    pub(crate) committed: &'c mut Vec<Box<dyn FnOnce() + Send>>,
}

/// A write. It may run again if its transaction was rolled back because of another write.
type Work<D, T> = dyn for<'c> Fn(Tx<'c>, &'c D) -> BoxFuture<'c, Result<T, Error>> + Send + Sync;

struct Write<D, T> {
    /// What all runs of the work need.
    data: D,
    work: Box<Work<D, T>>,
    locks: Vec<u32>,
    written: Option<T>,
    caller: oneshot::Sender<Result<T, Error>>,
}

/// What the task does in a transaction: a write, or several of one kind.
pub(crate) trait Job: Any + Send {
    /// Jobs of one kind are joined; one without a kind stays by itself.
    fn kind(&self) -> Option<TypeId>;

    /// Takes in another job of its kind.
    fn join(&mut self, other: Box<dyn Job>);

    /// A job for each of its writes.
    fn split(self: Box<Self>) -> Vec<Box<dyn Job>>;

    /// Some may be named more than once.
    fn locks(&self) -> Vec<u32>;

    fn run<'a>(&'a mut self, tx: Tx<'a>) -> BoxFuture<'a, Result<(), Error>>;

    fn answer(self: Box<Self>, result: Result<(), Error>);
}

impl<D: Send + Sync + 'static, T: Send + 'static> Job for Write<D, T> {
    fn kind(&self) -> Option<TypeId> {
        None
    }

    fn join(&mut self, _: Box<dyn Job>) {}

    fn split(self: Box<Self>) -> Vec<Box<dyn Job>> {
        vec![self]
    }

    fn locks(&self) -> Vec<u32> {
        self.locks.clone()
    }

    fn run<'a>(&'a mut self, tx: Tx<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.written = Some(catch_panic(async { (self.work)(tx, &self.data).await }).await?);
            Ok(())
        })
    }

    fn answer(mut self: Box<Self>, result: Result<(), Error>) {
        let result = result.and_then(|()| self.written.take().ok_or(Error::CommitUnknown));
        // The caller may have gone away.
        let _ = self.caller.send(result);
    }
}

/// The way to the writing task.
pub(crate) struct Writer {
    /// Unbounded, because each caller waits for its one write.
    jobs: Mutex<Option<mpsc::UnboundedSender<Box<dyn Job>>>>,
    /// Ends when the task has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    abort: AbortHandle,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Finishes the writes that were asked for and ends the task; later writes fail.
    pub(crate) async fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // Nothing is sent: the other end is dropped.
            let _ = ended.await;
        }
    }

    /// Ends the task wherever it is.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs a write, once and durably, even if the caller goes away. `locks` are the advisory
    /// locks that it needs.
    pub(crate) async fn write<D: Send + Sync + 'static, T: Send + 'static>(
        &self,
        locks: Vec<u32>,
        data: D,
        work: impl for<'c> Fn(Tx<'c>, &'c D) -> BoxFuture<'c, Result<T, Error>> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (caller, answer) = oneshot::channel();
        let job = Write { data, work: Box::new(work), locks, written: None, caller };
        self.submit(Box::new(job), answer).await
    }

    /// Asks for a write that nobody waits for. Such writes are done in the order in which they were asked for; if one cannot be
    /// done, nobody learns of it.
    pub(crate) fn write_soon<D: Send + Sync + 'static>(
        &self,
        data: D,
        work: impl for<'c> Fn(Tx<'c>, &'c D) -> BoxFuture<'c, Result<(), Error>> + Send + Sync + 'static,
    ) {
        let (caller, _) = oneshot::channel();
        let (work, locks) = (Box::new(work), Vec::new());
        // The task has ended only where the process ends.
        let _ = self.send(Box::new(Write { data, work, locks, written: None, caller }));
    }

    fn send(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or(Error::Closed)?.send(job).map_err(|_| Error::Closed)
    }

    /// Has the task do a job, and waits for what it answers.
    pub(crate) async fn submit<T>(
        &self,
        job: Box<dyn Job>,
        answer: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.send(job)?;
        // SQLite's thread hangs as long as its disk does. The task drops a write without an answer only when the process ends.
        match timeout(WRITE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Error::CommitUnknown),
        }
    }
}

/// Starts the task with a first connection. On SQLite, whose statements keep a thread busy, it has a thread of its own.
pub(crate) fn start(
    database: Database,
    connection: Connection,
    clock: Arc<SteadyClock>,
    told: Arc<Signal>,
) -> Result<Writer, Error> {
    let (sender, jobs) = mpsc::unbounded_channel();
    let commits = Arc::new(AtomicU64::new(0));
    let dialect = database.dialect;
    let connections = Connections::new(database.clone(), Use::Writing, 1);
    connections.keep(connection);
    let task = Task { database, connections, clock, told, commits: Arc::clone(&commits) };
    let (running, ended) = oneshot::channel();
    let (task, abort) = abortable(async move {
        let _running: oneshot::Sender<()> = running;
        task.run(jobs).await;
    });
    match dialect {
        Dialect::Postgres => drop(tokio::spawn(task)),
        Dialect::Sqlite => {
            let runtime = Handle::current();
            std::thread::Builder::new()
                .name("writer".into())
                // It ends by itself or is aborted.
                .spawn(move || runtime.block_on(task).unwrap_or_default())
                .map_err(|_| Error::Defect("no thread could be started for writing"))?;
        }
    }
    Ok(Writer { jobs: Mutex::new(Some(sender)), ended: Mutex::new(Some(ended)), abort, commits })
}

struct Task {
    database: Database,
    /// One at most.
    connections: Connections,
    clock: Arc<SteadyClock>,
    told: Arc<Signal>,
    commits: Arc<AtomicU64>,
}

/// Why a transaction was not committed.
enum Stopped {
    /// Nothing can be written at present.
    Away(Error),
    /// One of the writes failed.
    Write(Error),
    /// The result of the commit is not known.
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

    async fn write(&self, group: Vec<Box<dyn Job>>) {
        let several = group.len() > 1;
        let mut group = join(group);
        match self.transact(&mut group).await {
            // Nobody knows which of them failed, so each gets a transaction of its own.
            Err(Stopped::Write(_)) if several => self.write_each(group).await,
            result => answer(group, result),
        }
    }

    async fn write_each(&self, group: Vec<Box<dyn Job>>) {
        let began = Instant::now();
        let mut away = None;
        for job in group.into_iter().flat_map(Job::split) {
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
        let clock = &self.clock;
        let running = run_all(dialect, clock, &mut connection, group, &mut committed, &self.told);
        if let Err(error) = within(TRANSACTION, running).await {
            return Err(self.undo(connection, error).await);
        }
        match timeout(ANSWER, connection.commit()).await {
            Ok(Ok(())) => {}
            Ok(Err(NotCommitted::Refused(error))) => {
                return Err(self.undo(connection, error).await);
            }
            Ok(Err(NotCommitted::Unknown(error))) => return Err(self.lose_commit(&error)),
            Err(_) => return Err(self.lose_commit(&no_answer(ANSWER))),
        }
        // If the file has been replaced meanwhile, what was stored in it is lost.
        if let Err(error) = self.database.check_file_here() {
            return Err(self.lose_commit(&error));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        connection.keep();
        committed.into_iter().for_each(|act| act());
        Ok(())
    }

    /// Rolls the transaction back. The database does so itself if the connection is gone.
    async fn undo(&self, mut connection: InUse, error: Error) -> Stopped {
        if let Error::Away(_) = error {
            self.connections.mark_away(&error);
            return Stopped::Away(error);
        }
        // If even this fails, the connection is dropped.
        if within(ANSWER, connection.batch("ROLLBACK")).await.is_ok() {
            connection.keep();
        }
        Stopped::Write(error)
    }

    fn lose_commit(&self, error: &Error) -> Stopped {
        tracing::error!(%error, "it is not known whether the writes of a commit are stored: the database gave no answer, or its file was replaced");
        self.connections.mark_away(error);
        self.told.tell();
        Stopped::Commit
    }
}

/// What work returns; a panic in one write must not end the task that writes for all.
pub(crate) async fn catch_panic<T>(
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Error::Defect("a write to the database panicked")))
}

/// Joins those of one kind, each to the first of them. All were waiting at once, so that none had to come before another.
fn join(group: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let mut joined: Vec<Box<dyn Job>> = Vec::with_capacity(group.len());
    for job in group {
        let kind = job.kind();
        match joined.iter_mut().find(|first| kind.is_some() && first.kind() == kind) {
            Some(first) => first.join(job),
            None => joined.push(job),
        }
    }
    joined
}

async fn run_all(
    dialect: Dialect,
    clock: &SteadyClock,
    connection: &mut Connection,
    group: &mut [Box<dyn Job>],
    committed: &mut Vec<Box<dyn FnOnce() + Send>>,
    told: &Arc<Signal>,
) -> Result<(), Error> {
    // All locks at once and in one order, so that two replicas never wait for each other.
    let locks: BTreeSet<u32> = group.iter().flat_map(|job| job.locks()).collect();
    let now = clock::now_under(&locks, dialect, connection, clock).await?;
    let (mut newest, mut events) = (None, NewEvents::new(told.with_sending()));
    for job in group {
        let (committed, newest, events) = (&mut *committed, &mut newest, &mut events);
        let connection = &mut *connection;
        job.run(Tx { connection, now, dialect, newest, events, committed }).await?;
    }
    events.write(dialect, connection, now).await?;
    if !events.is_empty() {
        let told = Arc::clone(told);
        committed.push(Box::new(move || told.tell()));
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
