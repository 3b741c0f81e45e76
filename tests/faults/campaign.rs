//! The fault campaign: rounds of a real gateway process against the simulated providers, with every
//! kind of fault at every step and death at every labelled place, and after each round the proof:
//! nothing lost, nothing doubled, every state true.
//!
//! `tests/faults/campaign --help` says how it is run; what it proves is in docs/delivery.md.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that prints what it found and ends where something is missing"
)]

mod audit;
mod endpoints;
mod followers;
mod gateway;
mod isolation;
mod load;
mod machine;
mod plan;
mod providers;
mod report;
mod retention;
mod round;
mod seed;
mod siege;
mod trouble;

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use futures::{StreamExt, stream};

use gateway::{Server, Setting};
use plan::{Plan, Theme, WHOLE_DECK};
use report::Report;

const USAGE: &str = "\
usage: campaign [--rounds N] [--seed S] [--round R] [--database sqlite|postgres] [--replicas N]
                [--blind-resend]
       campaign retention [--rows N] [--seconds N] [--turns N] [--database sqlite|postgres]
       campaign endpoints [--events N] [--seconds N] [--database sqlite|postgres]
       campaign isolation [--provider P] [--kind K] [--all-steps] [--seconds N] [--turns N]
                          [--seed S] [--database sqlite|postgres]

rounds: in each, faults of every kind at the providers, some troubles for the whole round, and deaths
of the gateway; then its invites are compared with what took effect. A round fails if an invite was
lost or doubled, says what is not so, did not settle, or starved: had to wait for a destination, an
invite or a tenant that is no business of its own

  --rounds N       how many rounds (20); from 20 on every kind of fault, every trouble and, without
                   replicas, every failpoint has to be met
  --seed S         what all of it is chosen by (from the clock)
  --round R        only this round of that seed
  --database D     sqlite, or postgres at TEST_POSTGRES_URL, which TEST_POSTGRES_RESTART restarts if
                   that is the campaign's own; tests/faults/campaign sets both
  --replicas N     so many processes on one PostgreSQL database (1), which die, freeze and have their
                   clocks set each on its own
  --blind-resend   with the deliberately broken engine, which has to be found out

retention: how many invites a second are accepted while old ones are being removed, compared with
none being removed

  --rows N         old invites (100000)
  --seconds N      how long is measured (10)
  --turns N        how often, with and without (3)

endpoints: how far behind webhooks are, of ten that get everything, of which one is dead and one slow;
fails if any of the others is by more than 2 s, or misses anything

  --events N       how many events a second are written (1000)
  --seconds N      for how long (20)

isolation: how much slower two providers are while the third has a fault that does not end; fails
if by more than a tenth, for any kind of fault

  --provider P     which one has the fault: securegate, rkvst, or turnkey (the default)
  --kind K         only these kinds of fault, with commas between them
  --all-steps      the fault is at every step, not only where invites are created
  --seconds N      how long each phase is (2)
  --turns N        how often each kind is measured (5)";

/// Rounds of one process under way at once; they wait most of the time.
const AT_ONCE: usize = 4;

struct Arguments {
    rounds: Range<usize>,
    seed: u64,
    postgres: Option<Server>,
    replicas: usize,
    blind_resend: bool,
}

enum Task {
    Rounds(Arguments),
    Isolation(isolation::Choice),
    Retention(retention::Choice),
    Endpoints(endpoints::Choice),
}

