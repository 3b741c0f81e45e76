//! Securegate's endpoints, one method each. Nothing else does HTTP; what the replies mean is told
//! by `wire` and `error`.

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

/// Securegate's API, as one provider sees it.
#[derive(Debug)]
pub struct Client {
    /// Where it is, and with which keys.
    pub service: Service,
}

/// What a reply said, and when by Securegate's clock.
pub struct Reply<T> {
    /// The body.
    pub body: T,
    /// The reply's `Date`.
    pub date: Option<Timestamp>,
}

impl Client {
    /// The base URL without a trailing slash.
    pub fn base(&self) -> &str {
        self.service.base_url.as_str()
    }

    /// Refuses to act on something that is elsewhere, where this provider's key must not go.
    pub fn check_place(
        &self,
        operation: &Operation,
        place: &Destination,
    ) -> Result<(), ProviderError> {
        if place.base_url == self.base() {
            return Ok(());
        }
        let why = format!("it belongs to {}, not to {}", place.base_url, self.base());
        Err(operation.not_found(&why))
    }

    /// The path and query of a create call, below the base URL. `query` is what all of its invites
    /// share.
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
        let body_cap = reply_cap(recipients.len());
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

    /// `GET /events/{event_id}/invites`: all of them, in one reply.
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

    /// `GET /invites?email=&event_id=`: one of the invites to an address, none if there is none.
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

    /// `GET /events`, of which only matters that it is answered.
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

    /// A place below the base URL. What would not stay one step of the path is refused.
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

    /// Makes a request; once more with the other key if the first one tried is refused.
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

/// Gives each recipient the invite of the reply that is to its address. Securegate may show an address
/// in its own spelling: what is left over belongs together where the rest of what it shows says so, or
/// where one is left on either side. Every invite of a success exists, so that ids whose invites nobody
/// can be given are named.
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
            "the reply to a create call holds invites that cannot be told to be anybody's"
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

/// Pairs what shows the same names and number with the only recipient of whom it can be, then the last
/// one with the last.
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
        // A call for one invite made that one; else another person's address is another person's.
        if results.len() == 1 || recipients[*place].address.may_be_shown_as(shown) {
            results[*place] = left.pop();
        }
    }
}

/// A peer with canned replies, and the people of the tests.
#[cfg(test)]
pub mod canned {
    use std::sync::{Arc, Mutex, PoisonError};

    use invite_core::{InviteId, Invitee};
    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// The time that the peer's replies show.
    pub const DATE: &str = "Sat, 21 Nov 2026 10:00:00 GMT";

    /// A loopback server that gives one reply per connection, in order.
    pub struct Peer {
        /// Its base URL.
        pub url: String,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Peer {
        /// A peer with these replies, status and body. Status 0 cuts the connection; a number is a body
        /// that is said to be so long.
        pub async fn new(replies: Vec<(u16, Value)>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let requests = Arc::new(Mutex::new(Vec::new()));
            let seen = requests.clone();
            tokio::spawn(async move {
                for (status, body) in replies {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let request = read(&mut stream).await;
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    if status > 0 {
                        let body = body.to_string();
                        let head = format!(
                            "HTTP/1.1 {status} x\r\ndate: {DATE}\r\nconnection: close\r\n\
                             content-length: {}\r\n\r\n",
                            body.parse().unwrap_or(body.len())
                        );
                        stream.write_all((head + &body).as_bytes()).await.unwrap();
                    }
                }
            });
            Self { url, requests }
        }

        /// The requests so far: request line, the key in brackets, the body.
        pub fn requests(&self) -> Vec<String> {
            self.requests.lock().unwrap().clone()
        }
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        loop {
            stream.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let header = |name: &str| {
                head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or("")
            };
            if body.len() >= header("content-length").parse().unwrap_or(0) {
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
                return format!("{line} [{}] {body}", header("x-api-key")).trim_end().to_owned();
            }
        }
    }

    /// A recipient at `base_url` in event-456, by email and first name.
    pub fn recipient(base_url: &str, email: &str, first_name: &str) -> Recipient {
        Recipient {
            id: InviteId::generate(),
            invitee: Invitee {
                email: email.into(),
                first_name: Some(first_name.into()),
                last_name: Some("Lovelace".into()),
                phone: Some("+15551234567".into()),
                message: None,
            },
            address: email.parse().unwrap(),
            destination: place(base_url),
            params: json!({"authentication_method": "QR Code"}),
        }
    }

    /// event-456 at `base_url`.
    pub fn place(base_url: &str) -> Destination {
        let (kind, scope) = ("securegate".into(), "event-456".into());
        Destination { kind, base_url: base_url.into(), scope }
    }

    /// What Securegate shows of such an invite.
    pub fn shown(id: &str, email: &str, first_name: &str, created_at: &str) -> Value {
        json!({
            "id": id, "first_name": first_name, "last_name": "Lovelace", "email": email,
            "country_code": "1", "mobile_number": "5551234567",
            "authentication_method": "QR Code", "event_id": "event-456",
            "session_code": "ABC123", "session_id": "session-789", "image": null,
            "status": "pending", "created_at": created_at, "updated_at": created_at,
        })
    }
}
