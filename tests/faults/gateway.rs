//! The gateway of a round: its folder, its processes, its API. What is done to the machines that they
//! run on is in `machine`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};

use crate::machine::Machine;
use crate::plan::Ending;

/// `settle` is longer than any time-out, and than any delayed effect.
const SETTINGS: &str = r#"
[server]
listen = "127.0.0.1:0"
allow_private_hosts = ["127.0.0.1"]

# The server of the tests is a throwaway.
[storage]
allow_unsafe = true

[delivery]
lease = "2s"
settle = "750ms"
refresh = "1s"
shutdown_grace = "2s"

[webhooks]
allow_private_hosts = ["127.0.0.1"]

[providers]
file = "providers.toml"
"#;
const SCOPES: &str = "invites:write,invites:read,invites:raw,providers:read,webhooks:write";
const ALL_SCOPES: &str = "admin";
/// The callers of another tenant see nothing of what the first one's see.
const OTHER_TENANT: &str = "other";
const LOG: &str = "gateway.log";
/// How long a start may take on a busy machine.
pub const START: Duration = Duration::from_secs(30);

/// What a gateway runs on.
#[derive(Clone)]
pub struct Setting {
    /// Of this one alone.
    pub folder: PathBuf,
    /// A server, or SQLite.
    pub postgres: Option<Server>,
    /// Processes on one database.
    pub replicas: usize,
    /// The deliberately broken engine.
    pub blind_resend: bool,
}

/// A PostgreSQL server.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    /// A command that kills it and starts it again, if it is the campaign's own.
    pub restart: Option<String>,
}

/// A gateway whose processes are started and ended again and again on the same data.
pub struct Gateway {
    folder: PathBuf,
    storage: Storage,
    blind_resend: bool,
    http: reqwest::Client,
    keys: [String; 3],
    machines: Vec<Machine>,
    turn: AtomicUsize,
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Caller {
    /// One tenant's callers.
    First = 0,
    /// Another's.
    Other = 1,
    /// An administrator, who sees what both have.
    Admin = 2,
}

enum Storage {
    Sqlite,
    Postgres { server: Server, database: String },
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
    /// An empty database, the settings and the provider document, and a key for each tenant; nothing
    /// runs yet.
    pub async fn prepare(setting: Setting, document: &str, http: reqwest::Client) -> Self {
        let Setting { folder, postgres, replicas, blind_resend } = setting;
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("gateway.toml"), SETTINGS).unwrap();
        fs::write(folder.join("providers.toml"), document).unwrap();
        let mut machines = Vec::new();
        for number in 0..replicas {
            let server = postgres.as_ref().map(|server| server.url.as_str());
            machines.push(Machine::new(&folder, number, server).await);
        }
        let storage = match postgres {
            None => Storage::Sqlite,
            Some(server) => create_database(server, &folder).await,
        };
        let (keys, turn) = (Default::default(), AtomicUsize::new(0));
        let mut gateway = Self { folder, storage, blind_resend, http, keys, machines, turn };
        gateway.keys = [
            gateway.make_key(&["--scopes", SCOPES]).await,
            gateway.make_key(&["--scopes", SCOPES, "--tenant", OTHER_TENANT]).await,
            gateway.make_key(&["--scopes", ALL_SCOPES]).await,
        ];
        gateway
    }

