//! The body of `POST /v1/invites`: its form. Everything that is wrong with it is found at once,
//! each fault with a pointer. Where the invites go, and what providers need, is in `binding`.

use std::collections::BTreeMap;

use invite_core::{
    Address, Fault, Faults, Invitee, NewInvite,
    schema::{escape, nearest},
    text::{MAX_LABELS, check_handle, check_label_key, check_label_value, check_text},
};
use invite_store::OnDuplicate;
use serde_json::{Map, Value};

use crate::{prefer::Handling, problem::MAX_ITEM_FAULTS};

/// The longest name.
pub(crate) const MAX_NAME: usize = 200;
/// The longest external id.
pub(crate) const MAX_EXTERNAL_ID: usize = 255;
/// The longest message.
pub(crate) const MAX_MESSAGE: usize = 256;
/// Names in one `to` at most.
pub(crate) const MAX_TARGETS: usize = 100;

const REQUEST_MEMBERS: [&str; 3] = ["to", "invites", "on_duplicate"];
const INVITE_MEMBERS: [&str; 9] = [
    "email",
    "first_name",
    "last_name",
    "phone",
    "message",
    "external_id",
    "labels",
    "to",
    "options",
];

/// A request as far as it could be read.
pub(crate) struct Submission {
    /// Where invites go that do not say so themselves.
    pub to: Option<Targets>,
    /// What to do about people who already have a live invite.
    pub on_duplicate: OnDuplicate,
    /// The invites, in the order of the request.
    pub items: Vec<Item>,
    /// What is wrong with the request outside of its invites; pointers start with `#`.
    pub faults: Faults,
}

/// One invite as far as it could be read.
pub(crate) struct Item {
    /// What it says; what was malformed is left out.
    pub invite: NewInvite,
    /// The canonical address, if there is one.
    pub address: Option<Address>,
    /// Where it goes, if it says so.
    pub to: Option<Targets>,
    /// What is wrong with it; pointers are relative to it.
    pub faults: Faults,
}

/// The names in a `to`.
pub(crate) struct Targets {
    /// Names of providers and routes.
    pub names: Vec<String>,
    /// Written as an array.
    is_array: bool,
}

impl Targets {
    /// The pointer to one of the names, from where the `to` stands.
    pub fn pointer(&self, index: usize) -> String {
        if self.is_array { format!("/to/{index}") } else { "/to".to_owned() }
    }
}

/// The members of a body, which must be an object.
pub(crate) fn object(body: Value) -> Result<Map<String, Value>, Fault> {
    match body {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::new("", "wrong-type", "the body must be an object")),
    }
}

/// The same for who finds all faults: of what is no object there are no members.
pub(crate) fn members_of(body: Value, faults: &mut Faults) -> Map<String, Value> {
    object(body).unwrap_or_else(|fault| {
        faults.push(fault);
        Map::new()
    })
}

/// Reads a body. At most `max_items` invites are read. If it is accepted for its good invites
/// (`handling` is lenient) as many faults of each of the others are found as are stored with one; else
/// as many of all together as one answer lists, and of those behind that one.
pub(crate) fn read(body: Value, max_items: usize, handling: Handling) -> Submission {
    let mut faults = Faults::default();
    let mut members = members_of(body, &mut faults);
    let is_object = faults.is_empty();
    let to = read_targets(&mut members, &mut faults);
    let on_duplicate = read_on_duplicate(&mut members, &mut faults);
    let items = match members.remove("invites") {
        Some(Value::Array(items)) if (1..=max_items).contains(&items.len()) => {
            let mut left = faults.left();
            let read = items.into_iter().map(|item| {
                let item = read_item(
                    item,
                    match handling {
                        Handling::Lenient => MAX_ITEM_FAULTS,
                        Handling::Strict => left,
                    },
                );
                left = left.saturating_sub(item.faults.len());
                item
            });
            read.collect()
        }
        Some(Value::Array(items)) => {
            let code = if items.is_empty() { "too-few" } else { "too-many" };
            let detail = format!("`invites` holds 1 to {max_items} invites, not {}", items.len());
            faults.push(Fault::new("/invites", code, detail));
            Vec::new()
        }
        Some(_) => {
            faults.push(Fault::new("/invites", "wrong-type", "`invites` must be an array"));
            Vec::new()
        }
        None if is_object => {
            faults.push(Fault::new("/invites", "required", "`invites` is missing"));
            Vec::new()
        }
        None => Vec::new(),
    };
    refuse_unknown(&members, &REQUEST_MEMBERS, &mut faults);
    Submission { to, on_duplicate, items, faults: faults.under("#") }
}

