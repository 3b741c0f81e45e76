//! The limit of requests that a key may have, and the headers that tell a caller about it.
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

/// What is left of each limited key's requests.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<HashMap<KeyId, Bucket>>);

struct Bucket {
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
        let per_second = key.requests_per_second.filter(|rate| rate.is_finite() && *rate > 0.0)?;
        let capacity = per_second.floor().max(1.0);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key.id).or_insert(Bucket { tokens: capacity, at: now });
        // A clock set back must not fine the caller.
        let elapsed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.at = now;
        bucket.tokens = (bucket.tokens + elapsed * per_second).min(capacity);
        let left = bucket.tokens - 1.0;
        if left >= 0.0 {
            bucket.tokens = left;
        }
        Some(Allowance { per_second, capacity, left })
    }
}

impl Allowance {
    /// Whether the request is within the limit.
    pub fn is_granted(&self) -> bool {
        self.left >= 0.0
    }

    /// The answer to a request beyond the limit.
    pub fn refusal(&self) -> Problem {
        let detail = format!("this key may make {} requests per second", self.per_second);
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
    use super::*;

    fn key(requests_per_second: Option<f64>) -> ApiKey {
        ApiKey {
            id: KeyId::generate(),
            hash: String::new(),
            name: String::new(),
            tenant: String::new(),
            scopes: Vec::new(),
            providers: None,
            requests_per_second,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            parent: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_key_without_a_limit_is_always_granted() {
        assert_eq!(Budgets::default().take(&key(None), at(0)), None);
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
    fn the_headers_say_what_is_left() {
        let (budgets, key) = (Budgets::default(), key(Some(100.0)));
        let mut headers = HeaderMap::new();
        budgets.take(&key, at(0)).unwrap().write_headers(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=1");
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1");
    }
}
