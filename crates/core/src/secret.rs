//! Secrets: how a document refers to them, and how an adapter holds them.
//!
//! A document holds references, never values. The configuration crate resolves them, from the environment and from
//! files; adapters see a [`Credential`] only.

use std::{
    fmt,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use crate::Fault;

/// Where a secret is to be found.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-forms" = "a reference, { env = \"NAME\" } or { file = \"PATH\" }"))]
pub enum SecretRef {
    /// An environment variable.
    Env(EnvRef),
    /// A file, read again when it changes.
    File(FileRef),
    /// The secret itself; taken only where the provider is on loopback.
    Literal(String),
}

/// `{ env = "NAME" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvRef {
    /// The variable's name.
    pub env: String,
}

/// `{ file = "PATH" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// The file's path, relative to the working directory.
    pub file: PathBuf,
}

impl fmt::Display for SecretRef {
    /// Shows the reference, never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(r) => write!(f, "environment variable {}", r.env),
            Self::File(r) => write!(f, "file {}", r.file.display()),
            Self::Literal(_) => f.write_str("a literal secret"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One reference, or two of which the second takes over when the provider refuses the first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-forms" = "one reference, { env = \"NAME\" } or { file = \"PATH\" }, or an \
                               array of two of them"))]
pub enum SecretRefs {
    /// One secret.
    One(SecretRef),
    /// The one in use and the one that takes over.
    Two([SecretRef; 2]),
}

impl SecretRefs {
    /// The references, in the order in which they are used.
    pub fn iter(&self) -> impl Iterator<Item = &SecretRef> {
        match self {
            Self::One(reference) => std::slice::from_ref(reference).iter(),
            Self::Two(references) => references.iter(),
        }
    }
}

