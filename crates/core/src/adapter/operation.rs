//! Errors of adapters: what each says (what was being done, and where), what none may show (for whom), and what a
//! refusal means from any provider. The providers' own codes are for their adapters.

use serde::de::DeserializeOwned;

use super::extra;
use crate::{
    Cause, Fault, ItemFault, ListQuery, Outcome, ProviderError, Recipient, Remote,
    http::{Response, scrub_of},
    refusal::{names_quota, of_the_call},
};

/// Something that is being done at a provider.
#[derive(Clone)]
pub struct Operation {
    doing: String,
    provider: String,
    /// What no error may show.
    personal: Vec<String>,
    /// How many invites of the call errors may name.
    items: usize,
}

/// A refusal, as far as an adapter can read its body.
#[derive(Default)]
pub struct Refusal {
    /// The refusal's words, in which there may still be personal data.
    pub text: String,
    /// The provider's own code.
    pub code: Option<String>,
    /// The cause by the provider's own codes or fields, which decide over the status.
    pub cause: Option<Cause>,
    /// What an error says beside the status, where the usual words do not do.
    pub hint: Option<&'static str>,
    /// Whether a quota is used up, by the provider's own code, which decides over the words.
    pub is_quota: Option<bool>,
}

impl Operation {
    /// An operation such as "creating invites" at the provider of this name, about no person.
    pub fn new(doing: impl Into<String>, provider: &str) -> Self {
        let (doing, provider) = (doing.into(), provider.to_owned());
        Self { doing, provider, personal: Vec::new(), items: 0 }
    }

