//! The provider document, as persons and services ask for it. Those methods of it that may change which providers
//! there are go by the engine, which gives each a lane.

use std::path::Path;

use crate::{
    LiveDocument,
    error::AcceptError,
    revise::{Origin, ReviseError, Revised, Taken},
    shared::Engine,
};

impl Engine {
    /// The document in force. To change it there are [`revise`](Self::revise) and [`take_file`](Self::take_file).
    pub fn document(&self) -> &LiveDocument {
        &self.shared.document
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
        lane.wake_for_all();
        lane.wake_look_ups.notify_one();
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
}