fn read_item(item: Value, most_faults: usize) -> Item {
    let mut faults = Faults::up_to(most_faults);
    let Value::Object(mut members) = item else {
        faults.push(Fault::new("", "wrong-type", "an invite must be an object"));
        return Item { invite: NewInvite::default(), address: None, to: None, faults };
    };
    let (email, address) = read_email(&mut members, &mut faults);
    let mut text = |name, max| read_text(&mut members, name, max, &mut faults);
    let invitee = Invitee {
        email,
        first_name: text("first_name", MAX_NAME),
        last_name: text("last_name", MAX_NAME),
        message: text("message", MAX_MESSAGE),
        phone: read_phone(&mut members, &mut faults),
    };
    let check = |text: &str| check_handle(text, MAX_EXTERNAL_ID);
    let external_id = read_string(&mut members, "external_id", check, &mut faults);
    let labels = read_labels(&mut members, &mut faults);
    let to = read_targets(&mut members, &mut faults);
    let options = read_options(&mut members, &mut faults);
    refuse_unknown(&members, &INVITE_MEMBERS, &mut faults);
    Item { invite: NewInvite { invitee, external_id, labels, options }, address, to, faults }
}

/// Refuses the members that were not taken out.
pub(crate) fn refuse_unknown(members: &Map<String, Value>, known: &[&str], faults: &mut Faults) {
    faults.extend(members.keys().map(|name| {
        let pointer = format!("/{}", escape(name));
        let suggestion = nearest(name, known.iter().copied()).map(str::to_owned);
        let detail = "this member is not known here";
        Fault { suggestion, ..Fault::new(pointer, "unknown-member", detail) }
    }));
}

/// Takes an optional member out; `null` is as good as absent.
pub(crate) fn take(members: &mut Map<String, Value>, name: &str) -> Option<Value> {
    members.remove(name).filter(|value| !value.is_null())
}

fn read_email(members: &mut Map<String, Value>, faults: &mut Faults) -> (String, Option<Address>) {
    match members.remove("email") {
        Some(Value::String(email)) => match email.parse::<Address>() {
            Ok(address) => (email, Some(address)),
            Err(error) => {
                let code = match error {
                    invite_core::address::InvalidAddress::TooLong => "too-long",
                    _ => "invalid",
                };
                faults.push(Fault::new("/email", code, error.to_string()));
                (email, None)
            }
        },
        Some(_) => {
            faults.push(Fault::new("/email", "wrong-type", "`email` must be a string"));
            (String::new(), None)
        }
        None => {
            faults.push(Fault::new("/email", "required", "`email` is missing"));
            (String::new(), None)
        }
    }
}

fn read_text(
    members: &mut Map<String, Value>,
    name: &str,
    max: usize,
    faults: &mut Faults,
) -> Option<String> {
    read_string(members, name, |text| check_text(text, max, name == "message"), faults)
}

/// Takes an optional string out that passes a check; what is wrong with another is the check's to say,
/// as in [`invite_core::text`].
pub(crate) fn read_string(
    members: &mut Map<String, Value>,
    name: &str,
    check: impl FnOnce(&str) -> Result<(), (&'static str, String)>,
    faults: &mut Faults,
) -> Option<String> {
    let checked = match take(members, name)? {
        Value::String(text) => check(&text).map(|()| text),
        _ => Err(("wrong-type", "must be a string".to_owned())),
    };
    let fault = |(code, detail)| Fault::new(format!("/{name}"), code, format!("`{name}` {detail}"));
    checked.map_err(|refused| faults.push(fault(refused))).ok()
}

fn read_phone(members: &mut Map<String, Value>, faults: &mut Faults) -> Option<String> {
    let value = take(members, "phone")?;
    let Value::String(phone) = value else {
        faults.push(Fault::new("/phone", "wrong-type", "`phone` must be a string"));
        return None;
    };
    let is_phone = phone.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    });
    if !is_phone {
        let detail = "`phone` must be + and 8 to 15 digits, the first not 0";
        faults.push(Fault::new("/phone", "invalid", detail));
        return None;
    }
    Some(phone)
}

fn read_labels(members: &mut Map<String, Value>, faults: &mut Faults) -> BTreeMap<String, String> {
    let labels = match take(members, "labels") {
        None => return BTreeMap::new(),
        Some(Value::Object(labels)) => labels,
        Some(_) => {
            let detail = "`labels` must be an object of strings";
            faults.push(Fault::new("/labels", "wrong-type", detail));
            return BTreeMap::new();
        }
    };
    if labels.len() > MAX_LABELS {
        let detail = format!("an invite has at most {MAX_LABELS} labels");
        faults.push(Fault::new("/labels", "too-many", detail));
        return BTreeMap::new();
    }
    let mut read = BTreeMap::new();
    for (key, value) in labels {
        let pointer = format!("/labels/{}", escape(&key));
        match check_label(&key, &value) {
            Ok(value) => {
                let value = value.to_owned();
                read.insert(key, value);
            }
            Err((code, detail)) => faults.push(Fault::new(pointer, code, detail)),
        }
    }
    read
}

