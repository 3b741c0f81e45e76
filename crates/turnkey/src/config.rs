//! Turnkey's part of the provider document, and the options of an invite: their form, defaults and checks.

use std::sync::LazyLock;

use invite_core::{
    Destination, Fault, InviteId, NewInvite, SentWith,
    adapter::{BaseUrl, extra},
    schema::Schema,
    secret::SecretRefs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub const KIND: &str = "turnkey";

/// How the invited person will authenticate; not a permission level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AccessType {
    /// On the dashboard.
    #[default]
    #[serde(rename = "ACCESS_TYPE_WEB")]
    Web,
    /// With an API key.
    #[serde(rename = "ACCESS_TYPE_API")]
    Api,
    /// Both.
    #[serde(rename = "ACCESS_TYPE_ALL")]
    All,
}

/// The part of the document as written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Where the API is, such as `https://api.turnkey.com`.
    base_url: String,
    /// The organization that people are invited to, a UUID.
    organization_id: String,
    /// The API private key: hexadecimal digits, or the Turnkey CLI's `<hex>:p256`.
    api_private_key: SecretRefs,
    /// The user who invites, a UUID. Left out: the user whom the API key belongs to.
    sender_user_id: Option<String>,
    /// How invited people authenticate, for invites that do not say.
    #[serde(default)]
    access_type: AccessType,
    /// Tags (their ids, UUIDs) that invited people get, for invites that do not say.
    #[serde(default)]
    #[schemars(length(max = 100))]
    receiver_user_tags: Vec<String>,
    /// Whether to read the organization's invitations through `get_organization`, which Turnkey
    /// marks as internal. Where it is refused the gateway does without.
    #[serde(default = "yes")]
    get_organization: bool,
    /// Whether invites may have an `options.turnkey.extra`.
    #[serde(default)]
    allow_extra: bool,
}

fn yes() -> bool {
    true
}

/// `options.turnkey` of an invite.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What the person is called in the organization. Left out: first and last name.
    #[schemars(length(min = 1, max = 200))]
    receiver_user_name: Option<String>,
    /// Tags (their ids, UUIDs) that the person gets.
    #[schemars(length(max = 100))]
    receiver_user_tags: Option<Vec<String>>,
    /// How the person authenticates.
    access_type: Option<AccessType>,
    /// The user who invites, a UUID.
    sender_user_id: Option<String>,
    /// Members that go into the invitation in the request as they are, beside the gateway's own; only where the provider's
    /// configuration says `allow_extra`.
    extra: Option<Map<String, Value>>,
}

/// The members of a submission that creates invitations, and of an invitation in it.
pub const MEMBERS: [&str; 10] = [
    "receiverUserName",
    "receiverUserEmail",
    "receiverUserTags",
    "accessType",
    "senderUserId",
    "type",
    "timestampMs",
    "organizationId",
    "parameters",
    "invitations",
];

pub static DOCUMENT: LazyLock<Schema> = LazyLock::new(Schema::of::<Document>);
pub static OPTIONS: LazyLock<Schema> = LazyLock::new(Schema::of::<Options>);

/// The settings, after all checks. UUIDs are in their usual form: lower case, with hyphens.
#[derive(Debug)]
pub struct Settings {
    pub base_url: BaseUrl,
    pub organization_id: String,
    pub api_private_key: SecretRefs,
    sender_user_id: Option<String>,
    access_type: AccessType,
    receiver_user_tags: Vec<String>,
    pub get_organization: bool,
    allow_extra: bool,
}

