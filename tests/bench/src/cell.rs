//! The cells: what is measured, by whom, on what; and how one is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, interval};

use crate::load::{Callers, Load};
use crate::peer::{Peer, Programs, Running, Setting};
use crate::postgres::{NO_SERVER, Server};
use crate::procfs::{Cost, Processes};
use crate::upstream::Upstream;
use crate::wire_delay;

/// Something that is measured once in each repetition.
pub struct Cell {
    pub name: &'static str,
    pub work: Work,
}

#[derive(Clone, Copy)]
pub enum Work {
    Requests(Requests),
    /// Rows of their own transaction in SQLite.
    SqliteCommits,
    /// Rows of their own transaction in PostgreSQL.
    PlainInserts,
    /// Single invites of 64 callers, where there is a past.
    History {
        past: Past,
        on_postgres: bool,
    },
}

/// Requests of callers that wait for the outcome.
#[derive(Clone, Copy)]
pub struct Requests {
    pub peer: Peer,
    pub storage: Storage,
    pub load: Load,
    /// How long the upstream takes.
    pub upstream: Duration,
    /// Invites in one call of the gateway; none for its default.
    pub max_batch: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Sqlite,
    Postgres,
    /// PostgreSQL so far away, one way.
    PostgresBehind(Duration),
}

/// What the gateway has already when it is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Past {
    Settled(u64),
    Live(u64),
    /// At a provider that takes next to nothing, beside the one that is measured.
    Queued(u64),
}

pub const SINGLES: Load = Load { connections: 64, invites: 1, rate: None, most: None };
const BATCHES: Load = Load { connections: 64, invites: 50, rate: None, most: None };
const SEQUENTIAL: Load = Load { connections: 1, invites: 1, rate: None, most: None };
/// Well within what each of the peers can do.
const ARRIVING: Load = Load { connections: 64, invites: 1, rate: Some(100.0), most: None };
/// What the goals of a signature are about.
const MAX_BATCH: u32 = 32;

const fn sqlite(name: &'static str, peer: Peer, load: Load) -> Cell {
    let (storage, upstream, max_batch) = (Storage::Sqlite, Duration::ZERO, None);
    Cell { name, work: Work::Requests(Requests { peer, storage, load, upstream, max_batch }) }
}

const fn postgres(name: &'static str, storage: Storage, load: Load) -> Cell {
    let (peer, upstream, max_batch) = (Peer::Gateway, Duration::ZERO, None);
    Cell { name, work: Work::Requests(Requests { peer, storage, load, upstream, max_batch }) }
}

const fn signatures(name: &'static str, upstream: Duration) -> Cell {
    let (peer, storage, max_batch) = (Peer::Gateway, Storage::Sqlite, Some(MAX_BATCH));
    let load = SINGLES;
    Cell { name, work: Work::Requests(Requests { peer, storage, load, upstream, max_batch }) }
}

/// In the order in which each repetition measures them.
pub const CELLS: [Cell; 21] = [
    sqlite("single/nginx", Peer::Nginx, SINGLES),
    sqlite("single/gateway", Peer::Gateway, SINGLES),
    Cell { name: "commits/sqlite", work: Work::SqliteCommits },
    sqlite("single/fastify", Peer::Fastify, SINGLES),
    sqlite("batch/gateway", Peer::Gateway, BATCHES),
    sqlite("batch/fastify", Peer::Fastify, BATCHES),
    sqlite("sequential/gateway", Peer::Gateway, SEQUENTIAL),
    sqlite("sequential/fastify", Peer::Fastify, SEQUENTIAL),
    sqlite("sequential/fastapi", Peer::Fastapi, SEQUENTIAL),
    signatures("signature/instant", Duration::ZERO),
    sqlite("single/fastapi", Peer::Fastapi, SINGLES),
    signatures("signature/50ms", Duration::from_millis(50)),
    sqlite("batch/fastapi", Peer::Fastapi, BATCHES),
    sqlite("arriving/gateway", Peer::Gateway, ARRIVING),
    sqlite("arriving/fastify", Peer::Fastify, ARRIVING),
    sqlite("arriving/fastapi", Peer::Fastapi, ARRIVING),
    postgres("postgres/single", Storage::Postgres, SINGLES),
    Cell { name: "postgres/insert", work: Work::PlainInserts },
    postgres("postgres/batch", Storage::Postgres, BATCHES),
    postgres("postgres/near", Storage::PostgresBehind(Duration::ZERO), SINGLES),
    postgres("postgres/far", Storage::PostgresBehind(Duration::from_micros(500)), SINGLES),
];

