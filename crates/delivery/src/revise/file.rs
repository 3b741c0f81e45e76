//! When the provider document in the file becomes the document in force. The command line watches the file.

use std::path::Path;

use invite_config::{Finding, Severity};
use invite_core::Fault;
use tokio::time::Instant;

use super::{FILE, LiveDocument, Origin, ReviseError, Revised, TRY_AGAIN};

/// What became of the document in the file.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone)]
pub enum Taken {
    /// It is in force.
    Revised(Revised),
    /// It is what was last taken over from the file: whatever was put in force since stays.
    Unchanged,
    /// It is what was last refused, and another document was put in force since, which stays.
    Overtaken {
        /// The newest revision when it was refused.
        refused: i64,
        newest: i64,
    },
}

impl LiveDocument {
    /// Puts what the file holds in force, unless that is what was last taken over from it, or was last refused and another
    /// revision was made since: then whatever was put in force since stays. `is_told`: somebody asks for it now, so that
    /// an earlier refusal does not count. A store that replicas share takes a file only while it is empty.
    ///
    /// # Errors
    /// See [`ReviseError`]; `Conflict` if a shared store is not empty.
    pub async fn take_file(
        &self,
        path: &Path,
        text: &str,
        is_told: bool,
    ) -> Result<Taken, ReviseError> {
        let last = self.store.latest_revision_from(FILE).await?;
        let is_last = last.as_ref().is_some_and(|last| last.document == text);
        if self.store.is_shared() {
            if is_last {
                return Ok(Taken::Unchanged);
            }
            return self.revise(text, origin(), Some(0)).await.map(Taken::Revised);
        }
        let was_refused = self.note_file(path, text);
        if is_last {
            self.store.forget_refused_file().await?;
            self.clear_file_refusal();
            return Ok(Taken::Unchanged);
        }
        let stored = self.store.latest_revision().await?;
        // If it was refused and somebody else put it in force since, it counts as the file's by now, too.
        let is_newest = stored.as_ref().is_some_and(|stored| stored.document == text);
        let newest = stored.map_or(0, |stored| stored.revision);
        // Once another text of the file was taken over, the refused one is a new edit again.
        let is_still_known = |refused: &i64| last.is_none_or(|last| last.revision <= *refused);
        let refused = match is_told {
            true => None,
            false => self.store.refused_file(text).await?.filter(is_still_known),
        };
        let refused = refused.map(|refused| if is_newest { newest } else { refused });
        if let Some(refused) = refused.filter(|refused| *refused < newest) {
            self.notes().file_tried = None;
            return Ok(Taken::Overtaken { refused, newest });
        }
        match self.put_in_force(text, origin(), refused).await {
            Ok(revised) => {
                self.clear_file_refusal();
                Ok(Taken::Revised(revised))
            }
            Err(ReviseError::Refused(review)) => {
                if refused.is_none() {
                    self.store.keep_refused_file(text, newest).await?;
                }
                self.refuse_file(&review.findings, was_refused && !is_told);
                Err(ReviseError::Refused(review))
            }
            Err(ReviseError::Conflict { live }) => {
                self.notes().file_tried = None;
                Ok(Taken::Overtaken { refused: newest, newest: live })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the document in the file was refused so long ago that it is to be tried again: the cause may have been
    /// outside of it.
    pub fn is_file_due(&self) -> bool {
        self.notes().file_tried.is_some_and(|tried| tried.elapsed() >= TRY_AGAIN)
    }

    /// The file cannot be read, for this reason: the document in force stays.
    pub fn miss_file(&self, path: &Path, why: &str) {
        let detail = format!("{} cannot be read: {why}", path.display());
        let fault = Fault::new("", "unreadable", detail);
        self.notes().file_tried = None;
        self.note_refusal(FILE, None, &[Finding::unplaced(Severity::Error, fault)]);
    }

    /// Remembers what the file holds; true if that was refused when it was last tried.
    fn note_file(&self, path: &Path, text: &str) -> bool {
        let mut notes = self.notes();
        let before = notes.file.replace((path.to_owned(), text.to_owned()));
        notes.file_tried.is_some() && before.is_some_and(|(_, before)| before == text)
    }

    /// Forgets that the file was refused: nothing is wrong with what it holds.
    fn clear_file_refusal(&self) {
        let mut notes = self.notes();
        notes.refusals.remove(FILE);
        notes.file_tried = None;
    }

    /// Refuses what the file holds. If it `is_again` the same document, that is logged only if the errors are others.
    fn refuse_file(&self, findings: &[Finding], is_again: bool) {
        {
            let mut notes = self.notes();
            notes.file_tried = Some(Instant::now());
            let known = notes.refusals.get_mut(FILE);
            if let Some(known) = known.filter(|it| is_again && is_alike(&it.findings, findings)) {
                known.findings = findings.to_vec();
                return;
            }
        }
        self.note_refusal(FILE, None, findings);
    }
}

/// Whether both have the same errors, whatever their details say: those may hold counts, which change.
fn is_alike(one: &[Finding], other: &[Finding]) -> bool {
    let kinds = |findings: &[Finding]| -> Vec<_> {
        findings.iter().map(|it| (it.code.clone(), it.pointer.clone())).collect()
    };
    kinds(one) == kinds(other)
}

fn origin() -> Origin {
    Origin { source: FILE, actor: FILE.to_owned(), note: None, restored: None }
}
