//! One lane per provider: gathers what is queued for one destination into one call, as fast as the
//! provider's limits and its present state allow.

mod budget;
mod health;
mod heard;
mod news;
mod place;
mod refusals;
mod state;
mod status;
mod turns;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use invite_config::Provider;
use invite_core::{Clock, Destination, Limits, http::CallContext};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use budget::Budget;
pub(crate) use health::Event;
pub(crate) use place::Place;
pub(crate) use refusals::About;
pub(crate) use state::State;
pub(crate) use status::Report;
pub use status::{DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus};

use crate::{
    accounts, attempt,
    backlog::Shares,
    engine::{Inner, SHARED_POLL, contain},
    fault, replica,
};

/// The longest a lane sleeps without looking for work.
const IDLE: Duration = Duration::from_secs(10);
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
    creates_wait: watch::Sender<bool>,
    held: Mutex<Option<Held>>,
    /// The last step could not read or write the store.
    is_stuck: AtomicBool,
    news: news::News,
    pub account: accounts::Asked,
    pub shares: Shares,
}

/// This replica's hold on the lane.
#[derive(Clone, Copy)]
struct Held {
    epoch: i64,
    renewed: Instant,
    /// A claim was refused: it has to be asked for again.
    is_lost: bool,
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
            news: news::News::default(),
            account: accounts::Asked::default(),
            shares: Shares::default(),
        }
    }

    /// Reads or changes the lane's state.
    pub fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it shows of itself: its state, the reason, and the end of a pause.
    pub fn describe(
        &self,
        engine: &Inner,
        provider: &Provider,
    ) -> (LaneState, Option<String>, Option<Timestamp>) {
        match replica::obstacle(engine).or_else(|| self.is_stuck().then(fault::stuck)) {
            Some(why) if provider.enabled => (LaneState::Paused, Some(why), None),
            _ => self.with_state(|it| it.describe(provider.enabled, engine.clock.now())),
        }
    }

    /// What this process knows of its provider, for whoever asks another one.
    pub fn report(&self, engine: &Inner, provider: &Provider) -> Report {
        let (state, reason, until) = self.describe(engine, provider);
        self.with_state(|known| Report {
            state,
            reason,
            until,
            destinations: known.describe_places(engine.clock.now()),
            last_error: known.last_error.clone(),
        })
    }

    /// Whether this process makes its calls, as far as it knows.
    pub fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether it goes on by itself only once the store can be used again.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Keeps whether the last step could use the store, and logs what was wrong.
    fn note(&self, stepped: &Result<Option<Duration>, invite_store::Error>) {
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

    fn take_slot(self: &Arc<Self>, destination: &Destination) -> Slot {
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
            tokio::time::sleep_until(over.min(Instant::now() + IDLE)).await;
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

    /// The epoch under which this replica holds the lane, if it does. One that must not send
    /// anything holds none.
    pub async fn hold(&self, engine: &Arc<Inner>) -> Result<Option<i64>, invite_store::Error> {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ttl = engine.settings.lease;
        let is_fresh = |held: &Held| !held.is_lost && held.renewed.elapsed() < ttl / 3;
        if let Some(held) = held.filter(is_fresh)
            && replica::obstacle(engine).is_none()
        {
            return Ok(Some(held.epoch));
        }
        let (store, is_shared) = (&engine.store, engine.store.is_shared());
        if is_shared {
            // It may have been lost to another document.
            engine.catch_up().await?;
        }
        let epoch = if replica::obstacle(engine).is_none() {
            let (renewed, newest) = (Instant::now(), engine.live.current().revision());
            // On SQLite there is no other replica: a lease found there is that of a process long gone.
            let force = held.is_none() && !is_shared;
            let epoch = store.acquire_lane(&self.name, &engine.owner, ttl, newest, force).await?;
            epoch.map(|epoch| Held { epoch, renewed, is_lost: false })
        } else {
            if held.is_some() {
                store.release_lane(&self.name, &engine.owner).await?;
            }
            None
        };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
        Ok(epoch.map(|held| held.epoch))
    }

    /// How long to sleep when nothing is due.
    pub fn idle(&self, engine: &Inner) -> Duration {
        if engine.store.is_shared() { SHARED_POLL } else { IDLE }
    }

    /// Has the next step ask for the lane again.
    pub fn lose(&self) {
        if let Some(held) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            held.is_lost = true;
        }
    }
}

