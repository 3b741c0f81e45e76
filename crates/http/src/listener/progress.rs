//! How far a connection is, and until when it may stay there. One record for each, which the
//! connection, its requests and whoever needs its place look at.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::Bounds;

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's head has to come.
    Head,
    /// A request is being done.
    Request,
    /// A request is being done, and waits for more of its body. Its time is the request's.
    Body,
    /// An answer is being made and written.
    Answer,
    /// An answer is made to its end, and may be written only in part.
    Answered,
    /// An answer is written to its end, and nothing has come since.
    Idle,
    /// Another connection gets its place.
    Evicted,
}

/// How far one connection is.
pub(super) struct Progress {
    at: Mutex<(Phase, Instant)>,
    evicted: Notify,
}

impl Progress {
    /// Of a connection that has just been made.
    pub fn new() -> Self {
        Self { at: Mutex::new((Phase::Head, Instant::now())), evicted: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is at, and since when.
    pub fn now(&self) -> (Phase, Instant) {
        *self.lock()
    }

    /// Goes on to `next` if it is at one of these; returns whether it did.
    fn step(&self, from: &[Phase], next: Phase) -> bool {
        let mut at = self.lock();
        let is_there = from.contains(&at.0);
        if is_there {
            *at = (next, Instant::now());
        }
        is_there
    }

    /// Bytes came.
    pub fn hear(&self) {
        self.step(&[Phase::Idle], Phase::Head);
    }

    /// A request's head is there. False if the connection has lost its place.
    pub fn begin_request(&self) -> bool {
        self.step(&[Phase::Head, Phase::Idle], Phase::Request)
    }

    /// The request waits for more of its body, or no more.
    pub fn wait_for_body(&self, waits: bool) {
        let mut at = self.lock();
        match (at.0, waits) {
            (Phase::Request, true) => at.0 = Phase::Body,
            (Phase::Body, false) => at.0 = Phase::Request,
            _ => {}
        }
    }

    /// The request is done.
    pub fn begin_answer(&self) {
        self.step(&[Phase::Request, Phase::Body], Phase::Answer);
    }

    /// The answer is made to its end. Its time goes on.
    pub fn end_answer(&self) {
        let mut at = self.lock();
        if at.0 == Phase::Answer {
            at.0 = Phase::Answered;
        }
    }

    /// Whatever was made is written.
    pub fn written(&self) {
        self.step(&[Phase::Answered], Phase::Idle);
    }

    /// Takes its place away, whatever it is at but a request that has its body. False if one is being
    /// done.
    pub fn evict(&self) -> bool {
        let mut at = self.lock();
        if at.0 == Phase::Request {
            return false;
        }
        at.0 = Phase::Evicted;
        self.evicted.notify_one();
        true
    }

    /// Returns once its place is taken away.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Until when it may stay where it is; none where the request's own bounds hold.
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
