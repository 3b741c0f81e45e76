//! The lists of batches, and of what is in one; withdrawing one.

use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    batches_are_listed_newest_first_by_state_and_in_pages
    the_invites_of_a_batch_come_in_its_order_with_its_duplicates
    a_batch_is_withdrawn_here_and_at_its_providers_and_a_dry_run_says_so_before
    of_a_batch_that_is_withdrawn_while_it_is_sent_nothing_is_left_at_its_provider
    a_withdrawal_that_a_provider_holds_up_goes_on_when_it_is_repeated
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

async fn a_batch_is_withdrawn_here_and_at_its_providers_and_a_dry_run_says_so_before(
    database: Database,
) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let other = client.invite(&invites("treasury", [person(3)])).await.remove(0);
    let later = json!({ "operation": "create", "kind": "rate_limited", "retry_after": 600 });
    gateway.simulators.break_down("rkvst", later).await;
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
                         "match_email": "guest7@" });
    gateway.simulators.break_down("securegate", refuse).await;
    let mut body = invites("acme-tenancy", (1..8).map(person));
    for (place, provider) in [(2, "treasury"), (3, "treasury"), (4, "treasury")] {
        body["invites"][place]["to"] = provider.into();
    }
    for place in [5, 6] {
        body["invites"][place]["to"] = "berlin-summit".into();
    }
    let request = client.request("POST", "/v1/invites").header("prefer", "respond-async");
    let batch = request.json(&body).send().await.expect(202).body["batch"].clone();
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let counts = json!({ "total": 7, "duplicates": 1, "queued": 2, "pending": 4, "failed": 1 });
    eventually("all but the queued ones settle", async || {
        (client.get(&path).await.body["counts"] == counts).then_some(())
    })
    .await;

    let unsupported = client.get(&format!("{path}/invites?limit=6")).await.invites().remove(5);
    let mut expected = json!({
        "batch_id": batch["id"], "dry_run": true, "total": 6, "withdrawn_here": 2,
        "withdrawn_at_provider": 2, "ended": 1, "not_withdrawn": { "unsupported-operation": 1 },
        "remaining": 0, "failures": [{
            "invite_id": unsupported["id"], "code": "unsupported-operation",
            "detail": "securegate offers no way to withdraw an invite" }],
    });
    let dry = format!("{path}?dry_run=true");
    assert_eq!(client.delete(&dry).await.expect(200).body, expected);
    assert_eq!(client.get(&path).await.body["counts"], counts);
    expected["dry_run"] = false.into();
    assert_eq!(client.delete(&path).await.expect(200).body, expected);
    let counts = json!({ "total": 7, "duplicates": 1, "revoked": 4, "pending": 2, "failed": 1 });
    assert_eq!(client.get(&path).await.body["counts"], counts);
    assert_eq!(text(&client.read(&other).await, "status"), "pending");
    assert_eq!(gateway.simulators.request_count("turnkey", "delete").await, 2);
    for member in ["withdrawn_here", "withdrawn_at_provider"] {
        expected[member] = 0.into();
    }
    expected["ended"] = 5.into();
    assert_eq!(client.delete(&path).await.expect(200).body, expected);

    client.delete(&format!("{path}?force=true")).await.problem(422, "validation-failed");
    let reader = gateway.caller("invites:read", &[]).await;
    reader.delete(&path).await.problem(403, "insufficient-scope");
    let elsewhere = gateway.caller("invites:write", &["--tenant", "other"]).await;
    elsewhere.delete(&path).await.problem(404, "not-found");
    let limited = gateway.caller("invites:write", &["--providers", "acme-tenancy"]).await;
    let seen = limited.delete(&path).await.expect(200).body;
    assert_eq!(seen["not_withdrawn"], json!({ "provider-not-allowed": 4 }));
    assert_eq!((&seen["ended"], &seen["failures"]), (&json!(2), &json!([])));
    gateway.simulators.recover("rkvst").await;
    gateway.finish().await;
}

async fn of_a_batch_that_is_withdrawn_while_it_is_sent_nothing_is_left_at_its_provider(
    database: Database,
) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let admin = gateway.caller("admin", &[]).await;
    let request = client.request("POST", "/v1/invites").header("prefer", "respond-async");
    let body = invites("acme-tenancy", (0..60).map(person));
    let batch = request.json(&body).send().await.expect(202).body["batch"].clone();
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let mut withdrawn = 0;
    eventually("all are withdrawn", async || {
        let done = admin.delete(&path).await.expect(200).body;
        let count = |member: &str| done[member].as_u64().unwrap();
        withdrawn += count("withdrawn_here") + count("withdrawn_at_provider");
        let open = done["not_withdrawn"]["not-settled"].as_u64().unwrap_or_default();
        let all = ["withdrawn_here", "withdrawn_at_provider", "ended", "remaining"].map(count);
        assert_eq!(all.iter().sum::<u64>() + open, 60, "{done}");
        (count("ended") + withdrawn >= 60 && open + count("remaining") == 0).then_some(())
    })
    .await;
    assert_eq!(withdrawn, 60);
    assert_eq!(client.get(&path).await.body["counts"]["revoked"], 60);
    let effects = gateway.simulators.effects("rkvst").await;
    assert!(effects.iter().all(|effect| text(effect, "status") != "pending"), "{effects:?}");
    let mut invited = texts(&effects, "email");
    invited.sort_unstable();
    invited.dedup();
    assert_eq!(invited.len(), effects.len(), "nobody is invited twice");
    let record = admin.get("/v1/admin/audit?limit=1").await.expect(200).body;
    let entry = &record["entries"][0];
    assert_eq!((text(entry, "action"), &entry["target"]), ("batch.revoke", &batch["id"]));
    gateway.finish().await;
}

async fn a_withdrawal_that_a_provider_holds_up_goes_on_when_it_is_repeated(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let batch = post(client, &invites("acme-tenancy", (0..4).map(person))).await;
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let later =
        json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 2, "skip": 1 });
    gateway.simulators.break_down("rkvst", later).await;
    let held_up = client.delete(&path).await.expect(200).body;
    assert_eq!(held_up["withdrawn_at_provider"], 1, "{held_up}");
    assert_eq!(held_up["not_withdrawn"], json!({ "provider-throttled": 1 }), "{held_up}");
    assert_eq!(held_up["remaining"], 2, "{held_up}");
    gateway.simulators.recover("rkvst").await;
    let rest = client.delete(&path).await.expect(200).body;
    let counts = (&rest["ended"], &rest["withdrawn_at_provider"], &rest["remaining"]);
    assert_eq!(counts, (&json!(1), &json!(3), &json!(0)), "{rest}");
    gateway.finish().await;
}
