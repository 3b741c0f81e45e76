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
        assert_eq!(wait(&[date.clone()]), Some(Duration::from_secs(30)));
        let sent = (header::DATE, "Sat, 21 Nov 2026 10:00:10 GMT");
        assert_eq!(wait(&[date, sent]), Some(Duration::from_secs(20)));
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
