//! What RKVST's refusals mean to the engine. Their bodies are not documented any more: three shapes are known from
//! examples (gRPC status, `error` with or without `description`, OAuth), and anything else is taken as text.

use invite_core::{
    Cause, Outcome, ProviderError,
    adapter::{Operation, Refusal},
    http::Response,
    refusal::names_quota,
};
use serde_json::{Map, Value};

/// The error that a reply means which is no success.
pub fn refused(operation: &Operation, response: &Response) -> ProviderError {
    let is_of_role = response.status.as_u16() == 403;
    let hint = is_of_role.then_some("the user or app registration needs the Owner role");
    operation.refused(response, read_refusal(operation, response, hint))
}

/// The same for a request to the list of all invites. The list is always there, so what is not known is the path.
pub fn list_refused(operation: &Operation, response: &Response) -> ProviderError {
    if !matches!(response.status.as_u16(), 404 | 405) {
        return refused(operation, response);
    }
    let hint = "there is no such call here: check `base_url` and `path`";
    let refusal = read_refusal(operation, response, Some(hint));
    operation.refused_as(response, Outcome::Rejected, Cause::Configuration, refusal)
}

/// The error that a reply of the token endpoint means which is no success. The request that needs the token was not
/// made, so no invite is at fault.
pub fn token_refused(operation: &Operation, response: &Response) -> ProviderError {
    let refusal = read_refusal(operation, response, Some("no token was issued"));
    let oauth_refusal = matches!(
        refusal.code.as_deref(),
        Some("invalid_client" | "invalid_grant" | "unauthorized_client")
    );
    let (outcome, cause) = match response.status.as_u16() {
        401 | 403 => (Outcome::Rejected, Cause::Credentials),
        400 if oauth_refusal => (Outcome::Rejected, Cause::Credentials),
        429 => (Outcome::Throttled, Cause::Request),
        // The endpoint or the form of the request is wrong, so that any other would be refused, too.
        400 | 404 | 405 => (Outcome::NotSent, Cause::Configuration),
        _ => (Outcome::NotSent, Cause::Request),
    };
    operation.refused_as(response, outcome, cause, refusal)
}

/// The error for a list whose page tokens run in a circle.
pub fn endless(operation: &Operation) -> ProviderError {
    operation.outcome_unknown("its page tokens repeat, so the list has no end")
}

fn read_refusal(operation: &Operation, response: &Response, hint: Option<&'static str>) -> Refusal {
    let ErrorBody { code, text } = ErrorBody::read(&response.body);
    let is_quota = [&code, &text].into_iter().flatten().any(|text| names_quota(text));
    Refusal {
        text: text.unwrap_or_default(),
        code: code.map(|code| operation.scrub(&code)),
        hint,
        is_quota: Some(is_quota),
        ..Refusal::default()
    }
}

/// The body of an error, in any of its shapes.
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
        // A page for browsers says nothing that the status does not.
        let text = (!text.is_empty() && !text.starts_with('<')).then_some(text);
        Self { code: None, text }
    }

    fn of(members: &Map<String, Value>) -> Self {
        let text = |key: &str| members.get(key)?.as_str().filter(|t| !t.is_empty());
        let said = text("message").or(text("description")).or(text("error_description"));
        let code = match members.get("code") {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(word)) => Some(word.clone()),
            // `error` is a code if something else explains it, or if it is a single word.
            _ => text("error")
                .filter(|error| said.is_some() || !error.contains(char::is_whitespace))
                .map(str::to_owned),
        };
        Self { code, text: said.or(text("error")).map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{Invitee, canned::response};

    use super::*;

    fn refused(status: u16, body: &str) -> ProviderError {
        let ada = Invitee { email: "ada@example.org".into(), ..Invitee::default() };
        let creating = Operation::new("creating an invite", "acme").about(ada.personal_data());
        super::refused(&creating, &response(status, &[], body))
    }

    fn token_refused(status: u16, body: &str) -> (Outcome, Cause, Option<String>) {
        let creating = Operation::new("creating an invite", "acme");
        let error = super::token_refused(&creating, &response(status, &[], body));
        (error.outcome, error.cause, error.code)
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
            (Some("3".into()), format!("{frame}: bad email"))
        );
        assert_eq!(
            shape(r#"{"error":"Entity QuotaReached","description":"Current quota is 10"}"#),
            (Some("Entity QuotaReached".into()), format!("{frame}: Current quota is 10"))
        );
        assert_eq!(shape(r#"{"error":"some text"}"#), (None, format!("{frame}: some text")));
        assert_eq!(
            shape(r#"{"error":"invalid_client","error_description":"who are you"}"#),
            (Some("invalid_client".into()), format!("{frame}: who are you"))
        );
        assert_eq!(shape("plain\ntext"), (None, format!("{frame}: plain text")));
        assert_eq!(shape("<html>bad</html>"), (None, frame.into()));
        assert_eq!(shape(""), (None, frame.into()));
        assert_eq!(shape("[1]"), (None, format!("{frame}: [1]")));
    }

    #[test]
    fn a_429_is_a_quota_only_if_it_says_so() {
        let quota = refused(429, r#"{"error":"Entity QuotaReached","description":"is 10"}"#);
        assert_eq!((quota.outcome, quota.cause), (Outcome::Rejected, Cause::Quota));
        let rate = refused(429, r#"{"code":8,"message":"rate limit exceeded"}"#);
        assert_eq!((rate.outcome, rate.cause), (Outcome::Throttled, Cause::Request));
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
        let creating = Operation::new("creating an invite", "acme");
        for (status, cause) in [
            (404, Cause::Configuration),
            (405, Cause::Configuration),
            (400, Cause::Request),
            (401, Cause::Credentials),
        ] {
            let error = list_refused(&creating, &response(status, &[], ""));
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, cause), "{status}");
        }
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
