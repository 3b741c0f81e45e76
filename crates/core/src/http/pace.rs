//! When the requests of an attempt may start. What the rate budget is, is the engine's business.

use std::{fmt, pin::Pin};

type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits before each request of an attempt.
#[derive(Default)]
pub(super) struct Pace(Option<Box<dyn Fn() -> Turn + Send + Sync>>);

impl Pace {
    pub fn by<F>(next: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Some(Box::new(move || -> Turn { Box::pin(next()) })))
    }

    pub async fn turn(&self) {
        if let Some(next) = &self.0 {
            next().await;
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pace({})", if self.0.is_some() { "by the budget" } else { "free" })
    }
}
