//! How an invite reaches its provider once: lanes, attempts and recovery.
//!
//! This is the only place that retries. What a change of state means is decided in
//! [`transition`], in pure functions that run inside the store's transactions; everything else
//! here decides when to make which call. No HTTP and no SQL.

mod accounts;
mod attempt;
mod backlog;
mod door;
mod engine;
mod erase;
mod fault;
mod follow;
mod inspection;
mod judge;
mod lane;
mod operation;
mod plan;
mod reconcile;
mod record;
mod recovery;
mod redrive;
mod refresh;
mod replica;
mod retention;
mod revise;
pub mod transition;
mod waiters;
mod waiting;

pub use engine::{AcceptError, Engine, Settings};
pub use erase::{Erasure, Left};
pub use fault::{already_held, duplicate, refused};
pub use lane::{DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus};
pub use operation::OperationError;
pub use plan::PlannedCall;
pub use redrive::Redriven;
pub use retention::Retention;
pub use revise::{
    ConfigurationStatus, FileStatus, LiveDocument, Origin, Refusal, Review, ReviseError, Revised,
    Taken,
};
