//! What the API shows: the Invite and the other JSON documents, and their schemas.

pub(crate) mod actions;
pub(crate) mod batches;
pub(crate) mod configuration;
pub(crate) mod events;
pub(crate) mod providers;
pub(crate) mod shown;
pub(crate) mod stats;
pub(crate) mod webhooks;

use std::{collections::BTreeMap, sync::Arc};

use invite_core::{
    AttemptId, AttemptOutcome, BatchId, InviteId, Operation, Reason, RouteTaken, SentWith,
};
use invite_store::{InviteRecord, Unreadable, UnreadableInvite};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Gateway,
    auth::Caller,
    problem::{FaultView, ProblemView},
    submission::{Labels, Options},
    warnings,
};

use shown::{InviteOutline, without_codes};

/// One person's invite at one provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invite")]
pub(crate) struct InviteView {
    #[serde(flatten)]
    outline: InviteOutline,
    /// The request that it came with.
    batch_id: BatchId,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The caller's own id for it.
    external_id: Option<String>,
    /// The caller's labels.
    #[schemars(with = "Labels")]
    labels: BTreeMap<String, String>,
    /// The address as given; null once the person is erased.
    email: Option<String>,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// Phone number.
    phone: Option<String>,
    /// The text for the mail, as it is sent; at a kind that has no place for one, as it was given.
    message: Option<String>,
    /// The options that it is sent with, by kind, as they would be given: its own, else those of the configuration.
    /// What is null only the provider decides.
    #[schemars(with = "Options")]
    options: BTreeMap<String, Map<String, Value>>,
    /// What of it is stored and not sent, because the provider's kind has no place for it.
    warnings: Vec<FaultView>,
    /// The routing rule that chose its provider, among the `[[routes]]` of the document of `config_revision`; null if
    /// its request named the provider.
    route: Option<RouteTaken>,
    /// The revision of the provider document that it was accepted under.
    config_revision: i64,
    /// When the provider was last asked.
    checked_at: Option<Timestamp>,
    /// The provider's own id for it.
    provider_ref: Option<String>,
    /// The provider's own word for its status.
    provider_status: Option<String>,
    /// What callers need of the provider's replies, in the provider's own names. Codes that let in
    /// whoever holds them are in it only for keys with the scope invites:codes.
    provider_data: Map<String, Value>,
    /// When the provider says it lapses.
    expires_at: Option<Timestamp>,
    /// Calls made for it.
    attempt_count: u32,
    /// When the next is due; not before its provider's `state_until`.
    next_attempt_at: Option<Timestamp>,
    /// Why it failed, or why its effect is not known. Of a queued one, read alone: what it waits for
    /// that neither `next_attempt_at` nor its provider's `state_reason` shows.
    error: Option<ProblemView>,
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
    /// When any of this last changed, but for `checked_at`, the time in `next_attempt_at`, and what its provider's lane makes it
    /// wait for.
    updated_at: Timestamp,
    /// When it was sent.
    sent_at: Option<Timestamp>,
}

impl InviteView {
    /// The whole invite as it reads now.
    pub fn new(record: InviteRecord, gateway: &Gateway, caller: &Caller) -> Self {
        let next_attempt_at = gateway.engine.next_attempt_at(&record);
        Self { next_attempt_at, ..Self::at(record, gateway.clock.now(), gateway, caller) }
    }

