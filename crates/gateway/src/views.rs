//! What the API shows: the Invite and the other JSON documents, and their schemas.

pub(crate) mod audit;
pub(crate) mod batches;
pub(crate) mod configuration;
pub(crate) mod keys;
pub(crate) mod providers;
pub(crate) mod schemas;
pub(crate) mod shown;
pub(crate) mod unreadable;

use std::collections::BTreeMap;

use invite_core::{
    AttemptId, AttemptOutcome, BatchId, InviteId, Operation, Reason, Status, StatusSource,
};
use invite_store::InviteRecord;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, OneOfBuilder, Ref, Schema, Type},
};

use crate::{Gateway, auth::Caller, problem::ProblemView, words::words};

use shown::without_codes;
use unreadable::{UnreadableInviteView, UnreadableView};

/// The statuses of an Invite.
pub(crate) fn status_schema() -> Object {
    words("Where it stands.", Status::ALL.iter().map(|status| status.as_str()))
}

/// How a status is known.
pub(crate) fn source_schema() -> Object {
    words("How the status is known.", StatusSource::ALL.iter().map(|source| source.as_str()))
}

/// Why an invite failed, if it did.
pub(crate) fn reason_schema() -> Schema {
    OneOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .into()
}

fn attempt_outcome_schema() -> Schema {
    let all = AttemptOutcome::ALL.iter().map(|word| word.as_str());
    OneOfBuilder::new()
        .item(words("What came of it; null while it is under way.", all))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .into()
}

/// One person's invite at one provider.
#[derive(Serialize, ToSchema)]
#[schema(as = Invite)]
pub(crate) struct InviteView {
    /// Prefixed and ordered by time.
    #[schema(value_type = String, example = "inv_0199c0de0000700080000000000000aa")]
    id: InviteId,
    /// The request that it came with.
    #[schema(value_type = String, example = "bat_0199c0de0000700080000000000000aa")]
    batch_id: BatchId,
    /// Its item's place in that request.
    index: usize,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// The caller's own id for it.
    external_id: Option<String>,
    /// The caller's labels.
    labels: BTreeMap<String, String>,
    /// The address as given; null once the person is erased.
    email: Option<String>,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// Phone number.
    phone: Option<String>,
    /// The text for the mail.
    message: Option<String>,
    /// The configured provider; null for an item that was refused as invalid.
    provider: Option<String>,
    /// The provider's kind.
    provider_kind: Option<String>,
    /// Where it stands.
    #[schema(schema_with = status_schema)]
    status: Status,
    /// How that is known.
    #[schema(schema_with = source_schema)]
    status_source: StatusSource,
    /// When the provider was last asked.
    checked_at: Option<Timestamp>,
    /// The provider's own id for it.
    provider_ref: Option<String>,
    /// The provider's own word for its status.
    provider_status: Option<String>,
    /// What callers need of the provider's replies, in the provider's own names. Codes that let in
    /// whoever holds them are in it only for keys with the scope invites:codes.
    #[schema(value_type = Object)]
    provider_data: Map<String, Value>,
    /// When the provider says it lapses.
    expires_at: Option<Timestamp>,
    /// Calls made for it.
    attempt_count: u32,
    /// When the next is due; not before its provider's `state_until`.
    next_attempt_at: Option<Timestamp>,
    /// Why it failed, or why its effect is not known. Of a queued one, read alone: what it waits for
    /// that neither `next_attempt_at` nor its provider's `state_reason` shows.
    #[schema(schema_with = reason_schema)]
    error: Option<ProblemView>,
    /// `on_duplicate` answered with this existing Invite.
    duplicate: bool,
    /// A second effect at the provider was found: `second_effects` holds its id, and
    /// `GET /v1/providers/{name}/invites?email=` lists all that the provider shows for the address.
    duplicate_effect: bool,
    /// The provider ids of second effects.
    second_effects: Vec<String>,
    /// The person's data is gone from it, by retention or because it was asked for: what told of them is
    /// null or empty, and nothing changes about it any more.
    erased: bool,
    /// When it was accepted.
    created_at: Timestamp,
    /// When any of this last changed.
    updated_at: Timestamp,
    /// When it was sent.
    sent_at: Option<Timestamp>,
}

