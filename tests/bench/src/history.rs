//! What a gateway costs that has worked for long: the same work with many invites in its database or in its queue, what
//! it shows of them, its start, and what they take.

use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::cell::{Bench, Measured, Past, SINGLES};
use crate::fill::{Database, Fate};
use crate::goals::Spread;
use crate::load::{Caller, Callers, Load};
use crate::peer::{Peer, Running, Setting};
use crate::postgres;

/// The gateway makes so many invites itself, of which all others are copies.
const SAMPLES: u64 = 200;
/// Each page and list is asked for so often.
const LOOKS: usize = 30;
const LISTS: [&str; 2] = ["/v1/invites?limit=100", "/v1/invites?limit=100&status=failed"];
const SEARCH: &str = "/v1/invites?email=person.00000001@example.org";
const PROVIDERS: &str = "/v1/providers";

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
        let database = match server {
            Some(server) => Some(server.database(name).await),
            None => None,
        };
        let url = server.zip(database.as_ref()).map(|(server, it)| it.url(server.address));
        self.upstream.begin(std::time::Duration::ZERO);
        let setting = Setting {
            postgres: url.clone(),
            has_second: true,
            ..Setting::new(folder, self.upstream.address)
        };
        let mut running = Peer::Gateway.start(&self.programs, &setting).await?;
        let mut bytes_per_row = None;
        if let Past::Settled(rows) | Past::Live(rows) = past {
            let samples = Load { connections: 8, most: Some(SAMPLES), ..SINGLES };
            Callers::start(samples, running.target.clone()).finish().await?;
            drop(running);
            let file = format!("sqlite://{}", folder.join("invites.db").display());
            let mut tables = Database::open(url.as_deref().unwrap_or(&file)).await?;
            let before = tables.bytes().await?;
            let fate = if matches!(past, Past::Live(_)) { Fate::Live } else { Fate::Settled };
            tables.fill(rows, fate).await?;
            bytes_per_row = Some((tables.bytes().await? - before) as f64 / rows as f64);
            tables.close().await;
            running = Peer::Gateway.start(&self.programs, &setting).await?;
        }
        if let Past::Queued(rows) = past {
            queue(&running, rows).await?;
        }
        let resident_mb = running.processes().read().resident_mb();
        let mut caller = Caller::new(running.target.clone());
        let mut list_ms = 0.0_f64;
        for list in LISTS {
            list_ms = list_ms.max(look(&mut caller, list).await?);
        }
        let search_ms = look(&mut caller, SEARCH).await?;
        let providers_ms = look(&mut caller, PROVIDERS).await?;
        let server = server.map(|server| server.processes);
        let measured = self.work(SINGLES, &running, server).await?;
        drop(running);
        if let Some(database) = database {
            database.remove().await;
        }
        Ok(Measured {
            bytes_per_row,
            resident_mb: Some(resident_mb),
            list_ms: Some(list_ms),
            search_ms: Some(search_ms),
            providers_ms: Some(providers_ms),
            ..measured
        })
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
    Ok(Spread::of(times.into_iter()).map(|spread| spread.median).unwrap_or_default())
}
