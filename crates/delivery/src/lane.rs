//! What this process knows of one provider: data. What is done with it is [`crate::tasks`]'s.

mod account;
mod budget;
mod gauges;
mod health;
mod heard;
mod news;
mod place;
mod refusals;
mod shares;
mod state;
mod status;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use invite_core::{Clock, Destination, Limits, http::CallContext};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use account::Asked;
pub(crate) use budget::Budget;
pub(crate) use health::Event;
pub(crate) use news::News;
pub(crate) use place::Place;
pub(crate) use refusals::About;
pub(crate) use shares::Shares;
pub(crate) use state::State;
pub(crate) use status::Report;
pub use status::{DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus};

/// The longest that what waits for its turn goes without looking whether another document ends the wait.
const LOOK: Duration = Duration::from_secs(10);
/// The longest that what can wait lets creates pass.
const PATIENCE: Duration = Duration::from_secs(1);

/// What this process knows of one provider.
pub(crate) struct Lane {
    pub name: String,
    /// Something may have changed: work came, a slot is free, the configuration is another.
    pub wake: Notify,
    /// An outcome is unknown, or what look-ups go by may have changed.
    pub doubt: Notify,
    pub state: Mutex<State>,
    in_flight: AtomicU32,
    /// About how many invites wait here; counted along, and set right from the store now and then.
    queued: AtomicU64,
    budget: Arc<Budget>,
    /// Held by the one question that waits for the budget.
    turn: tokio::sync::Mutex<()>,
    /// Creates are due and wait for nothing but the budget.
    pub creates_wait: watch::Sender<bool>,
    held: Mutex<Option<Held>>,
    /// The last step could not read or write the store.
    is_stuck: AtomicBool,
    pub news: News,
    pub account: Asked,
    pub shares: Shares,
}

/// This replica's hold on the lane.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub epoch: i64,
    pub renewed: Instant,
    /// A claim was refused: it has to be asked for again.
    pub is_lost: bool,
}

/// A call's place among those under way; given back when dropped.
pub(crate) struct Slot {
    lane: Arc<Lane>,
    destination: Destination,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lane.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.lane.with_state(|state| state.end(&self.destination));
        self.lane.wake.notify_one();
    }
}

impl Lane {
    pub fn new(name: &str, budget: Arc<Budget>) -> Self {
        Self {
            name: name.to_owned(),
            wake: Notify::new(),
            doubt: Notify::new(),
            state: Mutex::default(),
            in_flight: AtomicU32::new(0),
            queued: AtomicU64::new(0),
            budget,
            turn: tokio::sync::Mutex::default(),
            creates_wait: watch::Sender::default(),
            held: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            news: News::default(),
            account: Asked::default(),
            shares: Shares::default(),
        }
    }

    /// Reads or changes the lane's state.
    pub fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This replica's hold on it, as far as it knows.
    pub fn held(&self) -> Option<Held> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps this replica's hold on it.
    pub fn keep(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Whether it goes on by itself only once the store can be used again.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Keeps whether the last step could use the store, and logs what was wrong.
    pub fn note(&self, stepped: &Result<Option<Duration>, invite_store::Error>) {
        self.is_stuck.store(stepped.is_err(), Ordering::Relaxed);
        if let Err(error) = stepped {
            tracing::error!(provider.name = self.name, %error, "a lane cannot read or write the store");
        }
    }

    /// Calls under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// About how many invites wait here.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Sets the count, which was `before`, right by one read since: what changed meanwhile stays.
    pub fn correct_queued(&self, before: u64, read: u64) {
        if read >= before {
            self.queued.fetch_add(read - before, Ordering::Relaxed);
        } else {
            self.queue_shrank(usize::try_from(before - read).unwrap_or(usize::MAX));
        }
    }

    /// Counts so many more, if then no more than `most` wait.
    pub fn reserve(&self, count: usize, most: u64) -> bool {
        let grow = |queued: u64| queued.checked_add(count as u64).filter(|all| *all <= most);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok()
    }

    /// More invites wait.
    pub fn queue_grew(&self, by: usize) {
        self.queued.fetch_add(by as u64, Ordering::Relaxed);
    }

    /// Fewer invites wait.
    pub fn queue_shrank(&self, by: usize) {
        let shrink = |queued: u64| Some(queued.saturating_sub(by as u64));
        // The closure never refuses.
        let _ = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink);
    }

