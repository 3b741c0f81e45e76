//! A post office over real HTTP that verifies the token, remembers its cards, and can cut a
//! connection. Written from the first section of the README; shares nothing with the adapter.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use url::form_urlencoded;

const MOTIFS: [&str; 2] = ["lighthouse", "harbour"];

/// A post office that is open until it is dropped.
pub struct PostOffice {
    url: String,
    counter: Arc<Mutex<Counter>>,
    open: JoinHandle<()>,
}

/// When a connection is cut instead of an answer given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the next card is written.
    BeforeTheEffect,
    /// After the next card was written.
    AfterTheEffect,
}

#[derive(Default)]
struct Counter {
    token: String,
    cards: Vec<Value>,
    cut: Option<Cut>,
    /// Every request: method, path and query.
    requests: Vec<String>,
}

type Answer = (StatusCode, Value);

/// Ends a connection without a byte of an answer.
#[derive(Debug)]
struct Hangup;

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Hangup {}

impl PostOffice {
    /// Opens a post office that takes this token.
    pub async fn open(token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counter = Counter { token: token.to_owned(), ..Counter::default() };
        let counter = Arc::new(Mutex::new(counter));
        let open = tokio::spawn(accept(listener, counter.clone()));
        Self { url, counter, open }
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it takes this token only.
    pub fn take_token(&self, token: &str) {
        self.counter().token = token.to_owned();
    }

    /// Cuts one connection.
    pub fn cut(&self, cut: Cut) {
        self.counter().cut = Some(cut);
    }

    /// Every card that was ever written.
    pub fn cards(&self) -> Vec<Value> {
        self.counter().cards.clone()
    }

    /// How many requests began with this, such as `POST /cards`.
    pub fn count(&self, request: &str) -> usize {
        self.counter().requests.iter().filter(|line| line.starts_with(request)).count()
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap()
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        self.open.abort();
    }
}

async fn accept(listener: TcpListener, counter: Arc<Mutex<Counter>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let counter = counter.clone();
        let service = service_fn(move |request| answer(counter.clone(), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// An error ends the connection.
async fn answer(
    counter: Arc<Mutex<Counter>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Hangup> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let token = head.headers.get("x-post-token").map(|token| token.as_bytes().to_vec());
    let mut counter = counter.lock().unwrap();
    counter.requests.push(format!("{} {target}", head.method));
    let (status, reply) = if token.as_deref() != Some(counter.token.as_bytes()) {
        refusal(StatusCode::UNAUTHORIZED, "BAD_TOKEN", "this token opens no account")
    } else {
        counter.serve(&head.method, head.uri.path(), head.uri.query(), &body)?
    };
    let reply = Full::new(Bytes::from(reply.to_string()));
    Ok(Response::builder().status(status).body(reply).unwrap())
}

fn refusal(status: StatusCode, code: &str, text: &str) -> Answer {
    (status, json!({ "error": { "code": code, "text": text } }))
}

impl Counter {
    fn serve(
        &mut self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, Hangup> {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        Ok(match (method.as_str(), &steps[..]) {
            ("POST", ["cards"]) => return self.write(body),
            ("GET", ["cards"]) => (StatusCode::OK, self.list(query.unwrap_or_default())),
            ("GET", ["cards", id]) => match self.find(id) {
                Some(card) => (StatusCode::OK, card.clone()),
                None => no_such_card(),
            },
            ("POST", ["cards", id, "cancel"]) => match self.find(id) {
                Some(card) if card["state"] == "mailed" => {
                    refusal(StatusCode::CONFLICT, "MAILED", "it is on its way")
                }
                Some(card) => {
                    card["state"] = json!("cancelled");
                    (StatusCode::OK, card.clone())
                }
                None => no_such_card(),
            },
            _ => refusal(StatusCode::NOT_FOUND, "NO_SUCH_COUNTER", "nobody is served here"),
        })
    }

    fn write(&mut self, body: &[u8]) -> Result<Answer, Hangup> {
        if self.cut == Some(Cut::BeforeTheEffect) {
            self.cut = None;
            return Err(Hangup);
        }
        let Ok(mut card) = serde_json::from_slice::<Value>(body) else {
            return Ok(refusal(StatusCode::BAD_REQUEST, "ILLEGIBLE", "this is no JSON"));
        };
        if !MOTIFS.iter().any(|motif| card["motif"] == *motif) {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(refusal(status, "NO_SUCH_MOTIF", "there is no card with this motif"));
        }
        card["id"] = json!(format!("card-{}", self.cards.len() + 1));
        card["state"] = json!("written");
        self.cards.push(card.clone());
        match self.cut.take() {
            Some(_) => Err(Hangup),
            None => Ok((StatusCode::CREATED, card)),
        }
    }

    fn list(&self, query: &str) -> Value {
        let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
        let is_wanted = |card: &&Value| {
            let to = card["to"].as_str().unwrap_or_default();
            query.get("to").is_none_or(|wanted| to.eq_ignore_ascii_case(wanted))
        };
        json!({ "cards": self.cards.iter().filter(is_wanted).collect::<Vec<_>>() })
    }

    fn find(&mut self, id: &str) -> Option<&mut Value> {
        self.cards.iter_mut().find(|card| card["id"] == id)
    }
}

fn no_such_card() -> Answer {
    refusal(StatusCode::NOT_FOUND, "NO_SUCH_CARD", "there is no such card")
}
