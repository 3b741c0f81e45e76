//! What a provider is to the gateway: the [`InviteProvider`] trait, the [`ProviderKind`] that
//! validates and builds one, and the values that pass between them and the engine.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Address, Clock, Fault, InviteId, Invitee, Limits, NewInvite, ProviderError, Status,
    StatusSource,
    http::{CallContext, HttpClient},
    secret::{Credential, SecretRefs},
};

/// One configured provider.
///
/// # The contract
///
/// **One attempt.** Every asynchronous method makes the requests of one attempt, within the
/// context's deadline, through [`HttpClient`]. It never sleeps and never retries, with one
/// exception: after a refused credential the request may be made once more with a fresh token or
/// with the second secret. Retrying is the engine's.
///
/// **Outcomes are about effects.** An error's [`Outcome`](crate::Outcome) says what is known of the
/// effect of the request that was made, and nothing else. When in doubt it is `Unknown`. An
/// unreadable or incomplete success is `Unknown` too.
///
/// **Frozen bytes.** [`create`](Self::create) sends the body of the [`PreparedCall`] byte for byte,
/// to the place that the call names, with today's credential. What is time- or attempt-dependent is
/// fixed by [`prepare`](Self::prepare), whose result the engine stores before the first byte
/// leaves.
///
/// **Places.** A call or an invite belongs to a [`Destination`]. If its base URL is not this
/// provider's, nothing is sent (a credential never goes elsewhere): `Rejected`, cause `NotFound`.
///
/// **Silence about people and secrets.** Messages, codes and `Debug` output hold no secret and no
/// personal data; provider text passes through [`crate::http::scrub_of`].
///
/// **Tolerance.** Unknown members and words from a provider never fail a call: they map to the
/// nearest normalized value, and the raw word is kept in [`Observed::provider_status`].
///
/// **Unsupported operations** say so with [`ProviderError::unsupported`], send nothing, and agree
/// with [`capabilities`](Self::capabilities).
#[async_trait]
pub trait InviteProvider: Send + Sync + fmt::Debug {
    /// What this provider can do, as configured.
    fn capabilities(&self) -> &Capabilities;

    /// Binds an invite to this provider: checks what the provider needs, fills in what the invite
    /// leaves out, and fixes where it goes. Pure; the result is stored with the invite.
    ///
    /// # Errors
    /// All faults at once. Pointers are relative to the invite (`/phone`,
    /// `/options/securegate/event_id`). Members that are unknown or wrong in `options.<kind>` are
    /// faults; the gateway has already checked form and length of the common members.
    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>>;

    /// Freezes one create call for recipients of equal destination and call key, at most
    /// `max_batch` of them. `at` is the time to put where the provider wants one. May ask the
    /// provider for what the call needs (a token, a sender), which has no effect there.
    ///
    /// # Errors
    /// The effect is always none; the outcome says whether trying again may help.
    async fn prepare(
        &self,
        context: &CallContext,
        recipients: &[Recipient],
        at: Timestamp,
    ) -> Result<PreparedCall, ProviderError>;

    /// Makes a frozen call. One result per recipient, in their order.
    ///
    /// An [`Observed`] with status `Sending` means that the provider is still working on it:
    /// [`get`](Self::get) follows it.
    ///
    /// # Errors
    /// The outcome for all of the call's invites, where there is one for all. `items` names the
    /// invites that a refusal named.
    async fn create(
        &self,
        context: &CallContext,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError>;

    /// The present state of one invite.
    ///
    /// # Errors
    /// Never for an invite that is gone where absence means something at this provider: then the
    /// status is inferred (see docs/delivery.md, *After it exists*).
    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError>;

    /// What the provider itself lists, one page.
    ///
    /// # Errors
    /// A cursor that the provider repeats is an error, so that no listing runs in a circle.
    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError>;

    /// Sets the status at the provider, one of `capabilities().update_status`. Reads the present
    /// state first, so that repeating it is safe.
    ///
    /// # Errors
    /// As any call.
    async fn update_status(
        &self,
        context: &CallContext,
        remote: &Remote,
        to: Status,
    ) -> Result<Observed, ProviderError>;

    /// Withdraws the invite. Reads the present state first where that makes repeating it safe.
    /// `force` skips the proof that the provider id is this invite's.
    ///
    /// # Errors
    /// Cause `PairingUnproven` if the provider shows another address under the id, or none.
    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError>;

    /// Starts finding out what became of calls whose outcome is unknown; all of the doubts are of
    /// one destination and share one lookup. Sends nothing yet: each
    /// [`Reconciliation::step`] makes one request.
    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation>;

    /// Checks the credential without side effects.
    ///
    /// # Errors
    /// As any call; cause `Credentials` if it was refused.
    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError>;

    /// The secrets in use, for their counters.
    fn credential(&self) -> &Credential;
}

/// A lookup under way. The engine takes a rate token before each step.
#[async_trait]
pub trait Reconciliation: Send {
    /// Makes the next request. `None`: there is more to ask. `Some`: what was seen, for each doubt
    /// in order, for each of its recipients in order.
    ///
    /// # Errors
    /// The lookup cannot go on; nothing was learnt (*cannot tell*).
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError>;
}

/// A kind of provider: validates its part of the configuration, and builds a provider from it.
pub trait ProviderKind: Send + Sync {
    /// The word in `kind = "…"`.
    fn name(&self) -> &'static str;