    pub fn take_slot(self: &Arc<Self>, destination: &Destination) -> Slot {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.with_state(|state| state.begin(destination));
        Slot { lane: self.clone(), destination: destination.clone() }
    }

    /// Waits until the rate budget allows work to begin for which a request will start.
    pub async fn take_token(&self, limits: &Limits) {
        self.budget.grant(limits).await;
    }

    /// The same for a question that the engine asks by itself. However many there are, only one at a
    /// time waits beside the creates, and none is asked while the provider's own limit is nearly used
    /// up.
    pub async fn take_turn(&self, limits: &Limits, clock: &dyn Clock) {
        let _turn = self.turn.lock().await;
        let eased = || self.with_state(|state| state.eased(clock.now()));
        let over = Instant::now() + eased().unwrap_or_default();
        // Another document ends the wait, too.
        while Instant::now() < over && eased().is_some() {
            tokio::time::sleep_until(over.min(Instant::now() + LOOK)).await;
        }
        self.take_token(limits).await;
    }

    /// The context of an attempt: each of its requests starts when the rate budget allows it.
    pub fn context(&self, limits: &Limits) -> CallContext {
        self.budget.context(limits)
    }

    /// Lets creates that are due pass, though not for ever.
    pub async fn leave_to_creates(&self) {
        let mut creates_wait = self.creates_wait.subscribe();
        // Either way it goes on.
        let _ = tokio::time::timeout(PATIENCE, creates_wait.wait_for(|wait| !wait)).await;
    }

    /// Has the next step ask for the lane again.
    pub fn lose(&self) {
        if let Some(held) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            held.is_lost = true;
        }
    }
}

/// The time from one moment to another; none if that is past.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use invite_core::{ManualClock, Retry, SystemClock};

    use super::*;

    fn lane() -> Lane {
        Lane::new("fake", Arc::new(Budget::of(None, Arc::new(SystemClock))))
    }

    #[tokio::test]
    async fn a_count_that_is_set_right_keeps_what_was_reserved_meanwhile() {
        for (before, read, after) in [(5, 3, 4), (5, 5, 6), (5, 9, 10), (0, 2, 3)] {
            let lane = lane();
            lane.queue_grew(before);
            let known = lane.queued();
            assert!(lane.reserve(1, 100));
            lane.correct_queued(known, read);
            assert_eq!(lane.queued(), after);
        }
    }

    #[test]
    fn a_lane_shows_that_it_cannot_use_the_store_until_it_can() {
        let lane = lane();
        let unreadable = || invite_store::Error::Corrupt { what: "tenant".into() };
        for (stepped, is_stuck) in [(Err(unreadable()), true), (Ok(None), false)] {
            lane.note(&stepped);
            assert_eq!(lane.is_stuck(), is_stuck);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_lets_creates_pass_but_not_for_ever() {
        let lane = lane();
        let took = async || {
            let began = Instant::now();
            lane.leave_to_creates().await;
            began.elapsed()
        };
        assert_eq!(took().await, Duration::ZERO);
        lane.creates_wait.send_replace(true);
        assert!(took().await >= PATIENCE);
        let (took, ()) = tokio::join!(took(), async {
            lane.creates_wait.send_replace(false);
        });
        assert_eq!(took, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_wait_while_the_rate_limit_is_nearly_used_up() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let (lane, clock) = (lane(), ManualClock::new(now));
        let wait = Duration::from_secs(7);
        lane.with_state(|state| state.ease(now, wait, state::NEARLY_USED_UP, &Retry::default()));
        let began = Instant::now();
        lane.take_turn(&Limits::default(), &clock).await;
        assert!(began.elapsed() >= wait);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_questions_only_one_at_a_time_waits_beside_a_create() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let (lane, clock) = (lane(), ManualClock::new(now));
        lane.with_state(|state| {
            state.ease(now, Duration::from_secs(7), state::NEARLY_USED_UP, &Retry::default())
        });
        let limits = Limits::default();
        let first = lane.take_turn(&limits, &clock);
        tokio::pin!(first);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(lane.turn.try_lock().is_err());
        // Creates do not queue behind it.
        lane.take_token(&limits).await;
    }
}
