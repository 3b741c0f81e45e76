//! A gateway as a process of its own, with everything around it: settings, provider document,
//! database, simulated providers, API keys.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Child;

use crate::binary::{Binary, send, send_term, terminate};
use crate::client::{Client, Shared};
use crate::openapi::Document;
use crate::postgres::PostgresDatabase;
use crate::proxy::Proxy;
use crate::simulators::Simulators;
use crate::{PATIENCE, eventually};

/// Short waits, so that tests are quick; everything else is the default.
const SETTINGS: &str = r#"
[server]
listen = "127.0.0.1:0"
allow_private_hosts = ["127.0.0.1"]

# The server of the tests is a throwaway.
[storage]
allow_unsafe = true

[delivery]
lease = "6s"
settle = "300ms"
shutdown_grace = "10s"

[webhooks]
allow_private_hosts = ["127.0.0.1"]
[providers]
file = "providers.toml"
[log]
filter = "debug"
"#;
/// All three kinds at the simulators, with the routes of the sandbox.
const PROVIDERS: &str = include_str!("providers.toml");
const NAME: &str = "gateway";
const READY: &str = "ready";
/// Everything but `admin`.
const SCOPES: &str = "invites:write,invites:read,invites:raw,invites:codes,providers:read";
/// How much of the log is shown when a test fails.
const SHOWN_LINES: usize = 40;

/// Where the gateway keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file of its own.
    Sqlite,
    /// A database of its own on the server that `tests/run` starts.
    Postgres,
}

/// A gateway that is about to be started.
pub struct Builder {
    database: Database,
    is_proxied: bool,
    descriptors: Option<u32>,
    /// Variables of the environment, the settings among them.
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
    document: String,
    faults: String,
    behaviour: Vec<(String, Value)>,
    secrets: Vec<(String, String)>,
}

/// A gateway, running unless the test stopped it.
pub struct Gateway {
    /// The providers behind it.
    pub simulators: Simulators,
    /// The program with the gateway's settings, for its other commands.
    pub binary: Binary,
    /// What stands between it and its database, if the test asked for that.
    pub proxy: Option<Proxy>,
    client: Client,
    shared: Arc<Shared>,
    postgres: Option<PostgresDatabase>,
    process: Option<Child>,
    finished: bool,
}

impl Builder {
    /// SQLite unless said otherwise.
    pub fn database(mut self, database: Database) -> Self {
        self.database = database;
        self
    }

    /// A PostgreSQL database behind a [`Proxy`].
    pub fn behind_proxy(mut self) -> Self {
        self.is_proxied = true;
        self.database(Database::Postgres)
    }

    /// A setting by its name in `config/gateway.toml`, such as `delivery.settle`.
    pub fn setting(self, name: &str, value: &str) -> Self {
        let variable = format!("INVITE_GATEWAY__{}", name.to_uppercase().replace('.', "__"));
        self.variable(&variable, value)
    }

    /// A variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the folder that it runs in, or below.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A process that can have no more files open than this at once.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Another provider document; words in braces are filled in as in
    /// `config/sandbox/providers.toml`.
    pub fn document(mut self, text: &str) -> Self {
        text.clone_into(&mut self.document);
        self
    }

