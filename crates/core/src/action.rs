//! What can be done to many invites at once.

use crate::{Status, invite::words};

words!(
    /// What is done to each invite of an action.
    ActionKind {
        /// It is withdrawn.
        Withdraw = "withdraw",
        /// Its provider is asked about it.
        Refresh = "refresh",
        /// What a person found out about an unknown one is recorded.
        Settle = "settle",
        /// A failed one goes back into the queue.
        Retry = "retry",
    }
);

words!(
    /// How far an action has come.
    ActionState {
        /// There are invites that it has not come to.
        Running = "running",
        /// It has come to all of them.
        Completed = "completed",
        /// It was ended before.
        Cancelled = "cancelled",
    }
);

impl ActionKind {
    /// The statuses of invites that it can be done to.
    pub const fn statuses(self) -> &'static [Status] {
        match self {
            Self::Withdraw => &[Status::Queued, Status::Pending, Status::Sent],
            Self::Refresh => {
                &[Status::Unknown, Status::AwaitingApproval, Status::Pending, Status::Sent]
            }
            Self::Settle => &[Status::Unknown],
            Self::Retry => &[Status::Failed],
        }
    }
}
