//! What the post office's refusals mean to the engine. No HTTP.

use invite_core::{
    Cause, Invitee, Outcome, ProviderError,
    http::{Response, scrub_of},
};
use jiff::Timestamp;

use super::wire::ErrorBody;

/// What is being done, where and about whom: what an error has to say, and what it must not.
pub struct Operation<'a> {
    /// Such as "writing a card".
    pub doing: &'static str,
    /// The provider's configured name.
    pub provider: &'a str,
    /// Whose data no message may show.
    pub people: Vec<&'a Invitee>,
}

impl Operation<'_> {
    /// A failure of this operation.
    pub fn failed(&self, outcome: Outcome, why: &str) -> ProviderError {
        ProviderError::new(outcome, format!("{} at {}: {why}", self.doing, self.provider))
    }

    /// A failure of the HTTP client, saying what was being done.
    pub fn explain(&self, error: ProviderError) -> ProviderError {
        let message = format!("{} at {}: {}", self.doing, self.provider, error.message);
        ProviderError { message, ..error }
    }

    /// A success that does not say what it should: it may have taken effect.
    pub fn unreadable(&self, response: &Response) -> ProviderError {
        let status = response.status.as_u16();
        self.failed(Outcome::Unknown, &format!("HTTP {status}, but the reply cannot be read"))
            .caused_by(Cause::Transport)
            .with_status(status)
    }

    /// A reply that is no success.
    pub fn refused(&self, response: &Response, now: Timestamp) -> ProviderError {
        let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
        let status = response.status.as_u16();
        let code = body.error.code.as_deref();
        let (outcome, cause) = match (status, code) {
            (401 | 403, _) => (Outcome::Rejected, Cause::Credentials),
            (404, _) => (Outcome::Rejected, Cause::NotFound),
            // By its status alone nobody could tell what became of it.
            (409, Some("MAILED")) => (Outcome::Rejected, Cause::Request),
            _ => (response.outcome().unwrap_or(Outcome::Unknown), Cause::Request),
        };
        let known = self.people.iter().flat_map(|person| person.personal_data());
        let text = scrub_of(&body.error.text, known);
        let hint = if cause == Cause::Credentials { "check token: " } else { "" };
        ProviderError {
            code: body.error.code,
            retry_after: response.told_to_wait(now),
            ..self.failed(outcome, &format!("HTTP {status}: {hint}{text}"))
        }
        .caused_by(cause)
        .with_status(status)
    }
}