    /// The same as it read at a time, of which the record is.
    pub fn at(record: InviteRecord, now: Timestamp, gateway: &Gateway, caller: &Caller) -> Self {
        let (status, status_source) = record.status_at(now);
        let next_attempt_at = record.state.next_attempt_at();
        let InviteRecord { facts, state, .. } = record;
        let facts = Arc::unwrap_or_clone(facts);
        let provider_data =
            without_codes(state.provider_data, facts.kind.as_deref(), gateway, caller);
        let kind = gateway.kinds.iter().find(|known| Some(known.name) == facts.kind.as_deref());
        let warnings = warnings::of_invite(kind, &facts.invitee);
        let sent_with = kind.zip(facts.destination.as_ref()).filter(|_| !facts.is_erased);
        let sent_with = sent_with.map(|(kind, destination)| {
            let SentWith { options, message } =
                (kind.read_back)(facts.id, destination, &facts.params);
            ((kind.name.to_owned(), options), message)
        });
        let (options, message) = sent_with.unzip();
        Self {
            outline: InviteOutline {
                id: facts.id,
                index: facts.index,
                provider: facts.provider,
                provider_kind: facts.kind,
                status,
                status_source,
                duplicate: false,
                batch_id: facts.batch_id,
            },
            batch_id: facts.batch_id,
            tenant: caller.sees_all_tenants().then_some(facts.tenant),
            external_id: facts.external_id,
            labels: facts.labels,
            email: Some(facts.invitee.email).filter(|_| !facts.is_erased),
            first_name: facts.invitee.first_name,
            last_name: facts.invitee.last_name,
            phone: facts.invitee.phone,
            message: message.flatten().or(facts.invitee.message),
            options: options.into_iter().collect(),
            warnings,
            route: facts.route,
            config_revision: facts.config_revision,
            checked_at: state.checked_at,
            provider_ref: state.provider_ref,
            provider_status: state.provider_status,
            provider_data,
            expires_at: state.expires_at,
            attempt_count: state.attempt_count,
            next_attempt_at: next_attempt_at.filter(|_| !status.is_final()),
            error: state.error.map(ProblemView::from),
            duplicate_effect: state.duplicate_effect,
            second_effects: state.second_effects,
            erased: facts.is_erased,
            created_at: facts.created_at,
            updated_at: state.updated_at,
            sent_at: state.sent_at,
        }
    }

    /// The same invite. If nothing is wrong with it, its `error` says what it waits for.
    pub fn waiting_for(self, reason: Option<Reason>) -> Self {
        Self { error: self.error.or(reason.map(ProblemView::from)), ..self }
    }

    /// The same invite as the answer to item `index` of another request.
    pub fn into_duplicate(mut self, index: usize) -> Self {
        (self.outline.index, self.outline.duplicate) = (index, true);
        self
    }
}

/// In which order invites are listed.
#[derive(Clone, Copy, PartialEq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum InviteSort {
    /// Newest first.
    Created,
    /// By their last change, longest ago first.
    Updated,
}

/// Invites.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InviteList {
    /// In the order asked for.
    pub invites: Vec<InviteView>,
    /// Those that cannot be read, in the same order; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableInvite>,
    /// Whether there is more now. A page may be empty and have more behind it.
    pub has_more: bool,
    /// Where the next page starts; null on the last, but with `sort=updated`, where it is always there: changes to come stand
    /// behind it.
    pub next_cursor: Option<String>,
}

/// What would be sent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Plan {
    /// The calls that would be made.
    pub plan: Vec<invite_delivery::PlannedCall>,
    /// What would not be sent: the person has a live invite there, or an earlier item is the same.
    /// None where `on_duplicate` is `send`.
    pub duplicates: Vec<DuplicateView>,
    /// What of the items would be stored and not sent, because their provider's kind has no place for it.
    pub warnings: Vec<FaultView>,
    /// What is wrong with items that `handling=lenient` would report as failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FaultView>,
}

/// An item that would be a duplicate at a provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlannedDuplicate")]
pub(crate) struct DuplicateView {
    /// The request's item.
    pub index: usize,
    /// The configured provider.
    pub provider: String,
    /// The person's live invite there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite_id: Option<InviteId>,
    /// The earlier item of this request that is to the same person there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_index: Option<usize>,
}

/// One call made for an invite.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub(crate) struct AttemptView {
    /// Prefixed and ordered by time.
    pub id: AttemptId,
    /// The configured provider.
    pub provider: String,
    /// `create`, `get`, `list`, `update_status`, `revoke` or `reconcile`.
    pub operation: Operation,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took; null while it is under way.
    pub duration_ms: Option<i64>,
    /// What came of it; null while it is under way.
    pub outcome: Option<AttemptOutcome>,
    /// The HTTP status of the provider's answer.
    pub http_status: Option<u16>,
    /// The revision of the provider document that it was made under.
    pub config_revision: i64,
    /// What went wrong, or what a look-up (`reconcile`) showed of the call's invites; in one line.
    pub detail: Option<String>,
    /// The `traceparent` of the request that it was made for.
    pub traceparent: Option<String>,
    /// The HTTP method of the request; with the scope invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The address that it went to, without secrets, and without a query that names other people; with the scope
    /// invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The provider's own id of the request, from a header of its reply such as `X-Request-Id`; with the scope invites:raw
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
    /// This invite's part of the request, without secrets; with the scope invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// This invite's part of the reply, without secrets, or what a refusal says; with the scope invites:raw only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Value>,
}

/// Calls made for an invite.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AttemptList {
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
    /// Those that cannot be read; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
    /// Where the next page starts; null on the last.
    pub next_cursor: Option<String>,
}
