//! A fixed job for the gateway, for tools that count what it does: tests/bench/instructions.

use std::fs;
use std::time::Duration;

use crate::cell::Bench;
use crate::load::{Callers, Load};
use crate::peer::{Peer, Setting};

/// Starts a gateway, has it do so many single invites and so many requests of 50, one after the other, and ends it.
///
/// # Errors
/// It does not start, or not do the work.
pub async fn run(bench: Bench, singles: u64, batches: u64) -> Result<(), String> {
    let folder = bench.folder.join("job");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    bench.upstream.begin(Duration::ZERO);
    let setting = Setting::new(&folder, bench.upstream.address);
    let running = Peer::Gateway.start(&bench.programs, &setting).await?;
    for (invites, requests) in [(1, singles), (50, batches)] {
        let load = Load { connections: 1, invites, rate: None, most: Some(requests) };
        Callers::start(load, running.target.clone()).finish().await?;
    }
    Ok(())
}
