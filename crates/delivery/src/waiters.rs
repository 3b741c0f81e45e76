//! Waking callers that wait for a batch to settle.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use invite_core::BatchId;
use tokio::sync::Notify;

/// The batches that somebody waits for.
#[derive(Debug, Default)]
pub struct Waiters(Mutex<HashMap<BatchId, Arc<Notify>>>);

/// A caller's place among those who wait, until it is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    waiters: &'a Waiters,
    batch: BatchId,
    changed: Arc<Notify>,
}

impl Waiters {
    /// Takes a place. Callers do so before they look at the batch, so that they miss no change.
    pub fn wait_for(&self, batch: BatchId) -> Waiting<'_> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = waiting.entry(batch).or_default().clone();
        Waiting { waiters: self, batch, changed }
    }

    /// Wakes those who wait for these batches.
    pub fn wake(&self, batches: impl Iterator<Item = BatchId>) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for batch in batches {
            if let Some(changed) = waiting.get(&batch) {
                changed.notify_waiters();
            }
        }
    }
}

impl Waiting<'_> {
    /// Ends at the next change after this call.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the map and this place still refer to it.
        if Arc::strong_count(&self.changed) <= 2 {
            waiting.remove(&self.batch);
        }
    }
}
