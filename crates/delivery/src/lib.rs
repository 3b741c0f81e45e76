//! How an invite reaches its provider once: lanes, attempts and recovery.
//!
//! This is the only place that retries. What a change of state means is decided in
//! [`transition`], in pure functions that run inside the store's transactions; everything else
//! here decides when to make which call. No HTTP and no SQL.
//!
//! Its files stand on each other, from the top: `engine` starts the tasks; `operations` is what persons
//! ask; `tasks` goes on by itself; `ask`, `lookups`, `attempt` and `accounts` are what both need of a provider; `door`
//! is the way to one, `record` what is stored of it; `waiting`, `lease`, `report` and `obstacle` say who may go when; `shared`
//! is what all hold; `revise` is the provider document; `lane`, `call`, `judge`, `transition` and `reason` are data and pure functions.

mod accounts;
mod ask;
mod attempt;
mod call;
mod door;
mod engine;
mod error;
mod judge;
mod lane;
mod lease;
mod lookups;
mod obstacle;
mod operations;
mod reason;
mod record;
mod report;
mod revise;
mod shared;
mod tasks;
pub mod transition;
mod waiters;
mod waiting;

pub use error::{AcceptError, OperationError};
pub use lane::{DestinationStatus, LaneState, LastError, LastProbe, ProbeResult, ProviderStatus};
pub use operations::{Erasure, Left, PlannedCall, Redriven};
pub use revise::{
    ConfigurationStatus, FileStatus, LiveDocument, Origin, Refusal, Review, ReviseError, Revised,
    Taken,
};
pub use shared::{Engine, Retention, Settings};