/// Where there is a past, the gateway makes so many invites itself, of which all others are copies.
pub const SAMPLES: u64 = 200;
/// So many rows are meant where a goal names a number of them.
pub const ROWS: u64 = 10_000_000;

/// What is measured once, in the first repetition, with so many settled invites at most. What is compared is neighbours.
pub fn with_past(rows: u64) -> Vec<Cell> {
    let cell = |name, past, on_postgres| Cell { name, work: Work::History { past, on_postgres } };
    // At least as many as are copied at once.
    let few = (rows / 1000).max(SAMPLES);
    vec![
        cell("history/settled", Past::Settled(rows), false),
        cell("history/few", Past::Settled(few), false),
        cell("history/live", Past::Live(rows / 10), false),
        cell("history/queued", Past::Queued(rows / 100), false),
        cell("history/backlog", Past::Queued(rows / 10), false),
        cell("postgres/history/settled", Past::Settled(rows), true),
        cell("postgres/history/few", Past::Settled(few), true),
        cell("postgres/history/live", Past::Live(rows / 10), true),
        cell("postgres/history/queued", Past::Queued(rows / 100), true),
    ]
}

impl Cell {
    pub fn needs_postgres(&self) -> bool {
        match &self.work {
            Work::Requests(requests) => requests.storage != Storage::Sqlite,
            Work::SqliteCommits => false,
            Work::PlainInserts => true,
            Work::History { on_postgres, .. } => *on_postgres,
        }
    }

    /// Who does its work; none for what is measured without a peer.
    pub fn peer(&self) -> Option<Peer> {
        match &self.work {
            Work::Requests(requests) => Some(requests.peer),
            Work::History { .. } => Some(Peer::Gateway),
            Work::SqliteCommits | Work::PlainInserts => None,
        }
    }
}

/// What all cells are measured with.
pub struct Bench {
    pub programs: Programs,
    /// A folder of the run's own, on the disk that is to be measured.
    pub folder: PathBuf,
    pub upstream: Upstream,
    pub postgres: Option<Server>,
    pub warm_up: Duration,
    pub time: Duration,
}

/// What was measured in a cell. Figures without a time or a size of their own are for one invite.
#[derive(Clone, Default, Serialize)]
pub struct Measured {
    pub seconds: f64,
    pub invites: u64,
    pub per_second: f64,
    /// Of the peer's processes.
    pub cpu_us: Option<f64>,
    /// Of the database's server.
    pub server_cpu_us: Option<f64>,
    pub voluntary_switches: Option<f64>,
    pub involuntary_switches: Option<f64>,
    pub written_bytes: Option<f64>,
    pub server_written_bytes: Option<f64>,
    /// Of all the peer's processes, since they were started.
    pub peak_mb: Option<f64>,
    /// Of requests.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub invites_per_call: Option<f64>,
    pub start_ms: Option<f64>,
    /// With a past: CPU, the database's server included, by that of a gateway without one, which took turns with it.
    pub cpu_to_none: Option<f64>,
    /// With a past: before the work.
    pub resident_mb: Option<f64>,
    pub bytes_per_row: Option<f64>,
    /// The slowest of the lists that are asked for.
    pub list_ms: Option<f64>,
    pub search_ms: Option<f64>,
    pub providers_ms: Option<f64>,
}

impl Measured {
    /// Of the peer and the database's server together.
    pub fn whole_cpu_us(&self) -> Option<f64> {
        Some(self.cpu_us? + self.server_cpu_us.unwrap_or_default())
    }

    pub fn switches(&self) -> Option<f64> {
        Some(self.voluntary_switches? + self.involuntary_switches?)
    }
}

