#![doc = include_str!("README.md")]

mod client;
mod config;
mod error;
mod reconcile;
pub mod simulator;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{
    Account, BuildContext, Capabilities, CreateCapability, Destination, Fault, InviteProvider,
    Limits, ListQuery, Lookup, NewInvite, Observed, Outcome, Page, PreparedCall, ProbeReport,
    ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, Status,
    adapter::{Operation, Service, excerpt},
    http::{CallContext, check_header},
    secret::Credential,
};
use jiff::Timestamp;
use serde_json::json;

use client::Client;
use config::{CONFIG, Config, OPTIONS, Params};
use reconcile::CardLookup;
use wire::{Card, NewCard};

/// The word in `kind = "…"`.
const KIND: &str = "postcard";

/// Postcards, as a kind of provider.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: KIND,
        capabilities: capabilities(),
        config_schema: CONFIG.document().clone(),
        options_schema: OPTIONS.document().clone(),
        account_settings: &["base_url"],
        default_limits: Limits { max_batch: 1, ..Limits::default() },
        codes: &[],
        build: Box::new(build),
        // A call carries one card, so all of it is its recipient's.
        excerpt: |request, reply, _, _| {
            (excerpt::of_request(request), excerpt::of_reply(reply, |reply| reply))
        },
        read_back: config::read_back,
    }
}

fn build(part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
    let (config, base_url) = Config::read(part.settings)?;
    let credential = part.credential("/token", &config.token, check_header)?;
    let destination = Destination {
        kind: KIND.to_owned(),
        base_url: base_url.as_str().to_owned(),
        scope: part.name.to_owned(),
    };
    let service = Service::new(part, base_url, credential);
    Ok(Arc::new(Postcard {
        client: Arc::new(Client { service, destination }),
        config,
        capabilities: capabilities(),
    }))
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
#[derive(Debug)]
struct Postcard {
    client: Arc<Client>,
    config: Config,
    capabilities: Capabilities,
}

impl Postcard {
    fn operation(&self, doing: &str) -> Operation {
        self.client.service.operation(doing)
    }

    async fn read_card(
        &self,
        context: &CallContext,
        doing: &str,
        remote: &Remote,
    ) -> Result<Card, ProviderError> {
        let operation = self.operation(doing).about(remote.invitee.personal_data());
        self.client.check_destination(&operation, &remote.destination)?;
        self.client.get_card(context, &operation, operation.id_of(remote)?).await
    }
}

fn only_one<'a>(
    operation: &Operation,
    recipients: &'a [Recipient],
) -> Result<&'a Recipient, ProviderError> {
    let [recipient] = recipients else {
        return Err(operation.failed(Outcome::Rejected, "a call takes one card"));
    };
    Ok(recipient)
}

#[async_trait]
impl InviteProvider for Postcard {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let mut faults = Vec::new();
        if invite.invitee.first_name.is_none() {
            let detail = format!(
                "`first_name` is missing; {} (postcard) needs it",
                self.client.service.name
            );
            faults.push(Fault::new("/first_name", "required", detail));
        }
        match self.config.bind(invite) {
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
        let operation = self.operation("preparing a card").for_recipients(recipients);
        let recipient = only_one(&operation, recipients)?;
        let invitee = &recipient.invitee;
        self.client.check_destination(&operation, &recipient.destination)?;
        let params: Params = operation.recorded(0, recipient)?;
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
        let operation = self.operation("writing a card").for_recipients(recipients);
        let recipient = only_one(&operation, recipients)?;
        self.client.check_destination(&operation, &call.destination)?;
        let card = self.client.write_card(context, &operation, call).await?;
        if card.reference != Some(recipient.id.to_string()) {
            return Ok(vec![Err(operation.outcome_unknown("the reply shows another card"))]);
        }
        Ok(vec![Ok(card.observed())])
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        Ok(self.read_card(context, "reading a card", remote).await?.observed())
    }

    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        let operation = self.operation("listing cards").about(query.email.as_deref());
        operation.only_page(query)?;
        if query.scope.as_ref().is_some_and(|scope| *scope != self.client.destination.scope) {
            return Err(operation.not_found("there is no such list"));
        }
        let cards = self.client.list_cards(context, &operation, query.email.as_deref()).await?;
        let observed = cards.into_iter().map(Card::observed);
        Ok(Page { invites: observed.filter(|card| query.wants(card)).collect(), next_cursor: None })
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
        let operation = self.operation("cancelling a card").about(remote.invitee.personal_data());
        if !force && !card.is_to(&remote.address) {
            let why = "it shows another address under this invite's id, or none";
            return Err(operation.unproven(why));
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
        let operation = self.operation("checking the token");
        self.client.list_cards(context, &operation, None).await?;
        Ok(ProbeReport { detail: "the token may list cards".to_owned() })
    }

    fn credential(&self) -> &Credential {
        &self.client.service.credential
    }
}
