//! RKVST's part of the provider document, and the options of an invite: their form, defaults and checks.

use std::sync::LazyLock;

use invite_core::{
    BuildContext, Destination, Fault, InviteId, NewInvite, Recipient, SentWith,
    adapter::{BaseUrl, extra},
    schema::Schema,
    secret::{Check, Credential, SecretRefs},
    text::{check_id, check_text},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::{check_bearer_token, check_client_secret};

pub static SETTINGS: LazyLock<Schema> = LazyLock::new(Schema::of::<Settings>);
pub static OPTIONS: LazyLock<Schema> = LazyLock::new(Schema::of::<Options>);

/// The longest address, in characters (`v1CreateInviteRequest` of the Invites API's swagger).
const MAX_EMAIL: usize = 128;
/// The longest message, in characters (as above).
const MAX_MESSAGE: usize = 256;
/// The length of the reference after a message, with the space before it.
const REFERENCE_LENGTH: usize = " [ref 0123456789ab]".len();

/// `[providers.<name>]` with `kind = "rkvst"`, as written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "some members are read one by one, so that all faults are found")]
pub struct Settings {
    /// Scheme and host of the service, such as https://app.datatrails.ai. A token is bound to its
    /// host, so this is also where tokens are asked for.
    base_url: String,
    /// The path that `/invites`, `/members` and `/appidp/token` are below.
    #[serde(default = "default_path")]
    path: String,
    /// A token: bare, or curl's whole header line `Authorization: Bearer …`. Either this, or
    /// `client_id` and `client_secret`.
    bearer_token: Option<SecretRefs>,
    /// The client id of an app registration with the Owner role.
    #[schemars(length(min = 1))]
    client_id: Option<String>,
    /// The client secret of that app registration.
    client_secret: Option<SecretRefs>,
    /// The message of invites that have none.
    #[serde(default = "default_message")]
    #[schemars(length(min = 1, max = 256))]
    message: String,
    /// Append a short reference to each message, by which an invite is recognized beyond doubt
    /// when the outcome of a call is unknown.
    #[serde(default)]
    message_reference: bool,
    /// Whether invites may have an `options.rkvst.extra`.
    #[serde(default)]
    allow_extra: bool,
}

/// `options.rkvst` of an invite: RKVST offers nothing that the common members do not say.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Members that go into the request as they are, beside the gateway's own; only where the provider's configuration says
    /// `allow_extra`.
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<Map<String, Value>>,
}

/// The members of a create call's body.
const MEMBERS: [&str; 2] = ["message", "email"];

/// The settings, after all checks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Begins with `/` unless it is empty, and does not end with one.
    pub path: String,
    /// Without it the secrets are tokens.
    pub client_id: Option<String>,
    pub message: String,
    pub message_reference: bool,
    pub allow_extra: bool,
}

/// What `resolve` records of an invite.
#[derive(Serialize, Deserialize)]
pub struct Params {
    /// The message without the reference.
    message: String,
    message_reference: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Params {
    /// What was recorded of this recipient.
    pub fn of(recipient: &Recipient) -> Option<Self> {
        Self::deserialize(&recipient.params).ok()
    }

    /// The reference that makes this invite's message unlike any other: the end of its id, which is random.
    pub fn reference(&self, id: InviteId) -> Option<String> {
        let id = id.to_string();
        self.message_reference.then(|| format!("[ref {}]", &id[id.len() - 12..]))
    }

    /// The message with its reference, as it is sent.
    pub fn message_for(self, id: InviteId) -> String {
        match self.reference(id) {
            Some(reference) => format!("{} {reference}", self.message),
            None => self.message,
        }
    }
}

/// What an invite is sent with ([`ReadBack`](invite_core::ReadBack)).
pub fn read_back(id: InviteId, _: &Destination, params: &Value) -> SentWith {
    let Ok(params) = Params::deserialize(params) else { return SentWith::default() };
    let extra = Some(params.extra.clone()).filter(|extra| !extra.is_empty());
    SentWith::new(&Options { extra }, Some(params.message_for(id)))
}

fn default_path() -> String {
    "/archivist/iam/v1".into()
}

fn default_message() -> String {
    "You are invited.".into()
}

impl Config {
    /// Checks the settings and resolves their secrets.
    ///
    /// # Errors
    /// All faults, with pointers relative to the settings.
    pub fn check(part: &BuildContext<'_>) -> Result<(Self, BaseUrl, Credential), Vec<Fault>> {
        let settings = part.settings;
        let mut faults = SETTINGS.check(settings);
        faults.extend(check_form(settings));
        faults.extend(check_message(settings));
        faults.extend(check_client_id(settings));
        // Where it is missing, the schema's faults say so.
        let base_url = settings.get("base_url").and_then(Value::as_str).map(BaseUrl::read);
        let base_url = kept(&mut faults, base_url.transpose()).flatten();
        let path = kept(&mut faults, read_path(settings));
        let credential = read_credential(part);
        let credential = credential.map_err(|found| faults.extend(found)).ok().flatten();
        let parsed = Settings::deserialize(settings);
        match (parsed, base_url, path, credential) {
            (Ok(parsed), Some(base_url), Some(path), Some(credential)) if faults.is_empty() => {
                let Settings { client_id, message, message_reference, allow_extra, .. } = parsed;
                let config = Self { path, client_id, message, message_reference, allow_extra };
                Ok((config, base_url, credential))
            }
            _ if faults.is_empty() => {
                Err(vec![Fault::new("", "invalid", "the settings cannot be read")])
            }
            _ => Err(faults),
        }
    }

