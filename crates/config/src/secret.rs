//! What secret references lead to: the environment and files.
//!
//! This is the one place of this crate that reads either. Values go into [`Secret`] and nowhere
//! else.

use std::{
    cell::RefCell,
    env::VarError,
    fmt, fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use invite_core::{
    Fault,
    secret::{Credential, Secret, SecretRef, SecretRefs},
};
use secrecy::SecretString;
use serde_json::Value;

/// The longest secret that is read from a file, in bytes; keys and tokens are far shorter.
const MAX_BYTES: u64 = 64 * 1024;

/// What looks up an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Result<String, VarError> + Send + Sync>;

/// The environment of this process.
#[expect(clippy::disallowed_methods, reason = "this is where secrets are read from it")]
pub fn process_environment() -> Environment {
    Arc::new(|name| std::env::var(name))
}

/// What became of a secret file that changed, or that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretChange {
    /// The provider that uses the secret.
    pub provider: String,
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: SecretOutcome,
}

/// What became of a secret file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOutcome {
    /// It holds another secret, which is in use from now on.
    Replaced,
    /// It cannot be read or holds nothing usable, for this reason; the last good value stays in use.
    /// Reported once, not again until the reason changes.
    Unreadable(String),
    /// It can be read again, and holds the secret that is in use.
    Recovered,
}

impl fmt::Display for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret file {} of provider {}: ", self.path.display(), self.provider)?;
        match &self.outcome {
            SecretOutcome::Replaced => f.write_str("changed; the new secret is in use"),
            SecretOutcome::Unreadable(why) => write!(f, "{why}; the last good value stays in use"),
            SecretOutcome::Recovered => f.write_str("readable again; the secret is unchanged"),
        }
    }
}

/// Resolves the references of one provider.
pub(crate) struct Resolver<'a> {
    environment: &'a Environment,
    takes_literals: bool,
    files: RefCell<Vec<SecretFile>>,
}

impl<'a> Resolver<'a> {
    /// Literal secrets are taken only where `takes_literals`: for a provider on loopback.
    pub fn new(environment: &'a Environment, takes_literals: bool) -> Self {
        Self { environment, takes_literals, files: RefCell::default() }
    }

    /// The secrets that the references lead to now.
    ///
    /// # Errors
    /// The first reference that leads nowhere, with a pointer relative to the references.
    pub fn resolve(&self, references: &SecretRefs) -> Result<Credential, Fault> {
        let resolve = |(index, reference)| {
            let at = match references {
                SecretRefs::One(_) => String::new(),
                SecretRefs::Two(_) => format!("/{index}"),
            };
            self.resolve_one(reference).map_err(|fault| fault.under(&at))
        };
        references.iter().enumerate().map(resolve).collect::<Result<_, _>>().map(Credential::new)
    }

    fn resolve_one(&self, reference: &SecretRef) -> Result<Arc<Secret>, Fault> {
        let unresolved = |why: String| {
            Fault::new("", "secret-unresolved", format!("the secret in {reference}: {why}"))
        };
        let secret = |value| Arc::new(Secret::new(reference, value));
        match reference {
            SecretRef::Env(r) => read_variable(self.environment, &r.env)
                .map(secret)
                .map_err(|why| Fault { pointer: "/env".into(), ..unresolved(why) }),
            SecretRef::File(r) => {
                let (value, version) = read_file(&r.file)
                    .map_err(|why| Fault { pointer: "/file".into(), ..unresolved(why) })?;
                let secret = secret(value);
                self.files.borrow_mut().push(SecretFile::new(&r.file, secret.clone(), version));
                Ok(secret)
            }
            SecretRef::Literal(_) if !self.takes_literals => Err(Fault::new(
                "",
                "literal-secret",
                "a secret stands here as a reference, { env = \"NAME\" } or { file = \"PATH\" }; \
                 the secret itself is taken only where base_url is on loopback",
            )),
            SecretRef::Literal(value) => clean(value).map(secret).map_err(unresolved),
        }
    }

    /// The files that were read, to be looked at again.
    pub fn into_files(self) -> Vec<SecretFile> {
        self.files.into_inner()
    }
}

/// The warnings about secret files named in `settings` that others may read.
pub(crate) fn check_permissions(settings: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (pointer, path) in file_references(settings) {
        let Ok(metadata) = fs::metadata(path) else { continue };
        if metadata.mode() & 0o077 != 0 {
            let detail = format!(
                "others than its owner may use file {path} (mode {:03o}); chmod 600 keeps it secret",
                metadata.mode() & 0o777
            );
            faults.push(Fault::new(pointer, "secret-exposed", detail));
        }
    }
    faults
}

