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
/// All is looked at again after this many times as long as that took, so that it takes a small part of the time.
const TIMES: u32 = 20;
/// But an invite is held back for no longer than this after its person is in doubt no more.
const AT_LATEST: Duration = Duration::from_secs(5);
/// What was queued elsewhere may be seen so long after the time that it is queued at.
const SEEN_LATE: Duration = Duration::from_secs(1);
/// How many queues are remembered.
const MOST: usize = 256;

/// Where the queues of a lane begin for a while.
#[derive(Default)]
pub(crate) struct HeldBack(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    heads: Vec<Head>,
    /// Until when; `None` if there are none.
    until: Option<Instant>,
    /// How often all was forgotten: what was looked at before that is not kept.
    forgotten: u64,
}

/// A look at all queues, begun.
pub(crate) struct Look {
    forgotten: u64,
    began: Instant,
}

impl HeldBack {
    /// Where to begin, and for how long still; or a look at all.
    pub fn heads(&self) -> Result<(Vec<Head>, Duration), Look> {
        let (mut kept, now) = (self.kept(), Instant::now());
        match kept.until {
            Some(until) if now < until => Ok((kept.heads.clone(), until - now)),
            _ => {
                (kept.heads, kept.until) = (Vec::new(), None);
                Err(Look { forgotten: kept.forgotten, began: now })
            }
        }
    }

    /// The same for one queue.
    pub fn since(&self, tenant: &str, destination: &Destination) -> Option<Timestamp> {
        let kept = self.kept();
        let mut heads = kept.heads.iter();
        let head = heads.find(|head| head.tenant == tenant && head.destination == *destination);
        head.map(|head| head.since)
    }

    /// Ends a look at all, as of a time.
    pub fn note(&self, look: &Look, scan: &QueueScan, now: Timestamp) {
        let (mut kept, took) = (self.kept(), look.began.elapsed());
        if took < LONG || scan.held_back.is_empty() || kept.forgotten != look.forgotten {
            return;
        }
        let latest = now.saturating_sub(SEEN_LATE).unwrap_or(now);
        let heads = scan.held_back.iter().take(MOST).cloned();
        kept.heads = heads.map(|head| Head { since: head.since.min(latest), ..head }).collect();
        kept.until = Some(Instant::now() + (took * TIMES).min(AT_LATEST));
    }

    /// Has all looked at: somebody may be in doubt no longer, or something is queued again.
    pub fn forget(&self) {
        let mut kept = self.kept();
        let forgotten = kept.forgotten + 1;
        *kept = Kept { forgotten, ..Kept::default() };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(scope: &str) -> Destination {
        let [kind, base_url] = ["fake", "http://fake"].map(str::to_owned);
        Destination { kind, base_url, scope: scope.to_owned() }
    }

    fn scan(since: Timestamp) -> QueueScan {
        let head = Head { tenant: "a".to_owned(), destination: at("here"), since };
        QueueScan { queues: Vec::new(), held_back: vec![head], next: None, is_empty: false }
    }

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    async fn look(kept: &HeldBack, scan: &QueueScan, took: Duration) {
        let look = kept.heads().unwrap_err();
        tokio::time::advance(took).await;
        kept.note(&look, scan, now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_look_is_not_made_again_before_twenty_times_as_long_or_five_seconds() {
        let kept = HeldBack::default();
        look(&kept, &scan(now()), Duration::from_millis(9)).await;
        let nothing = QueueScan { held_back: Vec::new(), ..scan(now()) };
        look(&kept, &nothing, Duration::from_secs(1)).await;
        for (took, rests) in [(10, 200), (100, 2000), (1000, 5000)] {
            look(&kept, &scan(now()), Duration::from_millis(took)).await;
            let (heads, left) = kept.heads().ok().unwrap();
            assert_eq!((heads.len(), left), (1, Duration::from_millis(rests)));
            tokio::time::advance(Duration::from_millis(rests)).await;
        }
        assert!(kept.heads().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_begins_at_what_may_be_sent_first_and_never_behind_what_may_still_be_seen() {
        let latest = now() - SEEN_LATE;
        let kept = HeldBack::default();
        for (due, begins) in
            [(latest - LONG, latest - LONG), (now() + LONG, latest), (Timestamp::MAX, latest)]
        {
            look(&kept, &scan(due), LONG).await;
            assert_eq!(kept.since("a", &at("here")), Some(begins));
            assert_eq!(kept.since("b", &at("here")), None);
            kept.forget();
            assert_eq!(kept.since("a", &at("here")), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_during_which_somebody_was_settled_is_not_kept() {
        let kept = HeldBack::default();
        let look = kept.heads().unwrap_err();
        tokio::time::advance(LONG).await;
        kept.forget();
        kept.note(&look, &scan(now()), now());
        assert!(kept.heads().is_err());
    }
}
