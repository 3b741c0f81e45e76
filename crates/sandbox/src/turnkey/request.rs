//! Reads and validates the bodies of Turnkey's requests.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::rpc::Problem;
use crate::accounts;

pub(super) const CREATE_INVITATIONS: &str = "ACTIVITY_TYPE_CREATE_INVITATIONS";
pub(super) const DELETE_INVITATION: &str = "ACTIVITY_TYPE_DELETE_INVITATION";
pub(super) const APPROVE_ACTIVITY: &str = "ACTIVITY_TYPE_APPROVE_ACTIVITY";
pub(super) const REJECT_ACTIVITY: &str = "ACTIVITY_TYPE_REJECT_ACTIVITY";
pub(super) const ACCEPT_INVITATION: &str = "ACTIVITY_TYPE_ACCEPT_INVITATION_V2";

const ACCESS_TYPES: [&str; 3] = ["ACCESS_TYPE_WEB", "ACCESS_TYPE_API", "ACCESS_TYPE_ALL"];
const STATUSES: [&str; 7] = [
    "ACTIVITY_STATUS_CREATED",
    "ACTIVITY_STATUS_PENDING",
    "ACTIVITY_STATUS_COMPLETED",
    "ACTIVITY_STATUS_FAILED",
    "ACTIVITY_STATUS_CONSENSUS_NEEDED",
    "ACTIVITY_STATUS_REJECTED",
    "ACTIVITY_STATUS_AUTHENTICATORS_NEEDED",
];
const TYPES: [&str; 6] = [
    CREATE_INVITATIONS,
    DELETE_INVITATION,
    APPROVE_ACTIVITY,
    REJECT_ACTIVITY,
    ACCEPT_INVITATION,
    "ACTIVITY_TYPE_ACCEPT_INVITATION",
];
/// The longest label, in characters. The rules are not published; a longer one fits no screen.
const LONGEST_LABEL: usize = 255;
const OLDEST_MS: i64 = 60 * 60 * 1_000;
const FURTHEST_AHEAD_MS: i64 = 5 * 60 * 1_000;

/// One invitation of a request.
#[derive(Debug, Clone)]
pub(super) struct InvitationParams {
    pub user_name: String,
    pub user_email: String,
    pub user_tags: Vec<String>,
    pub access_type: String,
    pub sender_user_id: String,
}

/// What an activity is to do.
#[derive(Debug, Clone)]
pub(super) enum Intent {
    CreateInvitations(Vec<InvitationParams>),
    DeleteInvitation(String),
    Approve(String),
    Reject(String),
}

/// What `list_activities` is asked for.
#[derive(Debug)]
pub(super) struct Listing {
    pub statuses: Vec<String>,
    pub types: Vec<String>,
    pub limit: usize,
    pub before: Option<String>,
    pub after: Option<String>,
}

pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::invalid("invalid request: the body is not an object")),
        Err(error) => Err(Problem::invalid(format!("proto: syntax error: {error}"))),
    }
}

/// The organization that a request is about, which has to exist.
pub(super) fn organization(body: &Map<String, Value>) -> Result<&str, Problem> {
    let id = text(body, "organizationId")?;
    if Uuid::try_parse(id).is_err() {
        let message = format!("malformed organization ID {id:?} provided in the request");
        let status = StatusCode::BAD_REQUEST;
        return Err(Problem::new(status, "INVALID_ORGANIZATION_ID", message));
    }
    if ![accounts::TURNKEY_ORGANIZATION_ID, accounts::TURNKEY_OTHER_ORGANIZATION_ID].contains(&id) {
        let message = format!("no organization found with ID {id}");
        return Err(Problem::new(StatusCode::NOT_FOUND, "ORGANIZATION_NOT_FOUND", message));
    }
    Ok(id)
}

/// The time of a submission in milliseconds, from a string of decimal digits.
pub(super) fn timestamp_ms(body: &Map<String, Value>) -> Result<i64, Problem> {
    let digits = text(body, "timestampMs")?;
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| decimal).ok_or_else(|| {
        Problem::field("REQUEST_INVALID", "timestampMs", "must be a number of milliseconds")
    })
}

/// Refuses a submission that is too old or too far ahead. How Turnkey does that is not documented.
pub(super) fn check_liveness(timestamp_ms: i64, now: Timestamp) -> Result<(), Problem> {
    let age = now.as_millisecond() - timestamp_ms;
    let description = if age >= OLDEST_MS {
        "must be less than 1 hour old"
    } else if age < -FURTHEST_AHEAD_MS {
        "must be at most 5 minutes in the future"
    } else {
        return Ok(());
    };
    Err(Problem::field("REQUEST_INVALID", "timestampMs", description))
}

/// What a submission to the endpoint of this type of activity is to do.
pub(super) fn intent(body: &Map<String, Value>, activity_type: &str) -> Result<Intent, Problem> {
    if text(body, "type")? != activity_type {
        let description = format!("must be {activity_type}");
        return Err(Problem::field("REQUEST_INVALID", "type", &description));
    }
    if !matches!(body.get("generateAppProofs"), None | Some(Value::Null | Value::Bool(_))) {
        return Err(Problem::field("REQUEST_INVALID", "generateAppProofs", "must be a boolean"));
    }
    let Some(parameters) = body.get("parameters").and_then(Value::as_object) else {
        return Err(required("parameters"));
    };
    let fingerprint = || text(parameters, "fingerprint").map(str::to_owned);
    match activity_type {
        CREATE_INVITATIONS => invitations(parameters).map(Intent::CreateInvitations),
        DELETE_INVITATION => uuid(parameters, "invitationId").map(Intent::DeleteInvitation),
        APPROVE_ACTIVITY => fingerprint().map(Intent::Approve),
        _ => fingerprint().map(Intent::Reject),
    }
}

