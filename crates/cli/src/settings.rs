//! The process's own settings: `config/gateway.toml`, layered under files and the environment.
//!
//! The provider document is not here; `invite-config` has it.

mod events;
mod forms;
mod log;
mod privacy;
mod refusal;
mod secrets;

use std::{path::PathBuf, time::Duration};

use config::{
    Config, ConfigBuilder, Environment, File, FileFormat, Map, Value, ValueKind,
    builder::DefaultState,
};
use invite_core::secret::SecretRef;
use invite_http::TlsFiles;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

pub use events::{Events, Webhooks};
use forms::{duration, networks};
pub use log::{Log, LogFormat};
pub use privacy::Privacy;

/// Every setting with its default and a comment.
pub const DEFAULTS: &str = include_str!("../../../config/gateway.toml");
/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "config/gateway.toml";
const PREFIX: &str = "INVITE_GATEWAY";
/// The longest timeout of a connection.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// All settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// The database.
    pub storage: Storage,
    /// The delivery engine.
    pub delivery: Delivery,
    /// Idempotency keys.
    pub idempotency: Idempotency,
    /// What the feed and webhooks tell.
    pub events: Events,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// What is kept of people.
    pub privacy: Privacy,
    /// Where the providers are configured, and may be.
    pub providers: Providers,
    /// Which secrets documents from the network may use.
    pub secrets: secrets::Secrets,
    /// Logs.
    pub log: Log,
    /// The files that these settings are from.
    #[serde(skip)]
    #[schemars(skip)]
    pub files: Vec<PathBuf>,
}

impl Settings {
    /// Checks what the type of a setting does not: ranges, and settings that depend on each other.
    fn check(&self) -> Result<(), String> {
        if self.delivery.lease < Duration::from_secs(2) {
            return Err("delivery.lease is under 2s: no call could be finished under it".to_owned());
        }
        self.server.check()?;
        self.storage.check()?;
        self.providers.check()?;
        self.secrets.check()?;
        self.privacy.retention.check(self.idempotency.retention)?;
        self.webhooks.check(&self.events)?;
        self.log.filter().map(|_| ())
    }
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address of the API; port 0 picks a free one.
    pub listen: String,
    /// An address of its own for `/metrics`, without a key; empty for none.
    pub metrics_listen: String,
    /// The certificate of both addresses, in PEM; empty for no TLS.
    pub tls_certificate: String,
    /// Its private key, in PEM.
    pub tls_key: String,
    /// Who has to have issued the certificates of callers, in PEM; empty if they need none.
    pub tls_client_ca: String,
    /// Listens without TLS although other machines reach the address.
    pub behind_tls_proxy: bool,
    /// Proxies whose `X-Forwarded-For` is believed: addresses, or networks as `10.0.0.0/8`.
    #[serde(deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Invites that one request may make: one to two providers makes two.
    pub max_invites_per_request: usize,
    /// Bytes in one request's body.
    pub max_body_bytes: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one address.
    pub max_connections_per_address: usize,
    /// From a new connection, or a request's first byte, to the end of its head.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub head_timeout: Duration,
    /// From the end of a request's head to the end of its body.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub body_timeout: Duration,
    /// How long a caller may take to read an answer.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub answer_timeout: Duration,
    /// How long a connection may wait for its next request.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Hosts that a provider's `base_url` may name although private.
    pub allow_private_hosts: Vec<String>,
}

impl Server {
    /// `None` if there is to be no TLS.
    pub fn tls(&self) -> Option<TlsFiles> {
        let path = |text: &str| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
        Some(TlsFiles {
            certificate: path(&self.tls_certificate)?,
            key: path(&self.tls_key)?,
            client_ca: path(&self.tls_client_ca),
        })
    }