/// Every `{ file = "PATH" }` in `value`, with the pointer to its path.
fn file_references(value: &Value) -> Vec<(String, &str)> {
    let under = |step: String, inner| {
        file_references(inner).into_iter().map(move |(at, path)| (format!("/{step}{at}"), path))
    };
    match value {
        Value::Object(members) => match (members.len(), members.get("file")) {
            (1, Some(Value::String(path))) => vec![("/file".into(), path)],
            _ => members
                .iter()
                .flat_map(|(name, inner)| under(invite_core::schema::escape(name), inner))
                .collect(),
        },
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, inner)| under(index.to_string(), inner))
            .collect(),
        _ => Vec::new(),
    }
}

/// A file that holds a secret in use.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    secret: Arc<Secret>,
    seen: Mutex<Seen>,
}

/// What a file was like when it was last looked at.
#[derive(Debug)]
struct Seen {
    /// None: it could not be read, and is to be read again whatever it is like.
    version: Option<Version>,
    failure: Option<String>,
}

/// What changes whenever a file's content does: device, inode, size, and the times of the last
/// change of content and of the file's own data, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl SecretFile {
    fn new(path: &Path, secret: Arc<Secret>, version: Version) -> Self {
        let seen = Mutex::new(Seen { version: Some(version), failure: None });
        Self { path: path.to_owned(), secret, seen }
    }

    /// Reads the file again if it changed; says what became of it if there is something to say.
    pub fn refresh(&self) -> Option<(&Path, SecretOutcome)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let present = fs::metadata(&self.path).ok().map(|metadata| Version::of(&metadata));
        if present.is_some() && present == seen.version {
            return None;
        }
        let read = read_file(&self.path)
            .and_then(|(value, version)| self.secret.check(&value).map(|()| (value, version)));
        let outcome = match read {
            Ok((value, version)) => {
                seen.version = Some(version);
                let failed = seen.failure.take().is_some();
                match self.secret.replace(value) {
                    true => SecretOutcome::Replaced,
                    false if failed => SecretOutcome::Recovered,
                    false => return None,
                }
            }
            Err(why) => {
                seen.version = None;
                if seen.failure.as_ref() == Some(&why) {
                    return None;
                }
                seen.failure = Some(why.clone());
                SecretOutcome::Unreadable(why)
            }
        };
        Some((&self.path, outcome))
    }
}

fn read_variable(environment: &Environment, name: &str) -> Result<SecretString, String> {
    match environment(name) {
        Ok(value) => clean(&value),
        Err(VarError::NotPresent) => Err("the variable is not set".into()),
        // The error itself would show the value.
        Err(VarError::NotUnicode(_)) => Err("the variable is not UTF-8 text".into()),
    }
}

/// Reads a secret; the version is from before, so that a later change is never overlooked.
fn read_file(path: &Path) -> Result<(SecretString, Version), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a regular file".into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok((clean(text)?, Version::of(&metadata)))
}

