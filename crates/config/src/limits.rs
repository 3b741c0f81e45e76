//! `[providers.X.limits]`: its members, and the ranges that make sense.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use invite_core::{Fault, Limits, Retry};
use schemars::JsonSchema;
use serde::Deserialize;

/// What protects a provider and the gateway from each other. Durations are texts with units, such
/// as "20s".
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsPart {
    /// One attempt, all of it; at most half of delivery.lease.
    timeout: Option<String>,
    /// Calls under way at once, from 1 to 1000.
    max_in_flight: Option<i64>,
    /// Requests started per second, from 0.001 to 10000.
    requests_per_second: Option<f64>,
    /// Invites in one call, from 1 to as many as the kind takes (capabilities.create.max_batch).
    max_batch: Option<i64>,
    /// How long a first invite waits for company while another call is under way, from "0s" to "1s".
    linger: Option<String>,
    /// Queued invites beyond which new ones are turned away, at least 1.
    max_backlog: Option<i64>,
    /// Queued invites of one tenant beyond which its new ones are turned away, from 1 to `max_backlog`;
    /// unless set, nine tenths of it.
    max_backlog_per_tenant: Option<i64>,
    /// Live invites beyond which new ones are refused here, at least 1.
    quota: Option<i64>,
    /// When a call is made again.
    retry: Option<RetryPart>,
}

/// When a call is made again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryPart {
    /// The first wait, at most "1h".
    first: Option<String>,
    /// The longest wait, from `first` to "1d".
    max: Option<String>,
    /// The longest wait that a provider may ask for (by Retry-After, or by the reset of its rate
    /// limit), from `first` to "30d".
    max_retry_after: Option<String>,
    /// Calls that were unknown and then found absent, beyond which an invite fails; from 1 to 1000.
    max_attempts: Option<i64>,
    /// The age at which an invite that could not be sent fails, from `first` to "30d".
    give_up_after: Option<String>,
}

impl LimitsPart {
    /// The limits, with `defaults` for what is not set. The faults' pointers are relative to the part.
    pub fn resolve(self, defaults: Limits, lease: Duration) -> (Limits, Vec<Fault>) {
        let mut check = Check::default();
        let max_backlog = check.count(
            "max_backlog",
            self.max_backlog,
            defaults.max_backlog,
            1..=100_000_000,
            "with none nothing is accepted, and each is a row in the store",
        );
        let limits = Limits {
            timeout: check.duration(
                "timeout",
                self.timeout,
                defaults.timeout,
                MILLISECOND..=lease / 2,
                "at most half of delivery.lease, so that no call outlives its lease",
            ),
            max_in_flight: check.count(
                "max_in_flight",
                self.max_in_flight,
                defaults.max_in_flight,
                1..=1000,
                "each is an open connection",
            ),
            requests_per_second: check.rate(self.requests_per_second, defaults.requests_per_second),
            max_batch: check.count(
                "max_batch",
                self.max_batch,
                defaults.max_batch,
                1..=10_000,
                "all of them wait for one answer",
            ),
            linger: check.duration(
                "linger",
                self.linger,
                defaults.linger,
                Duration::ZERO..=SECOND,
                "every caller waits this long",
            ),
            max_backlog,
            max_backlog_per_tenant: check.count(
                "max_backlog_per_tenant",
                self.max_backlog_per_tenant,
                Limits::share_of(max_backlog),
                1..=i64::try_from(max_backlog).unwrap_or(i64::MAX),
                "no tenant can have more than all tenants",
            ),
            quota: self.quota.map(|quota| {
                let why = "enabled = false switches a provider off";
                check.count("quota", Some(quota), 1, 1..=1_000_000_000, why)
            }),
            retry: check.retry(self.retry.unwrap_or_default(), defaults.retry),
        };
        (limits, check.faults)
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Default)]
struct Check {
    faults: Vec<Fault>,
}

impl Check {
    fn retry(&mut self, given: RetryPart, defaults: Retry) -> Retry {
        let first = self.duration(
            "retry/first",
            given.first,
            defaults.first,
            MILLISECOND..=HOUR,
            "nothing is sent meanwhile",
        );
        Retry {
            first,
            max: self.duration(
                "retry/max",
                given.max,
                defaults.max.max(first),
                first..=DAY,
                "waits grow from retry.first",
            ),
            max_retry_after: self.duration(
                "retry/max_retry_after",
                given.max_retry_after,
                defaults.max_retry_after,
                first..=30 * DAY,
                "a provider that asks for no wait at all is given retry.first, and somebody should \
                 look after a month",
            ),
            max_attempts: self.count(
                "retry/max_attempts",
                given.max_attempts,
                defaults.max_attempts,
                1..=1000,
                "the first call counts",
            ),
            give_up_after: self.duration(
                "retry/give_up_after",
                given.give_up_after,
                defaults.give_up_after,
                first..=30 * DAY,
                "an invite is tried again at least once, and somebody should look after a month",
            ),
        }
    }

