//! All SQL of the gateway, for SQLite and PostgreSQL from one text.
//!
//! What a change means is not decided here: the delivery engine does so, in pure functions that run inside the store's
//! transactions.
#![warn(missing_docs)]

mod accept;
mod accounts;
mod actions;
mod actor;
mod admission;
mod advisory;
mod attempts;
mod audit;
mod batch;
mod batches;
mod chain;
mod change;
mod changed;
mod clash;
mod clean;
mod clock;
mod completing;
mod connection;
mod connections;
mod counting;
mod counts;
mod database;
mod db;
mod deadline;
mod debug;
mod dialect;
mod epochs;
mod erase;
mod error;
mod events;
mod feed;
mod feed_reader;
mod feed_watch;
mod file;
mod idempotency;
mod insert;
mod key_days;
mod keyed;
mod keys;
mod lanes;
mod news;
mod phase;
mod postgres;
mod query;
mod queue;
mod queues;
mod readiness;
mod ready;
mod refused_file;
mod replicas;
mod requeue;
mod resending;
mod retention;
mod revisions;
mod rows;
mod sessions;
mod sqlite;
mod state;
mod statement;
mod together;
mod unreadable;
mod values;
mod webhook_deliveries;
mod webhooks;
mod writer;

pub use actions::{Action, ActionFilter, Progress};
pub use actor::{Actor, NewAudit};
pub use admission::Quotas;
pub use attempts::{AttemptEnd, AttemptPage, AttemptView, NewAttempt};
pub use audit::{AuditEntry, AuditPage};
pub use batch::{
    Acceptance, Accepted, DayLimit, IdempotencyKey, NewBatch, NewItem, NoRoom, OnDuplicate,
    Placement,
};
pub use batches::{BatchCounts, BatchPage, BatchView};
pub use chain::{AuditCheck, AuditFault, AuditHead};
pub use change::{Change, Changed, Decide, Decision};
pub use changed::{ChangedInvites, ChangesFrom};
pub use counting::{Count, CountFilter, Interval, Settled};
pub use counts::LiveCounts;
pub use db::Store;
pub use erase::{Erased, KeptCalls};
pub use error::Error;
pub use feed::{Event, EventFilter, EventPage, RemovedUpTo, Told};
pub use feed_watch::FeedWatch;
pub use file::Lock;
pub use keys::{ApiKey, KeyChanged, KeyFamily, KeyLimits};
pub use lanes::LaneHolder;
pub use news::{Listener, News};
pub use phase::{Phase, Unknown};
pub use query::{InviteFilter, InvitePage};
pub use queues::{Head, MAX_SCANNED, Queue, QueueScan};
pub use replicas::Replica;
pub use requeue::Requeued;
pub use retention::{Cursor, Stage, Step};
pub use revisions::{Added, NewRevision, Revision, RevisionPage};
pub use rows::{InviteFacts, InviteRecord};
pub use state::InviteState;
pub use unreadable::{Ended, Row, Unreadable, UnreadableInvite};
pub use webhook_deliveries::{Delivered, Due, WebhookAttempt};
pub use webhooks::{SigningSecret, Webhook};
