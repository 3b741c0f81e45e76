//! `Idempotency-Key`: the same request again does nothing again.

use futures::future::join_all;
use invite_tests::{Answer, Client, Database, Gateway, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text};

on_both_databases! {
    the_same_request_again_answers_with_the_same_batch
    callers_at_once_with_one_key_send_once
    a_key_outlives_the_process
    another_body_under_the_same_key_is_refused
}

async fn post(client: &Client, key: &str, body: &Value) -> Answer {
    client.request("POST", "/v1/invites").json(body).header("idempotency-key", key).send().await
}

fn batch_id(answer: &Answer) -> String {
    text(&answer.body["batch"], "id").to_owned()
}

async fn the_same_request_again_answers_with_the_same_batch(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let body = invites("acme-tenancy", [person(1), person(2)]);
    let first = post(gateway.client(), "\"order-1\"", &body).await.expect(201);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = post(gateway.client(), "\"order-1\"", &body).await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(batch_id(&again), batch_id(&first));
    assert_eq!(again.invites().len(), 2);
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 2);
    gateway.finish().await;
}

async fn callers_at_once_with_one_key_send_once(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let mut body = invites("acme-tenancy", [person(1)]);
    // So that the duplicate rule cannot help.
    body["on_duplicate"] = json!("send");
    let answers = join_all((0..12).map(|_| post(gateway.client(), "\"k\"", &body))).await;
    let mut batches: Vec<String> = answers.iter().map(batch_id).collect();
    batches.dedup();
    assert_eq!(batches.len(), 1, "{batches:?}");
    let fresh = answers.iter().filter(|a| a.header("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1);
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}

async fn a_key_outlives_the_process(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let body = invites("acme-tenancy", [person(1)]);
    let first = post(gateway.client(), "\"before\"", &body).await.expect(201);
    gateway.kill().await;
    gateway.start_again().await;
    let again = post(gateway.client(), "\"before\"", &body).await.expect(200);
    assert_eq!(batch_id(&again), batch_id(&first));
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}

async fn another_body_under_the_same_key_is_refused(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    post(gateway.client(), "\"k\"", &invites("acme-tenancy", [person(1)])).await.expect(201);
    let other = invites("acme-tenancy", [person(2)]);
    post(gateway.client(), "\"k\"", &other).await.problem(422, "idempotency-key-reused");
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn a_bare_key_is_the_same_key() {
    let gateway = Gateway::start().await;
    let body = invites("acme-tenancy", [person(1)]);
    let first = post(gateway.client(), "\"order-1\"", &body).await.expect(201);
    let again = post(gateway.client(), "order-1", &body).await.expect(200);
    assert_eq!(batch_id(&again), batch_id(&first));
    gateway.finish().await;
}

#[tokio::test]
async fn bodies_that_are_equal_as_json_are_the_same_request() {
    let gateway = Gateway::start().await;
    let one = r#"{"to":"treasury","invites":[{"email":"guest1@example.org","last_name":"Zed1"}]}"#;
    let two = "{ \"invites\" : [ {\"last_name\":\"\\u005aed1\",\n\"email\":\"guest1@example.org\"}],\
               \"to\":\"treasury\"}";
    let post = |body: &str| {
        let request = gateway.client().request("POST", "/v1/invites").bytes(body.as_bytes());
        request.header("content-type", "application/json").header("idempotency-key", "k").send()
    };
    post(one).await.expect(201);
    post(two).await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn a_replay_shows_the_present_state() {
    let gateway = Gateway::start().await;
    let body = invites("acme-tenancy", [person(1)]);
    let first = post(gateway.client(), "k", &body).await.expect(201);
    let path = format!("/v1/invites/{}", text(&first.invites()[0], "id"));
    gateway.client().delete(&path).await.expect(200);
    let again = post(gateway.client(), "k", &body).await.expect(200);
    assert_eq!(text(&again.invites()[0], "status"), "revoked");
    gateway.finish().await;
}

#[tokio::test]
async fn only_accepted_requests_are_remembered() {
    let gateway = Gateway::start().await;
    post(gateway.client(), "k", &invites("nowhere", [person(1)])).await.expect(422);
    post(gateway.client(), "k", &invites("acme-tenancy", [person(1)])).await.expect(201);
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_tenant() {
    let gateway = Gateway::start().await;
    let other = gateway.caller("invites:write", &["--tenant", "other"]).await;
    let body = invites("acme-tenancy", [person(1)]);
    let mine = post(gateway.client(), "k", &body).await.expect(201);
    let theirs = post(&other, "k", &invites("acme-tenancy", [person(2)])).await.expect(201);
    assert_ne!(batch_id(&mine), batch_id(&theirs));
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let gateway = Gateway::start().await;
    let body = invites("acme-tenancy", [person(1)]);
    for key in ["", "\"\"", "\"open", &"k".repeat(256), "a b\"c"] {
        let answer = post(gateway.client(), key, &body).await;
        assert!(matches!(answer.status, 400 | 422), "{key}: {} {}", answer.status, answer.text);
    }
    post(gateway.client(), &"k".repeat(255), &body).await.expect(201);
    gateway.finish().await;
}

#[tokio::test]
async fn a_replay_of_what_is_not_settled_says_so() {
    let gateway = Gateway::start().await;
    let slow = json!({ "operation": "create", "kind": "latency", "delay": "1s" });
    gateway.simulators.break_down("rkvst", slow).await;
    let body = invites("acme-tenancy", [person(1)]);
    let post = |wait: &str| {
        let request = gateway.client().request("POST", "/v1/invites").json(&body);
        request.header("idempotency-key", "k").header("prefer", wait).send()
    };
    post("wait=0").await.expect(202);
    let again = post("wait=0").await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    post("wait=20").await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn the_documented_form_of_a_key_is_the_one_that_is_taken() {
    let gateway = Gateway::start().await;
    let document = gateway.client().get("/openapi.json").await.expect(200).body;
    let parameters = &document["paths"]["/v1/invites"]["post"]["parameters"];
    let header = |it: &&Value| text(it, "name") == "Idempotency-Key";
    let schema = parameters.as_array().unwrap().iter().find(header).unwrap()["schema"].clone();
    let documented = jsonschema::validator_for(&schema).unwrap();
    let longest = "x".repeat(255);
    let escaped = format!("\"{}\"", r#"\""#.repeat(255));
    let too_long = "x".repeat(256);
    for key in [
        "order-1",
        "\"order-1\"",
        r#""a\"b""#,
        r#""a\\b""#,
        r"a\b",
        "'",
        &longest,
        &escaped,
        &too_long,
        &format!("\"{too_long}\""),
        r#""a\b""#,
        r#""a"b""#,
        r#""a"#,
        r#"a""#,
        r#"a"b"#,
        r#""""#,
        "a b",
    ] {
        let answer = post(gateway.client(), key, &json!({ "invites": [] })).await;
        let is_taken = answer.status != 400;
        assert_eq!(documented.is_valid(&json!(key)), is_taken, "{key}: {}", answer.text);
    }
    gateway.finish().await;
}
