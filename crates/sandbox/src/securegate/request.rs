//! Reads and validates the parameters and bodies of Securegate's requests.

use serde_json::Value;

use super::problem::Problem;
use super::validation::{Members, Place, Problems, body, place};
use crate::simulator::Call;

/// As in the schema, where the United States and Canada are two members with the same value.
const COUNTRY_CODES: [&str; 6] = ["1", "44", "1", "61", "91", "345"];
const AUTHENTICATION_METHODS: [&str; 3] = ["QR Code", "Biometric", "Both"];
const ONBOARDING_FLOWS: [&str; 5] =
    ["only_auth", "kyc", "ssn_verification", "peps_sanctions", "criminal_check"];
pub(super) const STATUSES: [&str; 4] = ["pending", "sent", "accepted", "rejected"];
const EVENT_TYPES: [&str; 2] = ["fixed", "dated"];

/// One invite of a batch.
#[derive(Debug, Clone)]
pub(super) struct InviteCreate {
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub country_code: String,
    pub mobile_number: String,
    pub authentication_method: String,
}

#[derive(Debug)]
pub(super) struct EventCreate {
    pub title: String,
    pub description: Value,
    pub instructions: Value,
    pub image_url: Value,
    pub location: Value,
    pub start_timestamp: i64,
    pub end_timestamp: i64,
    pub kind: String,
    pub is_deleted: bool,
}

/// `POST /events/{event_id}/invites`
pub(super) fn create_invites(call: &Call) -> Result<Vec<InviteCreate>, Problem> {
    let body = body(call)?;
    let mut problems = Problems::default();
    if let Some(flow) = call.query_value("onboarding_flow_type") {
        problems.choice(&flow.into(), &ONBOARDING_FLOWS, place!["query", "onboarding_flow_type"]);
    }
    if let Some(notify) = call.query_value("notify") {
        problems.integer(&notify.into(), place!["query", "notify"]);
    }
    let invites = batch(body.as_ref(), &mut problems);
    finished(problems, invites)
}

fn batch(body: Option<&Value>, problems: &mut Problems) -> Option<Vec<InviteCreate>> {
    let body = whole_body(body, problems)?;
    let invites = body.required("invites", problems)?;
    let place = body.place("invites");
    let Some(items) = invites.as_array() else {
        problems.not_a_list(place, invites);
        return None;
    };
    let read = |(index, item)| {
        let mut place = place.clone();
        place.push(Value::from(index));
        invite(item, place, problems)
    };
    let read: Vec<Option<InviteCreate>> = items.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

fn invite(value: &Value, place: Place, problems: &mut Problems) -> Option<InviteCreate> {
    let invite = Members::of(value, place, problems)?;
    // All members are read before the first that is missing ends it, because a 422 names every problem.
    let first_name = invite.string("first_name", problems);
    let last_name = invite.string("last_name", problems);
    let email = invite.string("email", problems);
    let country_code = invite.choice("country_code", &COUNTRY_CODES, problems);
    let mobile_number = invite.string("mobile_number", problems);
    let method = invite.choice("authentication_method", &AUTHENTICATION_METHODS, problems);
    Some(InviteCreate {
        first_name: first_name?,
        last_name: last_name?,
        email: email?,
        country_code: country_code?,
        mobile_number: mobile_number?,
        authentication_method: method?,
    })
}

/// `PUT /events/{event_id}/invites/{invite_id}`
pub(super) fn new_status(call: &Call) -> Result<String, Problem> {
    let body = body(call)?;
    let mut problems = Problems::default();
    let status = whole_body(body.as_ref(), &mut problems)
        .and_then(|body| body.choice("status", &STATUSES, &mut problems));
    finished(problems, status)
}

/// `GET /events/{event_id}/invites?status=`
pub(super) fn status_filter(call: &Call) -> Result<Option<String>, Problem> {
    let mut problems = Problems::default();
    let status = call
        .query_value("status")
        .map(|status| problems.choice(&status.into(), &STATUSES, place!["query", "status"]));
    finished(problems, Some(status.flatten()))
}

/// A query parameter that must be there.
pub(super) fn required_parameter(call: &Call, name: &str) -> Result<String, Problem> {
    let mut problems = Problems::default();
    let value = call.query_value(name);
    if value.is_none() {
        problems.missing(place!["query", name], &Value::Null);
    }
    finished(problems, value)
}

/// `POST /events`
pub(super) fn create_event(call: &Call) -> Result<EventCreate, Problem> {
    let body = body(call)?;
    let mut problems = Problems::default();
    let event =
        whole_body(body.as_ref(), &mut problems).and_then(|body| event(&body, &mut problems));
    finished(problems, event)
}

fn event(body: &Members<'_>, problems: &mut Problems) -> Option<EventCreate> {
    let number = |name, problems: &mut Problems| {
        let value = body.required(name, problems)?;
        problems.integer(value, body.place(name))
    };
    let title = body.string("title", problems);
    let location = body.optional("location").filter(|location| !location.is_null());
    if let Some(location) = location {
        Members::of(location, body.place("location"), problems);
    }
    let start = number("start_timestamp", problems);
    let end = number("end_timestamp", problems);
    let kind = body.choice("type", &EVENT_TYPES, problems);
    let is_deleted = match body.optional("is_deleted") {
        Some(value) => problems.boolean(value, body.place("is_deleted")),
        None => Some(false),
    };
    let optional = |name| body.optional(name).cloned().unwrap_or(Value::Null);
    Some(EventCreate {
        title: title?,
        description: optional("description"),
        instructions: optional("instructions"),
        image_url: optional("imageUrl"),
        location: optional("location"),
        start_timestamp: start?,
        end_timestamp: end?,
        kind: kind?,
        is_deleted: is_deleted?,
    })
}

fn whole_body<'a>(body: Option<&'a Value>, problems: &mut Problems) -> Option<Members<'a>> {
    match body {
        Some(body) => Members::of(body, place!["body"], problems),
        None => {
            problems.missing(place!["body"], &Value::Null);
            None
        }
    }
}

/// The value, if there was no problem at all.
fn finished<T>(problems: Problems, value: Option<T>) -> Result<T, Problem> {
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.found()),
    }
}