fn main() -> ExitCode {
    let task = match read(std::env::args().skip(1)) {
        Ok(Some(task)) => task,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("campaign: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Fails only if it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Runtime::new().unwrap().block_on(run(task))
}

fn read(given: impl Iterator<Item = String>) -> Result<Option<Task>, String> {
    let mut given = given.peekable();
    if given.next_if(|first| first == "isolation").is_some() {
        return Ok(isolation::Choice::read(given)?.map(Task::Isolation));
    }
    if given.next_if(|first| first == "retention").is_some() {
        return Ok(retention::Choice::read(given)?.map(Task::Retention));
    }
    if given.next_if(|first| first == "endpoints").is_some() {
        return Ok(endpoints::Choice::read(given)?.map(Task::Endpoints));
    }
    Ok(read_rounds(given)?.map(Task::Rounds))
}

fn read_rounds(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let (mut rounds, mut round, mut seed) = (WHOLE_DECK, None, clock_seed());
    let (mut postgres, mut replicas, mut blind_resend) = (None, 1, false);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--rounds" => rounds = number(&name, &value()?)? as usize,
            "--round" => round = Some(number(&name, &value()?)? as usize),
            "--seed" => seed = number(&name, &value()?)?,
            "--database" => postgres = database(&value()?)?,
            "--replicas" => replicas = number(&name, &value()?)?.max(1) as usize,
            "--blind-resend" => blind_resend = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    if replicas > 1 && postgres.is_none() {
        return Err("--replicas needs --database postgres".to_owned());
    }
    let rounds = round.map_or(0..rounds, |round| round..round + 1);
    Ok(Some(Arguments { rounds, seed, postgres, replicas, blind_resend }))
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name}: `{text}` is no number"))
}

/// Nothing for SQLite.
fn database(name: &str) -> Result<Option<Server>, String> {
    match name {
        "sqlite" => Ok(None),
        "postgres" => server().map(Some),
        other => Err(format!("no database is called `{other}`")),
    }
}

#[expect(clippy::disallowed_methods, reason = "any seed will do; it is printed")]
fn clock_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

#[expect(clippy::disallowed_methods, reason = "the script says where its server is")]
fn server() -> Result<Server, String> {
    let url = std::env::var("TEST_POSTGRES_URL")
        .map_err(|_| "TEST_POSTGRES_URL names no server; tests/faults/campaign starts one")?;
    Ok(Server { url, restart: std::env::var("TEST_POSTGRES_RESTART").ok() })
}

async fn run(task: Task) -> ExitCode {
    let folder =
        |seed: u64| gateway::target().join("faults").join(format!("{seed}-{}", std::process::id()));
    let is_good = match task {
        Task::Rounds(arguments) => {
            let kept = folder(arguments.seed);
            play(arguments, &kept).await
        }
        Task::Retention(choice) => {
            let kept = folder(0);
            retention::measure(&choice, &kept).await;
            let _ = std::fs::remove_dir(&kept);
            true
        }
        Task::Endpoints(choice) => {
            let kept = folder(0);
            let is_good = endpoints::measure(&choice, &kept).await;
            let _ = std::fs::remove_dir(&kept);
            is_good
        }
        Task::Isolation(choice) => {
            let kept = folder(choice.seed);
            let is_isolated = isolation::measure(&choice, &kept).await;
            // Empty by now.
            let _ = std::fs::remove_dir(&kept);
            is_isolated
        }
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays the rounds; true if nothing was found, and nothing left out.
async fn play(arguments: Arguments, kept: &Path) -> bool {
    let Arguments { rounds, seed, postgres, replicas, blind_resend } = arguments;
    let began = Instant::now();
    println!("campaign: seed {seed}, rounds {rounds:?}");
    let whole = rounds.len() >= WHOLE_DECK;
    let has_restarts = postgres.as_ref().is_some_and(|server| server.restart.is_some());
    let theme = Theme { seed, replicas, has_server: postgres.is_some(), has_restarts };
    let play = |number: usize| {
        let folder = kept.join(format!("round-{number}"));
        let setting = Setting { folder, postgres: postgres.clone(), replicas, blind_resend };
        round::play(Plan::new(theme, number), setting)
    };
    let mut again = format!("tests/faults/campaign --seed {seed}");
    if postgres.is_some() {
        write!(again, " --database postgres --replicas {replicas}").unwrap();
    }
    let at_once = (AT_ONCE / replicas).max(1);
    let mut outcomes = stream::iter(rounds).map(play).buffer_unordered(at_once);
    let mut report = Report::default();
    while let Some(outcome) = outcomes.next().await {
        println!("{}", report::line(&again, &outcome));
        report.add(outcome);
    }
    // Stays if a round failed.
    let _ = std::fs::remove_dir(kept);
    println!("{}", report.table(seed, began.elapsed()));
    let never_met = if whole { report.never_met(theme) } else { Vec::new() };
    if !never_met.is_empty() {
        println!("never met: {}", never_met.join(", "));
    }
    report.is_clean() && never_met.is_empty()
}