    async fn make_key(&self, of: &[&str]) -> String {
        let create = ["keys", "create", "--name", "campaign"];
        let began = Instant::now();
        loop {
            let output = self.command(0).args(create).args(of).output().await.unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap().trim().to_owned();
            }
            // Another round may have the server restarted just now.
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(began.elapsed() < START, "keys create: {complaint}");
        }
    }

    fn command(&self, replica: usize) -> Command {
        let program = std::env::current_exe().unwrap().with_file_name("invite-gateway");
        assert!(program.exists(), "{} is missing: cargo build -p invite-cli", program.display());
        let storage = match &self.storage {
            Storage::Sqlite => "sqlite://invites.db".to_owned(),
            Storage::Postgres { server, database } => {
                self.machines[replica].database_url(&server.url, database)
            }
        };
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear().kill_on_drop(true).stdin(Stdio::null());
        command.env("INVITE_GATEWAY__STORAGE__URL", storage);
        command.args(["--config", "gateway.toml"]);
        command
    }

    /// Starts a life of a replica; false if it was over before it began.
    pub async fn start(&self, replica: usize, ending: Ending) -> (Child, bool) {
        let machine = &self.machines[replica];
        let name = format!("ready-{replica}");
        let ready = self.folder.join(&name);
        let _ = fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(self.folder.join(LOG)).unwrap();
        let mut command = self.command(replica);
        command.env("INVITE_GATEWAY_CLOCKS", machine.clocks());
        if let Ending::CrashAt(label, n) = ending {
            command.env("INVITE_GATEWAY_CRASH_AT", format!("{label}:{n}"));
        }
        if self.blind_resend {
            command.env("INVITE_GATEWAY_BLIND_RESEND", "1");
        }
        command.args(["serve", "--ready-file", &name]).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        machine.runs(child.id());
        let began = Instant::now();
        let mut looks = interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            if child.try_wait().unwrap().is_some() {
                return (child, false);
            }
            let url = fs::read_to_string(&ready).ok().filter(|url| url.ends_with('\n'));
            if let Some(url) = url {
                machine.serves_at(url.trim());
                return (child, true);
            }
            assert!(began.elapsed() < START, "the gateway does not start within {START:?}");
        }
    }

    /// One request to any of the replicas; an error if no whole answer came.
    pub async fn ask(
        &self,
        caller: Caller,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}{path}", self.machines[turn % self.machines.len()].url());
        let key = &self.keys[caller as usize];
        let mut request = self.http.request(method, url).bearer_auth(key);
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

    /// The same until it is answered with something else than that it is to be asked again: other rounds
    /// have the database's server restarted, too, and many questions wait for a provider's rate budget.
    pub async fn insist(
        &self,
        caller: Caller,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<&Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let began = Instant::now();
        let mut tries = interval(Duration::from_millis(200));
        loop {
            tries.tick().await;
            let answer = self.ask(caller, method.clone(), path, headers, body).await;
            let is_later = match &answer {
                Ok((502, body)) => body["outcome"] == "not_sent",
                Ok((status, _)) => *status == 503,
                Err(_) => false,
            };
            if !is_later || began.elapsed() > START {
                return answer;
            }
        }
    }

    /// All invites of both tenants in these statuses, or all there are; an error says what was answered
    /// instead.
    pub async fn invites(&self, statuses: &[&str]) -> Result<Vec<Value>, String> {
        let filter: String = statuses.iter().map(|status| format!("&status={status}")).collect();
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/invites?limit=200{filter}{cursor}");
            let answer = self.insist(Caller::Admin, Method::GET, &path, &[], None).await;
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

    /// Carries statements out in its database, behind its back; `sqlite` or `postgres`.
    pub async fn execute(&self, sqlite: &str, postgres: &str) {
        match &self.storage {
            Storage::Sqlite => {
                let file = rusqlite::Connection::open(self.folder.join("invites.db")).unwrap();
                file.execute_batch(sqlite).unwrap();
            }
            Storage::Postgres { server, database } => {
                let url = self.machines[0].database_url(&server.url, database);
                let mut connection = PgConnection::connect(&url).await.unwrap();
                connection.execute(AssertSqlSafe(postgres)).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The machines of its processes.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Kills the database's server, and starts it again.
    pub async fn restart_database(&self) {
        let Storage::Postgres { server: Server { restart: Some(restart), .. }, .. } = &self.storage
        else {
            return;
        };
        // One at a time: of two, one would find the server that the other has just started.
        static RESTARTING: Mutex<()> = Mutex::const_new(());
        let _turn = RESTARTING.lock().await;
        let status = Command::new("/bin/sh").args(["-c", restart]).status().await.unwrap();
        assert!(status.success(), "`{restart}`: {status}");
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// Removes what is left of it.
    pub async fn remove(&self) {
        if let Storage::Postgres { server, database } = &self.storage {
            execute(&server.url, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
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

/// Made such that a gateway that leaves durability to the database's own settings loses what it
/// promised when the server is killed.
async fn create_database(server: Server, folder: &Path) -> Storage {
    let round = folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
    let database = format!("campaign_{}_{round}", std::process::id());
    execute(&server.url, &format!("CREATE DATABASE {database} STRATEGY file_copy")).await;
    let careless = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    execute(&server.url, &careless).await;
    Storage::Postgres { server, database }
}

/// Carries a statement out, again and again while another round has the server restarted.
async fn execute(server: &str, statement: &str) {
    let began = Instant::now();
    let mut tries = interval(Duration::from_millis(100));
    loop {
        tries.tick().await;
        let outcome = async {
            let mut connection = PgConnection::connect(server).await?;
            connection.execute(AssertSqlSafe(statement)).await?;
            connection.close().await
        };
        match outcome.await {
            Ok(()) => return,
            // It was carried out, and the answer was lost.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => return,
            Err(error) => assert!(began.elapsed() < START, "`{statement}`: {error}"),
        }
    }
}