impl Bench {
    /// # Errors
    /// A peer does not start, or does not do the work; a text says which and why.
    pub async fn measure(&self, cell: &Cell) -> Result<Measured, String> {
        let folder = self.folder.join(cell.name.replace('/', "-"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let measured = match &cell.work {
            Work::Requests(requests) => self.requests(cell.name, requests, &folder).await?,
            Work::SqliteCommits => self.sqlite_commits(&folder)?,
            Work::History { past, on_postgres } => {
                self.history(cell.name, *past, *on_postgres, &folder).await?
            }
            Work::PlainInserts => {
                let server = self.postgres.as_ref().ok_or(NO_SERVER)?;
                let (rows, cost) = server.insert_rows(cell.name, self.time).await;
                Measured {
                    server_cpu_us: Some(cost.cpu_us / rows as f64),
                    server_written_bytes: Some(cost.written as f64 / rows as f64),
                    ..Measured::of(rows, self.time)
                }
            }
        };
        // What a cell leaves behind is of use only if it failed.
        let _ = fs::remove_dir_all(&folder);
        Ok(measured)
    }

    async fn requests(
        &self,
        name: &str,
        requests: &Requests,
        folder: &Path,
    ) -> Result<Measured, String> {
        let server = match requests.storage {
            Storage::Sqlite => None,
            _ => Some(self.postgres.as_ref().ok_or(NO_SERVER)?),
        };
        let database = match server {
            Some(server) => Some(server.database(name).await),
            None => None,
        };
        let url = server.zip(database.as_ref()).map(|(server, database)| {
            database.url(match requests.storage {
                Storage::PostgresBehind(one_way) => wire_delay::start(server.address, one_way),
                _ => server.address,
            })
        });
        self.upstream.begin(requests.upstream);
        let setting = Setting {
            postgres: url,
            max_batch: requests.max_batch,
            ..Setting::new(folder, self.upstream.address)
        };
        let running = requests.peer.start(&self.programs, &setting).await?;
        let server = server.map(|server| server.processes);
        let measured = self.work(requests.load, &running, server).await?;
        drop(running);
        if let Some(database) = database {
            database.remove().await;
        }
        Ok(measured)
    }

    /// Has a peer do this work for a while.
    ///
    /// # Errors
    /// It does not do it, or not as it should.
    pub async fn work(
        &self,
        load: Load,
        running: &Running,
        server: Option<Processes>,
    ) -> Result<Measured, String> {
        let counted = || {
            let server = server.map(Processes::read);
            (running.processes().read(), server, self.upstream.arrived())
        };
        let callers = Callers::start(load, running.target.clone());
        wait(self.warm_up, &callers).await;
        let (before, server_before, arrived_before) = counted();
        callers.record();
        let began = Instant::now();
        wait(self.time, &callers).await;
        let mut tally = callers.recorded();
        let time = began.elapsed();
        let (after, server_after, arrived) = counted();
        callers.stop().await?;
        let all = self.upstream.arrived();
        if all.refused > 0 || (running.target.answers_invites && all.verified == 0) {
            return Err(format!("{} of {} calls had no good stamp", all.refused, all.calls));
        }
        if tally.invites == 0 {
            return Err(format!("nothing was answered within {time:?}"));
        }
        let invites = tally.invites as f64;
        let cost = after.since(&before);
        let server = server_after.zip(server_before).map(|(after, before)| after.since(&before));
        let calls = arrived.calls - arrived_before.calls;
        let sent = arrived.invitations - arrived_before.invitations;
        Ok(Measured {
            cpu_us: Some(cost.cpu_us / invites),
            server_cpu_us: server.as_ref().map(|server: &Cost| server.cpu_us / invites),
            voluntary_switches: Some(cost.voluntary as f64 / invites),
            involuntary_switches: Some(cost.involuntary as f64 / invites),
            written_bytes: Some(cost.written as f64 / invites),
            server_written_bytes: server.map(|server| server.written as f64 / invites),
            peak_mb: Some(cost.peak_kb as f64 / 1024.0),
            p50_ms: tally.quantile(0.5),
            p99_ms: tally.quantile(0.99),
            invites_per_call: (calls > 0).then(|| sent as f64 / calls as f64),
            start_ms: Some(running.start.as_secs_f64() * 1000.0),
            ..Measured::of(tally.invites, time)
        })
    }

    fn sqlite_commits(&self, folder: &Path) -> Result<Measured, String> {
        let own = "python3".into();
        let mut command = Command::new(self.programs.python.as_ref().unwrap_or(&own));
        command.arg(self.programs.peers.join("sqlite_commits.py"));
        command.arg(folder.join("commits.db")).arg(self.time.as_secs_f64().to_string());
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let per_second: f64 = text.trim().parse().map_err(|_| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("{command:?} prints no number: {}", complaint.trim())
        })?;
        let rows = (per_second * self.time.as_secs_f64()) as u64;
        Ok(Measured { per_second, ..Measured::of(rows, self.time) })
    }
}

impl Measured {
    fn of(invites: u64, time: Duration) -> Self {
        let seconds = time.as_secs_f64();
        Self { seconds, invites, per_second: invites as f64 / seconds, ..Self::default() }
    }
}

/// Lets the callers work for a while, and for a few times that if they have hardly an answer each; or until one of them
/// has given up.
async fn wait(time: Duration, callers: &Callers) {
    const LONGEST: u32 = 8;
    let (began, before) = (Instant::now(), callers.answered());
    let mut looks = interval(Duration::from_millis(20));
    let is_over = |elapsed: Duration| {
        elapsed >= time * LONGEST || elapsed >= time && callers.have_answers_since(before)
    };
    while !is_over(began.elapsed()) && !callers.is_broken() {
        looks.tick().await;
    }
}
