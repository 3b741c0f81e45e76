//! The `Prefer` header (RFC 7240): how long to wait for an answer, and what to do with invalid items.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header::HeaderName};
use invite_core::KeyId;

use crate::{Gateway, auth::Caller, pool::Permit};

/// How long a request waits if it says nothing of that.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// The longest wait, in seconds.
const MAX_WAIT: u64 = 60;

/// What to do with invalid items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handling {
    Strict,
    /// Accept the valid items, and report the invalid ones.
    Lenient,
}

/// What a request prefers. As RFC 7240 says, preferences that are not known here are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    wait: Option<u64>,
    respond_async: bool,
    handling: Option<Handling>,
}

impl Preferences {
    /// Reads the headers. Of a preference that is given twice the first holds.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut preferences = Self::default();
        for value in headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()) {
            for preference in split(value, ',') {
                // Parameters after a semicolon belong to no preference that is known here.
                let preference = split(preference, ';').next().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                preferences.take(name.trim(), unquote(value.trim()));
            }
        }
        preferences
    }

    fn take(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "wait" if self.wait.is_none() => {
                let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                // A number that does not fit is more than the longest wait.
                self.wait = is_number.then(|| value.parse().unwrap_or(MAX_WAIT).min(MAX_WAIT));
            }
            "respond-async" => self.respond_async = true,
            "handling" if self.handling.is_none() => {
                self.handling = match value.to_ascii_lowercase().as_str() {
                    "strict" => Some(Handling::Strict),
                    "lenient" => Some(Handling::Lenient),
                    _ => None,
                };
            }
            _ => {}
        }
    }

    /// How long to wait. `wait` is stronger than `respond-async`.
    pub fn wait(&self, default: Duration) -> Duration {
        match self.wait {
            Some(seconds) => Duration::from_secs(seconds),
            None if self.respond_async => Duration::ZERO,
            None => default,
        }
    }

    /// How long to wait, and a permit for as long as that lasts. If too many requests wait already, of all
    /// keys or of this one, there is no permit, and the preferences about waiting count as not applied.
    pub fn admit(
        self,
        gateway: &Gateway,
        caller: &Caller,
        default: Duration,
    ) -> (Self, Duration, Option<Permit<KeyId>>) {
        let wait = self.wait(default);
        if wait.is_zero() {
            return (self, wait, None);
        }
        match gateway.waiting.acquire(caller.id(), 1) {
            Ok(place) => (self, wait, Some(place)),
            Err(_) => (self.without_waiting(), Duration::ZERO, None),
        }
    }

    /// What to do with invalid items.
    pub fn handling(&self) -> Handling {
        self.handling.unwrap_or(Handling::Strict)
    }

    /// The preferences that are left if nothing is waited for.
    pub fn without_waiting(self) -> Self {
        Self { wait: None, respond_async: false, ..self }
    }

    /// Writes `Preference-Applied` for the preferences about waiting and, if items were handled, about handling.
    pub fn write_applied(&self, headers: &mut HeaderMap, handled: bool) {
        let waiting = match self.wait {
            Some(seconds) => Some(format!("wait={seconds}")),
            None => self.respond_async.then(|| "respond-async".to_owned()),
        };
        let handling = self.handling.filter(|_| handled).map(|handling| match handling {
            Handling::Strict => "handling=strict".to_owned(),
            Handling::Lenient => "handling=lenient".to_owned(),
        });
        let applied: Vec<_> = waiting.into_iter().chain(handling).collect();
        if let (false, Ok(value)) = (applied.is_empty(), HeaderValue::try_from(applied.join(", ")))
        {
            headers.insert(HeaderName::from_static("preference-applied"), value);
        }
    }
}

/// Splits at a separator that is not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let literal = escaped;
        escaped = quoted && !literal && c == '\\';
        if c == '"' && !literal {
            quoted = !quoted;
        }
        c == separator && !quoted
    })
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Preferences {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", HeaderValue::from_static(value));
        }
        Preferences::read(&headers)
    }

    fn applied(preferences: Preferences) -> String {
        let mut headers = HeaderMap::new();
        preferences.write_applied(&mut headers, true);
        headers.get("preference-applied").map_or("", |v| v.to_str().unwrap()).to_owned()
    }

    #[test]
    fn without_a_preference_the_default_holds_and_nothing_was_applied() {
        let preferences = read(&[]);
        assert_eq!(preferences.wait(DEFAULT_WAIT), DEFAULT_WAIT);
        assert_eq!(preferences.handling(), Handling::Strict);
        assert_eq!(applied(preferences), "");
    }

    #[test]
    fn preferences_are_read_from_one_header_or_several_in_any_case_and_quoting() {
        for values in [
            &["wait=5, handling=lenient"][..],
            &["Wait = 5", "HANDLING=Lenient"],
            &["wait=\"5\"; foo=\"a,b\", x=\"wait=9, \\\" wait=8\", handling=\"lenient\""],
        ] {
            let preferences = read(values);
            assert_eq!(preferences.wait(DEFAULT_WAIT), Duration::from_secs(5), "{values:?}");
            assert_eq!(preferences.handling(), Handling::Lenient, "{values:?}");
            assert_eq!(applied(preferences), "wait=5, handling=lenient");
        }
    }

    #[test]
    fn a_wait_is_at_most_a_minute() {
        for value in ["wait=61", "wait=99999999999999999999999"] {
            assert_eq!(applied(read(&[value])), "wait=60");
        }
    }

    #[test]
    fn a_wait_holds_against_respond_async() {
        assert_eq!(read(&["respond-async"]).wait(DEFAULT_WAIT), Duration::ZERO);
        let both = read(&["respond-async, wait=3, handling=strict"]);
        assert_eq!(applied(both.without_waiting()), "handling=strict");
        let both = read(&["respond-async, wait=3"]);
        assert_eq!(both.wait(DEFAULT_WAIT), Duration::from_secs(3));
        assert_eq!(applied(both), "wait=3");
    }

    #[test]
    fn what_is_not_understood_is_ignored_and_the_first_of_two_holds() {
        let preferences =
            read(&["wait=soon, handling=whatever, return=minimal, ,=,wait=2, wait=3"]);
        assert_eq!(applied(preferences), "wait=2");
    }
}