    /// The same, of which no error may show these pieces of personal data.
    pub fn about<'a>(mut self, personal: impl IntoIterator<Item = &'a str>) -> Self {
        self.personal.extend(personal.into_iter().map(str::to_owned));
        self
    }

    /// The same for the recipients of a call. Errors may name them by their places, and show nothing else of them.
    pub fn for_recipients(self, recipients: &[Recipient]) -> Self {
        let personal = recipients.iter().flat_map(|recipient| recipient.invitee.personal_data());
        let extra = recipients.iter().filter_map(|recipient| recipient.params.get("extra"));
        let items = self.items + recipients.len();
        self.about(personal).about(extra.flat_map(extra::texts)).of_call(items)
    }

    /// The same for a call of so many invites, which errors may name by their places.
    pub fn of_call(self, items: usize) -> Self {
        Self { items, ..self }
    }

    /// How many invites of the call errors may name.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The provider's configured name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// A text of the provider's without personal data.
    pub fn scrub(&self, text: &str) -> String {
        scrub_of(text, self.personal.iter().map(String::as_str))
    }

    /// An error that says what was being done, and why it failed.
    pub fn failed(&self, outcome: Outcome, why: &str) -> ProviderError {
        ProviderError::new(outcome, format!("{} at {}: {why}", self.doing, self.provider))
    }

    /// The same error, which also says what was being done.
    pub fn explain(&self, error: ProviderError) -> ProviderError {
        let message = self.failed(error.outcome, &error.message).message;
        ProviderError { message, ..error }
    }

    /// An error for what is not at this provider, or cannot be named there; nothing was sent.
    pub fn not_found(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Rejected, why).caused_by(Cause::NotFound)
    }

    /// An error for a withdrawal by an id that is not proven to be the invite's.
    pub fn unproven(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Rejected, why).caused_by(Cause::PairingUnproven)
    }

    /// An error for a reply that does not show the effect.
    pub fn outcome_unknown(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Unknown, why).caused_by(Cause::Transport)
    }

    /// An error for a success that does not say what it should; it may have taken effect.
    pub fn unreadable(&self, response: &Response, why: &str) -> ProviderError {
        let status = response.status.as_u16();
        self.outcome_unknown(&format!("HTTP {status}, but {why}")).with_status(status)
    }

    /// Reads the body of a success.
    ///
    /// # Errors
    /// The body is not of that form.
    pub fn read<T: DeserializeOwned>(&self, response: &Response) -> Result<T, ProviderError> {
        serde_json::from_slice(&response.body).map_err(|error| {
            // The error's own text is not used, because it may quote the body.
            let why = match error.classify() {
                serde_json::error::Category::Data => "the reply is not of the documented form",
                _ => "the reply is not JSON",
            };
            self.unreadable(response, why)
        })
    }

    /// Reads what [`resolve`](crate::InviteProvider::resolve) recorded of the invite at this place.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn recorded<T: DeserializeOwned>(
        &self,
        index: usize,
        recipient: &Recipient,
    ) -> Result<T, ProviderError> {
        T::deserialize(&recipient.params).map_err(|_| self.unusable(index))
    }

    /// An error for an invite whose record does not make one any more.
    pub fn unusable(&self, index: usize) -> ProviderError {
        let why = "what was recorded of an invite does not make one; create it anew";
        let items = vec![ItemFault { index, fault: Fault::new("", "invalid", why) }];
        ProviderError { items, ..self.failed(Outcome::Rejected, why) }
    }

    /// The provider's id of an invite.
    ///
    /// # Errors
    /// The invite has none yet.
    pub fn id_of<'a>(&self, remote: &'a Remote) -> Result<&'a str, ProviderError> {
        let id = remote.provider_ref.as_deref();
        id.ok_or_else(|| self.not_found("its id there is not known"))
    }

    /// Checks that the first page is asked for, where a list has only that.
    ///
    /// # Errors
    /// Another page is asked for.
    pub fn only_page(&self, query: &ListQuery) -> Result<(), ProviderError> {
        let why = "there is no such page: all invites are one page";
        query.cursor.is_none().then_some(()).ok_or_else(|| self.failed(Outcome::Rejected, why))
    }

    /// A fault of the invite at this place; none if the call has no such place.
    pub fn item(&self, index: usize, fault: Fault) -> Option<ItemFault> {
        (index < self.items).then_some(ItemFault { index, fault })
    }

    /// The error that a reply means which is no success.
    pub fn refused(&self, response: &Response, refusal: Refusal) -> ProviderError {
        let (outcome, cause) = meaning(response, &refusal);
        self.refused_as(response, outcome, cause, refusal)
    }

    /// The same with an outcome and a cause that the adapter knows.
    pub fn refused_as(
        &self,
        response: &Response,
        outcome: Outcome,
        cause: Cause,
        refusal: Refusal,
    ) -> ProviderError {
        let status = response.status.as_u16();
        let hint = refusal.hint.unwrap_or(match cause {
            Cause::Credentials => "the credential was refused",
            Cause::Configuration => "the call as such was refused",
            Cause::Quota => "a quota is used up",
            Cause::NotFound => "there is no such thing",
            _ => "",
        });
        let mut why = format!("HTTP {status}");
        for (sign, words) in [(", ", hint), (": ", &self.scrub(&refusal.text))] {
            if !words.is_empty() {
                why.push_str(&format!("{sign}{words}"));
            }
        }
        let error = self.failed(outcome, &why).caused_by(cause).with_status(status);
        let error = error.with_code(refusal.code.as_deref());
        ProviderError { retry_after: response.retry_after(), ..error }
    }
}

/// Outcome and cause of a refusal: by the provider's own codes, then by the status, then by its words. Without any
/// of these it is about the request. A reply whose status leaves an effect possible is unknown, whatever it says.
fn meaning(response: &Response, refusal: &Refusal) -> (Outcome, Cause) {
    let is_quota = || refusal.is_quota.unwrap_or_else(|| names_quota(&refusal.text));
    let cause = match response.outcome().unwrap_or(Outcome::Unknown) {
        Outcome::Throttled if is_quota() => return (Outcome::Rejected, Cause::Quota),
        Outcome::Rejected => refusal.cause.or(match response.status.as_u16() {
            401 | 403 => Some(Cause::Credentials),
            402 => Some(Cause::Quota),
            404 => Some(Cause::NotFound),
            // The method or the form of the call is not taken, whatever the call holds.
            405 | 406 | 415 | 421 | 426 => Some(Cause::Configuration),
            _ => of_the_call(&refusal.text),
        }),
        outcome => return (outcome, Cause::Request),
    };
    (Outcome::Rejected, cause.unwrap_or(Cause::Request))
}

