//! Securegate's endpoints, one method each. All of the crate's HTTP is here; `wire` and `error` say what replies mean.

use std::collections::{HashMap, VecDeque};

use http::Method;
use invite_core::{
    Address, Destination, Observed, Outcome, PreparedCall, ProviderError, Recipient,
    adapter::{Operation, Service},
    http::{CallContext, Request, Response, reply_cap},
};
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;
use url::Url;

use crate::{
    error,
    wire::{Event, Invite, InviteStatusUpdate},
};

#[derive(Debug)]
pub struct Client {
    pub service: Service,
}

/// The body of a reply, and its `Date`.
pub struct Reply<T> {
    pub body: T,
    pub date: Option<Timestamp>,
}

impl Client {
    /// The base URL, without a slash at its end.
    pub fn base(&self) -> &str {
        self.service.base_url.as_str()
    }

    /// Refuses a destination elsewhere, where this provider's key must not be sent.
    pub fn check_destination(
        &self,
        operation: &Operation,
        destination: &Destination,
    ) -> Result<(), ProviderError> {
        if destination.base_url == self.base() {
            return Ok(());
        }
        let why = format!("it belongs to {}, not to {}", destination.base_url, self.base());
        Err(operation.not_found(&why))
    }

    /// The path and query of a create call, below the base URL. The `query` holds the options of the whole call.
    pub fn create_path(
        &self,
        operation: &Operation,
        event_id: &str,
        query: &str,
    ) -> Result<String, ProviderError> {
        let mut url = self.url(operation, &["events", event_id, "invites"])?;
        url.set_query((!query.is_empty()).then_some(query));
        Ok(url.as_str().strip_prefix(self.base()).unwrap_or_default().to_owned())
    }

    /// `POST /events/{event_id}/invites`. One result per recipient, in their order.
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/create-invites>
    pub async fn create_invites(
        &self,
        context: &CallContext,
        operation: &Operation,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let url = self.service.base_url.below(&call.path);
        // It may repeat what callers added, with each character as an escape.
        let added = call.body.len().saturating_mul(6);
        let body_cap = reply_cap(recipients.len()).saturating_add(added);
        let make = || {
            let request = Request::new(Method::POST, url.clone()).json(call.body.clone());
            Request { body_cap, ..request }
        };
        let response = self.send(context, operation, make).await?;
        if !response.status.is_success() {
            return Err(error::create_refused(operation, &response));
        }
        Ok(pair(operation, operation.read(&response)?, recipients))
    }

    /// `GET /events/{event_id}/invites`, which shows all of them in one reply.
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/get-invites>
    pub async fn list_invites(
        &self,
        context: &CallContext,
        operation: &Operation,
        event_id: &str,
    ) -> Result<Reply<Vec<Invite>>, ProviderError> {
        let url = self.url(operation, &["events", event_id, "invites"])?;
        let make = || Request::new(Method::GET, url.clone()).listing();
        self.read(context, operation, make).await
    }