impl InviteView {
    /// The invite as it reads now, for a caller who may read it.
    pub fn new(record: InviteRecord, gateway: &Gateway, caller: &Caller) -> Self {
        let (status, status_source) = record.status_at(gateway.clock().now());
        let next_attempt_at = gateway.engine().next_attempt_at(&record);
        let InviteRecord { invitee, state, .. } = record;
        let provider_data =
            without_codes(state.provider_data, record.kind.as_deref(), gateway, caller);
        Self {
            id: record.id,
            batch_id: record.batch_id,
            index: record.index,
            tenant: caller.sees_all_tenants().then_some(record.tenant),
            external_id: record.external_id,
            labels: record.labels,
            email: Some(invitee.email).filter(|_| !record.is_erased),
            first_name: invitee.first_name,
            last_name: invitee.last_name,
            phone: invitee.phone,
            message: invitee.message,
            provider: record.provider,
            provider_kind: record.kind,
            status,
            status_source,
            checked_at: state.checked_at,
            provider_ref: state.provider_ref,
            provider_status: state.provider_status,
            provider_data,
            expires_at: state.expires_at,
            attempt_count: state.attempt_count,
            next_attempt_at: next_attempt_at.filter(|_| !status.is_final()),
            error: state.error.map(ProblemView::from),
            duplicate: false,
            duplicate_effect: state.duplicate_effect,
            second_effects: state.second_effects,
            erased: record.is_erased,
            created_at: record.created_at,
            updated_at: state.updated_at,
            sent_at: state.sent_at,
        }
    }

    /// The same invite with what it waits for, if there is such a thing.
    pub fn waiting_for(self, reason: Option<Reason>) -> Self {
        Self { error: self.error.or(reason.map(ProblemView::from)), ..self }
    }

    /// The same invite as the answer to item `index` of another request.
    pub fn into_duplicate(self, index: usize) -> Self {
        Self { index, duplicate: true, ..self }
    }
}

/// Invites.
#[derive(Serialize, ToSchema)]
pub(crate) struct InviteList {
    /// Newest first.
    pub invites: Vec<InviteView>,
    /// Those that cannot be read, newest first; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableInviteView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}

/// What would be sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plan {
    /// The calls that would be made.
    #[schema(value_type = Vec<PlannedCallView>)]
    pub plan: Vec<invite_delivery::PlannedCall>,
    /// What would not be sent: the person has a live invite there, or an earlier item is the same.
    /// None where `on_duplicate` is `send`.
    pub duplicates: Vec<DuplicateView>,
    /// What is wrong with items that `handling=lenient` would report as failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<crate::problem::FaultView>>, nullable = false)]
    pub errors: Vec<crate::problem::FaultView>,
}

/// An item that would be a duplicate at a provider.
#[derive(Serialize, ToSchema)]
#[schema(as = PlannedDuplicate)]
pub(crate) struct DuplicateView {
    /// The request's item.
    pub index: usize,
    /// The configured provider.
    pub provider: String,
    /// The person's live invite there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    pub invite_id: Option<InviteId>,
    /// The earlier item of this request that is to the same person there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub earlier_index: Option<usize>,
}

/// A call that would be made; it holds no credential.
#[derive(ToSchema)]
#[schema(as = PlannedCall)]
#[expect(dead_code, reason = "describes invite_delivery::PlannedCall, which knows no OpenAPI")]
pub(crate) struct PlannedCallView {
    /// The configured provider.
    provider: String,
    /// Its kind.
    kind: String,
    /// The HTTP method.
    method: String,
    /// The full address.
    url: String,
    /// The body, in the provider's own form.
    #[schema(value_type = Value)]
    body: Value,
    /// The request's items that it carries.
    indices: Vec<usize>,
}

/// One call made for an invite.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptView {
    /// Prefixed and ordered by time.
    #[schema(value_type = String)]
    pub id: AttemptId,
    /// The configured provider.
    pub provider: String,
    /// `create`, `get`, `list`, `update_status`, `revoke` or `reconcile`.
    #[schema(value_type = String)]
    pub operation: Operation,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took; null while it is under way.
    pub duration_ms: Option<i64>,
    /// What came of it; null while it is under way.
    #[schema(schema_with = attempt_outcome_schema)]
    pub outcome: Option<AttemptOutcome>,
    /// The HTTP status of the provider's answer.
    pub http_status: Option<u16>,
    /// The revision of the provider document that it was made under.
    pub config_revision: i64,
    /// What went wrong, or what a look-up (`reconcile`) showed of the call's invites; in one line.
    pub detail: Option<String>,
    /// The `traceparent` of the request that it was made for.
    pub traceparent: Option<String>,
    /// This invite's part of the request, without secrets; with the scope invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub request: Option<Value>,
    /// This invite's part of the reply, without secrets; with the scope invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub reply: Option<Value>,
}

/// Calls made for an invite.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptList {
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableView>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}
