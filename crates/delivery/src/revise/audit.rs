//! What the record of changes says of documents that come over the network and did not go live: which were refused, and
//! which had credentials checked at providers.

use std::collections::BTreeMap;

use invite_config::{Finding, Severity};
use invite_store::{Actor, NewAudit, Store};
use serde_json::{Value as Json, json};

/// How many errors of one document are recorded.
const MAX_ERRORS: usize = 20;
/// The longest pointer that is recorded, in characters: it may hold names that somebody made up.
const MAX_POINTER: usize = 200;

/// The entry of a document that was checked. `probed` are the providers that are about to be asked whether their
/// credentials are good, each with its base URL.
pub(super) fn checked(
    actor: Actor,
    live: i64,
    findings: &[Finding],
    probed: &BTreeMap<String, String>,
) -> NewAudit {
    let after = json!({ "errors": operator_errors(findings), "probed": probed });
    entry(actor, "config.check", live, after, None)
}

/// The entry of a document that was to go live and did not.
pub(super) fn refused(
    actor: Actor,
    live: i64,
    findings: &[Finding],
    restored: Option<i64>,
    note: Option<String>,
) -> NewAudit {
    let after = json!({ "errors": operator_errors(findings), "restored": restored });
    entry(actor, "config.refuse", live, after, note)
}

/// Adds an entry of which a failure is only logged: nothing has changed that would have to be undone.
pub(super) async fn keep(store: &Store, entry: NewAudit) {
    let (actor, action) = (entry.actor.name.clone(), entry.action.clone());
    if let Err(error) = store.record_audit(entry).await {
        tracing::error!(
            audit.actor = actor, audit.action = action, %error,
            "cannot add what became of a provider document to the record of changes"
        );
    }
}

fn entry(actor: Actor, action: &str, live: i64, after: Json, note: Option<String>) -> NewAudit {
    NewAudit { after: Some(after), note, ..NewAudit::new(actor, action, live.to_string()) }
}

/// The places and codes of errors, without their texts, which may quote the document.
fn operator_errors(findings: &[Finding]) -> Vec<Json> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors
        .take(MAX_ERRORS)
        .map(|error| {
            let pointer: String = error.pointer.chars().take(MAX_POINTER).collect();
            json!({ "code": error.code, "pointer": pointer })
        })
        .collect()
}
