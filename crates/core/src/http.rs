//! The one HTTP client that every adapter uses.
//!
//! It makes one attempt: it follows no redirect and retries nothing, always verifies TLS, and bounds bodies and
//! the time for all of it. Its errors say whether a byte of the request can have left. What an answer means is
//! for the adapters to say.

mod body;
mod context;
mod difference;
mod guard;
mod pace;
mod redact;
mod request;
mod roots;
mod scrub;
mod wait;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;

pub use context::{CallContext, Exchange};
pub use difference::ClockDifference;
pub use guard::{AddressGuard, is_private};
pub use request::{Record, Request, check_header, reply_cap};
pub use roots::TlsRoots;
pub use scrub::{scrub, scrub_of};
pub use wait::RateHint;

use body::{ABANDONED, LEFT, WAITING, WatchedBody};
use redact::{credentials, redact};

use crate::{Cause, Outcome, ProviderError};

/// The longest reply that is read, in bytes; lists and calls of several invites have caps of their own.
pub const BODY_CAP: usize = 1024 * 1024;
/// The longest reply to a list request that is read, in bytes.
pub const LIST_BODY_CAP: usize = 64 * 1024 * 1024;
/// The longest reply that goes into the attempt's record, in bytes; a longer one is only read.
const KEPT_REPLY: usize = 256 * 1024;
/// From this length on, in bytes, a reply is parsed aside ([`CallContext::aside`]).
const LONG: usize = 64 * 1024;
/// The `code` of the error for a reply that is longer than its cap.
pub const TOO_LONG: &str = "reply-too-long";

/// A reply, read to its end.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it was received, by the machine's clock.
    pub received: Timestamp,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

impl Response {
    /// The provider's clock when it answered.
    pub fn date(&self) -> Option<Timestamp> {
        date(&self.headers)
    }

    /// How long it asks to wait. A point in time is compared with its own `Date`, and with our clock only where it
    /// has none.
    pub fn retry_after(&self) -> Option<Duration> {
        wait::retry_after(self.status, &self.headers, self.received)
    }

    /// The outcome by the status alone, as the table in docs/delivery.md has it; none for 2xx, where the body
    /// decides. Adapters refine it by the provider's own codes.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.status.as_u16() {
            200..=299 => None,
            429 => Some(Outcome::Throttled),
            408 | 409 | 425 | 499 => Some(Outcome::Unknown),
            400..=498 => Some(Outcome::Rejected),
            _ => Some(Outcome::Unknown),
        }
    }
}

/// The client of one provider, with connections of its own. Clones share them.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
}

impl HttpClient {
    /// A client that connects only where `guard` allows.
    ///
    /// # Errors
    /// If the system's TLS roots cannot be read.
    pub fn new(guard: AddressGuard) -> Result<Self, String> {
        Self::with_roots(guard, &TlsRoots::read()?)
    }

