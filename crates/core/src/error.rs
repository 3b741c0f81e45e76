//! What a failed call to a provider tells the engine, and what a fault in an invite tells its caller.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{invite::words, text::plain};

/// The longest code of a provider that is kept, in bytes, and the most words that one has.
const MAX_CODE: usize = 100;
const MAX_CODE_WORDS: usize = 3;

words!(
    /// What is known of a failed call's effect. The engine decides by this and nothing else.
    Outcome {
        /// No byte of the request was written; safe to send again.
        NotSent = "not_sent",
        /// Refused for now; safe to send again later.
        Throttled = "throttled",
        /// Refused, and would be again; no effect.
        Rejected = "rejected",
        /// May have taken effect.
        Unknown = "unknown",
    }
);

/// What lies behind a failure, where the engine or the gateway must tell it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request or its contents; also whatever has no closer cause.
    Request,
    /// The credential was refused: the provider's configuration is at fault, not the invite.
    Credentials,
    /// The call as such was refused for what no invite in it decides: the clock, the organization, the
    /// kind of activity, the version of the API. The provider's configuration, or this machine, is at
    /// fault.
    Configuration,
    /// The credential is good but lacks the right, or a policy refused this very request
    /// (Turnkey's `REQUEST_NOT_AUTHORIZED`): nobody can tell which from one answer.
    NotAuthorized,
    /// A quota or resource limit of the account is used up.
    Quota,
    /// The provider does not know the thing that was named.
    NotFound,
    /// The operation is not offered by this provider; no request was sent.
    Unsupported,
    /// Which of several invites carries this provider id is not proven.
    PairingUnproven,
    /// Nothing readable came back: time-out, connection, unreadable or oversized reply.
    Transport,
}

/// A failed call. Its `Display` is one line: what was being done to what, and why it failed.
///
/// Neither the message nor the code ever holds a secret, a stamp or personal data: adapters pass
/// provider text through [`crate::http::scrub`].
#[derive(Clone, PartialEq)]
pub struct ProviderError {
    /// What is known of the effect.
    pub outcome: Outcome,
    /// What lies behind it.
    pub cause: Cause,
    /// One line.
    pub message: String,
    /// The provider's own code for it.
    pub code: Option<String>,
    /// The HTTP status it answered with.
    pub http_status: Option<u16>,
    /// How long the provider asked to wait; not capped yet.
    pub retry_after: Option<Duration>,
    /// The items of the call that the provider named as at fault; empty where it named none.
    pub items: Vec<ItemFault>,
    /// Provider ids of new invites that a successful reply named without showing whose they are: some
    /// of the call's invites exist, so that it must not be taken for one without effect.
    pub unpaired: Vec<String>,
}

/// An item of a call that the provider refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFault {
    /// The item's place in the call.
    pub index: usize,
    /// What is wrong with it; pointers are relative to the invite, in the gateway's member names.
    pub fault: Fault,
}

impl ProviderError {
    /// An error with an outcome and a message, caused by the request itself.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            cause: Cause::Request,
            message: plain(message),
            code: None,
            http_status: None,
            retry_after: None,
            items: Vec::new(),
            unpaired: Vec::new(),
        }
    }

    /// The answer to an operation that the provider does not offer; nothing was sent.
    pub fn unsupported(provider_kind: &str, operation: &str) -> Self {
        Self::new(Outcome::Rejected, format!("{provider_kind} offers no way to {operation}"))
            .caused_by(Cause::Unsupported)
    }

    /// With another cause.
    pub fn caused_by(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// With the provider's own code, if that is what this is: a few words of letters, digits and what
    /// joins them, of 100 bytes at most. Anything else is a sentence or a value, which may show a person or
    /// a credential, and is left out.
    pub fn with_code(self, code: Option<&str>) -> Self {
        let is_code = |code: &&str| {
            let is_word = |word: &str| {
                !word.is_empty()
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
            };
            code.len() <= MAX_CODE
                && code.split(' ').count() <= MAX_CODE_WORDS
                && code.split(' ').all(is_word)
        };
        Self { code: code.filter(is_code).map(str::to_owned), ..self }
    }

    /// Whether a request waited for our own rate budget in vain: no provider asked for a wait.
    pub fn is_of_own_budget(&self) -> bool {
        self.outcome == Outcome::Throttled
            && self.http_status.is_none()
            && self.retry_after.is_none()
    }

    /// With the HTTP status it answered with.
    pub fn with_status(self, status: u16) -> Self {
        Self { http_status: Some(status), ..self }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderError({}, {:?}: {})", self.outcome, self.cause, self.message)
    }
}

impl std::error::Error for ProviderError {}

/// One thing that is wrong with an invite or with a configuration, at a place.
///
/// The detail never quotes the value: it may be personal or secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901) relative to the thing checked; a missing member's pointer ends in
    /// its name.
    pub pointer: String,
    /// A stable word: `required`, `invalid`, `too-long`, `unknown-member`, …
    pub code: String,
    /// One sentence for the person who reads it.
    pub detail: String,
    /// What was probably meant, where that can be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// What is said instead of the detail to whoever runs the gateway, in its log and on the command line, where
    /// nobody else may know it. Never part of an answer.
    #[serde(skip)]
    pub for_operator: Option<String>,
}

impl Fault {
    /// A fault without a suggestion.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let (pointer, code, detail) = (pointer.into(), code.into(), detail.into());
        Self { pointer, code, detail, suggestion: None, for_operator: None }
    }

    /// The same fault seen from further out: `prefix` is put before the pointer.
    pub fn under(self, prefix: &str) -> Self {
        Self { pointer: format!("{prefix}{}", self.pointer), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_few_words_and_nothing_that_shows_a_person_or_a_credential() {
        let kept = |code: &str| {
            ProviderError::new(Outcome::Rejected, "no").with_code(Some(code)).code.is_some()
        };
        for code in ["INVALID_FQDN", "Entity QuotaReached", "string_too_short", "3", "a.b:c-d"] {
            assert!(kept(code), "{code}");
        }
        let long = "X".repeat(101);
        for none in ["", " ", "ada@example.org", "a b c d", "s+e/c=", "née", "a\n", long.as_str()]
        {
            assert!(!kept(none), "{none}");
        }
    }
}
