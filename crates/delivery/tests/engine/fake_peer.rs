//! A real peer for the made-up provider: what a reply's status and headers say is heard as in service.

use invite_core::{
    Cause, Outcome, ProviderError,
    canned::Peer,
    http::{CallContext, HttpClient, Request},
};
use serde_json::json;

use crate::fake::World;

/// What one request of an operation is answered with.
#[derive(Clone)]
pub struct Reply {
    pub operation: &'static str,
    pub status: u16,
    /// Lines that end with CR LF.
    pub headers: &'static str,
}

/// Asks a peer that answers so.
async fn ask(http: &HttpClient, context: &CallContext, reply: Reply) -> Result<(), ProviderError> {
    let Reply { status, headers, .. } = reply;
    let peer = Peer::with_header(headers, move |_| (status, json!({})));
    let request = Request::new("GET".parse().unwrap(), peer.url.parse().unwrap());
    let response = http.send(context, request).await?;
    let Some(outcome) = response.outcome() else { return Ok(()) };
    let cause = if status == 401 { Cause::Credentials } else { Cause::Request };
    let retry_after = response.retry_after();
    let error = ProviderError { retry_after, ..ProviderError::new(outcome, "made up") };
    Err(if outcome == Outcome::Rejected { error.caused_by(cause) } else { error }
        .with_status(status))
}

impl World {
    /// Makes a real request where this operation's next reply is given; whether it did, and the reply was
    /// a success.
    pub async fn ask_peer(
        &self,
        operation: &str,
        http: &HttpClient,
        context: &CallContext,
    ) -> Result<bool, ProviderError> {
        let reply = self.lock().reply.take_if(|reply| reply.operation == operation);
        match reply {
            Some(reply) => ask(http, context, reply).await.map(|()| true),
            None => Ok(false),
        }
    }
}
