//! RKVST's JSON in its own names. Reading is tolerant: unknown members are skipped, and an entry that cannot be read does
//! not fail its list, which only notes that there is one.
//!
//! Sources: the Invites API reference, <https://docs.rkvst.com/docs/api-reference/invites-api/>, and
//! `doc/invitesv1.swagger.json` and `doc/membersv1.swagger.json` of `datatrails/datatrails-openapi`.

use invite_core::{
    Address, Invitee,
    adapter::excerpt::{members, of_reply},
    http::scrub,
    moment,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The claim of a JWT that names its tenancy, and the member of an invite's data that holds it.
pub const TENANCY: &str = "jit_tenant_id";

/// `v1CreateInviteRequest`. The documents disagree on which member is required, so both are always sent, and `message`
/// is never empty.
#[derive(Serialize)]
pub struct CreateInvite<'a> {
    pub message: &'a str,
    pub email: &'a str,
    /// What the caller adds.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `v1Invite`. It has no status, and exists until it is accepted or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// `invites/{uuid}`.
    pub identity: String,
    pub email: Option<String>,
    pub message: Option<String>,
    pub expiry_time: Option<Timestamp>,
}

/// `v1ListInvitesResponse`.
#[derive(Debug, PartialEq, Eq)]
pub struct InvitePage {
    /// The entries that could be read.
    pub invites: Vec<Invite>,
    /// Whether some entries could not, or show no address.
    pub unreadable: bool,
    /// The token of the next page; none on the last.
    pub next: Option<String>,
}

/// A page of `GET …/members`.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberPage {
    pub emails: Vec<String>,
    /// Whether some entries could not be read.
    pub unreadable: bool,
    /// The token of the next page; none on the last.
    pub next: Option<String>,
}

/// The token endpoint's reply.
#[derive(Deserialize)]
pub struct TokenReply {
    pub access_token: SecretString,
    #[serde(default, deserialize_with = "seconds")]
    pub expires_in: Option<f64>,
}

/// Reads a number or a string, because the service writes 64-bit integers as strings elsewhere.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_f64().or_else(|| value.as_str()?.parse().ok()))
}

impl Invite {
    /// Reads an invite; none if it shows no identity.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::of(&serde_json::from_slice(body).ok()?)
    }

    fn of(value: &Value) -> Option<Self> {
        Some(Self {
            identity: text(value, "identity").filter(|identity| !identity.is_empty())?.to_owned(),
            email: text(value, "email").map(str::to_owned),
            message: text(value, "message").map(str::to_owned),
            expiry_time: text(value, "expiry_time").and_then(moment::read),
        })
    }
}

impl InvitePage {
    /// Reads a page; none if it shows no list.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (entries, next) = read_page(body, "invites")?;
        let invites: Vec<_> = entries.iter().filter_map(Invite::of).collect();
        let unreadable =
            invites.len() < entries.len() || invites.iter().any(|invite| invite.email.is_none());
        Some(Self { invites, unreadable, next })
    }
}

impl MemberPage {
    /// Reads a page; none if it shows no list.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (entries, next) = read_page(body, "members")?;
        let emails: Vec<_> =
            entries.iter().filter_map(|member| text(member, "email")).map(str::to_owned).collect();
        let unreadable = emails.len() < entries.len();
        Some(Self { emails, unreadable, next })
    }
}

impl TokenReply {
    pub fn read(body: &[u8]) -> Option<Self> {
        let reply: Self = serde_json::from_slice(body).ok()?;
        Some(reply).filter(|reply| !reply.access_token.expose_secret().is_empty())
    }
}

/// The members of an invite that are shown.
const OF_AN_INVITE: [&str; 4] = ["identity", "email", "message", "expiry_time"];
/// The members of an error that are shown, in any of its shapes.
const OF_AN_ERROR: [&str; 5] = ["code", "error", "message", "description", "error_description"];

/// The recipient's part of an exchange ([`Excerpt`](invite_core::Excerpt)). Each exchange is about one invite.
pub fn excerpt(
    request: Option<&str>,
    reply: Option<&str>,
    index: usize,
    recipient: &Invitee,
) -> (Value, Value) {
    let own = |text: Option<&str>, part: fn(&Value, &Invitee) -> Option<Value>| {
        of_reply(text.filter(|_| index == 0), |body| part(&body, recipient).unwrap_or_default())
    };
    // All that was asked for is the recipient's own, also what the caller added.
    let asked = |body: &Value, recipient: &Invitee| is_to(body, recipient).then(|| body.clone());
    (own(request, asked), own(reply, own_part))
}

fn is_to(body: &Value, recipient: &Invitee) -> bool {
    text(body, "email")
        .is_some_and(|email| Address::shown(email) == Address::shown(&recipient.email))
}

