//! How long an answer waits: `Prefer`, 201 and 202, and callers that do not wait.

use std::time::Instant;

use futures::future::join_all;
use invite_tests::{Answer, Client, Gateway, eventually, invites, person};
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

#[tokio::test]
async fn as_many_wait_as_may_in_all_and_of_one_key_and_the_others_are_answered_at_once() {
    // Of 32 connections 8 may wait, of one key 2.
    let gateway = Gateway::builder().setting("server.max_connections", "32").start().await;
    gateway.simulators.break_down("turnkey", json!({ "kind": "rate_limited" })).await;
    let batch = post(&gateway, "respond-async", 1).await.expect(202);
    let batch = batch.header("location").unwrap().to_owned();
    let keys = join_all((0..5).map(|_| gateway.caller("invites:write,invites:read", &[]))).await;
    let wait = |client: &Client, seconds: u64| {
        let request = client.apart().request("GET", &batch);
        let asked = Instant::now();
        let send = request.header("prefer", &format!("wait={seconds}")).send();
        async move {
            let answer = send.await.expect(200);
            (answer.header("preference-applied").is_some(), asked.elapsed().as_secs() < seconds / 2)
        }
    };
    // Who waits shows the preference as applied, and is answered late.
    let of_one = join_all([&keys[0]; 5].map(|client| wait(client, 6))).await;
    let waited = |answers: &[(bool, bool)]| {
        assert!(answers.iter().all(|(applied, at_once)| applied != at_once), "{answers:?}");
        answers.iter().filter(|(applied, _)| *applied).count()
    };
    assert_eq!(waited(&of_one), 2);
    let of_all = join_all(keys.iter().flat_map(|key| [wait(key, 6), wait(key, 6)])).await;
    assert_eq!(waited(&of_all), 8);
    // They have their places again, and the default of ten seconds needs one, too.
    let others =
        tokio::spawn(join_all(keys[..4].iter().flat_map(|key| [wait(key, 8), wait(key, 8)])));
    eventually("all places are taken", async || {
        let (applied, _) = wait(&keys[4], 0).await;
        let answered = wait(&keys[4], 2).await;
        (applied && !answered.0).then_some(())
    })
    .await;
    let asked = Instant::now();
    let request = gateway.client().request("POST", "/v1/invites");
    request.json(&invites("treasury", [person(2)])).send().await.expect(202);
    assert!(asked.elapsed().as_secs() < 3, "{:?}", asked.elapsed());
    assert_eq!(waited(&others.await.unwrap()), 8);
    gateway.simulators.recover("turnkey").await;
    gateway.finish().await;
}
