//! How far a provider's clock is ahead of ours, as far as a reply shows it.

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};

use super::date;

/// Bounds on how far a provider's clock is ahead of ours. A reply's `Date`, which is in whole seconds, was written
/// after its request was sent and before it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    least: SignedDuration,
    most: SignedDuration,
}

impl ClockDifference {
    /// What a reply's headers show; `sent` and `received` are by our clock. None if that is nothing: there is no
    /// `Date`, a cache answered with an earlier one, or our own clock was set back meanwhile.
    pub(super) fn read(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Option<Self> {
        let date = date(headers).filter(|_| !headers.contains_key(header::AGE))?;
        let least = date.duration_since(received);
        let most = date.duration_since(sent) + SignedDuration::from_secs(1);
        (least <= most).then_some(Self { least, most })
    }

    /// The least difference that explains the reply; zero if both clocks may agree.
    pub fn proven(&self) -> SignedDuration {
        SignedDuration::ZERO.clamp(self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(date: &str, took_ms: i64) -> Option<f64> {
        let sent: Timestamp = "2026-11-21T10:00:00.250Z".parse().unwrap();
        let received = sent + SignedDuration::from_millis(took_ms);
        let headers = [(header::DATE, date.parse().unwrap())].into_iter().collect();
        ClockDifference::read(&headers, sent, received).map(|it| it.proven().as_secs_f64())
    }

    #[test]
    fn only_what_neither_the_whole_seconds_nor_the_time_it_took_explain_is_a_difference() {
        let on_time = "Sat, 21 Nov 2026 10:00:00 GMT";
        assert_eq!(difference(on_time, 0), Some(0.0));
        assert_eq!(difference(on_time, 20_000), Some(0.0));
        assert_eq!(difference("Sat, 21 Nov 2026 10:00:20 GMT", 20_000), Some(0.0));
        assert_eq!(difference("Sat, 21 Nov 2026 10:10:00 GMT", 500), Some(599.25));
        assert_eq!(difference("Sat, 21 Nov 2026 09:50:00 GMT", 500), Some(-599.25));
        assert_eq!(difference(on_time, -5000), None);
        assert_eq!(difference("yesterday", 0), None);
    }

    #[test]
    fn a_reply_from_a_cache_shows_an_earlier_time() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let date = (header::DATE, "Sat, 21 Nov 2026 09:00:00 GMT".parse().unwrap());
        let cached = [date, (header::AGE, "3600".parse().unwrap())].into_iter().collect();
        assert_eq!(ClockDifference::read(&cached, now, now), None);
    }
}
