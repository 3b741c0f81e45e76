//! A caller of the gateway. Every answer is checked before the test sees it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::openapi::{Document, Seen};
use crate::witness::Witness;

const PROBLEM: &str = "application/problem+json";

/// What all callers of one gateway share. The address changes when the gateway starts again.
#[derive(Default)]
pub(crate) struct Shared {
    pub url: Mutex<String>,
    pub document: Mutex<Option<Arc<Document>>>,
    pub witness: Witness,
}

/// A caller with an API key, or without one.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    key: Option<String>,
    shared: Arc<Shared>,
}

/// A request that is being put together.
pub struct Request {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An answer that is as documented.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body if it is JSON, else null.
    pub body: Value,
    /// The body as text.
    pub text: String,
    /// This end of the connection that it came over.
    pub connection: SocketAddr,
}

/// A client that sends what it is told, for what is no gateway.
#[expect(clippy::disallowed_methods, reason = "a test speaks as a plain client")]
pub fn plain_client() -> reqwest::Client {
    // Fails if another test of this process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(90))
        .no_proxy()
        .build()
        .unwrap()
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, key: Option<String>) -> Self {
        Self { http: plain_client(), key, shared }
    }

    /// A caller of a gateway that the test has put together itself.
    pub async fn connect(url: &str, key: &str) -> Self {
        let shared = Arc::new(Shared::default());
        url.clone_into(&mut shared.url.lock().unwrap());
        shared.witness.keep_secret(key);
        let client = Self::new(shared.clone(), Some(key.to_owned()));
        let document = client.get("/openapi.json").await.expect(200).body;
        *shared.document.lock().unwrap() = Some(Arc::new(Document::new(document)));
        client
    }

    /// Its API key; empty without one.
    pub fn key(&self) -> String {
        self.key.clone().unwrap_or_default()
    }

    /// The same caller with another API key, or what it takes for one.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same caller with connections of its own.
    pub fn apart(&self) -> Self {
        Self { http: plain_client(), ..self.clone() }
    }

    /// The same caller without a key.
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// Any request.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let client = self.clone();
        Request { client, method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// `POST` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send().await
    }

    /// `PATCH` with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path).json(body).send().await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send().await
    }

    /// Posts invites, waits for them to settle, and returns them.
    pub async fn invite(&self, body: &Value) -> Vec<Value> {
        let answer = self.post("/v1/invites", body).await.expect(201);
        answer.invites()
    }

    /// An Invite as it is now.
    pub async fn read(&self, invite: &Value) -> Value {
        let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
        self.get(&path).await.expect(200).body
    }

    /// An Invite once it has one of these statuses.
    pub async fn read_once(&self, invite: &Value, statuses: &[&str]) -> Value {
        let what = format!("the invite becomes {}", statuses.join(" or "));
        crate::eventually(&what, async || {
            let now = self.read(invite).await;
            statuses.contains(&now["status"].as_str().unwrap()).then_some(now)
        })
        .await
    }
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Sends JSON.
    pub fn json(mut self, body: &Value) -> Self {
        self.client.shared.witness.keep_people(body);
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }

    /// Sends these bytes; the media type is a header like any other.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and checks the answer.
    pub async fn send(self) -> Answer {
        let line = format!("{} {}", self.method, self.path);
        match self.try_send().await {
            Ok(answer) => answer,
            Err(error) => panic!("{line} got no answer: {error}"),
        }
    }

    /// Sends it to a gateway that may end meanwhile; what is answered is checked all the same.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let (client, method, path) = (self.client.clone(), self.method.clone(), self.path.clone());
        let response = self.open().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let connection = response.extensions().get::<HttpInfo>().unwrap().local_addr();
        let text = response.text().await?;
        let body = match media_type(&headers) {
            Some(kind) if kind.ends_with("json") => serde_json::from_str(&text).unwrap(),
            _ => Value::Null,
        };
        let answer = Answer { status, headers, body, text, connection };
        client.check(&method, &path, &answer);
        Ok(answer)
    }
}

impl Request {
    /// Sends it, for an answer that has no end; only its beginning is awaited.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn open(self) -> Result<Response, reqwest::Error> {
        let Self { client, method, path, headers, body } = self;
        let url = format!("{}{path}", client.shared.url.lock().unwrap());
        let mut request = client.http.request(method, url).body(body);
        if let Some(key) = &client.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

impl Client {
    #[track_caller]
    fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap_or_default();
        let media_type = media_type(&answer.headers);
        let mut faults = Vec::new();
        if answer.status >= 400 && *method != Method::HEAD {
            self.shared.witness.record_problem(&answer.text);
            faults.extend(problem_faults(media_type, answer));
        }
        if answer.header("x-request-id").is_none() {
            faults.push("there is no X-Request-Id".to_owned());
        }
        let document = self.shared.document.lock().unwrap().clone();
        if let Some(document) = document {
            let Answer { status, headers, body, .. } = answer;
            faults.extend(document.faults(&Seen {
                method,
                path,
                status: *status,
                media_type,
                headers,
                body,
            }));
        }
        let said = faults.join("\n  ");
        assert!(faults.is_empty(), "{method} {path}: {}\n  {said}\n{}", answer.status, answer.text);
    }
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

/// What every problem has, whatever the document says.
fn problem_faults(media_type: Option<&str>, answer: &Answer) -> Vec<String> {
    if media_type != Some(PROBLEM) {
        return vec![format!("a failure that is no {PROBLEM}")];
    }
    let problem = &answer.body;
    let mut faults = Vec::new();
    for member in ["type", "title", "detail", "code", "request_id", "origin", "outcome"] {
        if !problem[member].is_string() {
            faults.push(format!("a problem without `{member}`"));
        }
    }
    if problem["status"] != answer.status {
        faults.push("a problem with another status than its answer".to_owned());
    }
    if problem["request_id"].as_str() != answer.header("x-request-id") {
        faults.push("a problem with another request id than its answer".to_owned());
    }
    faults
}

impl Answer {
    /// Itself, if this is its status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The problem, if it has this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        self.body
    }

    /// The pointers of a problem's errors, sorted.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        let mut pointers: Vec<&str> =
            errors.map(|error| error["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        pointers
    }

    /// A header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The member `invites`.
    #[track_caller]
    pub fn invites(&self) -> Vec<Value> {
        self.list("invites")
    }

    /// A member that is a list.
    #[track_caller]
    pub fn list(&self, member: &str) -> Vec<Value> {
        self.body[member].as_array().unwrap_or_else(|| panic!("no {member}: {}", self.text)).clone()
    }
}
