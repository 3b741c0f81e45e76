//! Work that takes so long that it would keep a worker of the async runtime from its other requests: it
//! is done on threads of its own, on as many at once as leave processors for everything else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use invite_core::KeyId;
use tokio::{
    sync::{AcquireError, Semaphore},
    time::timeout,
};

use crate::problem::{Problem, codes};

/// The longest body, in bytes, that is worked on by the async worker that read it: whatever such a body
/// holds, that takes less than 50 ms.
const SHORT: usize = 16 * 1024;
/// How long work waits for a thread before it is refused.
const MAX_QUEUED: Duration = Duration::from_secs(10);

/// The threads that long work is done on. A key gets its next piece of work done, or queued for a thread, only
/// after the one before is done, so that a key that sends much does not hold up the others.
pub(crate) struct Offload {
    /// The threads. They are given out in the order in which they are asked for.
    threads: Arc<Semaphore>,
    /// For each key that has work, the permit for one piece of it.
    by_key: Mutex<HashMap<KeyId, Arc<Semaphore>>>,
}

impl Default for Offload {
    /// As many threads as half of the processors, at least one.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::with_threads((processors / 2).max(1))
    }
}

impl Offload {
    fn with_threads(threads: usize) -> Self {
        Self { threads: Arc::new(Semaphore::new(threads)), by_key: Mutex::default() }
    }

    fn permit_of(&self, key: KeyId) -> Arc<Semaphore> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|_, permit| Arc::strong_count(permit) > 1);
        by_key.entry(key).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }

    /// Does a key's work on a body of so many bytes: at once where the body is short. It fails with 503 if
    /// other work kept the threads busy for [`MAX_QUEUED`].
    pub async fn run_for_body<T: Send + 'static>(
        &self,
        key: KeyId,
        body: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if body <= SHORT { Ok(work()) } else { self.run(key, work).await }
    }

    /// Does a key's work that may take long. It fails as [`run_for_body`](Self::run_for_body) does.
    pub async fn run<T: Send + 'static>(
        &self,
        key: KeyId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permits = async {
            let own = self.permit_of(key).acquire_owned().await?;
            let thread = self.threads.clone().acquire_owned().await?;
            Ok::<_, AcquireError>((own, thread))
        };
        let Ok(Ok(permits)) = timeout(MAX_QUEUED, permits).await else {
            let detail = "other large requests take all the time there is for such; send it again";
            return Err(Problem::new(&codes::NOT_READY, detail));
        };
        let done = tokio::task::spawn_blocking(move || {
            // Where the caller hangs up meanwhile, the work goes on, and keeps its thread.
            let _permits = permits;
            work()
        });
        done.await.map_err(|_| Problem::new(&codes::INTERNAL, crate::FAILED))
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
    async fn long_work_is_done_elsewhere_and_no_more_at_once_than_there_are_threads() {
        let (offload, here) = (Offload::with_threads(2), thread::current().id());
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..8).map(|_| {
            let (at_work, most) = (at_work.clone(), most.clone());
            offload.run_for_body(KeyId::generate(), SHORT + 1, move || {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                at_work.fetch_sub(1, Ordering::SeqCst);
                thread::current().id()
            })
        });
        for thread in futures::future::join_all(works).await {
            assert_ne!(thread.unwrap(), here);
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        let short =
            offload.run_for_body(KeyId::generate(), SHORT, move || thread::current().id()).await;
        assert_eq!(short.unwrap(), here);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_gets_no_turn_is_refused_in_time() {
        let offload = Offload::with_threads(0);
        let refused = offload.run(KeyId::generate(), || ()).await.unwrap_err();
        assert_eq!(refused.code(), "not-ready");
    }

    #[tokio::test]
    async fn of_one_keys_work_at_most_one_piece_is_done_before_another_keys() {
        let (offload, done) = (Offload::with_threads(1), Arc::new(AtomicUsize::new(0)));
        let (busy, other) = (KeyId::generate(), KeyId::generate());
        let much = (0..20).map(|_| {
            let done = done.clone();
            offload.run(busy, move || {
                thread::sleep(Duration::from_millis(5));
                done.fetch_add(1, Ordering::SeqCst)
            })
        });
        let before = done.clone();
        let little = offload.run(other, move || before.load(Ordering::SeqCst));
        let (much, little) = futures::join!(futures::future::join_all(much), little);
        assert_eq!(little.unwrap(), 1);
        assert!(much.iter().all(Result::is_ok));
        // Only the key that asks for a permit now is still known: the others have no work left.
        offload.permit_of(other);
        assert_eq!(offload.by_key.lock().unwrap().len(), 1);
    }
}
