//! Numbers of what became of invites.

use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::on_both_databases;

on_both_databases! {
    what_became_of_invites_is_counted_for_whom_it_concerns
}

/// The counts, by status, once so many invites were counted as queued.
async fn counts(client: &Client, query: &str, queued: u64) -> Value {
    let path = format!("/v1/stats{query}");
    eventually("they are counted", async || {
        let stats = client.get(&path).await.expect(200).body;
        let counts = stats["counts"].as_array().unwrap();
        let of = |count: &&Value| count["status"] == "queued";
        let sum: u64 = counts.iter().filter(of).map(|count| count["count"].as_u64().unwrap()).sum();
        (sum == queued).then_some(stats)
    })
    .await
}

async fn what_became_of_invites_is_counted_for_whom_it_concerns(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let none = client.get("/v1/stats").await.expect(200).body;
    assert_eq!((&none["counts"], &none["interval"]), (&json!([]), &Value::Null));
    client.invite(&invites("treasury", (1..=3).map(person))).await;
    client.invite(&invites("acme-tenancy", [person(4)])).await;
    // One that is bound to no provider stops no other from being counted.
    let mut lenient = invites("treasury", [person(5)]);
    lenient["invites"][0]["email"] = json!("nobody");
    let request = client.request("POST", "/v1/invites").header("prefer", "handling=lenient");
    request.json(&lenient).send().await.expect(201);
    let stats = counts(client, "?provider=treasury", 3).await;
    let expected = json!([
        { "provider": "treasury", "status": "pending", "code": null, "count": 3 },
        { "provider": "treasury", "status": "queued", "code": null, "count": 3 },
    ]);
    assert_eq!(stats["counts"], expected);
    let by_hour = counts(client, "?interval=hour", 4).await;
    assert!(by_hour["counts"].as_array().unwrap().iter().all(|count| count["at"].is_string()));
    counts(client, "?interval=minute", 4).await;
    let stranger = gateway.caller("invites:read", &["--tenant", "other"]).await;
    counts(&stranger, "", 0).await;
    let limited = gateway.caller("invites:read", &["--providers", "acme-tenancy"]).await;
    counts(&limited, "", 1).await;
    limited.get("/v1/stats?provider=treasury").await.problem(403, "provider-not-allowed");
    let all = gateway.caller("invites:read,invites:all-tenants", &["--tenant", "other"]).await;
    counts(&all, "", 4).await;
    counts(&all, "?tenant=default", 4).await;
    counts(&all, "?tenant=other", 0).await;
    for wrong in [
        "?interval=day",
        "?since=yesterday",
        "?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "?since=2024-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
        "?interval=hour&since=2026-01-01T00:00:00Z&until=2026-03-01T00:00:00Z",
        "?interval=minute&since=2026-01-01T00:00:00Z&until=2026-01-03T00:00:00Z",
        "?interval=minute&since=2026-01-01T00:00:00Z&until=2026-01-01T01:00:00Z",
        "?status=failed",
    ] {
        client.get(&format!("/v1/stats{wrong}")).await.problem(422, "validation-failed");
    }
    client.get("/v1/stats?tenant=other").await.problem(403, "insufficient-scope");
    gateway
        .caller("invites:write", &[])
        .await
        .get("/v1/stats")
        .await
        .problem(403, "insufficient-scope");
    let reader = gateway.caller("providers:read", &[]).await;
    let metrics = reader.get("/metrics").await.expect(200).text;
    let settled = "invites_settled_total{provider=\"treasury\",status=\"pending\"} 3";
    assert!(metrics.contains(settled), "{metrics}");
    assert!(
        metrics.contains("invites_oldest_queued_seconds{provider=\"treasury\"} 0"),
        "{metrics}"
    );
    gateway.finish().await;
}
