//! Waiting for events.

use std::{sync::Arc, time::Duration};

use invite_core::EventId;
use tokio::{sync::watch, time::timeout};

use crate::{Store, events::Look};

/// How often whoever waits looks for what other replicas have written.
const POLL: Duration = Duration::from_millis(200);
/// How long events gather before whoever waits is woken, so that a busy gateway is not read at each commit.
const GATHER: Duration = Duration::from_millis(10);
/// At least how long they gather for each who waits.
const GATHER_EACH: Duration = Duration::from_millis(1);

/// Tells when it is worth to read the feed again.
pub struct FeedWatch {
    store: Store,
    committed: watch::Receiver<()>,
    look: Option<Arc<Look>>,
}

impl FeedWatch {
    /// Waits until there may be more events than before, and then for a moment, so that several are read together.
    pub async fn changed(&mut self) {
        if self.store.is_shared() && self.look.is_none() {
            self.look = Some(self.store.told().look(|| self.store.clone().look()));
        }
        // The store ends only with the process.
        _ = self.committed.changed().await;
        self.gather(GATHER).await;
    }

    /// The same for whoever need not look for what other replicas have written before `poll`, and lets events gather for so
    /// long.
    pub async fn changed_or(&mut self, poll: Duration, gather: Duration) {
        let changed = self.committed.changed();
        match self.store.is_shared() {
            true => _ = timeout(poll, changed).await,
            false => _ = changed.await,
        }
        self.gather(gather).await;
    }

    /// The more there are who wait, the longer: together they read hardly more often than one that waits alone on a busy
    /// gateway does.
    async fn gather(&self, least: Duration) {
        let waiting = u32::try_from(self.store.told().watching()).unwrap_or(u32::MAX);
        tokio::time::sleep(least.max(GATHER_EACH * waiting)).await;
    }
}

impl Store {
    /// Whoever reads the feed first and then waits on this misses nothing that is written between.
    pub fn watch_feed(&self) -> FeedWatch {
        FeedWatch { store: self.clone(), committed: self.told().watch(), look: None }
    }

    /// Looks for what other replicas have written, for all who wait here.
    async fn look(self) {
        let mut last = EventId::START;
        loop {
            tokio::time::sleep(POLL).await;
            // If it fails, whoever reads is told why.
            if let Ok(end) = self.end_of_feed().await
                && end > last
            {
                last = end;
                self.told().tell();
            }
        }
    }
}
