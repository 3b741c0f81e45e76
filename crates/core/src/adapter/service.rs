//! A provider's service as one configured provider asks it: its base URL, and which of the secrets it takes.

use std::{fmt, sync::Arc};

use super::{BaseUrl, Operation};
use crate::{
    BuildContext, Cause, Clock, Outcome, ProviderError,
    http::{CallContext, HttpClient, Request, Response},
    secret::{Credential, Key},
};

/// A service, and what is needed to ask it.
pub struct Service {
    /// The provider's configured name.
    pub name: String,
    /// The URL that all its paths are below.
    pub base_url: BaseUrl,
    /// The secrets that requests are made with.
    pub credential: Credential,
    /// The client, with this provider's own connections.
    pub http: HttpClient,
    /// The clock that the adapter goes by.
    pub clock: Arc<dyn Clock>,
}

/// A reply, and the secret that got it.
pub struct Reply {
    /// The reply itself.
    pub response: Response,
    /// The secret that the request was made with.
    pub key: Key,
}

impl Service {
    /// The service of the provider that is being built.
    pub fn new(part: &BuildContext<'_>, base_url: BaseUrl, credential: Credential) -> Self {
        let (http, clock) = (part.http.clone(), part.clock.clone());
        Self { name: part.name.to_owned(), base_url, credential, http, clock }
    }

    /// An operation at this provider, such as "creating invites", for what errors say.
    pub fn operation(&self, doing: impl Into<String>) -> Operation {
        Operation::new(doing, &self.name)
    }

    /// Makes a request with the secret that worked last, and once more with the other one if that is refused or
    /// cannot be used. `make` gets the secret's value; `refuses` tells whether a reply refuses the secret.
    ///
    /// # Errors
    /// There was no reply. A refusal is a reply.
    pub async fn send(
        &self,
        context: &CallContext,
        operation: &Operation,
        make: impl Fn(&str) -> Result<Request, ProviderError>,
        refuses: impl Fn(&Response) -> bool,
    ) -> Result<Reply, ProviderError> {
        let none = operation.failed(Outcome::NotSent, "no secret is configured");
        let mut last = Err(none.caused_by(Cause::Credentials));
        for key in self.credential.in_order() {
            let request = match make(key.value()) {
                Ok(request) => request,
                Err(error) => {
                    last = Err(operation.explain(error));
                    continue;
                }
            };
            key.secret.count_use();
            let response = self.http.send(context, request).await;
            let response = response.map_err(|error| operation.explain(error))?;
            if !refuses(&response) {
                self.credential.accept(&key);
                return Ok(Reply { response, key });
            }
            key.secret.count_refusal();
            last = Ok(Reply { response, key });
        }
        last
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {:?}", self.name, self.base_url, self.credential)
    }
}
