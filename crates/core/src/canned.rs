//! For tests of adapters: a peer on loopback that gives canned answers, and a provider that asks it.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    BuildContext, Fault, InviteId, InviteProvider, Invitee, ManualClock, NewInvite, Recipient,
    Remote, Status,
    adapter::{BaseUrl, Service},
    http::{AddressGuard, CallContext, HttpClient, Response},
    secret::{Credential, Secret, SecretRef},
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path with query, such as `GET /invites?page=2`.
    pub line: String,
    head: String,
    /// The body as it was sent.
    pub body: String,
}

impl Asked {
    /// Whether its line begins so.
    pub fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }

    /// The last step of its path.
    pub fn step(&self) -> &str {
        self.line.rsplit('/').next().unwrap_or_default()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server on loopback that answers one request after the other, each on a connection of its own.
pub struct Peer {
    /// Its base URL, without a slash at its end.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Peer {
    /// A peer that answers with the status and the body that `answer` gives. A text is sent as it is, other bodies
    /// as JSON; a number is sent as a body that claims to have so many bytes. Status 0 cuts the connection.
    pub fn start(answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static) -> Self {
        Self::with_header("", answer)
    }

    /// A peer that gives these answers in their order, and then cuts connections.
    pub fn replying(header: &str, answers: Vec<(u16, Value)>) -> Self {
        let mut answers = answers.into_iter();
        Self::with_header(header, move |_| answers.next().unwrap_or((0, Value::Null)))
    }

    /// As [`start`](Self::start), with header lines in each answer, which end with CR LF.
    pub fn with_header(
        header: &str,
        mut answer: impl FnMut(&Asked) -> (u16, Value) + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listener = TcpListener::from_std(listener).unwrap();
        let (header, asked) = (header.to_owned(), Arc::<Mutex<Vec<Asked>>>::default());
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else { continue };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                let (status, body) = answer(&request);
                if status == 0 {
                    continue;
                }
                let length = body.as_u64();
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{header}\
                     connection: close\r\ncontent-length: {}\r\n\r\n",
                    length.unwrap_or(body.len() as u64)
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        Self { url, asked }
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// How many requests had a line that begins so.
    pub fn count(&self, start: &str) -> usize {
        self.asked().iter().filter(|asked| asked.is(start)).count()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n")?;
            let line = line.strip_suffix(" HTTP/1.1")?.to_owned();
            let asked = Asked { line, head: head.to_owned(), body: body.to_owned() };
            let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(asked);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A provider under test, and the clock that it goes by.
pub struct Bench {
    /// The provider.
    pub provider: Arc<dyn InviteProvider>,
    /// Its clock, which stands still until a test moves it.
    pub clock: ManualClock,
}

impl Deref for Bench {
    type Target = dyn InviteProvider;

    fn deref(&self) -> &Self::Target {
        &*self.provider
    }
}

impl Bench {
    /// Builds a provider of this name at this time, with secrets of these values, wherever the settings refer to.
    ///
    /// # Errors
    /// The faults of the settings or the secrets.
    pub fn build(
        build: impl Fn(&BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>>,
        name: &str,
        settings: &Value,
        secrets: &[&str],
        now: Timestamp,
    ) -> Result<Self, Vec<Fault>> {
        let (clock, credential) = (ManualClock::new(now), credential(secrets));
        let provider = build(&BuildContext {
            name,
            settings,
            clock: Arc::new(clock.clone()),
            http: client(),
            resolve_secret: &|_| Ok(credential.clone()),
        })?;
        Ok(Self { provider, clock })
    }

    /// An invite to this person, bound to the provider.
    pub fn recipient(&self, invitee: Invitee) -> Recipient {
        let invite = NewInvite { invitee: invitee.clone(), ..NewInvite::default() };
        let resolved = self.resolve(&invite).unwrap();
        Recipient {
            id: InviteId::generate(),
            address: invitee.email.parse().unwrap(),
            invitee,
            destination: resolved.destination,
            params: resolved.params,
        }
    }

    /// Gives one of its secrets another value.
    pub fn rotate(&self, place: usize, value: &str) {
        self.credential().secrets()[place].replace(value.into());
    }

    /// How often each of its secrets was used, and how often refused.
    pub fn usage(&self) -> Vec<(u64, u64)> {
        let usage = self.credential().usage().into_iter();
        usage.map(|usage| (usage.used, usage.refused)).collect()
    }
}

/// A credential of secrets with these values.
pub fn credential(values: &[&str]) -> Credential {
    let secret =
        |value: &&str| Arc::new(Secret::new(&SecretRef::Literal((*value).into()), (*value).into()));
    Credential::new(values.iter().map(secret).collect())
}

/// A service at a peer, with one secret.
pub fn service(name: &str, peer: &Peer, secret: &str, now: Timestamp) -> Service {
    Service {
        name: name.into(),
        base_url: BaseUrl::read(&peer.url).unwrap(),
        credential: credential(&[secret]),
        http: client(),
        clock: Arc::new(ManualClock::new(now)),
    }
}

/// A client that reaches what is on loopback by its number.
pub fn client() -> HttpClient {
    HttpClient::new(AddressGuard::default()).unwrap()
}

/// An attempt that may take ten seconds.
pub fn context() -> CallContext {
    CallContext::new(Duration::from_secs(10))
}

/// A reply that was received at the start of 1970.
pub fn response(status: u16, headers: &[(&'static str, &str)], body: impl ToString) -> Response {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), value.parse().unwrap())
    };
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.iter().map(header).collect(),
        body: body.to_string().into(),
        received: Timestamp::UNIX_EPOCH,
    }
}

/// A pending invite of a recipient, as a provider knows it.
pub fn remote(recipient: Recipient, provider_ref: Option<&str>, data: Value) -> Remote {
    Remote {
        destination: recipient.destination,
        provider_ref: provider_ref.map(str::to_owned),
        data: data.as_object().cloned().unwrap_or_default(),
        invitee: recipient.invitee,
        address: recipient.address,
        index: 0,
        status: Status::Pending,
        expires_at: None,
        revoke_sent: false,
    }
}
