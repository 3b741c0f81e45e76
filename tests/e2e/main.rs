//! The whole gateway, as a process with simulated providers behind it, through its HTTP API and
//! its command line. One file for each thing that a caller deals with.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod access;
mod accounts;
mod actions;
mod admin_configuration;
mod admin_keys;
mod admin_record;
mod admin_revisions;
mod asking;
mod batches;
mod bounds;
mod changing;
mod clocks;
mod command_line;
mod connections;
mod creating;
mod delivery;
mod duplicates;
mod durability;
mod edits;
mod erasing;
mod events;
mod examples;
mod following;
mod fourth_kind;
mod idempotency;
mod live_document;
mod load;
mod logging;
mod operating;
mod pooler;
mod postcard;
mod providers;
mod reading;
mod reading_back;
mod receiver;
mod refusing;
mod released;
mod replicas;
mod restarts;
mod retaining;
mod rotation;
mod rust_client;
mod service;
mod silence;
mod stats;
mod tls;
mod unreadable;
mod waiting;
mod webhook_rounds;
mod webhooks;

/// Runs tests that take a [`invite_tests::Database`] once on each.
macro_rules! on_both_databases {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(invite_tests::Database::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(invite_tests::Database::Postgres).await;
            })*
        }
    };
}
pub(crate) use on_both_databases;

/// A text member of an Invite or a batch.
fn text<'a>(value: &'a serde_json::Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// One text member of each.
fn texts<'a>(values: &'a [serde_json::Value], member: &str) -> Vec<&'a str> {
    values.iter().map(|value| text(value, member)).collect()
}