    /// `GET /invites?email=&event_id=`, which shows one of the invites to an address.
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/get-invite-by-email>
    pub async fn find_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        email: &str,
        event_id: &str,
    ) -> Result<Option<Reply<Invite>>, ProviderError> {
        let mut url = self.url(operation, &["invites"])?;
        url.query_pairs_mut().append_pair("email", email).append_pair("event_id", event_id);
        let make = || Request::new(Method::GET, url.clone());
        match self.read(context, operation, make).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.http_status == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /invites/{invite_id}`
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/get-invite-by-id>
    pub async fn get_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        invite_id: &str,
    ) -> Result<Invite, ProviderError> {
        let url = self.url(operation, &["invites", invite_id])?;
        let make = || Request::new(Method::GET, url.clone());
        self.one_invite(context, operation, make, invite_id).await
    }

    /// `PUT /events/{event_id}/invites/{invite_id}`
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/update-invite-status>
    pub async fn update_invite_status(
        &self,
        context: &CallContext,
        operation: &Operation,
        event_id: &str,
        invite_id: &str,
        update: &InviteStatusUpdate,
    ) -> Result<Invite, ProviderError> {
        let url = self.url(operation, &["events", event_id, "invites", invite_id])?;
        let body = json!(update).to_string();
        let make = || Request::new(Method::PUT, url.clone()).json(body.clone());
        self.one_invite(context, operation, make, invite_id).await
    }

    /// `GET /events/{event_id}`
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/get-event>
    pub async fn get_event(
        &self,
        context: &CallContext,
        operation: &Operation,
        event_id: &str,
    ) -> Result<Event, ProviderError> {
        let url = self.url(operation, &["events", event_id])?;
        let make = || Request::new(Method::GET, url.clone());
        Ok(self.read(context, operation, make).await?.body)
    }

    /// `GET /events`, whose reply shows only that the key is taken.
    ///
    /// <https://docs.securegate.ai/api-reference/endpoint/get-events>
    pub async fn list_events(
        &self,
        context: &CallContext,
        operation: &Operation,
    ) -> Result<(), ProviderError> {
        let url = self.url(operation, &["events"])?;
        let make = || Request::new(Method::GET, url.clone()).listing();
        self.read(context, operation, make).await.map(|_: Reply<IgnoredAny>| ())
    }

    /// A URL below the base URL.
    ///
    /// # Errors
    /// A step would not stay one step of the path.
    fn url(&self, operation: &Operation, steps: &[&str]) -> Result<Url, ProviderError> {
        let refused = || operation.failed(Outcome::Rejected, "an id cannot stand in a path");
        self.service.base_url.of_steps(steps).ok_or_else(refused)
    }

    async fn one_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn() -> Request,
        invite_id: &str,
    ) -> Result<Invite, ProviderError> {
        let response = self.answer(context, operation, make).await?;
        let invite: Invite = operation.read(&response)?;
        if invite.id.as_deref() != Some(invite_id) {
            return Err(operation.unreadable(&response, "it shows another invite, or none"));
        }
        Ok(invite)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn() -> Request,
    ) -> Result<Reply<T>, ProviderError> {
        let response = self.answer(context, operation, make).await?;
        Ok(Reply { body: operation.read(&response)?, date: response.date() })
    }

    async fn answer(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn() -> Request,
    ) -> Result<Response, ProviderError> {
        let response = self.send(context, operation, make).await?;
        if response.status.is_success() {
            Ok(response)
        } else {
            Err(error::refused(operation, &response))
        }
    }

    async fn send(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn() -> Request,
    ) -> Result<Response, ProviderError> {
        let make = |key: &str| make().credential("x-api-key", key);
        let refuses = |response: &Response| matches!(response.status.as_u16(), 401 | 403);
        Ok(self.service.send(context, operation, make, refuses).await?.response)
    }
}

/// Gives each recipient the invite of the reply that is to its address. Securegate may show an address in its own
/// spelling: what is then left is paired by names and number, or because one is left on either side. Every invite of
/// a success exists, so errors name the ids that could not be given to anybody.
fn pair(
    operation: &Operation,
    invites: Vec<Invite>,
    recipients: &[Recipient],
) -> Vec<Result<Observed, ProviderError>> {
    let mut by_address: HashMap<Address, VecDeque<Invite>> = HashMap::new();
    let mut left = Vec::new();
    for invite in invites {
        match invite.address() {
            Some(address) => by_address.entry(address).or_default().push_back(invite),
            None => left.push(invite),
        }
    }
    let mut results: Vec<Option<Invite>> = recipients
        .iter()
        .map(|recipient| by_address.get_mut(&recipient.address)?.pop_front())
        .collect();
    left.extend(by_address.into_values().flatten());
    pair_left(&mut left, &mut results, recipients);
    let unpaired: Vec<String> = left.iter().filter_map(|invite| invite.id.clone()).collect();
    if !unpaired.is_empty() {
        tracing::warn!(
            provider.name = operation.provider(),
            count = unpaired.len(),
            "the reply to a create call holds invites, and whose they are cannot be told"
        );
    }
    let unknown = |why| ProviderError {
        unpaired: unpaired.clone(),
        ..operation.failed(Outcome::Unknown, why)
    };
    let result = |invite: Option<Invite>| match invite {
        Some(invite) if invite.id.is_some() => Ok(invite.observed()),
        Some(_) => Err(unknown("the reply shows no id for it")),
        None => Err(unknown("the reply does not hold it")),
    };
    results.into_iter().map(result).collect()
}

/// Gives an invite to the only recipient whose names and number it shows, and then the last invite to the last
/// recipient.
fn pair_left(left: &mut Vec<Invite>, results: &mut [Option<Invite>], recipients: &[Recipient]) {
    let open = |results: &[Option<Invite>]| -> Vec<usize> {
        (0..results.len()).filter(|place| results[*place].is_none()).collect()
    };
    let is_of = |invite: &Invite, place: usize| invite.shows(&recipients[place].invitee);
    for place in open(results) {
        let mut of_place = (0..left.len()).filter(|i| is_of(&left[*i], place));
        let (Some(i), None) = (of_place.next(), of_place.next()) else { continue };
        if open(results).into_iter().all(|other| other == place || !is_of(&left[i], other)) {
            results[place] = Some(left.remove(i));
        }
    }
    if let ([place], [invite]) = (open(results).as_slice(), left.as_slice()) {
        let shown = invite.email.as_deref().unwrap_or_default();
        // A call for one invite made that one. In a larger call another person's address is not taken for theirs.
        if results.len() == 1 || recipients[*place].address.may_be_shown_as(shown) {
            results[*place] = left.pop();
        }
    }
}
