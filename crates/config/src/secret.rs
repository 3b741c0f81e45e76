//! What secret references lead to: the environment and files. Nothing else in this crate reads either, and values go only into
//! [`Secret`].

mod file;

use std::{
    cell::RefCell,
    env::VarError,
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use invite_core::{
    Fault,
    secret::{Credential, Secret, SecretRef, SecretRefs},
    text::is_control,
};
use secrecy::{SecretString, zeroize::Zeroizing};
use serde_json::Value;

use crate::release::{Grant, Reference};

pub use file::SecretOutcome;
use file::clean;
pub(crate) use file::{Place, SecretFile};

/// Reads an environment variable.
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
    grant: Option<Grant<'a>>,
    files: RefCell<Vec<SecretFile>>,
}

impl<'a> Resolver<'a> {
    /// Literal secrets are accepted if `takes_literals`, for a provider on loopback. Without a `grant` every reference may be
    /// used.
    pub fn new(
        environment: &'a Environment,
        takes_literals: bool,
        grant: Option<Grant<'a>>,
    ) -> Self {
        Self { environment, takes_literals, grant, files: RefCell::default() }
    }

    /// The secrets that the references lead to now.
    ///
    /// # Errors
    /// The first reference that leads nowhere, with a pointer relative to the references. Only whoever runs the gateway learns
    /// why, so that nobody can find out by asking which files and variables there are.
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
        let secret = |value| Arc::new(Secret::new(reference, value));
        let name = match reference {
            SecretRef::Env(r) => r.env.as_str().into(),
            SecretRef::File(r) => r.file.to_string_lossy(),
            SecretRef::Literal(_) => "".into(),
        };
        if name.chars().any(is_control) {
            // In the log it must not look like a line of its own.
            let detail = "the name of a variable or a file has no control characters";
            return Err(Fault::new("", "invalid", detail));
        }
        match reference {
            SecretRef::Env(r) => {
                self.read_variable(&r.env).map(secret).map_err(|why| unresolved(reference, &why))
            }
            SecretRef::File(r) => {
                self.read_file(reference, &r.file).map_err(|why| unresolved(reference, &why))
            }
            SecretRef::Literal(_) if !self.takes_literals => Err(Fault::new(
                "",
                "literal-secret",
                "a secret stands here as a reference, { env = \"NAME\" } or { file = \"PATH\" }; \
                 the secret itself is taken only where base_url is on loopback",
            )),
            SecretRef::Literal(value) => {
                clean(value).map(secret).map_err(|why| unresolved(reference, &why))
            }
        }
    }

    fn read_variable(&self, name: &str) -> Result<SecretString, String> {
        self.grant.as_ref().map_or(Ok(()), |grant| grant.check_variable(name))?;
        read_variable(self.environment, name)
    }

    fn read_file(&self, reference: &SecretRef, path: &Path) -> Result<Arc<Secret>, String> {
        let place = match &self.grant {
            None => Place::Anywhere(path.to_owned()),
            Some(grant) => grant.place_of(path)?,
        };
        let opened = place.open()?;
        if let Some(grant) = &self.grant {
            grant.check_file(&place, &opened.metadata)?;
        }
        let mode = opened.metadata.mode();
        let (value, version) = opened.read()?;
        let secret = Arc::new(Secret::new(reference, value));
        let file = SecretFile::new(path, place, mode, secret.clone(), version);
        self.files.borrow_mut().push(file);
        Ok(secret)
    }

    /// The warnings about files named in `settings` that were read and that others than the owner may use.
    pub fn check_permissions(&self, settings: &Value) -> Vec<Fault> {
        let files = self.files.borrow();
        let named = Reference::all_in(settings).into_iter();
        named
            .filter_map(|(pointer, reference)| {
                let Reference::File(path) = reference else { return None };
                let (_, mode) = files.iter().map(SecretFile::named).find(|(it, _)| *it == path)?;
                let detail = format!(
                    "others than its owner may use file {} (mode {:03o}); chmod 600 keeps it secret",
                    path.display(),
                    mode & 0o777
                );
                let is_open = mode & 0o077 != 0;
                is_open.then(|| Fault::new(pointer, "secret-exposed", detail))
            })
            .collect()
    }

    /// The files that were read, to be read again when they change.
    pub fn into_files(self) -> Vec<SecretFile> {
        self.files.into_inner()
    }
}

/// The fault of a secret that cannot be used. It says the same of all, or whoever may have documents checked could find out
/// what is on the machine.
fn unresolved(reference: &SecretRef, why: &str) -> Fault {
    let pointer = match reference {
        SecretRef::Env(_) => "/env",
        SecretRef::File(_) => "/file",
        SecretRef::Literal(_) => "",
    };
    let detail = format!(
        "the secret in {reference} cannot be used: it is not there, cannot be read, or is not released to \
         documents that come over the network; the gateway's log says which"
    );
    let for_operator = Some(format!("the secret in {reference}: {why}"));
    Fault { for_operator, ..Fault::new(pointer, "secret-unresolved", detail) }
}

/// The secret in a variable.
///
/// # Errors
/// Why there is none, without showing anything of it.
fn read_variable(environment: &Environment, name: &str) -> Result<SecretString, String> {
    match environment(name).map(Zeroizing::new) {
        Ok(value) => clean(&value),
        Err(VarError::NotPresent) => Err("the variable is not set".into()),
        // The error itself would show the value.
        Err(VarError::NotUnicode(_)) => Err("the variable is not UTF-8 text".into()),
    }
}

