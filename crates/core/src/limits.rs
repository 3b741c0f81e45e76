//! The limits that protect a provider and the gateway from each other (`[providers.X.limits]`).

use std::time::Duration;

use serde::Serialize;

/// The limits of one provider. Each has a default, and some kinds have defaults of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// How long one attempt may take in all: token, connecting, call and reading.
    pub timeout: Duration,
    /// So many calls may be under way at once.
    pub max_in_flight: u32,
    /// So many requests may start in a second; fractions are allowed.
    pub requests_per_second: f64,
    /// So many invites may share one call.
    pub max_batch: u32,
    /// How long an invite waits, while a call is under way, for others that may share its own.
    pub linger: Duration,
    /// If so many invites are queued, new ones are turned away.
    pub max_backlog: u64,
    /// If so many invites of one tenant are queued, its new ones are turned away; at most `max_backlog`.
    pub max_backlog_per_tenant: u64,
    /// If so many invites are live, new ones are refused; no quota unless an administrator set one.
    pub quota: Option<u64>,
    /// When calls are made again.
    pub retry: Retry,
}

impl Limits {
    /// The default of `max_backlog_per_tenant`: all but a tenth of the backlog, so that a tenant who fills the queue
    /// leaves something to the others.
    pub const fn share_of(max_backlog: u64) -> u64 {
        max_backlog - max_backlog / 10
    }
}

/// When a call is made again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// The wait before the second try; it doubles from then on.
    pub first: Duration,
    /// The longest wait between tries.
    pub max: Duration,
    /// The longest wait that a provider may ask for; a longer one is cut to this.
    pub max_retry_after: Duration,
    /// After so many calls of unknown outcome that were found absent, an invite fails.
    pub max_attempts: u32,
    /// At this age an invite that could not be sent fails.
    pub give_up_after: Duration,
}

impl Retry {
    /// The wait after so many `tries`, from 1 on: it doubles from `first` up to `max`, and `fraction` (0 to 1) spreads
    /// it over its upper half.
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
            linger: Duration::from_millis(50),
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
