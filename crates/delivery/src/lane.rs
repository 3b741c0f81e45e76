//! What this process knows of one provider: data. The loops that work with it are in [`crate::tasks`].

mod account;
mod budget;
mod destination;
mod fresh;
mod gauges;
mod health;
mod held_back;
mod hints;
mod logged_state;
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

pub(crate) use account::AccountCheck;
pub(crate) use budget::Budget;
pub(crate) use destination::DestinationState;
pub(crate) use fresh::Fresh;
pub(crate) use health::Event;
pub(crate) use held_back::HeldBack;
pub(crate) use logged_state::LoggedState;
pub(crate) use refusals::About;
pub(crate) use shares::Shares;
pub(crate) use state::{LookUps, State};
pub(crate) use status::{Condition, Report};
pub use status::{
    Counters, DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus,
};

/// How often a question that the provider keeps waiting looks whether another document has ended the wait.
const RECHECK: Duration = Duration::from_secs(10);
/// How long look-ups and refreshes let creates go first. After that they go on, so that a busy lane cannot starve them.
const CREATES_FIRST: Duration = Duration::from_secs(1);

/// What this process knows of one provider.
pub(crate) struct Lane {
    pub name: String,
    /// Wakes the sending loop: work came, a call ended, or the document is another.
    pub wake: Notify,
    /// Wakes the loop of look-ups: an outcome is unknown, or what they go by may have changed.
    pub wake_look_ups: Notify,
    pub state: Mutex<State>,
    in_flight: AtomicU32,
    /// About how many invites wait here; counted along, and set right from the store now and then.
    queued: AtomicU64,
    budget: Arc<Budget>,
    /// Held by the one question of the engine's own that waits for the budget.
    question: tokio::sync::Mutex<()>,
    /// Creates are due and wait for nothing but the budget.
    pub creates_wait: watch::Sender<bool>,
    lease: Mutex<Option<Lease>>,
    /// Until when another replica has the lane, as far as this one knows.
    elsewhere_until: Mutex<Option<Instant>>,
    /// Held by the one loop that takes or renews the lease.
    pub renewing: tokio::sync::Mutex<()>,
    /// The last step of the sending loop failed.
    is_stuck: AtomicBool,
    pub logged_state: LoggedState,
    pub account: AccountCheck,
    pub shares: Shares,
    pub fresh: Fresh,
    pub held_back: HeldBack,
}

/// This replica's lease of the lane.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub epoch: i64,
    pub renewed: Instant,
    /// A claim under it was refused, so that it has to be asked for again.
    pub is_lost: bool,
}

/// Counts a call among those under way until it is dropped.
pub(crate) struct CallUnderWay {
    lane: Arc<Lane>,
    destination: Destination,
}

