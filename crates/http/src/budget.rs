//! The limits of requests and invites per second that a key may have, as token buckets, and the
//! headers that tell a caller about the limit of requests.
//!
//! The buckets are this process's own: with several replicas each grants the limit. What a key asks
//! for is taken from its own bucket and from those of its ancestors, or from none of them.
//!
//! Each tenant also has a bucket of invites that are stored as failed at once because they were
//! refused. They wait in no queue and are sent to nobody, so without this limit a tenant could fill
//! the database with them.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use invite_core::KeyId;
use invite_store::{ApiKey, KeyLimits};
use jiff::Timestamp;

use crate::problem::{Problem, codes};

/// How many refused invites of a tenant are stored in a row, and how many more each second.
const REFUSED_AT_ONCE: f64 = 20_000.0;
const REFUSED_PER_SECOND: f64 = 1.0;

#[derive(Default)]
pub(crate) struct Budgets(Mutex<HashMap<Subject, Bucket>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Subject {
    Requests(KeyId),
    Invites(KeyId),
    /// By tenant.
    Refused(String),
}

struct Bucket {
    /// Negative after more was granted at once than the bucket holds.
    tokens: f64,
    at: Timestamp,
}

/// How a request stands against the tightest limit of its key and its ancestors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Allowance {
    /// Whether the limit is the key's own, and not one of its ancestors'.
    is_own: bool,
    per_second: f64,
    capacity: f64,
    /// What is left after this request; negative if it was not granted.
    left: f64,
}

impl Budgets {
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one request from the buckets of a key and its ancestors; `None` if none of them has a limit.
    pub fn take<'a>(
        &self,
        lineage: impl IntoIterator<Item = &'a ApiKey>,
        now: Timestamp,
    ) -> Option<Allowance> {
        self.take_of(Subject::Requests, lineage, |limits| limits.requests_per_second, 1.0, now)
    }

    /// Takes the invites of a request from the buckets of a key and its ancestors, or refuses them. More
    /// than a bucket holds is granted when it is full, and after that nothing until it has refilled.
    pub fn take_invites<'a>(
        &self,
        lineage: impl IntoIterator<Item = &'a ApiKey>,
        count: usize,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let rate = |limits: &KeyLimits| limits.invites_per_second;
        match self.take_of(Subject::Invites, lineage, rate, count as f64, now) {
            Some(allowance) if !allowance.is_granted() => {
                Err(allowance.refusal("ask for", "invites"))
            }
            _ => Ok(()),
        }
    }

    /// Takes invites that are queued already, also where that leaves a bucket below zero.
    pub fn charge_invites<'a>(&self, lineage: impl IntoIterator<Item = &'a ApiKey>, count: u64) {
        let mut buckets = self.lock();
        for key in lineage {
            if let Some(bucket) = buckets.get_mut(&Subject::Invites(key.id)) {
                bucket.tokens -= count as f64;
            }
        }
    }

    /// Gives back what [`take_invites`](Self::take_invites) took for invites that were not asked for in the end.
    pub fn give_back_invites<'a>(&self, lineage: impl IntoIterator<Item = &'a ApiKey>, count: u64) {
        let mut buckets = self.lock();
        for key in lineage {
            if let Some(bucket) = buckets.get_mut(&Subject::Invites(key.id)) {
                // What is more than the bucket holds goes when it is refilled.
                bucket.tokens += count as f64;
            }
        }
    }

    /// Takes refused invites that are to be stored from the tenant's bucket, or refuses the request.
    pub fn take_refused(&self, tenant: &str, count: usize, now: Timestamp) -> Result<(), Problem> {
        let mut buckets = self.lock();
        let bucket = buckets
            .entry(Subject::Refused(tenant.to_owned()))
            .or_insert(Bucket { tokens: REFUSED_AT_ONCE, at: now });
        bucket.refill(REFUSED_PER_SECOND, REFUSED_AT_ONCE, now);
        let left = bucket.tokens - (count as f64).min(REFUSED_AT_ONCE);
        if left >= 0.0 {
            bucket.tokens -= count as f64;
            return Ok(());
        }
        let detail = format!(
            "too many refused invites of this tenant were stored: after {REFUSED_AT_ONCE} of them \
             {REFUSED_PER_SECOND} a second is; mend the request, or send it with `handling=strict` and \
             without `on_duplicate: reject`, by which no refused invite is stored"
        );
        let wait = Duration::try_from_secs_f64(-left / REFUSED_PER_SECOND).unwrap_or(Duration::MAX);
        Err(Problem::new(&codes::RATE_LIMITED, detail).with_retry_after(wait))
    }

    /// Corrects what [`take_refused`](Self::take_refused) took by how many were stored in the end.
    pub fn correct_refused(&self, tenant: &str, taken: usize, stored: usize) {
        let mut buckets = self.lock();
        if let Some(bucket) = buckets.get_mut(&Subject::Refused(tenant.to_owned())) {
            bucket.tokens += taken as f64 - stored as f64;
        }
    }

    fn take_of<'a>(
        &self,
        of: fn(KeyId) -> Subject,
        lineage: impl IntoIterator<Item = &'a ApiKey>,
        rate: fn(&KeyLimits) -> Option<f64>,
        count: f64,
        now: Timestamp,
    ) -> Option<Allowance> {
        let mut buckets = self.lock();
        let mut asked = Vec::new();
        for (place, key) in lineage.into_iter().enumerate() {
            let limit = rate(&key.limits).filter(|rate| rate.is_finite() && *rate > 0.0);
            let Some(per_second) = limit else { continue };
            let capacity = per_second.floor().max(1.0);
            let bucket = buckets.entry(of(key.id)).or_insert(Bucket { tokens: capacity, at: now });
            bucket.refill(per_second, capacity, now);
            let left = bucket.tokens - count.min(capacity);
            asked.push((of(key.id), Allowance { is_own: place == 0, per_second, capacity, left }));
        }
        if asked.iter().all(|(_, allowance)| allowance.is_granted()) {
            for (of_key, _) in &asked {
                if let Some(bucket) = buckets.get_mut(of_key) {
                    bucket.tokens -= count;
                }
            }
        }
        asked.into_iter().map(|(_, allowance)| allowance).min_by(Allowance::compare)
    }
}

