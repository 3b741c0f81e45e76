//! Which of the one or two API keys a call is made with. Nothing here does HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use invite_core::secret::{Credential, Secret};
use secrecy::SecretString;

/// The API keys of one provider, and which of them worked last.
#[derive(Debug)]
pub struct Keys {
    credential: Credential,
    /// The version of the first key that the second stands in for, once it was refused.
    replaced: Mutex<Option<u64>>,
}

/// A key to try.
pub struct Key {
    /// Where its use is counted.
    pub secret: Arc<Secret>,
    /// Its present value.
    pub value: Arc<SecretString>,
    second: bool,
    first_version: u64,
}

impl Keys {
    /// Keys of which the first is tried first.
    pub fn new(credential: Credential) -> Self {
        Self { credential, replaced: Mutex::new(None) }
    }

    /// The secrets behind the keys.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The keys in the order in which to try them: the one that worked last comes first, but a
    /// first key with a new value always does.
    pub fn in_order(&self) -> Vec<Key> {
        let secrets = self.credential.secrets();
        let first_version = secrets.first().map_or(0, |first| first.current().0);
        let mut keys: Vec<Key> = secrets
            .iter()
            .enumerate()
            .map(|(place, secret)| Key {
                secret: secret.clone(),
                value: secret.current().1,
                second: place > 0,
                first_version,
            })
            .collect();
        if *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) == Some(first_version) {
            keys.reverse();
        }
        keys
    }

    /// Remembers that the provider took this key.
    pub fn accept(&self, key: &Key) {
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) =
            key.second.then_some(key.first_version);
    }
}

#[cfg(test)]
mod tests {
    use invite_core::secret::SecretRef;
    use secrecy::ExposeSecret;

    use super::*;

    fn secret(value: &str) -> Arc<Secret> {
        Arc::new(Secret::new(&SecretRef::Literal(value.into()), SecretString::from(value)))
    }

    fn order(keys: &Keys) -> Vec<String> {
        keys.in_order().iter().map(|key| key.value.expose_secret().to_owned()).collect()
    }

    #[test]
    fn the_key_that_worked_last_comes_first_until_the_first_one_changes() {
        let first = secret("old");
        let keys = Keys::new(Credential::new(vec![first.clone(), secret("new")]));
        assert_eq!(order(&keys), ["old", "new"]);
        keys.accept(&keys.in_order()[1]);
        assert_eq!(order(&keys), ["new", "old"]);
        first.replace(SecretString::from("newest"));
        assert_eq!(order(&keys), ["newest", "new"]);
    }

    #[test]
    fn the_first_key_comes_first_again_once_it_works_again() {
        let keys = Keys::new(Credential::new(vec![secret("a"), secret("b")]));
        keys.accept(&keys.in_order()[1]);
        let b_then_a = keys.in_order();
        keys.accept(&b_then_a[1]);
        assert_eq!(order(&keys), ["a", "b"]);
    }
}
