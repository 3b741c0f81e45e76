//! The post office's endpoints, one method each. Nothing else does HTTP; what replies mean is told
//! by `wire` and `error`.

use std::sync::Arc;

use http::{Method, StatusCode};
use invite_core::{
    Cause, Clock, Destination, Invitee, Outcome, PreparedCall, ProviderError,
    http::{CallContext, HttpClient, Request, Response},
    secret::Credential,
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    error::Operation,
    wire::{Card, CardList},
};

/// The post office, as one provider sees it.
pub struct Client {
    /// The provider's configured name.
    pub name: String,
    /// Where the post office is.
    pub base_url: Url,
    /// The place that cards of this provider are at.
    pub destination: Destination,
    /// The tokens.
    pub credential: Credential,
    /// Connections.
    pub http: HttpClient,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Client {
    /// What is being done here, for errors.
    pub fn operation<'a>(
        &'a self,
        doing: &'static str,
        people: impl IntoIterator<Item = &'a Invitee>,
    ) -> Operation<'a> {
        Operation { doing, provider: &self.name, people: people.into_iter().collect() }
    }

    /// Refuses to act on something that is elsewhere, where this provider's token must not go.
    pub fn check_place(
        &self,
        operation: &Operation<'_>,
        place: &Destination,
    ) -> Result<(), ProviderError> {
        if *place == self.destination {
            return Ok(());
        }
        let why = "it belongs to another place than is configured now";
        Err(operation.failed(Outcome::Rejected, why).caused_by(Cause::NotFound))
    }

    /// `POST /cards`, the call as it was frozen.
    pub async fn write_card(
        &self,
        context: &CallContext,
        operation: &Operation<'_>,
        call: &PreparedCall,
    ) -> Result<Card, ProviderError> {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{}", url.path().trim_end_matches('/'), call.path));
        let make = || Request::new(Method::POST, url.clone()).json(call.body.clone());
        self.send(context, operation, make).await
    }

    /// `GET /cards/{id}`
    pub async fn get_card(
        &self,
        context: &CallContext,
        operation: &Operation<'_>,
        id: &str,
    ) -> Result<Card, ProviderError> {
        let url = self.url(operation, &["cards", id])?;
        self.send(context, operation, || Request::new(Method::GET, url.clone())).await
    }

    /// `GET /cards`, those to one address or all.
    pub async fn list_cards(
        &self,
        context: &CallContext,
        operation: &Operation<'_>,
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
        operation: &Operation<'_>,
        id: &str,
    ) -> Result<Card, ProviderError> {
        let url = self.url(operation, &["cards", id, "cancel"])?;
        self.send(context, operation, || Request::new(Method::POST, url.clone())).await
    }

    /// A place below the base URL. What would not stay one step of the path is refused.
    fn url(&self, operation: &Operation<'_>, steps: &[&str]) -> Result<Url, ProviderError> {
        let strays = steps.iter().any(|step| matches!(*step, "" | "." | ".."));
        let mut url = self.base_url.clone();
        match url.path_segments_mut() {
            Ok(mut path) if !strays => path.pop_if_empty().extend(steps),
            _ => return Err(operation.failed(Outcome::Rejected, "an id cannot stand in a path")),
        };
        Ok(url)
    }

    /// Makes a request; once more with the second token if the first is refused.
    async fn send<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        operation: &Operation<'_>,
        make: impl Fn() -> Request,
    ) -> Result<T, ProviderError> {
        let mut refusal = operation.failed(Outcome::NotSent, "no token is configured");
        for secret in self.credential.secrets() {
            let token = secret.current().1;
            let request = make()
                .credential("x-post-token", token.expose_secret())
                .map_err(|error| operation.explain(error))?;
            secret.count_use();
            let response = self.http.send(context, request).await;
            let response = response.map_err(|error| operation.explain(error))?;
            if response.status != StatusCode::UNAUTHORIZED {
                return self.read(operation, &response);
            }
            secret.count_refusal();
            refusal = operation.refused(&response, self.clock.now());
        }
        Err(refusal)
    }

    fn read<T: DeserializeOwned>(
        &self,
        operation: &Operation<'_>,
        response: &Response,
    ) -> Result<T, ProviderError> {
        if !response.status.is_success() {
            return Err(operation.refused(response, self.clock.now()));
        }
        serde_json::from_slice(&response.body).map_err(|_| operation.unreadable(response))
    }
}
