//! What Turnkey's refusals mean to the engine, by its codes (<https://docs.turnkey.com/api-reference/overview/errors>).

use invite_core::{
    Cause, Fault, ItemFault, Outcome, ProviderError, Recipient,
    adapter::{Operation, Refusal},
    http::Response,
    refusal,
};
use jiff::SignedDuration;
use serde_json::Value;

use crate::wire::RpcStatus;

/// A submission's time may be so far ahead of Turnkey's clock, and must be less than so far behind it
/// (<https://docs.turnkey.com/reference/faq>).
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(5);
const MOST_BEHIND: SignedDuration = SignedDuration::from_hours(1);
/// A probe mentions a larger difference of clocks.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(30);

/// The operation for these recipients. No error shows what they are called in the organization, either.
pub fn about_recipients(operation: Operation, recipients: &[Recipient]) -> Operation {
    let named = recipients.iter().filter_map(|r| r.params.get("receiver_user_name")?.as_str());
    operation.about(named).for_recipients(recipients)
}

/// The error for a provider, or a machine, that is configured so that any call would be refused.
pub fn misconfigured(operation: &Operation, why: &str) -> ProviderError {
    operation.failed(Outcome::Rejected, why).caused_by(Cause::Configuration)
}

/// A sentence about how far our clock is ahead of Turnkey's, if that is worth mentioning.
///
/// # Errors
/// It is so far that Turnkey would refuse submissions, which carry a time.
pub fn check_clocks(
    operation: &Operation,
    ahead: SignedDuration,
) -> Result<Option<String>, ProviderError> {
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let told = format!("this machine's clock is {} s {way} Turnkey's", ahead.abs().as_secs());
    if ahead > MOST_AHEAD || ahead <= -MOST_BEHIND {
        let why = format!(
            "{told}; it takes invitations that are at most 5 minutes ahead of its clock and \
             less than an hour behind it: set this machine's clock"
        );
        return Err(misconfigured(operation, &why));
    }
    Ok((ahead.abs() > WORTH_TELLING).then_some(told))
}

/// The error that a reply means which is no 2xx.
pub fn refused(operation: &Operation, response: &Response) -> ProviderError {
    let status = RpcStatus::read(&response.body);
    let refusal = Refusal {
        text: status.message.clone().unwrap_or_default(),
        code: status.any_code(),
        cause: cause(operation, Some(response.status.as_u16()), &status),
        is_quota: Some(status.is_quota()),
        ..Refusal::default()
    };
    with_items(operation, operation.refused(response, refusal), &status)
}

/// The error of an activity that ended without effect, in the status `word`.
pub fn ended(operation: &Operation, word: &str, failure: Option<&RpcStatus>) -> ProviderError {
    let none = RpcStatus::default();
    let status = failure.unwrap_or(&none);
    let cause = if status.is_quota() { Some(Cause::Quota) } else { cause(operation, None, status) };
    let told = operation.scrub(status.message.as_deref().unwrap_or_default());
    let told = if told.is_empty() { told } else { format!(": {told}") };
    let why = format!("the activity ended as {word}{told}");
    let error = operation.failed(Outcome::Rejected, &why).with_code(status.any_code().as_deref());
    with_items(operation, error.caused_by(cause.unwrap_or(Cause::Request)), status)
}

fn with_items(operation: &Operation, error: ProviderError, status: &RpcStatus) -> ProviderError {
    let items = if error.cause == Cause::Request { items(operation, status) } else { Vec::new() };
    ProviderError { items, ..error }
}

/// The cause of a refusal, or of an activity's failure, which has no HTTP status: by Turnkey's code, then by the fields
/// that are named, then by its words. None if the HTTP status decides.
fn cause(operation: &Operation, http: Option<u16>, status: &RpcStatus) -> Option<Cause> {
    let told = match status.turnkey_code() {
        Some(code) if is_key_code(code) => Some(Cause::Credentials),
        Some(
            "ORGANIZATION_MISMATCH"
            | "INVALID_ORGANIZATION_ID"
            | "ORGANIZATION_NOT_FOUND"
            | "INVALID_TIME"
            | "EMAIL_SENDING_DISABLED",
        ) => Some(Cause::Configuration),
        Some("REQUEST_NOT_AUTHORIZED") => Some(Cause::NotAuthorized),
        Some("INVALID_EMAIL" | "INVALID_FQDN") => Some(Cause::Request),
        _ => None,
    };
    let is_denied = matches!(http, None | Some(403)) && status.is_policy_denial();
    let told = told.or(is_denied.then_some(Cause::NotAuthorized));
    if told.is_some() || matches!(http, Some(401..=403)) {
        return told;
    }
    if !items(operation, status).is_empty() {
        return Some(Cause::Request);
    }
    let fields = status.field_violations().map(|(field, _)| field);
    if fields.clone().any(is_of_the_call) {
        return Some(Cause::Configuration);
    }
    // A field that is named without a place may be an item's.
    if fields.count() > 0 {
        return (http != Some(404)).then_some(Cause::Request);
    }
    status.message.as_deref().and_then(refusal::of_the_call)
}

