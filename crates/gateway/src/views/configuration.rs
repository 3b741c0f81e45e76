//! What the API shows of the provider document, its revisions, and what the gate says.

use invite_config::Finding;
use invite_delivery::{ConfigurationStatus, Refusal, Review, Revised};
use invite_store::{Replica, Revision};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::schemas::FindingSchema;

/// What the gate says about a candidate document, and what would change.
#[derive(Serialize, ToSchema)]
#[schema(as = ConfigurationReview)]
pub(crate) struct ReviewView {
    /// Whether it could go live: no finding is an error.
    passes: bool,
    /// Everything that is wrong or doubtful, in the order of the document.
    #[schema(value_type = Vec<FindingSchema>)]
    findings: Vec<Finding>,
    /// The providers that it adds, removes or changes; none if it does not pass the gate.
    changed: Vec<String>,
    /// Against the live document, unified; empty if they are equal.
    #[schema(
        example = "--- revision 7\n+++ candidate\n@@ -3 +3 @@\n-enabled = true\n+enabled = false\n"
    )]
    diff: String,
}

/// A document that is live now.
#[derive(Serialize, ToSchema)]
#[schema(as = AppliedConfiguration)]
pub(crate) struct AppliedView {
    /// Its revision; that of before if nothing changed.
    revision: i64,
    /// What is doubtful in it.
    #[schema(value_type = Vec<FindingSchema>)]
    findings: Vec<Finding>,
    /// The providers that it added, removed or changed.
    changed: Vec<String>,
    /// Against the document before, unified; empty if nothing changed.
    diff: String,
}

/// One version of the provider document.
#[derive(Serialize, ToSchema)]
#[schema(as = Revision)]
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
    #[schema(nullable = false)]
    document: Option<String>,
}

/// Revisions, and how the configuration stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevisionList {
    /// Newest first.
    pub revisions: Vec<RevisionView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
    #[serde(flatten)]
    pub configuration: ConfigurationView,
}

/// Which document is in force, and what was in the way of others.
#[derive(Serialize, ToSchema)]
#[schema(as = Configuration)]
pub(crate) struct ConfigurationView {
    /// The revision that is live here.
    live: i64,
    /// The provider document's file; null if there is none.
    file: Option<FileView>,
    /// The last document that was refused, unless one of the same source has passed since; null
    /// for a key that is limited to some providers.
    last_refusal: Option<RefusalView>,
}

/// The file of the provider document.
#[derive(Serialize, ToSchema)]
#[schema(as = ConfigurationFile)]
struct FileView {
    /// Where it is.
    path: String,
    /// Whether it says something else than the live document.
    differs: bool,
}

/// A document that was to go live and did not.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
struct RefusalView {
    /// When.
    at: Timestamp,
    /// Where it came from: `file`, `api`, `restore`, or `store` for a revision that another replica
    /// put in force and this one cannot serve.
    source: &'static str,
    /// The revision that cannot be served here.
    revision: Option<i64>,
    /// Why.
    #[schema(value_type = Vec<FindingSchema>)]
    findings: Vec<Finding>,
}

/// A process that serves this gateway's database.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Replica)]
pub(crate) struct ReplicaView {
    /// Its name, a new one at each start.
    id: String,
    /// The revision of the provider document that it serves.
    config_revision: i64,
    /// Why it does not serve the newest, or sends nothing, if so; null for a key that is limited to some
    /// providers.
    refusal: Option<String>,
    /// When it was last heard of.
    seen_at: Timestamp,
}

impl ReviewView {
    /// What the gate said.
    pub fn new(review: Review) -> Self {
        let passes = review.passes();
        let Review { findings, diff, changed, .. } = review;
        Self { passes, findings, changed, diff }
    }
}

impl AppliedView {
    /// What became of a document that passed.
    pub fn new(revised: Revised) -> Self {
        let Revised { revision, findings, diff, changed } = revised;
        Self { revision, findings, changed, diff }
    }
}

impl RevisionView {
    /// A revision, with its difference if that was told.
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

    /// The same with its document.
    pub fn with_document(self, document: String) -> Self {
        Self { document: Some(document), ..self }
    }
}

impl ConfigurationView {
    /// How the configuration stands; `is_whole` if the caller may know about every provider.
    pub fn new(status: ConfigurationStatus, is_whole: bool) -> Self {
        let ConfigurationStatus { revision, file, last_refusal } = status;
        let file = file
            .map(|file| FileView { path: file.path.display().to_string(), differs: file.differs });
        let refusal = |refusal: Refusal| RefusalView {
            at: refusal.at,
            source: refusal.source,
            revision: refusal.revision,
            findings: refusal.findings,
        };
        let last_refusal = last_refusal.filter(|_| is_whole).map(refusal);
        Self { live: revision, file, last_refusal }
    }
}

impl ReplicaView {
    /// A replica; `is_whole` if the caller may know about every provider.
    pub fn new(replica: Replica, is_whole: bool) -> Self {
        let Replica { id, revision, refusal, seen_at } = replica;
        let refusal = refusal.filter(|_| is_whole);
        Self { id, config_revision: revision, refusal, seen_at }
    }
}
