//! The part of an exchange that belongs to one recipient: only known members, and no code that lets anybody in.

use invite_core::{
    Address, Invitee,
    adapter::{excerpt, extra},
    http::scrub_of,
};
use serde_json::{Value, json};

use crate::{config::MEMBERS, error::ErrorBody};

/// The members of an invite in a reply that are shown, beside `session_code`.
const SHOWN: [&str; 16] = [
    "id",
    "event_id",
    "email",
    "first_name",
    "last_name",
    "country_code",
    "mobile_number",
    "authentication_method",
    "session_id",
    "ticket_id",
    "onyxplus_id",
    "image",
    "last_seen",
    "status",
    "created_at",
    "updated_at",
];
/// The members of a create call's invite that are personal data.
const PERSONAL: [&str; 4] = ["email", "first_name", "last_name", "mobile_number"];

/// One recipient's part of a create call's request and reply ([`Excerpt`](invite_core::Excerpt)).
pub fn of(
    request: Option<&str>,
    reply: Option<&str>,
    index: usize,
    recipient: &Invitee,
) -> (Value, Value) {
    let request = excerpt::of_request(request);
    let sent = request["invites"].as_array().map_or(&[][..], Vec::as_slice);
    let others: Vec<&str> = sent
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != index)
        .flat_map(|(_, invite)| {
            let added = invite.as_object().into_iter().flatten();
            let added = added.filter(|(name, _)| !MEMBERS.contains(&name.as_str()));
            let added = added.flat_map(|(_, value)| extra::texts(value));
            PERSONAL.into_iter().filter_map(|member| invite[member].as_str()).chain(added)
        })
        .collect();
    let own = match request.get("invites") {
        Some(_) => sent.get(index).map_or(Value::Null, |invite| json!({ "invites": [invite] })),
        // This is a request about one invite, which names nobody.
        None => request.clone(),
    };
    (own, excerpt::of_reply(reply, |reply| excerpt_reply(reply, index, recipient, &others)))
}

fn excerpt_reply(reply: Value, index: usize, recipient: &Invitee, others: &[&str]) -> Value {
    let scrubbed = |text: &str| scrub_of(text, others.iter().copied());
    match reply {
        Value::Array(invites) => {
            own_invite(invites, recipient).map_or(Value::Null, |own| json!([own]))
        }
        // This is the reply to a request about one invite.
        Value::Object(one) if one.contains_key("id") || one.contains_key("email") => {
            own_invite(vec![one.into()], recipient).unwrap_or_default()
        }
        other => {
            let body = ErrorBody::of(other);
            let Some(errors) = body.validation() else {
                let said =
                    body.said().map(|(member, text)| (member.to_owned(), scrubbed(text).into()));
                return excerpt::or_null(said.into_iter().collect());
            };
            let own = errors.iter().filter(|error| error.index().is_none_or(|at| at == index));
            let own = own.map(|error| {
                json!({ "loc": error.loc, "msg": scrubbed(&error.msg), "type": scrubbed(&error.kind) })
            });
            json!({ "detail": own.collect::<Vec<_>>() })
        }
    }
}