    /// What providers of this kind can do unless configured otherwise.
    fn capabilities(&self) -> Capabilities;

    /// JSON Schema of its part of the document, without `kind`, `enabled` and `limits`.
    fn config_schema(&self) -> &Value;

    /// JSON Schema of `options.<kind>`.
    fn options_schema(&self) -> &Value;

    /// The limits of providers that set none.
    fn default_limits(&self) -> Limits;

    /// Validates a part and builds the provider. Nothing is sent.
    ///
    /// # Errors
    /// All faults, with pointers relative to the part (`/event_id`).
    fn build(&self, part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>>;

    /// The part of a stored create exchange that belongs to the recipient at `index` alone, without
    /// secrets, stamps and other people: the request's and the reply's. `recipient` tells it from
    /// others in a reply that is not in order.
    fn excerpt(
        &self,
        request: Option<&str>,
        reply: Option<&str>,
        index: usize,
        recipient: &Invitee,
    ) -> (Value, Value);
}

/// What a provider is built from.
pub struct BuildContext<'a> {
    /// The configured name.
    pub name: &'a str,
    /// Its part of the document as JSON, without `kind`, `enabled` and `limits`.
    pub settings: &'a Value,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// A client of its own.
    pub http: HttpClient,
    /// Resolves secret references; the fault's pointer is relative to the reference.
    pub resolve_secret: &'a dyn Fn(&SecretRefs) -> Result<Credential, Fault>,
}

/// What a provider can do; part of the public API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Creating invites.
    pub create: CreateCapability,
    /// One invite's state can be asked for.
    pub get: bool,
    /// It lists its invites.
    pub list: bool,
    /// The statuses that can be set there; empty if none.
    pub update_status: Vec<Status>,
    /// An invite can be withdrawn there.
    pub revoke: bool,
    /// How an unknown outcome is settled, in a sentence.
    pub reconcile: String,
    /// It may want a human approval before an invite exists.
    pub approval: bool,
}

/// What a provider can do about creating invites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreateCapability {
    /// One call takes several invites.
    pub native_batch: bool,
    /// Invites in one call at most, as configured.
    pub max_batch: u32,
    /// Sending the same bytes twice has one effect.
    pub idempotent: bool,
    /// The common members it cannot do without, beyond `email`. `a|b` means one of them.
    pub required_fields: Vec<String>,
    /// The common members that reach it; others are stored, not sent.
    pub fields: Vec<String>,
}

/// Where an invite goes: one account and container at one provider.
///
/// Equal destinations are the same place for the duplicate rule, over all configured names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The provider kind.
    pub kind: String,
    /// The provider's base URL without a trailing slash.
    pub base_url: String,
    /// Event, tenancy or organization.
    pub scope: String,
}

impl fmt::Display for Destination {
    /// One text, for the store's indexes. The parts cannot hold a space unescaped: the first is a
    /// word and the second a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.base_url, self.scope)
    }
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ' ').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(base_url), Some(scope)) => Ok(Self { kind, base_url, scope }),
            _ => Err("not a destination: expected kind, base URL and scope".into()),
        }
    }
}

/// What an invite became when it was bound to a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Where it goes.
    pub destination: Destination,
    /// Invites of equal destination and call key may share a create call.
    pub call_key: String,
    /// The adapter's own record of what the invite said and the configuration filled in.
    pub params: Value,
}

