//! The list of requests that a simulator saw. It holds no bodies, headers or queries, because these carry secrets and
//! personal data.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock;
use crate::fault::Kind;
use crate::simulator::{Operation, locked};

/// One request, and what the caller got for it.
#[derive(Debug, Serialize)]
struct Entry {
    number: u64,
    operation: Operation,
    method: String,
    path: String,
    received_at: String,
    #[serde(skip)]
    began: Instant,
    /// The status that was answered, even if the body was then cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// How the connection was cut, if it was: `closed`, `reset`, `mid_body`, `silent` or
    /// `silent_mid_body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Kind>,
    /// Absent while the request is being answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u128>,
}

/// Every request since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    /// Enters a request that came in; returns its number.
    pub fn open(&self, operation: Operation, method: &str, path: &str) -> u64 {
        let mut entries = locked(&self.entries);
        let number = entries.last().map_or(1, |entry| entry.number + 1);
        entries.push(Entry {
            number,
            operation,
            method: method.to_owned(),
            path: path.to_owned(),
            received_at: clock::now().to_string(),
            began: Instant::now(),
            status: None,
            cut: None,
            fault: None,
            took_ms: None,
        });
        number
    }

    /// Enters what the caller gets.
    pub fn close(
        &self,
        number: u64,
        status: Option<u16>,
        cut: Option<&'static str>,
        fault: Option<Kind>,
    ) {
        // A request from before a reset has no entry any more; its number may belong to a later one.
        if let Some(entry) =
            locked(&self.entries).iter_mut().find(|e| e.number == number && e.took_ms.is_none())
        {
            entry.status = status;
            entry.cut = cut;
            entry.fault = fault;
            entry.took_ms = Some(entry.began.elapsed().as_millis());
        }
    }

    pub fn clear(&self) {
        locked(&self.entries).clear();
    }

    pub fn shown(&self) -> Value {
        let entries = locked(&self.entries);
        let mut counts: BTreeMap<Operation, u64> = BTreeMap::new();
        for entry in entries.iter() {
            *counts.entry(entry.operation).or_default() += 1;
        }
        json!({ "requests": &*entries, "counts": counts })
    }
}
