//! Callers that wait for a batch to settle, and what they are told of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use invite_core::{BatchId, InviteId};
use invite_store::InviteRecord;
use tokio::sync::Notify;

/// The batches that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<BatchId, Arc<Place>>>);

/// A caller's place among those who wait, until it is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    waiters: &'a Waiters,
    pub(crate) batch: BatchId,
    place: Arc<Place>,
}

#[derive(Debug, Default)]
struct Place {
    changed: Notify,
    told: Mutex<Told>,
}

/// What was written of a batch since somebody waits for it.
#[derive(Debug, Default)]
struct Told {
    written: HashMap<InviteId, InviteRecord>,
    /// Something was written, or may have been, that is not among it.
    is_uncertain: bool,
}

impl Place {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    /// Takes a place. Callers do so before they look at the batch, so that they miss no change.
    pub fn wait_for(&self, batch: BatchId) -> Waiting<'_> {
        let mut places = self.places();
        let place = Arc::clone(places.entry(batch).or_default());
        Waiting { waiters: self, batch, place }
    }

    /// Tells those who wait for them how invites were written; returns the batches for which nobody waits here.
    pub fn tell(&self, written: &[InviteRecord]) -> BTreeSet<BatchId> {
        let (places, mut others) = (self.places(), BTreeSet::new());
        for invite in written {
            if let Some(place) = places.get(&invite.batch_id) {
                place.told().written.insert(invite.id, invite.clone());
                place.changed.notify_waiters();
            } else {
                others.insert(invite.batch_id);
            }
        }
        others
    }

    /// Has those who wait for these batches read them.
    pub fn wake(&self, batches: impl Iterator<Item = BatchId>) {
        let places = self.places();
        if places.is_empty() {
            return;
        }
        for batch in batches {
            if let Some(place) = places.get(&batch) {
                place.told().is_uncertain = true;
                place.changed.notify_waiters();
            }
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<BatchId, Arc<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Ends at the next change after this call.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.place.changed.notified()
    }

    /// Brings these invites of the batch to the state that was written last; false if it has to be read.
    pub(crate) fn update(&self, invites: &mut [InviteRecord]) -> bool {
        let told = self.place.told();
        for invite in invites {
            if let Some(written) = told.written.get(&invite.id) {
                invite.clone_from(written);
            }
        }
        !told.is_uncertain
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut places = self.waiters.places();
        // Only the map and this place still refer to it.
        if Arc::strong_count(&self.place) <= 2 {
            places.remove(&self.batch);
        }
    }
}