/// An invite on its way into a create call, or looked for after one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// Which invite.
    pub id: InviteId,
    /// The person.
    pub invitee: Invitee,
    /// The canonical address.
    pub address: Address,
    /// Where it goes.
    pub destination: Destination,
    /// What [`InviteProvider::resolve`] recorded.
    pub params: Value,
}

/// A create call, frozen: everything that decides what arrives, but no credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedCall {
    /// Where it goes.
    pub destination: Destination,
    /// The path and query to post to, below the base URL, starting with `/`.
    pub path: String,
    /// The exact body.
    pub body: String,
    /// A name that the provider itself gives to these bytes, unique in the store.
    pub fingerprint: Option<String>,
    /// The account that the credential showed when the call was prepared, where a provider has
    /// several behind one configuration (RKVST's `jit_tenant_id`).
    pub account: Option<String>,
}

/// An invite as the provider knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Where it is.
    pub destination: Destination,
    /// The provider's id for it, once there is one.
    pub provider_ref: Option<String>,
    /// What earlier replies said ([`Observed::data`]).
    pub data: Map<String, Value>,
    /// The person.
    pub invitee: Invitee,
    /// The canonical address.
    pub address: Address,
    /// Its place in the call that created it.
    pub index: usize,
    /// Its present status.
    pub status: Status,
    /// When it lapses, where the provider said so.
    pub expires_at: Option<Timestamp>,
    /// A call to withdraw it was sent.
    pub revoke_sent: bool,
}

/// What a provider showed of one invite.
#[derive(Clone, PartialEq)]
pub struct Observed {
    /// The provider's id; none while it is still working on it.
    pub provider_ref: Option<String>,
    /// The normalized status.
    pub status: Status,
    /// `Provider` if it said so, `Inferred` if concluded.
    pub source: StatusSource,
    /// Its own word for the status.
    pub provider_status: Option<String>,
    /// Why, for a status that is `Failed`.
    pub failure: Option<ProviderError>,
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
    /// When it was made, by the provider's clock.
    pub created_at: Option<Timestamp>,
    /// What callers need of the reply, by the provider's own names; part of the public API as
    /// `provider_data`.
    pub data: Map<String, Value>,
    /// The person, where the reply shows it.
    pub invitee: Option<Invitee>,
}

impl Observed {
    /// An invite of which only id and status are known, by the provider's word.
    pub fn new(provider_ref: Option<String>, status: Status) -> Self {
        Self {
            provider_ref,
            status,
            source: StatusSource::Provider,
            provider_status: None,
            failure: None,
            expires_at: None,
            created_at: None,
            data: Map::new(),
            invitee: None,
        }
    }
}

impl fmt::Debug for Observed {
    /// Without the reply's data, which may be a credential (Securegate's `session_code`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?}, {}, {})", self.provider_ref, self.status, self.source)
    }
}

/// Which invites to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those to this address.
    pub email: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// Another event or organization than the configured one.
    pub scope: Option<String>,
}

/// One page of what a provider lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The invites.
    pub invites: Vec<Observed>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
}

/// What came of a credential check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeReport {
    /// What was asked and whom the credential belongs to, in a sentence; no secret.
    pub detail: String,
}

/// Calls to one destination whose outcomes are unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// Where they went.
    pub destination: Destination,
    /// The calls.
    pub doubts: Vec<Doubt>,
}

/// One call whose outcome is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The call as it was frozen.
    pub call: PreparedCall,
    /// Its invites, in the order of the call.
    pub recipients: Vec<Recipient>,
    /// When the first attempt for any of them began, by our clock.
    pub first_attempt_at: Timestamp,
    /// When this call began, by our clock.
    pub started_at: Timestamp,
    /// What earlier replies to this call said ([`Observed::data`]), such as an activity's id.
    pub data: Map<String, Value>,
}

/// What a lookup saw for one invite. Which of these invites other Invites of ours hold is the
/// engine's to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Invites at the provider that are this one as far as their contents tell.
    pub exact: Vec<Observed>,
    /// Provider ids of invites to the same person that differ from it.
    pub near: Vec<String>,
    /// Everything that could show it was seen: if nothing unheld is in `exact` and `near`, it is
    /// absent. False: absence cannot be told.
    pub complete: bool,
}
