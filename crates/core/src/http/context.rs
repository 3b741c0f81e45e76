//! What one attempt may take, and what is kept of what it exchanged.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::Instant,
};

use super::{ClockDifference, RateHint, Response, body::Guard, pace::Pace};
use crate::{Clock, SystemClock};

/// What one attempt may take, and the record of what it exchanged.
pub struct CallContext {
    pub(super) deadline: Instant,
    /// A request must start before this: later, too little time would be left for its answer.
    start_by: Instant,
    pub(super) offline: bool,
    pace: Pace,
    /// The machine's clock, by which the provider's is measured.
    pub(super) clock: Arc<dyn Clock>,
    pub(super) guard: Option<Guard>,
    exchanges: Mutex<Vec<Exchange>>,
    hints: Mutex<Hints>,
    /// A reply came that is so long that parsing it holds up a thread.
    pub(super) is_long: AtomicBool,
}

/// What the headers of an attempt's replies said of rate limit, waits and clock.
#[derive(Clone, Copy, Default)]
struct Hints {
    rate_hint: Option<RateHint>,
    /// The longest wait that a reply asked for, and when that reply came.
    retry_after: Option<(Duration, Instant)>,
    clock_difference: Option<ClockDifference>,
}

/// One request and what came back, for the record of an attempt. Headers are not part of it, but for that which names the
/// request, so no credential is; bodies are the provider's own JSON and may hold personal data.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Method and full address, with the query.
    pub target: String,
    /// The request's body.
    pub request: Option<String>,
    /// The reply's status, if one was read.
    pub status: Option<u16>,
    /// The provider's own id of the request, from a header of the reply.
    pub request_id: Option<String>,
    /// The reply's body, if one was read and is not longer than what is kept (256 KiB).
    pub reply: Option<String>,
    /// The provider's clock, from its `Date`.
    pub date: Option<Timestamp>,
}

impl CallContext {
    /// An attempt that ends after `timeout`, whatever it is doing then.
    pub fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            deadline: now + timeout,
            start_by: now + timeout / 4 * 3,
            offline: false,
            pace: Pace::default(),
            clock: Arc::new(SystemClock),
            guard: None,
            exchanges: Mutex::default(),
            hints: Mutex::default(),
            is_long: AtomicBool::new(false),
        }
    }

    /// Awaits what is asked with this context. Once a long reply came, such as a list of all invites there, the
    /// worker thread hands its other tasks over before it goes on, because parsing such a reply takes it long.
    pub async fn aside<T>(&self, asking: impl Future<Output = T>) -> T {
        let mut asking = std::pin::pin!(asking);
        let has_others = || {
            Handle::try_current()
                .is_ok_and(|it| it.runtime_flavor() != RuntimeFlavor::CurrentThread)
        };
        std::future::poll_fn(|cx| match self.is_long.load(Ordering::Relaxed) && has_others() {
            true => tokio::task::block_in_place(|| asking.as_mut().poll(cx)),
            false => asking.as_mut().poll(cx),
        })
        .await
    }

    /// With a clock other than the machine's, which the provider's clock is compared with.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// With a rate budget: each request waits for `next`, but no longer than until three quarters of
    /// the timeout are over, so that none is sent too late to be answered.
    pub fn paced<F>(self, next: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { pace: Pace::by(next), ..self }
    }

    /// With a guard that is asked when a connection takes a request's body, the last moment at which it
    /// can be kept back. If it says why not, the request is not sent.
    pub fn guarded(self, guard: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { guard: Some(Guard(Arc::new(guard))), ..self }
    }

    /// For a dry run: nothing can be sent, so what only the provider can tell stays open.
    pub fn offline() -> Self {
        Self { offline: true, ..Self::new(Duration::ZERO) }
    }

    /// Whether this is a dry run.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The result of `future`, or none if the attempt's deadline comes first.
    pub async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.deadline, future).await.ok()
    }

    /// What was exchanged so far, in order.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the rate budget lets the attempt's next request start; false if that would be too late for
    /// an answer. [`HttpClient::send`](super::HttpClient::send) does so by itself.
    pub async fn wait_for_budget(&self) -> bool {
        tokio::time::timeout_at(self.start_by, self.pace.wait()).await.is_ok()
    }

    /// What the provider said last of its rate limit.
    pub fn rate_hint(&self) -> Option<RateHint> {
        self.hints().rate_hint
    }

    /// What is left of the longest wait that a reply asked for. Replies of any status count: a provider may take
    /// a call and ask for a wait before the next.
    pub fn retry_after(&self) -> Option<Duration> {
        let (wait, at) = self.hints().retry_after?;
        Some(wait.saturating_sub(at.elapsed()))
    }

    /// How far the provider's clock is ahead of ours by the last reply that showed it.
    pub fn clock_difference(&self) -> Option<ClockDifference> {
        self.hints().clock_difference
    }

    fn hints(&self) -> Hints {
        *self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a reply's headers say; `sent` is when its request was sent.
    pub(super) fn note_hints(&self, reply: &Response, sent: Timestamp) {
        let rate_hint = RateHint::read(&reply.headers, reply.received);
        let difference = ClockDifference::read(&reply.headers, sent, reply.received);
        let left = self.retry_after();
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.rate_hint = rate_hint.or(hints.rate_hint);
        hints.clock_difference = difference.or(hints.clock_difference);
        if let Some(wait) = reply.retry_after().filter(|wait| left.is_none_or(|left| left < *wait))
        {
            hints.retry_after = Some((wait, Instant::now()));
        }
    }

    pub(super) fn record(&self, exchange: Exchange) {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("deadline", &self.deadline)
            .field("offline", &self.offline)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
