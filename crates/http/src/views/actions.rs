//! What the API shows of actions.

use std::collections::BTreeMap;

use invite_core::{ActionId, ActionKind, ActionState, BatchId, ReasonCode, Status};
use invite_store::{Action, ActionFilter, Progress};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// To how many invites something would be done.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CountedAction {
    /// What would be done.
    pub action: ActionKind,
    /// How many invites the filter matches.
    pub matched: u64,
    /// When they were counted, to be given with `settle`; null for other actions.
    pub as_of: Option<Timestamp>,
}

/// Something that is done to all invites that a filter matches.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Action")]
pub(crate) struct ActionView {
    id: ActionId,
    /// What is done to each.
    action: ActionKind,
    /// What a person found of the unknown ones, with `settle`.
    status: Option<Status>,
    /// Left alone are invites that came into doubt later, with `settle`.
    as_of: Option<Timestamp>,
    /// To which.
    filter: ActionFilterView,
    /// How far it has come.
    state: ActionState,
    /// How many invites the filter matched at first.
    matched: u64,
    /// To how many it was done.
    succeeded: u64,
    /// To how many it could not be done: how many for which problem code. The others of those that matched it has not come to,
    /// or they came into another status before.
    failed: BTreeMap<String, u64>,
    /// The problem code for which the action has to wait; null if it does not.
    held_up_by: Option<String>,
    /// Why it was ended before it had come to all.
    cancelled_because: Option<String>,
    created_at: Timestamp,
    /// When it was completed or cancelled.
    ended_at: Option<Timestamp>,
}

/// Which invites an action is for; members that are null or empty leave out none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActionFilter")]
struct ActionFilterView {
    /// Those of one tenant.
    tenant: Option<String>,
    /// Those of one request.
    batch_id: Option<BatchId>,
    /// Those at one of these providers.
    providers: Vec<String>,
    /// Those in one of these statuses.
    status: Vec<Status>,
    /// Those whose `error` has one of these codes.
    error_code: Vec<ReasonCode>,
    /// Those with all of these labels. Once it has ended only their names are kept, and the values are empty.
    label: BTreeMap<String, String>,
    /// Accepted after this moment.
    created_after: Option<Timestamp>,
    /// Accepted before this moment.
    created_before: Option<Timestamp>,
    /// Changed after this moment.
    updated_after: Option<Timestamp>,
}

impl From<Action> for ActionView {
    fn from(action: Action) -> Self {
        let Progress { succeeded, failed, held_up_by, .. } = action.progress;
        let ActionFilter { tenant, batch_id, providers, statuses, error_codes, labels, .. } =
            action.filter;
        Self {
            id: action.id,
            action: action.kind,
            status: action.settled_as,
            as_of: action.filter.in_doubt_before,
            filter: ActionFilterView {
                tenant,
                batch_id,
                providers,
                status: statuses,
                error_code: error_codes,
                label: labels.into_iter().collect(),
                created_after: action.filter.created_after,
                created_before: action.filter.created_before,
                updated_after: action.filter.updated_after,
            },
            state: action.state,
            matched: action.matched,
            succeeded,
            failed,
            held_up_by,
            cancelled_because: action.cancelled_because,
            created_at: action.created_at,
            ended_at: action.ended_at,
        }
    }
}
