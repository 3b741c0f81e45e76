//! The forms in which servers write how long to wait. By RFC 9110 `Retry-After` is seconds or a date; headers of rate
//! limits are whatever their vendor likes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::http_date;

/// How a wait is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Whole seconds, rounded up.
    #[default]
    Seconds,
    /// Seconds with a fraction.
    Fraction,
    /// An HTTP date, by the simulator's clock.
    Date,
    /// Seconds since 1970, by the simulator's clock.
    Epoch,
    /// Milliseconds since 1970, by the simulator's clock.
    EpochMs,
}

impl Form {
    /// Writes a wait that begins now. A negative one is a time in the past.
    pub fn written(self, wait_ms: i64, now: Timestamp) -> String {
        let then = now.checked_add(SignedDuration::from_millis(wait_ms)).unwrap_or(now);
        // No server writes a negative number of seconds.
        let left = wait_ms.max(0);
        match self {
            Self::Seconds => ceil(left).to_string(),
            Self::Fraction => format!("{}.{:03}", left / 1_000, left % 1_000),
            Self::Date => http_date(then),
            Self::Epoch => ceil(then.as_millisecond()).to_string(),
            Self::EpochMs => then.as_millisecond().to_string(),
        }
    }
}

fn ceil(ms: i64) -> i64 {
    ms / 1_000 + i64::from(ms % 1_000 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_five_forms() {
        let now = Timestamp::from_millisecond(784_111_777_000).unwrap();
        for (form, wait, written) in [
            (Form::Seconds, 1_500, "2"),
            (Form::Seconds, -5_000, "0"),
            (Form::Fraction, 1_500, "1.500"),
            (Form::Date, 1_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (Form::Date, -37_000, "Sun, 06 Nov 1994 08:49:00 GMT"),
            (Form::Epoch, 1_500, "784111779"),
            (Form::EpochMs, 1_500, "784111778500"),
            (Form::EpochMs, -1_000, "784111776000"),
        ] {
            assert_eq!(form.written(wait, now), written);
        }
    }
}
