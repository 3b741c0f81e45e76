//! What is being done, where and for whom: what every error of it says, and what none may show. Also
//! what a refusal means whichever provider it is from; providers' own codes and shapes are theirs.

use serde::de::DeserializeOwned;

use crate::{
    Cause, Fault, ItemFault, ListQuery, Outcome, ProviderError, Recipient, Remote,
    http::{Response, scrub_of},
    refusal,
};

/// Something that is being done at a provider.
#[derive(Clone)]
pub struct Operation {
    doing: String,
    provider: String,
    personal: Vec<String>,
    items: usize,
}

/// What the body of a refusal says, as far as an adapter can read it.
#[derive(Default)]
pub struct Said {
    /// Its words; personal data may still be in them.
    pub text: String,
    /// The provider's own code.
    pub code: Option<String>,
    /// What lies behind it by the provider's own codes or fields, which know better than the status.
    pub cause: Option<Cause>,
    /// What to say of it beside the status, if there is something better than the usual words.
    pub hint: Option<&'static str>,
    /// A quota is used up, by the provider's own code: true or false decides over the words.
    pub is_quota: Option<bool>,
}

impl Operation {
    /// Such as "creating invites", at the provider of this name. About no person.
    pub fn new(doing: impl Into<String>, provider: &str) -> Self {
        let (doing, provider) = (doing.into(), provider.to_owned());
        Self { doing, provider, personal: Vec::new(), items: 0 }
    }

    /// The same, about persons of whom no error may show these pieces.
    pub fn about<'a>(mut self, personal: impl IntoIterator<Item = &'a str>) -> Self {
        self.personal.extend(personal.into_iter().map(str::to_owned));
        self
    }

    /// The same, about the recipients of a call, whom errors may name by their place.
    pub fn for_recipients(self, recipients: &[Recipient]) -> Self {
        let personal = recipients.iter().flat_map(|recipient| recipient.invitee.personal_data());
        let items = self.items + recipients.len();
        self.about(personal).of_call(items)
    }

    /// The same, about a call of so many invites, any of which errors may name by its place.
    pub fn of_call(self, items: usize) -> Self {
        Self { items, ..self }
    }

    /// How many invites errors may name.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The provider's configured name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// A text of the provider's without what must not be shown.
    pub fn scrub(&self, text: &str) -> String {
        scrub_of(text, self.personal.iter().map(String::as_str))
    }

    /// A failure of our own finding.
    pub fn failed(&self, outcome: Outcome, why: &str) -> ProviderError {
        ProviderError::new(outcome, format!("{} at {}: {why}", self.doing, self.provider))
    }

    /// A failure of the HTTP client, told with what was being done.
    pub fn explain(&self, error: ProviderError) -> ProviderError {
        let message = self.failed(error.outcome, &error.message).message;
        ProviderError { message, ..error }
    }

    /// What is asked about is not here, or there is nothing to find it by; nothing was sent.
    pub fn not_found(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Rejected, why).caused_by(Cause::NotFound)
    }

    /// The id that an invite is to be withdrawn by is not proven to be its own.
    pub fn unproven(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Rejected, why).caused_by(Cause::PairingUnproven)
    }

    /// What came back does not tell what became of it.
    pub fn untold(&self, why: &str) -> ProviderError {
        self.failed(Outcome::Unknown, why).caused_by(Cause::Transport)
    }

    /// A success that does not say what it should: it may have taken effect.
    pub fn unreadable(&self, response: &Response, why: &str) -> ProviderError {
        let status = response.status.as_u16();
        self.untold(&format!("HTTP {status}, but {why}")).with_status(status)
    }

    /// What a success says.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn read<T: DeserializeOwned>(&self, response: &Response) -> Result<T, ProviderError> {
        serde_json::from_slice(&response.body).map_err(|error| {
            // Not the error's own text, which may quote the body.
            let why = match error.classify() {
                serde_json::error::Category::Data => "the reply is not of the documented form",
                _ => "the reply is not JSON",
            };
            self.unreadable(response, why)
        })
    }

    /// What was recorded when the invite of this place was bound to its provider.
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

    /// What was recorded of the invite of this place does not make one.
    pub fn unusable(&self, index: usize) -> ProviderError {
        let why = "what was recorded of an invite does not make one; create it anew";
        let items = vec![ItemFault { index, fault: Fault::new("", "invalid", why) }];
        ProviderError { items, ..self.failed(Outcome::Rejected, why) }
    }

    /// The id that an invite has at the provider.
    ///
    /// # Errors
    /// It has none yet.
    pub fn id_of<'a>(&self, remote: &'a Remote) -> Result<&'a str, ProviderError> {
        let id = remote.provider_ref.as_deref();
        id.ok_or_else(|| self.not_found("its id there is not known"))
    }

    /// Makes sure that a list which has one page is asked for that.
    ///
    /// # Errors
    /// It is asked for another.
    pub fn only_page(&self, query: &ListQuery) -> Result<(), ProviderError> {
        let why = "there is no such page: all invites are one page";
        query.cursor.is_none().then_some(()).ok_or_else(|| self.failed(Outcome::Rejected, why))
    }

    /// The fault of the invite at this place; none if the call has no such place.
    pub fn item(&self, index: usize, fault: Fault) -> Option<ItemFault> {
        (index < self.items).then_some(ItemFault { index, fault })
    }

    /// The meaning of a reply that is no success.
    pub fn refused(&self, response: &Response, said: Said) -> ProviderError {
        let (outcome, cause) = meaning(response, &said);
        self.told(response, outcome, cause, said)
    }

    /// The same where outcome and cause are known.
    pub fn told(
        &self,
        response: &Response,
        outcome: Outcome,
        cause: Cause,
        said: Said,
    ) -> ProviderError {
        let status = response.status.as_u16();
        let hint = said.hint.unwrap_or(match cause {
            Cause::Credentials => "the credential was refused",
            Cause::Configuration => "the call as such was refused",
            Cause::Quota => "a quota is used up",
            Cause::NotFound => "there is no such thing",
            _ => "",
        });
        let mut why = format!("HTTP {status}");
        for (sign, words) in [(", ", hint), (": ", &self.scrub(&said.text))] {
            if !words.is_empty() {
                why.push_str(&format!("{sign}{words}"));
            }
        }
        let error = self.failed(outcome, &why).caused_by(cause).with_status(status);
        let error = error.with_code(said.code.as_deref());
        ProviderError { retry_after: response.told_to_wait(), ..error }
    }
}

