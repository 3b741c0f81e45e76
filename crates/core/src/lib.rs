//! The domain of the invite gateway: what an invite is, what a provider can do, and what an error must say for the
//! engine to decide.
//!
//! Adapters know this crate and no other one of ours. Nothing here does SQL or axum, or retries.
#![warn(missing_docs)]

pub mod action;
pub mod adapter;
pub mod address;
pub mod attempt;
pub mod call;
#[cfg(any(test, feature = "canned"))]
pub mod canned;
pub mod clock;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod faults;
pub mod http;
pub mod id;
pub mod invite;
pub mod limits;
pub mod moment;
mod nearest;
pub mod pattern;
pub mod provider;
pub mod random;
pub mod reason;
pub mod refusal;
pub mod schema;
pub mod secret;
pub mod text;

pub use action::{ActionKind, ActionState};
pub use address::Address;
pub use attempt::{AttemptOutcome, Operation};
pub use call::{
    Account, Destination, Doubt, ListQuery, Lookup, Observed, Page, Place, PreparedCall,
    ProbeReport, Recipient, Remote, Resolved, Sighting,
};
pub use clock::{Clock, ManualClock, SteadyClock, Stopwatch, SystemClock, WrongClock};
pub use error::{Cause, Fault, ItemFault, Outcome, ProviderError};
pub use event::{EventId, EventType};
pub use faults::{Faults, MAX_FAULTS};
pub use id::{ActionId, AttemptId, AuditId, BatchId, InviteId, KeyId, ReplicaId, WebhookId};
pub use invite::{Invitee, NewInvite, RouteTaken, Status, StatusSource};
pub use limits::{Limits, Retry};
pub use provider::{
    Build, BuildContext, Capabilities, CreateCapability, Excerpt, InviteProvider, ProviderKind,
    ReadBack, Reconciliation, SentWith,
};
pub use reason::{Origin, Reason, ReasonCode};
