//! Securegate's JSON in its own names, and what it means in ours. Reading tolerates what the documents do not promise.
//!
//! <https://docs.securegate.ai/api-reference/endpoint/create-invites>

use std::ops::RangeInclusive;

use invite_core::{Address, Fault, Invitee, Observed, Recipient, Status, moment};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::config::AuthenticationMethod;

/// The body of a create call.
#[derive(Serialize)]
pub struct InviteBatchRequest<'a> {
    pub invites: Vec<InviteCreate<'a>>,
}

/// One invite of a create call. Securegate requires all six members.
#[derive(Serialize)]
pub struct InviteCreate<'a> {
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub email: &'a str,
    pub country_code: &'static str,
    pub mobile_number: &'a str,
    pub authentication_method: AuthenticationMethod,
    /// What the caller adds.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl<'a> InviteCreate<'a> {
    /// The invite for a recipient; none if a member is missing, which
    /// [`resolve`](invite_core::InviteProvider::resolve) rules out.
    pub fn of(
        recipient: &'a Recipient,
        method: AuthenticationMethod,
        extra: Map<String, Value>,
    ) -> Option<Self> {
        let invitee = &recipient.invitee;
        let (country_code, mobile_number) = split_phone(invitee.phone.as_deref()?)?;
        Some(Self {
            first_name: invitee.first_name.as_deref()?,
            last_name: invitee.last_name.as_deref()?,
            email: &invitee.email,
            country_code,
            mobile_number,
            authentication_method: method,
            extra,
        })
    }
}

/// The faults of the members that Securegate requires.
pub fn check_invitee(invitee: &Invitee, provider: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (member, value) in [
        ("first_name", &invitee.first_name),
        ("last_name", &invitee.last_name),
        ("phone", &invitee.phone),
    ] {
        if value.as_deref().is_none_or(|value| value.trim().is_empty()) {
            let detail = format!("`{member}` is missing; {provider} (securegate) needs it");
            faults.push(Fault::new(format!("/{member}"), "required", detail));
        }
    }
    let phone = invitee.phone.as_deref().unwrap_or_default();
    if !phone.trim().is_empty() {
        faults.extend(check_phone(phone, provider));
    }
    faults
}

/// The fault of a number that is in a country to which Securegate does not invite, or that none there can be.
fn check_phone(phone: &str, provider: &str) -> Option<Fault> {
    if split_phone(phone).is_none() {
        let detail = format!(
            "{provider} (securegate) invites only to numbers that begin with +1 (+1345 \
             included), +44, +61 or +91"
        );
        return Some(Fault::new("/phone", "not-allowed", detail));
    }
    let plan = PLANS.iter().find(|plan| phone.starts_with(plan.dialled))?;
    let detail = format!("there is no such number: {}", plan.rule);
    (!plan.holds(&phone[plan.dialled.len()..])).then(|| Fault::new("/phone", "invalid", detail))
}

/// The form of the numbers under a country code. Which of them are assigned changes, and is not checked.
struct Plan {
    dialled: &'static str,
    /// How many digits follow the country code.
    digits: RangeInclusive<usize>,
    /// How many follow if the first is 1, as it is for services in some countries.
    with_one: Option<RangeInclusive<usize>>,
    rule: &'static str,
}

impl Plan {
    fn holds(&self, number: &str) -> bool {
        match number.as_bytes() {
            [] | [b'0', ..] => false,
            [b'1', ..] => {
                self.with_one.as_ref().is_some_and(|digits| digits.contains(&number.len()))
            }
            _ => self.digits.contains(&number.len()),
        }
    }
}

/// All lengths in use under a code are taken, also those of services: only what no number can be is refused.
const PLANS: [Plan; 4] = [
    Plan {
        dialled: "+1",
        digits: 10..=10,
        with_one: None,
        rule: "+1 is followed by ten digits, the first from 2 to 9",
    },
    Plan {
        dialled: "+44",
        digits: 7..=10,
        with_one: Some(9..=10),
        rule: "+44 is followed by seven to ten digits, without the 0 that is dialled within the country",
    },
    Plan {
        dialled: "+61",
        digits: 9..=9,
        with_one: Some(6..=10),
        rule: "+61 is followed by nine digits, without the 0 that is dialled within the country",
    },
    Plan {
        dialled: "+91",
        digits: 10..=10,
        with_one: Some(8..=13),
        rule: "+91 is followed by ten digits, without the 0 that is dialled within the country",
    },
];

/// The body that sets a status.
#[derive(Serialize)]
pub struct InviteStatusUpdate {
    pub status: &'static str,
}

