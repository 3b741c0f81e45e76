//! Rules for the adapters: the same files in each, and what they must never reach for.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::manifests::adapters;
use crate::tree::{files, rust_files};

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
    // Only for tests.
    "src/canned.rs",
];

#[test]
fn every_adapter_has_the_same_files() {
    let mut wrong = Vec::new();
    for adapter in adapters() {
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
    for adapter in adapters() {
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

#[test]
fn every_kind_has_its_rows_in_the_documents_and_an_example() {
    let text = |path: &str| files().iter().find(|file| file.path == path).unwrap().text.clone();
    let (readme, delivery) = (text("README.md"), text("docs/delivery.md").to_lowercase());
    let (example, sandbox) = (text("config/providers.toml"), text("config/sandbox/providers.toml"));
    let mut wrong = Vec::new();
    for kind in invite_kinds::all().iter().map(|kind| kind.name) {
        let in_example = format!("kind = \"{kind}\"");
        for (place, is_there) in [
            ("the table of kinds in README.md", readme.contains(&format!("| [`{kind}`]"))),
            (
                "two tables of docs/delivery.md",
                delivery.matches(&format!("\n| {kind} |")).count() > 1,
            ),
            ("config/providers.toml", example.contains(&in_example)),
            ("config/sandbox/providers.toml", sandbox.contains(&in_example)),
        ] {
            if !is_there {
                wrong.push(format!("{kind} is not in {place}"));
            }
        }
    }
    assert_none("a kind that is not told of", wrong);
}
