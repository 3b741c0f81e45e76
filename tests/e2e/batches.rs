//! The lists of batches, and of what is in one.

use invite_tests::{Client, Database, Gateway, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    batches_are_listed_newest_first_by_state_and_in_pages
    the_invites_of_a_batch_come_in_its_order_with_its_duplicates
}

/// All of a list, in pages of this size.
async fn all(client: &Client, path: &str, list: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{separator}limit={limit}{cursor}")).await.expect(200);
        let entries = page.body[list].as_array().unwrap().clone();
        assert!(entries.len() <= limit);
        found.extend(entries);
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

async fn post(client: &Client, body: &Value) -> Value {
    let answer = client.post("/v1/invites", body).await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 202);
    answer.body["batch"].clone()
}

async fn batches_are_listed_newest_first_by_state_and_in_pages(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
                         "match_email": "guest2@" });
    gateway.simulators.break_down("rkvst", refuse).await;
    let mut posted = Vec::new();
    for number in 1..=5 {
        posted.push(post(client, &invites("acme-tenancy", [person(number)])).await);
    }
    gateway.simulators.break_down("turnkey", json!({ "kind": "rate_limited" })).await;
    let body = invites("treasury", [person(6)]);
    let request = client.request("POST", "/v1/invites").header("prefer", "respond-async");
    let waiting = request.json(&body).send().await.expect(202);
    assert_eq!(waiting.header("retry-after"), Some("1"));
    posted.push(waiting.body["batch"].clone());
    posted.reverse();
    for limit in [1, 2, 50] {
        let found = all(client, "/v1/batches", "batches", limit).await;
        assert_eq!(texts(&found, "id"), texts(&posted, "id"));
        for (state, places) in [
            ("in_progress", &[0][..]),
            ("completed", &[1, 2, 3, 5]),
            ("completed_with_failures", &[4]),
        ] {
            let found = all(client, &format!("/v1/batches?state={state}"), "batches", limit).await;
            let wanted: Vec<&str> = places.iter().map(|at| text(&posted[*at], "id")).collect();
            assert_eq!(texts(&found, "id"), wanted, "{state}");
        }
    }
    assert_eq!(all(client, "/v1/batches", "batches", 50).await[4], posted[4]);
    client.get("/v1/batches?state=done").await.problem(422, "validation-failed");
    client.get("/v1/batches?cursor=%FF").await.problem(422, "validation-failed");
    let other = gateway.caller("invites:read", &["--tenant", "other"]).await;
    assert!(all(&other, "/v1/batches", "batches", 50).await.is_empty());
    let every = gateway.caller("invites:read,invites:all-tenants", &["--tenant", "other"]).await;
    assert_eq!(all(&every, "/v1/batches?tenant=default", "batches", 50).await.len(), 6);
    other.get("/v1/batches?tenant=default").await.problem(403, "insufficient-scope");
    gateway.simulators.recover("turnkey").await;
    gateway.finish().await;
}

async fn the_invites_of_a_batch_come_in_its_order_with_its_duplicates(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let before = post(client, &invites("treasury", [person(3), person(1)])).await;
    let guests = [person(0), person(1), person(2), person(3), person(4)];
    let mut body = invites("treasury", guests);
    body["invites"][2]["to"] = json!(["treasury", "acme-tenancy"]);
    body["invites"][3]["to"] = json!(["treasury", "acme-tenancy"]);
    let answer = client.post("/v1/invites", &body).await.expect(201);
    let path = format!("/v1/batches/{}/invites", text(&answer.body["batch"], "id"));
    assert_eq!(answer.invites().len(), 7);
    for limit in [1, 2, 3, 50] {
        let found = all(client, &path, "invites", limit).await;
        assert_eq!(texts(&found, "id"), texts(&answer.invites(), "id"), "{limit}");
        let order: Vec<_> = found
            .iter()
            .map(|invite| (invite["index"].as_u64().unwrap(), invite["duplicate"] == true))
            .collect();
        let expected =
            [(0, false), (1, true), (2, false), (2, false), (3, false), (3, true), (4, false)];
        assert_eq!(order, expected, "{limit}");
    }
    let first = format!("/v1/batches/{}/invites", text(&before, "id"));
    assert_eq!(all(client, &first, "invites", 50).await.len(), 2);
    // A key for some providers is shown what is there.
    let limited = gateway.caller("invites:read", &["--providers", "acme-tenancy"]).await;
    let shown = all(&limited, &path, "invites", 2).await;
    assert_eq!(texts(&shown, "provider"), ["acme-tenancy"; 2]);
    let other = gateway.caller("invites:read", &["--tenant", "other"]).await;
    other.get(&path).await.problem(404, "not-found");
    gateway.finish().await;
}
