//! What protects a provider and the gateway from each other: the numbers of `[providers.X.limits]`.

use std::time::Duration;

use serde::Serialize;

/// The limits of one provider; every one has a default, some of them per kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// One attempt, all of it: token, connect, call, reading.
    pub timeout: Duration,
    /// Calls under way at once.
    pub max_in_flight: u32,
    /// Requests started per second; fractions are allowed.
    pub requests_per_second: f64,
    /// Invites in one call.
    pub max_batch: u32,
    /// How long a first invite waits for company.
    pub linger: Duration,
    /// Queued invites beyond which new ones are turned away.
    pub max_backlog: u64,
    /// Queued invites of one tenant beyond which its new ones are turned away; at most `max_backlog`.
    pub max_backlog_per_tenant: u64,
    /// Live invites beyond which new ones are refused here; none unless an administrator set it.
    pub quota: Option<u64>,
    /// When a call is made again.
    pub retry: Retry,
}

impl Limits {
    /// What one tenant may have of a backlog unless an administrator set it: all but a tenth, so that who
    /// fills the queue leaves something to the others.
    pub const fn share_of(max_backlog: u64) -> u64 {
        max_backlog - max_backlog / 10
    }
}

/// When a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// The longest wait that is taken on the provider's word.
    pub max_retry_after: Duration,
    /// Calls that were unknown and then found absent, beyond which an invite fails.
    pub max_attempts: u32,
    /// The age at which an invite that could not be sent fails.
    pub give_up_after: Duration,
}

impl Retry {
    /// The wait before try number `tries + 1` (`tries` counts from 1): doubling from `first` up to
    /// `max`, spread over its upper half by `fraction` (0 to 1).
    pub fn backoff(&self, tries: u32, fraction: f64) -> Duration {
        let doubled = self.first.saturating_mul(1u32 << tries.saturating_sub(1).min(30));
        doubled.min(self.max).mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            max_in_flight: 8,
            requests_per_second: 10.0,
            max_batch: 100,
            linger: Duration::from_millis(2),
            max_backlog: 100_000,
            max_backlog_per_tenant: Self::share_of(100_000),
            quota: None,
            retry: Retry::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(600),
            max_retry_after: Duration::from_secs(24 * 3600),
            max_attempts: 8,
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_is_spread_over_its_upper_half() {
        let retry = Retry { max: Duration::from_secs(60), ..Retry::default() };
        assert_eq!(retry.backoff(1, 1.0), Duration::from_secs(1));
        assert_eq!(retry.backoff(1, 0.0), Duration::from_millis(500));
        assert_eq!(retry.backoff(4, 1.0), Duration::from_secs(8));
        assert_eq!(retry.backoff(u32::MAX, 1.0), Duration::from_secs(60));
    }
}
