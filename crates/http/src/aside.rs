//! Work that would keep a worker of the async runtime from all its other requests: it is done on
//! threads of its own, as many at once as leave the machine time for everything else.

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

/// The longest body that is worked on where it was read: whatever it holds, that takes less than 50 ms.
const SHORT: usize = 16 * 1024;
/// How long work waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Where long work is done. Keys take turns: of each one piece of work is done or next, so that how
/// much one key sends does not matter to the others.
pub(crate) struct Aside {
    /// Taken in the order in which they are asked for.
    places: Arc<Semaphore>,
    /// The one turn of each key that has work.
    turns: Mutex<HashMap<KeyId, Arc<Semaphore>>>,
}

impl Default for Aside {
    /// Half of the processors work aside, at least one.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::with_places((processors / 2).max(1))
    }
}

impl Aside {
    fn with_places(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), turns: Mutex::default() }
    }

    fn turn_of(&self, key: KeyId) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(key).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }

    /// Does a key's work for a body of so many bytes.
    ///
    /// # Errors
    /// 503 if other work took all the time.
    pub async fn work<T: Send + 'static>(
        &self,
        key: KeyId,
        body: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if body <= SHORT { Ok(work()) } else { self.long_work(key, work).await }
    }

    /// Does a key's work that may take long whatever it is about.
    ///
    /// # Errors
    /// As above.
    pub async fn long_work<T: Send + 'static>(
        &self,
        key: KeyId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = async {
            let own = self.turn_of(key).acquire_owned().await?;
            let place = self.places.clone().acquire_owned().await?;
            Ok::<_, AcquireError>((own, place))
        };
        let Ok(Ok(turn)) = timeout(TURN, turn).await else {
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
        let (aside, here) = (Aside::with_places(2), thread::current().id());
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..8).map(|_| {
            let (at_work, most) = (at_work.clone(), most.clone());
            aside.work(KeyId::generate(), SHORT + 1, move || {
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
        let short = aside.work(KeyId::generate(), SHORT, move || thread::current().id()).await;
        assert_eq!(short.unwrap(), here);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_gets_no_turn_is_refused_in_time() {
        let aside = Aside::with_places(0);
        let refused = aside.long_work(KeyId::generate(), || ()).await.unwrap_err();
        assert_eq!(refused.code(), "not-ready");
    }

    #[tokio::test]
    async fn of_one_keys_work_at_most_one_piece_is_done_before_another_keys() {
        let (aside, done) = (Aside::with_places(1), Arc::new(AtomicUsize::new(0)));
        let (busy, other) = (KeyId::generate(), KeyId::generate());
        let much = (0..20).map(|_| {
            let done = done.clone();
            aside.long_work(busy, move || {
                thread::sleep(Duration::from_millis(5));
                done.fetch_add(1, Ordering::SeqCst)
            })
        });
        let before = done.clone();
        let little = aside.long_work(other, move || before.load(Ordering::SeqCst));
        // Much is asked for first.
        let (much, little) = futures::join!(futures::future::join_all(much), little);
        assert_eq!(little.unwrap(), 1);
        assert!(much.iter().all(Result::is_ok));
        // Nobody has work any more, but for whom a turn is asked for now.
        aside.turn_of(other);
        assert_eq!(aside.turns.lock().unwrap().len(), 1);
    }
}
