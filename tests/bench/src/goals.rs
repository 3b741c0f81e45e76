//! The goals, and the ratio of each within one repetition.

use std::collections::BTreeMap;

use crate::cell::Measured;

/// What one repetition measured, by the names of the cells.
pub type Repetition = BTreeMap<&'static str, Measured>;

pub struct Goal {
    pub what: &'static str,
    pub bound: Bound,
    /// None where a cell is missing.
    pub ratio: fn(&Repetition) -> Option<f64>,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }
}

fn cpu(of: &Repetition, cell: &str) -> Option<f64> {
    of.get(cell)?.cpu_us
}

fn server_cpu(of: &Repetition, cell: &str) -> Option<f64> {
    of.get(cell)?.server_cpu_us
}

fn rate(of: &Repetition, cell: &str) -> Option<f64> {
    Some(of.get(cell)?.per_second)
}

fn slowest(of: &Repetition, cell: &str, to: &str) -> Option<f64> {
    let (cell, to) = (of.get(cell)?, of.get(to)?);
    let times = |of: &Measured| Some([of.list_ms?, of.search_ms?, of.providers_ms?, of.start_ms?]);
    times(cell)?.into_iter().zip(times(to)?).map(|(cell, to)| cell / to).reduce(f64::max)
}

use Bound::{AtLeast, AtMost};

pub const GOALS: [Goal; 15] = [
    Goal {
        what: "64 callers of one invite: CPU of an invite ÷ nginx's of a request",
        bound: AtMost(1.5),
        ratio: |of| Some(cpu(of, "single/gateway")? / cpu(of, "single/nginx")?),
    },
    Goal {
        what: "50 invites a request: CPU of an invite ÷ nginx's of a request",
        bound: AtMost(0.25),
        ratio: |of| Some(cpu(of, "batch/gateway")? / cpu(of, "single/nginx")?),
    },
    Goal {
        what: "64 callers of one invite: FastAPI's CPU ÷ ours",
        bound: AtLeast(80.0),
        ratio: |of| Some(cpu(of, "single/fastapi")? / cpu(of, "single/gateway")?),
    },
    Goal {
        what: "50 invites a request: FastAPI's CPU ÷ ours",
        bound: AtLeast(30.0),
        ratio: |of| Some(cpu(of, "batch/fastapi")? / cpu(of, "batch/gateway")?),
    },
    Goal {
        what: "64 callers of one invite: Fastify's CPU ÷ ours",
        bound: AtLeast(12.0),
        ratio: |of| Some(cpu(of, "single/fastify")? / cpu(of, "single/gateway")?),
    },
    Goal {
        what: "50 invites a request: Fastify's CPU ÷ ours",
        bound: AtLeast(10.0),
        ratio: |of| Some(cpu(of, "batch/fastify")? / cpu(of, "batch/gateway")?),
    },
    Goal {
        what: "one sequential caller: p50 ÷ Fastify's",
        bound: AtMost(0.5),
        ratio: |of| {
            Some(of.get("sequential/gateway")?.p50_ms? / of.get("sequential/fastify")?.p50_ms?)
        },
    },
    Goal {
        what: "64 callers of one invite: context switches of an invite",
        bound: AtMost(1.0),
        ratio: |of| of.get("single/gateway")?.switches(),
    },
    Goal {
        what: "50 invites a request: context switches of an invite",
        bound: AtMost(0.1),
        ratio: |of| of.get("batch/gateway")?.switches(),
    },
    Goal {
        what: "64 callers of one invite, max_batch 32: invites of a signature, instant upstream",
        bound: AtLeast(16.0),
        ratio: |of| of.get("signature/instant")?.invites_per_call,
    },
    Goal {
        what: "64 callers of one invite, max_batch 32: invites of a signature, upstream of 50 ms",
        bound: AtLeast(28.8),
        ratio: |of| of.get("signature/50ms")?.invites_per_call,
    },
    Goal {
        what: "64 callers of one invite: invites a second ÷ SQLite commits a second on this disk",
        bound: AtLeast(4.0),
        ratio: |of| Some(rate(of, "single/gateway")? / rate(of, "commits/sqlite")?),
    },
    Goal {
        what: "PostgreSQL, 64 callers of one invite: the server's CPU ÷ that of a plain INSERT",
        bound: AtMost(3.0),
        ratio: |of| Some(server_cpu(of, "postgres/single")? / server_cpu(of, "postgres/insert")?),
    },
    Goal {
        what: "PostgreSQL, 50 invites a request: the server's CPU ÷ that of a plain INSERT",
        bound: AtMost(0.5),
        ratio: |of| Some(server_cpu(of, "postgres/batch")? / server_cpu(of, "postgres/insert")?),
    },
    Goal {
        what: "PostgreSQL 1 ms away, 64 callers of one invite: invites a second ÷ those with none",
        bound: AtLeast(0.7),
        ratio: |of| Some(rate(of, "postgres/far")? / rate(of, "postgres/near")?),
    },
];

/// Those about what the gateway has already, which are measured once in a run.
pub const PAST_GOALS: [Goal; 11] = [
    Goal {
        what: "CPU of an invite with 10,000,000 settled ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("history/settled")?.cpu_to_none,
    },
    Goal {
        what: "CPU of an invite with 1,000,000 live ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("history/live")?.cpu_to_none,
    },
    Goal {
        what: "CPU of an invite with 100,000 queued ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("history/queued")?.cpu_to_none,
    },
    Goal {
        what: "lists, search, GET /v1/providers, start: 10,000,000 settled ÷ 10,000, the worst",
        bound: AtMost(1.5),
        ratio: |of| slowest(of, "history/settled", "history/few"),
    },
    Goal {
        what: "bytes on disk of a settled invite",
        bound: AtMost(700.0),
        ratio: |of| of.get("history/settled")?.bytes_per_row,
    },
    Goal {
        what: "resident MB with 1,000,000 queued",
        bound: AtMost(200.0),
        ratio: |of| of.get("history/backlog")?.resident_mb,
    },
    Goal {
        what: "PostgreSQL: CPU of an invite with 10,000,000 settled ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("postgres/history/settled")?.cpu_to_none,
    },
    Goal {
        what: "PostgreSQL: CPU of an invite with 1,000,000 live ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("postgres/history/live")?.cpu_to_none,
    },
    Goal {
        what: "PostgreSQL: CPU of an invite with 100,000 queued ÷ with none",
        bound: AtMost(1.2),
        ratio: |of| of.get("postgres/history/queued")?.cpu_to_none,
    },
    Goal {
        what: "PostgreSQL: lists, search, GET /v1/providers, start: as above",
        bound: AtMost(1.5),
        ratio: |of| slowest(of, "postgres/history/settled", "postgres/history/few"),
    },
    Goal {
        what: "PostgreSQL: bytes on disk of a settled invite",
        bound: AtMost(700.0),
        ratio: |of| of.get("postgres/history/settled")?.bytes_per_row,
    },
];

/// Median, least and greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, least, greatest })
    }
}
