//! The people and the secrets of a round.

use serde_json::{Value, json};

use crate::{canary::Of, ear::Ear};

pub const FIRST_NAME: &str = "Quenbyzel";
pub const LAST_NAME: &str = "Orrisdalevik";
pub const LOCAL: &str = "vorrelquin";
pub const DOMAIN: &str = "melkinthorpe-xq7.example";
pub const PHONE: &str = "+15557319846";
pub const MESSAGE: &str = "Kestrelmoor at dawn 7731";
/// What a caller adds for a provider that offers it one day.
pub const EXTRA: &str = "Tollerwickham lounge 2291";
pub const EXTERNAL_ID: &str = "zambrotti-order-9917";
pub const LABEL: &str = "drumlanrig-ward-5";
/// An API key that is none.
pub const WRONG_KEY: &str = "igk_wr0ngCanaryKey7f3a91c2e8b64d05a7c1Zq";
/// A secret that an operator pastes where a reference belongs.
pub const PASTED: &str = "sg-live-pasted-4e1b77c09a52d8";
/// A secret in a file that is no good to its provider.
pub const SPOILT: &str = "sg-spoilt-1d55aa07b3cc92";

/// A person like no other; the number makes the address their own.
pub fn person(number: usize) -> Value {
    json!({
        "email": format!("{LOCAL}+{number}@{DOMAIN}"),
        "first_name": FIRST_NAME,
        "last_name": LAST_NAME,
        "phone": PHONE,
        "message": MESSAGE,
        "external_id": EXTERNAL_ID,
        "labels": { "ward": LABEL },
    })
}

/// What a provider says of the gateway in general.
pub const WORDS: &str = "quorndon maintenance window 18";

/// What a provider says that repeats what it was sent about somebody, and more.
pub fn echo(secret: &str) -> String {
    format!(
        "{WORDS}: cannot invite {FIRST_NAME} {LAST_NAME} <{LOCAL}@{DOMAIN}> ({PHONE}), {}, {}: {MESSAGE}; the key \
         was {secret}",
        LAST_NAME.to_uppercase(),
        LOCAL.to_uppercase()
    )
}

/// What a provider says that repeats what it was sent about nobody.
pub fn echo_of_nobody(secret: &str) -> String {
    format!("{WORDS}: not asked by {LOCAL}@{DOMAIN}, and the key was {secret}")
}

/// Has all of it looked for.
pub fn keep(ear: &Ear) {
    ear.keep(Of::Provider, "a provider's words", WORDS);
    for (name, text) in [
        ("a first name", FIRST_NAME),
        ("a last name", LAST_NAME),
        ("an address", LOCAL),
        ("an address's domain", DOMAIN),
        ("a telephone number", &PHONE[1..]),
        ("a message", MESSAGE),
        ("what a caller adds", EXTRA),
        ("an external id", EXTERNAL_ID),
        ("a label", LABEL),
    ] {
        ear.keep(Of::Person, name, text);
    }
    for (name, text) in
        [("a wrong API key", WRONG_KEY), ("a pasted secret", PASTED), ("a spoilt secret", SPOILT)]
    {
        ear.keep(Of::Gateway, name, text);
    }
}