fn check_label<'a>(key: &str, value: &'a Value) -> Result<&'a str, (&'static str, String)> {
    check_label_key(key)?;
    let text = value
        .as_str()
        .ok_or_else(|| ("wrong-type", "a label's value must be a string".to_owned()))?;
    check_label_value(text)?;
    Ok(text)
}

fn read_targets(members: &mut Map<String, Value>, faults: &mut Faults) -> Option<Targets> {
    let wrong = |pointer: String| {
        let detail = "`to` must be the name of a provider or route, or an array of such names";
        Fault::new(pointer, "wrong-type", detail)
    };
    match take(members, "to")? {
        Value::String(name) => Some(Targets { names: vec![name], is_array: false }),
        Value::Array(values) if values.is_empty() => {
            faults.push(Fault::new("/to", "too-few", "`to` names nothing"));
            None
        }
        Value::Array(values) if values.len() > MAX_TARGETS => {
            let detail = format!("`to` names at most {MAX_TARGETS}; a route can name more");
            faults.push(Fault::new("/to", "too-many", detail));
            None
        }
        Value::Array(values) => {
            let is_wrong = |value: &Value| !value.is_string();
            let places = values.iter().enumerate().filter(|(_, value)| is_wrong(value));
            faults.extend(places.map(|(index, _)| wrong(format!("/to/{index}"))));
            let names = values.into_iter().map(|value| match value {
                Value::String(name) => Some(name),
                _ => None,
            });
            Some(Targets { names: names.collect::<Option<_>>()?, is_array: true })
        }
        _ => {
            faults.push(wrong("/to".to_owned()));
            None
        }
    }
}

/// What the options hold is checked by the adapter of their kind.
fn read_options(members: &mut Map<String, Value>, faults: &mut Faults) -> BTreeMap<String, Value> {
    match take(members, "options") {
        None => BTreeMap::new(),
        Some(Value::Object(options)) => options.into_iter().collect(),
        Some(_) => {
            let detail = "`options` must be an object with a member per provider kind";
            faults.push(Fault::new("/options", "wrong-type", detail));
            BTreeMap::new()
        }
    }
}

fn read_on_duplicate(members: &mut Map<String, Value>, faults: &mut Faults) -> OnDuplicate {
    let Some(value) = take(members, "on_duplicate") else { return OnDuplicate::ReturnExisting };
    match value.as_str() {
        Some("return_existing") => OnDuplicate::ReturnExisting,
        Some("reject") => OnDuplicate::Reject,
        Some("send") => OnDuplicate::Send,
        given => {
            let code = if given.is_some() { "not-allowed" } else { "wrong-type" };
            let detail = "`on_duplicate` must be return_existing, reject or send";
            faults.push(Fault::new("/on_duplicate", code, detail));
            OnDuplicate::ReturnExisting
        }
    }
}

