//! Writes of one kind, all that are waiting when a transaction begins, as one: a few statements for all of them instead of a
//! few for each.

use std::any::{Any, TypeId};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{
    Error,
    writer::{Job, Tx, catch_panic},
};

/// Does several writes; returns a result for each, in their order. One with an error must not have written anything; if the
/// work itself fails, each of them is done by itself. It may run again if its transaction was rolled back because of
/// another write.
pub(crate) type Work<D, T> =
    for<'c> fn(Tx<'c>, &'c [D]) -> BoxFuture<'c, Result<Vec<Result<T, Error>>, Error>>;

/// One or several writes that are done together.
pub(crate) struct Together<D, T> {
    data: Vec<D>,
    callers: Vec<oneshot::Sender<Result<T, Error>>>,
    /// Those that each of them needs.
    locks: Vec<Vec<u32>>,
    written: Vec<Result<T, Error>>,
    work: Work<D, T>,
}

impl<D, T> Together<D, T> {
    pub(crate) fn one(
        locks: Vec<u32>,
        data: D,
        work: Work<D, T>,
        caller: oneshot::Sender<Result<T, Error>>,
    ) -> Self {
        let (data, callers, locks) = (vec![data], vec![caller], vec![locks]);
        Self { data, callers, locks, written: Vec::new(), work }
    }
}

impl<D: Send + Sync + 'static, T: Send + 'static> Job for Together<D, T> {
    /// The types of what is written stand for the work.
    fn kind(&self) -> Option<TypeId> {
        Some(TypeId::of::<Self>())
    }

    fn join(&mut self, other: Box<dyn Job>) {
        let other: Box<dyn Any> = other;
        if let Ok(other) = other.downcast::<Self>() {
            self.data.extend(other.data);
            self.callers.extend(other.callers);
            self.locks.extend(other.locks);
        }
    }

    fn split(self: Box<Self>) -> Vec<Box<dyn Job>> {
        let Self { data, callers, locks, work, .. } = *self;
        let each = data.into_iter().zip(callers).zip(locks);
        each.map(|((data, caller), locks)| {
            let job: Box<dyn Job> = Box::new(Self::one(locks, data, work, caller));
            job
        })
        .collect()
    }

    fn locks(&self) -> Vec<u32> {
        self.locks.concat()
    }

    fn run<'a>(&'a mut self, tx: Tx<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.written = catch_panic(async { (self.work)(tx, &self.data).await }).await?;
            Ok(())
        })
    }

    fn answer(self: Box<Self>, result: Result<(), Error>) {
        let mut written = self.written.into_iter();
        for caller in self.callers {
            let result = match &result {
                Ok(()) => written.next().unwrap_or(Err(Error::CommitUnknown)),
                Err(error) => Err(error.clone()),
            };
            // The caller may have gone away.
            let _ = caller.send(result);
        }
    }
}
