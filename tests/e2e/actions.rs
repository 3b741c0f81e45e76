//! Actions: what is done to all invites that a filter matches.

use invite_tests::{Client, Database, Gateway, eventually, invites, person, terminate};
use serde_json::{Value, json};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    an_action_is_done_to_what_its_filter_matches_once_the_number_is_confirmed
    an_action_goes_on_after_a_crash
    failed_ones_are_retried_by_their_code_and_unknown_ones_settled_or_looked_up
    an_action_ends_when_it_is_cancelled_and_with_its_key
}

const ACTIONS: &str = "/v1/invites/actions";

/// Counts, and begins what was counted.
async fn begin(client: &Client, mut wanted: Value) -> Value {
    wanted["dry_run"] = true.into();
    let counted = client.post(ACTIONS, &wanted).await.expect(200).body;
    assert_eq!(counted["action"], wanted["action"]);
    wanted["dry_run"] = false.into();
    wanted["confirm"] = counted["matched"].clone();
    if counted["as_of"].is_string() {
        wanted["as_of"] = counted["as_of"].clone();
    }
    let answer = client.post(ACTIONS, &wanted).await.expect(202);
    assert_eq!(answer.header("location"), Some(&*path(&answer.body)));
    answer.body
}

fn path(action: &Value) -> String {
    format!("{ACTIONS}/{}", text(action, "id"))
}

async fn completed(client: &Client, action: &Value) -> Value {
    eventually("the action completes", async || {
        let now = client.get(&path(action)).await.expect(200).body;
        (now["state"] == "completed").then_some(now)
    })
    .await
}

async fn post(client: &Client, body: &Value) -> Vec<Value> {
    let request = client.request("POST", "/v1/invites").header("prefer", "respond-async");
    request.json(body).send().await.expect(202).invites()
}

async fn an_action_is_done_to_what_its_filter_matches_once_the_number_is_confirmed(
    database: Database,
) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let admin = gateway.caller("admin", &["--tenant", "ops"]).await;
    let mut body = invites("acme-tenancy", (0..7).map(person));
    for place in 0..5 {
        body["invites"][place]["labels"] = json!({ "cohort": "spring" });
    }
    body["invites"][4]["to"] = "berlin-summit".into();
    let posted = client.invite(&body).await;
    let other = gateway.caller("invites:write,invites:read", &["--tenant", "other"]).await;
    let mut theirs = invites("acme-tenancy", [person(9)]);
    theirs["invites"][0]["labels"] = json!({ "cohort": "spring" });
    let theirs = other.invite(&theirs).await.remove(0);

    let wanted = json!({ "action": "withdraw", "filter": { "label": { "cohort": "spring" } } });
    let with = |member: &str, value: Value| {
        let mut wanted = wanted.clone();
        wanted[member] = value;
        wanted
    };
    let counted = client.post(ACTIONS, &with("dry_run", true.into())).await.expect(200).body;
    assert_eq!(counted, json!({ "action": "withdraw", "matched": 5, "as_of": null }));
    let all = admin.post(ACTIONS, &with("dry_run", true.into())).await.expect(200).body;
    assert_eq!(all["matched"], 6);
    let differs = client.post(ACTIONS, &with("confirm", 6.into())).await;
    let differs = differs.problem(409, "count-differs");
    assert!(text(&differs, "detail").contains("matches 5 invites"), "{differs}");
    client.post(ACTIONS, &wanted).await.problem(422, "validation-failed");
    // The count tells of labels, so that who asks for it has to be allowed to read them.
    for scope in ["invites:read", "invites:write"] {
        let caller = gateway.caller(scope, &[]).await;
        let refused = caller.post(ACTIONS, &with("dry_run", true.into())).await;
        refused.problem(403, "insufficient-scope");
    }

    let scopes = "invites:write,invites:read";
    let limited = gateway.caller(scopes, &["--providers", "acme-tenancy"]).await;
    let counted = limited.post(ACTIONS, &with("dry_run", true.into())).await.expect(200).body;
    assert_eq!(counted["matched"], 4);
    let elsewhere = json!({ "provider": "treasury" });
    let refused = limited.post(ACTIONS, &with("filter", elsewhere)).await;
    refused.problem(403, "provider-not-allowed");

    let action = begin(client, wanted.clone()).await;
    let done = completed(client, &action).await;
    let (succeeded, failed) = (&done["succeeded"], &done["failed"]);
    assert_eq!((succeeded, failed), (&json!(4), &json!({ "unsupported-operation": 1 })));
    assert_eq!(action["filter"]["label"], json!({ "cohort": "spring" }));
    assert_eq!(done["filter"]["label"], json!({ "cohort": "" }), "it is kept after its invites");
    let mut now = Vec::new();
    for invite in &posted {
        now.push(client.read(invite).await);
    }
    let [revoked, pending] = ["revoked", "pending"];
    let statuses = [revoked, revoked, revoked, revoked, pending, pending, pending];
    assert_eq!(texts(&now, "status"), statuses);
    assert_eq!(text(&other.read(&theirs).await, "status"), "pending");

    other.get(&path(&action)).await.problem(404, "not-found");
    limited.get(&path(&action)).await.problem(404, "not-found");
    admin.get(&path(&action)).await.expect(200);
    let record = admin.get("/v1/admin/audit?limit=3").await.expect(200).list("entries");
    let of_action: Vec<_> =
        record.iter().filter(|entry| entry["target"] == action["id"]).cloned().collect();
    assert_eq!(texts(&of_action, "action"), ["action.end", "action.start"], "{record:?}");
    assert_eq!(of_action[0]["after"]["succeeded"], 4);
    assert!(!format!("{of_action:?}").contains("spring"), "labels may tell who somebody is");
    gateway.finish().await;
}