    /// The same with roots that were read before, for whoever makes several clients.
    ///
    /// # Errors
    /// If the client cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "this is where the client is made")]
    pub fn with_roots(guard: AddressGuard, roots: &TlsRoots) -> Result<Self, String> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(roots.client_config())
            .user_agent(concat!("invite-gateway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(guard)
            .build()
            .map(|inner| Self { inner })
            .map_err(|error| format!("cannot set up the HTTP client: {}", chain(&error)))
    }

    /// Waits for the context's rate budget, makes one request and reads the reply to its end.
    ///
    /// # Errors
    /// - [`Outcome::Throttled`]: the budget left too little time for an answer, so nothing was sent.
    /// - [`Outcome::NotSent`]: no byte of the request's body was written, or the guard kept it back.
    /// - [`Outcome::Unknown`]: one may have been written; also if the reply broke off or was too long.
    pub async fn send(
        &self,
        context: &CallContext,
        request: Request,
    ) -> Result<Response, ProviderError> {
        if context.offline {
            return Err(ProviderError::new(Outcome::NotSent, "a dry run sends nothing"));
        }
        let place = request.place();
        if !context.wait_for_budget().await {
            let why = format!(
                "{place}: not sent, because the provider's rate budget (limits.requests_per_second) \
                 left it no turn early enough within limits.timeout; try again later, or raise either"
            );
            return Err(ProviderError::new(Outcome::Throttled, why));
        }
        let phase = if request.body.is_empty() { LEFT } else { WAITING };
        let phase = Arc::new(AtomicU8::new(phase));
        let kept_back: Arc<OnceLock<String>> = Arc::default();
        let record = request.record;
        let credentials = credentials(&request);
        let mut exchange = Exchange {
            target: redacted(request.target(), &credentials),
            request: (record == Record::Whole).then(|| text(&request.body)).flatten(),
            ..Exchange::default()
        };
        let sent = context.clock.wall();
        let watched = |bytes| WatchedBody {
            bytes: Some(bytes),
            phase: phase.clone(),
            guard: context.guard.clone(),
            kept_back: Arc::clone(&kept_back),
        };
        let attempt = self.attempt(request, &credentials, watched, &mut exchange, context);
        let result = match tokio::time::timeout_at(context.deadline, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Failure::while_reading("no answer in time".into())),
        };
        if let Ok(reply) = &result {
            context.note_hints(reply, sent);
        }
        let result = result.map_err(|failure| {
            // The connection asks for the body while it writes the head. If it never asked, no byte was
            // written, and from now on it gets none. A request without a body is proven not to be sent only
            // by a failure to connect.
            let abandoned = phase.swap(ABANDONED, Ordering::AcqRel) == WAITING;
            if let Some(why) = kept_back.get() {
                let why = format!("{place}: not sent: {why}");
                return ProviderError::new(Outcome::NotSent, why);
            }
            let not_sent = failure.connecting || abandoned;
            let outcome = if not_sent { Outcome::NotSent } else { Outcome::Unknown };
            let message = format!("{place}: {}", failure.text);
            let code = failure.too_long.then(|| TOO_LONG.to_owned());
            let http_status = exchange.status;
            ProviderError { code, http_status, ..ProviderError::new(outcome, message) }
                .caused_by(Cause::Transport)
        });
        match record {
            Record::Whole | Record::Outline => context.record(exchange),
            Record::Nothing => {}
        }
        result
    }

    async fn attempt(
        &self,
        request: Request,
        credentials: &[Zeroizing<Vec<u8>>],
        watched: impl FnOnce(Bytes) -> WatchedBody,
        exchange: &mut Exchange,
        context: &CallContext,
    ) -> Result<Response, Failure> {
        let (cap, record) = (request.body_cap, request.record);
        let mut builder = self.inner.request(request.method, request.url).headers(request.headers);
        if !request.body.is_empty() {
            builder = builder.body(reqwest::Body::wrap(watched(request.body)));
        }
        let mut reply = builder.send().await.map_err(|error| Failure {
            connecting: error.is_connect() || error.is_builder(),
            too_long: false,
            text: chain(&error.without_url()),
        })?;
        exchange.status = Some(reply.status().as_u16());
        exchange.request_id = request_id(reply.headers()).map(|id| redacted(id, credentials));
        let too_long = || {
            let text = format!("the reply is longer than the {cap} bytes that are read of it");
            Failure { too_long: true, ..Failure::while_reading(text) }
        };
        if reply.content_length().is_some_and(|length| length > cap as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(|error| {
            let why = format!("the reply broke off: {}", chain(&error.without_url()));
            Failure::while_reading(why)
        })? {
            if body.len() + chunk.len() > cap {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
            if body.len() > LONG && !context.is_long.swap(true, Ordering::Relaxed) {
                // The next poll is the first that runs aside.
                tokio::task::yield_now().await;
            }
        }
        let response = Response {
            status: reply.status(),
            headers: std::mem::take(reply.headers_mut()),
            body: redact(body, credentials).into(),
            received: context.clock.wall(),
        };
        // A body that is not recorded may be secret, so no copy of it is made.
        let is_kept = match record {
            Record::Whole => true,
            Record::Outline => !response.status.is_success(),
            Record::Nothing => false,
        } && response.body.len() <= KEPT_REPLY;
        exchange.reply = is_kept.then(|| text(&response.body)).flatten();
        exchange.date = response.date();
        Ok(response)
    }
}

struct Failure {
    connecting: bool,
    too_long: bool,
    text: String,
}

impl Failure {
    fn while_reading(text: String) -> Self {
        Self { connecting: false, too_long: false, text }
    }
}

/// The sender's clock, by the `Date` of a reply.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
}

/// The headers in which services name a request, for whoever asks them about it.
const REQUEST_ID: [&str; 6] = [
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-amzn-requestid",
    "x-cloud-trace-context",
    "cf-ray",
];
/// A longer id, in bytes, is none.
const MAX_REQUEST_ID: usize = 200;

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = |name: &&str| {
        let id = headers.get(*name)?.to_str().ok()?.trim();
        (1..=MAX_REQUEST_ID).contains(&id.len()).then(|| id.to_owned())
    };
    REQUEST_ID.iter().find_map(id)
}

