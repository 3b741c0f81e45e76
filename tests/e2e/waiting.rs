//! How long an answer waits: `Prefer`, 201 and 202, and callers that do not wait.

use invite_tests::{Answer, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::text;

fn slow() -> Value {
    json!({ "operation": "create", "kind": "latency", "delay": "1s" })
}

async fn post(gateway: &Gateway, prefer: &str, number: usize) -> Answer {
    let request = gateway.client().request("POST", "/v1/invites");
    let body = invites("treasury", [person(number)]);
    request.json(&body).header("prefer", prefer).send().await
}

#[tokio::test]
async fn without_waiting_the_answer_is_202_and_the_batch_is_followed() {
    let gateway = Gateway::start().await;
    gateway.simulators.break_down("turnkey", slow()).await;
    for (number, prefer) in ["respond-async", "wait=0"].into_iter().enumerate() {
        let answer = post(&gateway, prefer, number).await.expect(202);
        assert_eq!(text(&answer.body["batch"], "state"), "in_progress");
        assert!(answer.header("preference-applied").is_some());
        let batch = answer.header("location").unwrap();
        let read = gateway.client().request("GET", batch).header("prefer", "wait=20").send().await;
        assert_eq!(text(&read.expect(200).body, "state"), "completed");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn waiting_ends_when_everything_is_settled() {
    let gateway = Gateway::start().await;
    gateway.simulators.break_down("turnkey", slow()).await;
    let answer = post(&gateway, "wait=20", 1).await.expect(201);
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    assert_eq!(text(&answer.invites()[0], "status"), "pending");
    post(&gateway, "respond-async, wait=20", 2).await.expect(201);
    gateway.finish().await;
}

#[tokio::test]
async fn waiting_is_bounded() {
    let gateway = Gateway::start().await;
    gateway.simulators.break_down("turnkey", json!({ "kind": "rate_limited" })).await;
    let answer = post(&gateway, "wait=1", 1).await.expect(202);
    assert_eq!(text(&answer.body["batch"], "state"), "in_progress");
    gateway.simulators.recover("turnkey").await;
    gateway.client().read_once(&answer.invites()[0], &["pending"]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_preference_that_is_none_changes_nothing() {
    let gateway = Gateway::start().await;
    for (number, prefer) in
        ["wait=soon", "wait=-1", "return=minimal", "wait=99999999999999999999", "=;,\"", ""]
            .into_iter()
            .enumerate()
    {
        post(&gateway, prefer, number).await.expect(201);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_cancels_nothing() {
    let gateway = Gateway::start().await;
    gateway.simulators.break_down("turnkey", slow()).await;
    let body = invites("treasury", [person(1)]);
    let call = gateway.client().request("POST", "/v1/invites").json(&body);
    let caller = tokio::spawn(call.try_send());
    eventually("the call is under way", async || {
        (gateway.simulators.request_count("turnkey", "create").await == 1).then_some(())
    })
    .await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let found = gateway.client().get("/v1/invites").await.expect(200).invites();
    gateway.client().read_once(&found[0], &["pending"]).await;
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 1);
    gateway.finish().await;
}