/// The invite to a recipient, without the code that lets them in.
fn own_invite(invites: Vec<Value>, recipient: &Invitee) -> Option<Value> {
    let address = Address::shown(&recipient.email);
    let is_own =
        |invite: &Value| invite["email"].as_str().is_some_and(|e| Address::shown(e) == address);
    let own = invites.into_iter().find(is_own)?;
    let mut shown = excerpt::members(&own, &SHOWN);
    shown.retain(|_, value| !value.is_array() && !value.is_object());
    if own.get("session_code").is_some() {
        shown.insert("session_code".into(), "[redacted]".into());
    }
    Some(shown.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canned::{recipient, shown},
        config::AuthenticationMethod,
        wire::{InviteBatchRequest, InviteCreate, InviteStatusUpdate},
    };

    fn two_people() -> (String, Invitee) {
        let ada = recipient("http://localhost", "ada@example.org", "Ada");
        let grace = recipient("http://localhost", "grace@example.org", "Grace");
        let invites = [&ada, &grace]
            .map(|r| {
                let nickname = r.invitee.first_name.as_deref().map(|name| format!("{name}kin"));
                let extra = [("nickname".to_owned(), json!(nickname))].into_iter().collect();
                InviteCreate::of(r, AuthenticationMethod::QrCode, extra).unwrap()
            })
            .into();
        (json!(InviteBatchRequest { invites }).to_string(), ada.invitee)
    }

    #[test]
    fn an_excerpt_shows_one_recipients_part_and_no_session_code() {
        let (request, ada) = two_people();
        let at = "2023-02-28T12:00:00Z";
        let reply = json!([
            shown("invite-2", "grace@example.org", "Grace", at),
            shown("invite-1", "ADA@example.org", "Ada", at),
        ]);
        let (sent, received) = of(Some(&request), Some(&reply.to_string()), 0, &ada);
        assert_eq!(sent["invites"][0]["email"], "ada@example.org");
        assert_eq!(received[0]["id"], "invite-1");
        assert_eq!(received[0]["session_code"], "[redacted]");
        let both = format!("{sent}{received}");
        assert!(!both.to_lowercase().contains("grace") && !both.contains("ABC123"), "{both}");
    }

    #[test]
    fn an_excerpt_of_an_exchange_about_one_invite_shows_it_without_its_session_code() {
        let (_, ada) = two_people();
        let reply = shown("invite-1", "ADA@example.org", "Ada", "2023-02-28T12:00:00Z").to_string();
        let update = json!(InviteStatusUpdate { status: "rejected" }).to_string();
        let (sent, received) = of(Some(&update), Some(&reply), 0, &ada);
        assert_eq!(sent, json!({"status": "rejected"}));
        assert_eq!(
            (&received["id"], &received["session_code"]),
            (&json!("invite-1"), &json!("[redacted]"))
        );
        assert!(!received.to_string().contains("ABC123"));
        let novel = reply.replace('{', r#"{"host": {"email": "boss@example.org"},"#);
        let (_, shown) = of(None, Some(&novel), 0, &ada);
        assert_eq!(shown, received, "only what is known");
        // What an id leads to may be another person's.
        let (_, grace) = of(None, Some(&reply.replace("ADA", "grace")), 0, &ada);
        assert_eq!(grace, Value::Null);
    }

    #[test]
    fn an_excerpt_of_a_refusal_holds_no_other_persons_part_and_no_input() {
        let (request, ada) = two_people();
        let reply = json!({"detail": [
            {"loc": ["body", "invites", 1, "email"], "msg": "Grace", "type": "t", "input": "Grace"},
            {"loc": ["body", "invites", 0, "email"], "msg": "as for Grace", "type": "t",
             "input": {"session": "x"}},
        ]});
        let (_, received) = of(Some(&request), Some(&reply.to_string()), 0, &ada);
        let expected = json!({"detail": [
            {"loc": ["body", "invites", 0, "email"], "msg": "as for …", "type": "t"},
        ]});
        assert_eq!(received, expected);
        let reply = r#"{"detail": "Gracekin is blocked"}"#;
        let (_, received) = of(Some(&request), Some(reply), 0, &ada);
        assert_eq!(received, json!({"detail": "… is blocked"}));
        let (_, received) =
            of(Some(&request), Some(r#"{"message": "Grace?", "trace": "x"}"#), 0, &ada);
        assert_eq!(received, json!({"message": "…?"}), "in the provider's own words");
    }

    #[test]
    fn an_excerpt_of_what_cannot_be_read_shows_none_of_it() {
        let (request, ada) = two_people();
        let (_, received) = of(Some(&request), Some("[{\"email\": \"grace@"), 0, &ada);
        assert_eq!(received, "[not JSON]");
        assert_eq!(of(None, None, 0, &ada), (Value::Null, Value::Null));
        assert_eq!(of(Some(&request), None, 9, &ada).0, Value::Null);
    }
}
