//! The last check whether the database can be written and read.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::Error;

/// However many ask, there is one check in this time.
const EVERY: Duration = Duration::from_secs(1);
/// How many rows replicas share for their checks, so that those that are gone leave no more than this.
pub(crate) const ROWS: u32 = 64;

#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<Check>>);

struct Check {
    began: Instant,
    /// `None` while it is under way.
    result: watch::Receiver<Option<Result<(), Error>>>,
}

impl Readiness {
    /// The result of the check that is under way or was begun within the last second, or else of a new one.
    pub(crate) fn check_shared(
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
        // A task of its own, so that it goes on if whoever asked first goes away.
        tokio::spawn(async move { found.send(Some(check.await)) });
        result
    }
}
