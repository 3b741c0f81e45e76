//! A provider's service as one configured provider asks it: where it is, and with which of its secrets.

use std::{fmt, sync::Arc};

use super::{BaseUrl, Operation};
use crate::{
    BuildContext, Cause, Clock, Outcome, ProviderError,
    http::{CallContext, HttpClient, Request, Response},
    secret::{Credential, Key},
};

/// A service and what it takes to ask it.
pub struct Service {
    /// The provider's configured name.
    pub name: String,
    /// Where it is.
    pub base_url: BaseUrl,
    /// The secrets in use.
    pub credential: Credential,
    /// Connections.
    pub http: HttpClient,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// A reply, and the secret that got it.
pub struct Reply {
    /// The reply.
    pub response: Response,
    /// The secret.
    pub key: Key,
}

impl Service {
    /// The service of the provider that is being built.
    pub fn new(part: &BuildContext<'_>, base_url: BaseUrl, credential: Credential) -> Self {
        let (http, clock) = (part.http.clone(), part.clock.clone());
        Self { name: part.name.to_owned(), base_url, credential, http, clock }
    }

    /// What is being done here, for errors.
    pub fn operation(&self, doing: impl Into<String>) -> Operation {
        Operation::new(doing, &self.name)
    }

    /// Makes a request with the secret that worked last, and once more with the other one if that is
    /// refused, or cannot be used. `make` is given the secret's value.
    ///
    /// # Errors
    /// It was not answered. A refusal is an answer.
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