fn redacted(text: String, credentials: &[Zeroizing<Vec<u8>>]) -> String {
    String::from_utf8_lossy(&redact(text.into_bytes(), credentials)).into_owned()
}

fn text(body: &Bytes) -> Option<String> {
    (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned())
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::{Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::canned::{Peer, client};

    const SECOND: Duration = Duration::from_secs(1);

    /// The address of a peer that does this with its one connection.
    async fn raw_peer<R>(handle: impl FnOnce(TcpStream) -> R + Send + 'static) -> String
    where
        R: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { handle(listener.accept().await.unwrap().0).await });
        url
    }

    fn answering(body: Value) -> Peer {
        Peer::start(move |_| (200, body.clone()))
    }

    fn post(url: &str) -> Request {
        let url = format!("{url}/invites?email=ada").parse().unwrap();
        Request::new(Method::POST, url).json("{}")
    }

    async fn send(url: &str, timeout: Duration, cap: usize) -> Result<Response, ProviderError> {
        let request = Request { body_cap: cap, ..post(url) };
        client().send(&CallContext::new(timeout), request).await
    }

    #[tokio::test]
    async fn whatever_the_status_a_reply_may_tell_to_wait() {
        for status in [200, 403, 429, 503] {
            let peer = Peer::with_header("retry-after: 7\r\n", move |_| (status, json!("")));
            let context = CallContext::new(SECOND * 60);
            client().send(&context, post(&peer.url)).await.unwrap();
            let told = context.retry_after().unwrap();
            assert!((SECOND * 6..=SECOND * 7).contains(&told), "{status}: {told:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_shows_how_far_the_providers_clock_is_ahead() {
        let now: Timestamp = "2026-11-21T09:50:00Z".parse().unwrap();
        let date = "date: Sat, 21 Nov 2026 10:00:00 GMT\r\n";
        let peer = Peer::with_header(date, |_| (200, json!("")));
        let clock = Arc::new(crate::ManualClock::new(now));
        let context = CallContext::new(SECOND * 60).with_clock(clock);
        client().send(&context, post(&peer.url)).await.unwrap();
        let difference = context.clock_difference().unwrap().proven();
        assert_eq!(difference, jiff::SignedDuration::from_mins(10));
    }

    #[tokio::test]
    async fn what_its_guard_keeps_back_when_the_connection_takes_it_is_not_sent() {
        let (told, heard) = tokio::sync::oneshot::channel();
        let url = raw_peer(|mut stream| async move {
            let mut bytes = Vec::new();
            // Whether it ends or breaks off says nothing of what came.
            let _ = stream.read_to_end(&mut bytes).await;
            told.send(bytes).unwrap();
        });
        let (url, client) = (url.await, client());
        let context = CallContext::new(SECOND * 60).guarded(|| Err("it is too late".to_owned()));
        let error = client.send(&context, post(&url).json("a body")).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::NotSent, Cause::Request));
        assert_eq!(error.message, "POST /invites: not sent: it is too late");
        drop(client);
        let came = String::from_utf8(heard.await.unwrap()).unwrap();
        assert!(!came.contains("a body"), "{came}");
    }

    #[tokio::test]
    async fn a_guard_is_asked_once_and_at_the_last_moment() {
        let peer = answering(json!(""));
        let client = client();
        let asked = Arc::new(AtomicU8::new(0));
        let counted = asked.clone();
        let context = CallContext::new(SECOND * 60).guarded(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let sending = client.send(&context, post(&peer.url));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert_eq!(sending.await.unwrap().status, StatusCode::OK);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refused_connection_means_that_nothing_was_sent() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = send(&format!("http://{free}"), SECOND, 9).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_means_that_nothing_was_sent() {
        let error = send("http://nowhere.invalid", SECOND, 9).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn a_peer_that_never_answers_leaves_the_outcome_unknown() {
        let url = raw_peer(|stream| async move {
            tokio::time::sleep(SECOND * 60).await;
            drop(stream);
        });
        let error = send(&url.await, Duration::from_millis(200), 9).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unknown);
        assert!(!error.message.contains("ada"), "{error}");
    }

    #[tokio::test]
    async fn a_connection_cut_after_the_request_leaves_the_outcome_unknown() {
        let peer = Peer::start(|_| (0, json!("")));
        assert_eq!(send(&peer.url, SECOND, 9).await.unwrap_err().outcome, Outcome::Unknown);
        assert_eq!(peer.asked().len(), 1);
    }

    #[tokio::test]
    async fn a_reply_is_read_and_recorded() {
        let headers = "location: http://example.org/\r\ndate: Sat, 21 Nov 2026 10:00:00 GMT\r\n";
        let peer = Peer::with_header(headers, |_| (302, json!("hi")));
        let context = CallContext::new(SECOND);
        let request = Request { body_cap: 2, ..post(&peer.url) };
        let response = client().send(&context, request).await.unwrap();
        assert_eq!((response.status.as_u16(), &response.body[..]), (302, &b"hi"[..]));
        assert_eq!(response.outcome(), Some(Outcome::Unknown));
        let exchange = &context.exchanges()[0];
        assert_eq!(exchange.target, format!("POST {}/invites?email=ada", peer.url));
        assert_eq!(exchange.reply.as_deref(), Some("hi"));
        assert_eq!(peer.asked()[0].body, "{}");
        assert_eq!(exchange.date.unwrap().to_string(), "2026-11-21T10:00:00Z");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_done_with_a_long_reply_keeps_nobody_waiting() {
        for (length, is_aside) in [(1000, false), (LONG + 1, true)] {
            let peer = answering("x".repeat(length).into());
            let ticks = Arc::new(std::sync::atomic::AtomicU32::new(0));
            let counted = ticks.clone();
            let ticking = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
            let working = tokio::spawn(async move {
                let context = CallContext::new(SECOND * 60);
                let work = async {
                    client().send(&context, post(&peer.url)).await.unwrap();
                    let before = ticks.load(Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(300));
                    ticks.load(Ordering::Relaxed) - before
                };
                context.aside(work).await
            });
            let passed = working.await.unwrap();
            ticking.abort();
            assert_eq!(passed > 3, is_aside, "{passed} ticks during {length} bytes");
        }
    }

    #[tokio::test]
    async fn a_reply_of_more_than_256_kib_is_read_and_not_kept() {
        for (length, is_kept) in [(256 * 1024, true), (256 * 1024 + 1, false)] {
            let peer = answering("x".repeat(length).into());
            let context = CallContext::new(SECOND * 60);
            let response = client().send(&context, post(&peer.url)).await.unwrap();
            assert_eq!(response.body.len(), length);
            assert_eq!(context.exchanges()[0].reply.is_some(), is_kept, "{length}");
        }
    }

    #[tokio::test]
    async fn the_providers_own_id_of_a_request_is_recorded_also_of_a_refusal() {
        for (headers, id) in [
            ("cf-ray: 8f1-TXL\r\nx-request-id: req-7\r\n", Some("req-7")),
            ("cf-ray: 8f1-TXL\r\n", Some("8f1-TXL")),
            ("x-request-id: \r\n", None),
        ] {
            let peer = Peer::with_header(headers, |_| (503, json!("")));
            let context = CallContext::new(SECOND * 60);
            client().send(&context, post(&peer.url)).await.unwrap();
            assert_eq!(context.exchanges()[0].request_id.as_deref(), id, "{headers}");
        }
    }

    #[tokio::test]
    async fn where_a_request_went_is_recorded_without_its_credential() {
        let peer = answering(json!(""));
        let context = CallContext::new(SECOND * 60);
        let url = format!("{}/invites?key=s3cret-token", peer.url).parse().unwrap();
        let request = Request::new(Method::GET, url).credential("x-api-key", "s3cret-token");
        client().send(&context, request.unwrap()).await.unwrap();
        let target = context.exchanges().remove(0).target;
        assert_eq!(target, format!("GET {}/invites?key=…", peer.url));
    }

    #[tokio::test]
    async fn of_a_list_that_is_refused_the_refusal_is_kept() {
        for (status, kept) in [(200, None), (403, Some(r#"{"message":"no"}"#))] {
            let peer = Peer::start(move |_| (status, json!({ "message": "no" })));
            let context = CallContext::new(SECOND * 60);
            client().send(&context, post(&peer.url).listing()).await.unwrap();
            assert_eq!(context.exchanges()[0].reply.as_deref(), kept, "{status}");
        }
    }

    #[tokio::test]
    async fn of_an_exchange_that_is_not_kept_no_body_is() {
        for (record, kept) in [(Record::Outline, 1), (Record::Nothing, 0)] {
            let peer = answering(json!("s3cret"));
            let context = CallContext::new(SECOND * 60);
            let request = Request { record, ..post(&peer.url) };
            assert_eq!(client().send(&context, request).await.unwrap().body, "s3cret");
            assert_eq!(context.exchanges().len(), kept);
            let has_body = |it: &Exchange| it.reply.is_some() || it.request.is_some();
            assert!(!context.exchanges().iter().any(has_body));
        }
    }

    /// Asks a peer again and again in one attempt, whose requests wait for permits.
    fn in_turn(
        timeout: Duration,
    ) -> (impl AsyncFn() -> Result<Response, ProviderError>, Arc<tokio::sync::Semaphore>) {
        let peer = answering(json!(""));
        let permits = Arc::new(tokio::sync::Semaphore::new(0));
        let budget = permits.clone();
        let context = CallContext::new(timeout).paced(move || {
            let budget = budget.clone();
            async move { budget.acquire().await.unwrap().forget() }
        });
        let client = client();
        let send = async move || client.send(&context, post(&peer.url)).await;
        (send, permits)
    }

    #[tokio::test]
    async fn each_request_of_an_attempt_waits_for_its_turn() {
        let (send, permits) = in_turn(SECOND * 60);
        for _ in 0..3 {
            let mut next = std::pin::pin!(send());
            assert!(tokio::time::timeout(SECOND / 10, &mut next).await.is_err());
            permits.add_permits(1);
            next.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_whose_turn_does_not_come_in_time_is_not_sent() {
        let (send, permits) = in_turn(SECOND / 2);
        let error = send().await.unwrap_err();
        assert!(error.outcome == Outcome::Throttled && error.is_of_own_budget());
        assert!(error.message.contains("POST /invites: not sent"), "{error}");
        assert!(error.message.contains("limits.requests_per_second"), "{error}");
        assert_eq!(permits.available_permits(), 0);
    }

    #[tokio::test]
    async fn a_turn_that_leaves_no_time_for_the_answer_is_not_waited_for() {
        let (send, permits) = in_turn(SECOND * 2);
        let late = async {
            tokio::time::sleep(SECOND * 19 / 10).await;
            permits.add_permits(1);
        };
        let (sent, ()) = tokio::join!(send(), late);
        assert_eq!(sent.unwrap_err().outcome, Outcome::Throttled);
        assert_eq!(permits.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_reply_over_the_cap_leaves_the_outcome_unknown() {
        for rest in ["content-length: 3\r\n\r\n", "connection: close\r\n\r\nabc"] {
            let url = raw_peer(move |mut stream| async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let reply = format!("HTTP/1.1 200 OK\r\n{rest}");
                stream.write_all(reply.as_bytes()).await.unwrap();
            });
            let error = send(&url.await, SECOND * 60, 2).await.unwrap_err();
            assert_eq!((error.outcome, error.http_status), (Outcome::Unknown, Some(200)));
            assert_eq!(error.code.as_deref(), Some(TOO_LONG));
        }
    }
}