fn items(operation: &Operation, status: &RpcStatus) -> Vec<ItemFault> {
    let fault = |(field, description): (&str, &str)| {
        let (index, member) = invitation_member(field)?;
        let detail = operation.scrub(description);
        let detail = if detail.is_empty() { "Turnkey refused this".into() } else { detail };
        operation.item(index, Fault::new(pointer(member), "invalid", detail))
    };
    status.field_violations().filter_map(fault).collect()
}

impl RpcStatus {
    /// Reads an error's body. One that is no object becomes the message.
    pub fn read(body: &[u8]) -> Self {
        // Serde would also read an array, by the order of the members.
        let object = body.trim_ascii_start().starts_with(b"{").then_some(body);
        object.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_else(|| Self {
            message: Some(String::from_utf8_lossy(body).into_owned()),
            ..Self::default()
        })
    }

    /// Whether the key itself is refused, which may look like a lack of rights.
    pub fn refuses_key(&self, http: u16) -> bool {
        let wrapped = || {
            let message = self.message.as_deref().unwrap_or_default();
            message.contains("code = Unauthenticated")
                || message.contains("could not find public key")
        };
        http == 401 || (http == 403 && self.turnkey_code().map_or_else(wrapped, is_key_code))
    }

    fn turnkey_code(&self) -> Option<&str> {
        let in_details = self.details.iter().flatten().map(|d| d.get("turnkeyErrorCode"));
        let top = self.turnkey_error_code.as_deref();
        std::iter::once(top)
            .chain(in_details.map(|code| code.and_then(Value::as_str)))
            .flatten()
            .find(|code| !code.is_empty())
    }

    /// Turnkey's code, or else the name of the gRPC code.
    fn any_code(&self) -> Option<String> {
        let number = || self.code.filter(|code| *code != 0).map(grpc_name);
        self.turnkey_code().map(str::to_owned).or_else(number)
    }

    /// Whether a quota or resource limit is used up, by the code, or else by the words.
    fn is_quota(&self) -> bool {
        match self.turnkey_code() {
            Some(code) if code.contains("QUOTA") => true,
            Some(code) if code.contains("RATE_LIMIT") => false,
            _ => refusal::names_quota(self.message.as_deref().unwrap_or_default()),
        }
    }

    fn is_policy_denial(&self) -> bool {
        let kinds = self.details.iter().flatten().filter_map(|d| d.get("@type")?.as_str());
        kinds.into_iter().any(|kind| kind.ends_with("PolicyEnginePermissionError"))
    }

    fn field_violations(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.details
            .iter()
            .flatten()
            .filter_map(|detail| detail.get("fieldViolations")?.as_array())
            .flatten()
            .filter_map(|violation| {
                let description = violation.get("description").and_then(Value::as_str);
                Some((violation.get("field")?.as_str()?, description.unwrap_or_default()))
            })
    }
}

fn is_key_code(code: &str) -> bool {
    code.starts_with("SIGNATURE_")
        || matches!(
            code,
            "PUBLIC_KEY_NOT_FOUND" | "API_KEY_EXPIRED" | "CREDENTIAL_NOT_FOUND" | "UNAUTHENTICATED"
        )
}

/// Whether a field is one of the call as such: its time, its organization, its type.
fn is_of_the_call(field: &str) -> bool {
    let plain = field.to_ascii_lowercase().replace('_', "");
    matches!(plain.rsplit('.').next(), Some("timestampms" | "organizationid" | "type"))
}

/// The error with each of the activity's invitations named. Approvers refused all of them, and would be asked about the
/// same people again if some were sent once more.
pub fn rejected_by_people(error: ProviderError, invitations: usize) -> ProviderError {
    let fault = Fault::new("", "rejected", "the approvers at Turnkey rejected the activity");
    let item = |index| ItemFault { index, fault: fault.clone() };
    ProviderError { items: (0..invitations).map(item).collect(), ..error }
}

