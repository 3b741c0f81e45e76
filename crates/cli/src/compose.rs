//! The composition root: the one place that names every crate and puts the gateway together.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use invite_config::{Configuration, Finding, Gate, Live, Rules, Severity};
use invite_core::{Clock, SystemClock};
use invite_delivery::{Engine, LiveDocument, ReviseError, Taken};
use invite_store::{Lock, Store};
use secrecy::ExposeSecret;

use crate::{
    exposure,
    failure::Failure,
    settings::{Settings, without_password},
};

/// The longest provider document that is read, in bytes.
const MAX_DOCUMENT: u64 = 2 * 1024 * 1024;

/// This machine's clocks. Whatever has a store goes by the store's clock instead.
pub fn machine() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The gate for provider documents under these settings. The providers that it makes go by `clock`.
pub fn gate(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Gate, Failure> {
    let hosts = settings.server.allow_private_hosts.clone();
    let rules = Rules {
        webhook_private_hosts: settings.webhooks.allow_private_hosts.clone(),
        allowed_hosts: settings.providers.allowed_hosts.clone(),
        released: settings.released().map_err(Failure::wrong)?,
        ..Rules::new(settings.delivery.lease, hosts)
    };
    Ok(Gate::new(invite_kinds::all(), rules, clock))
}

/// Opens and migrates the database. `may_make` says whether a file is made where there is none.
pub async fn store(settings: &Settings, may_make: bool) -> Result<Store, Failure> {
    let url = settings.storage.address().map_err(Failure::wrong)?;
    let opened = match may_make {
        true => Store::open(url.expose_secret(), machine()).await,
        false => Store::open_existing(url.expose_secret(), machine()).await,
    };
    let store = opened.map_err(|error| cannot_open(settings, &error))?;
    invite_core::id::time_by(store.clock());
    Ok(store)
}

/// Opens the database for the process that serves it. Such a process holds a lock on a SQLite database, and
/// refuses a PostgreSQL server that loses what it has committed unless the settings allow that.
pub async fn store_to_serve(settings: &Settings) -> Result<(Store, Option<Lock>), Failure> {
    let url = settings.storage.address().map_err(Failure::wrong)?;
    let opened = Store::open_to_serve(url.expose_secret(), machine()).await;
    let (store, lock) = opened.map_err(|error| cannot_open(settings, &error))?;
    invite_core::id::time_by(store.clock());
    if let Some((path, is_new)) = store.file() {
        let made = if is_new { ", which was made just now" } else { "" };
        tracing::info!("the database is {}{made}", path.display());
        exposure::warn_of_database(path);
    } else {
        tracing::info!("the database is {}", without_password(&settings.storage.url));
    }
    let off = store.unsafe_settings().await.map_err(Failure::store)?.join(" and ");
    if off.is_empty() {
        return Ok((store, lock));
    }
    if !settings.storage.allow_unsafe {
        return Err(Failure::wrong(format!(
            "the database's server has {off} off, so that a crash there loses invites that were \
             accepted: switch that on, or set storage.allow_unsafe if none of them matters"
        )));
    }
    tracing::warn!("the database's server has {off} off: a crash there loses accepted invites");
    Ok((store, lock))
}

fn cannot_open(settings: &Settings, error: &invite_store::Error) -> Failure {
    let shown = without_password(&settings.storage.url);
    let message = format!("cannot open the database {shown} (storage.url): {error}");
    match error {
        invite_store::Error::Url(_) => Failure::wrong(message),
        _ => Failure::failed(message),
    }
}

/// Passes a document through the gate. The failure has every error on a line of its own.
pub fn check(gate: &Gate, origin: &str, text: &str) -> Result<Configuration, Failure> {
    let checked = gate.check(text);
    for finding in checked.findings.iter().filter(|f| f.severity == Severity::Warning) {
        tracing::warn!(
            document = origin,
            "the provider document in {origin}: {}",
            finding.for_operator()
        );
    }
    checked.configuration.ok_or_else(|| refused(origin, &checked.findings))
}

fn refused(origin: &str, findings: &[Finding]) -> Failure {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let lines: Vec<String> =
        errors.map(|finding| format!("  {}", finding.for_operator())).collect();
    Failure::wrong(format!("{origin} does not pass the gate:\n{}", lines.join("\n")))
}

/// The document to start with: the newest revision, whoever made it. If the file differs from the last revision that
/// came from a file, and passes, it becomes the next revision. With PostgreSQL this happens only while there is no
/// revision. If the newest revision does not pass any more, an older one is live, so that invites can be read.
pub async fn document(
    settings: &Settings,
    gate: Arc<Gate>,
    store: &Store,
) -> Result<LiveDocument, Failure> {
    let path = &settings.providers.file;
    let nothing = Live::new(empty(&gate)?);
    let document = LiveDocument::new(store.clone(), gate, nothing, store.clock());
    document.resume().await.map_err(Failure::store)?;
    let is_new = store.latest_revision_number().await.map_err(Failure::store)? == 0;
    let taken = if store.is_shared() && !is_new {
        Ok(())
    } else {
        match or_absent(read_own_document(path), path) {
            Ok(Some(text)) => take(&document, path, &text).await,
            Ok(None) if !is_new => Ok(()),
            Ok(None) => {
                tracing::warn!(
                    providers.file = %path.display(),
                    "there is no provider document, so the gateway starts without providers"
                );
                // The database may be shared with replicas that have a document: this machine does
                // not make an empty one the first revision.
                if store.is_shared() {
                    return Ok(document);
                }
                take(&document, path, "").await
            }
            Err(unreadable) => Err(unreadable),
        }
    };
    if document.live().current().revision() == 0 {
        // A replica that starts at the same time may have added the first revision since the look above.
        document.resume().await.map_err(Failure::store)?;
    }
    let number = document.live().current().revision();
    match taken {
        Ok(()) if number > 0 => Ok(document),
        Ok(()) => Err(unserved(&document)),
        Err(refused) if number > 0 => {
            tracing::error!(
                "the provider document in the file is not taken, and revision {number} is live: {refused}"
            );
            Ok(document)
        }
        Err(refused) => Err(refused),
    }
}

async fn take(document: &LiveDocument, path: &Path, text: &str) -> Result<(), Failure> {
    let findings = match document.take_file(path, text, false).await {
        Ok(Taken::Revised(revised)) => revised.findings,
        Ok(Taken::Overtaken { refused, newest }) => {
            warn_of_overtaken(path, refused, newest);
            return Ok(());
        }
        // Unchanged, or another replica has added the first revision meanwhile.
        Ok(Taken::Unchanged) | Err(ReviseError::Conflict { .. }) => return Ok(()),
        Err(ReviseError::Refused(review)) => {
            return Err(refused(&path.display().to_string(), &review.findings));
        }
        Err(ReviseError::Store(error)) => return Err(Failure::store(error)),
    };
    for finding in findings {
        tracing::warn!(document = %path.display(), "the provider document in {}: {finding}", path.display());
    }
    Ok(())
}

/// The failure to start because no stored revision passes.
fn unserved(document: &LiveDocument) -> Failure {
    let Some(refusal) = document.status().last_refusal else {
        return Failure::wrong("there is no provider document");
    };
    let revision = refusal.revision.unwrap_or_default();
    let origin = format!("the stored configuration revision {revision}");
    refused(&origin, &refusal.findings)
}

/// The configuration that is live until there is a document.
fn empty(gate: &Gate) -> Result<Configuration, Failure> {
    gate.check("").configuration.ok_or_else(|| Failure::failed("an empty document does not pass"))
}

/// Logs that the file is not taken, and what to do.
pub fn warn_of_overtaken(path: &Path, refused: i64, newest: i64) {
    tracing::warn!(
        providers.file = %path.display(),
        "the file holds what was refused when revision {refused} was the newest; revision {newest} was \
         made since and stays: edit the file, or send SIGHUP, to have it taken"
    );
}

/// The text of a provider document; `None` if there is no such file.
pub fn read_document(path: &Path) -> Result<Option<String>, Failure> {
    or_absent(read_limited(path), path)
}

/// The text of the file that the settings name. Unlike a file that is named on a command line it may be no
/// pipe, as reading that could wait for ever.
pub fn read_own_document(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    read_limited(path)
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::other(format!("it is longer than {MAX_DOCUMENT} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn or_absent(read: io::Result<String>, path: &Path) -> Result<Option<String>, Failure> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::wrong(format!(
            "cannot read the provider document {}: {error}",
            path.display()
        ))),
    }
}

pub async fn engine(settings: &Settings, document: LiveDocument) -> Result<Engine, Failure> {
    if settings.events.sending {
        document.store().tell_sending();
    }
    let settings = invite_delivery::Settings {
        lease: settings.delivery.lease,
        settle: settings.delivery.settle,
        refresh: settings.delivery.refresh,
        shutdown_grace: settings.delivery.shutdown_grace,
        idempotency_retention: settings.idempotency.retention,
        webhook_give_up: settings.webhooks.give_up,
        retention: settings.privacy.retention.stages(settings.events.retention),
    };
    let clock = document.store().clock();
    Engine::start(document, clock, settings).await.map_err(Failure::store)
}