/// Outcome and cause of a refusal: by the provider's own codes, then by the status, then by its words. By
/// default it is about what was asked for. What may have had an effect is no refusal, whatever it says.
fn meaning(response: &Response, said: &Said) -> (Outcome, Cause) {
    let is_quota = || said.is_quota.unwrap_or_else(|| refusal::names_quota(&said.text));
    let cause = match response.outcome().unwrap_or(Outcome::Unknown) {
        Outcome::Throttled if is_quota() => return (Outcome::Rejected, Cause::Quota),
        Outcome::Rejected => said.cause.or(match response.status.as_u16() {
            401 | 403 => Some(Cause::Credentials),
            402 => Some(Cause::Quota),
            404 => Some(Cause::NotFound),
            // Whatever the call holds, its method or its form is not taken.
            405 | 406 | 415 | 421 | 426 => Some(Cause::Configuration),
            _ => refusal::of_the_call(&said.text),
        }),
        outcome => return (outcome, Cause::Request),
    };
    (Outcome::Rejected, cause.unwrap_or(Cause::Request))
}

/// A failure of a question that came before the call itself, of which therefore nothing was sent.
pub fn without_effect(error: ProviderError) -> ProviderError {
    match error.outcome {
        Outcome::Unknown => ProviderError { outcome: Outcome::NotSent, ..error },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, StatusCode};
    use jiff::Timestamp;

    use super::*;

    fn refused(status: u16, headers: &[(&'static str, &str)], said: Said) -> ProviderError {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let (status, body) = (StatusCode::from_u16(status).unwrap(), "".into());
        let response = Response { status, headers, body, received: Timestamp::UNIX_EPOCH };
        let operation = Operation::new("creating an invite", "acme").about(["Ada@example.org"]);
        operation.refused(&response, said)
    }

    fn text(text: &str) -> Said {
        Said { text: text.to_owned(), ..Said::default() }
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
            let error = refused(status, &[], Said::default());
            assert_eq!((error.outcome, error.cause), (outcome, cause), "{status}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn what_the_provider_says_decides_over_the_status_but_not_over_an_effect() {
        let cause = |status, cause| {
            let said = Said { cause: Some(cause), ..text("the tenancy is suspended") };
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
        let no_quota = Said { is_quota: Some(false), ..text("Monthly quota exceeded") };
        assert_eq!(refused(429, &[], no_quota).outcome, Outcome::Throttled);
    }

    #[test]
    fn a_refusal_says_what_was_done_where_and_why_but_not_to_whom() {
        let said = |hint, code: &str| {
            let code = Some(code.to_owned());
            Said { hint, code, ..text("ADA@example.org\nis bad") }
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
        let wait = |headers: &[_]| refused(429, headers, Said::default()).retry_after;
        let both = [("retry-after", "7"), ("ratelimit-reset", "30")];
        assert_eq!(wait(&both), Some(Duration::from_secs(7)));
        assert_eq!(wait(&both[1..]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&[("ratelimit-limit", "60"), ("ratelimit-remaining", "0")]), None);
        assert_eq!(wait(&[]), None);
    }
}