fn invitations(parameters: &Map<String, Value>) -> Result<Vec<InvitationParams>, Problem> {
    let items = parameters.get("invitations").and_then(Value::as_array);
    let items = items.filter(|items| !items.is_empty()).ok_or_else(|| required("invitations"))?;
    items
        .iter()
        .map(|item| item.as_object().ok_or_else(|| required("invitations")))
        .map(|item| invitation(item?))
        .collect()
}

fn invitation(item: &Map<String, Value>) -> Result<InvitationParams, Problem> {
    let user_name = text(item, "receiverUserName")?;
    if user_name.chars().count() > LONGEST_LABEL || user_name.chars().any(char::is_control) {
        return Err(Problem::field("REQUEST_INVALID", "receiverUserName", "must be a label"));
    }
    let user_email = text(item, "receiverUserEmail")?;
    check_email(user_email)?;
    // The array is required, even if it is empty.
    let tags = item.get("receiverUserTags").and_then(Value::as_array);
    let tags = tags.ok_or_else(|| required("receiverUserTags"))?;
    let tag = |tag: &Value| {
        let tag = tag.as_str().filter(|tag| Uuid::try_parse(tag).is_ok());
        tag.map(str::to_owned)
            .ok_or_else(|| Problem::field("REQUEST_INVALID", "receiverUserTags", "must be UUIDs"))
    };
    let access_type = text(item, "accessType")?;
    if !ACCESS_TYPES.contains(&access_type) {
        return Err(Problem::field("REQUEST_INVALID", "accessType", "must be an access type"));
    }
    Ok(InvitationParams {
        user_name: user_name.to_owned(),
        user_email: user_email.to_owned(),
        user_tags: tags.iter().map(tag).collect::<Result<_, _>>()?,
        access_type: access_type.to_owned(),
        sender_user_id: uuid(item, "senderUserId")?,
    })
}

/// Refuses what is no plausible address. The provider also looks for the domain's mail server, which is sure to be
/// missing below `.invalid`.
fn check_email(email: &str) -> Result<(), Problem> {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain)
    };
    let plausible = email.len() <= 254
        && !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !local.contains('@')
                && domain.contains('.')
                && domain.split('.').all(label)
        });
    if !plausible {
        let description = "must be an email address";
        return Err(Problem::field("INVALID_EMAIL", "receiverUserEmail", description));
    }
    if email.ends_with(".invalid") {
        let description = "the domain has no reachable mail server";
        return Err(Problem::field("INVALID_FQDN", "receiverUserEmail", description));
    }
    Ok(())
}

/// `query/list_activities`
pub(super) fn listing(body: &Map<String, Value>) -> Result<Listing, Problem> {
    let none = Map::new();
    let options = match body.get("paginationOptions") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(options)) => options,
        Some(_) => return Err(required("paginationOptions")),
    };
    let limit = match options.get("limit") {
        None | Some(Value::Null) => 10,
        Some(Value::String(digits)) if digits.is_empty() => 10,
        Some(Value::String(digits)) => {
            digits.parse().ok().filter(|limit| (1..=100).contains(limit)).ok_or_else(|| {
                Problem::field("REQUEST_INVALID", "limit", "must be between 1 and 100")
            })?
        }
        Some(_) => return Err(Problem::field("REQUEST_INVALID", "limit", "must be a string")),
    };
    let cursor = |name| options.get(name).and_then(Value::as_str).filter(|id| !id.is_empty());
    Ok(Listing {
        statuses: names(body, "filterByStatus", &STATUSES)?,
        types: names(body, "filterByType", &TYPES)?,
        limit,
        before: cursor("before").map(str::to_owned),
        after: cursor("after").map(str::to_owned),
    })
}

/// A list of names of an enum.
fn names(body: &Map<String, Value>, field: &str, known: &[&str]) -> Result<Vec<String>, Problem> {
    let unknown = || Problem::field("REQUEST_INVALID", field, "must be names of the enum");
    match body.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().filter(|name| known.contains(name)).map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(unknown),
        Some(_) => Err(unknown()),
    }
}

/// A string that is there and not empty.
pub(super) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Problem> {
    match members.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        None | Some(Value::Null | Value::String(_)) => Err(required(name)),
        Some(_) => Err(Problem::field("REQUEST_INVALID", name, "must be a string")),
    }
}

/// A string that is a UUID.
pub(super) fn uuid(members: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    let id = text(members, name)?;
    match Uuid::try_parse(id) {
        Ok(_) => Ok(id.to_owned()),
        Err(_) => Err(Problem::field("REQUEST_INVALID", name, "must be a UUID")),
    }
}

fn required(name: &str) -> Problem {
    Problem::field("REQUEST_INVALID", name, "is required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_liveness_window_is_an_hour_back_and_five_minutes_ahead() {
        let now = Timestamp::from_millisecond(10_000_000).unwrap();
        for (age, alive) in
            [(0, true), (3_599_999, true), (3_600_000, false), (-300_000, true), (-300_001, false)]
        {
            assert_eq!(check_liveness(10_000_000 - age, now).is_ok(), alive, "{age}");
        }
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["ada@example.org", "a+b@x-y.example.com"] {
            assert!(check_email(good).is_ok(), "{good}");
        }
        for bad in
            ["ada", "@example.org", "ada@example", "a b@example.org", "a@b@c.org", "a@x..org"]
        {
            assert!(check_email(bad).is_err(), "{bad}");
        }
        assert!(check_email("ada@nowhere.invalid").is_err());
    }
}
