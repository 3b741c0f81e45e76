//! How an invite reaches its provider once: lanes, attempts and recovery.
//!
//! This is the only place that retries. What a change of state means is decided in
//! [`transition`], in pure functions that run inside the store's transactions; everything else
//! here decides when to make which call. No HTTP and no SQL.
//!
//! Its files stand on each other in the layers that docs/architecture.md lists.
#![warn(missing_docs)]

mod accounts;
mod actions;
mod ask;
mod attempt;
mod call;
mod commit;
mod door;
mod engine;
mod error;
mod judge;
mod lane;
mod lease;
mod lookups;
mod measured;
mod obstacle;
mod operations;
mod reason;
mod report;
mod revise;
mod shared;
mod tasks;
pub mod transition;
mod waiters;
mod waiting;
mod webhooks;

pub use actions::ActionRules;
pub use error::{AcceptError, OperationError};
pub use lane::{
    Counters, DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus,
};
pub use measured::describe_metrics;
pub use operations::{Erasure, Left, LeftReason, PlannedCall, Redriven, Withdrawn};
pub use revise::{
    ConfigurationStatus, FileStatus, LiveDocument, Origin, Refusal, Review, ReviseError, Revised,
    Taken,
};
pub use shared::{Engine, Retention, Settings};
pub use waiters::Waiting;
pub use webhooks::Render;
