//! Which invites an action is for.

use invite_core::{BatchId, ReasonCode, Status};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::InviteFilter;

/// Which invites; every given member must hold. There is none that says who a person is, as it is kept with the action.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionFilter {
    /// `None`: of all tenants.
    pub tenant: Option<String>,
    pub batch_id: Option<BatchId>,
    /// If not empty: at one of these.
    pub providers: Vec<String>,
    pub statuses: Vec<Status>,
    /// If not empty: whose error has one of these codes.
    pub error_codes: Vec<ReasonCode>,
    pub labels: Vec<(String, String)>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub updated_after: Option<Timestamp>,
    /// Those that have been in doubt since before this, so that what a person found then is of the call that is in doubt.
    pub in_doubt_before: Option<Timestamp>,
}

impl From<ActionFilter> for InviteFilter {
    fn from(filter: ActionFilter) -> Self {
        let ActionFilter { tenant, batch_id, providers, statuses, error_codes, labels, .. } =
            filter;
        Self {
            tenant,
            batch_id,
            providers,
            statuses,
            error_codes,
            labels,
            created_after: filter.created_after,
            created_before: filter.created_before,
            updated_after: filter.updated_after,
            in_doubt_before: filter.in_doubt_before,
            ..Self::default()
        }
    }
}
