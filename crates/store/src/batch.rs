//! What one request asks for, and what became of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use invite_core::{
    Address, BatchId, Destination, InviteId, Invitee, KeyId, Reason, RouteTaken, Status,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{ApiKey, BatchView, InviteRecord, debug::debug_only};

/// What one request asks for.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub id: BatchId,
    pub tenant: String,
    /// The revision of the provider document that it was resolved with.
    pub config_revision: i64,
    /// The W3C trace that the request belongs to.
    pub traceparent: Option<String>,
    pub idempotency: Option<IdempotencyKey>,
    /// The limits of the API key that it came with, and of the keys that this one descends from.
    pub day_limits: Vec<DayLimit>,
    pub on_duplicate: OnDuplicate,
    /// Its invites, in the order of the request.
    pub items: Vec<NewItem>,
}

/// One invite at one provider.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone)]
pub struct NewItem {
    pub id: InviteId,
    /// Its item's place in the request.
    pub index: usize,
    pub invitee: Invitee,
    /// The canonical address; none if there is no valid one.
    pub address: Option<Address>,
    /// The caller's own id for it.
    pub external_id: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub placement: Placement,
}

debug_only!(NewItem: id, index);

/// Where a new invite goes.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone)]
pub enum Placement {
    /// To a provider.
    Bound {
        provider: String,
        kind: String,
        destination: Destination,
        /// Invites of equal destination and call key may share a call.
        call_key: String,
        /// What the adapter recorded.
        params: Json,
        /// None where the request names the provider itself.
        route: Option<RouteTaken>,
    },
    /// Nowhere: it is stored as failed.
    Refused { error: Reason },
}

impl fmt::Debug for Placement {
    /// Without parameters and errors, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound { provider, .. } => write!(f, "Bound({provider})"),
            Self::Refused { .. } => f.write_str("Refused"),
        }
    }
}

/// What becomes of an invite to a person who has a live one of the same tenant at the same
/// destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The existing one is answered with; nothing new is stored.
    #[default]
    ReturnExisting,
    /// It is stored as failed.
    Reject,
    /// It is sent all the same.
    Send,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Acceptance {
    /// It is stored.
    Accepted(Accepted),
    /// The same request was accepted before, as this batch.
    Replayed(BatchId),
    /// The key belongs to another request.
    KeyReused,
}

/// A request as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The batch that it is stored as.
    pub batch: BatchView,
    /// The invites that are stored with it, in the order of the request.
    pub invites: Vec<InviteRecord>,
}

impl Accepted {
    /// Those of its invites that are queued, with their providers: without refused ones.
    pub fn queued(&self) -> impl Iterator<Item = (&str, &InviteRecord)> {
        let queued = self.invites.iter().filter(|it| it.state.status() == Status::Queued);
        queued.filter_map(|invite| Some((invite.provider.as_deref()?, invite)))
    }
}

/// Why nothing of a request is stored.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// A provider would have more live invites than its quota allows.
    Quota {
        provider: String,
        /// How many more it takes.
        room: u64,
    },
    /// More would be accepted of the caller's key today than may be.
    Day {
        /// How many more may be.
        room: u64,
    },
}

/// A caller's name for a request.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    /// What the request asked for, hashed.
    pub body_hash: String,
    /// How long it is kept after acceptance; longer while an invite of its batch is unsettled.
    pub retention: Duration,
}

/// The limit of a key that has one.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayLimit {
    pub key: KeyId,
    /// Invites that are accepted of it in a day, from midnight to midnight UTC.
    pub invites: u64,
}

impl DayLimit {
    /// Those of a key and its ancestors.
    pub fn of<'a>(lineage: impl IntoIterator<Item = &'a ApiKey>) -> Vec<Self> {
        let limit = |key: &ApiKey| Some(Self { key: key.id, invites: key.limits.invites_per_day? });
        lineage.into_iter().filter_map(limit).collect()
    }
}
