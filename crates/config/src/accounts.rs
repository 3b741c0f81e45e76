//! Which account each provider of a document is. Parsing tells, so that it is also known of a document that does not pass the
//! gate here.

use std::{collections::BTreeMap, sync::Arc};

use invite_core::ProviderKind;
use serde_json::Value;
use url::Url;

/// What a provider's kind and settings say of its account.
#[derive(PartialEq)]
struct Account {
    kind: String,
    /// The values of the settings that tell accounts apart, by name.
    settings: Vec<(&'static str, Option<Value>)>,
}

/// The providers of a document, each with the account that it is.
pub struct Accounts(BTreeMap<String, Account>);

impl Accounts {
    /// The accounts of a document as JSON. Of a kind that is not among `kinds` no settings are known.
    pub(crate) fn of(document: &Value, kinds: &[Arc<ProviderKind>]) -> Self {
        let parts = document.get("providers").and_then(Value::as_object).into_iter().flatten();
        let accounts = parts.map(|(name, part)| {
            let kind = part.get("kind").and_then(Value::as_str).unwrap_or_default();
            let known = kinds.iter().find(|known| known.name == kind);
            let settings = known.map_or(&[][..], |known| known.account_settings);
            let settings =
                settings.iter().map(|name| (*name, part.get(*name).map(comparable))).collect();
            (name.clone(), Account { kind: kind.to_owned(), settings })
        });
        Self(accounts.collect())
    }

    /// Whether the document has no provider.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The providers' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The settings that tell this provider's account from others.
    pub fn settings(&self, provider: &str) -> Vec<&'static str> {
        let account = self.0.get(provider);
        account.into_iter().flat_map(|account| &account.settings).map(|(name, _)| *name).collect()
    }

    /// These, and those of `older` whose names are not among them.
    pub fn and(mut self, older: Self) -> Self {
        for (name, account) in older.0 {
            self.0.entry(name).or_insert(account);
        }
        self
    }

    /// Whether both have a provider of this name, and it is the same account.
    pub(crate) fn share(&self, other: &Self, provider: &str) -> bool {
        let account = self.0.get(provider);
        account.is_some() && account == other.0.get(provider)
    }

    /// The providers that `next` does not have any more: those that are gone, and those that are
    /// another account there.
    pub fn removed_by(&self, next: &Self) -> Vec<String> {
        self.0.keys().filter(|name| !self.share(next, name)).cloned().collect()
    }
}

/// A setting as it is compared: the case and default port of a URL's host, and a slash at its end, make no other account.
pub(crate) fn comparable(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let url = Url::parse(text).ok().filter(Url::has_host);
    url.as_ref().map_or(text, Url::as_str).trim_end_matches('/').into()
}

#[cfg(test)]
mod tests {
    use crate::made_up;

    #[test]
    fn accounts_are_known_of_a_document_that_does_not_pass() {
        let gate = made_up::gate(&[]);
        let text = "[providers.a]\nkind = \"pigeon\"\ntoken = { env = \"NOWHERE\" }\n\
                    [providers.b]\nkind = \"raven\"\n";
        assert!(gate.check(text).configuration.is_none());
        let before = gate.accounts(text);
        assert!(!before.is_empty() && gate.accounts("").is_empty());
        assert!(gate.accounts("[providers.a\n").is_empty());
        let next = |text: &str| before.removed_by(&gate.accounts(text));
        assert_eq!(next(text), Vec::<String>::new());
        assert_eq!(next("[providers.a]\nkind = \"pigeon\"\nenabled = false\n"), ["b"]);
        assert_eq!(next(""), ["a", "b"]);
        assert_eq!(next(&text.replace("pigeon", "raven")), ["a"]);
        let at = |url: &str| {
            gate.accounts(&format!("[providers.a]\nkind = \"pigeon\"\nbase_url = \"{url}\"\n"))
        };
        for same in ["https://a.example/", "HTTPS://A.Example:443", "https://a.EXAMPLE:443//"] {
            assert!(at("https://a.example").removed_by(&at(same)).is_empty(), "{same}");
        }
        assert_eq!(at("https://a.example/v1").removed_by(&at("https://a.example/V1")), ["a"]);
        assert_eq!(at("https://a.example").removed_by(&at("https://b.example")), ["a"]);
        let both = gate.accounts(text).and(gate.accounts("[providers.a]\n[providers.c]\n"));
        assert_eq!(both.removed_by(&gate.accounts(text)), ["c"]);
    }
}
