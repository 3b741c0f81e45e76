//! The post office's endpoints, one method each. Nothing else does HTTP; what replies mean is told
//! by `wire` and `error`.

use http::{Method, StatusCode};
use invite_core::{
    Destination, Outcome, PreparedCall, ProviderError,
    adapter::{Operation, Service},
    http::{CallContext, Request, Response},
};
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    error,
    wire::{Card, CardList},
};

/// The post office, as one provider sees it.
#[derive(Debug)]
pub struct Client {
    /// Where it is, and with which tokens.
    pub service: Service,
    /// The place that cards of this provider are at.
    pub destination: Destination,
}

impl Client {
    /// Refuses to act on something that is elsewhere, where this provider's token must not go.
    pub fn check_destination(
        &self,
        operation: &Operation,
        place: &Destination,
    ) -> Result<(), ProviderError> {
        if *place == self.destination {
            return Ok(());
        }
        let why = "it belongs to another place than is configured now";
        Err(operation.not_found(why))
    }

    /// `POST /cards`, the call as it was frozen.
    pub async fn write_card(
        &self,
        context: &CallContext,
        operation: &Operation,
        call: &PreparedCall,
    ) -> Result<Card, ProviderError> {
        let url = self.service.base_url.below(&call.path);
        let make = || Request::new(Method::POST, url.clone()).json(call.body.clone());
        self.send(context, operation, make).await
    }

    /// `GET /cards/{id}`
    pub async fn get_card(
        &self,
        context: &CallContext,
        operation: &Operation,
        id: &str,
    ) -> Result<Card, ProviderError> {
        let url = self.url(operation, &["cards", id])?;
        self.send(context, operation, || Request::new(Method::GET, url.clone())).await
    }

    /// `GET /cards`, those to one address or all.
    pub async fn list_cards(
        &self,
        context: &CallContext,
        operation: &Operation,
        to: Option<&str>,
    ) -> Result<Vec<Card>, ProviderError> {
        let mut url = self.url(operation, &["cards"])?;
        if let Some(to) = to {
            url.query_pairs_mut().append_pair("to", to);
        }
        let make = || Request::new(Method::GET, url.clone()).listing();
        let list: CardList = self.send(context, operation, make).await?;
        Ok(list.cards)
    }

    /// `POST /cards/{id}/cancel`
    pub async fn cancel_card(
        &self,
        context: &CallContext,
        operation: &Operation,
        id: &str,
    ) -> Result<Card, ProviderError> {
        let url = self.url(operation, &["cards", id, "cancel"])?;
        self.send(context, operation, || Request::new(Method::POST, url.clone())).await
    }

    /// A place below the base URL. What would not stay one step of the path is refused.
    fn url(&self, operation: &Operation, steps: &[&str]) -> Result<Url, ProviderError> {
        let refused = || operation.failed(Outcome::Rejected, "an id cannot stand in a path");
        self.service.base_url.of_steps(steps).ok_or_else(refused)
    }

    /// Makes a request; once more with the second token if the first is refused.
    async fn send<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn() -> Request,
    ) -> Result<T, ProviderError> {
        let make = |token: &str| make().credential("x-post-token", token);
        let refuses = |response: &Response| response.status == StatusCode::UNAUTHORIZED;
        let response = self.service.send(context, operation, make, refuses).await?.response;
        if response.status.is_success() {
            operation.read(&response)
        } else {
            Err(error::refused(operation, &response))
        }
    }
}