    /// Replaces a text of the provider document, which has to be there.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.document.contains(from), "the provider document does not say {from}");
        self.document = self.document.replace(from, to);
        self
    }

    /// Adds to the provider document; words in braces are filled in as in
    /// `config/sandbox/providers.toml`.
    pub fn append(mut self, text: &str) -> Self {
        self.document.push_str(text);
        self
    }

    /// A file in its folder that holds a secret.
    pub fn secret(mut self, file: &str, secret: &str) -> Self {
        self.secrets.push((file.to_owned(), secret.to_owned()));
        self
    }

    /// Lets something go wrong from the start; rules as in `config/sandbox/faults.toml`.
    pub fn faults(mut self, rules: &str) -> Self {
        rules.clone_into(&mut self.faults);
        self
    }

    /// How a simulated provider behaves from the start; settings as in crates/sandbox/README.md.
    pub fn behaving(mut self, provider: &str, settings: Value) -> Self {
        self.behaviour.push((provider.to_owned(), settings));
        self
    }

    /// Starts everything, and returns when the gateway accepts connections.
    pub async fn start(self) -> Gateway {
        let simulators = Simulators::start(&self.faults).await;
        for (provider, settings) in self.behaviour {
            simulators.set(&provider, settings).await;
        }
        let mut binary = Binary::in_empty_folder();
        if let Some(most) = self.descriptors {
            binary.limit_descriptors(most);
        }
        binary.write("gateway.toml", SETTINGS);
        binary.write("providers.toml", &simulators.fill_in(&self.document));
        for (file, secret) in &self.secrets {
            binary.write_secret(file, secret);
        }
        let postgres = match self.database {
            Database::Sqlite => None,
            Database::Postgres => Some(PostgresDatabase::create(&binary.path("")).await),
        };
        let proxy = match &postgres {
            Some(database) if self.is_proxied => Some(Proxy::before(&database.host()).await),
            _ => None,
        };
        let url = match (&postgres, &proxy) {
            (Some(database), Some(proxy)) => database.url_at(&proxy.address().to_string()),
            (Some(database), None) => database.url_at(&database.host()),
            (None, _) => "sqlite://invites.db".to_owned(),
        };
        binary.set_variable("INVITE_GATEWAY__STORAGE__URL", &url);
        for (name, value) in &self.variables {
            binary.set_variable(name, value);
        }
        for (name, text) in &self.files {
            fs::create_dir_all(binary.path(name).parent().unwrap()).unwrap();
            binary.write(name, text);
        }
        let shared = Arc::new(Shared::default());
        let client = Client::new(shared.clone(), None);
        let finished = false;
        let process = None;
        let mut gateway =
            Gateway { simulators, binary, proxy, client, shared, postgres, process, finished };
        let key = gateway.make_key(SCOPES, &[]).await;
        gateway.client = gateway.client.with_key(&key);
        gateway.start_again().await;
        let document = gateway.client.get("/openapi.json").await.expect(200).body;
        *gateway.shared.document.lock().unwrap() = Some(Arc::new(Document::new(document)));
        gateway
    }
}

impl Gateway {
    /// A gateway with three providers (`berlin-summit`, `acme-tenancy`, `treasury`) and SQLite.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A gateway that is in some way different.
    pub fn builder() -> Builder {
        Builder {
            database: Database::Sqlite,
            is_proxied: false,
            descriptors: None,
            variables: Vec::new(),
            files: Vec::new(),
            document: PROVIDERS.to_owned(),
            faults: String::new(),
            behaviour: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// A caller with every scope for the invites of the tenant `default`.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A caller with these scopes, made with `keys create` and further arguments of it.
    pub async fn caller(&self, scopes: &str, arguments: &[&str]) -> Client {
        self.client.with_key(&self.make_key(scopes, arguments).await)
    }

    async fn make_key(&self, scopes: &str, arguments: &[&str]) -> String {
        let create = ["--config", "gateway.toml", "keys", "create", "--name", "e2e", "--scopes"];
        let arguments = [&create, &[scopes][..], arguments].concat();
        let key = self.binary.print(&arguments).await.trim().to_owned();
        self.shared.witness.keep_secret(&key);
        key
    }

    /// Changes the database behind its back.
    pub async fn execute(&self, sql: &str) {
        if let Some(database) = &self.postgres {
            return database.execute(sql).await;
        }
        let file = rusqlite::Connection::open(self.binary.path("invites.db")).unwrap();
        file.execute_batch(sql).unwrap();
    }

    /// The address of its PostgreSQL database, past the proxy.
    pub fn postgres_url(&self) -> String {
        let database = self.postgres.as_ref().unwrap();
        database.url_at(&database.host())
    }

    /// Runs another command of the program with the gateway's settings.
    pub async fn command(&self, arguments: &[&str]) -> std::process::Output {
        self.binary.run(&[&["--config", "gateway.toml"], arguments].concat()).await
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.shared.url.lock().unwrap().clone()
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.binary.path("gateway.log")).unwrap_or_default()
    }

    /// Starts it after it was stopped or killed, on the same data.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the gateway is running");
        let (child, url) = self.serve(READY).await;
        url.clone_into(&mut self.shared.url.lock().unwrap());
        self.process = Some(child);
    }

