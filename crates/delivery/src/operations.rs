//! What persons and services ask: each file one matter, as methods of the engine.

mod accept;
mod backlog;
mod by_hand;
mod change;
mod document;
mod erase;
mod inspect;
mod plan;
mod redrive;
mod waits;
mod withdraw;

pub(crate) use change::Withdrawal;
pub use erase::{Erasure, Left, LeftReason};
pub use plan::PlannedCall;
pub use redrive::Redriven;
pub use withdraw::Withdrawn;
