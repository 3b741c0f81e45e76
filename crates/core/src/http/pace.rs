//! The wait for the rate budget before each request of an attempt. The budget itself is the engine's.

use std::{fmt, pin::Pin};

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What each request of an attempt waits for; nothing by default.
#[derive(Default)]
pub(super) struct Pace(Option<Box<dyn Fn() -> Wait + Send + Sync>>);

impl Pace {
    pub fn by<F>(next: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Some(Box::new(move || -> Wait { Box::pin(next()) })))
    }

    pub async fn wait(&self) {
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
