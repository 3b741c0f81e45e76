//! The composition root: the one place that names every crate and puts the gateway together.

use std::{path::Path, sync::Arc};

use invite_config::{Configuration, Gate, Live, Rules, Severity};
use invite_core::{Clock, ProviderKind, SystemClock};
use invite_delivery::Engine;
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
    checked.configuration.ok_or_else(|| {
        let errors = checked.findings.iter().filter(|f| f.severity == Severity::Error);
        let lines: Vec<String> = errors.map(|finding| format!("  {finding}")).collect();
        Failure::wrong(format!("{origin} does not pass the gate:\n{}", lines.join("\n")))
    })
}

/// The document to start with. The file becomes a new revision if it differs from the last one
/// that came from a file; otherwise the newest revision, wherever it was made, stays in force. With
/// PostgreSQL the file only seeds an empty store.
pub async fn configuration(
    settings: &Settings,
    gate: &Gate,
    store: &Store,
) -> Result<Configuration, Failure> {
    let path = &settings.providers.file;
    let latest = store.latest_revision().await.map_err(Failure::store)?;
    let from_file = store.latest_revision_from("file").await.map_err(Failure::store)?;
    let file = read_document(path)?;
    let text = match (file, latest) {
        (Some(text), Some(latest)) => {
            let seen = from_file.is_some_and(|revision| revision.document == text);
            if seen || store.is_shared() {
                return stored(gate, latest);
            }
            text
        }
        (None, Some(latest)) => return stored(gate, latest),
        (Some(text), None) => text,
        (None, None) => {
            tracing::warn!(
                providers.file = %path.display(),
                "there is no provider document, so the gateway starts without providers"
            );
            String::new()
        }
    };
    let configuration = check(gate, &path.display().to_string(), &text)?;
    let revision = store.add_revision(&text, "file", None, None).await.map_err(Failure::store)?;
    Ok(configuration.with_revision(revision.revision))
}

fn stored(gate: &Gate, revision: invite_store::Revision) -> Result<Configuration, Failure> {
    let origin = format!("the stored configuration revision {}", revision.revision);
    Ok(check(gate, &origin, &revision.document)?.with_revision(revision.revision))
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
pub async fn engine(
    settings: &Settings,
    store: Store,
    configuration: Configuration,
) -> Result<Engine, Failure> {
    let delivery = &settings.delivery;
    let idempotency_retention = settings.idempotency.retention;
    let settings = invite_delivery::Settings {
        lease: delivery.lease,
        settle: delivery.settle,
        refresh: delivery.refresh,
        shutdown_grace: delivery.shutdown_grace,
        idempotency_retention,
    };
    Engine::start(store, Live::new(configuration), clock(), settings).await.map_err(Failure::store)
}
