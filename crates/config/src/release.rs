//! Which secrets a document may use.
//!
//! The file on the gateway's machine may name any: whoever can write it can read them anyway. A document that comes over the
//! network may name only what whoever runs the gateway has released: what the document in force names for the same use, and
//! what the settings of the process release to all.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use invite_core::schema::escape;
use serde_json::Value;

use crate::{accounts::comparable, document::Document, schema::settings_of, secret::Place};

/// The settings that say where a provider's secrets are sent.
const TARGET_SETTINGS: [&str; 2] = ["base_url", "path"];
/// What the names of the process's own variables begin with, in upper or lower case.
const OWN: &str = "INVITE_GATEWAY";

/// What the settings of the process release to documents that come over the network.
#[derive(Clone, Debug, Default)]
pub struct Released {
    directories: Vec<Directory>,
    env_prefixes: Vec<String>,
    own_files: Vec<PathBuf>,
    own_variables: Vec<String>,
}

/// A directory whose files are released.
#[derive(Clone, Debug)]
struct Directory {
    /// The path in the settings.
    named: PathBuf,
    /// Where that leads, without links.
    canonical: PathBuf,
}

impl Released {
    /// Releases the files in and below these directories, and the variables whose names begin with one of these prefixes.
    ///
    /// # Errors
    /// The first path that is no directory, with why.
    pub fn new(directories: &[PathBuf], env_prefixes: &[String]) -> Result<Self, String> {
        let read = |named: &PathBuf| {
            let canonical = fs::canonicalize(named)
                .and_then(|path| match fs::metadata(&path)?.is_dir() {
                    true => Ok(path),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                })
                .map_err(|error| format!("{} cannot be used: {error}", named.display()))?;
            let named = std::path::absolute(named).unwrap_or_else(|_| canonical.clone());
            Ok::<_, String>(Directory { named, canonical })
        };
        let directories = directories.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { directories, env_prefixes: env_prefixes.to_vec(), ..Self::default() })
    }

    /// The same without the files and variables that the process uses itself.
    pub fn without(mut self, own_files: Vec<PathBuf>, own_variables: Vec<String>) -> Self {
        self.own_files.extend(own_files);
        self.own_variables.extend(own_variables);
        self
    }

    /// Whether a variable is released.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        let is_own = is_of_gateway(name) || self.own_variables.iter().any(|own| own == name);
        !is_own && self.env_prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// The place of a file in a released directory; `None` if it is in none.
    pub(crate) fn place_of(&self, path: &Path) -> Option<Place> {
        let path = std::path::absolute(path).ok()?;
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        self.directories.iter().find_map(|Directory { named, canonical }| {
            let inner = path.strip_prefix(named).or_else(|_| path.strip_prefix(canonical)).ok()?;
            Some(Place::Below { directory: canonical.clone(), inner: inner.to_owned() })
        })
    }

    /// Whether a file is one that the process uses itself.
    pub(crate) fn is_own(&self, file: &Metadata) -> bool {
        let is_it = |own: Metadata| (own.dev(), own.ino()) == (file.dev(), file.ino());
        self.own_files.iter().any(|own| fs::metadata(own).is_ok_and(is_it))
    }
}

/// Whether a variable is a setting of the gateway itself, which may be spelled in upper or lower case.
fn is_of_gateway(name: &str) -> bool {
    name.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN))
}

/// A reference to a secret, as a document has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reference {
    Env(String),
    File(PathBuf),
}

