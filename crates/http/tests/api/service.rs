//! Keys, limits, and the endpoints for those who run the gateway.

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use invite_store::{Actor, KeyLimits};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::client::{Answer, Api, Caller, NewKey};

async fn open(api: &Api, path: &str) -> Answer {
    api.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn without_a_valid_key_nothing_is_shown() {
    let api = Api::start().await;
    let answer = open(&api, "/v1/invites").await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    assert_eq!(answer.body["type"], "/problems/unauthorized");
    let forged = Caller { api: api.clone(), key: invite_http::generate_key() };
    assert_eq!(forged.get("/v1/invites").await.status, 401);
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused() {
    let api = Api::start().await;
    let caller = api.caller().await;
    assert_eq!(caller.get("/v1/invites").await.status, 200);
    let key = api.store.keys(None).await.unwrap().0.remove(0);
    let actor = Actor { name: "test".into(), source: "cli".into() };
    api.store.revoke_key(key.id, &actor).await.unwrap();
    assert_eq!(caller.get("/v1/invites").await.status, 401);
}

#[tokio::test]
async fn a_key_beyond_its_limit_is_told_when_to_come_back() {
    let api = Api::start().await;
    let limit = Some(0.001);
    let limits = KeyLimits { requests_per_second: limit, ..KeyLimits::default() };
    let caller = api.caller_with(NewKey { limits, ..NewKey::default() }).await;
    let first = caller.get("/v1/invites").await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit")), (200, "\"key\";r=0;t=1000"));
    let second = caller.get("/v1/invites").await;
    assert_eq!(second.code(), (429, "rate-limited"));
    assert_eq!(second.header("ratelimit-policy"), "\"key\";q=1;w=1000");
    let wait: u64 = second.header("retry-after").parse().unwrap();
    assert!((900..=1000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_unknown_address_or_method_is_a_problem_too() {
    let caller = Api::start().await.caller().await;
    for path in ["/", "/v1", "/v1/nothing", "/v1/invites/%FF", "/v1/batches/x", "/docs/none"] {
        let answer = caller.get(path).await;
        assert_eq!(answer.code(), (404, "not-found"), "{path}");
    }
    let answer = caller.call("PUT", "/v1/invites", &[], None).await;
    assert_eq!(answer.code(), (405, "method-not-allowed"));
    let allow: std::collections::BTreeSet<_> = answer.header("allow").split(',').collect();
    assert_eq!(allow, ["GET", "HEAD", "POST"].into());
}

#[tokio::test]
async fn the_callers_request_id_is_used() {
    let api = Api::start().await;
    let request = Request::get("/livez").header("x-request-id", "abc-1").body(Body::empty());
    assert_eq!(api.send(request.unwrap()).await.header("x-request-id"), "abc-1");
}

#[tokio::test]
async fn the_gateway_is_ready_until_it_stops() {
    let api = Api::start().await;
    assert_eq!(open(&api, "/livez").await.body, json!({ "status": "ok" }));
    assert_eq!(open(&api, "/readyz").await.status, 200);
    api.engine.shutdown().await;
    assert_eq!(open(&api, "/readyz").await.status, 503);
    assert_eq!(open(&api, "/livez").await.status, 200);
}

#[tokio::test]
async fn metrics_name_routes_and_no_ids_and_want_a_scope() {
    let api = Api::start().await;
    assert_eq!(open(&api, "/metrics").await.status, 401);
    let caller = api.caller().await;
    let id = caller.invite("ada@example.org").await;
    caller.get(&format!("/v1/invites/{id}")).await;
    caller.call("BREW", "/v1/invites/secret-path", &[], None).await;
    let metrics = caller.get("/metrics").await;
    let text = metrics.body.as_str().unwrap();
    let line = r#"http_requests_total{method="GET",route="/v1/invites/{id}",status="2xx"}"#;
    assert!(text.contains(line), "{text}");
    assert!([&*id, "secret-path", "BREW"].iter().all(|word| !text.contains(word)), "{text}");

    let request = Request::get("/metrics").header("host", "metrics").body(Body::empty()).unwrap();
    let response = api.metrics.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("http_requests_total"));
}

#[tokio::test]
async fn the_document_is_served_and_rendered_from_here_alone() {
    let api = Api::start().await;
    let document = open(&api, "/openapi.json").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let invites = &document["components"]["schemas"]["NewInvites"]["properties"]["invites"];
    assert_eq!(invites["maxItems"], 5);
    assert_eq!(open(&api, "/docs").await.header("location"), "/docs/");
    let page = open(&api, "/docs/").await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let html = page.body.as_str().unwrap();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let script = open(&api, "/docs/swagger-initializer.js").await;
    assert!(script.body.as_str().unwrap().contains("/openapi.json"));
}

#[tokio::test]
async fn every_operation_is_named_after_its_handler_and_documents_its_problems() {
    let document = serde_json::to_value(invite_http::openapi()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            if path.starts_with("/v1/") {
                for status in ["401", "403", "422", "429", "500", "503"] {
                    assert_ne!(
                        operation["responses"][status],
                        Value::Null,
                        "{method} {path} {status}"
                    );
                }
            }
        }
    }
    assert!(names.contains("create_invites") && names.contains("list_provider_kinds"));
}

#[tokio::test]
async fn a_problem_has_a_page() {
    let api = Api::start().await;
    let page = open(&api, "/problems/not-settled").await;
    assert_eq!(page.status, 200);
    assert!(page.body.as_str().unwrap().contains("not settled"));
    assert_eq!(open(&api, "/problems/nonsense").await.status, 404);
}
