//! `keys create`, `keys change`, `keys list` and `keys revoke`, on the database itself. What a key
//! may be is decided in invite-http, as for the API.

use comfy_table::Table;
use invite_core::{Clock, Fault, KeyId};
use invite_http::{KeyChange, KeyState, new_key};
use invite_store::{Actor, ApiKey, KeyChanged, Store};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    args::KeysCommand, compose, failure::Failure, print, print_json, settings::Settings, tell,
};

/// The word that takes a limit away from a key.
const NO_LIMIT: &str = "none";

pub async fn run(settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    let may_make = matches!(command, KeysCommand::Create { .. });
    let store = compose::store(settings, may_make).await?;
    if let Some((path, true)) = store.file() {
        tell(&format!(
            "the database {} was made just now: a gateway that runs already has another one, and knows no key \
             in this one",
            path.display()
        ));
    }
    let done = run_on(&store, settings, command).await;
    store.close().await;
    done
}

async fn run_on(store: &Store, settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    let now = store.clock().now();
    match command {
        KeysCommand::Create(args) => {
            let known = known_providers(store, settings).await?;
            let mut body = json!(args);
            body["expires_at"] = json!(args.expires.map(|after| end(after, now)).transpose()?);
            let secret = create(store, body, &known, now).await?;
            if let Some((path, _)) = store.file() {
                tell(&format!("the key is in the database {}", path.display()));
            }
            print(&format!("{secret}\n"))
        }
        KeysCommand::Change(args) => {
            let mut body = Map::new();
            body.extend(args.name.map(|name| ("name".to_owned(), json!(name))));
            let providers = args.providers.map(|names| match &names[..] {
                [word] if word == NO_LIMIT => Value::Null,
                _ => json!(names),
            });
            body.extend(providers.map(|names| ("providers".to_owned(), names)));
            for (member, limit) in [
                ("requests_per_second", args.requests_per_second),
                ("invites_per_second", args.invites_per_second),
                ("invites_per_day", args.invites_per_day),
            ] {
                let limit = limit.map(|limit| number_or_none(member, &limit)).transpose()?;
                body.extend(limit.map(|limit| (member.to_owned(), limit)));
            }
            let expiry = args.expires.map(|after| end_or_none(&after, now)).transpose()?;
            body.extend(expiry.map(|at| ("expires_at".to_owned(), at)));
            change(store, settings, args.id, body.into(), now).await
        }
        KeysCommand::List { json } => list(store, json).await,
        KeysCommand::Revoke { id } => revoke(store, id).await,
    }
}

/// The names of the providers that a key can be limited to: those of the newest document or, before the
/// first start, of the file.
async fn known_providers(store: &Store, settings: &Settings) -> Result<Vec<String>, Failure> {
    let document = match store.latest_revision().await.map_err(Failure::store)? {
        Some(newest) => newest.document,
        None => compose::read_document(&settings.providers.file)?.unwrap_or_default(),
    };
    let accounts = compose::gate(settings, store.clock())?.accounts(&document);
    Ok(accounts.names().map(str::to_owned).collect())
}

fn end(after: std::time::Duration, now: Timestamp) -> Result<Timestamp, Failure> {
    now.checked_add(after)
        .map_err(|_| Failure::wrong("--expires is too far away: give a shorter time, such as 90d"))
}

fn end_or_none(word: &str, now: Timestamp) -> Result<Value, Failure> {
    if word == NO_LIMIT {
        return Ok(Value::Null);
    }
    let after = humantime::parse_duration(word)
        .map_err(|error| Failure::wrong(format!("--expires takes a time such as 90d: {error}")))?;
    Ok(json!(end(after, now)?))
}

fn number_or_none(member: &str, word: &str) -> Result<Value, Failure> {
    match (word.parse::<u64>(), word.parse::<f64>()) {
        _ if word == NO_LIMIT => Ok(Value::Null),
        (Ok(count), _) => Ok(json!(count)),
        (_, Ok(rate)) => Ok(json!(rate)),
        _ => {
            let argument = member.replace('_', "-");
            Err(Failure::wrong(format!("--{argument} takes a number, or `none` for no limit")))
        }
    }
}