/// Runs until shutdown.
pub(crate) async fn run(engine: Arc<Inner>, lane: Arc<Lane>) {
    while !engine.stopping.is_cancelled() {
        let stepped = contain(step(&engine, &lane)).await;
        lane.note(&stepped);
        let Some(pause) = stepped.unwrap_or(Some(Duration::from_secs(1))) else { continue };
        lane.creates_wait.send_replace(false);
        tokio::select! {
            () = lane.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = engine.stopping.cancelled() => {}
        }
    }
    if let Err(error) = engine.store.release_lane(&lane.name, &engine.owner).await {
        tracing::warn!(provider.name = lane.name, %error, "cannot release a lane; its lease will run out");
    }
}

/// Makes one call if one can be made now; else says how long to wait unless woken.
async fn step(
    engine: &Arc<Inner>,
    lane: &Arc<Lane>,
) -> Result<Option<Duration>, invite_store::Error> {
    let idle = lane.idle(engine);
    let document = engine.live.current();
    let Some(provider) = document.provider(&lane.name).cloned() else {
        return Ok(Some(idle));
    };
    let Some(epoch) = lane.hold(engine).await? else { return Ok(Some(idle)) };
    accounts::learn(engine, lane, &provider).await?;
    let now = engine.clock.now();
    lane.with_state(|state| {
        state.follow(provider.adapter_since, provider.account_since, now);
    });
    lane.tell_of_change(engine, &provider);
    if let Some(wait) = lane.with_state(|state| state.wait(now, lane.in_flight())) {
        return Ok(Some(wait.min(idle)));
    }
    if lane.in_flight() >= provider.limits.max_in_flight {
        return Ok(Some(idle));
    }
    let turn = match turns::next(engine, lane, now).await? {
        Ok(turn) => turn,
        Err(wait) => return Ok(Some(wait.map_or(idle, |wait| wait.min(idle)))),
    };
    lane.creates_wait.send_replace(true);
    let is_live = || engine.live.current().revision() == document.revision();
    if !wait_for_token(engine, lane, &provider.limits, is_live).await {
        return Ok(None);
    }
    // A call under way may have ended badly while this one waited its turn.
    let now = engine.clock.now();
    let destination = turn.destination.clone();
    if let Some(wait) = lane.with_state(|state| {
        state.wait(now, lane.in_flight()).max(state.place_wait(&destination, now))
    }) {
        return Ok(Some(wait.min(idle)));
    }
    let group = turns::gather(engine, lane, &provider, turn).await?;
    if group.is_empty() {
        // What was due is given up, withdrawn, or waits for an invite in doubt by now.
        return Ok(Some(Duration::from_millis(50)));
    }
    if !is_live() {
        // What was gathered may have been accepted for another document than this one.
        return Ok(None);
    }
    let slot = lane.take_slot(&destination);
    let call = attempt::Call { engine: engine.clone(), lane: lane.clone(), provider };
    call.claim_and_send(group, document.revision(), epoch, slot).await?;
    Ok(None)
}

/// Waits for the rate budget; false if first shutdown begins or another document goes live.
async fn wait_for_token(
    engine: &Inner,
    lane: &Lane,
    limits: &Limits,
    is_live: impl Fn() -> bool,
) -> bool {
    let token = lane.take_token(limits);
    tokio::pin!(token);
    while is_live() {
        tokio::select! {
            () = &mut token => return is_live(),
            () = lane.wake.notified() => {}
            () = engine.stopping.cancelled() => break,
        }
    }
    false
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