/// The error of a question that comes before the call itself: nothing of the call was sent.
pub fn without_effect(error: ProviderError) -> ProviderError {
    match error.outcome {
        Outcome::Unknown => ProviderError { outcome: Outcome::NotSent, ..error },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::canned::response;

    fn refused(status: u16, headers: &[(&'static str, &str)], refusal: Refusal) -> ProviderError {
        let operation = Operation::new("creating an invite", "acme").about(["Ada@example.org"]);
        operation.refused(&response(status, headers, ""), refusal)
    }

    fn text(text: &str) -> Refusal {
        Refusal { text: text.to_owned(), ..Refusal::default() }
    }

    #[test]
    fn each_status_has_the_outcome_and_cause_that_delivery_gives_it() {
        use Cause::{Configuration, Credentials, NotFound, Quota, Request};
        use Outcome::{Rejected, Throttled, Unknown};
        for (status, outcome, cause) in [
            (302, Unknown, Request),
            (400, Rejected, Request),
            (401, Rejected, Credentials),
            (402, Rejected, Quota),
            (403, Rejected, Credentials),
            (404, Rejected, NotFound),
            (405, Rejected, Configuration),
            (408, Unknown, Request),
            (409, Unknown, Request),
            (410, Rejected, Request),
            (415, Rejected, Configuration),
            (422, Rejected, Request),
            (425, Unknown, Request),
            (426, Rejected, Configuration),
            (429, Throttled, Request),
            (499, Unknown, Request),
            (500, Unknown, Request),
            (501, Unknown, Request),
            (503, Unknown, Request),
        ] {
            let error = refused(status, &[], Refusal::default());
            assert_eq!((error.outcome, error.cause), (outcome, cause), "{status}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn what_the_provider_says_decides_over_the_status_but_not_over_an_effect() {
        let cause = |status, cause| {
            let said = Refusal { cause: Some(cause), ..text("the tenancy is suspended") };
            let error = refused(status, &[], said);
            (error.outcome, error.cause)
        };
        let (rejected, unknown) = (Outcome::Rejected, Outcome::Unknown);
        assert_eq!(cause(403, Cause::NotAuthorized), (rejected, Cause::NotAuthorized));
        assert_eq!(cause(400, Cause::Request), (rejected, Cause::Request));
        assert_eq!(cause(500, Cause::Configuration), (unknown, Cause::Request));
        let by_words = |status, words| refused(status, &[], text(words)).cause;
        assert_eq!(by_words(400, "the tenancy is suspended"), Cause::Configuration);
        assert_eq!(by_words(404, "the tenancy is suspended"), Cause::NotFound);
        assert_eq!(by_words(500, "the tenancy is suspended"), Cause::Request);
        assert_eq!(by_words(429, "Monthly quota exceeded"), Cause::Quota);
        let no_quota = Refusal { is_quota: Some(false), ..text("Monthly quota exceeded") };
        assert_eq!(refused(429, &[], no_quota).outcome, Outcome::Throttled);
    }

    #[test]
    fn a_refusal_says_what_was_done_where_and_why_but_not_to_whom() {
        let said = |hint, code: &str| {
            let code = Some(code.to_owned());
            Refusal { hint, code, ..text("ADA@example.org\nis bad") }
        };
        let error = refused(400, &[], said(None, "bad_mail"));
        assert_eq!(error.message, "creating an invite at acme: HTTP 400: … is bad");
        assert_eq!(error.code.as_deref(), Some("bad_mail"));
        let error = refused(403, &[], said(Some("check the key"), "Ada@example.org"));
        let expected = "creating an invite at acme: HTTP 403, check the key: … is bad";
        assert_eq!((error.message.as_str(), error.code), (expected, None));
    }

    #[test]
    fn how_long_to_wait_is_read_from_whichever_header_says_when() {
        let wait = |headers: &[_]| refused(429, headers, Refusal::default()).retry_after;
        let both = [("retry-after", "7"), ("ratelimit-reset", "30")];
        assert_eq!(wait(&both), Some(Duration::from_secs(7)));
        assert_eq!(wait(&both[1..]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&[("ratelimit-limit", "60"), ("ratelimit-remaining", "0")]), None);
        assert_eq!(wait(&[]), None);
    }
}