/// What `resolve` records of an invite: its options, by their names, with what it leaves out filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    pub receiver_user_name: String,
    pub receiver_user_tags: Vec<String>,
    pub access_type: AccessType,
    /// None for the user of the API key.
    pub sender_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Settings {
    /// Reads the part of the document.
    ///
    /// # Errors
    /// All faults, with pointers relative to the part.
    pub fn parse(part: &Value) -> Result<Self, Vec<Fault>> {
        let document: Document = DOCUMENT.read(part)?;
        let mut faults = Vec::new();
        let base_url = BaseUrl::read(&document.base_url).map_err(|fault| faults.push(fault));
        let organization_id = uuid(&document.organization_id, "/organization_id", &mut faults);
        let sender = document.sender_user_id;
        let sender_user_id = sender.map(|id| uuid(&id, "/sender_user_id", &mut faults));
        let receiver_user_tags = tags(&document.receiver_user_tags, &mut faults);
        match base_url {
            Ok(base_url) if faults.is_empty() => Ok(Self {
                base_url,
                organization_id,
                api_private_key: document.api_private_key,
                sender_user_id,
                access_type: document.access_type,
                receiver_user_tags,
                get_organization: document.get_organization,
                allow_extra: document.allow_extra,
            }),
            _ => Err(faults),
        }
    }

    /// What an invite says, with defaults filled in.
    ///
    /// # Errors
    /// All faults, with pointers relative to the invite.
    pub fn resolve(&self, invite: &NewInvite) -> Result<Params, Vec<Fault>> {
        let mut faults = Vec::new();
        let options = match invite.options.get(KIND) {
            None => Options::default(),
            Some(options) => OPTIONS.read(options).unwrap_or_else(|found| {
                faults.extend(found);
                Options::default()
            }),
        };
        let sender = options.sender_user_id.map(|id| uuid(&id, "/sender_user_id", &mut faults));
        let tags = options.receiver_user_tags.map(|ids| tags(&ids, &mut faults));
        if options.receiver_user_name.as_deref().is_some_and(is_blank) {
            faults.push(Fault::new("/receiver_user_name", "too-short", "the name is blank"));
        }
        let extra = extra::read(options.extra, self.allow_extra, &MEMBERS);
        let extra = extra.unwrap_or_else(|found| {
            faults.extend(found);
            Map::new()
        });
        let mut faults: Vec<Fault> =
            faults.into_iter().map(|f| f.under("/options/turnkey")).collect();
        let name = options.receiver_user_name.or_else(|| full_name(invite));
        let is_named = invite.options.get(KIND).is_some_and(|o| !o["receiver_user_name"].is_null());
        if name.is_none() && !is_named {
            faults.push(Fault::new(
                "/first_name",
                "required",
                "Turnkey needs a name: give first_name, last_name or \
                 options.turnkey.receiver_user_name",
            ));
        }
        match name {
            Some(receiver_user_name) if faults.is_empty() => Ok(Params {
                receiver_user_name,
                receiver_user_tags: tags.unwrap_or_else(|| self.receiver_user_tags.clone()),
                access_type: options.access_type.unwrap_or(self.access_type),
                sender_user_id: sender.or_else(|| self.sender_user_id.clone()),
                extra,
            }),
            _ => Err(faults),
        }
    }
}

/// What an invite is sent with ([`ReadBack`](invite_core::ReadBack)).
pub fn read_back(_: InviteId, _: &Destination, params: &Value) -> SentWith {
    Params::deserialize(params).map_or_else(|_| SentWith::default(), |it| SentWith::new(&it, None))
}

fn uuid(text: &str, pointer: &str, faults: &mut Vec<Fault>) -> String {
    match Uuid::try_parse(text) {
        Ok(id) => id.hyphenated().to_string(),
        Err(_) => {
            faults.push(Fault::new(pointer, "invalid", "expected a UUID"));
            String::new()
        }
    }
}

fn tags(ids: &[String], faults: &mut Vec<Fault>) -> Vec<String> {
    let one = |(i, id): (usize, &String)| uuid(id, &format!("/receiver_user_tags/{i}"), faults);
    ids.iter().enumerate().map(one).collect()
}

