//! `config apply`: puts a provider document in force on a running gateway.

use std::path::Path;

use http::{HeaderValue, Method, header};
use invite_client::{Call, Client};
use invite_config::{Finding, Severity};
use serde::Deserialize;

use crate::{args::ApplyArgs, client, compose, failure::Failure, print, settings::Settings};

const DOCUMENT: &str = "/v1/admin/config";
const CHECK: &str = "/v1/admin/config/check";
const TOML: &str = "application/toml";

#[derive(Deserialize)]
struct Checked {
    findings: Vec<Finding>,
    diff: String,
}

#[derive(Deserialize)]
struct Applied {
    revision: i64,
}

/// Shows what the gateway finds in the document, and puts it in force if none of that is an error.
pub async fn run(settings: &Settings, args: ApplyArgs) -> Result<(), Failure> {
    let path = &args.file;
    let text = compose::read_document(path)?
        .ok_or_else(|| Failure::wrong(format!("there is no file {}", path.display())))?;
    let client = client::of(settings, args.url.as_deref(), &args.key_env)?;
    // The ETag is read before the check, so that a change that somebody makes from here on is not overwritten.
    let live = client.call(Call::get(DOCUMENT)).await?;
    let tag = live.headers.get(header::ETAG).cloned();
    let tag = tag.ok_or_else(|| {
        Failure::failed(format!("the gateway answered {DOCUMENT} without an ETag"))
    })?;
    check(&client, path, &text).await?;
    put(&client, path, text, tag, args.note.as_deref()).await
}

async fn check(client: &Client, path: &Path, text: &str) -> Result<(), Failure> {
    let checked: Checked = client.read(Call::post(CHECK).body(TOML, text.to_owned())).await?;
    for finding in &checked.findings {
        print(&format!("{}: {finding}\n", path.display()))?;
    }
    let errors = checked.findings.iter().filter(|f| f.severity == Severity::Error).count();
    if errors > 0 {
        let message = format!("{}: {errors} error(s), so nothing was applied", path.display());
        return Err(Failure::wrong(message));
    }
    print(&checked.diff)
}

async fn put(
    client: &Client,
    path: &Path,
    text: String,
    tag: HeaderValue,
    note: Option<&str>,
) -> Result<(), Failure> {
    let call = Call::new(Method::PUT, DOCUMENT).query(note.map(|note| ("note", note)));
    let call = call.body(TOML, text).header(header::IF_MATCH, tag);
    let applied: Applied = client.read(call).await?;
    print(&format!("{}: live as revision {}\n", path.display(), applied.revision))
}
