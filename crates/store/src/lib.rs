//! All SQL of the gateway, for SQLite and PostgreSQL from one text.
//!
//! What is stored and how it is written together lives here. What a change means does not: the
//! delivery engine decides it in pure functions that run inside the store's transactions.

mod accept;
mod attempts;
mod change;
mod db;
mod dialect;
mod idempotency;
mod keys;
mod lanes;
mod query;
mod queue;
mod revisions;
mod rows;
mod statement;
mod writer;

pub use accept::{Acceptance, NewBatch, NewItem, OnDuplicate, Placement};
pub use attempts::{AttemptEnd, AttemptView, NewAttempt};
pub use change::{Change, Changed, Decide, Decision};
pub use db::{Error, Lock, Store};
pub use idempotency::IdempotencyKey;
pub use keys::ApiKey;
pub use query::{BatchCounts, BatchView, InviteFilter, InvitePage};
pub use revisions::Revision;
pub use rows::{InviteRecord, InviteState};
