//! The error of a failed call to a provider, by which the engine decides, and the fault in an invite or a
//! configuration, which its author reads.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{invite::words, text::plain};

/// A provider's code is kept if it has at most so many bytes and so many words.
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

/// What lies behind a failure, as far as the gateway treats one cause differently from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request or its contents; also any cause that is none of the others.
    Request,
    /// The credential was refused. The provider's configuration is at fault, not the invite.
    Credentials,
    /// The call was refused for something that no invite in it decides: the clock, the organization, the kind of
    /// activity, the version of the API. The provider's configuration, or this machine, is at fault.
    Configuration,
    /// Either the credential is good but lacks the right, or a policy refused this very request (Turnkey's
    /// `REQUEST_NOT_AUTHORIZED`). One answer does not show which.
    NotAuthorized,
    /// A quota or resource limit of the account is used up.
    Quota,
    /// The provider does not know what the request named.
    NotFound,
    /// This provider does not offer the operation; no request was sent.
    Unsupported,
    /// It is not proven that this provider id is the invite's.
    PairingUnproven,
    /// Nothing readable came back: a time-out, a broken connection, an unreadable or oversized reply.
    Transport,
}

/// The error of a failed call. Its `Display` is one line: what was being done, where, and why it failed.
///
/// Neither message nor code ever holds a secret, a stamp or personal data: adapters pass a provider's text through
/// [`crate::http::scrub`].
#[derive(Clone, PartialEq)]
pub struct ProviderError {
    /// What is known of the effect.
    pub outcome: Outcome,
    /// What lies behind the failure.
    pub cause: Cause,
    /// The line that people read.
    pub message: String,
    /// The provider's own code for the failure.
    pub code: Option<String>,
    /// The HTTP status that the provider answered with.
    pub http_status: Option<u16>,
    /// How long the provider asked to wait, however long that is.
    pub retry_after: Option<Duration>,
    /// The items of the call that the provider named as being at fault; empty if it named none.
    pub items: Vec<ItemFault>,
    /// Ids of new invites that a successful reply named without showing whose they are. Some of the call's invites
    /// exist then, so that the call must not be taken for one without effect.
    pub unpaired: Vec<String>,
}

/// An item of a call that the provider refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFault {
    /// The item's place in the call; the first is 0.
    pub index: usize,
    /// What is wrong with it, with a pointer relative to the invite, in the gateway's names.
    pub fault: Fault,
}

impl ProviderError {
    /// An error with an outcome and a message, whose cause is the request.
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

    /// The error of an operation that the provider does not offer; nothing was sent.
    pub fn unsupported(provider_kind: &str, operation: &str) -> Self {
        Self::new(Outcome::Rejected, format!("{provider_kind} offers no way to {operation}"))
            .caused_by(Cause::Unsupported)
    }

    /// The same with another cause.
    pub fn caused_by(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// The same with the provider's own code, if the text is one: a few words of letters, digits and what joins
    /// them, of 100 bytes at most. Anything else is a sentence or a value, which may show a person or a credential,
    /// and is left out.
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

    /// Whether our own rate budget kept the request back, and no provider asked for a wait.
    pub fn is_of_own_budget(&self) -> bool {
        self.outcome == Outcome::Throttled
            && self.http_status.is_none()
            && self.retry_after.is_none()
    }

    /// The same with the HTTP status that the provider answered with.
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
    /// A JSON pointer (RFC 6901) relative to what was checked. It ends in the name of a member that is missing.
    pub pointer: String,
    /// A word that does not change, such as `required`, `invalid`, `too-long` or `unknown-member`.
    pub code: String,
    /// One sentence for the person who reads it.
    pub detail: String,
    /// What was probably meant, where that can be guessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// What the log and the command line say instead of the detail, where only those who run the gateway may know
    /// it. It is never part of an answer.
    #[serde(skip)]
    pub for_operator: Option<String>,
}

impl Fault {
    /// A fault without suggestion.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let (pointer, code, detail) = (pointer.into(), code.into(), detail.into());
        Self { pointer, code, detail, suggestion: None, for_operator: None }
    }

    /// The same fault with `prefix` before its pointer, as it is seen from further out.
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
