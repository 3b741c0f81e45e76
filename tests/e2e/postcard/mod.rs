#![doc = include_str!("README.md")]

mod client;
mod config;
mod error;
mod reconcile;
pub mod simulator;
mod wire;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use invite_core::{
    Account, BuildContext, Capabilities, Cause, CreateCapability, Destination, Fault,
    InviteProvider, Invitee, Limits, ListQuery, Lookup, NewInvite, Observed, Outcome, Page,
    PreparedCall, ProbeReport, ProviderError, ProviderKind, Recipient, Reconciliation, Remote,
    Resolved, Status, http::CallContext, schema::Schema, secret::Credential,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use client::Client;
use config::{Config, Options, Params};
use reconcile::CardLookup;
use wire::{Card, NewCard};

/// The word in `kind = "…"`.
const KIND: &str = "postcard";

/// Postcards, as a kind of provider.
pub struct PostcardKind {
    config: Schema,
    options: Arc<Schema>,
}

impl PostcardKind {
    /// The kind, with its schemas compiled.
    pub fn new() -> Self {
        Self { config: Schema::of::<Config>(), options: Arc::new(Schema::of::<Options>()) }
    }
}

impl ProviderKind for PostcardKind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn config_schema(&self) -> &Value {
        self.config.document()
    }

    fn options_schema(&self) -> &Value {
        self.options.document()
    }

    fn account_settings(&self) -> &'static [&'static str] {
        &["base_url"]
    }

    fn default_limits(&self) -> Limits {
        Limits { max_batch: 1, ..Limits::default() }
    }

    fn build(&self, part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
        let (config, base_url) = Config::read(&self.config, part.settings)?;
        let credential =
            (part.resolve_secret)(&config.token).map_err(|fault| vec![fault.under("/token")])?;
        let destination = Destination {
            kind: KIND.to_owned(),
            base_url: base_url.as_str().trim_end_matches('/').to_owned(),
            scope: part.name.to_owned(),
        };
        let client = Client {
            name: part.name.to_owned(),
            base_url,
            destination,
            credential,
            http: part.http.clone(),
            clock: part.clock.clone(),
        };
        Ok(Arc::new(Postcard {
            client: Arc::new(client),
            config,
            options: self.options.clone(),
            capabilities: capabilities(),
        }))
    }

    fn codes(&self) -> &'static [&'static str] {
        &[]
    }

    fn excerpt(
        &self,
        request: Option<&str>,
        reply: Option<&str>,
        _: usize,
        _: &Invitee,
    ) -> (Value, Value) {
        // A call carries one card, so all of it is its recipient's.
        let all = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
        (all(request).unwrap_or_default(), all(reply).unwrap_or_default())
    }
}

fn capabilities() -> Capabilities {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Capabilities {
        create: CreateCapability {
            native_batch: false,
            max_batch: 1,
            idempotent: false,
            required_fields: words(&["first_name"]),
            fields: words(&["email", "first_name", "last_name", "message"]),
        },
        get: true,
        list: true,
        update_status: Vec::new(),
        revoke: true,
        reconcile: "looked for among the cards to the address, by its reference".into(),
        approval: false,
    }
}

/// One configured post office.
struct Postcard {
    client: Arc<Client>,
    config: Config,
    options: Arc<Schema>,
    capabilities: Capabilities,
}

impl fmt::Debug for Postcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postcard({})", self.client.destination)
    }
}

impl Postcard {
    fn only_one<'a>(&self, recipients: &'a [Recipient]) -> Result<&'a Recipient, ProviderError> {
        let [recipient] = recipients else {
            let operation = self.client.operation("writing a card", []);
            return Err(operation.failed(Outcome::Rejected, "a call takes one card"));
        };
        Ok(recipient)
    }

    async fn read_card(
        &self,
        context: &CallContext,
        doing: &'static str,
        remote: &Remote,
    ) -> Result<Card, ProviderError> {
        let operation = self.client.operation(doing, [&remote.invitee]);
        self.client.check_place(&operation, &remote.destination)?;
        let Some(id) = &remote.provider_ref else {
            let error = operation.failed(Outcome::Rejected, "its id there is not known");
            return Err(error.caused_by(Cause::NotFound));
        };
        self.client.get_card(context, &operation, id).await
    }
}