    fn duration(
        &mut self,
        name: &str,
        given: Option<String>,
        default: Duration,
        range: RangeInclusive<Duration>,
        why: &str,
    ) -> Duration {
        let value = match given.as_deref().map(humantime::parse_duration) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                let detail = "expected a duration with its unit, such as \"20s\" or \"2ms\"";
                self.faults.push(Fault::new(format!("/{name}"), "invalid", detail));
                return default;
            }
        };
        if !range.contains(&value) {
            let shown = |duration: &Duration| humantime::format_duration(*duration).to_string();
            let ends = (shown(range.start()), shown(range.end()));
            self.out_of_range(name, shown(&value), ends, why, given.is_none());
        }
        value
    }

    fn count<N: TryFrom<i64> + Copy>(
        &mut self,
        name: &str,
        given: Option<i64>,
        default: N,
        range: RangeInclusive<i64>,
        why: &str,
    ) -> N {
        let Some(value) = given else { return default };
        match N::try_from(value) {
            Ok(fitting) if range.contains(&value) => fitting,
            _ => {
                self.out_of_range(name, value, (range.start(), range.end()), why, false);
                default
            }
        }
    }

    fn rate(&mut self, given: Option<f64>, default: f64) -> f64 {
        let value = given.unwrap_or(default);
        if !(0.001..=10_000.0).contains(&value) {
            let why = "a provider that is to get nothing has enabled = false";
            self.out_of_range("requests_per_second", value, (0.001, 10_000.0), why, false);
        }
        value
    }

    fn out_of_range<E: Display>(
        &mut self,
        name: &str,
        value: impl Display,
        (least, most): (E, E),
        why: &str,
        is_default: bool,
    ) {
        let path = name.replace('/', ".");
        let origin = if is_default { ", its default," } else { "" };
        let detail = format!("`{path}` of {value}{origin} is not from {least} to {most}: {why}");
        self.faults.push(Fault::new(format!("/{name}"), "out-of-range", detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolve(part: Value, lease: Duration) -> (Limits, Vec<(String, String)>) {
        let part: LimitsPart = serde_json::from_value(part).unwrap();
        let (limits, faults) = part.resolve(Limits::default(), lease);
        (limits, faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(resolve(json!({}), MINUTE), (Limits::default(), vec![]));
    }

    #[test]
    fn what_is_set_is_taken() {
        let (limits, faults) = resolve(
            json!({
                "timeout": "30s", "max_in_flight": 1, "requests_per_second": 0.5, "max_batch": 7,
                "linger": "0s", "max_backlog": 5_000_000, "max_backlog_per_tenant": 7,
                "quota": 100,
                "retry": {
                    "first": "2s", "max": "1m", "max_retry_after": "2d", "max_attempts": 3,
                    "give_up_after": "1h 30m",
                },
            }),
            MINUTE,
        );
        assert_eq!(faults, []);
        let expected = Limits {
            timeout: Duration::from_secs(30),
            max_in_flight: 1,
            requests_per_second: 0.5,
            max_batch: 7,
            linger: Duration::ZERO,
            max_backlog: 5_000_000,
            max_backlog_per_tenant: 7,
            quota: Some(100),
            retry: Retry {
                first: Duration::from_secs(2),
                max: MINUTE,
                max_retry_after: 2 * DAY,
                max_attempts: 3,
                give_up_after: Duration::from_secs(5400),
            },
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused_at_its_place() {
        for (part, pointer) in [
            (json!({"timeout": "31s"}), "/timeout"),
            (json!({"timeout": "0s"}), "/timeout"),
            (json!({"max_in_flight": 0}), "/max_in_flight"),
            (json!({"max_in_flight": 5_000_000_000i64}), "/max_in_flight"),
            (json!({"requests_per_second": 0}), "/requests_per_second"),
            (json!({"requests_per_second": -1.5}), "/requests_per_second"),
            (json!({"max_batch": -1}), "/max_batch"),
            (json!({"linger": "1001ms"}), "/linger"),
            (json!({"max_backlog": 0}), "/max_backlog"),
            (json!({"max_backlog": 5_000_000_000i64}), "/max_backlog"),
            (json!({"max_backlog_per_tenant": 0}), "/max_backlog_per_tenant"),
            (json!({"max_backlog": 5, "max_backlog_per_tenant": 6}), "/max_backlog_per_tenant"),
            (json!({"quota": 0}), "/quota"),
            (json!({"retry": {"first": "0s"}}), "/retry/first"),
            (json!({"retry": {"first": "1m", "max": "59s"}}), "/retry/max"),
            (json!({"retry": {"max_retry_after": "999ms"}}), "/retry/max_retry_after"),
            (json!({"retry": {"max_retry_after": "31d"}}), "/retry/max_retry_after"),
            (json!({"retry": {"max_attempts": 0}}), "/retry/max_attempts"),
            (json!({"retry": {"give_up_after": "31d"}}), "/retry/give_up_after"),
        ] {
            let (_, faults) = resolve(part.clone(), MINUTE);
            assert_eq!(faults, [(pointer.into(), "out-of-range".into())], "{part}");
        }
    }

    #[test]
    fn a_duration_without_unit_is_refused() {
        let (_, faults) = resolve(json!({"timeout": "20", "linger": "soon"}), MINUTE);
        let invalid = |at: &str| (at.to_owned(), "invalid".to_owned());
        assert_eq!(faults, [invalid("/timeout"), invalid("/linger")]);
    }

    #[test]
    fn a_default_timeout_over_half_of_the_lease_is_refused_too() {
        let part = LimitsPart::default();
        let (_, faults) = part.resolve(Limits::default(), Duration::from_secs(30));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].detail.contains("`timeout` of 20s, its default,"), "{faults:?}");
    }

    #[test]
    fn a_longer_first_wait_lengthens_the_default_of_the_longest() {
        let (limits, faults) = resolve(json!({"retry": {"first": "20m"}}), MINUTE);
        assert_eq!((limits.retry.max, faults), (Duration::from_secs(1200), vec![]));
    }
}
