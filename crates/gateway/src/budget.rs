//! The limits of requests and invites per second that a key may have, and the headers that tell a caller
//! about the one of requests.
//!
//! A budget is this process's own: with several replicas each grants the limit.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use invite_core::KeyId;
use invite_store::ApiKey;
use jiff::Timestamp;

use crate::problem::{Problem, codes};

/// What is left to each limited key.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<HashMap<(KeyId, Of), Bucket>>);

/// What a budget is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Requests,
    Invites,
}

struct Bucket {
    /// Negative after more was granted at once than fits.
    tokens: f64,
    at: Timestamp,
}

/// How a request stands against its key's limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Allowance {
    per_second: f64,
    capacity: f64,
    /// After this request; negative if it was not granted.
    left: f64,
}

impl Budgets {
    /// Takes one request out of the key's budget; `None` if the key has no limit.
    pub fn take(&self, key: &ApiKey, now: Timestamp) -> Option<Allowance> {
        self.take_of(Of::Requests, key, key.limits.requests_per_second, 1.0, now)
    }

    /// Takes the invites of a request out of the key's budget, or refuses them. More than fits into a
    /// second is granted if nothing was granted for a while, and then nothing until it has paid off.
    pub fn take_invites(&self, key: &ApiKey, count: usize, now: Timestamp) -> Result<(), Problem> {
        let limit = key.limits.invites_per_second;
        match self.take_of(Of::Invites, key, limit, count as f64, now) {
            Some(allowance) if !allowance.is_granted() => {
                Err(allowance.refusal("ask for", "invites"))
            }
            _ => Ok(()),
        }
    }

    fn take_of(
        &self,
        of: Of,
        key: &ApiKey,
        limit: Option<f64>,
        count: f64,
        now: Timestamp,
    ) -> Option<Allowance> {
        let per_second = limit.filter(|rate| rate.is_finite() && *rate > 0.0)?;
        let capacity = per_second.floor().max(1.0);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((key.id, of)).or_insert(Bucket { tokens: capacity, at: now });
        // A clock set back must not fine the caller.
        let elapsed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.at = now;
        bucket.tokens = (bucket.tokens + elapsed * per_second).min(capacity);
        let left = bucket.tokens - count.min(capacity);
        if left >= 0.0 {
            bucket.tokens -= count;
        }
        Some(Allowance { per_second, capacity, left })
    }
}

impl Allowance {
    /// Whether the request is within the limit.
    pub fn is_granted(&self) -> bool {
        self.left >= 0.0
    }

    /// The answer to a request beyond the limit: what the key may do, of what.
    pub fn refusal(&self, what: &str, of: &str) -> Problem {
        let detail = format!("this key may {what} {} {of} per second", self.per_second);
        let wait = Duration::try_from_secs_f64(-self.left / self.per_second);
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
    use invite_store::KeyLimits;

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
        assert_eq!(Budgets::default().take(&key(None), at(0)), None);
        assert!(Budgets::default().take_invites(&key(None), 1_000_000, at(0)).is_ok());
    }

    #[test]
    fn a_second_grants_as_many_requests_as_the_limit_says() {
        let (budgets, key) = (Budgets::default(), key(Some(3.0)));
        let granted =
            |now| (0..5).filter(|_| budgets.take(&key, now).unwrap().is_granted()).count();
        assert_eq!([granted(at(0)), granted(at(1)), granted(at(100))], [3, 3, 3]);
    }

    #[test]
    fn a_limit_below_one_grants_one_request_per_so_many_seconds() {
        let (budgets, key) = (Budgets::default(), key(Some(0.5)));
        assert!(budgets.take(&key, at(0)).unwrap().is_granted());
        assert!(!budgets.take(&key, at(1)).unwrap().is_granted());
        assert!(budgets.take(&key, at(2)).unwrap().is_granted());
    }

    #[test]
    fn many_invites_at_once_are_granted_and_paid_off_before_more_are() {
        let (budgets, key) = (Budgets::default(), key(Some(10.0)));
        let take = |count, now| budgets.take_invites(&key, count, now).map_err(|it| it.code());
        assert_eq!(take(4, at(0)), Ok(()));
        assert_eq!(take(7, at(0)), Err("rate-limited"));
        assert_eq!(take(6, at(0)), Ok(()));
        // A second's worth is there, and a hundred may be asked for at once.
        assert_eq!(take(100, at(1)), Ok(()));
        assert_eq!(take(1, at(10)), Err("rate-limited"));
        assert_eq!(take(1, at(11)), Ok(()));
        // Requests have a budget of their own.
        assert!(budgets.take(&key, at(11)).unwrap().is_granted());
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let (budgets, key) = (Budgets::default(), key(Some(100.0)));
        let mut headers = HeaderMap::new();
        budgets.take(&key, at(0)).unwrap().write_headers(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=1");
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1");
    }
}