/// The part of a reply that belongs to this recipient: the known members of their own invite or of an error.
fn own_part(body: &Value, recipient: &Invitee) -> Option<Value> {
    let mut shown = match text(body, "email") {
        Some(_) if is_to(body, recipient) => {
            let mut own = members(body, &OF_AN_INVITE);
            own.retain(|_, value| value.is_string());
            own
        }
        Some(_) => return None,
        None => {
            let mut own = members(body, &OF_AN_ERROR);
            own.retain(|_, value| value.is_string() || value.is_number());
            own
        }
    };
    let is_error = !shown.contains_key("email");
    for value in shown.values_mut().filter(|_| is_error) {
        if let Value::String(said) = value {
            *said = scrub(said);
        }
    }
    (!shown.is_empty()).then(|| shown.into())
}

/// The entries under `key`, and the token of the next page. Schema and prose call it `next_page_token`; the swagger's
/// example and the schema of members call it `page_token`.
fn read_page(body: &[u8], key: &str) -> Option<(Vec<Value>, Option<String>)> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let token = text(&value, "next_page_token").or_else(|| text(&value, "page_token"));
    let next = token.filter(|token| !token.is_empty()).map(str::to_owned);
    let entries = match value.get_mut(key)?.take() {
        Value::Array(entries) => entries,
        Value::Null => Vec::new(),
        _ => return None,
    };
    Some((entries, next))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = r#"{
        "identity": "invites/bbbaeab8-539d-4482-9a98-f1285e7f75cb",
        "message": "personalised message",
        "email": "john.doe@example.com",
        "expiry_time": "2022-06-17T11:30:43Z"
    }"#;

    #[test]
    fn the_documented_invite_is_read() {
        let invite = Invite::read(INVITE.as_bytes()).unwrap();
        assert_eq!(invite.identity, "invites/bbbaeab8-539d-4482-9a98-f1285e7f75cb");
        assert_eq!(invite.email.as_deref(), Some("john.doe@example.com"));
        assert_eq!(invite.message.as_deref(), Some("personalised message"));
        assert_eq!(invite.expiry_time.unwrap().to_string(), "2022-06-17T11:30:43Z");
    }

    #[test]
    fn unknown_and_malformed_members_do_not_hide_an_invite() {
        let body =
            br#"{"identity":"invites/1","email":null,"message":7,"expiry_time":"soon","new":[]}"#;
        let invite = Invite::read(body).unwrap();
        assert_eq!((invite.email, invite.message, invite.expiry_time), (None, None, None));
        let naive = br#"{"identity":"invites/1","expiry_time":"2022-06-17T11:30:43.5"}"#;
        let expiry = Invite::read(naive).unwrap().expiry_time.unwrap();
        assert_eq!(expiry.to_string(), "2022-06-17T11:30:43.5Z");
    }

    #[test]
    fn what_has_no_identity_is_no_invite() {
        for body in ["", "{}", "[]", "null", r#"{"identity":""}"#, "<html>"] {
            assert_eq!(Invite::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_page_is_read_with_either_name_of_its_token() {
        let page = |token: &str| {
            let body = format!(r#"{{"invites":[{INVITE}]{token}}}"#);
            InvitePage::read(body.as_bytes()).unwrap()
        };
        assert_eq!(page("").next, None);
        assert_eq!(page(r#","next_page_token":"""#).next, None);
        assert_eq!(page(r#","next_page_token":"n""#).next.as_deref(), Some("n"));
        assert_eq!(page(r#","page_token":"p""#).next.as_deref(), Some("p"));
        assert_eq!(page(r#","next_page_token":"","page_token":"p""#).next, None);
        assert_eq!(page("").invites.len(), 1);
        assert!(!page("").unreadable);
    }

    #[test]
    fn a_reply_without_the_list_is_no_empty_list() {
        for body in ["{}", r#"{"error":"x"}"#, r#"{"invites":{}}"#, "[]", ""] {
            assert_eq!(InvitePage::read(body.as_bytes()), None, "{body}");
        }
        assert!(InvitePage::read(br#"{"invites":null}"#).unwrap().invites.is_empty());
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_noticed() {
        let body =
            br#"{"invites":[{"email":"a@example.org"},{"identity":"invites/2","email":""}]}"#;
        let page = InvitePage::read(body).unwrap();
        assert_eq!((page.invites.len(), page.unreadable), (1, true));
        let no_address = br#"{"invites":[{"identity":"invites/2"}]}"#;
        assert!(InvitePage::read(no_address).unwrap().unreadable);
        let members =
            br#"{"members":[{"email":"a@example.org","active":true},{}],"page_token":"p"}"#;
        let page = MemberPage::read(members).unwrap();
        assert_eq!((page.emails.len(), page.unreadable), (1, true));
        assert_eq!(page.next.as_deref(), Some("p"));
    }

    #[test]
    fn a_token_is_read_with_a_lifetime_in_either_form_or_none() {
        let read = |body: &str| TokenReply::read(body.as_bytes()).map(|reply| reply.expires_in);
        let fixture = r#"{"access_token":"t","expires_in":660,"token_type":"Bearer"}"#;
        assert_eq!(read(fixture), Some(Some(660.0)));
        assert_eq!(read(r#"{"access_token":"t","expires_in":"60"}"#), Some(Some(60.0)));
        assert_eq!(read(r#"{"access_token":"t"}"#), Some(None));
        assert_eq!(read(r#"{"access_token":null,"expires_in":660}"#), None);
    }
}
