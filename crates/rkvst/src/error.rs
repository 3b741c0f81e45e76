//! RKVST's error replies and what they mean for the engine.
//!
//! The bodies of errors are not documented any more; three shapes are attested (gRPC status,
//! `error` with or without `description`, OAuth), and everything else is taken as text.

use invite_core::{
    Cause, Invitee, Outcome, ProviderError,
    http::{Response, scrub_of},
    refusal,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// What is being done, where and about whom: the frame of every message.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// Such as "creating an invite".
    pub doing: &'static str,
    /// The provider's configured name.
    pub provider: &'a str,
    /// Whose data no message may show.
    pub people: &'a [&'a Invitee],
}

impl Task<'_> {
    /// An error of our own making.
    pub fn failed(&self, outcome: Outcome, why: &str) -> ProviderError {
        ProviderError::new(outcome, format!("{} at {}: {why}", self.doing, self.provider))
    }

    /// An error of the HTTP client, told with what was being done.
    pub fn interrupted(&self, error: ProviderError) -> ProviderError {
        let message = format!("{} at {}: {}", self.doing, self.provider, error.message);
        ProviderError { message, ..error }
    }

    /// A success whose body cannot be understood: it may have taken effect.
    pub fn unreadable(&self, response: &Response, why: &str) -> ProviderError {
        let status = response.status.as_u16();
        self.failed(Outcome::Unknown, &format!("HTTP {status}, but {why}"))
            .with_status(status)
            .caused_by(Cause::Transport)
    }

    /// A list whose page tokens lead back, or nowhere.
    pub fn endless(&self) -> ProviderError {
        let why = "its page tokens repeat, so the list has no end";
        self.failed(Outcome::Unknown, why).caused_by(Cause::Transport)
    }

    /// A reply that is no success.
    pub fn refused(&self, response: &Response, now: Timestamp) -> ProviderError {
        let body = ErrorBody::read(&response.body);
        let status = response.status.as_u16();
        let (outcome, cause, hint) = match status {
            401 => (Outcome::Rejected, Cause::Credentials, "the credential was refused"),
            403 => (
                Outcome::Rejected,
                Cause::Credentials,
                "the user or app registration needs the Owner role",
            ),
            402 => (Outcome::Rejected, Cause::Quota, "a quota of the tenancy is used up"),
            429 if body.names_quota() => {
                (Outcome::Rejected, Cause::Quota, "a quota of the tenancy is used up")
            }
            404 => (Outcome::Rejected, Cause::NotFound, "it is not known there"),
            _ => {
                let outcome = response.outcome().unwrap_or(Outcome::Unknown);
                let refused = outcome == Outcome::Rejected;
                let cause = body.text.as_deref().filter(|_| refused).and_then(refusal::of_the_call);
                (outcome, cause.unwrap_or(Cause::Request), "")
            }
        };
        self.told(response, now, body, outcome, hint).caused_by(cause)
    }

    /// A reply that is no success, of a request to the list of all invites, which is always there: a
    /// place that is not known is no invite, but the service's path.
    pub fn list_refused(&self, response: &Response, now: Timestamp) -> ProviderError {
        let status = response.status.as_u16();
        if !matches!(status, 404 | 405) {
            return self.refused(response, now);
        }
        let hint = "there is no such call here: check `base_url` and `path`";
        self.told(response, now, ErrorBody::read(&response.body), Outcome::Rejected, hint)
            .caused_by(Cause::Configuration)
    }

    /// A reply of the token endpoint that is no success. The call that needed the token was not
    /// made, so the most that this can be is a refused credential.
    pub fn token_refused(&self, response: &Response, now: Timestamp) -> ProviderError {
        let body = ErrorBody::read(&response.body);
        let oauth_refusal = matches!(
            body.code.as_deref(),
            Some("invalid_client" | "invalid_grant" | "unauthorized_client")
        );
        let (outcome, cause) = match response.status.as_u16() {
            401 | 403 => (Outcome::Rejected, Cause::Credentials),
            400 if oauth_refusal => (Outcome::Rejected, Cause::Credentials),
            429 => (Outcome::Throttled, Cause::Request),
            // The endpoint, or what is asked of it: another token request would be refused, too.
            400 | 404 | 405 => (Outcome::NotSent, Cause::Configuration),
            _ => (Outcome::NotSent, Cause::Request),
        };
        self.told(response, now, body, outcome, "no token was issued").caused_by(cause)
    }

    fn told(
        &self,
        response: &Response,
        now: Timestamp,
        body: ErrorBody,
        outcome: Outcome,
        hint: &str,
    ) -> ProviderError {
        let conceal = |text: &str| {
            scrub_of(text, self.people.iter().flat_map(|person| person.personal_data()))
        };
        let code = body.code.as_deref().map(conceal);
        let status = response.status.as_u16();
        let mut why = format!("HTTP {status}");
        if !hint.is_empty() {
            why.push_str(&format!(", {hint}"));
        }
        if let Some(text) = body.text.as_deref().map(conceal) {
            why.push_str(&format!(" ({text})"));
        }
        let retry_after = response.told_to_wait(now);
        let error = self.failed(outcome, &why).with_status(status).with_code(code.as_deref());
        ProviderError { retry_after, ..error }
    }
}

