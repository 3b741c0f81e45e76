//! How long a provider asks to wait.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

/// The wait that `Retry-After` asks for, in either of its forms (RFC 9110, section 10.2.3): seconds,
/// or a date, which is read against the reply's own `Date` where it has one and `now` where not.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok();
    let then = date(value)?;
    let sent = headers.get(header::DATE).and_then(|d| date(d.to_str().ok()?)).unwrap_or(now);
    Some(Duration::try_from(then.duration_since(sent)).unwrap_or(Duration::ZERO))
}

/// What a reply says of the provider's rate limit (`ratelimit-limit`, `ratelimit-remaining` and
/// `ratelimit-reset`, as Turnkey and many others send them).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateHint {
    /// Requests in the provider's window.
    pub limit: f64,
    /// Requests left in it.
    pub remaining: f64,
    /// When there are more again.
    pub reset: Option<Duration>,
}

impl RateHint {
    /// The hint in these headers, if there is a readable one.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let number = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
            text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        };
        let reset = number("ratelimit-reset").and_then(|s| Duration::try_from_secs_f64(s).ok());
        Some(Self {
            limit: number("ratelimit-limit")?,
            remaining: number("ratelimit-remaining")?,
            reset,
        })
    }

    /// How long to leave the provider alone so that its limit is not run into: nothing while more
    /// than a tenth is left, then what is left is spread over the time to the reset (a second where
    /// the provider does not say).
    pub fn ease(&self) -> Option<Duration> {
        let scarce = self.remaining * 10.0 <= self.limit;
        let reset = self.reset.unwrap_or(Duration::from_secs(1));
        scarce.then(|| reset.div_f64(self.remaining + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(pairs: &[(header::HeaderName, &str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect();
        retry_after(&headers, "2026-11-21T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(wait(&[(header::RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        let date = (header::RETRY_AFTER, "Sat, 21 Nov 2026 10:00:30 GMT");
        assert_eq!(wait(std::slice::from_ref(&date)), Some(Duration::from_secs(30)));
        let sent = (header::DATE, "Sat, 21 Nov 2026 10:00:10 GMT");
        assert_eq!(wait(&[date, sent]), Some(Duration::from_secs(20)));
    }

    #[test]
    fn what_is_left_of_a_scarce_budget_is_spread_out() {
        let hint = |limit: &str, remaining: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-limit", limit.parse().unwrap());
            headers.insert("ratelimit-remaining", remaining.parse().unwrap());
            headers.insert("ratelimit-reset", "10".parse().unwrap());
            RateHint::read(&headers)
        };
        assert_eq!(hint("60", "30").unwrap().ease(), None);
        assert_eq!(hint("60", "4").unwrap().ease(), Some(Duration::from_secs(2)));
        assert_eq!(hint("60", "0").unwrap().ease(), Some(Duration::from_secs(10)));
        assert_eq!(hint("60", "many"), None);
    }

    #[test]
    fn a_past_date_is_no_wait_and_nonsense_is_none() {
        let past = (header::RETRY_AFTER, "Sat, 21 Nov 2026 09:00:00 GMT");
        assert_eq!(wait(&[past]), Some(Duration::ZERO));
        assert_eq!(wait(&[(header::RETRY_AFTER, "soon")]), None);
        assert_eq!(wait(&[(header::RETRY_AFTER, "-5")]), None);
        assert_eq!(wait(&[]), None);
    }
}
