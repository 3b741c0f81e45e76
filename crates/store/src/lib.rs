//! All SQL of the gateway, for SQLite and PostgreSQL from one text.
//!
//! What is stored and how it is written together lives here. What a change means does not: the
//! delivery engine decides it in pure functions that run inside the store's transactions.

mod accept;
mod change;
mod db;
mod keys;
mod lanes;
mod query;
mod queue;
mod revisions;
mod rows;
mod statement;
mod writer;

pub use accept::{Acceptance, IdempotencyKey, NewBatch, NewItem, OnDuplicate, Placement};
pub use change::{AttemptEnd, Change, Changed, Decide, Decision, NewAttempt};
pub use db::{Error, Lock, Store};
pub use keys::ApiKey;
pub use query::{AttemptView, BatchCounts, BatchView, InviteFilter, InvitePage};
pub use revisions::Revision;
pub use rows::{InviteRecord, InviteState};
