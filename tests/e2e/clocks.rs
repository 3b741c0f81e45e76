//! Clocks that are wrong, and clocks that are set while the gateway runs.

use std::time::{Duration, Instant};

use invite_tests::{Client, Database, Gateway, eventually, invites, person, terminate};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::text;

const CLOCKS: &str = "INVITE_GATEWAY_CLOCKS";
/// What waits for too long is looked for every 5 seconds, and idempotency keys first after 5.
const ROUND: Duration = Duration::from_secs(6);
const PROVIDER: &str = "berlin-summit";
const KIND: &str = "securegate";

/// Has the processes that are started from now on go by what [`set_clock`] sets.
pub fn follow_file(gateway: &mut Gateway) {
    let clocks = gateway.binary.path("clocks");
    gateway.binary.set_variable(CLOCKS, clocks.to_str().unwrap());
}

/// Sets the clocks of the processes that are told of this file.
pub fn set_clock(gateway: &Gateway, hours: i64) {
    let by = SignedDuration::from_hours(hours).as_millis();
    gateway.binary.write("clocks.new", &by.to_string());
    std::fs::rename(gateway.binary.path("clocks.new"), gateway.binary.path("clocks")).unwrap();
}

async fn break_down(gateway: &Gateway) {
    gateway.simulators.break_down(KIND, json!({ "kind": "rate_limited" })).await;
}

async fn post(client: &Client, number: usize, key: &str) -> (String, Value) {
    let request = client.request("POST", "/v1/invites").json(&invites(PROVIDER, [person(number)]));
    let request = request.header("prefer", "respond-async").header("idempotency-key", key);
    let answer = request.send().await;
    assert!([200, 202].contains(&answer.status), "{answer:?}");
    (text(&answer.body["batch"], "id").to_owned(), answer.invites().remove(0))
}

/// For longer than a round these wait and nothing is sent.
async fn assert_waits(gateway: &Gateway, client: &Client, waiting: &[&Value]) {
    let (began, sent) = (Instant::now(), gateway.simulators.effects(KIND).await.len());
    eventually("a round is over", async || {
        for invite in waiting {
            let status = client.read(invite).await["status"].clone();
            // Being tried, where the provider is asked and tells to wait.
            assert!(["queued", "sending"].map(Value::from).contains(&status), "{status}");
        }
        assert_eq!(gateway.simulators.effects(KIND).await.len(), sent);
        (began.elapsed() > ROUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_whose_clock_is_wrong_gives_up_and_forgets_nothing_and_sends_nothing() {
    for hours in [25, -25] {
        let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
        break_down(&gateway).await;
        let (batch, first) = post(gateway.client(), 1, "once").await;
        set_clock(&gateway, hours);
        follow_file(&mut gateway);
        let (mut replica, url) = gateway.start_replica().await;
        let wrong = Client::connect(&url, &gateway.client().key()).await;
        let wrong = wrong.with_key(&gateway.caller("admin", &[]).await.key());
        assert!(gateway.stop().await.success());
        gateway.simulators.recover(KIND).await;

        let status = eventually("it says so", async || {
            let status = wrong.get(&format!("/v1/providers/{PROVIDER}")).await.expect(200).body;
            (status["state"] == "paused").then_some(status)
        })
        .await;
        let way = if hours > 0 { "25h ahead of" } else { "25h behind" };
        assert!(text(&status, "state_reason").contains(way), "{status}");
        let (_, second) = post(&wrong, 2, "another").await;
        let created: Timestamp = text(&second, "created_at").parse().unwrap();
        let first_created: Timestamp = text(&first, "created_at").parse().unwrap();
        assert!(created.duration_since(first_created).abs() < SignedDuration::from_mins(5));
        assert_waits(&gateway, &wrong, &[&first, &second]).await;
        assert_eq!(post(&wrong, 1, "once").await.0, batch, "the key is known");
        let said = gateway.log().matches("and nothing is sent from a machine").count();
        assert_eq!(said, 1, "it is said once");
        let metrics = wrong.get("/metrics").await.expect(200).text;
        assert!(metrics.contains("invite_clock_ahead_seconds"), "{metrics}");

        set_clock(&gateway, 0);
        for invite in [&first, &second] {
            wrong.read_once(invite, &["pending"]).await;
        }
        assert_eq!(gateway.simulators.effects(KIND).await.len(), 2);
        assert!(terminate(&mut replica).await.success());
        gateway.finish().await;
    }
}

#[tokio::test]
async fn the_others_send_what_a_replica_with_a_wrong_clock_accepted() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    set_clock(&gateway, 25);
    follow_file(&mut gateway);
    let (mut replica, url) = gateway.start_replica().await;
    let wrong = Client::connect(&url, &gateway.client().key()).await;
    for number in 0..3 {
        let (_, invite) = post(&wrong, number, &number.to_string()).await;
        wrong.read_once(&invite, &["pending"]).await;
    }
    assert_eq!(gateway.simulators.effects(KIND).await.len(), 3);
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn a_clock_that_is_set_gives_up_forgets_and_pauses_nothing() {
    for hours in [25, -25] {
        let mut gateway = Gateway::start().await;
        assert!(gateway.stop().await.success());
        follow_file(&mut gateway);
        gateway.start_again().await;
        break_down(&gateway).await;
        let (batch, first) = post(gateway.client(), 1, "once").await;
        set_clock(&gateway, hours);
        assert_waits(&gateway, gateway.client(), &[&first]).await;
        assert_eq!(post(gateway.client(), 1, "once").await.0, batch, "the key is known");
        let (_, second) = post(gateway.client(), 2, "another").await;
        gateway.simulators.recover(KIND).await;
        for invite in [&first, &second] {
            gateway.client().read_once(invite, &["pending"]).await;
        }

        // Set right while nothing is running, or at least set back.
        break_down(&gateway).await;
        let (_, third) = post(gateway.client(), 3, "third").await;
        gateway.kill().await;
        set_clock(&gateway, hours.min(0) * 2);
        gateway.start_again().await;
        gateway.simulators.recover(KIND).await;
        gateway.client().read_once(&third, &["pending"]).await;
        assert_eq!(gateway.simulators.effects(KIND).await.len(), 3);
        gateway.finish().await;
    }
}