#[async_trait]
impl InviteProvider for Postcard {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let mut faults = Vec::new();
        if invite.invitee.first_name.is_none() {
            let detail =
                format!("`first_name` is missing; {} (postcard) needs it", self.client.name);
            faults.push(Fault::new("/first_name", "required", detail));
        }
        match self.config.bind(&self.options, invite) {
            Ok(params) if faults.is_empty() => Ok(Resolved {
                destination: self.client.destination.clone(),
                call_key: String::new(),
                params: json!(params),
            }),
            Ok(_) => Err(faults),
            Err(wrong) => {
                faults.extend(wrong.into_iter().map(|fault| fault.under("/options/postcard")));
                Err(faults)
            }
        }
    }

    async fn prepare(
        &self,
        _: &CallContext,
        recipients: &[Recipient],
        _: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let recipient = self.only_one(recipients)?;
        let invitee = &recipient.invitee;
        let operation = self.client.operation("preparing a card", [invitee]);
        self.client.check_place(&operation, &recipient.destination)?;
        let params = Params::deserialize(&recipient.params).map_err(|_| {
            operation.failed(Outcome::Rejected, "what was stored of the invite cannot be read")
        })?;
        let names = [&invitee.first_name, &invitee.last_name].into_iter().flatten();
        let card = NewCard {
            to: &invitee.email,
            name: &names.map(String::as_str).collect::<Vec<_>>().join(" "),
            text: &params.text,
            motif: params.motif,
            reference: recipient.id.to_string(),
        };
        Ok(PreparedCall {
            destination: recipient.destination.clone(),
            path: "/cards".into(),
            body: json!(card).to_string(),
            fingerprint: None,
            account: None,
        })
    }

    async fn create(
        &self,
        context: &CallContext,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let recipient = self.only_one(recipients)?;
        let operation = self.client.operation("writing a card", [&recipient.invitee]);
        self.client.check_place(&operation, &call.destination)?;
        let card = self.client.write_card(context, &operation, call).await?;
        if card.reference != Some(recipient.id.to_string()) {
            let why = "the reply shows another card";
            return Ok(vec![Err(operation.failed(Outcome::Unknown, why))]);
        }
        Ok(vec![Ok(card.observed())])
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        Ok(self.read_card(context, "reading a card", remote).await?.observed())
    }

    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        let operation = self.client.operation("listing cards", []);
        let elsewhere = query.scope.as_ref().is_some_and(|s| *s != self.client.destination.scope);
        if elsewhere || query.cursor.is_some() {
            let error = operation.failed(Outcome::Rejected, "there is no such list or page");
            return Err(error.caused_by(Cause::NotFound));
        }
        let cards = self.client.list_cards(context, &operation, query.email.as_deref()).await?;
        Ok(Page { invites: cards.into_iter().map(Card::observed).collect(), next_cursor: None })
    }

    async fn update_status(
        &self,
        _: &CallContext,
        _: &Remote,
        _: Status,
    ) -> Result<Observed, ProviderError> {
        Err(ProviderError::unsupported(KIND, "set an invite's status"))
    }

    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError> {
        let card = self.read_card(context, "reading a card before it is cancelled", remote).await?;
        let operation = self.client.operation("cancelling a card", [&remote.invitee]);
        if !force && !card.is_to(&remote.address) {
            let why = "it shows another address under this invite's id, or none";
            let error = operation.failed(Outcome::Rejected, why);
            return Err(error.caused_by(Cause::PairingUnproven));
        }
        if card.state.as_deref() == Some("cancelled") {
            return Ok(card.observed());
        }
        Ok(self.client.cancel_card(context, &operation, &card.id).await?.observed())
    }

    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation> {
        Box::new(CardLookup::new(self.client.clone(), lookup))
    }

    async fn account(&self, _: &CallContext) -> Result<Option<Account>, ProviderError> {
        Ok(None)
    }

    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError> {
        let operation = self.client.operation("checking the token", []);
        self.client.list_cards(context, &operation, None).await?;
        Ok(ProbeReport { detail: "the token may list cards".to_owned() })
    }

    fn credential(&self) -> &Credential {
        &self.client.credential
    }
}
