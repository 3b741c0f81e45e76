//! Rules for the three adapters: the same files in each, and what they must never reach for.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::tree::{files, rust_files};

const ADAPTERS: [&str; 3] = ["securegate", "rkvst", "turnkey"];
const ALWAYS: [&str; 7] = [
    "Cargo.toml",
    "README.md",
    "src/lib.rs",
    "src/config.rs",
    "src/client.rs",
    "src/wire.rs",
    "src/error.rs",
];
/// Only where there is something to do.
const SOMETIMES: [&str; 7] = [
    "src/auth.rs",
    "src/stamp.rs",
    "src/reconcile.rs",
    "src/excerpt.rs",
    // Turnkey's activities and what follows from them are too much for one file.
    "src/activity.rs",
    "src/state.rs",
    // Only for tests: a peer with canned answers.
    "src/canned.rs",
];

#[test]
fn every_adapter_has_the_same_files() {
    let mut wrong = Vec::new();
    for adapter in ADAPTERS {
        let folder = format!("crates/{adapter}/");
        let found: BTreeSet<&str> =
            files().iter().filter_map(|file| file.path.strip_prefix(&folder)).collect();
        for name in ALWAYS.iter().filter(|name| !found.contains(*name)) {
            wrong.push(format!("{folder}{name} is missing"));
        }
        for name in found.iter().filter(|n| !ALWAYS.contains(n) && !SOMETIMES.contains(n)) {
            wrong.push(format!("{folder}{name} is none of an adapter's files"));
        }
    }
    assert_none("adapter files", wrong);
}

#[test]
fn adapters_never_sleep_read_the_environment_or_touch_sql() {
    let mut wrong = Vec::new();
    for adapter in ADAPTERS {
        for file in rust_files(&format!("crates/{adapter}/")) {
            for (number, line) in file.text.lines().enumerate() {
                for banned in ["time::sleep", "sleep(", "std::env", "env::var", "sqlx"] {
                    if line.contains(banned) {
                        wrong.push(format!("{}:{}: {banned}", file.path, number + 1));
                    }
                }
            }
        }
    }
    assert_none("adapters make one attempt and know no more than their provider", wrong);
}
