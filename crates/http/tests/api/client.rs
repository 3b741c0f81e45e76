//! A gateway with a database of its own, and a caller that holds every answer against the OpenAPI
//! document.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderValue, Request, StatusCode, header::HOST},
};
use invite_config::{Gate, Live, Rules};
use invite_core::{Clock, KeyId, ProviderKind, SystemClock};
use invite_delivery::{Engine, LiveDocument, Settings};
use invite_http::{Gateway, Limits, generate_key, hash_key};
use invite_store::{Actor, ApiKey, KeyLimits, Store};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::pigeon;

const DOCUMENT: &str = r#"
[providers.north]
kind = "pigeon"
base_url = "https://north.example"

[providers.south]
kind = "pigeon"
base_url = "https://south.example"

[providers.closed]
kind = "pigeon"
base_url = "https://closed.example"
enabled = false

[providers.full]
kind = "pigeon"
base_url = "https://full.example"
limits = { max_backlog = 1, quota = 2, retry = { first = "1h", max = "1h" } }

[[routes]]
name = "both"
to = ["north", "south"]
when = { labels = { where = "everywhere" } }

[[routes]]
to = ["north"]
when = { email_domain = ["example.org"] }
"#;

pub struct Api {
    pub router: Router,
    pub metrics: Router,
    pub store: Store,
    pub engine: Engine,
    document: Value,
    _folder: tempfile::TempDir,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The status, and the code of the problem.
    pub fn code(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or("no problem"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The pointers and codes of a problem's errors.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.map(|e| (e["pointer"].as_str().unwrap(), e["code"].as_str().unwrap())).collect()
    }
}

/// A key to make.
pub struct NewKey<'a> {
    pub tenant: &'a str,
    pub scopes: &'a [&'a str],
    pub providers: Option<&'a [&'a str]>,
    pub limits: KeyLimits,
}

impl Default for NewKey<'_> {
    fn default() -> Self {
        let scopes = &["invites:write", "invites:read", "invites:raw", "providers:read"];
        Self { tenant: "default", scopes, providers: None, limits: KeyLimits::default() }
    }
}

impl Api {
    pub async fn start() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let store = Store::open(&url, clock.clone()).await.unwrap();
        let kinds: Vec<Arc<ProviderKind>> = vec![Arc::new(pigeon::kind())];
        let lease = Duration::from_secs(60);
        let gate = Gate::new(kinds.clone(), Rules::new(lease, Vec::new()), clock.clone());
        let checked = gate.check(DOCUMENT);
        let configuration =
            checked.configuration.unwrap_or_else(|| panic!("{:?}", checked.findings));
        let settings = Settings {
            lease,
            settle: lease,
            refresh: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
            idempotency_retention: Duration::from_secs(3600),
            webhook_give_up: Duration::from_secs(3600),
            retention: invite_delivery::Retention::default(),
        };
        let live = Live::new(configuration.with_revision(7));
        let document = LiveDocument::new(store.clone(), Arc::new(gate), live, clock.clone());
        let engine = Engine::start(document, clock.clone(), settings).await.unwrap();
        let limits = Limits {
            max_invites_per_request: 5,
            max_body_bytes: 10_000,
            idempotency_retention: settings.idempotency_retention,
            max_waiting: 100,
        };
        let gateway = Gateway::new(engine.clone(), kinds, clock, limits).unwrap();
        let document = serde_json::to_value(invite_http::openapi()).unwrap();
        Arc::new(Self {
            router: gateway.router(),
            metrics: gateway.metrics_router(),
            store,
            engine,
            document,
            _folder: folder,
        })
    }

    pub async fn key(&self, new: NewKey<'_>) -> String {
        let secret = generate_key();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let key = ApiKey {
            id: KeyId::generate(),
            hash: hash_key(&secret),
            name: "test".into(),
            tenant: new.tenant.into(),
            scopes: owned(new.scopes),
            providers: new.providers.map(owned),
            limits: new.limits,
            created_at: SystemClock.now(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            parent: None,
        };
        let actor = Actor { name: "test".into(), source: "cli".into() };
        self.store.insert_key(&key, &actor).await.unwrap();
        secret
    }

    /// A caller with every scope but admin.
    pub async fn caller(self: &Arc<Self>) -> Caller {
        self.caller_with(NewKey::default()).await
    }

    pub async fn with(self: &Arc<Self>, scopes: &[&str]) -> Caller {
        self.caller_with(NewKey { scopes, ..NewKey::default() }).await
    }

    pub async fn caller_with(self: &Arc<Self>, new: NewKey<'_>) -> Caller {
        Caller { api: self.clone(), key: self.key(new).await }
    }

    /// Whoever got this answer to the call that makes a key.
    pub fn holder(self: &Arc<Self>, made: &Answer) -> Caller {
        Caller { api: self.clone(), key: made.body["key"].as_str().unwrap().to_owned() }
    }

    /// Sends a request and holds the answer against the document.
    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("gateway"));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let kind = parts.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let body = match kind.contains("json") {
            true => serde_json::from_slice(&bytes).unwrap(),
            false => Value::String(String::from_utf8(bytes.to_vec()).unwrap()),
        };
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        assert_eq!(parts.headers["referrer-policy"], "no-referrer");
        let policy = parts.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(parts.headers.contains_key("x-request-id"));
        if let Some(operation) = self.operation(method.as_str(), &path) {
            self.hold_against(operation, parts.status, kind, &body);
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let matches = |template: &str| {
            template.split('/').count() == path.split('/').count()
                && template
                    .split('/')
                    .zip(path.split('/'))
                    .all(|(t, p)| t.starts_with('{') || t == p)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let (_, item) = paths.iter().find(|(template, _)| matches(template))?;
        item.get(method.to_lowercase())
    }

    fn hold_against(&self, operation: &Value, status: StatusCode, kind: &str, body: &Value) {
        let name = &operation["operationId"];
        let response = &operation["responses"][status.as_str()];
        assert!(response.is_object(), "{name} does not document {status}: {body}");
        if let Some(code) = body["code"].as_str().filter(|_| !status.is_success()) {
            let codes = operation["x-problem-codes"].as_array().unwrap();
            assert!(codes.iter().any(|known| known == code), "{name} does not document {code}");
        }
        let media_type = kind.split(';').next().unwrap();
        let schema = &response["content"][media_type]["schema"];
        assert!(schema.is_object(), "{name} {status} does not document {media_type}");
        let schema = self.whole(schema);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name} {status}: {errors:?}\n{body:#}");
    }

    /// A schema with what it refers to.
    pub fn whole(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        schema
    }
}

/// Somebody with a key.
pub struct Caller {
    pub api: Arc<Api>,
    pub key: String,
}

impl Caller {
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[], Some(body)).await
    }

    pub async fn post_empty(&self, path: &str) -> Answer {
        self.call("POST", path, &[], None).await
    }

    pub async fn post_invites(&self, headers: &[(&str, &str)], body: Value) -> Answer {
        self.call("POST", "/v1/invites", headers, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, &[], Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], None).await
    }

    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.api.send(request.body(body).unwrap()).await
    }

    /// Creates one invite, and returns its id.
    pub async fn invite(&self, email: &str) -> String {
        let answer = self.post("/v1/invites", json!({ "invites": [person(email)] })).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        answer.body["invites"][0]["id"].as_str().unwrap().to_owned()
    }
}

pub fn person(email: &str) -> Value {
    json!({ "email": email, "first_name": "Ada" })
}