/// The error of a question that a create call depends on. It says nothing of the invites: they wait, or the lane pauses
/// for the credential.
pub fn before_create(error: ProviderError) -> ProviderError {
    let (outcome, cause) = match (error.outcome, error.cause) {
        (Outcome::Rejected, Cause::Credentials | Cause::NotAuthorized) => {
            (Outcome::Rejected, Cause::Credentials)
        }
        (Outcome::Rejected, Cause::Configuration) => (Outcome::Rejected, Cause::Configuration),
        (Outcome::Rejected, Cause::Quota) => (Outcome::Throttled, Cause::Quota),
        (Outcome::Throttled, cause) => (Outcome::Throttled, cause),
        (_, cause) => (Outcome::NotSent, cause),
    };
    ProviderError { outcome, cause, ..error }
}

/// The invitation and its member that a path such as `parameters.invitations[3].receiverUserEmail` names.
pub fn invitation_member(field: &str) -> Option<(usize, &str)> {
    let at = field.to_ascii_lowercase().find("invitations[")?;
    let (index, member) = field.get(at + "invitations[".len()..)?.split_once(']')?;
    Some((index.parse().ok()?, member.trim_start_matches('.')))
}

/// The gateway's pointer for a member of an invitation.
fn pointer(member: &str) -> &'static str {
    let name = member.split(['[', '.']).next().unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        "receiveruseremail" => "/email",
        "receiverusername" => "/options/turnkey/receiver_user_name",
        "receiverusertags" => "/options/turnkey/receiver_user_tags",
        "accesstype" => "/options/turnkey/access_type",
        "senderuserid" => "/options/turnkey/sender_user_id",
        _ => "",
    }
}