    fn check(&self) -> Result<(), String> {
        for (name, address) in [("listen", &self.listen), ("metrics_listen", &self.metrics_listen)]
        {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() && !(name == "metrics_listen" && address.is_empty()) {
                return Err(format!("server.{name} is no address such as 127.0.0.1:8080"));
            }
        }
        for (name, most) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_address", self.max_connections_per_address),
            ("max_body_bytes", self.max_body_bytes),
            ("max_invites_per_request", self.max_invites_per_request),
        ] {
            if most == 0 {
                return Err(format!("server.{name} is 0: nobody could be served"));
            }
        }
        let files = [
            ("tls_certificate", &self.tls_certificate),
            ("tls_key", &self.tls_key),
            ("tls_client_ca", &self.tls_client_ca),
        ];
        if self.tls().is_none()
            && let Some((given, _)) = files.into_iter().find(|(_, file)| !file.is_empty())
        {
            return Err(format!(
                "server.{given} is set, and TLS needs both server.tls_certificate and server.tls_key"
            ));
        }
        for (name, time) in [
            ("head_timeout", self.head_timeout),
            ("body_timeout", self.body_timeout),
            ("answer_timeout", self.answer_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            if time.is_zero() || time > LONGEST_TIMEOUT {
                return Err(format!("server.{name} has to be more than 0s and at most 1h"));
            }
        }
        Ok(())
    }
}

/// The database.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: String,
    /// Where the password is, if the URL holds none: `{ file = "PATH" }` or `{ env = "NAME" }`; else empty.
    pub password: SecretRef,
    /// Serves although PostgreSQL's settings let a crash lose what was answered.
    pub allow_unsafe: bool,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({}, {})", without_password(&self.url), self.password)
    }
}

/// The delivery engine.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// How long a claim is held without renewal.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub lease: Duration,
    /// Between looking up an unknown outcome and believing that it is absent.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// How often open invites are asked about; 0 switches it off.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub refresh: Duration,
    /// How long calls under way may take to finish at shutdown.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub shutdown_grace: Duration,
}

/// Idempotency keys.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// How long a key is remembered.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub retention: Duration,
}

/// Where the providers are configured.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Providers {
    /// The provider document.
    pub file: PathBuf,
    /// The hosts that providers may be at; empty for any.
    pub allowed_hosts: Vec<String>,
}

impl Providers {
    fn check(&self) -> Result<(), String> {
        let is_host = |host: &&String| url::Host::parse(host).is_ok();
        match self.allowed_hosts.iter().find(|host| !is_host(host)) {
            Some(other) => Err(format!(
                "providers.allowed_hosts: `{other}` is no host such as api.example.com"
            )),
            None => Ok(()),
        }
    }
}

pub struct Loaded {
    pub settings: Settings,
    origins: Config,
}

#[derive(Debug, serde::Serialize)]
pub struct Effective {
    pub key: String,
    /// The value, without a password.
    pub value: serde_json::Value,
    /// `default`, a file's path, or the environment.
    pub origin: String,
}

impl Loaded {
    /// Layers the embedded defaults, the files in order, and the environment.
    pub fn read(files: &[PathBuf]) -> Result<Self, String> {
        Self::layer(files, None)
    }

    /// The embedded defaults alone.
    pub fn defaults() -> Result<Self, String> {
        let origins = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        Self::from(origins, &[])
    }

