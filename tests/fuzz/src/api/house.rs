//! A gateway in this process: a database of its own, the three kinds of providers at addresses where
//! nobody answers, and a few invites.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, header, request::Builder};
use http_body_util::BodyExt;
use invite_config::{Gate, Live, Rules};
use invite_core::{Clock, KeyId, SystemClock};
use invite_delivery::{Engine, LiveDocument, Settings};
use invite_http::{Gateway, Limits, generate_key, hash_key};
use invite_store::{Actor, ApiKey, KeyLimits, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tower::ServiceExt;

const DOCUMENT: &str = r#"
[providers.guests]
kind = "securegate"
base_url = "http://127.0.0.1:9"
api_key = "kept-9f3c1d77a2b04e5f8c6d"
event_id = "event-456"
authentication_method = "QR Code"
limits = { retry = { first = "1h", max = "1h" } }

[providers.team]
kind = "rkvst"
base_url = "http://127.0.0.1:9"
bearer_token = "eyJhbGciOiJSUzI1NiJ9.kept9f3c1d77a2b04e5f.c2FuZGJveA"

[providers.treasury]
kind = "turnkey"
base_url = "http://127.0.0.1:9"
organization_id = "89881fc7-6ff3-4b43-b962-916698f8ff58"
api_private_key = "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69"

[[routes]]
when = { email_domain = "team.example" }
to = ["team"]

[[routes]]
to = ["guests"]
"#;

/// The gateway and its runtime.
pub struct House {
    runtime: Runtime,
    router: Router,
    secret: String,
    invite: String,
    key: String,
    _folder: TempDir,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub is_head: bool,
    /// The call as the OpenAPI document describes it, if it is in there.
    pub operation: Option<&'static Value>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?}\n{body}", self.status, self.headers)
    }
}

impl Answer {
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

thread_local! {
    static HOUSE: RefCell<House> = RefCell::new(House::open());
}

impl House {
    /// With this thread's gateway.
    pub fn with(ask: impl FnOnce(&Self)) {
        HOUSE.with_borrow(ask);
    }

    fn open() -> Self {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (router, secret, key) = runtime.block_on(start(&folder));
        let (invite, key) = (String::new(), format!("/v1/admin/keys/{key}"));
        let mut house = Self { runtime, router, secret, invite, key, _folder: folder };
        let people: Vec<Value> = (0..3).map(person).collect();
        let body = json!({ "to": "guests", "invites": people }).to_string();
        let request = Request::post("/v1/invites")
            .header(header::CONTENT_TYPE, "application/json")
            .header("prefer", "respond-async");
        let accepted = house.ask(request, body.as_bytes());
        let id = accepted.json().unwrap()["invites"][0]["id"].as_str().unwrap().to_owned();
        house.invite = format!("/v1/invites/{id}");
        house
    }

    /// An invite that there is.
    pub fn path_of_invite(&self) -> String {
        self.invite.clone()
    }

    /// A key that there is, which is not the one that asks.
    pub fn path_of_key(&self) -> String {
        self.key.clone()
    }

    /// Asks with the key of an administrator, unless the request brings its own.
    pub fn ask(&self, request: Builder, body: &[u8]) -> Answer {
        let mut request = request.body(Body::from(body.to_vec())).unwrap();
        let is_head = request.method() == Method::HEAD;
        let operation = operation(request.method(), request.uri().path());
        let headers = request.headers_mut();
        if !headers.contains_key(header::AUTHORIZATION) {
            let bearer = format!("Bearer {}", self.secret);
            headers.insert(header::AUTHORIZATION, bearer.parse().unwrap());
        }
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, "localhost".parse().unwrap());
        }
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            Answer { status: head.status.as_u16(), headers: head.headers, body, is_head, operation }
        })
    }
}

/// What the OpenAPI document says of a call. No path of it is like another but for a parameter.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(invite_http::openapi);
    let parts = |path: &'static str| path.split('/');
    let is_at = |template: &'static str| {
        parts(template).count() == path.split('/').count()
            && parts(template).zip(path.split('/')).all(|(t, p)| t.starts_with('{') || t == p)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let (_, item) = paths.iter().find(|(template, _)| is_at(template))?;
    item.get(method.as_str().to_lowercase())
}

fn person(number: usize) -> Value {
    json!({
        "email": format!("guest{number}@example.org"), "first_name": "Tamsin",
        "last_name": format!("Quillfeather{number}"), "phone": format!("+1555{:07}", 2_000_000 + number),
        "external_id": format!("order-{number}"), "labels": { "team": "blue" },
    })
}

async fn start(folder: &TempDir) -> (Router, String, KeyId) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kinds = invite_kinds::all();
    let lease = Duration::from_secs(120);
    let gate =
        Arc::new(Gate::new(kinds, Rules::new(lease, vec!["127.0.0.1".into()]), clock.clone()));
    let url = format!("sqlite://{}", folder.path().join("invites.db").display());
    let store = Store::open(&url, clock.clone()).await.unwrap();
    let checked = gate.check(DOCUMENT);
    let live = Live::new(checked.configuration.unwrap_or_else(|| panic!("{:?}", checked.findings)));
    let settings = Settings {
        retention: Default::default(),
        webhook_give_up: Duration::from_secs(3600),
        lease,
        settle: Duration::from_secs(1),
        refresh: Duration::ZERO,
        shutdown_grace: Duration::from_secs(1),
        idempotency_retention: Duration::from_secs(3600),
    };
    let document = LiveDocument::new(store.clone(), gate.clone(), live, clock.clone());
    let engine = Engine::start(document, clock.clone(), settings).await.unwrap();
    let limits = Limits {
        max_invites_per_request: 100,
        max_body_bytes: 1_000_000,
        idempotency_retention: settings.idempotency_retention,
        max_waiting: 100,
    };
    let gateway = Gateway::new(engine, gate.kinds().to_vec(), clock.clone(), limits).unwrap();
    let (secret, other) = (generate_key(), generate_key());
    make_key(&store, &secret).await;
    let key = make_key(&store, &other).await;
    (gateway.router(), secret, key)
}

async fn make_key(store: &Store, secret: &str) -> KeyId {
    let key = ApiKey {
        id: KeyId::generate(),
        hash: hash_key(secret),
        name: "fuzz".into(),
        tenant: "default".into(),
        scopes: vec!["admin".into()],
        providers: None,
        limits: KeyLimits::default(),
        created_at: SystemClock.now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        parent: None,
    };
    store.insert_key(&key, &Actor { name: "fuzz".into(), source: "cli".into() }).await.unwrap();
    key.id
}
