//! The times that callers give.

use jiff::{Timestamp, civil::Date, fmt::temporal::Pieces};
use serde::Deserialize;

/// The day on which [`Timestamp::MAX`] falls.
const LAST_DAY: Date = jiff::civil::date(9999, 12, 30);

/// Reads a time with its offset (RFC 3339). The last hours of the year 9999, which [`Timestamp`] cannot
/// hold, are read as the last time that it can.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let pieces = Pieces::parse(text).ok()?;
        let is_moment = pieces.time().is_some() && pieces.offset().is_some();
        (is_moment && pieces.date() >= LAST_DAY).then_some(Timestamp::MAX)
    })
}

/// A time in a body; `None` if the text cannot be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Moment(pub Option<Timestamp>);

impl From<String> for Moment {
    fn from(text: String) -> Self {
        Self(read(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_rfc_3339_is_taken() {
        for text in [
            "0000-01-01T00:00:00Z",
            "1985-04-12T23:20:50.52Z",
            "1996-12-19t16:39:57-08:00",
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2026-01-31T12:00:00-00:00",
            "2026-01-31 12:00:00z",
        ] {
            assert!(read(text).is_some_and(|at| at < Timestamp::MAX), "{text}");
        }
        for text in [
            "9999-12-30T23:59:59Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999+00:00",
            "9999-12-31T00:00:00-23:59",
        ] {
            assert_eq!(read(text), Some(Timestamp::MAX), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_taken() {
        for text in [
            "",
            "tomorrow",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-30T12:00:00Z",
            "9999-12-31",
            "9999-12-31T23:59:59",
            "9999-12-32T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "1769860800",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
