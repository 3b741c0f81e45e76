//! Made-up people to invite.

use serde_json::{Value, json};

/// A person; the number makes address, names and telephone number their own.
pub fn person(number: usize) -> Value {
    json!({
        "email": format!("guest{number}@example.org"),
        "first_name": format!("Tamsin{number}"),
        "last_name": format!("Quillfeather{number}"),
        "phone": format!("+1555{:07}", 2_000_000 + number),
    })
}

/// The body of a request that invites these people to one place.
pub fn invites(to: &str, people: impl IntoIterator<Item = Value>) -> Value {
    json!({ "to": to, "invites": people.into_iter().collect::<Vec<_>>() })
}
