//! File descriptors: how many the process may have, and how many of them connections may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors are kept for the database, calls to providers and files; of few descriptors half.
const RESERVE: u64 = 512;

/// Raises the limit as far as the process may, and returns how many connections that leaves room for.
pub fn for_connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    // Without a limit any number fits.
    let connections = limit.map_or(u64::MAX, |limit| limit - RESERVE.min(limit / 2));
    usize::try_from(connections).unwrap_or(usize::MAX)
}
