//! When requests to a provider may start: never more of them in a second than its
//! `requests_per_second`, whoever makes them and on whichever replica.
//!
//! They are spaced evenly, so that there is no burst to begin with, and none when the rate changes or
//! another process goes on. Where replicas share a database they share the budget, too: each takes its
//! starts from there.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use invite_core::{Clock, Limits, http::CallContext};
use invite_store::Store;
use tokio::{task::JoinHandle, time::Instant};

/// A second as it is counted here. It is longer than one because a busy machine or database lets requests leave late:
/// even then no second at the provider holds more of them than it should.
const STRETCHED_SECOND: Duration = Duration::from_millis(1050);
/// How late a start may be without putting off those after it: timers are no finer.
const LATE: Duration = Duration::from_millis(10);
/// The same for a start that was taken from the database, whose answer may come late: less than a second is stretched by.
const ANSWERED_LATE: Duration = Duration::from_millis(40);
/// The time for which starts are taken from the database at once, so that a high rate is no load for it.
const AT_ONCE: Duration = Duration::from_millis(50);
/// The pause between two tries to take starts from a database that cannot be used.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How long before they are needed starts are asked for at most.
const MOST_LEAD: Duration = Duration::from_secs(1);

/// Takes a number of starts, one in each period and none before a while, from the database; returns the first.
type Take = Arc<
    dyn Fn(Duration, u32, Duration) -> BoxFuture<'static, Result<Instant, invite_store::Error>>
        + Send
        + Sync,
>;
/// Starts that are being taken; then also when the answer came.
type Taking = JoinHandle<Result<(Vec<Instant>, Instant), invite_store::Error>>;

/// The rate budget of one provider.
pub(crate) struct Budget {
    clock: Arc<dyn Clock>,
    /// Takes starts from the budget that all replicas share; `None` where this process is alone.
    shared: Option<Take>,
    /// When this process began: one that ran here before may have used up what there was until then.
    born: Instant,
    last: Mutex<Option<Instant>>,
    /// When [`grant`](Self::grant) last let somebody go on; locked by whoever is next.
    granted: tokio::sync::Mutex<Option<Instant>>,
    /// Starts that were taken and not used yet; locked by whoever uses the next.
    taken: tokio::sync::Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    starts: VecDeque<Instant>,
    next: Option<Taking>,
    /// How far ahead the next ones have to be, so that they are not over when their answer comes.
    lead: Duration,
}

impl Budget {
    pub fn new(provider: &str, store: &Store, clock: Arc<dyn Clock>) -> Self {
        let shared = store.is_shared().then(|| -> Take {
            let (provider, store) = (provider.to_owned(), store.clone());
            Arc::new(move |period, count, lead| {
                let (provider, store) = (provider.clone(), store.clone());
                Box::pin(async move {
                    store.take_starts(&provider, period, count, lead).await.inspect_err(|error| {
                        tracing::warn!(provider.name = provider, %error, "cannot take from the rate budget of provider {provider}; trying again");
                    })
                })
            })
        });
        Self::of(shared, clock)
    }

    pub(super) fn of(shared: Option<Take>, clock: Arc<dyn Clock>) -> Self {
        let (last, granted, taken) = (Mutex::default(), Default::default(), Default::default());
        Self { clock, shared, born: Instant::now(), last, granted, taken }
    }

    /// Waits until work may begin that will start a request. Whoever waits here can still give up or do something else.
    pub async fn grant(&self, limits: &Limits) {
        let mut granted = self.granted.lock().await;
        let next = self.next(self.last().max(*granted), period(limits));
        // A little early, as the work comes before the request.
        wait_until(next.checked_sub(LATE).unwrap_or(next)).await;
        *granted = Some(next.max(Instant::now()));
    }

