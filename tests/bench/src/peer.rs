//! The peers: each is started in a folder of its own, with an empty database, and ended when its cell is measured.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::load::Target;
use crate::procfs::Processes;
use crate::upstream::{ORGANIZATION, PRIVATE_KEY, USER};

/// How long a start, or an end, may take on a busy machine, or under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG: &str = "log";
/// What is queued for the second provider stays there.
const SELDOM: &str = "requests_per_second = 0.001\nmax_backlog = 10000000\n";
const OTHER_ORGANIZATION: &str = "0d7b2f8e-53a1-4c26-9f0e-7a1c54d2b693";

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    Gateway,
    Fastify,
    Fastapi,
}

/// Where the programs are.
pub struct Programs {
    pub gateway: PathBuf,
    /// What the gateway is run by, with its arguments; empty for nothing.
    pub wrapper: Vec<String>,
    pub nginx: Option<PathBuf>,
    /// server.mjs beside its `node_modules`.
    pub fastify: Option<PathBuf>,
    /// The Python that the peer's packages are installed for.
    pub python: Option<PathBuf>,
    /// The peers' own files.
    pub peers: PathBuf,
}

/// What a peer works on.
pub struct Setting<'a> {
    pub folder: &'a Path,
    pub upstream: SocketAddr,
    /// Of the gateway alone; SQLite if it is none.
    pub postgres: Option<String>,
    /// Of the gateway alone: invites in one call.
    pub max_batch: Option<u32>,
    /// Of the gateway alone: whether it has a second provider, `later`, that may hardly be asked.
    pub has_second: bool,
}

impl<'a> Setting<'a> {
    pub fn new(folder: &'a Path, upstream: SocketAddr) -> Self {
        Self { folder, upstream, postgres: None, max_batch: None, has_second: false }
    }
}

/// A peer that takes requests. It is ended when this is dropped.
pub struct Running {
    child: Child,
    pub target: Target,
    /// From when it was started until it took requests.
    pub start: Duration,
}

impl Running {
    pub fn processes(&self) -> Processes {
        Processes(self.child.id())
    }

    /// Asks it to end, and waits until it has.
    pub fn end(&mut self) {
        let began = Instant::now();
        let has_ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        if !has_ended(&mut self.child) {
            // It may end by itself just now.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        while !has_ended(&mut self.child) {
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
            Self::Fastify => "Fastify",
            Self::Fastapi => "FastAPI",
        }
    }

    pub fn is_installed(self, programs: &Programs) -> bool {
        match self {
            Self::Nginx => programs.nginx.is_some(),
            Self::Gateway => true,
            Self::Fastify => programs.fastify.is_some(),
            Self::Fastapi => programs.python.is_some(),
        }
    }

    /// Starts it, and waits until it takes connections.
    ///
    /// # Errors
    /// It does not start; what it logged is part of the text.
    pub async fn start(
        self,
        programs: &Programs,
        setting: &Setting<'_>,
    ) -> Result<Running, String> {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let folder = setting.folder;
        let mut key = String::new();
        let mut command = match self {
            Self::Nginx => nginx(programs, setting, port),
            Self::Gateway => {
                key = format!("Bearer {}", prepare_gateway(programs, setting, port)?);
                let mut command = gateway(programs, &programs.wrapper, setting);
                command.arg("serve");
                command
            }
            Self::Fastify => {
                let mut command = by_hand("node".as_ref(), setting, port);
                command.arg(programs.fastify.as_ref().unwrap());
                command
            }
            Self::Fastapi => {
                let mut command = by_hand(programs.python.as_ref().unwrap(), setting, port);
                command.args(["-m", "uvicorn", "--no-access-log", "--log-level", "warning"]);
                command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
                command.arg("--app-dir").arg(programs.peers.join("fastapi")).arg("app:app");
                command
            }
        };
        let log = File::create(folder.join(LOG)).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let began = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {command:?}: {error}", self.name()))?;
        let target = Target { address, key, answers_invites: self != Self::Nginx };
        let mut running = Running { child, target, start: Duration::ZERO };
        let mut looks = interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            let connecting = timeout(PATIENCE, TcpStream::connect(address));
            if matches!(connecting.await, Ok(Ok(_))) {
                running.start = began.elapsed();
                return Ok(running);
            }
            let has_ended = matches!(running.child.try_wait(), Ok(Some(_)));
            if has_ended || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
                return Err(format!("{} does not start: {}", self.name(), log.trim()));
            }
        }
    }
}

/// One that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn nginx(programs: &Programs, setting: &Setting<'_>, port: u16) -> Command {
    let document = fs::read_to_string(programs.peers.join("nginx/nginx.conf")).unwrap();
    let document = document
        .replace("{PORT}", &port.to_string())
        .replace("{UPSTREAM}", &setting.upstream.to_string());
    fs::write(setting.folder.join("nginx.conf"), document).unwrap();
    let mut command = Command::new(programs.nginx.as_ref().unwrap());
    command.arg("-p").arg(setting.folder).args(["-e", "error.log", "-c", "nginx.conf"]);
    command
}

/// What the peers are told that people would write by hand.
fn by_hand(program: &Path, setting: &Setting<'_>, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .env("BENCH_PORT", port.to_string())
        .env("BENCH_DATABASE", setting.folder.join("invites.db"))
        .env("BENCH_UPSTREAM", format!("http://{}", setting.upstream))
        .env("BENCH_ORGANIZATION", ORGANIZATION)
        .env("BENCH_SENDER", USER)
        .env("BENCH_KEY", PRIVATE_KEY)
        .env("NODE_ENV", "production")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn gateway(programs: &Programs, wrapper: &[String], setting: &Setting<'_>) -> Command {
    let mut command = match wrapper {
        [] => Command::new(&programs.gateway),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&programs.gateway);
            command
        }
    };
    command.current_dir(setting.folder).env_clear().args(["--config", "gateway.toml"]);
    command
}

/// Settings, document and a key. All that is not said has the default that it ships with, but for the rate of requests,
/// which would measure the provider and not the gateway.
fn prepare_gateway(
    programs: &Programs,
    setting: &Setting<'_>,
    port: u16,
) -> Result<String, String> {
    let url = setting.postgres.as_deref().unwrap_or("sqlite://invites.db");
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\nallow_private_hosts = [\"127.0.0.1\"]\n\n\
         [storage]\nurl = \"{url}\"\n\n[providers]\nfile = \"providers.toml\"\n"
    );
    let mut limits = "requests_per_second = 10000\n".to_owned();
    limits.extend(setting.max_batch.map(|most| format!("max_batch = {most}\n")));
    let mut document = provider("treasury", setting.upstream, ORGANIZATION, &limits);
    if setting.has_second {
        document += &provider("later", setting.upstream, OTHER_ORGANIZATION, SELDOM);
    }
    fs::write(setting.folder.join("gateway.toml"), settings).unwrap();
    fs::write(setting.folder.join("providers.toml"), document).unwrap();
    let mut command = gateway(programs, &[], setting);
    command.args(["keys", "create", "--name", "bench"]);
    command.args(["--scopes", "invites:write,invites:read,providers:read"]);
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the gateway makes no key: {}", complaint.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn provider(name: &str, upstream: SocketAddr, organization: &str, limits: &str) -> String {
    format!(
        "[providers.{name}]\nkind = \"turnkey\"\nbase_url = \"http://{upstream}\"\n\
         organization_id = \"{organization}\"\napi_private_key = \"{PRIVATE_KEY}\"\n\n\
         [providers.{name}.limits]\n{limits}\n"
    )
}