/// Reads a secret to its end; none if that is more than `most` bytes. The buffer has its full size from the start,
/// because one that grows leaves copies behind.
///
/// # Errors
/// The source cannot be read.
pub fn read_to_end(mut source: impl Read, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut length = 0;
    while length <= most {
        match source.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok((length <= most).then_some(bytes))
}

/// Bytes that hold a secret, for a request. They are overwritten when the last clone is dropped.
pub fn zeroizing_bytes(secret: Zeroizing<String>) -> Bytes {
    struct Owner(Zeroizing<String>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    Bytes::from_owner(Owner(secret))
}

/// Checks that a value can be used at all. An error says what is wrong with it, such as "the key is zero", and shows
/// nothing of it.
pub type Check = fn(&str) -> Result<(), String>;

/// A secret that is in use: its present value, and how often it was used and refused.
pub struct Secret {
    /// How the document names it.
    reference: String,
    check: OnceLock<Check>,
    /// The value, and a number that changes with it.
    value: RwLock<(u64, Arc<SecretString>)>,
    used: AtomicU64,
    refused: AtomicU64,
}

impl Secret {
    /// A secret under this reference, with its first value.
    pub fn new(reference: &SecretRef, value: SecretString) -> Self {
        Self {
            reference: reference.to_string(),
            check: OnceLock::new(),
            value: RwLock::new((0, Arc::new(value))),
            used: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The present value, with a number that changes whenever the value does.
    pub fn current(&self) -> (u64, Arc<SecretString>) {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks that the provider could use this value, as [`Credential::checked`] says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, value: &SecretString) -> Result<(), String> {
        self.check.get().map_or(Ok(()), |check| check(value.expose_secret()))
    }

    /// Replaces the value, which the caller has to [`check`](Self::check) first; true if it is another one.
    pub fn replace(&self, value: SecretString) -> bool {
        let mut held = self.value.write().unwrap_or_else(PoisonError::into_inner);
        if held.1.expose_secret() == value.expose_secret() {
            return false;
        }
        *held = (held.0 + 1, Arc::new(value));
        true
    }

    /// Counts a call made with it.
    pub fn count_use(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that the provider refused because of it.
    pub fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

/// The one or two secrets by which a provider knows the gateway, and which of them it took last. Clones share them.
#[derive(Clone)]
pub struct Credential {
    secrets: Arc<[Arc<Secret>]>,
    /// Once the second secret is used instead of the first: the number of the first one's value then.
    replaced: Arc<Mutex<Option<u64>>>,
}

/// A secret of a credential with its present value.
#[derive(Clone)]
pub struct Key {
    /// The secret, which counts its uses.
    pub secret: Arc<Secret>,
    place: usize,
    /// The number of this value.
    version: u64,
    value: Arc<SecretString>,
    /// The number of the first secret's value at that time.
    first_version: u64,
}

impl Key {
    /// The value itself, which must not be shown.
    pub fn value(&self) -> &str {
        self.value.expose_secret()
    }

    /// Whether this is still the secret's value.
    pub fn is_current(&self) -> bool {
        self.secret.current().0 == self.version
    }

    /// Whether both are the same secret, whatever its value.
    pub fn is_of(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}

impl PartialEq for Key {
    /// Compares the secret and the number of its value.
    fn eq(&self, other: &Self) -> bool {
        self.is_of(other) && self.version == other.version
    }
}

/// How one secret of a credential fared since the process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialUse {
    /// How the document names the secret; never its value.
    pub reference: String,
    /// Calls made with it.
    pub used: u64,
    /// Calls that the provider refused because of it.
    pub refused: u64,
}

impl Credential {
    /// A credential of these secrets, in the order in which they are used.
    pub fn new(secrets: Vec<Arc<Secret>>) -> Self {
        Self { secrets: secrets.into(), replaced: Arc::default() }
    }

    /// The secrets in the order in which to try them: first the one that worked last, but the document's first
    /// secret if its value is new.
    pub fn in_order(&self) -> Vec<Key> {
        let first_version = self.secrets.first().map_or(0, |first| first.current().0);
        let key = |(place, secret): (usize, &Arc<Secret>)| {
            let (version, value) = secret.current();
            Key { secret: secret.clone(), place, version, value, first_version }
        };
        let mut keys: Vec<Key> = self.secrets.iter().enumerate().map(key).collect();
        if *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) == Some(first_version) {
            keys.reverse();
        }
        keys
    }

    /// Remembers that the provider took this secret.
    pub fn accept(&self, key: &Key) {
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) =
            (key.place > 0).then_some(key.first_version);
    }

    /// Checks each secret, now and whenever it is rotated.
    ///
    /// # Errors
    /// A fault for each secret that cannot be used, at `pointer`, or at its place below that if there are two.
    pub fn checked(self, pointer: &str, check: Check) -> Result<Self, Vec<Fault>> {
        let several = self.secrets.len() > 1;
        let fault = |(place, secret): (usize, &Arc<Secret>)| {
            // Another revision that shares the secret brings the same check, so the first one stays.
            let check = secret.check.get_or_init(|| check);
            let why = check(secret.current().1.expose_secret()).err()?;
            let at = if several { format!("{pointer}/{place}") } else { pointer.to_owned() };
            Some(Fault::new(at, "invalid", why))
        };
        let faults: Vec<Fault> = self.secrets.iter().enumerate().filter_map(fault).collect();
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// The secrets in the order of the document.
    pub fn secrets(&self) -> &[Arc<Secret>] {
        &self.secrets
    }

    /// How often each secret was used and refused.
    pub fn usage(&self) -> Vec<CredentialUse> {
        let usage = |secret: &Arc<Secret>| CredentialUse {
            reference: secret.reference.clone(),
            used: secret.used.load(Ordering::Relaxed),
            refused: secret.refused.load(Ordering::Relaxed),
        };
        self.secrets.iter().map(usage).collect()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secrets.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canned::credential;

    #[test]
    fn a_reference_and_a_secret_never_print_a_value() {
        let literal = SecretRef::Literal("s3cret".into());
        let secret = Secret::new(&literal, SecretString::from("s3cret"));
        assert!(!format!("{literal:?} {literal} {secret:?}").contains("s3cret"));
    }

    #[test]
    fn replacing_a_secret_by_itself_is_no_change() {
        let secret = Secret::new(&SecretRef::Literal("a".into()), SecretString::from("a"));
        assert!(!secret.replace(SecretString::from("a")));
        assert!(secret.replace(SecretString::from("b")));
        let (version, value) = secret.current();
        assert_eq!((version, value.expose_secret()), (1, "b"));
    }

    #[test]
    fn a_checked_credential_names_each_value_that_cannot_be_used_and_judges_later_ones() {
        let check: Check = |value| match value {
            "bad" => Err("the key is bad".into()),
            _ => Ok(()),
        };
        let pointers = |values: &[&str]| {
            let faults = credential(values).checked("/key", check).unwrap_err();
            faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>()
        };
        assert_eq!(pointers(&["bad"]), ["/key"]);
        assert_eq!(pointers(&["good", "bad"]), ["/key/1"]);
        let good = credential(&["good"]);
        let check_bad = || good.secrets()[0].check(&SecretString::from("bad"));
        assert_eq!(check_bad(), Ok(()));
        good.clone().checked("/key", check).unwrap();
        assert_eq!(check_bad(), Err("the key is bad".into()));
    }

    fn order(credential: &Credential) -> Vec<String> {
        credential.in_order().iter().map(|key| key.value().to_owned()).collect()
    }

    #[test]
    fn the_secret_that_worked_last_comes_first_until_the_first_one_changes() {
        let credential = credential(&["old", "new"]);
        assert_eq!(order(&credential), ["old", "new"]);
        credential.accept(&credential.in_order()[1]);
        assert_eq!(order(&credential.clone()), ["new", "old"]);
        let old = credential.in_order().remove(1);
        credential.secrets()[0].replace(SecretString::from("newest"));
        assert_eq!(order(&credential), ["newest", "new"]);
        let newest = credential.in_order().remove(0);
        assert!(!old.is_current() && newest.is_current() && newest.is_of(&old) && newest != old);
    }

    #[test]
    fn the_first_secret_comes_first_again_once_it_works_again() {
        let credential = credential(&["a", "b"]);
        credential.accept(&credential.in_order()[1]);
        let b_then_a = credential.in_order();
        credential.accept(&b_then_a[1]);
        assert_eq!(order(&credential), ["a", "b"]);
    }
}