impl Drop for CallUnderWay {
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
            wake_look_ups: Notify::new(),
            state: Mutex::default(),
            in_flight: AtomicU32::new(0),
            queued: AtomicU64::new(0),
            budget,
            question: tokio::sync::Mutex::default(),
            creates_wait: watch::Sender::default(),
            lease: Mutex::default(),
            elsewhere_until: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            is_stuck: AtomicBool::new(false),
            logged_state: LoggedState::default(),
            account: AccountCheck::default(),
            shares: Shares::default(),
            fresh: Fresh::default(),
            held_back: HeldBack::default(),
        }
    }

    pub fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This replica's lease of the lane, as far as it knows.
    pub fn lease(&self) -> Option<Lease> {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_lease(&self, lease: Option<Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// Whether another replica has the lane, so that it need not be asked for.
    pub fn is_elsewhere(&self) -> bool {
        let until = *self.elsewhere_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Remembers that another replica has the lane for this long, unless it is freed or renewed before.
    pub fn set_elsewhere(&self, left: Duration) {
        let until = Some(Instant::now() + left);
        *self.elsewhere_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Remembers whether the last step of the sending loop failed, and logs it if it did.
    pub fn note_step(&self, stepped: &Result<Option<Duration>, invite_store::Error>) {
        self.is_stuck.store(stepped.is_err(), Ordering::Relaxed);
        if let Err(error) = stepped {
            let name = &self.name;
            tracing::error!(provider.name = name, %error, "a step of the lane of provider {name} failed; trying again");
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Corrects the count of waiting invites, which was `before` when the store was asked, to what that has `read`;
    /// what was counted meanwhile stays.
    pub fn correct_queued(&self, before: u64, read: u64) {
        if read >= before {
            self.queued.fetch_add(read - before, Ordering::Relaxed);
        } else {
            self.queue_shrank(usize::try_from(before - read).unwrap_or(usize::MAX));
        }
    }

    /// Counts this many more waiting invites, if no more than `most` wait then.
    pub fn reserve(&self, count: usize, most: u64) -> bool {
        let grow = |queued: u64| queued.checked_add(count as u64).filter(|all| *all <= most);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_ok()
    }

    pub fn queue_grew(&self, by: usize) {
        self.queued.fetch_add(by as u64, Ordering::Relaxed);
    }

    pub fn queue_shrank(&self, by: usize) {
        let shrink = |queued: u64| Some(queued.saturating_sub(by as u64));
        // The closure always returns a value, so this never fails.
        let _ = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink);
    }

    /// Wakes the sending loop for what it has to read in the table.
    pub fn wake_for_table(&self) {
        self.fresh.forget();
        self.wake.notify_one();
    }

    /// The same, where somebody may be in doubt no longer or something is queued again.
    pub fn wake_for_all(&self) {
        self.held_back.forget();
        self.wake_for_table();
    }

    /// Waits until there are `enough` fresh invites, no call is under way any more, or `limit` is over.
    pub async fn gather(&self, limit: Duration, enough: u32) {
        let gathering = async {
            while self.fresh.len() < enough as usize && self.in_flight() > 0 {
                self.wake.notified().await;
            }
        };
        // Whether there are enough or the time is over, the caller goes on.
        let _ = tokio::time::timeout(limit, gathering).await;
    }

    pub fn begin_call(self: &Arc<Self>, destination: &Destination) -> CallUnderWay {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.with_state(|state| state.begin(destination));
        CallUnderWay { lane: self.clone(), destination: destination.clone() }
    }

    /// Waits until the rate budget has room for a request soon; the request is counted when it starts.
    pub async fn wait_for_budget(&self, limits: &Limits) {
        self.budget.grant(limits).await;
    }

    /// The same for a question of the engine's own. However many there are, only one at a time waits beside the
    /// creates, and none starts while the provider is left alone.
    pub async fn wait_for_budget_to_ask(&self, limits: &Limits, clock: &dyn Clock) {
        let _only_one = self.question.lock().await;
        let left = || self.with_state(|state| state.backing_off(clock.now()));
        let over = Instant::now() + left().unwrap_or_default();
        // Another document ends the wait, too.
        while Instant::now() < over && left().is_some() {
            tokio::time::sleep_until(over.min(Instant::now() + RECHECK)).await;
        }
        self.wait_for_budget(limits).await;
    }

    /// See [`Budget::context`].
    pub fn context(&self, limits: &Limits) -> CallContext {
        self.budget.context(limits)
    }

    /// Lets creates that are due go first, but not for ever.
    pub async fn yield_to_creates(&self) {
        let mut creates_wait = self.creates_wait.subscribe();
        // Whether they have gone or the time is over, the caller goes on.
        let _ = tokio::time::timeout(CREATES_FIRST, creates_wait.wait_for(|wait| !wait)).await;
    }

    /// Has the next step ask for the lease again.
    pub fn lose_lease(&self) {
        if let Some(held) = &mut *self.lease.lock().unwrap_or_else(PoisonError::into_inner) {
            held.is_lost = true;
        }
    }
}

/// The time from `now` to `then`; zero if that is past.
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
            lane.note_step(&stepped);
            assert_eq!(lane.is_stuck(), is_stuck);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_lets_creates_pass_but_not_for_ever() {
        let lane = lane();
        let took = async || {
            let began = Instant::now();
            lane.yield_to_creates().await;
            began.elapsed()
        };
        assert_eq!(took().await, Duration::ZERO);
        lane.creates_wait.send_replace(true);
        assert!(took().await >= CREATES_FIRST);
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
        lane.with_state(|state| {
            state.back_off(now, wait, state::NEARLY_USED_UP, &Retry::default())
        });
        let began = Instant::now();
        lane.wait_for_budget_to_ask(&Limits::default(), &clock).await;
        assert!(began.elapsed() >= wait);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_questions_only_one_at_a_time_waits_beside_a_create() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let (lane, clock) = (lane(), ManualClock::new(now));
        lane.with_state(|state| {
            state.back_off(now, Duration::from_secs(7), state::NEARLY_USED_UP, &Retry::default())
        });
        let limits = Limits::default();
        let first = lane.wait_for_budget_to_ask(&limits, &clock);
        tokio::pin!(first);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(lane.question.try_lock().is_err());
        // Creates do not queue behind it.
        lane.wait_for_budget(&limits).await;
    }
}
