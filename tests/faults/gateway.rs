//! The gateway of a round: its folder, its process, its API.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval};

use crate::plan::Ending;

/// `settle` is longer than any time-out, and than any delayed effect.
const SETTINGS: &str = r#"
[server]
listen = "127.0.0.1:0"

# The server of the tests is a throwaway.
[storage]
allow_unsafe = true

[delivery]
lease = "2s"
settle = "750ms"
refresh = "1s"
shutdown_grace = "2s"

[providers]
file = "providers.toml"
"#;
const SCOPES: &str = "invites:write,invites:read,invites:raw,providers:read";
const LOG: &str = "gateway.log";
const READY: &str = "ready";
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A gateway that is started and ended again and again on the same data.
pub struct Gateway {
    folder: PathBuf,
    storage: Storage,
    blind_resend: bool,
    http: reqwest::Client,
    key: String,
    url: Mutex<String>,
}

enum Storage {
    Sqlite,
    Postgres { server: String, database: String },
}

/// Where the executables are, and beside them what is kept of a round that failed.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().to_owned()
}

/// A client that neither repeats nor follows.
#[expect(clippy::disallowed_methods, reason = "the campaign speaks as a plain client")]
pub fn plain_client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()
        .unwrap()
}

impl Gateway {
    /// An empty database, the settings and the provider document, and a key; nothing runs yet.
    pub async fn prepare(
        folder: PathBuf,
        document: &str,
        postgres: Option<&str>,
        blind_resend: bool,
        http: reqwest::Client,
    ) -> Self {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("gateway.toml"), SETTINGS).unwrap();
        fs::write(folder.join("providers.toml"), document).unwrap();
        let storage = match postgres {
            None => Storage::Sqlite,
            Some(server) => create_database(server, &folder).await,
        };
        let (key, url) = (String::new(), Mutex::default());
        let mut gateway = Self { folder, storage, blind_resend, http, key, url };
        let create = ["keys", "create", "--name", "campaign", "--scopes", SCOPES];
        let output = gateway.command().args(create).output().await.unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "keys create: {complaint}");
        gateway.key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        gateway
    }

    fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap().with_file_name("invite-gateway");
        assert!(
            program.exists(),
            "{} is missing: cargo build -p invite-gateway",
            program.display()
        );
        let storage = match &self.storage {
            Storage::Sqlite => "sqlite://invites.db".to_owned(),
            Storage::Postgres { server, database } => {
                format!("{}/{database}", server.rsplit_once('/').unwrap().0)
            }
        };
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear().kill_on_drop(true).stdin(Stdio::null());
        command.env("INVITE_GATEWAY__STORAGE__URL", storage);
        command.args(["--config", "gateway.toml"]);
        command
    }

    /// Starts a life; without a process if it was over before it began.
    pub async fn start(&self, ending: Ending) -> (Child, bool) {
        let ready = self.folder.join(READY);
        let _ = fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(self.folder.join(LOG)).unwrap();
        let mut command = self.command();
        if let Ending::CrashAt(label, n) = ending {
            command.env("INVITE_GATEWAY_CRASH_AT", format!("{label}:{n}"));
        }
        if self.blind_resend {
            command.env("INVITE_GATEWAY_BLIND_RESEND", "1");
        }
        command.args(["serve", "--ready-file", READY]).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        let mut looks = interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            if child.try_wait().unwrap().is_some() {
                return (child, false);
            }
            let url = fs::read_to_string(&ready).ok().filter(|url| url.ends_with('\n'));
            if let Some(url) = url {
                url.trim().clone_into(&mut self.url.lock().unwrap());
                return (child, true);
            }
            assert!(began.elapsed() < START, "the gateway does not start within {START:?}");
        }
    }

    /// One request; an error if no whole answer came.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("{}{path}", self.url.lock().unwrap());
        let mut request = self.http.request(method, url).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// All invites in these statuses, or all there are; an error says what was answered instead.
    pub async fn invites(&self, statuses: &[&str]) -> Result<Vec<Value>, String> {
        let filter: String = statuses.iter().map(|status| format!("&status={status}")).collect();
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/invites?limit=200{filter}{cursor}");
            let answer = self.ask(Method::GET, &path, &[], None).await;
            let page = match answer {
                Ok((200, page)) => page,
                Ok((status, body)) => return Err(format!("GET {path}: {status} {body}")),
                Err(error) => return Err(format!("GET {path}: {error}")),
            };
            found.extend(page["invites"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// Removes what is left of it.
    pub async fn remove(&self) {
        if let Storage::Postgres { server, database } = &self.storage {
            execute(server, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends a process as a power cut would.
pub async fn kill(mut child: Child) -> ExitStatus {
    // It may have ended by itself.
    let _ = child.start_kill();
    child.wait().await.unwrap()
}

async fn create_database(server: &str, folder: &Path) -> Storage {
    let round = folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
    let database = format!("campaign_{}_{round}", std::process::id());
    execute(server, &format!("CREATE DATABASE {database}")).await;
    Storage::Postgres { server: server.to_owned(), database }
}

async fn execute(server: &str, statement: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}