    async fn serve(&self, ready_file: &str) -> (Child, String) {
        let ready = self.binary.path(ready_file);
        let _ = fs::remove_file(&ready);
        let serve = ["--config", "gateway.toml", "serve", "--ready-file", ready_file];
        let mut child = self.binary.spawn(&serve, NAME);
        let url = eventually("the gateway starts", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the gateway ended with {status} instead of starting:\n{}", self.log());
            }
            fs::read_to_string(&ready).ok().filter(|url| url.ends_with('\n'))
        })
        .await;
        (child, url.trim().to_owned())
    }

    /// Starts another process on the same database; its log is the first one's. Returns it and where
    /// it listens.
    pub async fn start_replica(&self) -> (Child, String) {
        static REPLICAS: AtomicUsize = AtomicUsize::new(0);
        let number = REPLICAS.fetch_add(1, Ordering::Relaxed);
        self.serve(&format!("replica-ready-{number}")).await
    }

    /// Stops it as an operator would, and returns how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        terminate(&mut self.process.take().unwrap()).await
    }

    /// How much time of processors each thread of the process has used so far.
    pub fn processor_times(&self) -> BTreeMap<String, Duration> {
        let id = self.process.as_ref().and_then(Child::id).unwrap();
        let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let time_of = |thread: &DirEntry| {
            // A thread may end while it is looked at.
            let said = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some(Duration::from_nanos(said.split(' ').next()?.parse().ok()?))
        };
        threads
            .map(Result::unwrap)
            .filter_map(|thread| Some((thread.file_name().to_str()?.to_owned(), time_of(&thread)?)))
            .collect()
    }

    /// What the system says of the process in one of its files.
    pub fn process_file(&self, name: &str) -> String {
        let id = self.process.as_ref().and_then(Child::id).unwrap();
        fs::read_to_string(format!("/proc/{id}/{name}")).unwrap()
    }

    /// Asks it to stop without waiting; [`Self::stop`] then waits.
    pub fn tell_to_stop(&self) {
        send_term(self.process.as_ref().unwrap());
    }

    /// Has it look at the file of its provider document.
    pub fn hang_up(&self) {
        send(self.process.as_ref().unwrap(), Signal::HUP);
    }

    /// Ends it at once, as a power cut would.
    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Stops it, and fails if it ended badly or if anything that it wrote says too much. Every test
    /// ends with this.
    pub async fn finish(mut self) {
        self.finished = true;
        let mut metrics = String::new();
        if self.process.is_some() {
            metrics = self.client.get("/metrics").await.expect(200).text;
            let status = self.stop().await;
            assert!(status.success(), "the gateway ended with {status}");
        }
        if let Some(database) = &self.postgres {
            database.remove().await;
        }
        let log = self.log();
        let said = self.shared.witness.search(&log, &metrics);
        let shown = said.iter().take(SHOWN_LINES).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(said.is_empty(), "the gateway wrote what it must not write:\n  {shown}");
        let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
        assert!(panics.is_empty(), "the gateway panicked: {panics:?}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
            return;
        }
        assert!(self.finished, "the test did not end with `finish`, waiting {PATIENCE:?} at most");
    }
}

impl Gateway {
    #[expect(clippy::print_stderr, reason = "shown with a test that failed")]
    fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        eprintln!("the end of the gateway's log:\n{}", end.join("\n"));
    }
}