#[cfg(test)]
mod tests {
    use invite_core::MAX_FAULTS;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn item_faults(item: Value) -> Vec<(String, String)> {
        let read = read_item(item, MAX_FAULTS);
        read.faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn request_faults(body: Value) -> Vec<(String, String)> {
        let read = read(body, 2, Handling::Strict);
        read.faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn found(pointer: &str, code: &str) -> Vec<(String, String)> {
        vec![(pointer.to_owned(), code.to_owned())]
    }

    #[test]
    fn a_whole_invite_is_read_as_it_was_written() {
        let invite = json!({
            "email": "Ada@Example.org", "first_name": "Ada", "last_name": "Lovelace",
            "phone": "+15551234567", "message": "Hello\nAda", "external_id": "hr-7781",
            "labels": { "purpose": "event" }, "to": ["a", "b"],
            "options": { "securegate": { "notify": 2 } },
        });
        let read = read_item(invite, MAX_FAULTS);
        assert_eq!(*read.faults, []);
        assert_eq!(read.invite.invitee.email, "Ada@Example.org");
        assert_eq!(read.address.unwrap().as_str(), "ada@example.org");
        assert_eq!(read.invite.labels["purpose"], "event");
        assert_eq!(read.invite.options["securegate"], json!({ "notify": 2 }));
        assert_eq!(read.to.unwrap().names, ["a", "b"]);
    }

    #[test]
    fn every_fault_of_an_invite_is_found_at_once() {
        let faults = item_faults(json!({
            "email": 1, "first_name": "x".repeat(201), "last_name": "a\u{0}", "phone": "555",
            "message": "x".repeat(257), "external_id": ["x"], "labels": { "a:b": "c", "d": 1 },
            "to": ["a", 2], "options": [], "emial": "x",
        }));
        let expected = [
            ("/email", "wrong-type"),
            ("/first_name", "too-long"),
            ("/last_name", "invalid"),
            ("/message", "too-long"),
            ("/phone", "invalid"),
            ("/external_id", "wrong-type"),
            ("/labels/a:b", "invalid"),
            ("/labels/d", "wrong-type"),
            ("/to/1", "wrong-type"),
            ("/options", "wrong-type"),
            ("/emial", "unknown-member"),
        ];
        assert_eq!(faults, expected.map(|(p, c)| (p.to_owned(), c.to_owned())));
    }

    #[test]
    fn an_unknown_member_comes_with_the_nearest_known_one() {
        let invite = json!({ "email": "ada@example.org", "fist_name": "Ada" });
        let read = read_item(invite, MAX_FAULTS);
        assert_eq!(read.faults[0].suggestion.as_deref(), Some("first_name"));
    }

    #[test]
    fn a_missing_email_is_named_and_null_is_as_good_as_absent_elsewhere() {
        assert_eq!(
            item_faults(json!({ "phone": null, "labels": null })),
            found("/email", "required")
        );
        assert_eq!(item_faults(json!("ada@example.org")), found("", "wrong-type"));
    }

    #[test]
    fn limits_count_characters() {
        let invite = |name: String| json!({ "email": "ada@example.org", "first_name": name });
        assert_eq!(item_faults(invite("é".repeat(200))), []);
        assert_eq!(item_faults(invite("é".repeat(201))), found("/first_name", "too-long"));
    }

    #[test]
    fn a_label_has_a_key_without_a_colon_and_there_are_at_most_sixteen() {
        let invite = |labels: Value| json!({ "email": "ada@example.org", "labels": labels });
        let many: Map<_, _> = (0..17).map(|i| (i.to_string(), json!("x"))).collect();
        assert_eq!(item_faults(invite(Value::Object(many))), found("/labels", "too-many"));
        assert_eq!(item_faults(invite(json!({ "": "x" }))), found("/labels/", "invalid"));
        assert_eq!(item_faults(invite(json!({ "a/b": 1 }))), found("/labels/a~1b", "wrong-type"));
        let long = "k".repeat(65);
        assert_eq!(item_faults(invite(json!({ &long: "x" })))[0].1, "too-long");
    }

    #[test]
    fn the_number_of_invites_is_limited() {
        let invite = json!({ "email": "ada@example.org" });
        assert_eq!(request_faults(json!({ "invites": [invite, invite] })), []);
        let three = json!({ "invites": [invite, invite, invite] });
        assert_eq!(request_faults(three), found("#/invites", "too-many"));
        assert_eq!(request_faults(json!({ "invites": [] })), found("#/invites", "too-few"));
        assert_eq!(request_faults(json!({})), found("#/invites", "required"));
        assert_eq!(request_faults(json!([])), found("#", "wrong-type"));
    }

    #[test]
    fn the_number_of_names_in_to_is_limited() {
        let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        let invite = |to: Vec<String>| json!({ "email": "ada@example.org", "to": to });
        let body =
            |to: Vec<String>| json!({ "to": to, "invites": [{ "email": "ada@example.org" }] });
        assert_eq!(item_faults(invite(names(100))), []);
        assert_eq!(request_faults(body(names(100))), []);
        assert_eq!(item_faults(invite(names(101))), found("/to", "too-many"));
        assert_eq!(request_faults(body(names(101))), found("#/to", "too-many"));
    }

    #[test]
    fn a_fault_of_the_request_does_not_hide_those_of_its_invites() {
        let body = json!({ "on_duplicate": "no", "to": [], "invites": [{}] });
        let read = read(body, 2, Handling::Strict);
        assert_eq!((read.faults.len(), read.items[0].faults.len()), (2, 1));
    }

    proptest! {
        #[test]
        fn a_phone_number_is_a_plus_and_8_to_15_digits(digits in "[1-9][0-9]{0,17}") {
            let faults =
                item_faults(json!({ "email": "a@b.org", "phone": format!("+{digits}") }));
            prop_assert_eq!(faults.is_empty(), (8..=15).contains(&digits.len()));
        }

        #[test]
        fn no_fault_quotes_what_was_given(text in "[a-z]{300}") {
            let invite = json!({
                "email": text, "first_name": text, "phone": text, "message": text,
                "external_id": text, "labels": { "k": text },
            });
            let read = read_item(invite, MAX_FAULTS);
            prop_assert_eq!(read.faults.len(), 6);
            prop_assert!(read.faults.iter().all(|fault| !fault.detail.contains(&text)));
        }
    }
}
