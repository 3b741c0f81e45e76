//! A request to a provider, as an adapter makes it. How it is sent is not here.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use secrecy::zeroize::Zeroizing;
use url::Url;

use super::{BODY_CAP, LIST_BODY_CAP};
use crate::{Cause, Outcome, ProviderError, secret::zeroizing_bytes};

/// The bytes that a reply may need for one invite. Two names of 200 characters and an address of 254, with each
/// character written as an escape, come to less than 6 KiB; the rest is for ids, times, and what a refusal
/// quotes.
const OF_ONE_INVITE: usize = 8 * 1024;

/// The longest reply that is read to a call of so many invites, in bytes. It has room for each of them, because a
/// reply that is not read to its end leaves them all unknown.
pub fn reply_cap(invites: usize) -> usize {
    BODY_CAP.saturating_add(invites.saturating_mul(OF_ONE_INVITE)).min(LIST_BODY_CAP)
}

/// A request to a provider.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The full address.
    pub url: Url,
    /// Headers; may hold credentials, so they are never printed.
    pub headers: HeaderMap,
    /// The exact bytes to send; empty means no body.
    pub body: Bytes,
    /// Credentials in the body, to be taken out of a reply that quotes them.
    pub secrets: Vec<Zeroizing<Vec<u8>>>,
    /// The longest reply to read, in bytes.
    pub body_cap: usize,
    /// What of the exchange goes into the attempt's record.
    pub record: Record,
}

/// What of an exchange goes into the record of its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Where it went, both bodies, status and time.
    Whole,
    /// No body, because a list shows people whom the attempt is not about; but that of a refusal.
    Outline,
    /// Nothing, because the bodies of token requests are secrets.
    Nothing,
}

impl Request {
    /// A request without headers and body, to be recorded whole.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            secrets: Vec::new(),
            body_cap: BODY_CAP,
            record: Record::Whole,
        }
    }

    /// The request with exactly these bytes as its JSON body.
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        let json = header::HeaderValue::from_static("application/json");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = body.into();
        self
    }

    /// The request as one for a list, whose reply may be long and is not recorded, unless it is a refusal.
    pub fn listing(self) -> Self {
        Self { body_cap: LIST_BODY_CAP, record: Record::Outline, ..self }
    }

    /// The request with a header whose value is a credential.
    ///
    /// # Errors
    /// If the value cannot be a header's; the message does not show it.
    pub fn credential(mut self, name: &'static str, value: &str) -> Result<Self, ProviderError> {
        let value = zeroizing_bytes(Zeroizing::new(value.to_owned()));
        let mut value = header::HeaderValue::from_maybe_shared(value).map_err(|_| {
            let why = format!("the credential for {name} {NO_HEADER}");
            ProviderError::new(Outcome::NotSent, why).caused_by(Cause::Credentials)
        })?;
        value.set_sensitive(true);
        self.headers.insert(header::HeaderName::from_static(name), value);
        Ok(self)
    }

    /// Method and full address, for the record.
    pub(super) fn target(&self) -> String {
        format!("{} {}", self.method, self.url)
    }

    /// Method and path, for messages; the query may hold personal data.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.method, self.url.path())
    }
}

/// What is wrong with a value that cannot be a header's.
const NO_HEADER: &str = "holds characters that no header may hold";

/// Checks that a secret can be the value of a header, for
/// [`Credential::checked`](crate::secret::Credential::checked).
///
/// # Errors
/// It cannot; the text does not show it.
pub fn check_header(value: &str) -> Result<(), String> {
    let fits = header::HeaderValue::from_str(value).is_ok();
    fits.then_some(()).ok_or_else(|| format!("the secret {NO_HEADER}"))
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_to_a_call_has_room_for_each_of_its_invites() {
        let person = "\\ud83d\\ude00".repeat(2 * 200) + &"\\u00e9".repeat(254);
        let id = "0f0e8f9e-2f6c-4c3e-9a38-9f2f3f1f5a01".repeat(8);
        for count in [1, 100, 1000, 8000] {
            assert!(count * (person.len() + id.len()) < reply_cap(count), "{count}");
        }
        assert_eq!(reply_cap(usize::MAX), LIST_BODY_CAP);
    }

    #[test]
    fn what_no_header_may_hold_is_told_without_showing_it() {
        for good in ["abc", "a b", "Bearer x=="] {
            assert_eq!(check_header(good), Ok(()));
        }
        for bad in ["s3cret\n", "s3cret\0", "s3crét\u{7f}"] {
            let why = check_header(bad).unwrap_err();
            assert!(!why.contains("s3cr"), "{why}");
        }
    }
}
