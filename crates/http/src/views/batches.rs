//! What the API shows of batches.

use std::collections::BTreeMap;

use invite_core::{BatchId, Status};
use invite_store::{BatchCounts, UnreadableInvite};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InviteView, shown::ShownInvite};
use crate::problem::FaultView;

/// How far a request's invites have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BatchState {
    /// Some are not settled yet.
    InProgress,
    /// All are settled.
    Completed,
    /// All are settled, and some failed.
    CompletedWithFailures,
}

impl BatchState {
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        statuses.into_iter().fold(Self::Completed, |state, status| match (state, status) {
            (Self::InProgress, _) => Self::InProgress,
            (_, status) if !status.is_settled() => Self::InProgress,
            (_, Status::Failed) => Self::CompletedWithFailures,
            (state, _) => state,
        })
    }
}

/// What one request to create invites became.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Batch")]
pub(crate) struct BatchView {
    /// Prefixed and ordered by time.
    pub id: BatchId,
    /// How far it has come.
    pub state: BatchState,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The revision of the provider document that it was accepted under.
    pub config_revision: i64,
    /// How many Invites are in it, in which statuses.
    pub counts: CountsView,
}

/// Invites of a batch, counted. Beside the members named here there is one for each status that some are
/// in; together with `unreadable` these are the total.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Counts")]
pub(crate) struct CountsView {
    /// All of them.
    total: u64,
    /// Those that existed before.
    duplicates: u64,
    /// Those that cannot be read, which are in no status; left out if there is none.
    #[serde(skip_serializing_if = "is_none")]
    unreadable: u64,
    // What is flattened in has no place for a description in the schema, so the type's says it.
    #[serde(flatten)]
    by_status: BTreeMap<Status, u64>,
}

impl CountsView {
    pub fn new(counts: BatchCounts, duplicates: usize) -> Self {
        let BatchCounts { by_status, unreadable } = counts;
        let total = by_status.values().sum::<u64>() + unreadable;
        Self { total, duplicates: duplicates as u64, unreadable, by_status }
    }

    pub fn total(&self) -> u64 {
        self.total
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// What became of the Invites of a batch that was to be withdrawn; in a dry run what would. All counts together are the
/// `total`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BatchWithdrawal {
    /// The batch.
    pub batch_id: BatchId,
    /// Nothing was changed.
    #[serde(rename = "dry_run")]
    pub is_dry_run: bool,
    /// The Invites that were stored with the batch. Those of other requests that answer its items are left alone.
    pub total: u64,
    /// Were queued, and are not sent.
    pub withdrawn_here: u64,
    /// Existed at their providers, which withdrew them.
    pub withdrawn_at_provider: u64,
    /// Had ended before, withdrawn or otherwise.
    pub ended: u64,
    /// Were not withdrawn: how many for which problem code.
    pub not_withdrawn: BTreeMap<&'static str, u64>,
    /// No time was left for them, or their provider is to be left alone for a while: ask again.
    pub remaining: u64,
    /// Invites that were not withdrawn, and why; the first hundred, and none at providers that the key may not use.
    pub failures: Vec<NotWithdrawn>,
}

/// An Invite that was not withdrawn.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NotWithdrawn {
    /// The Invite.
    pub invite_id: String,
    /// The code of the problem that withdrawing it alone would be answered with.
    pub code: &'static str,
    /// What that means for this one.
    pub detail: String,
}

/// Batches.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BatchList {
    /// Newest first. There may be fewer than asked for, or none, although there are more pages: a page
    /// ends once a thousand of them, or fifty thousand Invites, have been looked at.
    pub batches: Vec<BatchView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

/// Invites of one request.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BatchInvites {
    /// In the order of the request; several per item that went to several providers. Those that existed before come behind
    /// the others of their item, with `duplicate` true.
    pub invites: Vec<InviteView>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableInvite>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

/// The answer to a request to create invites.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Accepted {
    /// The batch that the request became.
    pub batch: BatchView,
    /// In the order of the request; several per item that went to several providers.
    pub invites: Vec<ShownInvite>,
    /// What of the items is stored and not sent, because their provider's kind has no place for it. Each new Invite has its
    /// own in `warnings`, too.
    pub warnings: Vec<FaultView>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableInvite>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_in_progress_until_all_are_settled_and_remembers_failures() {
        use Status::{Failed, Pending, Queued, Unknown};
        assert_eq!(BatchState::of([Pending, Queued]), BatchState::InProgress);
        assert_eq!(BatchState::of([Unknown, Failed]), BatchState::InProgress);
        assert_eq!(BatchState::of([Failed, Pending]), BatchState::CompletedWithFailures);
        assert_eq!(BatchState::of([Pending]), BatchState::Completed);
    }

    #[test]
    fn counts_show_only_statuses_that_occur() {
        let counts = |unreadable| {
            let by_status = BTreeMap::from([(Status::Pending, 2)]);
            let counts = CountsView::new(BatchCounts { by_status, unreadable }, 1);
            serde_json::to_value(counts).unwrap()
        };
        let json = serde_json::json!({ "total": 2, "duplicates": 1, "pending": 2 });
        assert_eq!(counts(0), json);
        let json =
            serde_json::json!({ "total": 3, "duplicates": 1, "unreadable": 1, "pending": 2 });
        assert_eq!(counts(1), json);
    }
}