fn grpc_name(code: i64) -> String {
    /// From code 0 on.
    const NAMES: &str = "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS \
                         PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE \
                         UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED";
    let name = usize::try_from(code).ok().and_then(|code| NAMES.split(' ').nth(code));
    name.map_or_else(|| code.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use invite_core::canned::response;
    use serde_json::json;

    use super::*;

    fn creating() -> Operation {
        Operation::new("creating invitations", "treasury")
    }

    fn refuse(http: u16, body: &Value) -> ProviderError {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let operation = creating().about(["ada@example.org", "Lovelace"]).of_call(4);
        refused(&operation, &response(http, &[], body))
    }

    fn coded(http: u16, grpc: i64, code: &str, message: &str) -> ProviderError {
        let detail = json!({"@type": "type.googleapis.com/errors.v1.TurnkeyErrorDetail", "turnkeyErrorCode": code});
        let nested =
            json!({"code": grpc, "message": message, "details": [detail], "turnkeyErrorCode": ""});
        let top =
            json!({"code": grpc, "message": message, "details": [], "turnkeyErrorCode": code});
        let error = refuse(http, &nested);
        assert_eq!(error, refuse(http, &top));
        error
    }

    #[test]
    fn the_documented_codes_have_their_outcome_and_cause() {
        use Cause::{Configuration, Credentials, NotAuthorized, Quota, Request};
        use Outcome::{Rejected, Throttled, Unknown};
        for (http, grpc, code, outcome, cause) in [
            (400, 3, "INVALID_ORGANIZATION_ID", Rejected, Configuration),
            (404, 5, "ORGANIZATION_NOT_FOUND", Rejected, Configuration),
            (400, 3, "ORGANIZATION_MISMATCH", Rejected, Configuration),
            (400, 3, "INVALID_TIME", Rejected, Configuration),
            (400, 3, "EMAIL_SENDING_DISABLED", Rejected, Configuration),
            (400, 3, "CREDENTIAL_NOT_FOUND", Rejected, Credentials),
            (400, 3, "UNAUTHENTICATED", Rejected, Credentials),
            (400, 3, "REQUEST_INVALID", Rejected, Request),
            (400, 3, "INVALID_EMAIL", Rejected, Request),
            (400, 3, "INVALID_FQDN", Rejected, Request),
            (401, 16, "SIGNATURE_MISSING", Rejected, Credentials),
            (401, 16, "SIGNATURE_INVALID", Rejected, Credentials),
            (401, 16, "PUBLIC_KEY_NOT_FOUND", Rejected, Credentials),
            (403, 7, "PUBLIC_KEY_NOT_FOUND", Rejected, Credentials),
            (401, 16, "API_KEY_EXPIRED", Rejected, Credentials),
            (403, 7, "REQUEST_NOT_AUTHORIZED", Rejected, NotAuthorized),
            (403, 7, "FORBIDDEN", Rejected, Credentials),
            (403, 7, "API_OPERATIONS_DISABLED", Rejected, Credentials),
            (429, 8, "RATE_LIMIT_EXCEEDED", Throttled, Request),
            (429, 8, "SIGNING_QUOTA_EXCEEDED", Rejected, Quota),
            (500, 13, "INTERNAL", Unknown, Request),
        ] {
            let error =
                coded(http, grpc, code, "see https://docs.turnkey.com/policies/resource-limits");
            assert_eq!((error.outcome, error.cause), (outcome, cause), "{code}");
            assert_eq!((error.code.as_deref(), error.http_status), (Some(code), Some(http)));
            let start = format!("creating invitations at treasury: HTTP {http}");
            assert!(
                error.message.starts_with(&start) && error.message.contains(": see"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_reply_without_a_turnkey_code_is_judged_by_its_status_and_message() {
        let plain = |http, grpc, message: &str| {
            let error = refuse(http, &json!({"code": grpc, "message": message, "details": []}));
            (error.outcome, error.cause, error.code.unwrap())
        };
        let (rejected, throttled) = (Outcome::Rejected, Outcome::Throttled);
        let exhausted = "RESOURCE_EXHAUSTED".to_owned();
        assert_eq!(
            plain(429, 8, "Too many requests. Please wait and try again in a few seconds"),
            (throttled, Cause::Request, exhausted.clone())
        );
        assert_eq!(
            plain(
                429,
                8,
                "Resource exhausted: Signing is disabled because your organization is over its allotted quota."
            ),
            (rejected, Cause::Quota, exhausted.clone())
        );
        assert_eq!(
            plain(429, 8, "resource limit reached: invitations"),
            (rejected, Cause::Quota, exhausted.clone())
        );
        assert_eq!(
            plain(429, 8, "organization has reached its limit of 100 invitations"),
            (rejected, Cause::Quota, exhausted.clone())
        );
        assert_eq!(
            plain(429, 8, "slow down, see https://docs.turnkey.com/quota"),
            (throttled, Cause::Request, exhausted)
        );
        let unknown_key = "could not find public key in organization";
        assert_eq!(
            plain(401, 16, unknown_key),
            (rejected, Cause::Credentials, "UNAUTHENTICATED".into())
        );
        let wrapped = format!(
            "authentication failed: rpc error: code = Unauthenticated desc = {unknown_key}"
        );
        assert_eq!(
            plain(403, 7, &wrapped),
            (rejected, Cause::Credentials, "PERMISSION_DENIED".into())
        );
        assert_eq!(plain(404, 5, "gone").1, Cause::NotFound);
        assert_eq!(plain(400, 99, "what").2, "99");
    }

    #[test]
    fn the_key_is_refused_by_code_16_and_by_its_wrapping_in_code_7_only() {
        let refuses =
            |http, body: Value| RpcStatus::read(body.to_string().as_bytes()).refuses_key(http);
        assert!(refuses(401, json!({})));
        assert!(refuses(403, json!({"message": "could not find public key in organization"})));
        assert!(refuses(403, json!({"turnkeyErrorCode": "PUBLIC_KEY_NOT_FOUND"})));
        assert!(!refuses(403, json!({"turnkeyErrorCode": "REQUEST_NOT_AUTHORIZED"})));
        assert!(!refuses(400, json!({"message": "could not find public key in organization"})));
    }

    #[test]
    fn a_policy_denial_is_a_lack_of_rights() {
        let detail = json!({"@type": "type.googleapis.com/errors.v1.PolicyEnginePermissionError", "policyEvaluations": []});
        let error = refuse(403, &json!({"code": 7, "message": "no", "details": [detail]}));
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotAuthorized));
    }

    #[test]
    fn plain_text_and_other_shapes_are_read_too() {
        let error = refuse(502, &json!("upstream\nconnect error"));
        assert_eq!(error.outcome, Outcome::Unknown);
        assert!(error.message.ends_with("HTTP 502: upstream connect error"));
        assert_eq!(refuse(500, &json!([1])).code, None);
        assert_eq!(refuse(400, &json!("")).message, "creating invitations at treasury: HTTP 400");
    }

    #[test]
    fn messages_and_faults_hold_no_personal_data() {
        let violation = json!({"field": "parameters.invitations[2].receiverUserEmail", "description": "ada@example.org is bad"});
        let detail = json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]});
        let body = json!({"code": 3, "message": "no MX for ada@example.org (LOVELACE)", "details": [detail]});
        let error = refuse(400, &body);
        let all = format!("{error} {:?}", error.items).to_lowercase();
        assert!(!all.contains("ada@") && !all.contains("lovelace"), "{all}");
    }

    #[test]
    fn field_violations_name_items_in_the_gateways_words() {
        let violations = json!([
            {"field": "parameters.invitations[2].receiverUserEmail", "description": "no MX"},
            {"field": "CreateInvitationsIntent.Invitations[0].ReceiverUserTags[1]"},
            {"field": "invitations[1].somethingNew", "description": ""},
            {"field": "invitations[4].receiverUserEmail", "description": "beyond the call"},
            {"field": "organizationId", "description": "not an item"},
        ]);
        let body =
            json!({"code": 3, "message": "bad", "details": [{"fieldViolations": violations}]});
        let items = refuse(400, &body).items;
        let shown: Vec<_> = items
            .iter()
            .map(|i| (i.index, i.fault.pointer.as_str(), i.fault.detail.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (2, "/email", "no MX"),
                (0, "/options/turnkey/receiver_user_tags", "Turnkey refused this"),
                (1, "", "Turnkey refused this"),
            ]
        );
    }

    #[test]
    fn a_refusal_of_the_call_is_told_from_one_of_its_items() {
        let violation = |field: &str, description: &str| json!([{"fieldViolations": [{"field": field, "description": description}]}]);
        let (old, none) = ("must be less than 1 hour old", json!([]));
        for (http, message, details, cause) in [
            (400, "no", violation("timestampMs", old), Cause::Configuration),
            (400, "no", violation("timestamp_ms", old), Cause::Configuration),
            (400, "no", violation("type", "must be an activity type"), Cause::Configuration),
            (400, "no", violation("organizationId", "is required"), Cause::Configuration),
            (
                400,
                "no",
                violation("CreateInvitationsRequest.OrganizationId", ""),
                Cause::Configuration,
            ),
            (400, "timestamp is in the future", none.clone(), Cause::Configuration),
            (400, "timestamp is too old", none.clone(), Cause::Configuration),
            (400, "organization is disabled", none.clone(), Cause::Configuration),
            (404, "no organization found with ID 1", none.clone(), Cause::Configuration),
            (400, "unsupported activity type", none.clone(), Cause::Configuration),
            (410, "this version of the API has been retired", none.clone(), Cause::Configuration),
            (400, "api key expired", none.clone(), Cause::Credentials),
            // These may be about an item.
            (
                400,
                "invalid request: receiverUserTags: must be UUIDs",
                violation("receiverUserTags", ""),
                Cause::Request,
            ),
            (
                400,
                "timestamp is too old",
                violation("receiverUserName", "too long"),
                Cause::Request,
            ),
            (
                400,
                "timestamp is too old",
                violation("invitations[0].receiverUserName", ""),
                Cause::Request,
            ),
            (400, "user tag \"version\" not found in organization", none.clone(), Cause::Request),
            (404, "could not find user in organization", none.clone(), Cause::NotFound),
            (400, "user is already a member of another organization", none.clone(), Cause::Request),
        ] {
            let body = json!({"code": 3, "message": message, "details": details});
            let error = refuse(http, &body);
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, cause), "{http} {body}");
            let failure = RpcStatus::read(body.to_string().as_bytes());
            let operation = creating().of_call(4);
            let ended = ended(&operation, "ACTIVITY_STATUS_FAILED", Some(&failure));
            let expected = if cause == Cause::NotFound { Cause::Request } else { cause };
            assert_eq!((ended.outcome, ended.cause), (Outcome::Rejected, expected), "{body}");
        }
        let email = coded(400, 3, "INVALID_EMAIL", "organization is disabled, clock skew");
        assert_eq!(email.cause, Cause::Request);
    }

    #[test]
    fn a_failed_activity_says_why_without_effect() {
        let failure = RpcStatus::read(
            json!({"code": 8, "message": "over quota for Lovelace", "details": []})
                .to_string()
                .as_bytes(),
        );
        let operation = creating().about(["Lovelace"]);
        let error = ended(&operation, "ACTIVITY_STATUS_FAILED", Some(&failure));
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Quota));
        assert_eq!(error.code.as_deref(), Some("RESOURCE_EXHAUSTED"));
        assert_eq!(
            error.message,
            "creating invitations at treasury: the activity ended as ACTIVITY_STATUS_FAILED: over quota for …"
        );
        assert_eq!(ended(&operation, "ACTIVITY_STATUS_REJECTED", None).cause, Cause::Request);
    }
}
