//! The composition root: the one place that names every crate and puts the gateway together.

use std::{path::Path, sync::Arc};

use invite_config::{Configuration, Finding, Gate, Live, Rules, Severity};
use invite_core::{Clock, ProviderKind, SystemClock};
use invite_delivery::{Engine, LiveDocument, ReviseError, Revised};
use invite_store::Store;

use crate::{failure::Failure, settings::Settings};

/// Every kind of provider there is. Adding one is a line here.
pub fn kinds() -> Vec<Arc<dyn ProviderKind>> {
    vec![
        Arc::new(invite_securegate::SecuregateKind::new()),
        Arc::new(invite_rkvst::RkvstKind::new()),
        Arc::new(invite_turnkey::TurnkeyKind::new()),
    ]
}

/// Time.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The gate for provider documents under these settings.
pub fn gate(settings: &Settings) -> Gate {
    let hosts = settings.server.allow_private_hosts.clone();
    Gate::new(kinds(), Rules::new(settings.delivery.lease, hosts), clock())
}

/// Opens and migrates the database.
pub async fn store(settings: &Settings) -> Result<Store, Failure> {
    let url = &settings.storage.url;
    Store::open(url, clock()).await.map_err(|error| {
        let shown = crate::settings::without_password(url);
        let message = format!("cannot open the database {shown}: {error}");
        match error {
            invite_store::Error::Url(_) => Failure::wrong(message),
            _ => Failure::failed(message),
        }
    })
}

/// Passes a document through the gate: its configuration, or every error on a line of its own.
pub fn check(gate: &Gate, origin: &str, text: &str) -> Result<Configuration, Failure> {
    let checked = gate.check(text);
    for finding in checked.findings.iter().filter(|f| f.severity == Severity::Warning) {
        tracing::warn!(document = origin, "{finding}");
    }
    checked.configuration.ok_or_else(|| refused(origin, &checked.findings))
}

fn refused(origin: &str, findings: &[Finding]) -> Failure {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let lines: Vec<String> = errors.map(|finding| format!("  {finding}")).collect();
    Failure::wrong(format!("{origin} does not pass the gate:\n{}", lines.join("\n")))
}

/// The document to start with. The newest revision stays in force, wherever it was made, unless the
/// file differs from the last revision that came from a file: then it becomes the next one. One that
/// does not pass leaves the last good one in force. With PostgreSQL the file only seeds an empty
/// store.
pub async fn document(
    settings: &Settings,
    gate: Arc<Gate>,
    store: &Store,
) -> Result<LiveDocument, Failure> {
    let path = &settings.providers.file;
    let latest = store.latest_revision().await.map_err(Failure::store)?;
    let takes_file = latest.is_none() || !store.is_shared();
    let (number, good) = match latest {
        Some(latest) => (latest.revision, stored(&gate, latest)),
        None => (0, Err(Failure::wrong("there is no provider document"))),
    };
    let (first, failure) = match good {
        Ok(good) => (good, None),
        Err(failure) => (empty(&gate)?.with_revision(number), Some(failure)),
    };
    let document = LiveDocument::new(store.clone(), gate, Live::new(first), clock());
    if !takes_file {
        return failure.map_or(Ok(document), Err);
    }
    let taken = match read_document(path) {
        Ok(None) if number > 0 => Ok(None),
        Ok(Some(text)) => take(&document, path, &text).await,
        Ok(None) => {
            tracing::warn!(
                providers.file = %path.display(),
                "there is no provider document, so the gateway starts without providers"
            );
            take(&document, path, "").await
        }
        Err(unreadable) => Err(unreadable),
    };
    match (taken, failure) {
        (Ok(Some(_)), _) | (Ok(None), None) => Ok(document),
        (Ok(None), Some(failure)) => Err(failure),
        (Err(refused), None) => {
            tracing::error!("the last good configuration, revision {number}, is served: {refused}");
            Ok(document)
        }
        (Err(refused), Some(_)) => Err(refused),
    }
}

/// Takes the file as the document to start with.
async fn take(
    document: &LiveDocument,
    path: &Path,
    text: &str,
) -> Result<Option<Revised>, Failure> {
    let taken = document.take_file(path, text).await.map_err(|error| match error {
        ReviseError::Refused(review) => refused(&path.display().to_string(), &review.findings),
        ReviseError::Store(error) => Failure::store(error),
        error @ ReviseError::Conflict { .. } => Failure::failed(error.to_string()),
    })?;
    for finding in taken.iter().flat_map(|revised| &revised.findings) {
        tracing::warn!(document = %path.display(), "{finding}");
    }
    Ok(taken)
}

fn stored(gate: &Gate, revision: invite_store::Revision) -> Result<Configuration, Failure> {
    let origin = format!("the stored configuration revision {}", revision.revision);
    Ok(check(gate, &origin, &revision.document)?.with_revision(revision.revision))
}

/// What is in force before anything is.
fn empty(gate: &Gate) -> Result<Configuration, Failure> {
    gate.check("").configuration.ok_or_else(|| Failure::failed("an empty document does not pass"))
}

/// The text of a provider document; none if there is no such file.
pub fn read_document(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::wrong(format!(
            "cannot read the provider document {}: {error}",
            path.display()
        ))),
    }
}

/// Starts the delivery engine.
pub async fn engine(settings: &Settings, document: LiveDocument) -> Result<Engine, Failure> {
    let delivery = &settings.delivery;
    let idempotency_retention = settings.idempotency.retention;
    let settings = invite_delivery::Settings {
        lease: delivery.lease,
        settle: delivery.settle,
        refresh: delivery.refresh,
        shutdown_grace: delivery.shutdown_grace,
        idempotency_retention,
    };
    Engine::start(document, clock(), settings).await.map_err(Failure::store)
}
