//! The provider document in force, and the one path by which another one takes its place, whoever
//! brings it: the file, the API, a restore, or another replica.
//!
//! What a document must be like is the gate's to say (invite-config); what depends on the one in
//! force, and on the work that its providers have, is added here.

mod audit;
mod check;
mod file;
mod resume;
mod review;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use invite_config::{Checked, Configuration, Finding, Gate, Live};
use invite_core::Clock;
use invite_store::{Actor, Added, NewRevision, Store};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{
    sync::{RwLock, RwLockReadGuard},
    time::Instant,
};

use crate::lane::Budget;

pub use file::Taken;
pub use review::Review;
use review::{Candidate, operator_errors, public_errors};

/// The `source` of documents from the file.
pub(crate) const FILE: &str = "file";
/// The `source` of documents that another replica put in force.
const STORE: &str = "store";
/// How long after a stored revision, or the file, was refused here it is tried again: what it refers to may be there by
/// then.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Where a document comes from.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `file`, `api` or `restore`.
    pub source: &'static str,
    pub actor: String,
    pub note: Option<String>,
    /// The revision whose document it is again, if it is a restore.
    pub restored: Option<i64>,
}

/// A document that went live, or that was live already.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "AppliedConfiguration")]
pub struct Revised {
    /// Its revision; that of before if nothing changed.
    pub revision: i64,
    /// What is doubtful in it.
    pub findings: Vec<Finding>,
    /// Against the document before, unified; empty if nothing changed.
    pub diff: String,
    /// The providers that it added, removed or changed.
    pub changed: Vec<String>,
}

/// Why a document did not go live. Nothing changed, but for `Store(CommitUnknown)`.
#[derive(Debug, thiserror::Error)]
pub enum ReviseError {
    /// It does not pass the gate.
    #[error("the document does not pass the gate: {}", operator_errors(&.0.findings))]
    Refused(Box<Review>),
    /// It was made for another revision than the newest.
    #[error("revision {live} is live by now, which the document was not made for")]
    Conflict {
        /// The newest.
        live: i64,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}

/// A document that was to go live and did not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Where it came from: `file`, `api`, `restore`, or `store` for a revision that another replica
    /// put in force and this one cannot serve.
    pub source: &'static str,
    /// The revision that cannot be served here.
    pub revision: Option<i64>,
    /// Why.
    pub findings: Vec<Finding>,
}

/// The file of the provider document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConfigurationFile")]
pub struct FileStatus {
    /// Where it is.
    pub path: String,
    /// Whether it said something else than the live document when it was last read.
    pub differs: bool,
}

/// Which document is in force, and what was in the way of others.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConfigurationStatus {
    /// The revision that is live here.
    #[serde(rename = "live")]
    pub revision: i64,
    /// The provider document's file; null if none is watched.
    pub file: Option<FileStatus>,
    /// The last document that was refused, unless one of the same source has passed since; null
    /// for a key that is limited to some providers.
    pub last_refusal: Option<Refusal>,
}

/// The document in force.
pub struct LiveDocument {
    store: Store,
    gate: Arc<Gate>,
    live: Live,
    clock: Arc<dyn Clock>,
    /// Write-locked by a change of document, and read-locked by whoever gives a provider work, so that no provider gets
    /// work between the check that it has none and its removal.
    changing: RwLock<()>,
    /// Held by the one task that checks a stored revision.
    catching_up: tokio::sync::Mutex<()>,
    /// Held by the one task that has the gate check a document.
    checking: tokio::sync::Mutex<()>,
    /// Held by the one task that has a document's credentials checked.
    probing: tokio::sync::Mutex<()>,
    notes: Mutex<Notes>,
    /// The rate budgets by provider name. They are here because a credential check before a document goes live counts.
    budgets: Mutex<BTreeMap<String, Arc<Budget>>>,
}

/// What is remembered of documents that were refused, and of the file.
#[derive(Default)]
struct Notes {
    /// The latest refusal by source.
    refusals: BTreeMap<&'static str, Refusal>,
    /// The stored revision that is refused here, and when it was last tried.
    refused: Option<(i64, Instant)>,
    /// Where the file is, and what it held when it was last read.
    file: Option<(PathBuf, String)>,
    /// When what the file holds was last tried; `None` unless it was refused.
    file_tried: Option<Instant>,
}

