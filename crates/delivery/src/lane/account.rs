//! Whether a provider's account was asked for.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// For which adapter, by its revision, the account was asked for, and when to ask again if that was not
/// answered.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Option<(i64, Option<Instant>)>>);

impl Asked {
    pub fn is_due(&self, adapter_since: i64) -> bool {
        let asked = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Some((since, again)) if since == adapter_since => {
                again.is_some_and(|again| again <= Instant::now())
            }
            _ => true,
        }
    }

    pub fn note(&self, adapter_since: i64, again: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((adapter_since, again));
    }
}
