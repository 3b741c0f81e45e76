//! Whether the database takes what it has to take: found out by writing to it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::Error;

/// However many ask, it is written once in this time.
const EVERY: Duration = Duration::from_secs(1);
/// Several replicas write rows of their own, and those that are gone leave no more than this.
pub(crate) const ROWS: u32 = 64;

/// What was found out last.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<Check>>);

struct Check {
    began: Instant,
    /// None while it is under way.
    result: watch::Receiver<Option<Result<(), Error>>>,
}

impl Readiness {
    /// The check that is under way or of the last second, or else a new one.
    pub(crate) fn last(
        &self,
        check: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> watch::Receiver<Option<Result<(), Error>>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |it: &&Check| it.began.elapsed() < EVERY || it.result.borrow().is_none();
        if let Some(check) = last.as_ref().filter(holds) {
            return check.result.clone();
        }
        let (found, result) = watch::channel(None);
        *last = Some(Check { began: Instant::now(), result: result.clone() });
        // It goes on when whoever asked first has gone.
        tokio::spawn(async move { found.send(Some(check.await)) });
        result
    }
}
