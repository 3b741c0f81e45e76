//! The benchmark of the gateway beside its peers: tests/bench/run builds and starts what it needs. What is measured, and
//! how, is in docs/performance.md.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that prints what it found and ends where something is missing"
)]

mod cell;
mod fill;
mod goals;
mod history;
mod job;
mod load;
mod peer;
mod plot;
mod postgres;
mod procfs;
mod report;
mod upstream;
mod wire_delay;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::task::LocalSet;

use cell::{Bench, CELLS, Cell, with_past};
use goals::Repetition;
use peer::Programs;
use plot::PLOTS;
use postgres::Server;
use procfs::Processes;
use report::Run;
use upstream::Upstream;

/// The part of docs/performance.md that a run writes stands between these.
const BEGINNING: &str = "<!-- What follows is written by tests/bench/run. -->";
const END: &str = "<!-- What tests/bench/run writes ends here. -->";

/// The benchmark of the gateway beside its peers; started by tests/bench/run.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's binary.
    #[arg(long)]
    gateway: PathBuf,
    /// nginx, if it is to be measured.
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// The Fastify peer's server.mjs, beside its `node_modules`, if it is to be measured.
    #[arg(long)]
    fastify: Option<PathBuf>,
    /// The Python that has what the FastAPI peer needs, if that is to be measured.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The peers' own files.
    #[arg(long)]
    peers: PathBuf,
    /// A folder for databases, on the disk that is to be measured; results.json is written there.
    #[arg(long)]
    folder: PathBuf,
    /// Address and port of a PostgreSQL server that asks for no password, if it is to be measured.
    #[arg(long, requires = "postgres_pid")]
    postgres: Option<SocketAddr>,
    /// Its first process.
    #[arg(long)]
    postgres_pid: Option<u32>,
    /// Leave SQLite out.
    #[arg(long)]
    without_sqlite: bool,
    /// Only cells whose name contains one of these.
    #[arg(long)]
    only: Vec<String>,
    /// No cells whose name contains one of these.
    #[arg(long)]
    without: Vec<String>,
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// How long a cell is measured, in seconds.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Settled invites in the cells that have a past; 0 leaves those out.
    #[arg(long, default_value_t = 0)]
    rows: u64,
    /// Measure nothing, but have the gateway do so many single invites and so many requests of 50, one after the
    /// other, and end it.
    #[arg(long, num_args = 2, value_names = ["SINGLES", "BATCHES"])]
    job: Option<Vec<u64>>,
    /// For a job: what the gateway is run by, such as valgrind; a word each time.
    #[arg(long, allow_hyphen_values = true)]
    wrapper: Vec<String>,
    /// What is said of the run, as NAME=VALUE.
    #[arg(long)]
    about: Vec<String>,
    /// The folder of performance.md, which is rewritten then.
    #[arg(long)]
    docs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some([singles, batches]) = arguments.job.as_deref() {
        let job = job::run(bench(&arguments), *singles, *batches);
        return match LocalSet::new().block_on(&runtime, job) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("bench: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let run = LocalSet::new().block_on(&runtime, measure(&arguments));
    println!("{}", run.tables());
    match write(&arguments, &run) {
        Ok(()) if run.failures.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Bench {
    let time = Duration::from_secs_f64(arguments.seconds);
    let server = arguments.postgres.zip(arguments.postgres_pid);
    Bench {
        programs: Programs {
            gateway: arguments.gateway.clone(),
            wrapper: arguments.wrapper.clone(),
            nginx: arguments.nginx.clone(),
            fastify: arguments.fastify.clone(),
            python: arguments.python.clone(),
            peers: arguments.peers.clone(),
        },
        folder: arguments.folder.clone(),
        upstream: Upstream::start(),
        postgres: server.map(|(address, pid)| Server { address, processes: Processes(pid) }),
        warm_up: time / 4,
        time,
    }
}

async fn measure(arguments: &Arguments) -> Run {
    let bench = bench(arguments);
    let about = arguments.about.iter().filter_map(|said| said.split_once('='));
    let about = about.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut run = Run {
        about,
        repetitions: Vec::new(),
        rows: arguments.rows,
        failures: Vec::new(),
        shows_all: arguments.only.is_empty(),
    };
    for number in 1..=arguments.repetitions {
        let mut repetition = Repetition::new();
        let past =
            if number == 1 && arguments.rows > 0 { with_past(arguments.rows) } else { vec![] };
        for cell in CELLS.iter().chain(&past).filter(|cell| is_wanted(arguments, &bench, cell)) {
            match bench.measure(cell).await {
                Ok(measured) => {
                    let rate = report::figure(measured.per_second);
                    eprintln!("{number}/{}: {}: {rate}/s", arguments.repetitions, cell.name);
                    repetition.insert(cell.name, measured);
                }
                Err(why) => {
                    eprintln!("{number}/{}: {}: {why}", arguments.repetitions, cell.name);
                    run.failures.push(format!("{} in repetition {number}: {why}", cell.name));
                }
            }
        }
        run.repetitions.push(repetition);
    }
    run
}

fn is_wanted(arguments: &Arguments, bench: &Bench, cell: &Cell) -> bool {
    let is_among = |parts: &[String]| parts.iter().any(|part| cell.name.contains(part.as_str()));
    let Arguments { only, without, .. } = arguments;
    let is_chosen = (only.is_empty() || is_among(only)) && !is_among(without);
    let is_there = match cell.needs_postgres() {
        true => bench.postgres.is_some(),
        false => !arguments.without_sqlite,
    };
    is_chosen && is_there && cell.peer().is_none_or(|peer| peer.is_installed(&bench.programs))
}

fn write(arguments: &Arguments, run: &Run) -> Result<(), String> {
    let json = format!("{:#}\n", run.json());
    store(&arguments.folder.join("results.json"), &json)?;
    let Some(docs) = &arguments.docs else { return Ok(()) };
    let plots = docs.join("performance");
    store(&plots.join("results.json"), &json)?;
    for plot in &PLOTS {
        store(&plots.join(plot.file), &plot.draw(run))?;
    }
    let path = docs.join("performance.md");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let parts = text.split_once(BEGINNING).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        format!(
            "{} has lost the lines between which a run writes: {BEGINNING} {END}",
            path.display()
        )
    })?;
    let mut text = run.tables();
    for plot in &PLOTS {
        text += &format!("\n![{}](performance/{})\n", plot.title, plot.file);
    }
    text += "\nEvery figure of the run is in [results.json](performance/results.json).\n";
    store(&path, &format!("{before}{BEGINNING}\n\n{text}\n{END}{after}"))
}

fn store(path: &Path, text: &str) -> Result<(), String> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
