//! Two processes on one PostgreSQL database.

use std::time::{Duration, Instant};

use invite_tests::{Client, Database, Gateway, eventually, invites, person, terminate};
use serde_json::json;

use crate::text;

const PLACES: [(&str, &str); 3] =
    [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];

#[tokio::test]
async fn what_one_replica_accepts_is_sent_once_whoever_sends_it() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    for (number, (provider, kind)) in PLACES.into_iter().enumerate() {
        for (place, client) in [gateway.client(), &other].into_iter().enumerate() {
            let body = invites(provider, [person(10 * number + place)]);
            let answer = client.post("/v1/invites", &body).await.expect(201);
            assert_eq!(text(&answer.invites()[0], "status"), "pending", "{provider}");
        }
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn a_replica_takes_over_what_another_one_left_when_it_died() {
    let mut gateway = Gateway::builder()
        .database(Database::Postgres)
        .setting("delivery.lease", "4s")
        .start()
        .await;
    let mut accepted = Vec::new();
    for (number, (provider, kind)) in PLACES.into_iter().enumerate() {
        gateway.simulators.break_down(kind, json!({ "kind": "rate_limited" })).await;
        let body = invites(provider, [person(10 * number), person(10 * number + 1)]);
        let request = gateway.client().request("POST", "/v1/invites").json(&body);
        let answer = request.header("prefer", "respond-async").send().await.expect(202);
        accepted.extend(answer.invites());
    }
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    gateway.kill().await;
    for (_, kind) in PLACES {
        gateway.simulators.recover(kind).await;
    }
    for invite in &accepted {
        other.read_once(invite, &["pending"]).await;
    }
    for (_, kind) in PLACES {
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn every_replica_shows_how_a_provider_fares_and_which_of_them_makes_its_calls() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 401 });
    gateway.simulators.break_down("turnkey", refused).await;
    let (mut replica, url) = gateway.start_replica().await;
    let admin = gateway.caller("admin", &[]).await;
    let other = Client::connect(&url, &admin.key()).await;
    let request = admin.request("POST", "/v1/invites").json(&invites("treasury", [person(1)]));
    request.header("prefer", "respond-async").send().await.expect(202);
    let shown = async |client: &Client| {
        let one = client.get("/v1/providers/treasury").await.expect(200).body;
        (one["state"] == "misconfigured").then(|| {
            ["state", "state_reason", "holder"]
                .map(|member| one[member].as_str().unwrap().to_owned())
        })
    };
    let by_one = eventually("one replica shows it", async || shown(&admin).await).await;
    let by_other = eventually("the other one shows it", async || shown(&other).await).await;
    assert_eq!(by_one, by_other);
    let replicas = other.get("/v1/providers/treasury").await.expect(200).list("replicas");
    assert!(replicas.iter().any(|one| one["id"] == by_one[2].as_str()), "{replicas:?}");
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

/// Until both have noticed each other.
async fn are_two(client: &Client) {
    let two = async || {
        let shown = client.get("/v1/providers/treasury").await.expect(200).list("replicas");
        (shown.len() == 2).then_some(())
    };
    eventually("the replicas know of each other", two).await;
}

#[tokio::test]
async fn whoever_waits_at_one_replica_hears_at_once_of_what_another_one_did() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    are_two(&other).await;
    // Without a word from the other one, each of the two looks every 500 ms.
    let at_once = Duration::from_millis(300);
    for (place, client) in [gateway.client(), &other].into_iter().enumerate() {
        let mut guests = (0..).map(|n| person(2 * n + place));
        let quick = async || {
            let began = Instant::now();
            let body = invites("berlin-summit", [guests.next().unwrap()]);
            client.post("/v1/invites", &body).await.expect(201);
            (began.elapsed() < at_once).then_some(())
        };
        eventually("an answer at once", quick).await;
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn the_lane_of_a_replica_that_died_moves_long_before_its_claims_are_over() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    gateway.kill().await;
    let body = invites("berlin-summit", [person(2)]);
    // A claim is held for a minute.
    let request = other.request("POST", "/v1/invites").json(&body).header("prefer", "wait=20");
    let invite = request.send().await.expect(201).invites().remove(0);
    assert_eq!(text(&invite, "status"), "pending");
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}
