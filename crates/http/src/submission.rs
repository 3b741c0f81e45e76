//! The body of `POST /v1/invites` and its form. Everything that is wrong with it is found at once, each
//! fault with a pointer. Where the invites go, and what providers need of them, is checked in `binding`.

use std::{collections::BTreeMap, mem, slice, sync::LazyLock};

use invite_core::{
    Address, Fault, Faults, Invitee, NewInvite,
    address::InvalidAddress,
    pattern,
    schema::Schema,
    text::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS},
};
use invite_store::OnDuplicate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{body::read_members, prefer::Handling, problem::MAX_ITEM_FAULTS};

/// Invites to create.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvites {
    /// Where they go that do not say so themselves; absent: the routing rules decide.
    to: Option<Targets>,
    /// The invites.
    #[schemars(with = "Vec<ItemRequest>", required, length(min = 1, max = 1000))]
    #[expect(dead_code, reason = "they are taken out before the rest is read")]
    invites: Option<Vec<Value>>,
    /// What to do about a person who already has a live invite at the same place: answer with that
    /// (`return_existing`, the default), fail the item (`reject`), or send another (`send`).
    on_duplicate: Option<OnDuplicate>,
}

/// One invite to create.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewInvite")]
struct ItemRequest {
    /// The address.
    #[schemars(required, length(max = 254), email, example = "ada@example.org")]
    email: Option<String>,
    /// Given name.
    #[schemars(length(max = 200), transform = pattern::line)]
    first_name: Option<String>,
    /// Family name.
    #[schemars(length(max = 200), transform = pattern::line)]
    last_name: Option<String>,
    /// `+` and 8 to 15 digits.
    #[schemars(
        regex(pattern = r"^\+[1-9][0-9]{7,14}$"),
        extend("x-forms" = "+ and 8 to 15 digits, the first not 0"),
        example = "+15551234567"
    )]
    phone: Option<String>,
    /// A text for the mail.
    #[schemars(length(max = 256), transform = pattern::lines)]
    message: Option<String>,
    /// The caller's own id for it.
    #[schemars(length(max = 255), transform = pattern::handle)]
    external_id: Option<String>,
    /// Stored, filterable and used by routing rules; never sent to a provider.
    #[schemars(with = "Option<Labels>")]
    labels: Option<BTreeMap<String, String>>,
    /// Where it goes; wins over the request's.
    to: Option<Targets>,
    /// Per provider kind, in that provider's own vocabulary; schemas in `GET /v1/provider-kinds`.
    #[schemars(with = "Option<Options>")]
    options: Option<BTreeMap<String, Value>>,
}

/// Names of providers and routes. An invite's own wins over the request's; without any the routing rules
/// decide. Each destination is taken once.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-forms" = "the name of a provider or route, or an array of 1 to 100 such names"))]
pub(crate) enum Targets {
    /// The name of a provider or a route.
    One(String),
    /// Several of them.
    Several(#[schemars(length(min = 1, max = 100))] Vec<String>),
}

/// Up to 16 keys with a value each.
#[derive(JsonSchema)]
#[schemars(transform = bound_labels)]
#[expect(dead_code, reason = "describes labels")]
pub(crate) struct Labels(BTreeMap<String, String>);

/// What only one kind of provider understands, by kind.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes options")]
pub(crate) struct Options(BTreeMap<String, Map<String, Value>>);

/// Bounds what the type of a map does not: its keys, its values, and how many there are.
pub(crate) fn bound_labels(schema: &mut schemars::Schema) {
    let mut key = schemars::json_schema!({ "type": "string", "maxLength": MAX_LABEL_KEY });
    let mut value = schemars::json_schema!({ "type": "string", "maxLength": MAX_LABEL_VALUE });
    pattern::label_key(&mut key);
    pattern::handle(&mut value);
    schema.insert("maxProperties".to_owned(), MAX_LABELS.into());
    schema.insert("propertyNames".to_owned(), key.to_value());
    schema.insert("additionalProperties".to_owned(), value.to_value());
}

/// The schema of the request without its invites: their number is a setting, and each is checked alone.
static REQUEST: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = Schema::of::<NewInvites>().document().clone();
    schema["properties"]["invites"] = json!({ "type": "array" });
    Schema::new(schema)
});
static ITEM: LazyLock<Schema> = LazyLock::new(Schema::of::<ItemRequest>);

