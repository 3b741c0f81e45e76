//! Ending and starting again: what was accepted is never lost and never doubled.

use futures::future::join_all;
use invite_tests::{Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text};

on_both_databases! {
    what_was_queued_is_sent_after_a_restart
    a_stop_answers_those_who_wait_and_finishes_the_calls_under_way
    a_power_cut_during_a_call_never_makes_a_second_effect
}

const PLACES: [(&str, &str); 3] =
    [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];

async fn post_without_waiting(gateway: &Gateway, body: &Value) -> Vec<Value> {
    let request = gateway.client().request("POST", "/v1/invites").json(body);
    request.header("prefer", "respond-async").send().await.expect(202).invites()
}

async fn call_under_way(gateway: &Gateway, kind: &str) {
    eventually("the call is under way", async || {
        (gateway.simulators.request_count(kind, "create").await > 0).then_some(())
    })
    .await;
}

async fn what_was_queued_is_sent_after_a_restart(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let mut accepted = Vec::new();
    for (number, (provider, kind)) in PLACES.into_iter().enumerate() {
        gateway.simulators.break_down(kind, json!({ "kind": "rate_limited" })).await;
        let body = invites(provider, [person(10 * number), person(10 * number + 1)]);
        accepted.extend(post_without_waiting(&gateway, &body).await);
    }
    assert!(gateway.stop().await.success());
    for (_, kind) in PLACES {
        gateway.simulators.recover(kind).await;
    }
    gateway.start_again().await;
    for invite in &accepted {
        gateway.client().read_once(invite, &["pending"]).await;
    }
    for (_, kind) in PLACES {
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    gateway.finish().await;
}

async fn a_stop_answers_those_who_wait_and_finishes_the_calls_under_way(database: Database) {
    let mut gateway = Gateway::builder()
        .database(database)
        .setting("delivery.lease", "20s")
        .replace("timeout = \"2s\"", "timeout = \"8s\"")
        .start()
        .await;
    let slow = json!({ "operation": "create", "kind": "latency", "delay": "2s" });
    gateway.simulators.break_down("turnkey", slow).await;
    let body = invites("treasury", [person(1)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let caller = tokio::spawn(request.header("prefer", "wait=60").send());
    call_under_way(&gateway, "turnkey").await;
    let status = gateway.stop().await;
    assert!(status.success(), "{status}");
    let answer = caller.await.unwrap().expect(202);
    gateway.start_again().await;
    let invite = gateway.client().read(&answer.invites()[0]).await;
    assert_eq!(text(&invite, "status"), "pending", "recorded before the end: {invite}");
    assert_eq!(gateway.simulators.request_count("turnkey", "create").await, 1);
    gateway.finish().await;
}

async fn a_power_cut_during_a_call_never_makes_a_second_effect(database: Database) {
    let cases = PLACES.into_iter().flat_map(|place| {
        ["latency", "latency_after"].map(|fault| cut_power_during_a_call(database, place, fault))
    });
    join_all(cases).await;
}

async fn cut_power_during_a_call(database: Database, place: (&str, &str), fault: &str) {
    let (provider, kind) = place;
    let mut gateway = Gateway::builder().database(database).start().await;
    let slow = json!({ "operation": "create", "kind": fault, "delay": "1s", "times": 1 });
    gateway.simulators.break_down(kind, slow).await;
    let accepted = post_without_waiting(&gateway, &invites(provider, [person(1)])).await;
    call_under_way(&gateway, kind).await;
    gateway.kill().await;
    gateway.start_again().await;
    let first = gateway.client().read(&accepted[0]).await;
    assert!(
        ["unknown", "sending", "pending"].contains(&text(&first, "status")),
        "it may have arrived: {first}"
    );
    let settled = gateway.client().read_once(&accepted[0], &["pending"]).await;
    assert_eq!(settled["duplicate_effect"], false);
    let effects = gateway.simulators.effects(kind).await;
    assert_eq!(effects.len(), 1, "{provider} {fault}");
    assert_eq!(effects[0]["id"], settled["provider_ref"]);
    gateway.finish().await;
}

#[tokio::test]
async fn what_was_sending_at_a_power_cut_is_unknown_until_it_is_looked_up() {
    let mut gateway = Gateway::builder().setting("delivery.settle", "1h").start().await;
    let slow = json!({ "operation": "create", "kind": "cut_before", "times": 1 });
    let late = json!({ "operation": "create", "kind": "latency", "delay": "20s", "times": 1 });
    gateway.simulators.break_down("rkvst", late).await;
    gateway.simulators.break_down("rkvst", slow).await;
    let body = invites("acme-tenancy", [person(1)]);
    let accepted = post_without_waiting(&gateway, &body).await;
    call_under_way(&gateway, "rkvst").await;
    gateway.kill().await;
    gateway.start_again().await;
    let found = gateway.client().read(&accepted[0]).await;
    assert_eq!(text(&found, "status"), "unknown", "{found}");
    assert_eq!(gateway.simulators.request_count("rkvst", "create").await, 1);
    gateway.finish().await;
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused() {
    let gateway = Gateway::start().await;
    let output = gateway.command(&["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.contains("invites.db"), "names what is taken: {last}");
    gateway.finish().await;
}