impl Bucket {
    fn refill(&mut self, per_second: f64, capacity: f64, now: Timestamp) {
        // If the clock is set back nothing is taken away for it.
        let elapsed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.at = now;
        self.tokens = (self.tokens + elapsed * per_second).min(capacity);
    }
}

impl Allowance {
    pub fn is_granted(&self) -> bool {
        self.left >= 0.0
    }

    /// How many seconds it is until the request would be granted.
    fn wait(&self) -> f64 {
        if self.is_granted() { 0.0 } else { -self.left / self.per_second }
    }

    /// First comes the limit that makes the caller wait longest, then the one of which least is left.
    fn compare(&self, other: &Self) -> Ordering {
        other.wait().total_cmp(&self.wait()).then(self.left.total_cmp(&other.left))
    }

    /// The answer to a request beyond the limit; it says what may be done how often.
    pub fn refusal(&self, what: &str, of: &str) -> Problem {
        let who = match self.is_own {
            true => "this key",
            false => "a key that this one descends from, and all that were made with it,",
        };
        let detail = format!("{who} may {what} {} {of} per second", self.per_second);
        let wait = Duration::try_from_secs_f64(self.wait());
        Problem::new(&codes::RATE_LIMITED, detail).with_retry_after(wait.unwrap_or(Duration::MAX))
    }

