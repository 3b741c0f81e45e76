//! Whose turn it is, in an attempt of several requests. What the rate budget is, and the first
//! request's turn, is the engine's business.

use std::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits before each request of an attempt but the first.
#[derive(Default)]
pub(super) struct Pace {
    next: Option<Box<dyn Fn() -> Turn + Send + Sync>>,
    begun: AtomicBool,
}

impl Pace {
    pub fn by<F>(next: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let next = Box::new(move || -> Turn { Box::pin(next()) });
        Self { next: Some(next), begun: AtomicBool::new(false) }
    }

    pub async fn turn(&self) {
        let begun = self.begun.swap(true, Ordering::Relaxed);
        if let (true, Some(next)) = (begun, &self.next) {
            next().await;
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pace({})", if self.next.is_some() { "by the budget" } else { "free" })
    }
}
