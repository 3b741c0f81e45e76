//! The part of an exchange that belongs to one recipient: only what is known to be theirs, because votes, for example,
//! repeat the whole body and name the voters.

use invite_core::{
    Address, Invitee,
    adapter::{
        excerpt::{self, members, or_null},
        extra,
    },
    http::scrub_of,
};
use serde_json::{Map, Value, json};

use crate::{config::MEMBERS, error::invitation_member};

/// The members of an activity that are about no person.
const ABOUT_ALL: &[&str] =
    &["id", "organizationId", "status", "type", "fingerprint", "createdAt", "updatedAt"];

/// The part of a request and a reply that belongs to one recipient ([`Excerpt`](invite_core::Excerpt)). A question about
/// one invite may be answered with the whole call that made it.
pub fn of(
    request: Option<&str>,
    reply: Option<&str>,
    index: usize,
    recipient: &Invitee,
) -> (Value, Value) {
    let request = excerpt::of_request(request);
    let invitations = request.pointer("/parameters/invitations").and_then(Value::as_array);
    let personal: Vec<&str> = invitations.into_iter().flatten().flat_map(personal_data).collect();
    let scrubbed = |text: &str| scrub_of(text, personal.iter().copied());
    let asked = own_place(invitations, index, recipient);
    let own = Own { asked, index, recipient };
    let reply = excerpt::of_reply(reply, |reply| reply_of(&reply, &own, &scrubbed));
    (request_of(&request, asked), reply)
}

/// The recipient whose part is shown.
struct Own<'a> {
    /// The place in the request, if the request names the recipient.
    asked: Option<usize>,
    index: usize,
    recipient: &'a Invitee,
}

/// The place of the invitation to the recipient: `index` if it is theirs, else the first that is.
fn own_place(invitations: Option<&Vec<Value>>, index: usize, own: &Invitee) -> Option<usize> {
    let address = Address::shown(&own.email);
    let is_own = |invitation: &Value| {
        let email = invitation.get("receiverUserEmail").and_then(Value::as_str);
        email.is_some_and(|email| Address::shown(email) == address)
    };
    let invitations = invitations?;
    let at_index = invitations.get(index).is_some_and(is_own).then_some(index);
    at_index.or_else(|| invitations.iter().position(is_own))
}

fn personal_data(invitation: &Value) -> impl Iterator<Item = &str> {
    let text = |name| invitation.get(name).and_then(Value::as_str);
    let name = text("receiverUserName");
    let added = invitation.as_object().into_iter().flatten();
    let added = added.filter(|(name, _)| !MEMBERS.contains(&name.as_str()));
    // The name's words are pieces of their own, because a message may quote one of them.
    text("receiverUserEmail")
        .into_iter()
        .chain(name)
        .chain(name.into_iter().flat_map(str::split_whitespace))
        .chain(added.flat_map(|(_, value)| extra::texts(value)))
}

fn request_of(request: &Value, place: Option<usize>) -> Value {
    let mut excerpt = members(request, &["type", "timestampMs", "organizationId"]);
    let own = |place| request.pointer(&format!("/parameters/invitations/{place}"));
    if let Some(own) = place.and_then(own) {
        excerpt.insert("parameters".into(), json!({ "invitations": [own] }));
    }
    or_null(excerpt)
}

fn reply_of(reply: &Value, own: &Own<'_>, scrubbed: &dyn Fn(&str) -> String) -> Value {
    if let Some(activity) = reply.get("activity") {
        return json!({ "activity": activity_of(activity, own, scrubbed) });
    }
    or_null(error_of(reply, own.asked, scrubbed))
}

fn activity_of(activity: &Value, own: &Own<'_>, scrubbed: &dyn Fn(&str) -> String) -> Value {
    let mut excerpt = members(activity, ABOUT_ALL);
    let intended = "/intent/createInvitationsIntent/invitations";
    let created = "/result/createInvitationsResult/invitationIds";
    let intentions = activity.pointer(intended).and_then(Value::as_array);
    // If it does not show what it was to create, the request that it answers does.
    let place = match intentions {
        Some(_) => own_place(intentions, own.index, own.recipient),
        None => own.asked,
    };
    let at = |list: &str| activity.pointer(&format!("{list}/{}", place?));
    let mut result = Map::new();
    if let Some(own) = at(intended) {
        excerpt.insert("intent".into(), json!({"createInvitationsIntent": {"invitations": [own]}}));
    }
    if let Some(own) = at(created) {
        result.insert("createInvitationsResult".into(), json!({ "invitationIds": [own] }));
    }
    if let Some(nested) = activity.pointer("/result/activity") {
        result.insert("activity".into(), activity_of(nested, own, scrubbed));
    }
    if !result.is_empty() {
        excerpt.insert("result".into(), result.into());
    }
    if let Some(failure) = activity.get("failure").filter(|failure| failure.is_object()) {
        excerpt.insert("failure".into(), error_of(failure, place, scrubbed).into());
    }
    excerpt.into()
}

/// What an error says, without what it says of other invitations than the one at `place`.
fn error_of(
    error: &Value,
    place: Option<usize>,
    scrubbed: &dyn Fn(&str) -> String,
) -> Map<String, Value> {
    let mut excerpt = members(error, &["code", "turnkeyErrorCode"]);
    if let Some(message) = error.get("message").and_then(Value::as_str) {
        excerpt.insert("message".into(), scrubbed(message).into());
    }
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    let details: Vec<Value> = details.filter_map(|it| detail_of(it, place, scrubbed)).collect();
    if !details.is_empty() {
        excerpt.insert("details".into(), details.into());
    }
    excerpt
}