impl Reference {
    /// Every reference in `value`, with the pointer to its name.
    pub(crate) fn all_in(value: &Value) -> Vec<(String, Self)> {
        let under = |step: String, inner| {
            Self::all_in(inner).into_iter().map(move |(at, found)| (format!("/{step}{at}"), found))
        };
        match value {
            Value::Object(members) => match (members.len(), members.iter().next()) {
                (1, Some((name, Value::String(path)))) if name == "file" => {
                    vec![("/file".into(), Self::File(path.into()))]
                }
                (1, Some((name, Value::String(variable)))) if name == "env" => {
                    vec![("/env".into(), Self::Env(variable.clone()))]
                }
                _ => members.iter().flat_map(|(name, inner)| under(escape(name), inner)).collect(),
            },
            Value::Array(items) => items
                .iter()
                .enumerate()
                .flat_map(|(index, inner)| under(index.to_string(), inner))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// What a secret is used for.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Use {
    kind: Value,
    /// The values of [`WHERE`].
    place: [Option<Value>; 2],
    /// The member whose value it is: a signing key is used in another way than an API key.
    member: String,
    reference: Reference,
}

impl Use {
    /// Every use in a provider's part of a document.
    fn all_in(part: &Value) -> Vec<Self> {
        let place = || TARGET_SETTINGS.map(|setting| part.get(setting).map(comparable));
        let kind = part.get("kind").unwrap_or(&Value::Null);
        let settings = settings_of(part);
        let members = settings.as_object().into_iter().flatten();
        members
            .flat_map(|(member, value)| {
                let found = Reference::all_in(value).into_iter();
                found.map(|(_, reference)| Self {
                    kind: kind.clone(),
                    place: place(),
                    member: member.clone(),
                    reference,
                })
            })
            .collect()
    }
}

/// What a document may use.
pub(crate) enum Access<'a> {
    /// Whatever it names.
    Any,
    /// What is released to it.
    Released {
        /// How the document in force uses secrets.
        in_force: HashSet<Use>,
        settings: &'a Released,
    },
}

impl<'a> Access<'a> {
    /// The access of a document that comes over the network.
    pub(crate) fn over_network(in_force: &str, settings: &'a Released) -> Self {
        let document = Document::parse(in_force);
        let parts = document.iter().flat_map(|document| document.members("/providers"));
        Self::Released {
            in_force: parts.flat_map(|(_, part)| Use::all_in(part)).collect(),
            settings,
        }
    }

    /// The grant for one of its providers; `None` if that may use anything.
    pub(crate) fn of(&self, part: &Value) -> Option<Grant<'a>> {
        let Self::Released { in_force, settings } = self else { return None };
        let (kept, other): (Vec<Use>, Vec<Use>) =
            Use::all_in(part).into_iter().partition(|it| in_force.contains(it));
        let mut kept: HashSet<_> = kept.into_iter().map(|it| it.reference).collect();
        // Secrets are resolved without the member, so that a reference must be kept for all of its uses.
        for it in other {
            kept.remove(&it.reference);
        }
        Some(Grant { kept, settings })
    }
}

/// What a provider of a document from the network may use.
pub(crate) struct Grant<'a> {
    /// The references that the document in force has for the same use.
    kept: HashSet<Reference>,
    settings: &'a Released,
}

/// Why a secret may not be used, for whoever runs the gateway.
const NOT_RELEASED: &str = "is not released to a document that comes over the network: the document in force \
                            does not name it for the same member, kind and base_url, and neither \
                            secrets.directories nor secrets.env_prefixes covers it";