    fn layer(files: &[PathBuf], environment: Option<Map<String, String>>) -> Result<Self, String> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if files.is_empty() {
            builder = builder.add_source(File::new(DEFAULT_FILE, FileFormat::Toml).required(false));
        }
        for file in files {
            builder = builder.add_source(File::from(file.as_path()).format(FileFormat::Toml));
        }
        let names = environment.as_ref().map_or_else(variables, |it| it.keys().cloned().collect());
        let variables = Environment::with_prefix(PREFIX)
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("server.allow_private_hosts")
            .with_list_parse_key("webhooks.allow_private_hosts")
            .with_list_parse_key("server.trusted_proxies")
            .with_list_parse_key("providers.allowed_hosts")
            .with_list_parse_key("secrets.directories")
            .with_list_parse_key("secrets.env_prefixes")
            .source(environment);
        let mut loaded = Self::from(builder.add_source(variables), &names)?;
        loaded.settings.files = files.to_vec();
        if files.is_empty() {
            loaded.settings.files.push(DEFAULT_FILE.into());
        }
        Ok(loaded)
    }

    fn from(builder: ConfigBuilder<DefaultState>, variables: &[String]) -> Result<Self, String> {
        let origins = builder
            .build()
            .map_err(|error| format!("cannot read the settings: {}", one_line(&error)))?;
        let settings = origins.clone().try_deserialize();
        // The names of all settings are looked up only where they may be needed.
        if (settings.is_err() || variables.iter().any(|name| refusal::may_be_misspelt(name)))
            && let Some(unknown) = refusal::unknown(&origins.cache, variables)
        {
            return Err(unknown);
        }
        let settings: Settings = settings.map_err(|error| refusal::unusable(&error, &origins))?;
        settings.check().map_err(|why| refusal::placed(why, &origins))?;
        Ok(Self { settings, origins })
    }

    /// Adds to a message about settings where the first one was set that it names.
    pub fn placed(&self, why: String) -> String {
        refusal::placed(why, &self.origins)
    }

    /// Every setting, in the order of their names.
    pub fn effective(&self) -> Vec<Effective> {
        let mut list = Vec::new();
        collect("", &self.origins.cache, &mut list);
        list.sort_by(|a, b| a.key.cmp(&b.key));
        list
    }
}

fn variables() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// Makes one line of an error of TOML, which draws the place over several lines, each with a bar. The line
/// and column come before those.
fn one_line(error: &config::ConfigError) -> String {
    let text = error.to_string().replace("\n in ", " in ");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" |")).collect();
    lines.join(": ")
}

fn collect(prefix: &str, value: &Value, list: &mut Vec<Effective>) {
    let ValueKind::Table(table) = &value.kind else {
        let shown = match prefix {
            "storage.url" => serde_json::Value::String(without_password(&value.to_string())),
            _ => value.clone().try_deserialize().unwrap_or(serde_json::Value::Null),
        };
        let origin = value.origin().unwrap_or("default").to_owned();
        list.push(Effective { key: prefix.to_owned(), value: shown, origin });
        return;
    };
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        collect(&key, value, list);
    }
}

