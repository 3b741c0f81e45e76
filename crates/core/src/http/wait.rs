//! How long replies ask to wait: every header that says so is read here. What is done about it, and which wait
//! is too long to be believed, is for the engine to decide.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::date;

/// RKVST's header for the end of a rate limit, which the vendor's own client goes by
/// (`archivist/retry429.py` of `datatrails/datatrails-python`). So it comes before all others.
const RKVST_RESET: &str = "archivist-rate-limit-reset";
/// How the headers begin that tell of a rate limit: those of the IETF draft in its older form, which Turnkey and
/// many others send, and their forerunners.
const FAMILIES: [&str; 3] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-"];
/// A number this large is not a wait, which would take 30 years, but seconds since 1970 (September 2001).
const MOMENT: f64 = 1e9;
/// A number this large is in thousandths of a second, or in thousandths of those: as seconds it would be in
/// the year 5138.
const FINER_MOMENT: f64 = 1e11;

/// How long the reply asks to wait: by `Retry-After`, whatever the status, and with a 429 also by the reset of
/// the rate limit, which means nothing in other replies. A point in time is compared with the reply's `Date`,
/// and with `now`, our own clock, only where there is none.
pub(super) fn retry_after(
    status: StatusCode,
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Duration> {
    let by_retry_after = || wait(headers, header::RETRY_AFTER.as_str(), now);
    if status != StatusCode::TOO_MANY_REQUESTS {
        return by_retry_after();
    }
    let resets =
        || FAMILIES.iter().find_map(|family| wait(headers, &format!("{family}reset"), now));
    wait(headers, RKVST_RESET, now).or_else(by_retry_after).or_else(resets)
}

/// The wait in a header, in any of the forms in use: seconds, perhaps with a fraction; an HTTP date; seconds
/// since 1970, or thousandths of them. A time that is over means no wait.
fn wait(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Duration> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    let by = date(headers).unwrap_or(now);
    if let Ok(moment) = httpdate::parse_http_date(text) {
        let moment = Timestamp::try_from(moment).ok()?;
        return Some(Duration::try_from(moment.duration_since(by)).unwrap_or(Duration::ZERO));
    }
    let mut seconds = number(text)?;
    while seconds >= FINER_MOMENT {
        seconds /= 1000.0;
    }
    if seconds >= MOMENT {
        seconds = (seconds - by.as_millisecond() as f64 / 1000.0).max(0.0);
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// The first number of a text. What follows are parameters, or the numbers of other policies.
fn number(text: &str) -> Option<f64> {
    let first = text.split([',', ';']).next()?.trim();
    let is_plain = first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    first.parse().ok().filter(|number: &f64| is_plain && number.is_finite())
}

/// What a reply says of the provider's rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateHint {
    /// Requests that the provider takes in one window, if it says so.
    pub limit: Option<f64>,
    /// Requests that are left in this window.
    pub remaining: f64,
    /// How long until the next window begins.
    pub reset: Option<Duration>,
}

impl RateHint {
    /// The hint in these headers; `now` is our own clock.
    pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        FAMILIES.iter().find_map(|family| {
            let said =
                |what: &str| headers.get(format!("{family}{what}"))?.to_str().ok().and_then(number);
            Some(Self {
                remaining: said("remaining")?,
                limit: said("limit"),
                reset: wait(headers, &format!("{family}reset"), now),
            })
        })
    }

    /// How long to leave the provider alone so that its limit is not reached: not at all while more than a tenth
    /// is left; then such that the requests left are spread over the time to the reset (one second, where the
    /// provider does not say).
    pub fn back_off(&self) -> Option<Duration> {
        let scarce = match self.limit {
            Some(limit) => self.remaining * 10.0 <= limit,
            None => self.remaining < 1.0,
        };
        let reset = self.reset.unwrap_or(Duration::from_secs(1));
        scarce.then(|| reset.div_f64(self.remaining + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canned::response;

    const NOW: &str = "2026-11-21T10:00:00Z";
    const RESETS: [&str; 4] =
        [RKVST_RESET, "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"];

    fn told(status: u16, headers: &[(&'static str, &str)]) -> Option<Duration> {
        let reply = response(status, headers, "");
        retry_after(reply.status, &reply.headers, NOW.parse().unwrap())
    }

    fn seconds(seconds: f64) -> Option<Duration> {
        Some(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn every_form_is_read_in_every_header() {
        for (text, wait) in [
            ("7", seconds(7.0)),
            (" 1.5 ", seconds(1.5)),
            ("0", seconds(0.0)),
            ("86401", seconds(86401.0)),
            ("30, 30;w=60", seconds(30.0)),
            ("Sat, 21 Nov 2026 10:00:30 GMT", seconds(30.0)),
            ("Saturday, 21-Nov-26 10:00:30 GMT", seconds(30.0)),
            ("Sat Nov 21 10:00:30 2026", seconds(30.0)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", seconds(0.0)),
            ("1795255230", seconds(30.0)),
            ("1795255230.5", seconds(30.5)),
            ("1795255230500", seconds(30.5)),
            ("1795255230500000", seconds(30.5)),
            ("1795255200", seconds(0.0)),
            ("1600000000", seconds(0.0)),
            ("1600000000000", seconds(0.0)),
            ("soon", None),
            ("-5", None),
            ("inf", None),
            ("1e3", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(told(429, &[("retry-after", text)]), wait, "{text}");
            for reset in RESETS {
                assert_eq!(told(429, &[(reset, text)]), wait, "{reset}: {text}");
            }
        }
    }

    #[test]
    fn a_moment_is_by_the_clock_that_the_reply_shows() {
        let date = ("date", "Sat, 21 Nov 2026 11:00:10 GMT");
        for moment in ["Sat, 21 Nov 2026 11:00:30 GMT", "1795258830", "1795258830000"] {
            assert_eq!(told(503, &[("retry-after", moment), date]), seconds(20.0), "{moment}");
        }
        assert_eq!(told(503, &[("retry-after", "7"), date]), seconds(7.0));
    }

    #[test]
    fn retry_after_counts_with_any_status_and_a_reset_only_where_the_limit_was_run_into() {
        let both = [("ratelimit-reset", "30"), ("retry-after", "7")];
        for status in [200, 202, 301, 403, 429, 500, 503] {
            assert_eq!(told(status, &both), seconds(7.0), "{status}");
            let reset = told(status, &both[..1]);
            assert_eq!(reset, if status == 429 { seconds(30.0) } else { None }, "{status}");
        }
        assert_eq!(told(429, &[(RKVST_RESET, "1.5"), both[1]]), seconds(1.5));
        assert_eq!(told(429, &[(RKVST_RESET, "-1"), both[1]]), seconds(7.0));
        assert_eq!(told(429, &[both[0], ("retry-after", "soon")]), seconds(30.0));
    }

    fn hint(headers: &[(&'static str, &str)]) -> Option<RateHint> {
        RateHint::read(&response(200, headers, "").headers, NOW.parse().unwrap())
    }

    #[test]
    fn what_is_left_of_a_scarce_budget_is_spread_out() {
        let left = |limit, remaining, reset| {
            let reset = ("ratelimit-reset", reset);
            hint(&[("ratelimit-limit", limit), ("ratelimit-remaining", remaining), reset])
        };
        assert_eq!(left("60", "30", "10").unwrap().back_off(), None);
        assert_eq!(left("60", "4", "10").unwrap().back_off(), seconds(2.0));
        assert_eq!(left("60", "0", "10").unwrap().back_off(), seconds(10.0));
        assert_eq!(left("60", "0", "1795255210").unwrap().back_off(), seconds(10.0));
        assert_eq!(left("60", "0", "1795255210000").unwrap().back_off(), seconds(10.0));
        assert_eq!(left("60", "0", "1600000000").unwrap().back_off(), seconds(0.0));
        assert_eq!(left("60", "0", "soon").unwrap().back_off(), seconds(1.0));
        assert_eq!(left("60", "many", "10"), None);
    }

    #[test]
    fn the_older_names_are_read_too_and_a_limit_need_not_be_told() {
        let left = |remaining| {
            hint(&[("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "1795255210")])
        };
        assert_eq!(left("0").unwrap().back_off(), seconds(10.0));
        assert_eq!(left("1").unwrap().back_off(), None);
    }

    proptest! {
        /// However the headers are filled there is no panic, and no wait beyond the last moment that
        /// can be told.
        #[test]
        fn any_text_is_read_without_harm(
            status in 100u16..600,
            texts in proptest::collection::vec("[ -~]{0,24}|[0-9]{1,30}(\\.[0-9]{0,9})?", 8),
        ) {
            let names = ["retry-after", "date", "ratelimit-limit", "ratelimit-remaining"];
            let names = names.into_iter().chain(RESETS);
            let value = |text: &String| text.trim().parse::<header::HeaderValue>().unwrap();
            let headers: HeaderMap = names
                .map(header::HeaderName::from_static)
                .zip(texts.iter().map(value))
                .collect();
            let now = NOW.parse().unwrap();
            // The end of the year 9999, from 1970 on.
            let most = Duration::from_secs(253_402_300_800);
            let told = retry_after(StatusCode::from_u16(status).unwrap(), &headers, now);
            let eased = RateHint::read(&headers, now).and_then(|hint| hint.back_off());
            for wait in [told, eased].into_iter().flatten() {
                prop_assert!(wait <= most, "{wait:?}");
            }
        }
    }
}