    /// Waits until the next request may start, and counts it.
    async fn start(&self, period: Duration) {
        let mut taken = self.taken.lock().await;
        let at = match &self.shared {
            Some(take) => self.next_taken(&mut taken, take, period).await,
            None => {
                let (next, now) = (self.next(self.last(), period), Instant::now());
                if next + LATE < now { now } else { next }
            }
        };
        wait_until(at).await;
        taken.starts.pop_front();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// The first start that was taken from the database and is not over; it stays there until it is used.
    async fn next_taken(&self, taken: &mut Taken, take: &Take, period: Duration) -> Instant {
        let count = count(period) as usize;
        loop {
            while taken.starts.front().is_some_and(|at| *at + ANSWERED_LATE < Instant::now()) {
                taken.starts.pop_front();
            }
            // The next ones are there when these are used up, unless nobody may need them.
            if taken.starts.len() <= count / 2 && count > 1 && taken.next.is_none() {
                taken.next = Some(Self::ask(take, period, taken.lead));
            }
            if let Some(at) = taken.starts.front() {
                return *at;
            }
            let lead = taken.lead;
            let answer = taken.next.get_or_insert_with(|| Self::ask(take, period, lead)).await;
            taken.next = None;
            match answer {
                Ok(Ok((starts, answered))) => {
                    let in_time = starts.first().map(|first| *first + ANSWERED_LATE / 2);
                    let late =
                        (answered + lead).saturating_duration_since(in_time.unwrap_or(answered));
                    // One answer that took long says little of the next.
                    taken.lead = late.min(MOST_LEAD);
                    taken.starts.extend(starts);
                }
                // Without it no request starts: other replicas would not know of it.
                Ok(Err(_)) | Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
    }

    /// Begins to take the next starts.
    fn ask(take: &Take, period: Duration, lead: Duration) -> Taking {
        let count = count(period);
        let first = take(period, count, lead);
        tokio::spawn(async move {
            let first = first.await?;
            Ok(((0..count).map(|n| first + period * n).collect(), Instant::now()))
        })
    }

    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earliest start after the `last`. If there is none, a process that ran before may have made some until a moment
    /// ago, unless the database knows of those.
    fn next(&self, last: Option<Instant>, period: Duration) -> Instant {
        match last {
            Some(last) => last + period,
            None if self.shared.is_some() => self.born,
            None => self.born + period.min(STRETCHED_SECOND),
        }
    }

    /// The context of a call, each of whose requests starts when this budget allows it.
    pub fn context(self: &Arc<Self>, limits: &Limits) -> CallContext {
        let (budget, period) = (self.clone(), period(limits));
        CallContext::new(limits.timeout).with_clock(self.clock.clone()).paced(move || {
            let budget = budget.clone();
            async move { budget.start(period).await }
        })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("last", &self.last()).finish_non_exhaustive()
    }
}

/// Sleeps only if it has to: a timer that is due already still takes a millisecond.
async fn wait_until(at: Instant) {
    if at > Instant::now() {
        tokio::time::sleep_until(at).await;
    }
}

/// How many starts are taken from the database at once.
fn count(period: Duration) -> u32 {
    (AT_ONCE.as_secs_f64() / period.as_secs_f64()).ceil() as u32
}

/// The time between two starts.
fn period(limits: &Limits) -> Duration {
    STRETCHED_SECOND.div_f64(limits.requests_per_second)
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use invite_core::SystemClock;

    use super::*;

    /// When requests started.
    type Starts = Arc<Mutex<Vec<Instant>>>;

    fn limits(requests_per_second: f64) -> Limits {
        let timeout = Duration::from_secs(3600);
        Limits { requests_per_second, timeout, ..Limits::default() }
    }

    fn alone() -> Arc<Budget> {
        Arc::new(Budget::of(None, Arc::new(SystemClock)))
    }

    /// Budgets that take from the same place, as the store has it, which answers after so many milliseconds in turn.
    fn sharing(replicas: usize, answers: &'static [u64]) -> Vec<Arc<Budget>> {
        let turns = Arc::new(Mutex::new(answers.iter().cycle()));
        let last: Arc<Mutex<Option<Instant>>> = Arc::default();
        let take: Take = Arc::new(move |period, count, lead| {
            let last = last.clone();
            let answer = Duration::from_millis(*turns.lock().unwrap().next().unwrap());
            Box::pin(async move {
                let earliest = Instant::now() + lead;
                let first = {
                    let mut last = last.lock().unwrap();
                    let first = last.map_or(earliest, |last| earliest.max(last + period));
                    *last = Some(first + period * (count - 1));
                    first
                };
                tokio::time::sleep(answer).await;
                Ok(first)
            })
        });
        let budget = |_| Arc::new(Budget::of(Some(take.clone()), Arc::new(SystemClock)));
        (0..replicas).map(budget).collect()
    }

    /// Work that begins as often as it may, each of which takes a while until its first request and makes
    /// `requests` of them.
    async fn work(budget: &Arc<Budget>, limits: &Limits, requests: usize, starts: &Starts) {
        budget.grant(limits).await;
        let (context, starts) = (budget.context(limits), starts.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(7 * requests as u64)).await;
            for _ in 0..requests {
                assert!(context.wait_for_budget().await);
                starts.lock().unwrap().push(Instant::now());
            }
        });
    }

    /// The most starts in any second.
    fn most_in_a_second(starts: &Starts) -> usize {
        let mut starts = starts.lock().unwrap().clone();
        starts.sort();
        let until = |first: &Instant| {
            let before = |time: Instant| starts.partition_point(|at| *at < time);
            before(*first + Duration::from_secs(1)) - before(*first)
        };
        starts.iter().map(until).max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn in_no_second_more_requests_start_than_may_not_in_the_first_either() {
        for (rate, most) in [(0.5, 1), (1.0, 1), (1.5, 2), (2.5, 3), (10.0, 10), (300.0, 300)] {
            let (budget, starts, limits) = (alone(), Starts::default(), limits(rate));
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(20) {
                for requests in [1, 3, 2] {
                    work(&budget, &limits, requests, &starts).await;
                }
            }
            assert!(most_in_a_second(&starts) <= most, "{rate}: {}", most_in_a_second(&starts));
            let reached = starts.lock().unwrap().len() as f64 / began.elapsed().as_secs_f64();
            assert!(reached > 0.85 * rate, "{rate}: {reached}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_and_another_process_give_no_fresh_burst() {
        let starts = Starts::default();
        let mut budget = alone();
        for n in 0..60 {
            // Each process does a little, at one of two rates.
            let limits = limits(if n % 2 == 0 { 10.0 } else { 8.0 });
            for _ in 0..3 {
                work(&budget, &limits, 1, &starts).await;
            }
            tokio::time::sleep(Duration::from_millis(8)).await;
            if n % 3 == 0 {
                budget = alone();
            }
        }
        assert!(most_in_a_second(&starts) <= 10, "{}", most_in_a_second(&starts));
    }

    #[tokio::test(start_paused = true)]
    async fn a_raised_rate_is_not_put_off_by_the_old_one() {
        let (budget, starts) = (alone(), Starts::default());
        work(&budget, &limits(0.001), 1, &starts).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        work(&budget, &limits(10.0), 1, &starts).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_work_at_once_and_a_lane_that_moves_keep_to_one_budget() {
        for (rate, most) in [(0.5, 1), (2.5, 3), (10.0, 10), (200.0, 200)] {
            for answers in [&[0][..], &[3], &[20], &[90], &[0, 90, 30, 3, 200]] {
                let (replicas, limits) = (sharing(3, answers), limits(rate));
                let (starts, began) = (Starts::default(), Instant::now());
                let all = async |replica: &Arc<Budget>, seconds: u64| {
                    while began.elapsed() < Duration::from_secs(seconds) {
                        work(replica, &limits, 1, &starts).await;
                    }
                };
                join_all(replicas.iter().map(|replica| all(replica, 8))).await;
                for (replica, until) in replicas.iter().zip([16, 24, 32]) {
                    all(replica, until).await;
                }
                let found = most_in_a_second(&starts);
                assert!(found <= most, "{rate}, {answers:?}: {found}");
                let reached = starts.lock().unwrap().len() as f64 / began.elapsed().as_secs_f64();
                let is_slow = answers.iter().any(|answer| *answer > 40);
                assert!(is_slow || reached > 0.8 * rate, "{rate}, {answers:?}: {reached}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_takes_its_time_to_answer_costs_none_of_the_rate() {
        for (rate, answers) in [(10.0, &[30]), (100.0, &[15]), (1000.0, &[15])] {
            let budget = sharing(1, answers).remove(0);
            let (starts, limits, began) = (Starts::default(), limits(rate), Instant::now());
            while began.elapsed() < Duration::from_secs(30) {
                work(&budget, &limits, 1, &starts).await;
            }
            let reached = starts.lock().unwrap().len() as f64 / began.elapsed().as_secs_f64();
            assert!(reached > 0.94 * rate, "{rate}: {reached}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_nothing_from_the_budget() {
        let (budget, limits) = (alone(), limits(1.0));
        budget.grant(&limits).await;
        for _ in 0..100 {
            let waiting = tokio::time::timeout(Duration::from_millis(1), budget.grant(&limits));
            assert!(waiting.await.is_err());
        }
        let began = Instant::now();
        budget.grant(&limits).await;
        assert!(began.elapsed() <= STRETCHED_SECOND, "{:?}", began.elapsed());
    }
}
