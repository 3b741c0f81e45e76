//! Who changes something, and what is to be recorded of it.

use serde_json::Value as Json;

/// Who makes a change, and in which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// An API key's id, or what else it is: `file`, `command line`.
    pub name: String,
    /// `api`, `file`, `restore`, `cli`, or `gateway` for what it does by itself.
    pub source: String,
}

/// A change to be recorded.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq)]
pub struct NewAudit {
    pub actor: Actor,
    /// What was done, in a word, such as `config.revise`; docs/operations.md lists them.
    pub action: String,
    /// To what: a revision's number, the id of a key or an invite, the query of a filter.
    pub target: String,
    /// What there was before; without secrets, documents and personal data.
    pub before: Option<Json>,
    /// What there is now; without those, too.
    pub after: Option<Json>,
    pub note: Option<String>,
}