async fn an_action_goes_on_after_a_crash(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client().clone();
    let posted = client.invite(&invites("acme-tenancy", (0..8).map(person))).await;
    let later =
        json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 3, "skip": 3 });
    gateway.simulators.break_down("rkvst", later).await;
    let action = begin(&client, json!({ "action": "withdraw", "filter": {} })).await;
    let held_up = eventually("the provider holds it up", async || {
        let now = client.get(&path(&action)).await.expect(200).body;
        now["held_up_by"].is_string().then_some(now)
    })
    .await;
    assert_eq!((&held_up["state"], &held_up["succeeded"]), (&json!("running"), &json!(3)));
    // It is for those that were there when it began.
    let new = client.invite(&invites("treasury", [person(20)])).await.remove(0);
    gateway.kill().await;
    gateway.simulators.recover("rkvst").await;
    gateway.start_again().await;
    let done = completed(&client, &action).await;
    assert_eq!((&done["succeeded"], &done["held_up_by"]), (&json!(8), &Value::Null), "{done}");
    for invite in &posted {
        assert_eq!(text(&client.read(invite).await, "status"), "revoked");
    }
    assert_eq!(text(&client.read(&new).await, "status"), "pending");
    gateway.finish().await;
}

#[tokio::test]
async fn an_action_goes_on_at_another_replica() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    let client = gateway.client().clone();
    client.invite(&invites("acme-tenancy", (0..6).map(person))).await;
    let later =
        json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 3, "skip": 2 });
    gateway.simulators.break_down("rkvst", later).await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &client.key()).await;
    let action = begin(&client, json!({ "action": "withdraw", "filter": {} })).await;
    eventually("the provider holds it up", async || {
        let now = other.get(&path(&action)).await.expect(200).body;
        now["held_up_by"].is_string().then_some(())
    })
    .await;
    gateway.kill().await;
    gateway.simulators.recover("rkvst").await;
    let done = completed(&other, &action).await;
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(6), &json!({})), "{done}");
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