/// Makes a key from the body that the API would take, and returns its secret, which is not kept.
/// `providers` are the names of those that there are.
pub async fn create(
    store: &Store,
    body: Value,
    providers: &[String],
    now: Timestamp,
) -> Result<String, Failure> {
    let known: Vec<&str> = providers.iter().map(String::as_str).collect();
    let key = new_key(body, None, &known, now).map_err(wrong)?;
    let secret = invite_http::generate_key();
    let key = ApiKey { hash: invite_http::hash_key(&secret), ..key };
    store.insert_key(&key, &actor()).await.map_err(Failure::store)?;
    Ok(secret)
}

async fn change(
    store: &Store,
    settings: &Settings,
    id: KeyId,
    body: Value,
    now: Timestamp,
) -> Result<(), Failure> {
    let known = known_providers(store, settings).await?;
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let change = KeyChange::read(body, &known, now).map_err(wrong)?;
    let decided = change.clone();
    let decide = move |family: &_| decided.decide(family, None);
    match store.change_key(id, &actor(), decide).await.map_err(Failure::store)? {
        Some(KeyChanged::Changed(key)) => print(&format!("changed {} ({})\n", key.id, key.name)),
        Some(KeyChanged::Refused(family)) => {
            let why = change.refusal(&family, None).unwrap_or_default();
            Err(Failure::wrong(format!("{id} is not changed: {why}; change that one first")))
        }
        None => Err(unknown(id)),
    }
}

/// What is wrong, with the names of arguments instead of members.
fn wrong(faults: Vec<Fault>) -> Failure {
    let say = |fault: &Fault| {
        let member = fault.pointer.trim_start_matches(['#', '/']).split('/').next();
        let argument = match member.unwrap_or_default() {
            "" => return fault.detail.clone(),
            "expires_at" => "expires".to_owned(),
            member => member.replace('_', "-"),
        };
        let word = fault.suggestion.as_ref();
        let meant = word.map_or(String::new(), |word| format!("; did you mean `{word}`?"));
        format!("--{argument}: {}{meant}", fault.detail)
    };
    let said: Vec<String> = faults.iter().map(say).collect();
    Failure::wrong(said.join("; "))
}

fn unknown(id: KeyId) -> Failure {
    Failure::failed(format!("there is no key {id}; `keys list` shows them"))
}

/// Whoever changes keys here may use the database itself, and is not known by name.
fn actor() -> Actor {
    Actor { name: "command line".to_owned(), source: "cli".to_owned() }
}

async fn list(store: &Store, json: bool) -> Result<(), Failure> {
    let (keys, unreadable) = store.keys(None).await.map_err(Failure::store)?;
    for key in unreadable {
        tracing::error!(
            key.id = key.id,
            column = key.column,
            "an API key cannot be read from the database; it is refused"
        );
    }
    let now = store.clock().now();
    if json {
        let shown = |key: &ApiKey| {
            let mut shown = json!(key);
            shown["state"] = json!(KeyState::of(key, now));
            shown
        };
        return print_json(&json!({ "keys": keys.iter().map(shown).collect::<Vec<_>>() }));
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["id", "name", "tenant", "scopes", "state", "expires", "last used"]);
    for key in keys {
        let time = |at: Option<Timestamp>| at.map_or("never".into(), |at| format!("{at:.0}"));
        let [expires, used] = [key.expires_at, key.last_used_at].map(time);
        let (state, scopes) = (KeyState::of(&key, now).as_str(), key.scopes.join(","));
        table.add_row([
            key.id.to_string(),
            key.name,
            key.tenant,
            scopes,
            state.to_owned(),
            expires,
            used,
        ]);
    }
    print(&format!("{table}\n"))
}

async fn revoke(store: &Store, id: KeyId) -> Result<(), Failure> {
    match store.revoke_key(id, &actor()).await.map_err(Failure::store)? {
        Some(key) => print(&format!("revoked {} ({})\n", key.id, key.name)),
        None => Err(unknown(id)),
    }
}