fn full_name(invite: &NewInvite) -> Option<String> {
    let parts = [&invite.invitee.first_name, &invite.invitee.last_name];
    let given: Vec<&str> = parts
        .into_iter()
        .flatten()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .collect();
    (!given.is_empty()).then(|| given.join(" "))
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part() -> Value {
        json!({
            "base_url": "https://api.turnkey.com/prefix/",
            "organization_id": "89881FC7-6FF3-4B43-B962-916698F8FF58",
            "api_private_key": { "env": "TURNKEY_API_PRIVATE_KEY" },
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut part = part();
        part[name] = value;
        part
    }

    fn pointers(part: &Value) -> Vec<String> {
        Settings::parse(part).unwrap_err().into_iter().map(|fault| fault.pointer).collect()
    }

    fn invite(options: Value, first: Option<&str>, last: Option<&str>) -> NewInvite {
        let mut invite = NewInvite::default();
        invite.invitee.first_name = first.map(str::to_owned);
        invite.invitee.last_name = last.map(str::to_owned);
        invite.options.insert(KIND.into(), options);
        invite
    }

    fn faults(options: Value, first: Option<&str>) -> Vec<(String, String)> {
        let settings = Settings::parse(&part()).unwrap();
        let found = settings.resolve(&invite(options, first, None)).unwrap_err();
        found.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    #[test]
    fn what_is_left_out_has_its_default_and_ids_their_usual_form() {
        let settings = Settings::parse(&part()).unwrap();
        assert_eq!(settings.base_url.as_str(), "https://api.turnkey.com/prefix");
        assert_eq!(settings.organization_id, "89881fc7-6ff3-4b43-b962-916698f8ff58");
        assert_eq!(settings.access_type, AccessType::Web);
        assert!(settings.get_organization && settings.receiver_user_tags.is_empty());
        assert_eq!(settings.sender_user_id, None);
    }

    #[test]
    fn every_fault_of_the_document_is_found_with_its_pointer() {
        let mut many = with("organization_id", json!("acme"));
        many["base_url"] = json!("ftp://api.turnkey.com");
        many["sender_user_id"] = json!("me");
        many["receiver_user_tags"] = json!(["c7517305-6772-4e74-8101-108fbab0c11e", "staff"]);
        assert_eq!(
            pointers(&many),
            ["/base_url", "/organization_id", "/sender_user_id", "/receiver_user_tags/1"]
        );
        assert_eq!(pointers(&with("access_type", json!("web"))), ["/access_type"]);
        assert_eq!(pointers(&with("organisation_id", json!(1))), ["/organisation_id"]);
        assert_eq!(pointers(&json!({})), ["/base_url", "/organization_id", "/api_private_key"]);
        for url in ["nowhere", "https://u:p@api.turnkey.com", "https://api.turnkey.com/?a=b"] {
            assert_eq!(pointers(&with("base_url", json!(url))), ["/base_url"]);
        }
    }

    #[test]
    fn the_name_is_the_option_else_first_and_last_name() {
        let settings = Settings::parse(&part()).unwrap();
        let name = |options, first, last| {
            settings.resolve(&invite(options, first, last)).unwrap().receiver_user_name
        };
        assert_eq!(name(json!({}), Some("Ada"), Some("Lovelace")), "Ada Lovelace");
        assert_eq!(name(json!({}), None, Some("Lovelace")), "Lovelace");
        assert_eq!(name(json!({}), Some("Ada"), Some(" ")), "Ada");
        let option = json!({ "receiver_user_name": "Countess" });
        assert_eq!(name(option, Some("Ada"), None), "Countess");
    }

    #[test]
    fn a_missing_name_is_required_and_names_the_alternatives() {
        let settings = Settings::parse(&part()).unwrap();
        let found = settings.resolve(&invite(json!({}), Some(" "), None)).unwrap_err();
        assert_eq!(
            (found[0].pointer.as_str(), found[0].code.as_str()),
            ("/first_name", "required")
        );
        for alternative in ["first_name", "last_name", "options.turnkey.receiver_user_name"] {
            assert!(found[0].detail.contains(alternative));
        }
    }

    #[test]
    fn faults_of_options_point_into_them() {
        let at = |name: &str, code: &str| (format!("/options/turnkey/{name}"), code.to_owned());
        let wrong = json!({ "receiver_user_tags": ["x"], "sender_user_id": "y" });
        assert_eq!(
            faults(wrong, Some("Ada")),
            [at("sender_user_id", "invalid"), at("receiver_user_tags/0", "invalid")]
        );
        assert_eq!(
            faults(json!({"organization_id": "x"}), Some("Ada")),
            [at("organization_id", "unknown-member")]
        );
        assert_eq!(
            faults(json!({"receiver_user_name": ""}), None),
            [at("receiver_user_name", "too-short")]
        );
        assert_eq!(
            faults(json!({"receiver_user_name": " "}), None),
            [at("receiver_user_name", "too-short")]
        );
        assert_eq!(faults(json!({"access_type": "ACCESS_TYPE_NONE"}), Some("Ada")).len(), 1);
        assert_eq!(faults(json!([]), Some("Ada")).len(), 1);
        assert_eq!(
            faults(json!({"organization_id": "x"}), None),
            [at("organization_id", "unknown-member"), ("/first_name".into(), "required".into())]
        );
    }

    #[test]
    fn options_win_over_the_configuration() {
        let mut part = with("access_type", json!("ACCESS_TYPE_API"));
        part["receiver_user_tags"] = json!(["c7517305-6772-4e74-8101-108fbab0c11e"]);
        let settings = Settings::parse(&part).unwrap();
        let plain = settings.resolve(&invite(json!({}), Some("Ada"), None)).unwrap();
        assert_eq!((plain.access_type, plain.receiver_user_tags.len()), (AccessType::Api, 1));
        let options = json!({ "receiver_user_tags": [], "access_type": "ACCESS_TYPE_ALL" });
        let own = settings.resolve(&invite(options, Some("Ada"), None)).unwrap();
        assert_eq!((own.access_type, own.receiver_user_tags.len()), (AccessType::All, 0));
    }
}
