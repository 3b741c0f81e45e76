//! What Securegate's refusals mean to the engine: outcome, cause, code, wait, and the invites that they name. Only 200
//! and 422 are documented; the rest follows the table in docs/delivery.md.

use invite_core::{
    Cause, Fault, ItemFault, Outcome, ProviderError,
    adapter::{Operation, Refusal},
    http::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::text;

/// The error that a reply means which is no 2xx.
pub fn refused(operation: &Operation, response: &Response) -> ProviderError {
    let body = ErrorBody::read(&response.body);
    let is_of_key = matches!(response.status.as_u16(), 401 | 403);
    let kinds = body.validation().into_iter().flatten().map(|error| error.kind.clone());
    let refusal = Refusal {
        text: body.text(),
        code: kinds.into_iter().find(|kind| !kind.is_empty()),
        cause: body.cause(),
        hint: is_of_key.then_some("the API key was refused, check api_key"),
        ..Refusal::default()
    };
    operation.refused(response, refusal)
}

/// The error that a create call's reply means which is no 2xx: also which invites it names, and whether others of the
/// call may have taken effect.
pub fn create_refused(operation: &Operation, response: &Response) -> ProviderError {
    let mut error = refused(operation, response);
    let body = ErrorBody::read(&response.body);
    // Validation, and what stands before the API's own code, refuse a call as a whole. So does a refusal of the
    // key, the version or the event, which comes before any invite is looked at.
    let refused_whole = match response.status.as_u16() {
        401 | 403..=406 | 410 | 411 | 413..=415 | 417 | 421 | 426 | 428 | 429 | 431 => true,
        422 if body.validation().is_some() => true,
        _ => matches!(error.cause, Cause::Credentials | Cause::Configuration),
    };
    if error.outcome == Outcome::Rejected && !refused_whole && operation.items() > 1 {
        error.outcome = Outcome::Unknown;
        error.message.push_str("; some of the invites may have been created");
    }
    if let (422, Some(errors)) = (response.status.as_u16(), body.validation()) {
        error.items = errors.iter().flat_map(|error| item_faults(operation, error)).collect();
    }
    error
}

/// The invites that a validation error names: one by its place, or all of them if the fault is in what they share.
fn item_faults(operation: &Operation, error: &ValidationError) -> Vec<ItemFault> {
    let fault = |pointer: &str| {
        let code = if error.kind == "missing" { "required" } else { "invalid" };
        let member = match error.loc.last() {
            Some(Step::Name(name)) => name.as_str(),
            _ => "it",
        };
        let why = operation.scrub(&format!("{member}: {}", error.msg));
        Fault::new(pointer, code, format!("{} refuses {why}", operation.provider()))
    };
    let named = match (error.index(), error.loc.as_slice()) {
        (Some(index), loc) => {
            let member = match loc.get(3) {
                Some(Step::Name(name)) => name.as_str(),
                _ => "",
            };
            Some((index..index + 1, invite_pointer(member)))
        }
        (None, [Step::Name(part), Step::Name(name), ..]) => {
            shared_pointer(part, name).map(|pointer| (0..operation.items(), pointer))
        }
        _ => None,
    };
    let Some((places, pointer)) = named else { return Vec::new() };
    places.filter_map(|index| operation.item(index, fault(pointer))).collect()
}

/// The gateway's pointer for a member of a create call's invite.
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

/// The gateway's pointer for a parameter of a whole create call.
fn shared_pointer(part: &str, name: &str) -> Option<&'static str> {
    match (part, name) {
        ("path", "event_id") => Some("/options/securegate/event_id"),
        ("query", "onboarding_flow_type") => Some("/options/securegate/onboarding_flow_type"),
        ("query", "notify") => Some("/options/securegate/notify"),
        _ => None,
    }
}

impl ErrorBody {
    /// The cause by validation errors: one in a header, which all calls have, is about the call as such.
    fn cause(&self) -> Option<Cause> {
        let header = self.validation()?.iter().find_map(|error| match error.loc.as_slice() {
            [Step::Name(part), Step::Name(name), ..] if part == "header" => Some(name.as_str()),
            _ => None,
        });
        Some(match header {
            Some("authorization") => Cause::Credentials,
            Some(name) if name.to_ascii_lowercase().contains("key") => Cause::Credentials,
            Some(_) => Cause::Configuration,
            None => Cause::Request,
        })
    }
}

/// The body of a refusal. The `input` that a validation error repeats is never read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// What FastAPI says.
    pub detail: Option<Detail>,
    /// A proxy in front of the API may use this member, or `error`.
    #[serde(deserialize_with = "text")]
    message: Option<String>,
    #[serde(deserialize_with = "text")]
    error: Option<String>,
}

/// The two forms of `detail`, and any other.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// An error that the API's own code raised.
    Text(String),
    /// Errors that validation found, before any of the API's own code ran.
    Validation(Vec<ValidationError>),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
pub struct ValidationError {
    /// Where it is, such as `["body", "invites", 0, "email"]`.
    pub loc: Vec<Step>,
    /// What it is, in a sentence.
    #[serde(default)]
    pub msg: String,
    /// What it is, in a word.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// One step of a `loc`.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum Step {
    Index(usize),
    Name(String),
}