impl LiveDocument {
    /// What documents have to pass.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The document in force is in `live`; others have to pass `gate`.
    pub fn new(store: Store, gate: Arc<Gate>, live: Live, clock: Arc<dyn Clock>) -> Self {
        let (changing, catching_up) = (RwLock::default(), tokio::sync::Mutex::default());
        let (checking, probing) = Default::default();
        let (notes, budgets) = (Mutex::default(), Mutex::default());
        Self { store, gate, live, clock, changing, catching_up, checking, probing, notes, budgets }
    }

    /// The store that revisions are in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The document in force, to be shared.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Stores a document that passes as the next revision and puts it in force. One that is in force already makes no new
    /// revision, unless it comes from the file: the next start has to know that the file holds it now. `expected` is the
    /// revision that the document was made for.
    ///
    /// # Errors
    /// See [`ReviseError`].
    pub async fn revise(
        &self,
        text: &str,
        origin: Origin,
        expected: Option<i64>,
    ) -> Result<Revised, ReviseError> {
        let source = origin.source;
        let actor = Actor { name: origin.actor.clone(), source: source.to_owned() };
        let (restored, note) = (origin.restored, origin.note.clone());
        let revised = self.put_in_force(text, origin, expected).await;
        match &revised {
            Ok(_) => {
                self.notes().refusals.remove(source);
            }
            Err(ReviseError::Refused(review)) => {
                self.note_refusal(source, None, &review.findings);
                let live = self.live.current().revision();
                let entry = audit::refused(actor, live, &review.findings, restored, note);
                audit::keep(&self.store, entry).await;
            }
            Err(_) => {}
        }
        revised
    }

    async fn put_in_force(
        &self,
        text: &str,
        origin: Origin,
        expected: Option<i64>,
    ) -> Result<Revised, ReviseError> {
        loop {
            self.catch_up().await?;
            let live = self.live.current();
            let checked = match origin.source {
                FILE => self.check(text).await,
                _ => self.check_from_network(text, &live).await?,
            };
            // Before the lock, for which whoever accepts invites has to wait.
            let diff = review::difference(&live, text).await;
            let _changing = self.changing.write().await;
            let stored = self.store.latest_revision_number().await?;
            let is_behind = stored > live.revision() && !self.is_refused(stored);
            if is_behind || self.live.current().revision() != live.revision() {
                // Another document went live meanwhile.
                continue;
            }
            let newest = stored.max(live.revision());
            if expected.is_some_and(|expected| expected != newest) {
                return Err(ReviseError::Conflict { live: newest });
            }
            let is_new = text != live.text() || newest != live.revision();
            if !is_new && origin.source != FILE {
                let (findings, diff, changed) = (checked.findings, String::new(), Vec::new());
                return Ok(Revised { revision: newest, findings, diff, changed });
            }
            let before = self.accounts(&live).await?;
            let candidate = Candidate { text, checked, diff, is_file: origin.source == FILE };
            let mut review = Review::of(candidate, &live, &before, &self.store).await?;
            if !review.passes() {
                return Err(ReviseError::Refused(Box::new(review)));
            }
            let new = NewRevision {
                document: text.to_owned(),
                actor: Actor { name: origin.actor.clone(), source: origin.source.to_owned() },
                note: origin.note.clone(),
                restored: origin.restored,
            };
            let added = self.store.add_revision(new, Some(stored), &review.removed).await?;
            // If it was not added, another replica has added one, or accepted work, meanwhile: begin anew.
            if let (Added::Revision(added), Some(next)) = (added, review.configuration.take()) {
                let revision = added.revision;
                self.swap(next.with_revision(revision), &origin);
                let Review { findings, diff, changed, .. } = review;
                return Ok(Revised { revision, findings, diff, changed });
            }
        }
    }

