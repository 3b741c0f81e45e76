//! Watches files while the gateway runs: the provider document, and the files that hold secrets.
//! What becomes of a document is decided in invite-delivery.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use invite_config::SecretOutcome;
use invite_delivery::{Engine, ReviseError, Taken};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{compose, failure::Failure};

/// How often files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a file has to stay unchanged before it counts as written to its end.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// The text of a file, or why it cannot be read.
type Content = Result<String, String>;

pub struct DocumentWatch {
    path: PathBuf,
    hangup: Signal,
    /// What the file held when it was last taken, or could not be read. Nothing is done while it stays so.
    seen: Option<Content>,
}

impl DocumentWatch {
    /// This has to be called before the gateway takes the document to start with, so that no change is
    /// missed between that and the first look. From here on SIGHUP makes it look at once.
    pub async fn new(path: &Path) -> Result<Self, Failure> {
        let hangup = signal(SignalKind::hangup())
            .map_err(|error| Failure::failed(format!("cannot wait for SIGHUP: {error}")))?;
        Ok(Self { path: path.to_owned(), hangup, seen: Some(read(path).await) })
    }

    pub async fn run(mut self, engine: Engine, closing: CancellationToken) {
        loop {
            let is_told = tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => false,
                _ = self.hangup.recv() => true,
                () = closing.cancelled() => return,
            };
            if !engine.store().is_shared() {
                self.look(&engine, is_told).await;
            } else if is_told {
                tracing::warn!(
                    "SIGHUP changes nothing: with PostgreSQL the provider document comes from the \
                     database; `invite-gateway config apply` changes it"
                );
            }
        }
    }

    async fn look(&mut self, engine: &Engine, is_told: bool) {
        let found = read(&self.path).await;
        if !is_told && self.seen.as_ref() == Some(&found) && !engine.document().is_file_due() {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
        if read(&self.path).await != found {
            if is_told {
                // The file is being written. Whatever it becomes has to be taken.
                self.seen = None;
            }
            return;
        }
        self.seen = Some(found.clone());
        let taken = match &found {
            Ok(text) => engine.take_file(&self.path, text, is_told).await,
            Err(why) => return engine.document().miss_file(&self.path, why),
        };
        let path = self.path.display();
        match taken {
            Ok(Taken::Revised(revised)) => {
                for finding in revised.findings {
                    tracing::warn!(file = %path, "the provider document in {path}: {finding}");
                }
            }
            Ok(Taken::Overtaken { refused, newest }) => {
                compose::warn_of_overtaken(&self.path, refused, newest);
            }
            Ok(Taken::Unchanged) => tracing::info!(
                file = %path,
                "the file holds the document that was last taken from it; nothing changes"
            ),
            // It was logged where it was refused.
            Err(ReviseError::Refused(_)) => {}
            Err(error @ (ReviseError::Store(_) | ReviseError::Conflict { .. })) => {
                tracing::error!(file = %path, %error, "cannot take the provider document; trying again");
                self.seen = None;
            }
        }
    }
}

async fn read(path: &Path) -> Content {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || compose::read_own_document(&path)).await;
    match read {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("it could not be read, which is a defect of the gateway".to_owned()),
    }
}

/// Reads secret files again when they change, so that a mounted secret rotates without a restart.
pub async fn secrets(engine: Engine, closing: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = closing.cancelled() => return,
        }
        let configuration = engine.live().current();
        let looked = tokio::task::spawn_blocking(move || configuration.refresh_secrets()).await;
        for change in looked.unwrap_or_default() {
            let (name, path) = (&change.provider, change.path.display());
            match &change.outcome {
                SecretOutcome::Unreadable(why) => tracing::warn!(
                    provider.name = name, file = %path, why,
                    "a secret file cannot be read; the last good value stays in use"
                ),
                SecretOutcome::Replaced | SecretOutcome::Recovered => {
                    tracing::info!(provider.name = name, file = %path, "a secret file was read again");
                    engine.secret_changed(name);
                }
            }
        }
    }
}