impl ErrorBody {
    /// Reads a body; an unexpected one counts as empty.
    pub fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    pub fn of(body: Value) -> Self {
        serde_json::from_value(body).unwrap_or_default()
    }

    pub fn validation(&self) -> Option<&[ValidationError]> {
        match &self.detail {
            Some(Detail::Validation(errors)) if !errors.is_empty() => Some(errors),
            _ => None,
        }
    }

    /// What it says, on one line, in which there may still be personal data.
    pub fn text(&self) -> String {
        if let Some(errors) = self.validation() {
            let lines: Vec<String> = errors.iter().take(3).map(ValidationError::line).collect();
            return lines.join("; ");
        }
        self.said().map_or_else(String::new, |(_, text)| text.to_owned())
    }

    /// What it says where it is no list of errors, and the member that says it.
    pub fn said(&self) -> Option<(&'static str, &str)> {
        let detail = match &self.detail {
            Some(Detail::Text(text)) => Some(("detail", text.as_str())),
            _ => None,
        };
        let message = || self.message.as_deref().map(|text| ("message", text));
        let error = || self.error.as_deref().map(|text| ("error", text));
        detail.or_else(message).or_else(error)
    }
}

impl ValidationError {
    /// The place in the create call that it names.
    pub fn index(&self) -> Option<usize> {
        match self.loc.as_slice() {
            [Step::Name(body), Step::Name(invites), Step::Index(index), ..]
                if body == "body" && invites == "invites" =>
            {
                Some(*index)
            }
            _ => None,
        }
    }

    fn line(&self) -> String {
        let steps = self.loc.iter().map(|step| match step {
            Step::Index(index) => index.to_string(),
            Step::Name(name) => name.clone(),
        });
        format!("{}: {}", steps.collect::<Vec<_>>().join("."), self.msg)
    }
}

#[cfg(test)]
mod tests {
    use invite_core::canned::response;
    use serde_json::{Value, json};

    use super::*;

    const PERSONAL: [&str; 2] = ["ada@example.org", "Ada"];

    fn refuse(count: usize, status: u16, body: impl ToString) -> ProviderError {
        let operation =
            Operation::new("creating invites", "berlin-summit").about(PERSONAL).of_call(count);
        create_refused(&operation, &response(status, &[], body))
    }

    fn validation(errors: Value) -> Value {
        json!({ "detail": errors })
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
        let error = refuse(3, 422, &body);
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
        let error = refuse(2, 422, &body);
        let at: Vec<_> = error.items.iter().map(|i| (i.index, i.fault.pointer.as_str())).collect();
        let notify = "/options/securegate/notify";
        assert_eq!((error.outcome, at), (Outcome::Rejected, vec![(0, notify), (1, notify)]));
    }

    #[test]
    fn validation_that_names_no_item_refuses_the_whole_call() {
        let body = validation(json!([
            {"type": "json_invalid", "loc": ["body", 12], "msg": "JSON decode error"},
        ]));
        let error = refuse(2, 422, &body);
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
            assert_eq!(refuse(2, status, body).outcome, Outcome::Unknown, "{status} {body}");
            assert_eq!(refuse(1, status, body).outcome, Outcome::Rejected, "{status} {body}");
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
                let error = refuse(count, status, r#"{"detail":"no"}"#);
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
        let text = |text: &str| json!({ "detail": text });
        for (status, body, cause) in [
            (422, header("x-api-key"), Cause::Credentials),
            (422, header("x-api-version"), Cause::Configuration),
            (400, text("API version not supported"), Cause::Configuration),
            (410, text("This version of the API has been retired"), Cause::Configuration),
            (400, text("Invalid API key"), Cause::Credentials),
            (400, text("Request timestamp is too old"), Cause::Configuration),
            (400, json!({ "message": "organization is suspended" }), Cause::Configuration),
        ] {
            for count in [1, 2] {
                let error = refuse(count, status, &body);
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
            assert_eq!(refuse(1, status, &body).cause, Cause::Request, "{body}");
        }
        assert_eq!(refuse(1, 503, text("API version not supported")).cause, Cause::Request);
    }

    #[test]
    fn a_429_that_names_a_quota_is_no_request_to_wait() {
        let error = refuse(2, 429, r#"{"message": "Monthly quota exceeded"}"#);
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Quota));
    }

    #[test]
    fn a_message_says_what_was_being_done_where_and_why_and_nothing_of_a_person() {
        let error = refuse(1, 400, r#"{"detail": "Ada <ada@example.org>\nis blocked"}"#);
        let expected = "creating invites at berlin-summit: HTTP 400: … <…> is blocked";
        assert_eq!(error.to_string(), expected);
        let error = refuse(1, 403, r#"{"detail": "Not authenticated"}"#);
        assert!(error.message.contains("check api_key"), "{error}");
    }

    #[test]
    fn a_code_that_is_no_word_is_not_passed_on() {
        let body = validation(json!([
            {"type": "ada@example.org", "loc": ["body", "invites", 0, "email"], "msg": "bad"},
        ]));
        assert_eq!(refuse(1, 422, &body).code, None);
    }
}