async fn failed_ones_are_retried_by_their_code_and_unknown_ones_settled_or_looked_up(
    database: Database,
) {
    let gateway =
        Gateway::builder().database(database).setting("delivery.settle", "1h").start().await;
    let client = gateway.client();
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
                         "match_email": "guest1@" });
    gateway.simulators.break_down("rkvst", refuse).await;
    let refused = client.invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    assert_eq!(text(&refused, "status"), "failed");
    gateway.simulators.recover("rkvst").await;
    let cut = json!({ "operation": "create", "kind": "cut_before" });
    gateway.simulators.break_down("rkvst", cut).await;
    let mut unknown = Vec::new();
    for number in [2, 3] {
        let posted = post(client, &invites("acme-tenancy", [person(number)])).await;
        unknown.push(client.read_once(&posted[0], &["unknown"]).await);
    }
    gateway.simulators.recover("rkvst").await;

    let settle = json!({ "action": "settle", "filter": {}, "dry_run": true });
    client.post(ACTIONS, &settle).await.problem(422, "validation-failed");
    let elsewhere =
        json!({ "action": "retry", "filter": { "status": ["pending"] }, "dry_run": true });
    let fault = client.post(ACTIONS, &elsewhere).await.problem(422, "validation-failed");
    assert_eq!(fault["errors"][0]["pointer"], "#/filter/status/0");
    let batch = json!({ "batch_id": unknown[0]["batch_id"] });
    let mut settle = json!({
        "action": "settle", "status": "failed", "filter": batch, "confirm": 1
    });
    for (as_of, code) in [
        (Value::Null, "required"),
        ("9999-12-31T23:59:59Z".into(), "invalid"),
        ("yesterday".into(), "invalid"),
    ] {
        if as_of.is_string() {
            settle["as_of"] = as_of;
        }
        let fault = client.post(ACTIONS, &settle).await.problem(422, "validation-failed");
        let fault = &fault["errors"][0];
        assert_eq!((text(fault, "pointer"), text(fault, "code")), ("#/as_of", code));
    }
    // What was in doubt when somebody looked is not this.
    settle["as_of"] = unknown[0]["created_at"].clone();
    client.post(ACTIONS, &settle).await.problem(409, "count-differs");
    settle["dry_run"] = true.into();
    assert_eq!(client.post(ACTIONS, &settle).await.expect(200).body["matched"], 0);
    let other =
        json!({ "action": "retry", "filter": {}, "dry_run": true, "as_of": settle["as_of"] });
    let fault = client.post(ACTIONS, &other).await.problem(422, "validation-failed");
    assert_eq!(fault["errors"][0]["pointer"], "#/as_of");
    settle = json!({ "action": "settle", "status": "failed", "filter": batch });
    let done = completed(client, &begin(client, settle).await).await;
    assert_eq!((&done["matched"], &done["succeeded"]), (&json!(1), &json!(1)), "{done}");
    let absent = client.read(&unknown[0]).await;
    assert_eq!(
        (text(&absent, "status"), text(&absent["error"], "code")),
        ("failed", "found-absent")
    );
    assert_eq!(text(&client.read(&unknown[1]).await, "status"), "unknown");

    let of_code = |code: &str| format!("/v1/invites?error_code={code}");
    let listed = client.get(&of_code("found-absent")).await.expect(200).invites();
    assert_eq!(texts(&listed, "id"), [text(&absent, "id")]);
    client.get(&of_code("made-up")).await.problem(422, "validation-failed");
    let retry = json!({ "action": "retry", "filter": { "error_code": ["provider-rejected"] } });
    let done = completed(client, &begin(client, retry).await).await;
    assert_eq!((&done["matched"], &done["succeeded"]), (&json!(1), &json!(1)), "{done}");
    client.read_once(&refused, &["pending"]).await;
    assert_eq!(text(&client.read(&absent).await, "status"), "failed");

    let refresh = json!({ "action": "refresh", "filter": { "status": ["unknown", "pending"] } });
    let done = completed(client, &begin(client, refresh).await).await;
    assert_eq!((&done["matched"], &done["succeeded"]), (&json!(2), &json!(2)), "{done}");
    gateway.finish().await;
}

async fn an_action_ends_when_it_is_cancelled_and_with_its_key(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let admin = gateway.caller("admin", &[]).await;
    client.invite(&invites("acme-tenancy", (0..2).map(person))).await;
    let later = json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 600 });
    gateway.simulators.break_down("rkvst", later).await;
    let withdraw = json!({ "action": "withdraw", "filter": {} });
    let by_hand = begin(client, withdraw.clone()).await;
    let key = json!({ "name": "HR", "scopes": ["invites:write", "invites:read"] });
    let key = admin.post("/v1/admin/keys", &key).await.expect(201).body;
    let hr = client.with_key(text(&key, "key"));
    let with_key = begin(&hr, withdraw).await;
    let cancelled = client.delete(&path(&by_hand)).await.expect(200).body;
    assert_eq!((text(&cancelled, "state"), &cancelled["succeeded"]), ("cancelled", &json!(0)));
    let again = client.delete(&path(&by_hand)).await.expect(200).body;
    assert_eq!(again, cancelled);
    admin.delete(&format!("/v1/admin/keys/{}", text(&key, "id"))).await.expect(200);
    let ended = eventually("the action ends with its key", async || {
        let now = client.get(&path(&with_key)).await.expect(200).body;
        (now["state"] == "cancelled").then_some(now)
    })
    .await;
    assert!(text(&ended, "cancelled_because").contains("revoked"), "{ended}");
    gateway.simulators.recover("rkvst").await;
    gateway.finish().await;
}