/// The secret that a reference in the process's own settings leads to.
///
/// # Errors
/// Why there is none, without showing anything of what is there.
pub fn read_secret(reference: &SecretRef) -> Result<SecretString, String> {
    let read = match reference {
        SecretRef::Env(r) => read_variable(&process_environment(), &r.env),
        SecretRef::File(r) => {
            let opened = Place::Anywhere(r.file.clone()).open();
            opened.and_then(file::Opened::read).map(|(value, _)| value)
        }
        SecretRef::Literal(value) => clean(value),
    };
    read.map_err(|why| format!("the secret in {reference}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

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
        let fault = Resolver::new(&environment, false, None).resolve(&references).unwrap_err();
        assert!(!fault.detail.contains("s3cret"), "{fault:?}");
        (fault.pointer, fault.code)
    }

    #[test]
    fn references_lead_to_their_secrets_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "k3y\r\n").unwrap();
        let environment = environment();
        let resolver = Resolver::new(&environment, false, None);
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
        let credential = Resolver::new(&environment, true, None).resolve(&literal).unwrap();
        assert_eq!(value(&credential.secrets()[0]), "s3cret");
    }

    #[test]
    fn a_file_that_was_read_and_that_others_may_read_is_found_wherever_it_is_named() {
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
        let environment = environment();
        let resolver = Resolver::new(&environment, false, None);
        assert_eq!(resolver.check_permissions(&settings), [], "nothing was read");
        for path in [&closed, &open] {
            resolver.resolve(&SecretRefs::One(file(path))).unwrap();
        }
        let found = resolver.check_permissions(&settings);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].pointer, &*found[0].code), ("/token/1/file", "secret-exposed"));
        assert!(found[0].detail.contains("mode 640"), "{found:?}");
    }

    /// How a pipe is made that nobody writes to.
    fn make_pipe(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    #[test]
    fn whatever_is_wrong_with_a_reference_the_same_is_told_but_to_the_operator() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("long"), "x".repeat(64 * 1024 + 1)).unwrap();
        fs::write(at("binary"), [0xff, 0xfe]).unwrap();
        make_pipe(&at("pipe"));
        let environment = environment();
        let told = |reference: SecretRef| {
            let name = reference.to_string();
            let resolver = Resolver::new(&environment, false, None);
            let fault = resolver.resolve(&SecretRefs::One(reference)).unwrap_err();
            let why = fault.for_operator.clone().unwrap();
            assert!(why.starts_with(&format!("the secret in {name}: ")), "{why}");
            let json = serde_json::to_string(&fault).unwrap();
            assert!(!json.contains(&why), "{json}");
            (fault.code, fault.detail.replace(&name, "…"), why.replace(&name, "…"))
        };
        let files = ["missing", "empty", "long", "binary", "pipe", "."].map(|name| file(&at(name)));
        let variables = ["NOWHERE", "EMPTY"].map(variable);
        let told: Vec<_> = files.into_iter().chain(variables).map(told).collect();
        assert!(told.iter().all(|it| (&it.0, &it.1) == (&told[0].0, &told[0].1)), "{told:?}");
        let whys: std::collections::HashSet<_> = told.iter().map(|it| &it.2).collect();
        assert!(whys.len() >= 6, "{whys:?}");
    }

    /// Looks through the memory of this process.
    #[cfg(target_os = "linux")]
    struct Memory {
        /// Made before what is looked for, as memory that is freed is what is allocated next.
        chunk: Vec<u8>,
        maps: String,
    }

    #[cfg(target_os = "linux")]
    impl Memory {
        fn new() -> Self {
            Self { chunk: vec![0; 1 << 16], maps: String::with_capacity(1 << 16) }
        }

        /// Whether memory that is written to holds a text, which is given inverted so that the question holds
        /// none.
        fn holds(&mut self, inverted: &[u8]) -> bool {
            use std::{io::Read, os::unix::fs::FileExt};
            let Self { chunk, maps } = self;
            chunk.fill(0);
            maps.clear();
            fs::File::open("/proc/self/maps").unwrap().read_to_string(maps).unwrap();
            let memory = fs::File::open("/proc/self/mem").unwrap();
            let step = chunk.len() - inverted.len();
            for line in maps.lines() {
                let mut words = line.split([' ', '-']);
                let mut bound = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
                let (start, end) = (bound(), bound());
                if !words.next().unwrap().starts_with("rw") {
                    continue;
                }
                for at in (start..end).step_by(step) {
                    // Some of it may be gone by now.
                    let length = memory.read_at(chunk, at).unwrap_or(0);
                    let is_it = |it: &[u8]| it.iter().zip(inverted).all(|(a, b)| *a == !*b);
                    if chunk[..length].windows(inverted.len()).any(is_it) {
                        return true;
                    }
                }
            }
            false
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_secret_that_is_no_longer_in_use_is_nowhere_in_memory() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let inverted: Vec<u8> = (0..32).map(|n: u8| !(b'a' + n.wrapping_mul(11) % 26)).collect();
        let mut file_of_secret = fs::File::create(&path).unwrap();
        // Long, as what is freed is partly written over.
        let mut memory = Memory::new();
        for byte in inverted.repeat(64) {
            file_of_secret.write_all(&[!byte]).unwrap();
        }
        let environment = environment();
        let resolver = Resolver::new(&environment, false, None);
        let credential = resolver.resolve(&SecretRefs::One(file(&path))).unwrap();
        assert!(memory.holds(&inverted), "it is not found where it is");
        rotate(&path, "another");
        let files = resolver.into_files();
        assert_eq!(files[0].refresh(), Some((&*path, SecretOutcome::Replaced)));
        assert!(!memory.holds(&inverted), "it is left where it was");
        drop(credential);
    }

    /// A file in use, and its secret.
    fn watched(path: &Path, text: &str) -> (SecretFile, Arc<Secret>) {
        fs::write(path, text).unwrap();
        let environment = environment();
        let resolver = Resolver::new(&environment, false, None);
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