/// The address of a database without what may be a password in it. A path of SQLite has none.
pub fn without_password(url: &str) -> String {
    if url.starts_with("sqlite://") {
        return url.to_owned();
    }
    // Where an `@` does not separate a user from a host, it is part of a password, of which another
    // part was read as a port or a path.
    let is_read = |read: &url::Url| {
        let has_user = !read.username().is_empty() || read.password().is_some();
        url.contains("://") && (has_user || !url.contains('@'))
    };
    match url::Url::parse(url) {
        Ok(mut shown) if is_read(&shown) => {
            shown.set_query(None);
            shown.set_fragment(None);
            // This fails only for a URL without a host, which has no password.
            let _ = shown.set_password(None);
            shown.into()
        }
        _ => "(not a URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn with_environment(pairs: &[(&str, &str)]) -> Result<Loaded, String> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Loaded::layer(&[], Some(map))
    }

    #[test]
    fn the_embedded_defaults_are_complete() {
        let loaded = with_environment(&[]).unwrap();
        assert_eq!(loaded.settings.server.listen, "127.0.0.1:8080");
        assert_eq!(loaded.settings.delivery.lease, Duration::from_secs(60));
    }

    #[test]
    fn the_environment_wins_and_is_named_as_the_origin() {
        let loaded = with_environment(&[
            ("INVITE_GATEWAY__SERVER__LISTEN", "0.0.0.0:9"),
            ("INVITE_GATEWAY__SERVER__MAX_INVITES_PER_REQUEST", "7"),
            ("INVITE_GATEWAY__SERVER__ALLOW_PRIVATE_HOSTS", "a.internal,b.internal"),
        ])
        .unwrap();
        assert_eq!(loaded.settings.server.listen, "0.0.0.0:9");
        assert_eq!(loaded.settings.server.max_invites_per_request, 7);
        assert_eq!(loaded.settings.server.allow_private_hosts, ["a.internal", "b.internal"]);
        let effective = loaded.effective();
        let listen = effective.iter().find(|e| e.key == "server.listen").unwrap();
        assert!(listen.origin.contains("environment"), "{}", listen.origin);
        let lease = effective.iter().find(|e| e.key == "delivery.lease").unwrap();
        assert_eq!(lease.origin, "default");
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_place_and_the_nearest() {
        let refused = |name: &str| with_environment(&[(name, "x")]).err().unwrap();
        for (variable, told) in [
            (
                "INVITE_GATEWAY__SERVER__LISTN",
                "server.listn (in the environment variable INVITE_GATEWAY__SERVER__LISTN) is no setting; did you mean server.listen?",
            ),
            ("INVITE_GATEWAY__SERVER_LISTEN", "did you mean server.listen?"),
            (
                "INVITE_GATEWAY_SERVER_LISTEN",
                "the environment variable INVITE_GATEWAY_SERVER_LISTEN is no setting: two underscores stand between the parts of a name; did you mean INVITE_GATEWAY__SERVER__LISTEN?",
            ),
            (
                "INVITE_GATEWAY_DELIVERY__SHUTDOWN_GRACE",
                "did you mean INVITE_GATEWAY__DELIVERY__SHUTDOWN_GRACE?",
            ),
        ] {
            let error = refused(variable);
            assert!(error.ends_with(told), "{variable}: {error}");
        }
        for variable in ["INVITE_GATEWAY_KEY", "INVITE_GATEWAY_ADMIN_KEY", "INVITE_GATEWAYS"] {
            assert!(with_environment(&[(variable, "x")]).is_ok(), "{variable}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let refused_file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Loaded::layer(std::slice::from_ref(&file), Some(Map::new())).err().unwrap()
        };
        let error = refused_file("[server]\nlisten = \"a\"\n\n[strage]\nurl = \"b\"\n");
        assert!(error.contains("gateway.toml, line 4) is no setting"), "{error}");
        let error = refused_file("[delivery]\n\nlease = \"long\"\n");
        assert!(error.contains("delivery.lease (in ") && error.contains("line 3)"), "{error}");
        let error = refused_file("[delivery]\nlease = \"1s\"\n");
        assert!(error.contains("gateway.toml, line 2) is under 2s"), "{error}");
        for (text, told) in [
            (
                "[privacy.retention]\nbodys = \"1d\"",
                "privacy.retention.bodys (in F, line 2) is no setting; did you mean privacy.retention.bodies?",
            ),
            ("\n[server2]\nlisten = \"x\"", "server2 (in F, line 2) is no setting"),
            ("[server]\nlisten = \"nonsense\"", "server.listen (in F, line 2) is no address"),
            ("[server]\n\nhead_timeout = \"0s\"", "server.head_timeout (in F, line 3) has to be"),
            ("[server]\nidle_timeout = \"2h\"", "server.idle_timeout (in F, line 2) has to be"),
            ("[server]\nmax_connections = 0", "server.max_connections (in F, line 2) is 0"),
            (
                "[server]\nmax_connections_per_address = 0",
                "server.max_connections_per_address (in F, line 2) is 0",
            ),
            ("[server]\ntls_certificate = \"a\"", "server.tls_certificate (in F, line 2) is set"),
            (
                "[server]\ntls_key = \"a\"",
                "server.tls_key (in F, line 2) is set, and TLS needs both server.tls_certificate",
            ),
            ("[server]\ntls_client_ca = \"a\"", "server.tls_client_ca (in F, line 2) is set"),
            ("[server]\nmax_body_bytes = 0", "server.max_body_bytes (in F, line 2) is 0"),
            ("server = \"x\"", "server (in F, line 1) is a section: [server]"),
            ("[sever]\nlisten = \"x\"", "sever (in F, line 1) is no setting; did you mean server?"),
            (
                "[providers]\nallowed_hosts = [\"https://x/\"]",
                "providers.allowed_hosts (in F, line 2): `https://x/` is no host",
            ),
            ("[storage]\nurl = \"mysql://x\"", "storage.url (in F, line 2) is neither"),
            (
                "[storage]\npassword = { fil = \"x\" }",
                "storage.password (in F, line 2): it is { file",
            ),
            ("[webhooks]\ngive_up = \"0s\"", "webhooks.give_up (in F, line 2): expected a time"),
            ("[webhooks]\ngive_up = \"31d\"", "webhooks.give_up (in F, line 2): longer than"),
            ("[log]\nformat = \"xml\"", "log.format (in F, line 2): it is text or json"),
            ("[log]\nfilter = \"a=b=c\"", "log.filter (in F, line 2) cannot be"),
            ("[secrets]\nenv_prefixes = [\"\"]", "secrets.env_prefixes (in F, line 2) holds"),
        ] {
            let error = refused_file(text);
            let (key, place) = told.split_once("(in F").unwrap();
            assert!(error.contains(key), "{text}: {error}");
            assert!(error.contains(&format!("gateway.toml{place}")), "{text}: {error}");
        }
        let error = refused("INVITE_GATEWAY__SERVER__LISTEN__X");
        assert!(error.contains("variable INVITE_GATEWAY__SERVER__LISTEN__X)"), "{error}");
        let error = refused("INVITE_GATEWAY__SERVR__LISTEN");
        assert!(error.contains("variable INVITE_GATEWAY__SERVR__LISTEN) is no setting"), "{error}");
        let error = with_environment(&[("INVITE_GATEWAY__SERVER__MAX_BODY_BYTES", "much")]);
        let error = error.err().unwrap();
        assert!(error.contains("variable INVITE_GATEWAY__SERVER__MAX_BODY_BYTES"), "{error}");
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks() {
        let name = "INVITE_GATEWAY__SERVER__TRUSTED_PROXIES";
        let loaded = with_environment(&[(name, "10.0.0.0/8,192.0.2.1,fd00::1")]).unwrap();
        let networks: Vec<_> =
            loaded.settings.server.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "fd00::1/128"]);
        let error = with_environment(&[(name, "proxy.internal")]).err().unwrap();
        let told = "server.trusted_proxies (in the environment variable";
        assert!(error.contains(told), "{error}");
        assert!(error.contains("`proxy.internal` is no address"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_one_line_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, "[server]\nlisten = = 1\n").unwrap();
        let error = Loaded::layer(&[file], Some(Map::new())).err().unwrap();
        assert!(error.contains("line 2, column 10: ") && error.contains("gateway.toml"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn a_password_in_the_database_address_is_not_shown() {
        assert_eq!(without_password("postgres://a:s3cret@h/d?password=x"), "postgres://a@h/d");
        for (url, shown) in [
            ("postgres://h/d?user=a&password=s3cret", "postgres://h/d"),
            ("postgres://a@h:5432/d?password=s3@cret#s3cret", "postgres://a@h:5432/d"),
            ("postgres://a:s3@cret@h/d", "postgres://a@h/d"),
            ("postgres://a:s3?cr@et@h/d", "(not a URL)"),
            ("postgres:///d?host=/run/postgresql&password=s3cret", "postgres:///d"),
            ("postgres:s3cret", "(not a URL)"),
            ("postgres:/a:s3cret@h/d", "(not a URL)"),
            ("postgres://a:5432/s3cret@h/d", "(not a URL)"),
            ("s3cret", "(not a URL)"),
            ("sqlite://data/in@vites.db", "sqlite://data/in@vites.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let storage = Storage {
            url: "postgres://a:s3cret@h/d".into(),
            password: SecretRef::Literal("s3cret".into()),
            allow_unsafe: false,
        };
        assert!(!format!("{storage:?}").contains("s3cret"));
    }
}
