//! The clock of the simulators. Each adds its own offset, a setting, so that a test can let a provider live in another
//! time. Nothing else here reads the time of day.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// The time of day, without any simulator's offset.
#[expect(clippy::disallowed_methods, reason = "the simulators' one clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// `at` shifted by a simulator's offset, unless that is out of range.
pub(crate) fn shifted(at: Timestamp, offset_ms: i64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_millis(offset_ms)).unwrap_or(at)
}

/// The form of the HTTP `Date` header.
pub(crate) fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_has_the_form_of_rfc_9110() {
        let at: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(shifted(at, 1_000)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
