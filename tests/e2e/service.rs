//! What belongs to no resource: health, metrics, documents, problem pages, request ids, routing.

use std::collections::BTreeSet;

use invite_tests::{Gateway, eventually, invites, person};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::text;

#[tokio::test]
async fn health_and_documents_want_no_key() {
    let gateway = Gateway::start().await;
    let nobody = gateway.client().without_key();
    nobody.get("/livez").await.expect(200);
    nobody.get("/readyz").await.expect(200);
    let document = nobody.get("/openapi.json").await.expect(200).body;
    assert!(text(&document, "openapi").starts_with("3.1"));
    gateway.finish().await;
}

#[tokio::test]
async fn every_operation_is_documented_under_the_name_of_its_handler() {
    let gateway = Gateway::start().await;
    let document = gateway.client().get("/openapi.json").await.expect(200).body;
    let mut ids = Vec::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            ids.extend(operation["operationId"].as_str());
        }
    }
    let count = ids.len();
    assert!(count >= 12, "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    assert!(ids.iter().all(|id| id.contains('_')), "verb_resource: {ids:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn the_rendered_document_needs_no_other_host() {
    let gateway = Gateway::start().await;
    let nobody = gateway.client().without_key();
    let mut page = nobody.get("/docs").await;
    if let Some(location) = page.header("location") {
        page = nobody.get(location).await;
    }
    let page = page.expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let linked = page.text.split(['"', '\'']).filter(|part| part.contains("//"));
    let elsewhere: Vec<&str> = linked.filter(|part| part.starts_with("http")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn metrics_want_a_key_and_name_no_invite() {
    let gateway = Gateway::start().await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    gateway.client().without_key().get("/metrics").await.expect(401);
    let zero =
        "invite_attempts_total{provider=\"treasury\",operation=\"create\",outcome=\"unknown\"} 0";
    let metrics = eventually("the providers are measured", async || {
        let metrics = gateway.client().get("/metrics").await.expect(200);
        metrics.text.contains(zero).then_some(metrics)
    })
    .await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    assert!(metrics.text.contains("# TYPE "), "{}", metrics.text);
    let named = |sign: &str| -> BTreeSet<&str> {
        let lines = metrics.text.lines().filter_map(|line| line.strip_prefix(sign));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let without_words: Vec<_> = named("# TYPE ").difference(&named("# HELP ")).copied().collect();
    assert!(without_words.is_empty(), "nobody learns what these are: {without_words:?}");
    for zero in [
        "invite_duplicate_effects_total{provider=\"treasury\"} 0",
        "invites_settled_total{provider=\"treasury\",status=\"failed\"} 0",
        "webhook_attempts_total{outcome=\"failed\"} 0",
        "http_authentication_failures_total{reason=\"expired\"} 0",
        "http_connections_closed_total{reason=\"malformed\"} 0",
        concat!("invite_gateway_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(metrics.text.lines().any(|line| line == zero), "{zero} in {}", metrics.text);
    }
    for line in metrics.text.lines() {
        assert!(!line.contains("inv_") && !line.contains("bat_"), "unbounded: {line}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn metrics_of_all_providers_are_not_for_a_key_that_is_limited_to_some() {
    let gateway = Gateway::start().await;
    for scope in ["providers:read", "admin"] {
        let limited = gateway.caller(scope, &["--providers", "treasury"]).await;
        limited.get("/metrics").await.problem(403, "provider-not-allowed");
        limited.get("/v1/providers/treasury").await.expect(200);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn metrics_on_an_address_of_their_own_want_no_key() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let gateway = Gateway::builder().setting("server.metrics_listen", &free).start().await;
    let mut connection = TcpStream::connect(&free).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("# TYPE "), "{answer}");
    gateway.finish().await;
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let gateway = Gateway::start().await;
    let nobody = gateway.client().without_key();
    let answers = [
        gateway.client().get("/v1/invites/inv_x").await,
        gateway.client().post("/v1/invites", &invites("nowhere", [person(1)])).await,
        nobody.get("/v1/invites").await,
    ];
    for answer in answers {
        let page = nobody.get(text(&answer.body, "type")).await.expect(200);
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
    }
    nobody.get("/problems/no-such-problem").await.expect(404);
    let page = nobody.get("/problems/outcome-unknown").await.expect(200).text;
    assert!(page.contains("an `unknown` invite is looked up"), "{page}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_request_keeps_its_own_id_if_it_is_sane() {
    let gateway = Gateway::start().await;
    let get =
        |id: &str| gateway.client().request("GET", "/v1/invites").header("x-request-id", id).send();
    let kept = get("order-7781.a_b").await.expect(200);
    assert_eq!(kept.header("x-request-id"), Some("order-7781.a_b"));
    for strange in ["has space", "<script>", &"x".repeat(500), ""] {
        let replaced = get(strange).await.expect(200);
        let id = replaced.header("x-request-id").unwrap();
        assert!(!id.is_empty() && id != strange);
    }
    // That the key is not in the log either, `finish` sees.
    let key = gateway.client().key();
    let replaced = get(&key).await.expect(200);
    assert!(!replaced.header("x-request-id").unwrap().contains(&key));
    gateway.finish().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_a_problem_too() {
    let gateway = Gateway::start().await;
    for path in ["/v1/invitations", "/v2/invites", "/", "/v1/invites/inv_x/y/z"] {
        gateway.client().get(path).await.expect(404);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_method_that_is_not_offered_names_those_that_are() {
    let gateway = Gateway::start().await;
    for (method, path, allowed) in [
        ("PUT", "/v1/invites", "POST"),
        ("DELETE", "/v1/invites", "GET"),
        ("POST", "/v1/providers", "GET"),
        ("GET", "/v1/invites/inv_x/retry", "POST"),
        ("POST", "/livez", "GET"),
    ] {
        let answer = gateway.client().request(method, path).send().await.expect(405);
        let allow = answer.header("allow").unwrap_or_default();
        assert!(allow.contains(allowed), "{method} {path}: Allow: {allow}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn answers_are_not_stored_on_the_way() {
    let gateway = Gateway::start().await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    let answer = gateway.client().get("/v1/invites").await.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    gateway.finish().await;
}
