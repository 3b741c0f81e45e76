//! What the API shows of the provider document, its revisions, and what the gate says.

use invite_config::Finding;
use invite_delivery::{ConfigurationStatus, Review};
use invite_store::Revision;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::Caller;

/// What the gate says about a candidate document, and what would change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConfigurationReview")]
pub(crate) struct ReviewView {
    /// Whether it could go live: no finding is an error.
    passes: bool,
    /// Everything that is wrong or doubtful, in the order of the document.
    findings: Vec<Finding>,
    /// The providers that it adds, removes or changes; none if it does not pass the gate.
    changed: Vec<String>,
    /// Against the live document, unified; empty if they are equal.
    #[schemars(
        example = "--- revision 7\n+++ candidate\n@@ -3 +3 @@\n-enabled = true\n+enabled = false\n"
    )]
    diff: String,
}

/// One version of the provider document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
pub(crate) struct RevisionView {
    /// 1, 2, 3 …
    revision: i64,
    /// When it was made.
    created_at: Timestamp,
    /// Who made it.
    actor: Option<String>,
    /// Where it came from: `file`, `api` or `restore`.
    source: String,
    /// Why.
    note: Option<String>,
    /// The revision that was put in force again by it; null if it is no restore.
    restored: Option<i64>,
    /// Against the revision before, unified. Null in a list if telling it takes long, as it does
    /// between long documents that have little in common; where one revision is read it is there.
    diff: Option<String>,
    /// The document itself; only where one revision is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

/// Revisions, and how the configuration stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RevisionList {
    /// Newest first.
    pub revisions: Vec<RevisionView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
    #[serde(flatten)]
    pub configuration: ConfigurationStatus,
}

impl ReviewView {
    pub fn new(review: Review) -> Self {
        let passes = review.passes();
        let Review { findings, diff, changed, .. } = review;
        Self { passes, findings, changed, diff }
    }
}

impl RevisionView {
    pub fn new(revision: &Revision, diff: Option<String>) -> Self {
        Self {
            revision: revision.revision,
            created_at: revision.created_at,
            actor: revision.actor.clone(),
            source: revision.source.clone(),
            note: revision.note.clone(),
            restored: revision.restored,
            diff,
            document: None,
        }
    }

    pub fn with_document(self, document: String) -> Self {
        Self { document: Some(document), ..self }
    }
}

/// Takes out what tells of providers that the caller may not use.
pub(crate) fn redact(mut status: ConfigurationStatus, caller: &Caller) -> ConfigurationStatus {
    status.last_refusal.take_if(|_| caller.providers().is_some());
    status
}