/// An invite as Securegate shows it. Any member may be absent, null or of another type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Invite {
    #[serde(deserialize_with = "text")]
    pub id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub event_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub email: Option<String>,
    #[serde(deserialize_with = "text")]
    first_name: Option<String>,
    #[serde(deserialize_with = "text")]
    last_name: Option<String>,
    #[serde(deserialize_with = "text")]
    country_code: Option<String>,
    #[serde(deserialize_with = "text")]
    mobile_number: Option<String>,
    #[serde(deserialize_with = "text")]
    session_id: Option<String>,
    #[serde(deserialize_with = "text")]
    session_code: Option<String>,
    #[serde(deserialize_with = "text")]
    status: Option<String>,
    #[serde(deserialize_with = "text")]
    created_at: Option<String>,
    #[serde(deserialize_with = "text")]
    updated_at: Option<String>,
    #[serde(deserialize_with = "text")]
    last_seen: Option<String>,
    #[serde(deserialize_with = "text")]
    image: Option<String>,
    #[serde(deserialize_with = "text")]
    onyxplus_id: Option<String>,
    #[serde(deserialize_with = "text")]
    ticket_id: Option<String>,
}

/// The longest member that callers are shown, in bytes. An image is an address by the sample; a picture itself would be
/// stored with each invite.
const MAX_SHOWN: usize = 2000;

/// Reads a text, or a number as text; anything else counts as absent.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

impl Invite {
    pub fn address(&self) -> Option<Address> {
        self.email.as_deref().map(Address::shown)
    }

    /// Whether it shows this person's names and number.
    pub fn shows(&self, invitee: &Invitee) -> bool {
        let phone = self.country_code.as_deref().zip(self.mobile_number.as_deref());
        self.first_name.is_some()
            && self.first_name == invitee.first_name
            && self.last_name == invitee.last_name
            && phone.map(|(code, number)| join_phone(code, number)) == invitee.phone
    }

    /// The invite in the gateway's terms.
    pub fn observed(self) -> Observed {
        let mut data = Map::new();
        for (name, value) in [
            ("event_id", self.event_id),
            ("session_id", self.session_id),
            ("session_code", self.session_code),
            ("ticket_id", self.ticket_id),
            ("onyxplus_id", self.onyxplus_id),
            ("image", self.image),
            ("last_seen", self.last_seen),
            ("created_at", self.created_at.clone()),
            ("updated_at", self.updated_at),
        ] {
            let value = value.filter(|value| value.len() <= MAX_SHOWN);
            data.extend(value.map(|value| (name.to_owned(), Value::String(value))));
        }
        let phone = match (&self.country_code, &self.mobile_number) {
            (Some(country_code), Some(number)) => Some(join_phone(country_code, number)),
            _ => None,
        };
        let invitee = self.email.map(|email| Invitee {
            email,
            first_name: self.first_name,
            last_name: self.last_name,
            phone,
            message: None,
        });
        Observed {
            provider_status: self.status.clone(),
            created_at: self.created_at.as_deref().and_then(moment::read),
            data,
            invitee,
            ..Observed::new(self.id, read_status(self.status.as_deref()))
        }
    }
}

/// An event, as far as look-ups need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    #[serde(deserialize_with = "text")]
    pub id: Option<String>,
    is_deleted: Value,
}

impl Event {
    /// Whether it shows itself as this event, and not as deleted.
    pub fn is_live(&self, event_id: &str) -> bool {
        self.id.as_deref() == Some(event_id) && !self.is_deleted()
    }

    /// Whether anything in it may mean that it is deleted.
    pub fn is_deleted(&self) -> bool {
        !matches!(self.is_deleted, Value::Null | Value::Bool(false))
    }
}

/// What is dialled for the country codes that Securegate lists. The Cayman Islands ("345") are dialled +1-345, which has
/// to come before +1.
const COUNTRY_CODES: [(&str, &str); 5] =
    [("+1345", "345"), ("+1", "1"), ("+44", "44"), ("+61", "61"), ("+91", "91")];

/// The `country_code` and `mobile_number` of an E.164 number; none for other countries.
pub fn split_phone(phone: &str) -> Option<(&'static str, &str)> {
    COUNTRY_CODES.iter().find_map(|(dialled, code)| {
        let number = phone.strip_prefix(dialled)?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_number.then_some((*code, number))
    })
}

/// The E.164 number of a `country_code` and a `mobile_number`, whatever is between their digits.
fn join_phone(country_code: &str, mobile_number: &str) -> String {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let country_code = digits(country_code);
    let listed = COUNTRY_CODES.iter().find(|(_, code)| *code == country_code);
    let dialled = listed.map_or(format!("+{country_code}"), |(dialled, _)| (*dialled).to_owned());
    dialled + &digits(mobile_number)
}