impl Grant<'_> {
    /// Whether a variable may be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_variable(&self, name: &str) -> Result<(), String> {
        let is_kept = self.kept.contains(&Reference::Env(name.to_owned()));
        let is_released = is_kept || self.settings.has_variable(name);
        is_released.then_some(()).ok_or_else(|| NOT_RELEASED.to_owned())
    }

    /// Where a file is that may be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn place_of(&self, path: &Path) -> Result<Place, String> {
        if self.kept.contains(&Reference::File(path.to_owned())) {
            return Ok(Place::Anywhere(path.to_owned()));
        }
        self.settings.place_of(path).ok_or_else(|| NOT_RELEASED.to_owned())
    }

    /// Whether a file that is open may be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_file(&self, place: &Place, file: &Metadata) -> Result<(), String> {
        match place {
            Place::Below { .. } if self.settings.is_own(file) => {
                Err("is not released, because the gateway itself uses it".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{Checked, Gate, Rules, made_up};

    const IN_FORCE: &str = r#"
[providers.a]
kind = "pigeon"
base_url = "https://pigeon.example/v1"
token = [{ env = "TOKEN" }, { file = "FILE" }]
[[routes]]
to = "a"
"#;

    /// A directory with a file `key` in it, and what lies around it.
    struct Ground {
        folder: tempfile::TempDir,
    }

    impl Ground {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ground = Self { folder };
            for directory in ["released", "released/inner", "other"] {
                fs::create_dir(ground.at(directory)).unwrap();
            }
            for file in
                ["released/key", "released/inner/key", "released/own", "other/key", "outside"]
            {
                fs::write(ground.at(file), "s3cret").unwrap();
            }
            symlink("inner/key", ground.at("released/link")).unwrap();
            symlink("../outside", ground.at("released/link-out")).unwrap();
            symlink(ground.at("outside"), ground.at("released/absolute-link-out")).unwrap();
            symlink("../other", ground.at("released/directory-out")).unwrap();
            fs::hard_link(ground.at("released/own"), ground.at("released/own-by-another-name"))
                .unwrap();
            symlink("released", ground.at("by-another-name")).unwrap();
            ground
        }

        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn gate(&self) -> Gate {
            let directories = [self.at("by-another-name")];
            let prefixes = ["PROVIDER_".to_owned(), "INVITE_".to_owned()];
            let released = Released::new(&directories, &prefixes).unwrap();
            let released =
                released.without(vec![self.at("released/own")], vec!["PROVIDER_OWN".into()]);
            made_up::gate_with(
                &[
                    ("TOKEN", "t0ken"),
                    ("OTHER", "0ther"),
                    ("PROVIDER_TOKEN", "t0ken"),
                    ("PROVIDER_EMPTY", ""),
                    ("PROVIDER_OWN", "s3cret"),
                    ("INVITE_GATEWAY__STORAGE__URL", "s3cret"),
                    ("INVITE_gateway__storage__url", "s3cret"),
                    ("INVITE_GATEWAY_KEY", "s3cret"),
                ],
                |rules| Rules { released, ..rules },
            )
        }
    }

    /// Whether the document passes, and if not what is told of its first secret.
    fn told(checked: &Checked) -> Result<(), String> {
        assert!(!format!("{checked:?}").contains("s3cret"), "{checked:?}");
        let fault = checked.findings.iter().find(|finding| finding.code == "secret-unresolved");
        assert_eq!(checked.configuration.is_some(), fault.is_none(), "{:?}", checked.findings);
        let json = fault.map(|fault| serde_json::to_value(fault).unwrap()["detail"].to_string());
        json.map_or(Ok(()), Err)
    }

    #[test]
    fn a_document_from_the_network_uses_what_the_one_in_force_does_in_the_same_way() {
        let ground = Ground::new();
        let in_force = IN_FORCE.replace("FILE", ground.at("outside").to_str().unwrap());
        let gate = ground.gate();
        let from_network = |text: &str| told(&gate.check_from_network(text, &in_force)).is_ok();
        let token =
            in_force.lines().find_map(|line| line.strip_prefix("token = ")).unwrap().to_owned();
        assert_eq!(told(&gate.check(&in_force)), Ok(()));
        assert!(from_network(&in_force));
        for (from, to) in [
            ("providers.a]", "providers.b]"),
            ("kind = \"pigeon\"", "kind = \"pigeon\"\nenabled = false\nloft = \"x\""),
            ("https://pigeon.example/v1", "HTTPS://Pigeon.example:443/v1/"),
            (&*token, "{ env = \"TOKEN\" }"),
        ] {
            assert!(in_force.contains(from), "{from}");
            let changed = in_force.replace(from, to).replace("to = \"a\"", "to = \"b\"");
            let changed = if to.contains(".b]") { changed } else { in_force.replace(from, to) };
            assert!(from_network(&changed), "{to}");
        }
        for (from, to) in [
            ("pigeon.example/v1", "stranger.example/v1"),
            ("pigeon.example/v1", "pigeon.example/v2"),
            ("pigeon.example/v1", "pigeon.example:444/v1"),
            ("kind = \"pigeon\"", "kind = \"dove\""),
            ("token = ", "ring = "),
            ("token = [", "ring = { env = \"TOKEN\" }\ntoken = ["),
            ("\"TOKEN\"", "\"OTHER\""),
            ("\"TOKEN\"", "\"token\""),
            ("/outside\"", "/other/../outside\""),
            ("/outside\"", "/other/key\""),
        ] {
            let changed = in_force.replacen(from, to, 1);
            assert_ne!(changed, in_force, "{from}");
            assert!(!from_network(&changed), "{to}");
            // The file on the machine may name them.
            assert!(told(&gate.check(&changed)).is_ok() || to == "\"token\"", "{to}");
        }
        for in_force in ["", "no TOML", "[providers.a]\nkind = \"pigeon\"\n"] {
            assert!(told(&gate.check_from_network(&in_force_of(&ground), in_force)).is_err());
        }
    }

    fn in_force_of(ground: &Ground) -> String {
        IN_FORCE.replace("FILE", ground.at("outside").to_str().unwrap())
    }

    /// What is told of a document from the network that names this secret and nothing is in force.
    fn told_of(gate: &Gate, reference: &str) -> Result<(), String> {
        let text = format!(
            "[providers.a]\nkind = \"pigeon\"\nbase_url = \"https://pigeon.example\"\n\
             token = {reference}\n[[routes]]\nto = \"a\"\n"
        );
        told(&gate.check_from_network(&text, "")).map_err(|told| {
            let name = reference.split('"').nth(1).unwrap();
            assert!(told.contains(name), "{told}");
            told.replace(name, "…").replace("environment variable", "file")
        })
    }

    #[test]
    fn settings_release_directories_and_prefixes_and_nothing_that_is_reached_through_them() {
        let ground = Ground::new();
        let gate = ground.gate();
        let file = |name: &str| format!("{{ file = \"{}\" }}", ground.at(name).display());
        let variable = |name: &str| format!("{{ env = \"{name}\" }}");
        for name in ["released/key", "released/inner/key", "released/link", "by-another-name/key"] {
            assert_eq!(told_of(&gate, &file(name)), Ok(()), "{name}");
        }
        assert_eq!(told_of(&gate, &variable("PROVIDER_TOKEN")), Ok(()));
        let files = [
            "released/missing",
            "released",
            "released/inner",
            "released/own",
            "released/own-by-another-name",
            "released/link-out",
            "released/absolute-link-out",
            "released/directory-out/key",
            "released/../outside",
            "released/inner/../../outside",
            "releasedkey",
            "outside",
            "other/key",
            "nowhere",
        ];
        let variables = [
            "PROVIDER_EMPTY",
            "PROVIDER_NOWHERE",
            "PROVIDER_OWN",
            "TOKEN",
            "NOWHERE",
            "INVITE_GATEWAY__STORAGE__URL",
            "INVITE_gateway__storage__url",
            "INVITE_GATEWAY_KEY",
        ];
        let refused = files.map(&file).into_iter().chain(variables.map(&variable));
        let told: HashSet<String> =
            refused.map(|reference| told_of(&gate, &reference).expect_err(&reference)).collect();
        assert_eq!(told.len(), 1, "the same is told of each: {told:?}");
    }

    #[test]
    fn a_link_that_comes_to_lead_out_of_a_released_directory_is_not_followed_when_it_is_read_again()
    {
        let ground = Ground::new();
        let text = format!(
            "[providers.a]\nkind = \"pigeon\"\ntoken = {{ file = {:?} }}\n[[routes]]\nto = \"a\"\n",
            ground.at("released/link").to_str().unwrap()
        );
        let configuration = ground.gate().check_from_network(&text, "").configuration.unwrap();
        fs::remove_file(ground.at("released/link")).unwrap();
        fs::write(ground.at("outside"), "an0ther").unwrap();
        symlink("../outside", ground.at("released/link")).unwrap();
        let changes = configuration.refresh_secrets();
        assert!(matches!(changes[0].outcome, crate::SecretOutcome::Unreadable(_)), "{changes:?}");
    }

    #[test]
    fn what_is_released_has_to_be_a_directory() {
        let ground = Ground::new();
        for name in ["outside", "nowhere"] {
            let error = Released::new(&[ground.at(name)], &[]).unwrap_err();
            assert!(error.contains(name) && error.contains("cannot be used"), "{error}");
        }
    }
}