    /// Puts the newest stored revision in force if it is newer than the one in force; true if it was put in force. One
    /// that does not pass here, where a secret may be missing, leaves the live one.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn catch_up(&self) -> Result<bool, invite_store::Error> {
        let _only_one = self.catching_up.lock().await;
        let number = self.store.latest_revision_number().await?;
        let live = self.live.current().revision();
        let is_too_early =
            |(refused, tried): (i64, Instant)| refused == number && tried.elapsed() < TRY_AGAIN;
        if number <= live || self.notes().refused.is_some_and(is_too_early) {
            return Ok(false);
        }
        let Some(newest) = self.store.latest_revision().await? else { return Ok(false) };
        let Checked { findings, configuration } = self.check(&newest.document).await;
        let Some(configuration) = configuration else {
            let known = self.notes().refused.replace((newest.revision, Instant::now()));
            if known.is_none_or(|(revision, _)| revision != newest.revision) {
                self.note_refusal(STORE, Some(newest.revision), &findings);
            }
            return Ok(false);
        };
        let _changing = self.changing.write().await;
        let live = self.live.current();
        if newest.revision <= live.revision() {
            return Ok(false);
        }
        let origin = Origin { source: STORE, actor: STORE.to_owned(), note: None, restored: None };
        self.swap(configuration.adopting(&live).with_revision(newest.revision), &origin);
        let revision = newest.revision;
        for finding in findings {
            tracing::warn!(
                config.revision = revision,
                "revision {revision} of the provider document: {finding}"
            );
        }
        Ok(true)
    }

    /// Keeps the document as it is until the guard is dropped.
    pub(crate) async fn freeze(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read().await
    }

    /// Which document is in force, and what was in the way of others.
    pub fn status(&self) -> ConfigurationStatus {
        let live = self.live.current();
        let notes = self.notes();
        let file = notes.file.as_ref().map(|(path, text)| FileStatus {
            path: path.display().to_string(),
            differs: text != live.text(),
        });
        let last_refusal = notes.refusals.values().max_by_key(|refusal| refusal.at).cloned();
        ConfigurationStatus { revision: live.revision(), file, last_refusal }
    }

    /// The newest revision if it cannot be served here. Then nothing is accepted and no call is claimed here: by an older
    /// one an invite might go to the wrong place.
    pub fn unserved_revision(&self) -> Option<i64> {
        let refused = self.notes().refusals.get(STORE)?.revision?;
        (refused > self.live.current().revision()).then_some(refused)
    }

    /// Why the newest revision cannot be served here, in one line; `None` if it can. For administrators alone: it tells of
    /// all providers.
    pub fn unserved_reason(&self) -> Option<String> {
        let revision = self.unserved_revision()?;
        let notes = self.notes();
        let findings = &notes.refusals.get(STORE)?.findings;
        Some(format!("revision {revision} does not pass here: {}", public_errors(findings)))
    }

    fn swap(&self, configuration: Configuration, origin: &Origin) {
        let changed = configuration.changed_since(&self.live.current());
        tracing::info!(
            config.revision = configuration.revision(),
            config.source = origin.source,
            providers.changed = changed.join(","),
            "revision {} of the provider document is live",
            configuration.revision()
        );
        let mut notes = self.notes();
        // Whoever brought it, it may be newer than the revision that could not be served here.
        if notes.refused.is_some_and(|(refused, _)| refused <= configuration.revision()) {
            notes.refused = None;
            notes.refusals.remove(STORE);
        }
        self.live.swap(configuration);
    }

    /// Logs, counts and remembers that a document did not go live; nothing else does.
    fn note_refusal(&self, source: &'static str, revision: Option<i64>, findings: &[Finding]) {
        tracing::warn!(
            config.source = source,
            config.revision = revision,
            "a provider document is refused and the live one stays; from {source}: {}",
            operator_errors(findings)
        );
        metrics::counter!("invite_config_refusals_total", "source" => source).increment(1);
        let findings = findings.to_vec();
        let refusal = Refusal { at: self.clock.now(), source, revision, findings };
        self.notes().refusals.insert(source, refusal);
    }

    fn is_refused(&self, revision: i64) -> bool {
        self.notes().refused.is_some_and(|(refused, _)| refused == revision)
    }

    pub(crate) fn budget(&self, provider: &str) -> Arc<Budget> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Budget::new(provider, &self.store, self.clock.clone()));
        budgets.entry(provider.to_owned()).or_insert_with(new).clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