    /// Writes `RateLimit-Policy` and `RateLimit`
    /// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        let window = (1.0 / self.per_second).ceil().max(1.0);
        let left = self.left.max(0.0).floor();
        let full_in = ((self.capacity - self.left.max(0.0)) / self.per_second).ceil().max(1.0);
        let policy = format!("\"key\";q={};w={window}", self.capacity);
        let state = format!("\"key\";r={left};t={full_in}");
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(requests_per_second: Option<f64>) -> ApiKey {
        let limits = KeyLimits {
            requests_per_second,
            invites_per_second: requests_per_second,
            ..KeyLimits::default()
        };
        ApiKey { limits, ..crate::keys::tests::key(&[], None) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_key_without_a_limit_is_always_granted() {
        assert_eq!(Budgets::default().take([&key(None)], at(0)), None);
        assert!(Budgets::default().take_invites([&key(None)], 1_000_000, at(0)).is_ok());
    }

    #[test]
    fn a_second_grants_as_many_requests_as_the_limit_says() {
        let (budgets, key) = (Budgets::default(), key(Some(3.0)));
        let granted =
            |now| (0..5).filter(|_| budgets.take([&key], now).unwrap().is_granted()).count();
        assert_eq!([granted(at(0)), granted(at(1)), granted(at(100))], [3, 3, 3]);
    }

    #[test]
    fn a_limit_below_one_grants_one_request_per_so_many_seconds() {
        let (budgets, key) = (Budgets::default(), key(Some(0.5)));
        assert!(budgets.take([&key], at(0)).unwrap().is_granted());
        assert!(!budgets.take([&key], at(1)).unwrap().is_granted());
        assert!(budgets.take([&key], at(2)).unwrap().is_granted());
    }

    #[test]
    fn many_invites_at_once_are_granted_and_paid_off_before_more_are() {
        let (budgets, key) = (Budgets::default(), key(Some(10.0)));
        let take = |count, now| budgets.take_invites([&key], count, now).map_err(|it| it.code());
        assert_eq!(take(4, at(0)), Ok(()));
        assert_eq!(take(7, at(0)), Err("rate-limited"));
        assert_eq!(take(6, at(0)), Ok(()));
        // The bucket is full again after a second, and a hundred may be asked for at once.
        assert_eq!(take(100, at(1)), Ok(()));
        assert_eq!(take(1, at(10)), Err("rate-limited"));
        assert_eq!(take(1, at(11)), Ok(()));
        // Requests have a bucket of their own.
        assert!(budgets.take([&key], at(11)).unwrap().is_granted());
    }

    #[test]
    fn keys_share_the_limit_of_the_one_that_they_descend_from() {
        let (budgets, above) = (Budgets::default(), key(Some(3.0)));
        let (first, second, unlimited) = (key(Some(2.0)), key(Some(5.0)), key(None));
        let take = |own, now| {
            let allowance = budgets.take([own, &unlimited, &above], now).unwrap();
            (allowance.is_granted(), allowance.is_own)
        };
        assert_eq!([take(&first, at(0)), take(&first, at(0))], [(true, true); 2]);
        assert_eq!(take(&first, at(0)), (false, true), "which takes nothing from the one above");
        assert_eq!(take(&second, at(0)), (true, false));
        assert_eq!([take(&second, at(0)), take(&unlimited, at(0))], [(false, false); 2]);
        assert!(!budgets.take([&above], at(0)).unwrap().is_granted());
        // What an ancestor's limit refuses takes nothing from the key itself.
        assert_eq!(take(&second, at(1)), (true, false));
        let left = budgets.take([&second], at(1)).unwrap().left;
        assert_eq!(left, 3.0);
        let invites = |own| budgets.take_invites([own, &above], 2, at(0)).is_ok();
        assert_eq!([invites(&unlimited), invites(&second)], [true, false]);
    }

    #[test]
    fn what_was_queued_already_is_paid_off() {
        let (budgets, key) = (Budgets::default(), key(Some(10.0)));
        let take = |count, now| budgets.take_invites([&key], count, now).is_ok();
        assert!(take(0, at(0)));
        budgets.charge_invites([&key], 30);
        assert_eq!([take(0, at(1)), take(0, at(2)), take(1, at(3))], [false, true, true]);
    }

    #[test]
    fn what_was_not_asked_for_in_the_end_is_given_back() {
        let (budgets, key) = (Budgets::default(), key(Some(10.0)));
        let take = |count| budgets.take_invites([&key], count, at(0)).is_ok();
        assert!(take(100) && !take(1));
        budgets.give_back_invites([&key], 100);
        assert_eq!([take(10), take(1)], [true, false]);
    }

    #[test]
    fn a_tenants_refused_invites_are_granted_many_at_once_and_then_one_a_second() {
        let budgets = Budgets::default();
        let take = |tenant, count, now| budgets.take_refused(tenant, count, now).is_ok();
        assert!((0..20).all(|_| take("ada", 1_000, at(0))));
        assert!(!take("ada", 1, at(0)) && take("ada", 0, at(0)) && take("bob", 1, at(0)));
        assert_eq!([take("ada", 11, at(10)), take("ada", 10, at(10))], [false, true]);
        // What was stored beyond the bucket has to refill before more is granted.
        budgets.correct_refused("ada", 0, 100);
        assert_eq!([take("ada", 0, at(109)), take("ada", 0, at(110))], [false, true]);
        // What was not stored goes back into the bucket.
        assert!(take("ada", 50, at(160)));
        budgets.correct_refused("ada", 50, 0);
        assert!(take("ada", 50, at(160)));
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let (budgets, key) = (Budgets::default(), key(Some(100.0)));
        let mut headers = HeaderMap::new();
        budgets.take([&key], at(0)).unwrap().write_headers(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=1");
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1");
    }
}
