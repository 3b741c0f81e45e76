//! The phase that a connection is in, and until when it may stay there. The connection, its
//! requests and the slots share one record of it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::Bounds;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for the head of a request.
    Head,
    /// A request is being handled, or an endless answer has nothing to tell at present.
    Request,
    /// A request is being handled, and waits for more of its body. The time counts from the start of the request.
    Body,
    /// An answer is being produced and written.
    Answer,
    /// An answer is complete, but perhaps not written to its end.
    Answered,
    /// An answer is written to its end, and no byte of another request has come.
    Idle,
    /// It is being closed, as its slot is needed.
    Evicted,
}

pub(super) struct Progress {
    at: Mutex<(Phase, Instant)>,
    evicted: Notify,
}

impl Progress {
    pub fn new() -> Self {
        Self { at: Mutex::new((Phase::Head, Instant::now())), evicted: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phase, and since when.
    pub fn now(&self) -> (Phase, Instant) {
        *self.lock()
    }

    /// Goes on to `next` from one of these phases, and returns whether it did.
    fn step(&self, from: &[Phase], next: Phase) -> bool {
        let mut at = self.lock();
        let is_there = from.contains(&at.0);
        if is_there {
            *at = (next, Instant::now());
        }
        is_there
    }

    pub fn bytes_received(&self) {
        self.step(&[Phase::Idle], Phase::Head);
    }

    /// The head of a request is complete. False if the connection is evicted.
    pub fn begin_request(&self) -> bool {
        self.step(&[Phase::Head, Phase::Idle], Phase::Request)
    }

    /// Whether the request waits for more of its body.
    pub fn wait_for_body(&self, waits: bool) {
        let mut at = self.lock();
        match (at.0, waits) {
            (Phase::Request, true) => at.0 = Phase::Body,
            (Phase::Body, false) => at.0 = Phase::Request,
            _ => {}
        }
    }

    pub fn begin_answer(&self) {
        self.step(&[Phase::Request, Phase::Body], Phase::Answer);
    }

    /// Whether there is more of an endless answer. If so, its time counts anew.
    pub fn continue_answer(&self, has_more: bool) {
        match has_more {
            true => self.step(&[Phase::Request, Phase::Answer], Phase::Answer),
            false => self.step(&[Phase::Answer], Phase::Request),
        };
    }

    /// The answer is complete. The time to write it goes on.
    pub fn end_answer(&self) {
        let mut at = self.lock();
        if matches!(at.0, Phase::Answer | Phase::Request) {
            at.0 = Phase::Answered;
        }
    }

    /// All that was produced is written.
    pub fn answer_written(&self) {
        self.step(&[Phase::Answered], Phase::Idle);
    }

    /// Evicts the connection, unless a request that has its body is being handled. Returns whether it did.
    pub fn evict(&self) -> bool {
        let mut at = self.lock();
        if at.0 == Phase::Request {
            return false;
        }
        at.0 = Phase::Evicted;
        self.evicted.notify_one();
        true
    }

    /// Returns once the connection is evicted.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Until when it may stay in its phase; `None` where the request has timeouts of its own.
    pub fn deadline(&self, bounds: &Bounds) -> Option<Instant> {
        let (phase, since) = self.now();
        let most: Duration = match phase {
            Phase::Head => bounds.head_timeout,
            Phase::Answer | Phase::Answered => bounds.answer_timeout,
            Phase::Idle => bounds.idle_timeout,
            Phase::Request | Phase::Body | Phase::Evicted => return None,
        };
        Some(since + most)
    }
}
