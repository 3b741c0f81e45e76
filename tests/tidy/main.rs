//! The rules of the house that a program can check, each a test named after the rule. They read
//! the files of the repository and run nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

mod adapters;
mod circles;
mod documents;
mod manifests;
mod sources;
mod tree;

/// Fails with one line for each place that breaks the rule.
#[track_caller]
fn assert_none(rule: &str, places: Vec<String>) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}
