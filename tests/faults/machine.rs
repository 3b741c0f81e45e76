//! The machine that a process of the gateway runs on: its clocks, its way to the database, and the
//! process as the system sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use invite_tests::Proxy;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, interval_at};

/// One machine.
pub struct Machine {
    clocks: PathBuf,
    /// Before the database's server, unless that is a file.
    network: Option<Proxy>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    url: String,
    process: Option<Pid>,
    /// By how much the wall clock is off, and the clock that counts from boot on; in milliseconds.
    wall: i64,
    boot: i64,
}

/// What may happen to a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mishap {
    /// Somebody sets its clock to so many milliseconds off the right time.
    Clock(i64),
    /// It was suspended for so long, as its clocks have it; the world around it was not.
    Suspended(Duration),
    /// The process does not run for so long.
    Frozen(Duration),
    /// Nothing passes between it and the database for so long.
    DatabaseSilent(Duration),
    /// Its connections to the database stay silent for good; new ones are well.
    DatabaseStranded,
    /// Its connections to the database are closed, and for so long new ones, too.
    DatabaseCut(Duration),
    /// The database's server is killed, and starts again.
    DatabaseRestart,
}

/// A mishap of a life, at a moment in it, on one of the machines.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub at: Duration,
    pub machine: usize,
    pub mishap: Mishap,
}

impl Machine {
    /// A machine that is well, and its way to the database's server.
    pub async fn new(folder: &Path, number: usize, server: Option<&str>) -> Self {
        let network = match server {
            Some(server) => Some(Proxy::before(host(server)).await),
            None => None,
        };
        let clocks = folder.join(format!("clocks-{number}"));
        Self { clocks, network, state: Mutex::default() }
    }

    /// The file that says by how much its clocks are off.
    pub fn clocks(&self) -> &Path {
        &self.clocks
    }

    /// The address of a database on a server, as seen from here.
    pub fn database_url(&self, server: &str, database: &str) -> String {
        let (server_of, _) = server.rsplit_once('/').unwrap();
        let own = self.network.as_ref().unwrap().address().to_string();
        format!("{}/{database}", server_of.replace(host(server), &own))
    }

    /// A process runs here from now on, or none.
    pub fn runs(&self, process: Option<u32>) {
        let process = process.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        self.state.lock().unwrap().process = process;
    }

    /// Where that process serves.
    pub fn serves_at(&self, url: &str) {
        url.clone_into(&mut self.state.lock().unwrap().url);
    }

    /// Where the last process that served did so.
    pub fn url(&self) -> String {
        self.state.lock().unwrap().url.clone()
    }

    /// Lets something happen, and returns when it is over.
    pub async fn suffer(&self, mishap: Mishap) {
        match mishap {
            Mishap::Clock(off_by) => self.set_clocks(|state| state.wall = off_by),
            Mishap::Suspended(rest) => {
                let rest = i64::try_from(rest.as_millis()).unwrap();
                self.set_clocks(|state| {
                    state.wall += rest;
                    state.boot += rest;
                });
            }
            Mishap::Frozen(rest) => {
                self.signal(Signal::STOP);
                pass(rest).await;
                self.signal(Signal::CONT);
            }
            Mishap::DatabaseSilent(rest) => {
                self.network(Proxy::silent);
                pass(rest).await;
                self.network(Proxy::restore);
            }
            Mishap::DatabaseStranded => self.network(Proxy::strand),
            Mishap::DatabaseCut(rest) => {
                self.network(Proxy::cut);
                pass(rest).await;
                self.network(Proxy::restore);
            }
            // That is not done here.
            Mishap::DatabaseRestart => {}
        }
    }

    /// Its clock is right from now on. Time that was slept through stays in the past.
    pub fn recover(&self) {
        self.set_clocks(|state| state.wall = 0);
    }

    fn set_clocks(&self, change: impl FnOnce(&mut State)) {
        let (wall, boot) = {
            let state = &mut *self.state.lock().unwrap();
            change(state);
            (state.wall, state.boot)
        };
        let whole = self.clocks.with_extension("new");
        fs::write(&whole, format!("{wall} {boot}")).unwrap();
        fs::rename(&whole, &self.clocks).unwrap();
    }

    fn network(&self, change: fn(&Proxy)) {
        self.network.iter().for_each(change);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.state.lock().unwrap().process {
            // It may have ended, and waits for somebody to ask how.
            let _ = kill_process(process, signal);
        }
    }
}

/// Host and port of a server's address.
fn host(server: &str) -> &str {
    let (_, rest) = server.split_once("://").unwrap();
    let (authority, _) = rest.split_once('/').unwrap();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// A while in which other things happen.
pub async fn pass(time: Duration) {
    interval_at(Instant::now() + time, Duration::from_secs(1)).tick().await;
}