/// A request as far as it could be read.
pub(crate) struct Submission {
    /// Where those invites go that do not say so themselves.
    pub to: Option<Targets>,
    pub on_duplicate: OnDuplicate,
    /// In the order of the request.
    pub items: Vec<Item>,
    /// What is wrong with the request outside of its invites; pointers start with `#`.
    pub faults: Faults,
}

/// One invite as far as it could be read.
pub(crate) struct Item {
    /// What it says, without what was malformed.
    pub invite: NewInvite,
    /// `None` if the address is missing or malformed.
    pub address: Option<Address>,
    /// `None` if it does not say so itself.
    pub to: Option<Targets>,
    /// What is wrong with it; pointers are relative to it.
    pub faults: Faults,
}

impl Targets {
    /// Names of providers and routes.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    pub fn pointer(&self, index: usize) -> String {
        match self {
            Self::One(_) => "/to".to_owned(),
            Self::Several(_) => format!("/to/{index}"),
        }
    }
}

/// Reads a body of at most `max_items` invites. With lenient handling as many faults of each invite are
/// found as are stored with it; with strict handling as many of all invites together as one answer lists.
pub(crate) fn read(mut body: Value, max_items: usize, handling: Handling) -> Submission {
    // Each invite gets a list of faults of its own, so they are taken out of the body, by moving.
    let invites = body.get_mut("invites").and_then(Value::as_array_mut).map(mem::take);
    let mut faults = Faults::default();
    let NewInvites { to, on_duplicate, .. } = read_members(body, &REQUEST, &mut faults);
    let invites = match invites {
        Some(invites) if !(1..=max_items).contains(&invites.len()) => {
            let code = if invites.is_empty() { "too-few" } else { "too-many" };
            let detail = format!("`invites` holds 1 to {max_items} invites, not {}", invites.len());
            faults.push(Fault::new("#/invites", code, detail));
            Vec::new()
        }
        invites => invites.unwrap_or_default(),
    };
    let mut left = faults.left();
    let items = invites.into_iter().map(|invite| {
        let most = match handling {
            Handling::Lenient => MAX_ITEM_FAULTS,
            Handling::Strict => left,
        };
        let item = read_item(invite, most);
        left = left.saturating_sub(item.faults.len());
        item
    });
    let items = items.collect();
    Submission { to, on_duplicate: on_duplicate.unwrap_or_default(), items, faults }
}

fn read_item(item: Value, most_faults: usize) -> Item {
    let mut faults = Faults::up_to(most_faults);
    let (wanted, found): (ItemRequest, _) = ITEM.read_partly(item, faults.left() + 1);
    faults.extend(found);
    let ItemRequest { email, first_name, last_name, phone, message, .. } = wanted;
    let address = email.as_deref().and_then(|email| read_address(email, "/email", &mut faults));
    let email = email.unwrap_or_default();
    let invite = NewInvite {
        invitee: Invitee { email, first_name, last_name, phone, message },
        external_id: wanted.external_id,
        labels: wanted.labels.unwrap_or_default(),
        options: wanted.options.unwrap_or_default(),
    };
    Item { invite, address, to: wanted.to, faults }
}

/// Parses an address that was given at `pointer`.
pub(crate) fn read_address(email: &str, pointer: &str, faults: &mut Faults) -> Option<Address> {
    let told = |error: InvalidAddress| {
        let code = if error == InvalidAddress::TooLong { "too-long" } else { "invalid" };
        faults.push(Fault::new(pointer, code, error.to_string()));
    };
    email.parse().map_err(told).ok()
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
        assert_eq!(read.to.unwrap().names(), ["a", "b"]);
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
            ("/phone", "invalid"),
            ("/message", "too-long"),
            ("/external_id", "wrong-type"),
            ("/labels/d", "wrong-type"),
            ("/labels/a:b", "invalid"),
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
        let faults = item_faults(json!({ "phone": null, "labels": null }));
        assert_eq!(faults, found("/email", "required"));
        assert_eq!(item_faults(json!("ada@example.org")), found("", "wrong-type"));
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