/// A secret without the line break that editors and `echo` leave at its end.
fn clean(text: &str) -> Result<SecretString, String> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty".into()),
        value => Ok(SecretString::from(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use invite_core::secret::{EnvRef, FileRef};
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    fn environment() -> Environment {
        Arc::new(|name| match name {
            "TOKEN" => Ok("t0ken\n".into()),
            "EMPTY" => Ok("\n".into()),
            _ => Err(VarError::NotPresent),
        })
    }

    fn variable(name: &str) -> SecretRef {
        SecretRef::Env(EnvRef { env: name.into() })
    }

    fn file(path: &Path) -> SecretRef {
        SecretRef::File(FileRef { file: path.into() })
    }

    fn value(secret: &Secret) -> String {
        secret.current().1.expose_secret().to_owned()
    }

    fn fault(references: SecretRefs) -> (String, String) {
        let environment = environment();
        let fault = Resolver::new(&environment, false).resolve(&references).unwrap_err();
        assert!(!fault.detail.contains("s3cret"), "{fault:?}");
        (fault.pointer, fault.code)
    }

    #[test]
    fn references_lead_to_their_secrets_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "k3y\r\n").unwrap();
        let environment = environment();
        let resolver = Resolver::new(&environment, false);
        let two = SecretRefs::Two([variable("TOKEN"), file(&path)]);
        let credential = resolver.resolve(&two).unwrap();
        let values: Vec<_> = credential.secrets().iter().map(|s| value(s)).collect();
        assert_eq!(values, ["t0ken", "k3y"]);
        assert_eq!(resolver.into_files().len(), 1);
    }

    #[test]
    fn what_leads_to_no_secret_is_named_by_its_pointer() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty");
        fs::write(&empty, "\n").unwrap();
        let unresolved = |at: &str| (at.to_owned(), "secret-unresolved".to_owned());
        assert_eq!(fault(SecretRefs::One(variable("NOWHERE"))), unresolved("/env"));
        assert_eq!(fault(SecretRefs::One(variable("EMPTY"))), unresolved("/env"));
        assert_eq!(fault(SecretRefs::One(file(&empty))), unresolved("/file"));
        assert_eq!(fault(SecretRefs::One(file(directory.path()))), unresolved("/file"));
        assert_eq!(fault(SecretRefs::One(file(&empty.with_extension("no")))), unresolved("/file"));
        let second = SecretRefs::Two([variable("TOKEN"), variable("NOWHERE")]);
        assert_eq!(fault(second), unresolved("/1/env"));
    }

    #[test]
    fn a_literal_secret_is_taken_only_on_loopback() {
        let literal = SecretRefs::One(SecretRef::Literal("s3cret".into()));
        assert_eq!(fault(literal.clone()), (String::new(), "literal-secret".into()));
        let environment = environment();
        let credential = Resolver::new(&environment, true).resolve(&literal).unwrap();
        assert_eq!(value(&credential.secrets()[0]), "s3cret");
    }

    #[test]
    fn a_file_that_others_may_read_is_found_wherever_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (open, closed) = (directory.path().join("open"), directory.path().join("closed"));
        for (path, mode) in [(&open, 0o640), (&closed, 0o600)] {
            fs::write(path, "k3y").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let settings = json!({
            "token": [{"file": closed}, {"file": open}],
            "key": {"file": closed},
            "other": {"file": directory.path().join("missing")},
        });
        let found = check_permissions(&settings);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].pointer, &*found[0].code), ("/token/1/file", "secret-exposed"));
        assert!(found[0].detail.contains("mode 640"), "{found:?}");
    }

    /// A file in use, and its secret.
    fn watched(path: &Path, text: &str) -> (SecretFile, Arc<Secret>) {
        fs::write(path, text).unwrap();
        let environment = environment();
        let resolver = Resolver::new(&environment, false);
        let credential = resolver.resolve(&SecretRefs::One(file(path))).unwrap();
        (resolver.into_files().remove(0), credential.secrets()[0].clone())
    }

    /// Replaces a file as a mount or an editor does: another file takes its name.
    fn rotate(path: &Path, text: &str) {
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, path).unwrap();
    }

    #[test]
    fn a_rotated_file_replaces_the_secret_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let (file, secret) = watched(&path, "old");
        assert_eq!(file.refresh(), None);
        rotate(&path, "new\n");
        assert_eq!(file.refresh(), Some((&*path, SecretOutcome::Replaced)));
        assert_eq!((value(&secret), file.refresh()), ("new".into(), None));
    }

    #[test]
    fn a_value_that_its_provider_could_not_use_leaves_the_last_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let (file, secret) = watched(&path, "good");
        let held = Credential::new(vec![secret.clone()]);
        held.checked("/key", invite_core::http::check_header).unwrap();
        rotate(&path, "b\nad");
        let Some((_, SecretOutcome::Unreadable(why))) = file.refresh() else { panic!() };
        assert!(why.contains("no header may hold"), "{why}");
        assert_eq!((file.refresh(), value(&secret)), (None, "good".into()));
        rotate(&path, "better");
        assert_eq!(file.refresh(), Some((&*path, SecretOutcome::Replaced)));
    }

    #[test]
    fn a_file_that_was_touched_or_rewritten_alike_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let (file, secret) = watched(&path, "same");
        rotate(&path, "same\n");
        assert_eq!((file.refresh(), secret.current().0), (None, 0));
    }

    #[test]
    fn an_unreadable_file_is_reported_once_and_leaves_the_last_good_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let (file, secret) = watched(&path, "good");
        fs::remove_file(&path).unwrap();
        let Some((_, SecretOutcome::Unreadable(missing))) = file.refresh() else { panic!() };
        assert_eq!((file.refresh(), value(&secret)), (None, "good".into()));
        rotate(&path, "");
        let Some((_, SecretOutcome::Unreadable(empty))) = file.refresh() else { panic!() };
        assert_ne!(missing, empty);
        assert_eq!((file.refresh(), value(&secret)), (None, "good".into()));
        rotate(&path, "good");
        assert_eq!(file.refresh(), Some((&*path, SecretOutcome::Recovered)));
        rotate(&path, "better");
        assert_eq!(file.refresh(), Some((&*path, SecretOutcome::Replaced)));
        assert_eq!(value(&secret), "better");
    }
}
