//! Changing one invite.

use serde_json::{Value, json};

use crate::client::{Answer, Api, Caller, person};

async fn patch(caller: &Caller, id: &str, body: Value) -> Answer {
    caller.patch(&format!("/v1/invites/{id}"), body).await
}

async fn named(caller: &Caller, name: &str, message: &str) -> String {
    let mut invite = person("ada@example.org");
    invite["first_name"] = json!(name);
    invite["message"] = json!(message);
    let body = json!({ "invites": [invite] });
    let answer = caller.post_invites(&[("prefer", "wait=1")], body).await;
    answer.body["invites"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_status_is_set_at_a_provider_that_can() {
    let caller = Api::start().await.caller().await;
    let id = caller.invite("ada@example.org").await;
    let answer = patch(&caller, &id, json!({ "status": "declined" })).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "declined");
    let unsupported = patch(&caller, &id, json!({ "status": "sent" })).await;
    assert_eq!(unsupported.code(), (422, "unsupported-operation"));
}

#[tokio::test]
async fn a_malformed_change_is_refused_with_every_fault() {
    let caller = Api::start().await.caller().await;
    let id = caller.invite("ada@example.org").await;
    let answer = patch(&caller, &id, json!({ "status": "revoked", "force": true })).await;
    assert_eq!(answer.errors(), [("#/status", "not-allowed"), ("#/force", "unknown-member")]);
    for (word, meant) in [
        ("rejected", json!("declined")),
        ("Approved", json!("accepted")),
        ("acepted", json!("accepted")),
        ("xyz", json!(null)),
    ] {
        let answer = patch(&caller, &id, json!({ "status": word })).await;
        assert_eq!(answer.body["errors"][0]["suggestion"], meant, "{word}");
    }
    let answer = patch(&caller, &id, json!([])).await;
    assert_eq!(answer.errors()[0], ("#", "wrong-type"));
    let none = patch(&caller, "inv_1", json!({ "status": "sent" })).await;
    assert_eq!(none.code(), (404, "not-found"));
}

#[tokio::test]
async fn a_provider_that_refuses_is_a_502_and_one_that_does_not_answer_a_504() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let id = named(&caller, "Stubborn", "hello").await;
    let refused = patch(&caller, &id, json!({ "status": "declined" })).await;
    assert_eq!(refused.code(), (502, "provider-rejected"));
    assert_eq!(refused.body["provider"], "north");
    assert_eq!(refused.body["provider_code"], "NO");
    assert_eq!(refused.body["provider_http_status"], 422);
    assert_eq!(refused.body["outcome"], "rejected");
    let api = Api::start().await;
    let caller = api.caller().await;
    let id = named(&caller, "Mute", "hello").await;
    let silent = patch(&caller, &id, json!({ "status": "declined" })).await;
    assert_eq!(silent.code(), (504, "provider-timeout"));
    assert_eq!(silent.body["outcome"], "unknown");
}

#[tokio::test]
async fn refresh_shows_what_the_provider_says_now() {
    let caller = Api::start().await.caller().await;
    let id = caller.invite("ada@example.org").await;
    let answer = caller.post_empty(&format!("/v1/invites/{id}/refresh")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "accepted");
    assert!(answer.body["checked_at"].is_string());
}

#[tokio::test]
async fn what_cannot_be_withdrawn_is_unsupported_or_final() {
    let caller = Api::start().await.caller().await;
    let id = caller.invite("ada@example.org").await;
    let path = format!("/v1/invites/{id}");
    let unsupported = caller.delete(&path).await;
    assert_eq!(unsupported.code(), (422, "unsupported-operation"));
    let wrong = caller.delete(&format!("{path}?force=maybe")).await;
    assert_eq!(wrong.errors(), [("?force", "invalid")]);
    caller.post_empty(&format!("{path}/refresh")).await;
    let done = caller.delete(&path).await;
    assert_eq!(done.code(), (409, "already-final"));
}

#[tokio::test]
async fn a_failed_invite_is_retried_and_others_are_not() {
    let caller = Api::start().await.caller().await;
    let id = named(&caller, "Ada", "refuse").await;
    let failed = caller.get(&format!("/v1/invites/{id}")).await.body;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["error"]["code"], "provider-rejected");
    assert_eq!(failed["error"]["title"], "The provider refused");
    let path = format!("/v1/invites/{id}/retry");
    let wrong = caller.post(&path, json!({ "accept_duplicate_risk": 1 })).await;
    assert_eq!(wrong.errors(), [("#/accept_duplicate_risk", "wrong-type")]);
    let queued = caller.post_empty(&path).await;
    assert_eq!(queued.status, 200, "{}", queued.body);

    let lenient = [("prefer", "handling=lenient")];
    let refused = caller.post_invites(&lenient, json!({ "invites": [{}] })).await;
    let id = refused.body["invites"][0]["id"].as_str().unwrap();
    let never = caller.post(&format!("/v1/invites/{id}/retry"), json!({})).await;
    assert_eq!(never.code(), (409, "not-retryable"));
}

#[tokio::test]
async fn a_person_decides_what_became_of_an_unknown_invite() {
    let caller = Api::start().await.caller().await;
    let id = named(&caller, "Ada", "silence").await;
    let path = format!("/v1/invites/{id}");
    assert_eq!(caller.get(&path).await.body["status"], "unknown");
    assert_eq!(caller.delete(&path).await.code(), (409, "not-settled"));
    let retry = caller.post_empty(&format!("{path}/retry")).await;
    assert_eq!(retry.code(), (409, "not-settled"));
    let decided = patch(&caller, &id, json!({ "status": "failed" })).await;
    assert_eq!(decided.body["status"], "failed");
    assert_eq!(decided.body["error"]["code"], "found-absent");
}