    /// What an invite says, with defaults filled in.
    ///
    /// # Errors
    /// All faults, with pointers relative to the invite.
    pub fn resolve(&self, invite: &NewInvite) -> Result<Params, Vec<Fault>> {
        let mut faults = Vec::new();
        let given = invite.options.get("rkvst");
        let options = given.map_or_else(|| Ok(Options::default()), |given| OPTIONS.read(given));
        let extra = options
            .and_then(|options| extra::read(options.extra, self.allow_extra, &MEMBERS))
            .unwrap_or_else(|found| {
                faults.extend(found.into_iter().map(|fault| fault.under("/options/rkvst")));
                Map::new()
            });
        let mut check_length = |text: &str, member: &str, limit: usize| {
            if text.chars().count() > limit {
                let detail = format!("RKVST takes at most {limit} characters here");
                faults.push(Fault::new(member, "too-long", detail));
            }
        };
        check_length(&invite.invitee.email, "/email", MAX_EMAIL);
        let given = invite.invitee.message.as_deref().filter(|text| !text.trim().is_empty());
        let room = MAX_MESSAGE - if self.message_reference { REFERENCE_LENGTH } else { 0 };
        check_length(given.unwrap_or_default(), "/message", room);
        if !faults.is_empty() {
            return Err(faults);
        }
        let message = given.unwrap_or(&self.message).to_owned();
        Ok(Params { message, message_reference: self.message_reference, extra })
    }
}

fn kept<T>(faults: &mut Vec<Fault>, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

/// The faults of settings that have not either a token, or client id and client secret.
fn check_form(settings: &Value) -> Vec<Fault> {
    let has = |key| settings.get(key).is_some_and(|value| !value.is_null());
    let missing = |key: &str, detail: &str| vec![Fault::new(format!("/{key}"), "required", detail)];
    match (has("bearer_token"), has("client_id"), has("client_secret")) {
        (true, false, false) | (false, true, true) => Vec::new(),
        (true, ..) => vec![Fault::new(
            "/bearer_token",
            "invalid",
            "set either `bearer_token`, or `client_id` and `client_secret`, not both",
        )],
        (false, true, false) => {
            missing("client_secret", "`client_id` needs the `client_secret` that belongs to it")
        }
        (false, false, true) => {
            missing("client_id", "`client_secret` needs the `client_id` that it belongs to")
        }
        (false, false, false) => {
            missing("bearer_token", "set either `bearer_token`, or `client_id` and `client_secret`")
        }
    }
}

/// The fault of a message that is blank, or leaves no room for the reference. The schema bounds its length only.
fn check_message(settings: &Value) -> Option<Fault> {
    let message = settings.get("message")?.as_str()?;
    if !message.is_empty() && message.trim().is_empty() {
        return Some(Fault::new("/message", "invalid", "`message` must not be blank"));
    }
    if let Err((code @ "invalid", why)) = check_text(message, MAX_MESSAGE, true) {
        return Some(Fault::new("/message", code, format!("`message` {why}")));
    }
    let length = message.chars().count();
    let referenced = settings.get("message_reference")?.as_bool()?;
    let limit = MAX_MESSAGE - REFERENCE_LENGTH;
    (referenced && length > limit && length <= MAX_MESSAGE).then(|| {
        let detail = format!("with `message_reference` a message has at most {limit} characters");
        Fault::new("/message", "too-long", detail)
    })
}

/// The fault of a client id that is no id. The schema refuses an empty one.
fn check_client_id(settings: &Value) -> Option<Fault> {
    let client_id = settings.get("client_id")?.as_str().filter(|text| !text.is_empty())?;
    let (code, why) = check_id(client_id).err()?;
    Some(Fault::new("/client_id", code, format!("`client_id` {why}")))
}

fn read_path(settings: &Value) -> Result<String, Fault> {
    let path =
        settings.get("path").and_then(Value::as_str).map_or_else(default_path, str::to_owned);
    let path = path.trim_end_matches('/');
    let segments_are_plain = path.split('/').skip(1).all(|segment| {
        !matches!(segment, "" | "." | "..")
            && segment.chars().all(|c| c.is_ascii_graphic() && !r"?#%\".contains(c))
    });
    if (path.is_empty() || path.starts_with('/')) && segments_are_plain {
        Ok(path.to_owned())
    } else {
        Err(Fault::new("/path", "invalid", "`path` must be a plain path such as /archivist/iam/v1"))
    }
}

/// The credential; none if the settings have faults of another kind, which are found elsewhere.
fn read_credential(part: &BuildContext<'_>) -> Result<Option<Credential>, Vec<Fault>> {
    let forms: [(&str, Check); 2] =
        [("bearer_token", check_bearer_token), ("client_secret", check_client_secret)];
    for (key, check) in forms {
        let Some(value) = part.settings.get(key) else { continue };
        let Ok(references) = SecretRefs::deserialize(value) else { continue };
        return part.credential(&format!("/{key}"), &references, check).map(Some);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use invite_core::{
        SystemClock,
        http::{AddressGuard, HttpClient},
        secret::Secret,
    };
    use serde_json::json;

    use super::*;

    fn resolve(references: &SecretRefs) -> Result<Credential, Fault> {
        let secrets = references.iter().map(|r| Arc::new(Secret::new(r, "value".into()))).collect();
        Ok(Credential::new(secrets))
    }

    fn check(settings: Value) -> Result<Config, Vec<(String, String)>> {
        check_with(settings, &resolve).map(|(config, _)| config)
    }

    fn check_with(
        settings: Value,
        resolve_secret: &dyn Fn(&SecretRefs) -> Result<Credential, Fault>,
    ) -> Result<(Config, BaseUrl), Vec<(String, String)>> {
        let part = BuildContext {
            name: "acme",
            settings: &settings,
            clock: Arc::new(SystemClock),
            http: HttpClient::new(AddressGuard::default()).unwrap(),
            resolve_secret,
        };
        Config::check(&part)
            .map(|(config, base_url, _)| (config, base_url))
            .map_err(|faults| faults.into_iter().map(|f| (f.pointer, f.code)).collect())
    }

    fn fault(pointer: &str, code: &str) -> (String, String) {
        (pointer.into(), code.into())
    }

    #[test]
    fn the_documented_example_is_taken_with_its_defaults() {
        let settings = json!({
            "base_url": "https://app.rkvst.io/", "bearer_token": {"file": "/run/secrets/token"},
        });
        let (config, base_url) = check_with(settings, &resolve).unwrap();
        assert_eq!(base_url.as_str(), "https://app.rkvst.io");
        assert_eq!(config.path, "/archivist/iam/v1");
        assert_eq!(config.message, "You are invited.");
        assert!(!config.message_reference && config.client_id.is_none());
    }

    #[test]
    fn a_path_prefix_in_the_base_url_is_kept() {
        let settings = json!({
            "base_url": "https://proxy.example.org/rkvst/", "path": "/archivist/v1/",
            "client_id": "app", "client_secret": [{"env": "NEW"}, {"env": "OLD"}],
        });
        let (config, base_url) = check_with(settings, &resolve).unwrap();
        assert_eq!(base_url.as_str(), "https://proxy.example.org/rkvst");
        assert_eq!(config.path, "/archivist/v1");
    }

    #[test]
    fn exactly_one_form_of_credential_is_wanted() {
        let form = |mut settings: Value| {
            settings["base_url"] = json!("https://app.rkvst.io");
            check(settings).map(|_| ()).unwrap_err()
        };
        let secret = json!({"env": "X"});
        assert_eq!(form(json!({})), [fault("/bearer_token", "required")]);
        assert_eq!(form(json!({"client_id": "app"})), [fault("/client_secret", "required")]);
        assert_eq!(form(json!({"client_secret": secret})), [fault("/client_id", "required")]);
        let both = json!({"bearer_token": secret, "client_id": "app", "client_secret": secret});
        assert_eq!(form(both), [fault("/bearer_token", "invalid")]);
        let mixed = json!({"bearer_token": secret, "client_id": "app"});
        assert_eq!(form(mixed), [fault("/bearer_token", "invalid")]);
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let refuse = |_: &SecretRefs| Err(Fault::new("/env", "unresolved", "`X` is not set"));
        let settings = json!({
            "base_url": "app.rkvst.io", "path": "archivist/../v1", "messsage": "Hi",
            "message": "x".repeat(257), "bearer_token": {"env": "X"},
        });
        let found = check_with(settings, &refuse).unwrap_err();
        for expected in [
            fault("/base_url", "invalid"),
            fault("/path", "invalid"),
            fault("/messsage", "unknown-member"),
            fault("/message", "too-long"),
            fault("/bearer_token/env", "unresolved"),
        ] {
            assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
        }
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn a_configured_message_leaves_room_for_its_reference() {
        let with_length = |length| {
            check(json!({
                "base_url": "https://app.rkvst.io", "bearer_token": {"env": "X"},
                "message": "x".repeat(length), "message_reference": true,
            }))
        };
        assert!(with_length(237).is_ok());
        assert_eq!(with_length(238).unwrap_err(), [fault("/message", "too-long")]);
    }

    #[test]
    fn a_configured_message_says_something() {
        for (message, code) in [("", "too-short"), (" ", "invalid")] {
            let settings = json!({
                "base_url": "https://app.rkvst.io", "bearer_token": {"env": "X"},
                "message": message,
            });
            assert_eq!(check(settings).unwrap_err(), [fault("/message", code)]);
        }
    }

    #[test]
    fn a_configured_message_and_client_id_obey_the_rules_for_an_invites_texts() {
        let with = |name: &str, value: &str| {
            let mut settings = json!({
                "base_url": "https://app.rkvst.io", "client_id": "app", "client_secret": {"env": "X"},
            });
            settings[name] = json!(value);
            check(settings).map(|_| ())
        };
        assert_eq!(with("message", "Hello\nAda"), Ok(()));
        for message in ["a\0b", "a\u{7}\n"] {
            assert_eq!(with("message", message).unwrap_err(), [fault("/message", "invalid")]);
        }
        assert_eq!(with("client_id", "app 1"), Ok(()));
        for id in ["a\nb", "../a", "a?b", "a#b", "."] {
            assert_eq!(with("client_id", id).unwrap_err(), [fault("/client_id", "invalid")]);
        }
        let long = with("client_id", &"x".repeat(256)).unwrap_err();
        assert_eq!(long, [fault("/client_id", "too-long")]);
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_a_fault_where_it_is_configured() {
        let found = |settings: Value, values: &'static [&'static str]| {
            let resolve = |_: &SecretRefs| {
                let secret = |v: &&str| {
                    let reference = invite_core::secret::SecretRef::Literal((*v).into());
                    Arc::new(Secret::new(&reference, (*v).into()))
                };
                Ok(Credential::new(values.iter().map(secret).collect()))
            };
            check_with(settings, &resolve).unwrap_err()
        };
        let base_url = "https://app.rkvst.io";
        let token = json!({"base_url": base_url, "bearer_token": [{"env": "A"}, {"env": "B"}]});
        assert_eq!(found(token, &["good", "b ad"]), [fault("/bearer_token/1", "invalid")]);
        let client = json!({
            "base_url": base_url, "client_id": "app", "client_secret": {"env": "X"},
        });
        assert_eq!(found(client, &["b\nad"]), [fault("/client_secret", "invalid")]);
    }
}
