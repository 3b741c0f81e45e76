//! What Securegate's refusals mean to the engine: outcome, cause, code, wait, and the invites that
//! they name. No HTTP, no JSON.
//!
//! Only 200 and 422 are documented; the rest follows the table in docs/delivery.md.

use invite_core::{
    Cause, Fault, ItemFault, Outcome, ProviderError, Recipient,
    http::{Response, scrub_of},
    refusal,
};
use jiff::Timestamp;

use crate::wire::{ErrorBody, Step, ValidationError};

/// What is being done, where and for whom: what an error has to say, and what it must not.
#[derive(Debug)]
pub struct Operation<'a> {
    /// Such as "creating invites at event event-456".
    pub doing: String,
    /// The provider's configured name.
    pub provider: &'a str,
    /// What is known of the people concerned, which no message may show.
    pub personal_data: Vec<&'a str>,
}

impl Operation<'_> {
    /// A failure of this operation.
    pub fn failed(&self, outcome: Outcome, why: &str) -> ProviderError {
        ProviderError::new(outcome, format!("{} at {}: {why}", self.doing, self.provider))
    }

    /// The same failure, saying what was being done.
    pub fn explain(&self, error: ProviderError) -> ProviderError {
        let message = format!("{} at {}: {}", self.doing, self.provider, error.message);
        ProviderError { message, ..error }
    }

    /// A 2xx whose body does not say what it should: its effect is not known.
    pub fn unreadable(&self, response: &Response, why: &str) -> ProviderError {
        let why = format!("HTTP {}, but the reply cannot be read: {why}", response.status.as_u16());
        self.failed(Outcome::Unknown, &why)
            .caused_by(Cause::Transport)
            .with_status(response.status.as_u16())
    }

    /// The meaning of a reply that is no 2xx.
    pub fn refused(&self, response: &Response, now: Timestamp) -> ProviderError {
        let status = response.status.as_u16();
        let body = ErrorBody::read(&response.body);
        let text = self.scrub(&body.text());
        let (outcome, cause) = match status {
            401 | 403 => (Outcome::Rejected, Cause::Credentials),
            402 => (Outcome::Rejected, Cause::Quota),
            404 => (Outcome::Rejected, Cause::NotFound),
            // Whatever the call holds, its method or its form is not taken.
            405 | 406 | 415 | 421 | 426 => (Outcome::Rejected, Cause::Configuration),
            429 if names_quota(&text) => (Outcome::Rejected, Cause::Quota),
            _ => {
                let outcome = response.outcome().unwrap_or(Outcome::Unknown);
                let refused = outcome == Outcome::Rejected;
                (outcome, body.of_the_call().filter(|_| refused).unwrap_or(Cause::Request))
            }
        };
        let mut why = match cause {
            Cause::Credentials => format!("the API key was refused, check api_key (HTTP {status})"),
            Cause::NotFound => format!("there is no such thing (HTTP {status})"),
            Cause::Quota => format!("a quota is used up (HTTP {status})"),
            Cause::Configuration => format!("the call as such was refused (HTTP {status})"),
            _ => format!("HTTP {status}"),
        };
        if !text.is_empty() {
            why.push_str(": ");
            why.push_str(&text);
        }
        let code = body.validation().and_then(|errors| errors.iter().find_map(code));
        ProviderError {
            code,
            retry_after: response.told_to_wait(now),
            ..self.failed(outcome, &why).caused_by(cause).with_status(status)
        }
    }

    /// The meaning of a create call's reply that is no 2xx: also which invites it names, and whether
    /// others of the call may have taken effect.
    pub fn create_refused(
        &self,
        response: &Response,
        recipients: &[Recipient],
        now: Timestamp,
    ) -> ProviderError {
        let mut error = self.refused(response, now);
        let body = ErrorBody::read(&response.body);
        // Only validation and what stands before the API's own code refuse a call as a whole; and what
        // is said of the key, the version or the event was found before any invite was looked at.
        let refused_whole = match response.status.as_u16() {
            401 | 403..=406 | 410 | 411 | 413..=415 | 417 | 421 | 426 | 428 | 429 | 431 => true,
            422 if body.validation().is_some() => true,
            _ => matches!(error.cause, Cause::Credentials | Cause::Configuration),
        };
        if error.outcome == Outcome::Rejected && !refused_whole && recipients.len() > 1 {
            error.outcome = Outcome::Unknown;
            error.message.push_str("; some of the invites may have been created");
        }
        if let (422, Some(errors)) = (response.status.as_u16(), body.validation()) {
            let faults = errors.iter().flat_map(|e| self.item_faults(e, recipients.len()));
            error.items = faults.collect();
        }
        error
    }

    /// The invites that a validation error names: one by its place, or all of them where the fault
    /// is in what they share.
    fn item_faults(&self, error: &ValidationError, count: usize) -> Vec<ItemFault> {
        let fault = |pointer: &str| {
            let code = if error.kind == "missing" { "required" } else { "invalid" };
            let member = match error.loc.last() {
                Some(Step::Name(name)) => name.as_str(),
                _ => "it",
            };
            let why = self.scrub(&format!("{member}: {}", error.msg));
            Fault::new(pointer, code, format!("{} refuses {why}", self.provider))
        };
        match (error.index(), error.loc.as_slice()) {
            (Some(index), loc) if index < count => {
                let member = match loc.get(3) {
                    Some(Step::Name(name)) => name.as_str(),
                    _ => "",
                };
                vec![ItemFault { index, fault: fault(invite_pointer(member)) }]
            }
            (None, [Step::Name(part), Step::Name(name), ..]) => match shared_pointer(part, name) {
                Some(pointer) => {
                    (0..count).map(|index| ItemFault { index, fault: fault(pointer) }).collect()
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn scrub(&self, text: &str) -> String {
        scrub_of(text, self.personal_data.iter().copied())
    }
}

/// Where a member of a create call's invite comes from, in the gateway's names.
fn invite_pointer(member: &str) -> &'static str {
    match member {
        "email" => "/email",
        "first_name" => "/first_name",
        "last_name" => "/last_name",
        "country_code" | "mobile_number" => "/phone",
        "authentication_method" => "/options/securegate/authentication_method",
        _ => "",
    }
}

/// Where a parameter of a whole create call comes from, in the gateway's names.
fn shared_pointer(part: &str, name: &str) -> Option<&'static str> {
    match (part, name) {
        ("path", "event_id") => Some("/options/securegate/event_id"),
        ("query", "onboarding_flow_type") => Some("/options/securegate/onboarding_flow_type"),
        ("query", "notify") => Some("/options/securegate/notify"),
        _ => None,
    }
}

/// The word for a validation error, if it is one.
fn code(error: &ValidationError) -> Option<String> {
    let is_word = !error.kind.is_empty()
        && error.kind.len() <= 64
        && error.kind.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
    is_word.then(|| error.kind.clone())
}

impl ErrorBody {
    /// The cause, if it is about the call as such: validation of a header, which all calls have, or
    /// words about key, clock or version.
    fn of_the_call(&self) -> Option<Cause> {
        let Some(errors) = self.validation() else { return refusal::of_the_call(&self.text()) };
        let header = errors.iter().find_map(|error| match error.loc.as_slice() {
            [Step::Name(part), Step::Name(name), ..] if part == "header" => Some(name.as_str()),
            _ => None,
        })?;
        let is_key = header.to_ascii_lowercase().contains("key") || header == "authorization";
        Some(if is_key { Cause::Credentials } else { Cause::Configuration })
    }
}

fn names_quota(text: &str) -> bool {
    let text = text.to_lowercase();
    ["quota", "resource limit", "resource_limit"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::client::canned::recipient;

    const PERSONAL: [&str; 2] = ["ada@example.org", "Ada"];

    fn refuse(count: usize, status: u16, body: &str, headers: &[(&str, &str)]) -> ProviderError {
        let operation = Operation {
            doing: "creating invites".into(),
            provider: "berlin-summit",
            personal_data: PERSONAL.to_vec(),
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response { status, headers, body: body.to_owned().into() };
        let recipients = vec![recipient("http://localhost", "ada@example.org", "Ada"); count];
        operation.create_refused(&response, &recipients, "2026-11-21T10:00:00Z".parse().unwrap())
    }

    fn validation(errors: Value) -> String {
        json!({ "detail": errors }).to_string()
    }

    #[test]
    fn a_validation_error_names_the_item_and_the_member_as_the_caller_wrote_them() {
        let body = validation(json!([
            {"type": "missing", "loc": ["body", "invites", 1, "email"], "msg": "Field required",
             "input": {"first_name": "Grace"}},
            {"type": "enum", "loc": ["body", "invites", 2, "country_code"],
             "msg": "Input should be '1', '44', '61', '91' or '345'", "input": "7",
             "ctx": {"expected": "'1'"}},
            {"type": "enum", "loc": ["body", "invites", 2, "authentication_method"], "msg": "bad"},
            {"type": "enum", "loc": ["body", "invites", 2], "msg": "bad"},
            {"type": "enum", "loc": ["body", "invites", 9, "email"], "msg": "out of the call"},
        ]));
        let error = refuse(3, 422, &body, &[]);
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Request));
        assert_eq!(error.code.as_deref(), Some("missing"));
        let named: Vec<_> = error
            .items
            .iter()
            .map(|item| (item.index, item.fault.pointer.as_str(), item.fault.code.as_str()))
            .collect();
        let method = "/options/securegate/authentication_method";
        assert_eq!(
            named,
            [
                (1, "/email", "required"),
                (2, "/phone", "invalid"),
                (2, method, "invalid"),
                (2, "", "invalid")
            ]
        );
        assert_eq!(error.items[0].fault.detail, "berlin-summit refuses email: Field required");
        assert!(!format!("{error:?} {:?}", error.items).contains("Grace"));
    }

    #[test]
    fn a_fault_in_what_a_call_shares_is_every_items() {
        let body = validation(json!([
            {"type": "int_parsing", "loc": ["query", "notify"], "msg": "Input should be an integer"},
        ]));
        let error = refuse(2, 422, &body, &[]);
        let at: Vec<_> = error.items.iter().map(|i| (i.index, i.fault.pointer.as_str())).collect();
        let notify = "/options/securegate/notify";
        assert_eq!((error.outcome, at), (Outcome::Rejected, vec![(0, notify), (1, notify)]));
    }

    #[test]
    fn validation_that_names_no_item_refuses_the_whole_call() {
        let body = validation(json!([
            {"type": "json_invalid", "loc": ["body", 12], "msg": "JSON decode error"},
        ]));
        let error = refuse(2, 422, &body, &[]);
        assert_eq!((error.outcome, error.items.len()), (Outcome::Rejected, 0));
    }

    #[test]
    fn a_refusal_of_several_that_may_have_come_midway_is_unknown_and_of_one_is_not() {
        let text = r#"{"detail": "Invite limit reached for this plan"}"#;
        let strange = r#"{"detail": [{"msg": "raised by a handler"}]}"#;
        let empty = r#"{"detail": []}"#;
        for (status, body) in
            [(400, text), (402, text), (422, text), (422, strange), (422, empty), (422, "<html>")]
        {
            assert_eq!(refuse(2, status, body, &[]).outcome, Outcome::Unknown, "{status} {body}");
            assert_eq!(refuse(1, status, body, &[]).outcome, Outcome::Rejected, "{status} {body}");
        }
    }

    #[test]
    fn other_statuses_follow_the_table_whatever_the_number_of_invites() {
        for (status, outcome, cause) in [
            (401, Outcome::Rejected, Cause::Credentials),
            (403, Outcome::Rejected, Cause::Credentials),
            (404, Outcome::Rejected, Cause::NotFound),
            (405, Outcome::Rejected, Cause::Configuration),
            (410, Outcome::Rejected, Cause::Request),
            (413, Outcome::Rejected, Cause::Request),
            (415, Outcome::Rejected, Cause::Configuration),
            (429, Outcome::Throttled, Cause::Request),
            (302, Outcome::Unknown, Cause::Request),
            (408, Outcome::Unknown, Cause::Request),
            (409, Outcome::Unknown, Cause::Request),
            (425, Outcome::Unknown, Cause::Request),
            (499, Outcome::Unknown, Cause::Request),
            (500, Outcome::Unknown, Cause::Request),
            (503, Outcome::Unknown, Cause::Request),
        ] {
            for count in [1, 2] {
                let error = refuse(count, status, r#"{"detail":"no"}"#, &[]);
                let expected = (outcome, cause, Some(status));
                assert_eq!((error.outcome, error.cause, error.http_status), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_refusal_of_the_call_is_told_from_one_of_its_invites() {
        let header = |name: &str| {
            validation(
                json!([{"type": "missing", "loc": ["header", name], "msg": "Field required"}]),
            )
        };
        let text = |text: &str| json!({ "detail": text }).to_string();
        for (status, body, cause) in [
            (422, header("x-api-key"), Cause::Credentials),
            (422, header("x-api-version"), Cause::Configuration),
            (400, text("API version not supported"), Cause::Configuration),
            (410, text("This version of the API has been retired"), Cause::Configuration),
            (400, text("Invalid API key"), Cause::Credentials),
            (400, text("Request timestamp is too old"), Cause::Configuration),
            (
                400,
                json!({ "message": "organization is suspended" }).to_string(),
                Cause::Configuration,
            ),
        ] {
            for count in [1, 2] {
                let error = refuse(count, status, &body, &[]);
                assert_eq!((error.outcome, error.cause), (Outcome::Rejected, cause), "{body}");
                assert!(error.items.is_empty(), "{body}");
            }
        }
        for (status, body) in [
            (400, text("tag \"API version\" is not supported")),
            (400, text("authentication_method: not supported for this person")),
            (400, text("the guest belongs to an organization that is disabled")),
            (
                422,
                validation(
                    json!([{"type": "enum", "loc": ["body", "invites", 0, "authentication_method"],
                "msg": "API key invalid"}]),
                ),
            ),
        ] {
            assert_eq!(refuse(1, status, &body, &[]).cause, Cause::Request, "{body}");
        }
        assert_eq!(refuse(1, 503, &text("API version not supported"), &[]).cause, Cause::Request);
    }

    #[test]
    fn a_429_that_names_a_quota_is_no_request_to_wait() {
        let error = refuse(2, 429, r#"{"message": "Monthly quota exceeded"}"#, &[]);
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Quota));
    }

    #[test]
    fn how_long_to_wait_is_read_from_either_header() {
        let wait = |headers: &[(&str, &str)]| refuse(1, 429, "", headers).retry_after;
        let both = [("retry-after", "7"), ("ratelimit-reset", "30")];
        assert_eq!(wait(&both), Some(Duration::from_secs(7)));
        assert_eq!(wait(&both[1..]), Some(Duration::from_secs(30)));
        assert_eq!(wait(&[("ratelimit-reset", "-1")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_message_says_what_was_being_done_where_and_why_and_nothing_of_a_person() {
        let error = refuse(1, 400, r#"{"detail": "Ada <ada@example.org>\nis blocked"}"#, &[]);
        let expected = "creating invites at berlin-summit: HTTP 400: … <…> is blocked";
        assert_eq!(error.to_string(), expected);
        let error = refuse(1, 403, r#"{"detail": "Not authenticated"}"#, &[]);
        assert!(error.message.contains("check api_key"), "{error}");
    }

    #[test]
    fn a_code_that_is_no_word_is_not_passed_on() {
        let body = validation(json!([
            {"type": "ada@example.org", "loc": ["body", "invites", 0, "email"], "msg": "bad"},
        ]));
        assert_eq!(refuse(1, 422, &body, &[]).code, None);
    }
}
