//! `keys create`, `keys list` and `keys revoke`, on the database itself.

use comfy_table::Table;
use invite_core::{Clock, KeyId, text};
use invite_http::{MAX_KEY_NAME, SCOPES};
use invite_store::{Actor, ApiKey, Store};
use jiff::Timestamp;
use serde_json::json;

use crate::{args::KeysCommand, compose, failure::Failure, print, print_json, settings::Settings};

/// The longest name of a tenant or a provider, in characters.
const MAX_WORD: usize = 200;
/// How many requests per second a key can be limited to.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// Runs one of the `keys` commands.
pub async fn run(settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    let store = compose::store(settings).await?;
    let done = run_on(&store, settings, command).await;
    store.close().await;
    done
}

async fn run_on(store: &Store, settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Create { name, scopes, tenant, providers, requests_per_second, expires } => {
            let now = store.clock().now();
            let expires_at = match expires {
                Some(after) => Some(now.checked_add(after).map_err(|_| {
                    Failure::wrong("--expires is too far away: give a shorter time, such as 90d")
                })?),
                None => None,
            };
            check_providers(store, settings, providers.as_deref().unwrap_or_default()).await?;
            let new = NewKey { name, scopes, tenant, providers, requests_per_second, expires_at };
            let secret = create(store, new, now).await?;
            print(&format!("{secret}\n"))
        }
        KeysCommand::List { json } => list(store, json).await,
        KeysCommand::Revoke { id } => revoke(store, &id).await,
    }
}

/// A key is for providers that there are. Before the first start it cannot be known which those
/// will be.
async fn check_providers(
    store: &Store,
    settings: &Settings,
    providers: &[String],
) -> Result<(), Failure> {
    let Some(newest) = store.latest_revision().await.map_err(Failure::store)? else {
        return Ok(());
    };
    let accounts = compose::gate(settings, store.clock()).accounts(&newest.document);
    let known: Vec<&str> = accounts.names().collect();
    match providers.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Failure::wrong(format!(
            "--providers: `{unknown}` is no provider of configuration revision {}; there are: {}",
            newest.revision,
            known.join(", ")
        ))),
    }
}

/// A key to be made.
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whose invites it sees.
    pub tenant: String,
    /// The providers it may use; none for all.
    pub providers: Option<Vec<String>>,
    /// Requests per second that it may make; none for no limit.
    pub requests_per_second: Option<f64>,
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
}

/// Makes a key and returns its secret, which is not kept.
pub async fn create(store: &Store, new: NewKey, now: Timestamp) -> Result<String, Failure> {
    check_word("--name", &new.name, MAX_KEY_NAME)?;
    check_word("--tenant", &new.tenant, MAX_WORD)?;
    for provider in new.providers.iter().flatten() {
        check_word("--providers", provider, MAX_WORD)?;
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(Failure::wrong("--expires would end the key at once: give a time such as 90d"));
    }
    if new.requests_per_second.is_some_and(|rate| !RATES.contains(&rate)) {
        let (least, most) = (RATES.start(), RATES.end());
        let message = format!("--requests-per-second takes a number from {least} to {most}");
        return Err(Failure::wrong(message));
    }
    for scope in &new.scopes {
        if !SCOPES.contains(&scope.as_str()) {
            let known = SCOPES.join(", ");
            return Err(Failure::wrong(format!("`{scope}` is no scope; the scopes are {known}")));
        }
    }
    // Each once, in one order.
    let scopes = SCOPES.iter().filter(|known| new.scopes.iter().any(|scope| scope == *known));
    let secret = invite_http::generate_key();
    let key = ApiKey {
        id: KeyId::generate(),
        hash: invite_http::hash_key(&secret),
        name: new.name,
        tenant: new.tenant,
        scopes: scopes.map(ToString::to_string).collect(),
        providers: new.providers,
        requests_per_second: new.requests_per_second,
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    store.insert_key(&key, &actor()).await.map_err(Failure::store)?;
    Ok(secret)
}

/// Who changes keys here: somebody who may use the database itself.
fn actor() -> Actor {
    Actor { name: "command line".to_owned(), source: "cli".to_owned() }
}

/// What stands in a column of `keys list`, and in the log.
fn check_word(argument: &str, word: &str, max: usize) -> Result<(), Failure> {
    text::check_word(word, max).map_err(|(_, detail)| {
        Failure::wrong(format!("{argument} {detail}; it takes 1 to {max} characters"))
    })
}

async fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let (keys, unreadable) = store.keys().await.map_err(Failure::store)?;
    for key in unreadable {
        tracing::error!(
            key.id = key.id,
            column = key.column,
            "an API key cannot be read from the database; it is refused"
        );
    }
    if json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({ "id": key.id, "name": key.name, "tenant": key.tenant,
                    "scopes": key.scopes, "providers": key.providers,
                    "requests_per_second": key.requests_per_second, "created_at": key.created_at,
                    "expires_at": key.expires_at, "revoked_at": key.revoked_at,
                    "last_used_at": key.last_used_at })
            })
            .collect();
        return print_json(&json!({ "keys": keys }));
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["id", "name", "tenant", "scopes", "state", "last used"]);
    let now = store.clock().now();
    for key in keys {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(at)) if at <= now => "expired".to_owned(),
            (None, Some(at)) => format!("until {at:.0}"),
            (None, None) => "good".to_owned(),
        };
        let used = key.last_used_at.map_or("never".to_owned(), |at| format!("{at:.0}"));
        table.add_row([
            key.id.to_string(),
            key.name,
            key.tenant,
            key.scopes.join(","),
            state,
            used,
        ]);
    }
    print(&format!("{table}\n"))
}

async fn revoke(store: &Store, id: &str) -> Result<(), Failure> {
    let parsed: KeyId =
        id.parse().map_err(|error| Failure::wrong(format!("`{id}` is no key id: {error}")))?;
    match store.revoke_key(parsed, &actor()).await.map_err(Failure::store)? {
        Some(key) => print(&format!("revoked {} ({})\n", key.id, key.name)),
        None => Err(Failure::failed(format!("there is no key {id}; `keys list` shows them"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_some_characters() {
        for word in ["hr", "Human resources", &"é".repeat(100)] {
            assert!(check_word("--name", word, MAX_KEY_NAME).is_ok(), "{word}");
        }
        for word in ["", " ", " hr", "a\nb", "a\tb", "\u{85}", "a\u{202e}b", &"x".repeat(101)] {
            assert!(check_word("--name", word, MAX_KEY_NAME).is_err(), "{word}");
        }
    }
}
