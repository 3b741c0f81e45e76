//! The provider document, as persons and services ask for it: putting another in force, and what is in force.

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
        // Even after an error: a document that another replica put in force may have been taken over before.
        self.shared.sync_lanes();
        revised
    }

    /// Which document is in force, and what was in the way of others.
    pub fn configuration_status(&self) -> ConfigurationStatus {
        self.shared.document.status()
    }

    /// Why the newest revision cannot be served here, if it cannot; see [`LiveDocument::unserved_reason`](crate::LiveDocument::unserved_reason).
    pub fn unserved_reason(&self) -> Option<String> {
        self.shared.document.unserved_reason()
    }

    /// Fails if the newest revision cannot be served here; see [`LiveDocument::unserved_revision`](crate::LiveDocument::unserved_revision).
    ///
    /// # Errors
    /// [`AcceptError::Unserved`].
    pub fn check_serving(&self) -> Result<(), AcceptError> {
        self.shared
            .document
            .unserved_revision()
            .map_or(Ok(()), |newest| Err(AcceptError::Unserved { newest }))
    }

    /// Ends the waits of a provider's lane because a secret of it is another one now, which may have mended their cause.
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
        self.shared.sync_lanes();
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
