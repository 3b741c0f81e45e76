//! The `Idempotency-Key` of `POST /v1/invites`.

use serde_json::json;

use crate::client::{Api, NewKey, person};

#[tokio::test]
async fn a_repeated_request_is_answered_with_the_same_batch_as_it_is_now() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let body = json!({ "invites": [person("ada@example.org")], "to": "north" });
    let first = caller.post_invites(&[("idempotency-key", "\"k1\"")], body).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""));
    let reordered = json!({ "to": "north", "invites": [person("ada@example.org")] });
    let again = caller.post_invites(&[("idempotency-key", "k1")], reordered).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"));
    assert_eq!(again.body, first.body);
    let other = json!({ "invites": [person("bob@example.org")] });
    let reused = caller.post_invites(&[("idempotency-key", "k1")], other.clone()).await;
    assert_eq!(reused.status, 422);
    assert_eq!(reused.body["code"], "idempotency-key-reused");
    let elsewhere = api.caller_with(NewKey { tenant: "other", ..NewKey::default() }).await;
    let theirs = elsewhere.post_invites(&[("idempotency-key", "k1")], other).await;
    assert_eq!(theirs.status, 201);
    let malformed = caller.post_invites(&[("idempotency-key", "a b")], json!({})).await;
    assert_eq!(malformed.code(), (400, "malformed-header"));
}

#[tokio::test]
async fn a_refused_request_is_not_remembered() {
    let caller = Api::start().await.caller().await;
    let key = [("idempotency-key", "k1")];
    assert_eq!(caller.post_invites(&key, json!({ "invites": [{}] })).await.status, 422);
    let body = json!({ "invites": [person("ada@example.org")] });
    assert_eq!(caller.post_invites(&key, body).await.status, 201);
}

#[tokio::test]
async fn a_key_limited_to_a_provider_is_not_shown_what_another_key_sent_elsewhere() {
    let api = Api::start().await;
    let body = || json!({ "to": "south", "invites": [person("ada@example.org")] });
    let key = [("idempotency-key", "k1")];
    let caller = api.caller().await;
    assert_eq!(caller.post_invites(&key, body()).await.status, 201);
    for (allowed, status) in [("north", 403), ("south", 200)] {
        let providers = Some(&[allowed][..]);
        let limited = api.caller_with(NewKey { providers, ..NewKey::default() }).await;
        assert_eq!(limited.post_invites(&key, body()).await.status, status);
    }
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_become_one_batch() {
    let caller = Api::start().await.caller().await;
    let body = || json!({ "invites": [person("ada@example.org")] });
    let key = [("idempotency-key", "k1")];
    let posts = (0..8).map(|_| caller.post_invites(&key, body()));
    let answers = futures::future::join_all(posts).await;
    let batches: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.body["batch"]["id"].to_string()).collect();
    assert_eq!(batches.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
}