fn detail_of(
    detail: &Value,
    place: Option<usize>,
    scrubbed: &dyn Fn(&str) -> String,
) -> Option<Value> {
    let mut excerpt = members(detail, &["@type", "turnkeyErrorCode"]);
    excerpt.retain(|_, value| value.is_string());
    let violations = detail.get("fieldViolations").and_then(Value::as_array);
    let shown = violations.into_iter().flatten().filter_map(|violation| {
        let text = |name| violation.get(name).and_then(Value::as_str);
        let field = text("field")?;
        let is_others = invitation_member(field).is_some_and(|(index, _)| Some(index) != place);
        let description = scrubbed(text("description").unwrap_or_default());
        (!is_others).then(|| json!({ "field": scrubbed(field), "description": description }))
    });
    let shown: Vec<Value> = shown.collect();
    if !shown.is_empty() {
        excerpt.insert("fieldViolations".into(), shown.into());
    }
    (!excerpt.is_empty()).then(|| excerpt.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Invitee {
        Invitee { email: "Ada@example.org".into(), ..Invitee::default() }
    }

    fn request() -> String {
        json!({
            "type": "ACTIVITY_TYPE_CREATE_INVITATIONS", "timestampMs": "1", "organizationId": "o",
            "parameters": {"invitations": [
                {"receiverUserName": "Ada Lovelace", "receiverUserEmail": "ada@example.org"},
                {"receiverUserName": "Grace Hopper", "receiverUserEmail": "grace@example.org"},
            ]},
        })
        .to_string()
    }

    fn activity() -> Value {
        json!({
            "id": "a", "status": "ACTIVITY_STATUS_COMPLETED",
            "intent": {"createInvitationsIntent": {"invitations": [
                {"receiverUserEmail": "ada@example.org"}, {"receiverUserEmail": "grace@example.org"}]}},
            "result": {"createInvitationsResult": {"invitationIds": ["first", "second"]}},
            "votes": [{"message": request(), "signature": "3045", "user": {"userEmail": "boss@example.org"}}],
            "failure": null,
        })
    }

    #[test]
    fn only_the_recipients_own_part_is_left() {
        let nested = json!({"activity": {"id": "a", "result": {"activity": activity()}}});
        for reply in [json!({"activity": activity()}), nested] {
            let (request, reply) = of(Some(&request()), Some(&reply.to_string()), 0, &ada());
            let text = format!("{request} {reply}").to_lowercase();
            for own in ["ada@example.org", "first", "\"timestampms\":\"1\""] {
                assert!(text.contains(own), "{text}");
            }
            for other in ["grace", "second", "votes", "3045", "boss"] {
                assert!(!text.contains(other), "{text}");
            }
        }
    }

    #[test]
    fn an_error_keeps_its_code_and_loses_names() {
        let error = r#"{"code":3,"message":"Hopper, grace@example.org: no MX","turnkeyErrorCode":"INVALID_FQDN","details":[{"x":"Hopper"}]}"#;
        let (_, reply) = of(Some(&request()), Some(error), 0, &ada());
        assert_eq!(reply["turnkeyErrorCode"], "INVALID_FQDN");
        assert!(!reply.to_string().contains("opper"), "{reply}");
    }

    #[test]
    fn of_an_errors_details_codes_and_what_concerns_the_recipient_are_left() {
        let violation = |place: usize, word: &str| {
            let field = format!("parameters.invitations[{place}].receiverUserEmail");
            json!({ "field": field, "description": word })
        };
        let error = json!({"code": 3, "message": "invalid", "details": [
            {"@type": "type.googleapis.com/BadRequest", "turnkeyErrorCode": "INVALID_EMAIL", "x": "Hopper",
             "fieldViolations": [violation(0, "no MX"), violation(1, "no such mailbox")]},
            {"debug": "Hopper"},
        ]});
        let (_, reply) = of(Some(&request()), Some(&error.to_string()), 0, &ada());
        let expected = json!({"code": 3, "message": "invalid", "details": [
            {"@type": "type.googleapis.com/BadRequest", "turnkeyErrorCode": "INVALID_EMAIL",
             "fieldViolations": [violation(0, "no MX")]},
        ]});
        assert_eq!(reply, expected);
    }

    #[test]
    fn what_is_missing_or_unreadable_is_no_error() {
        assert_eq!(of(None, None, 0, &ada()), (Value::Null, Value::Null));
        assert_eq!(of(Some("{"), Some("<html> Bad gateway"), 0, &ada()).1, "[not JSON]");
        let eve = Invitee { email: "eve@example.org".into(), ..Invitee::default() };
        let (request, _) = of(Some(&request()), None, 0, &eve);
        assert!(request.get("parameters").is_none());
    }

    #[test]
    fn a_question_answered_with_a_whole_call_shows_the_recipients_part_of_it() {
        let grace = Invitee { email: "grace@example.org".into(), ..Invitee::default() };
        let reply = json!({ "activity": activity() }).to_string();
        let question = json!({"organizationId": "o", "activityId": "a"}).to_string();
        // It is one question about one invite, whichever place that had in its call.
        let (_, shown) = of(Some(&question), Some(&reply), 0, &grace);
        let text = shown.to_string();
        assert!(text.contains("grace@example.org") && text.contains("second"), "{text}");
        assert!(!text.contains("ada") && !text.contains("first"), "{text}");
    }

    #[test]
    fn a_list_of_the_organization_shows_nobody() {
        let listed = json!({"organizationData": {
            "name": "Acme", "users": [{"userEmail": "boss@example.org"}],
            "invitations": [{"receiverEmail": "ada@example.org"}]}});
        let (_, shown) = of(None, Some(&listed.to_string()), 0, &ada());
        assert_eq!(shown, Value::Null);
    }
}
