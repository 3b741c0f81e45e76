//! The callers: so many connections that each send the next request when the last is answered, or as many requests a second
//! as are said, whether the last are answered or not.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use crate::upstream::occurrences;

/// No answer is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);
const SENT: &[u8] = br#""status":"pending""#;

/// How the callers ask.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Invites in one request.
    pub invites: usize,
    /// Requests a second, however long the answers take.
    pub rate: Option<f64>,
    /// So many requests in all; none for as many as there is time for.
    pub most: Option<u64>,
}

/// Whom they ask.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub key: String,
    /// Whether the answer shows each invite as sent, and the invite can be read afterwards.
    pub answers_invites: bool,
}

/// Callers under way.
pub struct Callers {
    shared: Rc<Shared>,
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

struct Shared {
    load: Load,
    target: Target,
    began: Instant,
    stop: Cell<bool>,
    recording: Cell<bool>,
    /// The number of the next request.
    next: Cell<u64>,
    answered: Cell<u64>,
    tally: RefCell<Tally>,
}

/// What was answered while it was recorded.
#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    pub invites: u64,
    /// In milliseconds.
    pub latencies: Vec<f64>,
}

impl Tally {
    /// The latency that this part of the requests did not exceed.
    pub fn quantile(&mut self, part: f64) -> Option<f64> {
        self.latencies.sort_by(f64::total_cmp);
        let last = self.latencies.len().checked_sub(1)?;
        Some(self.latencies[(last as f64 * part).round() as usize])
    }
}

impl Callers {
    /// Starts them; nothing is recorded yet. Within a `LocalSet`.
    pub fn start(load: Load, target: Target) -> Self {
        let shared = Rc::new(Shared {
            load,
            target,
            began: Instant::now(),
            stop: Cell::new(false),
            recording: Cell::new(false),
            next: Cell::new(0),
            answered: Cell::new(0),
            tally: RefCell::default(),
        });
        let callers = (0..load.connections).map(|_| spawn_local(call(Rc::clone(&shared))));
        Self { tasks: callers.collect(), shared }
    }

    pub fn record(&self) {
        self.shared.recording.set(true);
    }

    /// Ends the recording; the callers go on until they are stopped.
    pub fn recorded(&self) -> Tally {
        self.shared.recording.set(false);
        self.shared.tally.take()
    }

    /// Whether each of them may have had an answer when so many were there before. Chance counts for much in less.
    pub fn have_answers_since(&self, before: u64) -> bool {
        self.answered() >= before + self.tasks.len() as u64
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.shared.answered.get()
    }

    /// Whether one of them has given up.
    pub fn is_broken(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Lets each have its last answer.
    ///
    /// # Errors
    /// What the first of them that gave up met.
    pub async fn stop(self) -> Result<(), String> {
        self.shared.stop.set(true);
        self.finish().await
    }

    /// Waits until they have made as many requests as they may.
    ///
    /// # Errors
    /// What the first of them that gave up met.
    pub async fn finish(self) -> Result<(), String> {
        for task in self.tasks {
            task.await.map_err(|error| format!("a caller ended: {error}"))??;
        }
        Ok(())
    }
}

/// One connection's requests, and at the end a look at the last invite that it made.
async fn call(shared: Rc<Shared>) -> Result<(), String> {
    let mut caller = Caller::new(shared.target.clone());
    let mut last = Bytes::new();
    while !shared.stop.get() {
        let number = shared.next.replace(shared.next.get() + 1);
        if shared.load.most.is_some_and(|most| number >= most) {
            break;
        }
        let began = match shared.load.rate {
            None => Instant::now(),
            Some(rate) => {
                let due = shared.began + Duration::from_secs_f64(number as f64 / rate);
                if due > Instant::now() {
                    // The timer may be a millisecond late, which is not the peer's.
                    sleep_until(due).await;
                    Instant::now()
                } else {
                    due
                }
            }
        };
        if shared.stop.get() {
            break;
        }
        let body = body("treasury", shared.load.invites);
        let asked = caller.ask(Method::POST, "/v1/invites", "wait=30", body);
        let (status, answer) = asked.await?;
        let is_whole = !shared.target.answers_invites
            || status == StatusCode::CREATED
                && occurrences(&answer, SENT) == shared.load.invites as u64;
        if !status.is_success() || !is_whole {
            let text = String::from_utf8_lossy(&answer);
            let text: String = text.chars().take(600).collect();
            return Err(format!("POST /v1/invites was answered with {status}: {text}"));
        }
        shared.answered.set(shared.answered.get() + 1);
        if shared.recording.get() {
            let mut tally = shared.tally.borrow_mut();
            tally.requests += 1;
            tally.invites += shared.load.invites as u64;
            tally.latencies.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        last = answer;
    }
    if !shared.target.answers_invites || last.is_empty() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&last)
        .map_err(|error| format!("an answer to POST /v1/invites is not JSON: {error}"))?;
    let id = answer["invites"][0]["id"].as_str().unwrap_or_default();
    let path = format!("/v1/invites/{id}");
    let asked = caller.ask(Method::GET, &path, "wait=30", Bytes::new());
    let (status, answer) = asked.await?;
    if occurrences(&answer, SENT) != 1 {
        let text = String::from_utf8_lossy(&answer);
        return Err(format!("GET {path} does not show it as sent: {status}: {text}"));
    }
    Ok(())
}

/// A request to invite people, whom no other request names, through this provider.
pub fn body(to: &str, invites: usize) -> Bytes {
    static PEOPLE: AtomicU64 = AtomicU64::new(0);
    let first = PEOPLE.fetch_add(invites as u64, Ordering::Relaxed);
    let invites: Vec<String> = (first..first + invites as u64)
        .map(|number| {
            format!(
                r#"{{"email":"person.{number:08}@example.org","first_name":"Ada","last_name":"Lovelace"}}"#
            )
        })
        .collect();
    format!(r#"{{"to":"{to}","invites":[{}]}}"#, invites.join(",")).into()
}

/// One keep-alive connection to a peer.
pub struct Caller {
    target: Target,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub fn new(target: Target) -> Self {
        Self { target, connection: None }
    }

    /// Sends a request and waits for the answer. Within a `LocalSet`.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        prefer: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let address = self.target.address;
        let failed = |what: &str, error: &dyn Display| {
            format!("{method} {path} at {address}: {what}: {error}")
        };
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, "bench.example.org")
            .header(header::AUTHORIZATION, &self.target.key)
            .header(header::CONTENT_TYPE, "application/json")
            .header("prefer", prefer)
            .body(Full::new(body))
            .unwrap();
        let open = self.open().await.map_err(|error| failed("cannot connect", &error))?;
        let exchange = async {
            let response = open.send_request(request).await?;
            let status = response.status();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer.map_err(|error| failed("no whole answer came", &error)),
            Err(_) => Err(failed("no answer came", &format!("within {PATIENCE:?}"))),
        }
    }

    /// The connection, made anew if the peer has closed it.
    async fn open(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        let is_open = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = TcpStream::connect(self.target.address).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let _ = stream.set_nodelay(true);
            let made = handshake(TokioIo::new(stream)).await;
            let (connection, driver) = made.map_err(|error| error.to_string())?;
            spawn_local(driver);
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(|| "it closed at once".to_owned())
    }
}
