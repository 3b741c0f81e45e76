//! How large a document may be.

use invite_core::Fault;
use serde_json::Value;

use crate::{
    Finding, Severity,
    document::{Document, Located},
};

/// How many providers and routes a document may have: each provider has connections, a lane and secrets of its own, and all of
/// them are built to check a document.
const MAX_PROVIDERS: usize = 1000;
const MAX_ROUTES: usize = 5000;
/// The longest document, in bytes: parsed it takes about a hundred times as much memory.
const MAX_BYTES: usize = 1024 * 1024;

/// The finding that a document is too long, if it is.
pub(crate) fn too_long(text: &str) -> Option<Finding> {
    let detail = format!(
        "the document is {} bytes long, and may have {MAX_BYTES}: for more, run another gateway",
        text.len()
    );
    let fault = Fault::new("", "too-long", detail);
    (text.len() > MAX_BYTES).then(|| Finding::unplaced(Severity::Error, fault))
}

/// The fault that a document has too many providers or routes, if it has.
pub(crate) fn too_many(document: &Document, providers: usize) -> Option<Located> {
    let routes = document.value().pointer("/routes").and_then(Value::as_array).map_or(0, Vec::len);
    let counts = [("providers", providers, MAX_PROVIDERS), ("routes", routes, MAX_ROUTES)];
    let (what, count, most) = counts.into_iter().find(|(_, count, most)| count > most)?;
    let detail = format!(
        "there are {count} {what}, and a document may have {most}: for more, run another gateway"
    );
    let fault = Fault::new(format!("/{what}"), "too-many", detail);
    Some(document.locate(Severity::Error, fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn a_document_has_no_more_providers_and_routes_than_may_be() {
        let provider = |n: usize| format!("[providers.p{n}]\nkind = \"pigeon\"\ntoken = \"t\"\n");
        let route = |n: usize| format!("[[routes]]\nname = \"r{n}\"\nto = \"p0\"\n");
        let text = |providers, routes| -> String {
            (0..providers).map(provider).chain((0..routes).map(route)).collect()
        };
        let codes = |text: &str| -> Vec<(String, String)> {
            let findings = made_up::gate(&[]).check(text).findings;
            findings.into_iter().map(|it| (it.pointer, it.code)).collect()
        };
        assert_eq!(codes(&"#".repeat(MAX_BYTES + 1)), [(String::new(), "too-long".to_owned())]);
        let too_many = |pointer: &str| vec![(pointer.to_owned(), "too-many".to_owned())];
        assert_eq!(codes(&text(MAX_PROVIDERS + 1, 1)), too_many("/providers"));
        assert_eq!(codes(&text(1, MAX_ROUTES + 1)), too_many("/routes"));
        assert!(!codes(&text(3, MAX_ROUTES)).iter().any(|(_, code)| code == "too-many"));
    }
}
