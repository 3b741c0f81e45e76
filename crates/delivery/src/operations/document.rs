//! What is asked of the provider document: putting another one in force, and how it stands.

use std::path::Path;

use invite_store::Actor;

use crate::{
    error::AcceptError,
    revise::{ConfigurationStatus, Origin, Review, ReviseError, Revised, Taken},
    shared::Engine,
};

impl Engine {
    /// What would become of a provider document if it went live now; see [`LiveDocument::review`](crate::LiveDocument::review).
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn review(
        &self,
        text: &str,
        probe: bool,
        actor: Actor,
    ) -> Result<Review, invite_store::Error> {
        self.shared.document.review(text, probe, actor).await
    }

    /// Puts a provider document in force; see [`LiveDocument::revise`](crate::LiveDocument::revise).
    ///
    /// # Errors
    /// See [`ReviseError`].
    pub async fn revise(
        &self,
        text: &str,
        origin: Origin,
        expected: Option<i64>,
    ) -> Result<Revised, ReviseError> {
        let revised = self.shared.document.revise(text, origin, expected).await;
        // Also without it: what another replica had put in force may have been taken first.
        self.shared.follow_document();
        revised
    }

    /// Which document is in force, and what was in the way of others.
    pub fn configuration_status(&self) -> ConfigurationStatus {
        self.shared.document.status()
    }

    /// Why the newest revision cannot be served here, if it cannot; see [`LiveDocument::lag`](crate::LiveDocument::lag).
    pub fn lag(&self) -> Option<String> {
        self.shared.document.lag()
    }

    /// Fails if the newest revision cannot be served here; see [`LiveDocument::behind`](crate::LiveDocument::behind).
    ///
    /// # Errors
    /// [`AcceptError::Behind`].
    pub fn check_serving(&self) -> Result<(), AcceptError> {
        self.shared.document.behind().map_or(Ok(()), |newest| Err(AcceptError::Behind { newest }))
    }

    /// A secret of this provider is another one now: what its lane paused for may be over.
    pub fn secret_changed(&self, provider: &str) {
        let lane = self.shared.lane(provider);
        lane.with_state(|state| state.resume(self.shared.clock.now()));
        lane.wake.notify_one();
        lane.doubt.notify_one();
    }

    /// Takes what the file holds; see [`LiveDocument::take_file`](crate::LiveDocument::take_file).
    ///
    /// # Errors
    /// See [`ReviseError`].
    pub async fn take_file(
        &self,
        path: &Path,
        text: &str,
        is_told: bool,
    ) -> Result<Taken, ReviseError> {
        let taken = self.shared.document.take_file(path, text, is_told).await;
        self.shared.follow_document();
        taken
    }

    /// Whether the file is to be tried again; see [`LiveDocument::is_file_due`](crate::LiveDocument::is_file_due).
    pub fn is_file_due(&self) -> bool {
        self.shared.document.is_file_due()
    }

    /// There is nothing to take in the file; see [`LiveDocument::miss_file`](crate::LiveDocument::miss_file).
    pub fn miss_file(&self, path: &Path, why: &str) {
        self.shared.document.miss_file(path, why);
    }
}
