//! Work that would keep a worker of the async runtime from all its other requests: it is done on
//! threads of its own, as many at once as leave the machine time for everything else.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use crate::problem::{Problem, codes};

/// The longest body that is worked on where it was read: whatever it holds, that takes less than 50 ms.
const SHORT: usize = 16 * 1024;
/// How long work waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Where long work is done. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Aside(Arc<Semaphore>);

impl Default for Aside {
    /// Half of the processors work aside, at least one.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Aside {
    /// Does the work for a body of so many bytes.
    ///
    /// # Errors
    /// 503 if other work took all the time.
    pub async fn work<T: Send + 'static>(
        &self,
        body: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if body <= SHORT { Ok(work()) } else { self.long_work(work).await }
    }

    /// Does work that may take long whatever it is about.
    ///
    /// # Errors
    /// As above.
    pub async fn long_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(Ok(turn)) = timeout(TURN, self.0.clone().acquire_owned()).await else {
            let detail = "other large requests take all the time there is for such; send it again";
            return Err(Problem::new(&codes::NOT_READY, detail));
        };
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end of the work also where the caller hangs up meanwhile.
            let _turn = turn;
            work()
        });
        // What it panicked with is in the log already, and may be personal.
        let failed = |_| Problem::new(&codes::INTERNAL, "the gateway failed; its log says more");
        done.await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[tokio::test]
    async fn long_work_is_done_elsewhere_and_no_more_at_once_than_there_are_places() {
        let (aside, here) = (Aside(Arc::new(Semaphore::new(2))), thread::current().id());
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..8).map(|_| {
            let (at_work, most) = (at_work.clone(), most.clone());
            aside.work(SHORT + 1, move || {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                at_work.fetch_sub(1, Ordering::SeqCst);
                thread::current().id()
            })
        });
        for place in futures::future::join_all(works).await {
            assert_ne!(place.unwrap(), here);
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(aside.work(SHORT, move || thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_gets_no_turn_is_refused_in_time() {
        let aside = Aside(Arc::new(Semaphore::new(0)));
        assert_eq!(aside.long_work(|| ()).await.unwrap_err().code(), "not-ready");
    }
}
