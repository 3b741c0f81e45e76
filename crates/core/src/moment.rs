//! Reads moments as providers write them. Many write a sentinel for "none", such as the first year of their calendar
//! or the epoch of their clock, which is no moment of an invite.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The start of 2015. All providers are younger, so nothing at them can have been made before.
const EARLIEST: Timestamp = Timestamp::constant(1_420_070_400, 0);

/// The moment that a text says; without a zone it is in UTC. None for a sentinel, a text that cannot be read, and a
/// moment beyond 9999-12-30, the last that can be represented.
pub fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let zoned = text.parse::<Timestamp>().ok();
    let civil = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    zoned.or_else(civil).and_then(plausible)
}

/// The moment, if it can be one of an invite.
pub fn plausible(at: Timestamp) -> Option<Timestamp> {
    (at >= EARLIEST).then_some(at)
}

/// When an invite lapses that was made at `made` or later, by what the provider said. An expiry before the making is
/// none.
pub fn expiry(said: Option<Timestamp>, made: Timestamp) -> Option<Timestamp> {
    said.filter(|at| *at > made).and_then(plausible)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_in_any_usual_form() {
        let expected = "2026-12-01T10:00:00Z".parse().ok();
        for text in [
            "2026-12-01T10:00:00Z",
            " 2026-12-01T10:00:00Z\n",
            "2026-12-01T10:00:00.000000000Z",
            "2026-12-01 10:00:00+00:00",
            "2026-12-01T12:00:00+02:00",
            "2026-12-01T10:00:00",
            "2026-12-01t10:00:00z",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        let precise = "2026-12-01T10:00:00.123456789Z";
        assert_eq!(read(precise), precise.parse().ok());
    }

    #[test]
    fn what_is_no_moment_of_an_invite_is_none() {
        for text in [
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00",
            "0000-00-00 00:00:00",
            "-0001-11-30T00:00:00Z",
            "1601-01-01T00:00:00Z",
            "1753-01-01T00:00:00",
            "1899-12-30T00:00:00Z",
            "1900-01-01T00:00:00.000Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00.000000001Z",
            "1970-01-01T02:00:00+02:00",
            "1980-01-01T00:00:00Z",
            "2000-01-01T00:00:00Z",
            "2001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999999",
            "10000-01-01T00:00:00Z",
            "+292278994-08-17T07:12:55Z",
            "2026-13-01T00:00:00Z",
            "2026-12-01T25:00:00Z",
            "never",
            "null",
            "0",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn an_expiry_is_after_the_making() {
        let made: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(expiry(Some(made + second), made), Some(made + second));
        assert_eq!(expiry(Some(Timestamp::MAX), made), Some(Timestamp::MAX));
        for said in [Some(made), Some(made - second), Some(Timestamp::MIN), None] {
            assert_eq!(expiry(said, made), None);
        }
        assert_eq!(expiry(Some(Timestamp::UNIX_EPOCH), Timestamp::MIN), None);
    }

    proptest! {
        #[test]
        fn no_expiry_is_ever_before_the_making(said in any::<i64>(), made in any::<i64>()) {
            let at = |second: i64| Timestamp::from_second(second % 200_000_000_000).ok();
            let made = at(made).unwrap_or(Timestamp::UNIX_EPOCH);
            if let Some(expiry) = expiry(at(said), made) {
                prop_assert!(expiry > made && expiry >= EARLIEST);
            }
        }

        #[test]
        fn no_text_is_read_as_a_sentinel(text in ".{0,40}|[0-9T:.Z+ -]{0,35}") {
            prop_assert!(read(&text).is_none_or(|at| at >= EARLIEST));
        }
    }
}
