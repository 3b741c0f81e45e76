//! The program under test: where it is, and how it is run.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::PATIENCE;

/// The program, in a folder and an environment of its own.
pub struct Binary {
    folder: TempDir,
    environment: Vec<(String, String)>,
    file_limit: Option<u32>,
    descriptor_limit: Option<u32>,
}

impl Default for Binary {
    fn default() -> Self {
        Self::in_empty_folder()
    }
}

impl Binary {
    /// The program with nothing around it: an empty folder and no environment variables.
    pub fn in_empty_folder() -> Self {
        let folder = tempfile::Builder::new().prefix("invite-e2e-").tempdir().unwrap();
        Self { folder, environment: Vec::new(), file_limit: None, descriptor_limit: None }
    }

    /// Sets an environment variable for every run from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// From now on no file that it writes can be longer than so many KiB, as on a disk that is full;
    /// none lifts that.
    pub fn limit_files(&mut self, most: Option<u32>) {
        self.file_limit = most;
    }

    /// From now on it can have no more files open than this at once.
    pub fn limit_descriptors(&mut self, most: u32) {
        self.descriptor_limit = Some(most);
    }

    /// A path in the folder that it runs in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into that folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file into that folder that only its owner may read.
    pub fn write_secret(&self, name: &str, secret: &str) {
        self.write(name, secret);
        std::fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        let running = command.args(arguments).output();
        match timeout(PATIENCE * 2, running).await {
            Ok(output) => output.unwrap(),
            Err(_) => panic!("invite-gateway {} does not end", arguments.join(" ")),
        }
    }

    /// The same with this on its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        match timeout(PATIENCE * 2, child.wait_with_output()).await {
            Ok(output) => output.unwrap(),
            Err(_) => panic!("invite-gateway {} does not end", arguments.join(" ")),
        }
    }

    /// Runs it to its end, which has to be good, and returns what it printed.
    pub async fn print(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        assert!(status.success(), "{}: {status}: {complaint}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts it and leaves it running; what it writes is appended to `NAME.out` and `NAME.log`.
    pub fn spawn(&self, arguments: &[&str], name: &str) -> Child {
        let append = |ending| {
            let path = self.path(&format!("{name}.{ending}"));
            std::fs::File::options().create(true).append(true).open(path).unwrap()
        };
        let mut command = self.command();
        command.args(arguments).stdout(append("out")).stderr(append("log"));
        command.spawn().unwrap()
    }

    fn command(&self) -> Command {
        // What would be written beyond the limit is an error, and no signal.
        let files = self.file_limit.map(|most| format!("ulimit -f {most}; trap '' XFSZ; "));
        let descriptors = self.descriptor_limit.map(|most| format!("ulimit -n {most}; "));
        let limits: String = files.into_iter().chain(descriptors).collect();
        let mut command = if limits.is_empty() {
            Command::new(program())
        } else {
            let mut command = Command::new("/bin/bash");
            command.arg("-c").arg(format!("{limits}exec \"$0\" \"$@\"")).arg(program());
            command
        };
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        command.current_dir(self.folder.path()).env_clear().envs(variables);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Cargo puts the program two folders above the tests' own executable.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|deps| deps.parent()).unwrap().join("invite-gateway");
    assert!(
        path.exists(),
        "{} is missing: run tests/run, or `cargo build -p invite-cli` first",
        path.display()
    );
    path
}

/// Asks a process to stop, as an operator would.
pub(crate) fn send_term(child: &Child) {
    send(child, Signal::TERM);
}

/// Sends a signal to a process that runs.
pub(crate) fn send(child: &Child, signal: Signal) {
    if let Some(id) = child.id() {
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }
}

/// Asks a process to stop, and waits for its end.
pub async fn terminate(child: &mut Child) -> ExitStatus {
    send_term(child);
    match timeout(PATIENCE, child.wait()).await {
        Ok(status) => status.unwrap(),
        Err(_) => panic!("the gateway does not stop within {PATIENCE:?} after SIGTERM"),
    }
}
