//! Settings about secrets: which of them documents from the network may use, and the password of
//! the database.

use std::path::PathBuf;

use invite_config::{Released, read_secret};
use invite_core::secret::SecretRef;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{Settings, Storage};

/// What a provider document that comes over the network may name, beside what the live one does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Directories whose files it may name.
    pub directories: Vec<PathBuf>,
    /// What the names of the variables begin with that it may name.
    pub env_prefixes: Vec<String>,
}

impl Secrets {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.env_prefixes.iter().any(String::is_empty) {
            return Err(
                "secrets.env_prefixes holds an empty prefix, which every variable begins with: \
                        name the variables' common beginning, such as PROVIDER_"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Settings {
    /// The released secrets, without what the gateway itself uses.
    pub fn released(&self) -> Result<Released, String> {
        let Secrets { directories, env_prefixes } = &self.secrets;
        let released = Released::new(directories, env_prefixes)
            .map_err(|why| format!("secrets.directories: {why}"))?;
        let mut files = self.files.clone();
        files.push(self.providers.file.clone());
        let database = self.storage.url.strip_prefix("sqlite://");
        files.extend(database.and_then(|path| path.split('?').next()).map(PathBuf::from));
        files.extend(self.server.tls().into_iter().flat_map(|tls| {
            [Some(tls.certificate), Some(tls.key), tls.client_ca].into_iter().flatten()
        }));
        let mut variables = Vec::new();
        match &self.storage.password {
            SecretRef::File(r) => files.push(r.file.clone()),
            SecretRef::Env(r) => variables.push(r.env.clone()),
            SecretRef::Literal(_) => {}
        }
        Ok(released.without(files, variables))
    }
}

impl Storage {
    pub(super) fn check(&self) -> Result<(), String> {
        if !["sqlite://", "postgres://", "postgresql://"].iter().any(|it| self.url.starts_with(it))
        {
            return Err(
                "storage.url is neither sqlite://PATH nor postgres://USER@HOST/DATABASE".to_owned()
            );
        }
        match &self.password {
            SecretRef::Literal(none) if none.is_empty() => Ok(()),
            SecretRef::Literal(_) => {
                Err("storage.password is a reference, { file = \"PATH\" } or \
                                          { env = \"NAME\" }, not the password itself"
                    .to_owned())
            }
            _ if self.url.starts_with("sqlite://") => {
                Err("storage.password is for PostgreSQL, and storage.url names a file of SQLite"
                    .to_owned())
            }
            _ if has_password(&self.url) => Err(
                "storage.url holds a password, and storage.password names another: leave one out"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// The address of the database with its password, which is read now.
    pub fn address(&self) -> Result<SecretString, String> {
        if matches!(self.password, SecretRef::Literal(_)) {
            return Ok(self.url.as_str().into());
        }
        let password =
            read_secret(&self.password).map_err(|why| format!("storage.password: {why}"))?;
        let mut url = Url::parse(&self.url).map_err(|_| "storage.url is not a URL".to_owned())?;
        url.query_pairs_mut().append_pair("password", password.expose_secret());
        Ok(String::from(url).into())
    }
}

fn has_password(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::with_environment;

    #[test]
    fn the_password_of_the_database_is_read_from_where_it_is_referred_to_and_shown_nowhere() {
        use secrecy::ExposeSecret;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "s3&cr%41 et\n").unwrap();
        let url =
            ("INVITE_GATEWAY__STORAGE__URL", "postgres://me@db.example/invites?sslmode=require");
        let password = ("INVITE_GATEWAY__STORAGE__PASSWORD__FILE", file.to_str().unwrap());
        let loaded = with_environment(&[url, password]).unwrap();
        let address = loaded.settings.storage.address().unwrap();
        let address = url::Url::parse(address.expose_secret()).unwrap();
        let read: Vec<_> =
            address.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read, ["sslmode=require", "password=s3&cr%41 et"]);
        let shown = format!("{:?} {:?}", loaded.settings, loaded.effective());
        assert!(!shown.contains("s3&cr") && shown.contains(file.to_str().unwrap()), "{shown}");

        fs::remove_file(&file).unwrap();
        let error = loaded.settings.storage.address().unwrap_err();
        assert!(error.contains("storage.password") && error.contains(password.1), "{error}");
    }

    #[test]
    fn a_password_of_the_database_is_given_once_and_as_a_reference() {
        let refused = |pairs: &[(&str, &str)]| {
            let error = with_environment(pairs).err().unwrap();
            assert!(error.contains("storage.password") && !error.contains("s3cret"), "{error}");
            error
        };
        let url = |url: &'static str| ("INVITE_GATEWAY__STORAGE__URL", url);
        let env = ("INVITE_GATEWAY__STORAGE__PASSWORD__ENV", "DB_PASSWORD");
        assert!(with_environment(&[url("postgres://me@db/d"), env]).is_ok());
        for twice in ["postgres://me:s3cret@db/d", "postgres://db/d?user=me&password=s3cret"] {
            assert!(refused(&[url(twice), env]).contains("leave one out"));
        }
        assert!(refused(&[env]).contains("SQLite"));
        refused(&[url("postgres://me@db/d"), ("INVITE_GATEWAY__STORAGE__PASSWORD", "s3cret")]);
        refused(&[url("postgres://me@db/d"), ("INVITE_GATEWAY__STORAGE__PASSWORD__FLE", "s3cret")]);
    }

    #[test]
    fn an_empty_prefix_releases_nothing_but_is_refused() {
        let name = "INVITE_GATEWAY__SECRETS__ENV_PREFIXES";
        let loaded = with_environment(&[(name, "PROVIDER_,OTHER_")]).unwrap();
        assert_eq!(loaded.settings.secrets.env_prefixes, ["PROVIDER_", "OTHER_"]);
        let error = with_environment(&[(name, "PROVIDER_,")]).err().unwrap();
        assert!(error.contains("secrets.env_prefixes") && error.contains("empty"), "{error}");
    }

    #[test]
    fn what_the_gateway_itself_uses_is_not_released() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let loaded = with_environment(&[
            ("INVITE_GATEWAY__SECRETS__DIRECTORIES", &at("")),
            ("INVITE_GATEWAY__STORAGE__URL", &format!("sqlite://{}", at("invites.db"))),
            ("INVITE_GATEWAY__SERVER__TLS_CERTIFICATE", &at("cert.pem")),
            ("INVITE_GATEWAY__SERVER__TLS_KEY", &at("key.pem")),
            ("INVITE_GATEWAY__PROVIDERS__FILE", &at("providers.toml")),
        ]);
        let released = format!("{:?}", loaded.unwrap().settings.released().unwrap());
        for own in ["invites.db", "cert.pem", "key.pem", "providers.toml"] {
            assert!(released.contains(&at(own)), "{own}: {released}");
        }
        let missing = with_environment(&[("INVITE_GATEWAY__SECRETS__DIRECTORIES", &at("nowhere"))]);
        let error = missing.unwrap().settings.released().unwrap_err();
        assert!(error.contains("secrets.directories") && error.contains("nowhere"), "{error}");
    }
}
