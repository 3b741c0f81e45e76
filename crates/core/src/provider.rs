//! What a provider is to the gateway: the [`InviteProvider`] trait, and the [`ProviderKind`] that
//! validates and builds one. What passes between them and the engine is in [`crate::call`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Account, Clock, Destination, Fault, InviteId, Invitee, Limits, ListQuery, Lookup, NewInvite,
    Observed, Page, PreparedCall, ProbeReport, ProviderError, Recipient, Remote, Resolved,
    Sighting, Status,
    http::{CallContext, HttpClient},
    secret::{Check, Credential, SecretRefs},
};

/// One configured provider.
///
/// # The contract
///
/// **One attempt.** Every asynchronous method makes the requests of one attempt, within the
/// context's deadline, through [`HttpClient`], where each request waits for the rate budget
/// ([`CallContext::wait_for_budget`]). A method never sleeps and never retries, with one
/// exception: after a refused credential the request may be made once more with a fresh token or
/// with the second secret. Retrying is for the engine.
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
/// **Places.** A call or an invite belongs to a
/// [`Destination`]. If its base URL is not this
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
    /// leaves out, and fixes where it goes. It asks nobody; the result is stored with the invite.
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

    /// What the provider itself lists: one page of it, of the query's scope and address alone
    /// ([`ListQuery::wants`]). Where it has no pages the list is one page, without a next cursor; it is then
    /// read whole for each page that a caller asks the gateway for.
    ///
    /// # Errors
    /// A cursor that was never given is rejected before a request is made; one that the provider repeats is an
    /// error, so that no listing runs in a circle.
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
    /// `force` skips the proof that the provider id is this invite's. One that is gone counts as
    /// withdrawn, whoever withdrew it, if its id is certain or an earlier withdrawal was sent
    /// ([`Remote::revoke_sent`]).
    ///
    /// # Errors
    /// Cause `PairingUnproven` if the provider shows another address under the id, or none;
    /// `NotFound` if there is nothing under an id that is not certain.
    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError>;

    /// Begins a look-up of what became of calls whose outcome is unknown, all of one destination. It sends
    /// nothing yet: each [`Reconciliation::step`] makes one request.
    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation>;

    /// The account behind the destination that [`resolve`](Self::resolve) leaves provisional
    /// ([`Destination::provisional`](crate::Destination::provisional)), for providers where a request with the
    /// credential tells it for good. None, without a request, where there is nothing to find out.
    ///
    /// # Errors
    /// As any call.
    async fn account(&self, context: &CallContext) -> Result<Option<Account>, ProviderError>;

    /// Checks the credential without side effects.
    ///
    /// # Errors
    /// As any call; cause `Credentials` if it was refused.
    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError>;

    /// The secrets in use, for their counters.
    fn credential(&self) -> &Credential;
}

/// A look-up under way.
#[async_trait]
pub trait Reconciliation: Send {
    /// Makes the next request. `None` means that there is more to ask; `Some` ends the look-up with what was
    /// seen, for each doubt in order and each of its recipients in order.
    ///
    /// # Errors
    /// The look-up cannot go on, and learnt nothing.
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError>;
}

/// A kind of provider: what is known of it, and how a provider is built from a part of the document.
pub struct ProviderKind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// What providers of this kind can do unless configured otherwise.
    pub capabilities: Capabilities,
    /// JSON Schema of its part of the document, without `kind`, `enabled` and `limits`.
    pub config_schema: Value,
    /// JSON Schema of `options.<kind>`.
    pub options_schema: Value,
    /// The settings that say which account it is. A new value for one of them is another account, so that what is
    /// in doubt at the old one could not be looked up any more.
    pub account_settings: &'static [&'static str],
    /// The limits of providers that set none.
    pub default_limits: Limits,
    /// The members of [`Observed::data`](crate::Observed::data) that let in whoever holds them. Only keys with a
    /// scope of its own are shown them.
    pub codes: &'static [&'static str],
    /// Validates a part and builds the provider, without sending anything. A wrong part gives all of its faults,
    /// with pointers relative to the part (`/event_id`).
    pub build: Build,
    /// Takes from a stored exchange what belongs to one recipient.
    pub excerpt: Excerpt,
    /// Tells what an invite is sent with.
    pub read_back: ReadBack,
}

/// The function that builds a provider.
pub type Build =
    Box<dyn Fn(&BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> + Send + Sync>;

/// The function that takes from a request and a reply what belongs to one recipient, without secrets, stamps and
/// other people. Only known members pass, and nothing of what cannot be read. The number is the recipient's place
/// in a create call; the person finds it in a reply that is in another order.
pub type Excerpt = fn(Option<&str>, Option<&str>, usize, &Invitee) -> (Value, Value);

/// The function that tells what an invite of this id and destination is sent with, from what
/// [`InviteProvider::resolve`] recorded of it; nothing where that cannot be read.
pub type ReadBack = fn(InviteId, &Destination, &Value) -> SentWith;

/// What an invite is sent with; part of the public API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentWith {
    /// The options in effect, as a caller would write them in `options.<kind>`; null is what only the provider
    /// decides.
    pub options: Map<String, Value>,
    /// The message as it is sent; none if the kind has no place for one.
    pub message: Option<String>,
}

impl SentWith {
    /// What is sent with these options and this message.
    pub fn new(options: &impl Serialize, message: Option<String>) -> Self {
        match serde_json::to_value(options) {
            Ok(Value::Object(options)) => Self { options, message },
            _ => Self { message, ..Self::default() },
        }
    }
}

/// What a provider is built from.
pub struct BuildContext<'a> {
    /// The configured name.
    pub name: &'a str,
    /// Its part of the document as JSON, without `kind`, `enabled` and `limits`.
    pub settings: &'a Value,
    /// The clock that the provider goes by.
    pub clock: Arc<dyn Clock>,
    /// A client for this provider alone.
    pub http: HttpClient,
    /// Resolves secret references; the fault's pointer is relative to the reference.
    pub resolve_secret: &'a dyn Fn(&SecretRefs) -> Result<Credential, Fault>,
}

impl BuildContext<'_> {
    /// The secrets of the member at `pointer`. Each has to pass `check`, now and whenever it is rotated.
    ///
    /// # Errors
    /// A fault for each secret that cannot be found or used.
    pub fn credential(
        &self,
        pointer: &str,
        references: &SecretRefs,
        check: Check,
    ) -> Result<Credential, Vec<Fault>> {
        let resolved = (self.resolve_secret)(references);
        resolved.map_err(|fault| vec![fault.under(pointer)])?.checked(pointer, check)
    }
}

/// What a provider can do; part of the public API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CreateCapability {
    /// One call takes several invites.
    pub native_batch: bool,
    /// Invites in one call at most: the reply to more, or a list that shows such calls, might be longer
    /// than what is read of it.
    pub max_batch: u32,
    /// Sending the same bytes twice within an hour has one effect: the engine repeats an unknown call
    /// for 50 minutes, and looks it up meanwhile only if they are refused.
    pub idempotent: bool,
    /// The common members it cannot do without, beyond `email`. `a|b` means one of them.
    pub required_fields: Vec<String>,
    /// The common members that reach it; others are stored, not sent.
    pub fields: Vec<String>,
}