/// Securegate's word for a status that can be set there.
pub fn status_word(status: Status) -> Option<&'static str> {
    match status {
        Status::Pending => Some("pending"),
        Status::Sent => Some("sent"),
        Status::Accepted => Some("accepted"),
        Status::Declined => Some("rejected"),
        _ => None,
    }
}

/// What a status word means. None means `pending`, as documented; an unknown word is taken for that, too.
fn read_status(word: Option<&str>) -> Status {
    match word {
        Some("sent") => Status::Sent,
        Some("accepted") => Status::Accepted,
        Some("rejected") => Status::Declined,
        _ => Status::Pending,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canned::{recipient, shown};

    fn observe(change: &[(&str, Value)]) -> Observed {
        let mut invite =
            shown("invite-123", "john.doe@example.com", "John", "2023-02-28T12:00:00Z");
        for (name, value) in change {
            invite[*name] = value.clone();
        }
        serde_json::from_value::<Invite>(invite).unwrap().observed()
    }

    #[test]
    fn the_documented_invite_reads_in_our_terms() {
        let observed = observe(&[]);
        assert_eq!(observed.provider_ref.as_deref(), Some("invite-123"));
        assert_eq!(observed.created_at.unwrap().to_string(), "2023-02-28T12:00:00Z");
        let data = json!({
            "event_id": "event-456", "session_id": "session-789", "session_code": "ABC123",
            "created_at": "2023-02-28T12:00:00Z", "updated_at": "2023-02-28T12:00:00Z",
        });
        assert_eq!(Value::Object(observed.data), data);
        let invitee = observed.invitee.unwrap();
        assert_eq!(invitee.first_name.as_deref(), Some("John"));
        assert_eq!(invitee.phone.as_deref(), Some("+15551234567"));
        assert_eq!(observed.expires_at, None);
    }

    #[test]
    fn what_a_guest_who_accepted_has_is_shown_unless_it_is_a_picture_itself() {
        let shown = |image: &str| {
            let accepted = [
                ("ticket_id", json!("ticket-456")),
                ("onyxplus_id", json!("onyx-123")),
                ("image", json!(image)),
                ("last_seen", json!("2023-03-01T09:30:00")),
                ("updated_at", json!("2023-03-01T09:30:00Z")),
            ];
            Value::Object(observe(&accepted).data)
        };
        let data = json!({
            "event_id": "event-456", "session_id": "session-789", "session_code": "ABC123",
            "ticket_id": "ticket-456", "onyxplus_id": "onyx-123",
            "image": "https://example.com/john.jpg", "last_seen": "2023-03-01T09:30:00",
            "created_at": "2023-02-28T12:00:00Z", "updated_at": "2023-03-01T09:30:00Z",
        });
        assert_eq!(shown("https://example.com/john.jpg"), data);
        assert_eq!(shown(&"/9j/".repeat(5000)).get("image"), None);
    }

    #[test]
    fn status_words_map_and_unknown_ones_are_kept() {
        for (word, status) in [
            (json!("pending"), Status::Pending),
            (json!("sent"), Status::Sent),
            (json!("accepted"), Status::Accepted),
            (json!("rejected"), Status::Declined),
            (json!("waitlisted"), Status::Pending),
            (json!(null), Status::Pending),
            (json!({"new": "form"}), Status::Pending),
        ] {
            let observed = observe(&[("status", word.clone())]);
            assert_eq!(observed.status, status, "{word}");
            assert_eq!(observed.provider_status.as_deref(), word.as_str());
        }
        for status in [Status::Pending, Status::Sent, Status::Accepted, Status::Declined] {
            assert_eq!(read_status(status_word(status)), status);
        }
        assert_eq!(status_word(Status::Revoked), None);
    }

    #[test]
    fn times_without_a_zone_are_utc_and_others_are_absent() {
        for (text, read) in [
            ("2023-01-15T10:30:00.000000", Some("2023-01-15T10:30:00Z")),
            ("2023-01-15T10:30:00", Some("2023-01-15T10:30:00Z")),
            ("2023-01-15T10:30:00.5+02:00", Some("2023-01-15T08:30:00.5Z")),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00", None),
            ("9999-12-31T23:59:59Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            let at = observe(&[("created_at", json!(text))]).created_at;
            assert_eq!(at.map(|t| t.to_string()).as_deref(), read, "{text}");
        }
        assert_eq!(observe(&[("created_at", json!(1677609600))]).created_at, None);
    }

    #[test]
    fn members_may_be_absent_null_or_new() {
        let sparse: Invite = serde_json::from_value(json!({"id": 7, "vip": {"a": [1]}})).unwrap();
        let observed = sparse.observed();
        assert_eq!(observed.provider_ref.as_deref(), Some("7"));
        assert_eq!((observed.invitee, observed.data.len()), (None, 0));
    }

    #[test]
    fn numbers_of_the_listed_countries_are_split_and_others_are_not() {
        for (phone, parts) in [
            ("+15551234567", Some(("1", "5551234567"))),
            ("+13459491234", Some(("345", "9491234"))),
            ("+18765551234", Some(("1", "8765551234"))),
            ("+447911123456", Some(("44", "7911123456"))),
            ("+61412345678", Some(("61", "412345678"))),
            ("+919812345678", Some(("91", "9812345678"))),
            ("+34512345678", None),
            ("+4915112345678", None),
            ("+971501234567", None),
            ("15551234567", None),
            ("+1555123456x", None),
            ("+1345", Some(("1", "345"))),
            ("+44", None),
        ] {
            assert_eq!(split_phone(phone), parts, "{phone}");
            if let Some((code, number)) = parts {
                assert_eq!(join_phone(code, number), phone);
            }
        }
    }

    #[test]
    fn a_number_reads_the_same_however_it_is_written() {
        assert_eq!(join_phone("+1", "(555) 123-4567"), "+15551234567");
        assert_eq!(join_phone("1", "345 949 1234"), join_phone("345", "9491234"));
    }

    #[test]
    fn all_that_is_missing_of_a_person_is_named_with_who_needs_it() {
        let faults = check_invitee(&Invitee::default(), "berlin-summit");
        let pointers: Vec<_> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/first_name", "/last_name", "/phone"]);
        assert!(faults.iter().all(|f| f.code == "required" && f.detail.contains("berlin-summit")));
    }

    #[test]
    fn a_number_of_another_country_is_a_fault_that_does_not_quote_it() {
        let mut invitee = recipient("http://localhost", "ada@example.org", "Ada").invitee;
        invitee.phone = Some("+4915112345678".into());
        let faults = check_invitee(&invitee, "berlin-summit");
        assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/phone"));
        assert!(faults[0].detail.contains("+61") && !faults[0].detail.contains("4915"));
    }

    #[test]
    fn a_number_that_no_country_can_have_is_a_fault_and_one_that_it_may_assign_is_not() {
        let mut invitee = recipient("http://localhost", "ada@example.org", "Ada").invitee;
        let mut told = |phone: &str| {
            invitee.phone = Some(phone.to_owned());
            let found = check_invitee(&invitee, "p").pop();
            found.map(|fault| (fault.pointer, fault.code, fault.detail))
        };
        let possible = "+15551234567 +13459491234 +447700900123 +441204123456 +44120412345 +448001111 \
            +61412345678 +611300975707 +61131450 +919812345678 +9118001801551";
        for phone in possible.split_whitespace() {
            assert_eq!(told(phone), None, "{phone}");
        }
        let impossible = "+4407700900123 +44770090 +4477009001234 +15551234 +155512345678 +105551234567 \
            +11555123456 +1345949123 +610412345678 +6141234567 +614123456789 +9109812345678 \
            +91981234567 +91981234567890";
        for phone in impossible.split_whitespace() {
            let (pointer, code, detail) = told(phone).unwrap_or_else(|| panic!("{phone}"));
            assert_eq!((&*pointer, &*code), ("/phone", "invalid"), "{phone}");
            assert!(!detail.contains(&phone[3..]), "{detail}");
        }
    }

    #[test]
    fn an_invite_goes_out_in_the_documented_form() {
        let recipient = recipient("http://localhost", "Ada@Example.org", "Ada");
        let extra = Map::from_iter([("vip".to_owned(), json!({ "lounge": true }))]);
        let invite = InviteCreate::of(&recipient, AuthenticationMethod::QrCode, extra).unwrap();
        let expected = json!({
            "first_name": "Ada", "last_name": "Lovelace", "email": "Ada@Example.org",
            "country_code": "1", "mobile_number": "5551234567",
            "authentication_method": "QR Code", "vip": { "lounge": true },
        });
        assert_eq!(json!(invite), expected);
    }

    #[test]
    fn an_event_is_live_only_if_it_says_so_of_itself() {
        let live = |event: Value| serde_json::from_value::<Event>(event).unwrap().is_live("e");
        assert!(live(json!({"id": "e", "is_deleted": false})));
        assert!(live(json!({"id": "e", "status": "new word"})));
        for event in [
            json!({"id": "e", "is_deleted": true}),
            json!({"id": "e", "is_deleted": "yes"}),
            json!({"id": "other"}),
            json!({}),
        ] {
            assert!(!live(event.clone()), "{event}");
        }
    }
}
