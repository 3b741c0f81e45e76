//! Whether a provider's account was asked for.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The revision of the adapter with which the account was last asked for, and when to ask again if there was no answer.
#[derive(Default)]
pub(crate) struct AccountCheck(Mutex<Option<(i64, Option<Instant>)>>);

impl AccountCheck {
    pub fn is_due(&self, adapter_since: i64) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
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
