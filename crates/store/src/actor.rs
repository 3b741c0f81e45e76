//! Who changes something, and what is to be recorded of it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// Who makes a change, and in which way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Actor {
    /// Who: an API key's id with its name, or what else it was.
    #[serde(rename = "actor")]
    #[schemars(example = "key_0199c0de0000700080000000000000aa (HR)")]
    pub name: String,
    /// By which way: `api`, `restore`, `file`, `cli`, or `gateway` for what it did by itself.
    pub source: String,
}

/// A change to be recorded, without secrets, documents and personal data.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NewAudit {
    #[expect(missing_docs, reason = "flattened, it would describe the whole entry")]
    #[serde(flatten)]
    pub actor: Actor,
    /// What, such as `config.revise`, `config.refuse`, `provider.probe`, `key.create`, `invite.revoke` or
    /// `invite.read_raw`.
    pub action: String,
    /// To what: the number of a revision (of a document that was refused or checked: of the live one), the name of a
    /// provider, the id of a key or an invite, the filters of a list, the keyed hash of a person's address.
    pub target: String,
    /// What there was; references to secrets, never their values.
    #[schemars(with = "Option<Map<String, Json>>")]
    pub before: Option<Json>,
    /// What there is since.
    #[schemars(with = "Option<Map<String, Json>>")]
    pub after: Option<Json>,
    /// Why, as given.
    pub note: Option<String>,
}

impl NewAudit {
    /// An entry that says nothing of before and after.
    pub fn new(actor: Actor, action: &str, target: impl Into<String>) -> Self {
        let (action, target) = (action.to_owned(), target.into());
        Self { actor, action, target, before: None, after: None, note: None }
    }
}
