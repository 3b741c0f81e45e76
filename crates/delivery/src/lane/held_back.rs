//! What a look for something to send need not look at again at once: invites at the head of a queue to people of whom another
//! invite is in doubt. There may be many of them, and each costs a search.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use invite_core::Destination;
use invite_store::{Head, QueueScan};
use jiff::Timestamp;
use tokio::time::Instant;

/// A look that was quicker is made again each time.
const LONG: Duration = Duration::from_millis(10);
/// All is looked at again after so many times as long as that took, so that it takes no more than a small part of the time.
const PART: u32 = 20;
const AT_LATEST: Duration = Duration::from_secs(5);
/// What was queued elsewhere may be seen so long after the time that it is queued at.
const SEEN_LATE: Duration = Duration::from_secs(1);
/// How many queues are remembered.
const MOST: usize = 256;

/// Where the queues of a lane begin for a while.
#[derive(Default)]
pub(crate) struct HeldBack(Mutex<Option<Kept>>);

struct Kept {
    heads: Vec<Head>,
    until: Instant,
}

impl HeldBack {
    /// To be called when all was looked at, which took so long.
    pub fn note(&self, scan: &QueueScan, took: Duration, now: Timestamp) {
        if took < LONG {
            return;
        }
        let latest = now.saturating_sub(SEEN_LATE).unwrap_or(now);
        let held_back = scan.held_back.iter().map(|(tenant, destination)| Head {
            tenant: tenant.clone(),
            destination: destination.clone(),
            since: latest,
        });
        let others = scan.queues.iter().map(|queue| Head {
            tenant: queue.tenant.clone(),
            destination: queue.destination.clone(),
            since: queue.due.min(latest),
        });
        let heads = held_back.chain(others).take(MOST).collect();
        let until = Instant::now() + (took * PART).min(AT_LATEST);
        *self.kept() = Some(Kept { heads, until });
    }

    /// Where to begin; empty if all is to be looked at.
    pub fn heads(&self) -> Vec<Head> {
        let mut kept = self.kept();
        if kept.as_ref().is_some_and(|kept| kept.until <= Instant::now()) {
            *kept = None;
        }
        kept.as_ref().map(|kept| kept.heads.clone()).unwrap_or_default()
    }

    /// The same for one queue.
    pub fn since(&self, tenant: &str, destination: &Destination) -> Option<Timestamp> {
        let kept = self.kept();
        let mut heads = kept.iter().flat_map(|kept| &kept.heads);
        let head = heads.find(|head| head.tenant == tenant && head.destination == *destination);
        head.map(|head| head.since)
    }

    /// Has all looked at: somebody is in doubt no longer.
    pub fn forget(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use invite_store::Queue;

    use super::*;

    fn at(scope: &str) -> Destination {
        let [kind, base_url] = ["fake", "http://fake"].map(str::to_owned);
        Destination { kind, base_url, scope: scope.to_owned() }
    }

    fn scan(due: Timestamp) -> QueueScan {
        let tenant = "a".to_owned();
        let queues = vec![Queue { tenant, destination: at("here"), due }];
        let held_back = vec![("b".to_owned(), at("there"))];
        QueueScan { queues, held_back, next: None, is_empty: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_look_is_not_made_again_before_twenty_times_as_long_or_five_seconds() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let kept = HeldBack::default();
        kept.note(&scan(now), Duration::from_millis(9), now);
        assert!(kept.heads().is_empty());
        for (took, rests) in [(10, 200), (100, 2000), (1000, 5000)] {
            kept.note(&scan(now), Duration::from_millis(took), now);
            tokio::time::advance(Duration::from_millis(rests - 1)).await;
            assert_eq!(kept.heads().len(), 2, "{took}");
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(kept.heads().is_empty(), "{took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_begins_at_what_may_be_sent_first_and_never_behind_what_may_still_be_seen() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let latest = now - SEEN_LATE;
        let kept = HeldBack::default();
        for (due, begins) in
            [(now - LONG - SEEN_LATE, now - LONG - SEEN_LATE), (now + LONG, latest)]
        {
            kept.note(&scan(due), Duration::from_secs(1), now);
            assert_eq!(kept.since("a", &at("here")), Some(begins));
            assert_eq!(kept.since("b", &at("there")), Some(latest));
            assert_eq!(kept.since("b", &at("here")), None);
            kept.forget();
            assert_eq!(kept.since("a", &at("here")), None);
        }
    }
}