/// A failure to read before a change: of the change itself nothing was sent.
pub fn without_effect(error: ProviderError) -> ProviderError {
    match error.outcome {
        Outcome::Unknown => ProviderError { outcome: Outcome::NotSent, ..error },
        _ => error,
    }
}

/// What an error's body says, in whichever shape.
struct ErrorBody {
    code: Option<String>,
    text: Option<String>,
}

impl ErrorBody {
    fn read(body: &[u8]) -> Self {
        if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
            return Self::of(&members);
        }
        let text = String::from_utf8_lossy(body).trim().to_owned();
        // A page meant for a browser says nothing that the status does not.
        let text = (!text.is_empty() && !text.starts_with('<')).then_some(text);
        Self { code: None, text }
    }

    fn of(members: &Map<String, Value>) -> Self {
        let text = |key: &str| members.get(key)?.as_str().filter(|t| !t.is_empty());
        let said = text("message").or(text("description")).or(text("error_description"));
        let code = match members.get("code") {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(word)) => Some(word.clone()),
            // `error` is a code where something else explains it, or where it is a single word.
            _ => text("error")
                .filter(|error| said.is_some() || !error.contains(char::is_whitespace))
                .map(str::to_owned),
        };
        Self { code, text: said.or(text("error")).map(str::to_owned) }
    }

    /// A used-up allowance, which waiting does not refill, as against too many requests.
    fn names_quota(&self) -> bool {
        [&self.code, &self.text].into_iter().flatten().any(|text| {
            let text = text.to_lowercase();
            text.contains("quota") || text.contains("resource limit")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};

    use super::*;

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Response { status, headers: map, body: body.to_owned().into() }
    }

    fn refused(status: u16, body: &str) -> ProviderError {
        let ada = Invitee { email: "ada@example.org".into(), ..Invitee::default() };
        let task = Task { doing: "creating an invite", provider: "acme", people: &[&ada] };
        task.refused(&reply(status, &[], body), Timestamp::UNIX_EPOCH)
    }

    fn token_refused(status: u16, body: &str) -> (Outcome, Cause, Option<String>) {
        let task = Task { doing: "creating an invite", provider: "acme", people: &[] };
        let error = task.token_refused(&reply(status, &[], body), Timestamp::UNIX_EPOCH);
        (error.outcome, error.cause, error.code)
    }

    #[test]
    fn each_status_has_the_outcome_that_delivery_gives_it() {
        use Cause::{Credentials, NotFound, Quota, Request};
        use Outcome::{Rejected, Throttled, Unknown};
        for (status, outcome, cause) in [
            (302, Unknown, Request),
            (400, Rejected, Request),
            (401, Rejected, Credentials),
            (402, Rejected, Quota),
            (403, Rejected, Credentials),
            (404, Rejected, NotFound),
            (408, Unknown, Request),
            (409, Unknown, Request),
            (425, Unknown, Request),
            (429, Throttled, Request),
            (499, Unknown, Request),
            (500, Unknown, Request),
            (501, Unknown, Request),
            (503, Unknown, Request),
        ] {
            let error = refused(status, "");
            assert_eq!((error.outcome, error.cause), (outcome, cause), "{status}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn all_attested_shapes_of_error_are_read() {
        let shape = |body| {
            let error = refused(400, body);
            (error.code, error.message)
        };
        let frame = "creating an invite at acme: HTTP 400";
        assert_eq!(
            shape(r#"{"code":3,"message":"bad email","details":[{"@type":"x"}]}"#),
            (Some("3".into()), format!("{frame} (bad email)"))
        );
        assert_eq!(
            shape(r#"{"error":"Entity QuotaReached","description":"Current quota is 10"}"#),
            (Some("Entity QuotaReached".into()), format!("{frame} (Current quota is 10)"))
        );
        assert_eq!(shape(r#"{"error":"some text"}"#), (None, format!("{frame} (some text)")));
        assert_eq!(
            shape(r#"{"error":"invalid_client","error_description":"who are you"}"#),
            (Some("invalid_client".into()), format!("{frame} (who are you)"))
        );
        assert_eq!(shape("plain\ntext"), (None, format!("{frame} (plain text)")));
        assert_eq!(shape("<html>bad</html>"), (None, frame.into()));
        assert_eq!(shape(""), (None, frame.into()));
        assert_eq!(shape("[1]"), (None, format!("{frame} ([1])")));
    }

    #[test]
    fn a_429_is_a_quota_only_if_it_says_so() {
        let quota = refused(429, r#"{"error":"Entity QuotaReached","description":"is 10"}"#);
        assert_eq!((quota.outcome, quota.cause), (Outcome::Rejected, Cause::Quota));
        let rate = refused(429, r#"{"code":8,"message":"rate limit exceeded"}"#);
        assert_eq!((rate.outcome, rate.cause), (Outcome::Throttled, Cause::Request));
    }

    #[test]
    fn the_services_own_reset_header_comes_before_retry_after() {
        let wait = |headers: &[(&'static str, &str)]| {
            let task = Task { doing: "listing invites", provider: "acme", people: &[] };
            task.refused(&reply(429, headers, ""), Timestamp::UNIX_EPOCH).retry_after
        };
        let reset = ("archivist-rate-limit-reset", "1.5");
        assert_eq!(wait(&[reset, ("retry-after", "9")]), Some(Duration::from_millis(1500)));
        assert_eq!(wait(&[("retry-after", "9")]), Some(Duration::from_secs(9)));
        let nonsense = ("archivist-rate-limit-reset", "-1");
        assert_eq!(wait(&[nonsense, ("retry-after", "9")]), Some(Duration::from_secs(9)));
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_refusal_of_the_call_is_told_from_one_of_the_invite() {
        for (status, text, cause) in [
            (400, "token is expired", Cause::Credentials),
            (400, "tenancy is suspended", Cause::Configuration),
            (400, "unsupported API version", Cause::Configuration),
            (426, "upgrade required", Cause::Configuration),
            (400, "request timestamp is too far in the future", Cause::Configuration),
            (400, "email: is required", Cause::Request),
            (400, "message: longer than 256 characters", Cause::Request),
            (400, "proto: syntax error: unexpected token", Cause::Request),
            (400, "user is already a member of this tenancy", Cause::Request),
        ] {
            for body in [text.to_owned(), serde_json::json!({ "error": text }).to_string()] {
                let error = refused(status, &body);
                assert_eq!((error.outcome, error.cause), (Outcome::Rejected, cause), "{body}");
            }
        }
        // What may have had an effect is not known to be a refusal, whatever it says.
        assert_eq!(refused(500, "tenancy is suspended").cause, Cause::Request);
    }

    #[test]
    fn a_path_that_is_not_known_is_the_configurations() {
        let task = Task { doing: "creating an invite", provider: "acme", people: &[] };
        for (status, cause) in [
            (404, Cause::Configuration),
            (405, Cause::Configuration),
            (400, Cause::Request),
            (401, Cause::Credentials),
        ] {
            let error = task.list_refused(&reply(status, &[], ""), Timestamp::UNIX_EPOCH);
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, cause), "{status}");
        }
    }

    #[test]
    fn no_message_and_no_code_shows_the_person() {
        let error =
            refused(400, r#"{"code":"Ada@example.org","message":"ADA@EXAMPLE.ORG is bad"}"#);
        assert!(!format!("{error} {:?}", error.code).to_lowercase().contains("ada@"), "{error}");
    }

    #[test]
    fn a_failed_token_call_never_blames_the_invite() {
        use Outcome::{NotSent, Rejected, Throttled};
        let oauth = r#"{"error":"invalid_client"}"#;
        let refusal = |code: Option<&str>| (Rejected, Cause::Credentials, code.map(str::to_owned));
        assert_eq!(token_refused(400, oauth), refusal(Some("invalid_client")));
        assert_eq!(token_refused(401, ""), refusal(None));
        assert_eq!(token_refused(403, ""), refusal(None));
        assert_eq!(token_refused(429, "").0, Throttled);
        // A quota that a token is refused for is no word on the invite that needed it.
        let quota = r#"{"error":"Entity QuotaReached","description":"is 10"}"#;
        assert_eq!(token_refused(429, quota).0, Throttled);
        assert_eq!(token_refused(402, quota).0, NotSent);
        for status in [302, 402, 409, 500, 503] {
            assert_eq!(token_refused(status, "").0, NotSent, "{status}");
        }
        for (status, body) in [(400, r#"{"error":"unsupported_grant_type"}"#), (404, ""), (405, "")]
        {
            let (outcome, cause, _) = token_refused(status, body);
            assert_eq!((outcome, cause), (NotSent, Cause::Configuration), "{status}");
        }
    }
}
