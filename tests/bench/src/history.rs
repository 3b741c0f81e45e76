//! What a gateway costs that has worked for long: the same work with many invites in its database or in its queue, what
//! it shows of them, its start, and what they take.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::cell::{Bench, Measured, Past, SAMPLES, SINGLES};
use crate::fill::{Database, Fate};
use crate::goals::Spread;
use crate::load::{Caller, Callers, Load};
use crate::peer::{Peer, Running, Setting};
use crate::postgres::{self, Server};

/// Each page and list is asked for so often.
const LOOKS: usize = 50;
/// The gateway is started, and does its work beside one without a past, so often.
const TURNS: usize = 3;
const NEWEST: &str = "/v1/invites?limit=1";
const LISTS: [&str; 2] = ["/v1/invites?limit=100", "/v1/invites?limit=100&status=failed"];
const PROVIDERS: &str = "/v1/providers";

/// A gateway with a database of its own.
struct Gateway<'a> {
    setting: Setting<'a>,
    /// If it is on PostgreSQL.
    database: Option<postgres::Database<'a>>,
    running: Running,
}

impl Bench {
    /// # Errors
    /// The gateway does not start, or does not do the work, or its tables cannot be filled.
    pub async fn history(
        &self,
        name: &str,
        past: Past,
        on_postgres: bool,
        folder: &Path,
    ) -> Result<Measured, String> {
        let server = match on_postgres {
            true => Some(self.postgres.as_ref().ok_or(postgres::NO_SERVER)?),
            false => None,
        };
        self.upstream.begin(Duration::ZERO);
        let mut gateway = self.gateway(name, server, folder).await?;
        let (mut bytes_per_row, mut start_ms) = (None, None);
        match past {
            Past::Settled(rows) => {
                bytes_per_row = Some(self.fill(&mut gateway, rows, Fate::Settled).await?);
            }
            Past::Live(rows) => {
                bytes_per_row = Some(self.fill(&mut gateway, rows, Fate::Live).await?);
            }
            Past::Queued(rows) => queue(&gateway.running, rows).await?,
        }
        if bytes_per_row.is_some() {
            let mut starts = Vec::new();
            for _ in 0..TURNS {
                self.restart(&mut gateway).await?;
                starts.push(gateway.running.start.as_secs_f64() * 1000.0);
            }
            start_ms = median(starts);
        }
        let resident_mb = gateway.running.processes().read().resident_mb();
        let mut caller = Caller::new(gateway.running.target.clone());
        let mut list_ms = 0.0_f64;
        for list in LISTS {
            list_ms = list_ms.max(look(&mut caller, list).await?);
        }
        let search = search_of_newest(&mut caller).await?;
        let search_ms = look(&mut caller, &search).await?;
        let providers_ms = look(&mut caller, PROVIDERS).await?;

        let beside = folder.join("none");
        fs::create_dir_all(&beside)
            .map_err(|error| format!("cannot make {}: {error}", beside.display()))?;
        let none = self.gateway(&format!("{name}_none"), server, &beside).await?;
        let (mut ratios, mut measured) = (Vec::new(), Measured::default());
        for _ in 0..TURNS {
            let processes = server.map(|server| server.processes);
            let without = self.work(SINGLES, &none.running, processes).await?;
            measured = self.work(SINGLES, &gateway.running, processes).await?;
            let costs = measured.whole_cpu_us().zip(without.whole_cpu_us());
            ratios.extend(costs.map(|(with, without)| with / without));
        }
        none.remove().await;
        gateway.remove().await;
        Ok(Measured {
            cpu_to_none: median(ratios),
            bytes_per_row,
            resident_mb: Some(resident_mb),
            start_ms,
            list_ms: Some(list_ms),
            search_ms: Some(search_ms),
            providers_ms: Some(providers_ms),
            ..measured
        })
    }

    /// Starts one.
    async fn gateway<'a>(
        &'a self,
        name: &str,
        server: Option<&'a Server>,
        folder: &'a Path,
    ) -> Result<Gateway<'a>, String> {
        let database = match server {
            Some(server) => Some(server.database(name).await),
            None => None,
        };
        let url = server.zip(database.as_ref()).map(|(server, it)| it.url(server.address));
        let setting = Setting {
            postgres: url,
            has_second: true,
            ..Setting::new(folder, self.upstream.address)
        };
        let running = Peer::Gateway.start(&self.programs, &setting).await?;
        Ok(Gateway { setting, database, running })
    }

    /// Ends it and starts it again.
    async fn restart(&self, gateway: &mut Gateway<'_>) -> Result<(), String> {
        gateway.running.end();
        gateway.running = Peer::Gateway.start(&self.programs, &gateway.setting).await?;
        Ok(())
    }

    /// Gives it so many invites that it has sent; how many bytes each of them takes on the disk.
    async fn fill(&self, gateway: &mut Gateway<'_>, rows: u64, fate: Fate) -> Result<f64, String> {
        let samples = Load { connections: 8, most: Some(SAMPLES), ..SINGLES };
        Callers::start(samples, gateway.running.target.clone()).finish().await?;
        gateway.running.end();
        let file = format!("sqlite://{}", gateway.setting.folder.join("invites.db").display());
        let url = gateway.setting.postgres.as_deref().unwrap_or(&file);
        let mut tables = Database::open(url).await?;
        let before = tables.bytes().await?;
        tables.fill(rows, fate).await?;
        let bytes = tables.bytes().await? - before;
        tables.close().await;
        Ok(bytes as f64 / rows as f64)
    }
}

impl Gateway<'_> {
    async fn remove(self) {
        drop(self.running);
        if let Some(database) = self.database {
            database.remove().await;
        }
    }
}

/// Has so many invites accepted for the provider that takes next to nothing.
async fn queue(running: &Running, rows: u64) -> Result<(), String> {
    const AT_ONCE: u64 = 1000;
    let mut caller = Caller::new(running.target.clone());
    for _ in 0..rows.div_ceil(AT_ONCE) {
        let body = crate::load::body("later", AT_ONCE as usize);
        let (status, answer) =
            caller.ask(Method::POST, "/v1/invites", "respond-async", body).await?;
        if status != StatusCode::ACCEPTED {
            let text: String = String::from_utf8_lossy(&answer).chars().take(600).collect();
            return Err(format!("filling the queue was answered with {status}: {text}"));
        }
    }
    Ok(())
}

/// A list by the address of the newest invite.
async fn search_of_newest(caller: &mut Caller) -> Result<String, String> {
    let (status, answer) = caller.ask(Method::GET, NEWEST, "wait=30", Bytes::new()).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    match answer["invites"][0]["email"].as_str() {
        Some(email) => Ok(format!("/v1/invites?email={email}")),
        None => Err(format!("GET {NEWEST} shows no invite: {status}: {answer}")),
    }
}

/// How long it takes to answer this, in milliseconds: the median.
async fn look(caller: &mut Caller, path: &str) -> Result<f64, String> {
    let mut times = Vec::new();
    for _ in 0..LOOKS {
        let began = Instant::now();
        let (status, _) = caller.ask(Method::GET, path, "wait=30", Bytes::new()).await?;
        if status != StatusCode::OK {
            return Err(format!("GET {path} was answered with {status}"));
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times).unwrap_or_default())
}

fn median(values: Vec<f64>) -> Option<f64> {
    Some(Spread::of(values.into_iter())?.median)
}
