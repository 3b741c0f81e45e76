//! Turns what was asked of an invite or a provider, and could not be done, into a problem.

use invite_core::Status;
use invite_delivery::OperationError;

use super::{Problem, codes};

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let detail = error.to_string();
        let code = match error {
            OperationError::NotFound => &codes::NOT_FOUND,
            OperationError::AlreadyFinal { .. } | OperationError::Erased => &codes::ALREADY_FINAL,
            OperationError::NotSettled { status } => {
                let detail = format!("the invite is {status}; {}", what_settles(status));
                return Self::new(&codes::NOT_SETTLED, detail);
            }
            OperationError::NotRetryable { .. }
            | OperationError::Risky
            | OperationError::NeverBound => &codes::NOT_RETRYABLE,
            OperationError::Unsupported { .. } => &codes::UNSUPPORTED_OPERATION,
            OperationError::PairingUnproven => &codes::PAIRING_UNPROVEN,
            OperationError::Duplicate { .. } => &codes::DUPLICATE,
            OperationError::ProviderGone { .. } => &codes::PROVIDER_GONE,
            OperationError::Busy { .. } => &codes::BACKLOG_FULL,
            // The request has no body that a fault could point into.
            OperationError::NoRoom(error) => return Self::from(error).with_errors(Vec::new()),
            OperationError::Provider { provider, error } => {
                return if error.cause == invite_core::Cause::Unsupported {
                    Self::new(&codes::UNSUPPORTED_OPERATION, detail)
                } else {
                    Self::of_provider(&provider, &error)
                };
            }
            OperationError::Unanswered { provider, error } => {
                return Self::of_question(&provider, &error);
            }
            OperationError::LanePaused { wait, .. } => {
                return Self::new(&codes::LANE_PAUSED, detail).with_retry_after(wait);
            }
            OperationError::Store(error) => return error.into(),
        };
        Self::new(code, detail)
    }
}

/// What a caller can do about an invite that is not settled.
fn what_settles(status: Status) -> &'static str {
    match status {
        Status::Unknown => {
            "wait until the gateway knows more, PATCH it to `pending` (found at the provider) or \
             `failed` (found absent), or POST …/retry with {\"accept_duplicate_risk\": true}"
        }
        Status::AwaitingApproval => {
            "somebody has to approve or refuse it at the provider first (see provider_data)"
        }
        Status::Queued => "it is sent by itself; DELETE withdraws it before that",
        Status::Sending => "try again when it is settled",
        _ => "it changed at the same moment; read it and try again",
    }
}
