//! How many invites are live, which takes the longer to count the more there are.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use invite_core::Status;
use tokio::sync::Mutex;

use crate::Error;

/// From how many invites on a count is used again.
const MANY: u64 = 50_000;
/// For how many times as long as it took: so counting takes a fiftieth of a processor at most, however often it is asked
/// for.
const REST: u32 = 50;

/// How many invites were live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// Of each provider in which status, as `Store::provider_counts` tells them.
    pub by_status: BTreeMap<String, BTreeMap<Status, u64>>,
    /// Of each provider those that are set aside, as `Store::unreadable_counts` tells them.
    pub unreadable: BTreeMap<String, u64>,
}

impl LiveCounts {
    /// How many invites of a provider are live, with those that are set aside.
    pub fn live(&self, provider: &str) -> u64 {
        let readable: u64 = self.by_status.get(provider).map_or(0, |counts| counts.values().sum());
        readable + self.unreadable(provider)
    }

    /// How many invites of a provider are in a status that is not final.
    pub fn of(&self, provider: &str, status: Status) -> u64 {
        self.by_status.get(provider).and_then(|counts| counts.get(&status)).copied().unwrap_or(0)
    }

    /// How many invites of a provider are set aside.
    pub fn unreadable(&self, provider: &str) -> u64 {
        self.unreadable.get(provider).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        let readable: u64 = self.by_status.values().flat_map(BTreeMap::values).sum();
        readable + self.unreadable.values().sum::<u64>()
    }
}

/// The last count.
#[derive(Default)]
pub(crate) struct LastCount(Mutex<Option<Counted>>);

struct Counted {
    began: Instant,
    took: Duration,
    counts: Arc<LiveCounts>,
}

impl Counted {
    /// Whether it answers who asked at this time: it is no older, or counting is too dear to be done for everybody.
    fn answers(&self, asked: Instant, now: Instant) -> bool {
        let is_dear = self.counts.all() >= MANY;
        let rests_until = self.began + self.took * (REST + 1);
        self.began >= asked || (is_dear && now < rests_until)
    }
}

impl LastCount {
    /// The last count, if it may be `taken_again` and answers, or else a new one.
    pub(crate) async fn or_count(
        &self,
        taken_again: bool,
        count: impl AsyncFnOnce() -> Result<LiveCounts, Error>,
    ) -> Result<Arc<LiveCounts>, Error> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        let answers = |it: &&Counted| taken_again && it.answers(asked, Instant::now());
        if let Some(counted) = last.as_ref().filter(answers) {
            return Ok(Arc::clone(&counted.counts));
        }
        let began = Instant::now();
        let counts = Arc::new(count().await?);
        *last = Some(Counted { began, took: began.elapsed(), counts: Arc::clone(&counts) });
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_count_of_many_invites_answers_who_asks_later_and_for_fifty_times_as_long_as_it_took()
    {
        let began = Instant::now();
        let took = Duration::from_millis(100);
        let counted = |pending: u64, unreadable: u64| {
            let by_status = [("summit".to_owned(), [(Status::Pending, pending)].into())].into();
            let unreadable = [("tenancy".to_owned(), unreadable)].into();
            Counted { began, took, counts: Arc::new(LiveCounts { by_status, unreadable }) }
        };
        let after = |millis| began + Duration::from_millis(millis);
        let (few, many) = (counted(MANY - 2, 1), counted(MANY - 1, 1));
        assert!(few.answers(began, after(100)) && many.answers(began, after(100)));
        assert!(!few.answers(after(1), after(101)));
        assert!(many.answers(after(1), after(101)) && many.answers(after(5000), after(5099)));
        assert!(!many.answers(after(5000), after(5100)));
    }
}
