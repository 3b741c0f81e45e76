//! Who may do what: keys, scopes, tenants, providers, and the order of the checks.

use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::text;

const ALL_SCOPES: [&str; 4] = ["invites:write", "invites:read", "invites:raw", "providers:read"];
/// An invite that nobody has.
const NOBODY: &str = "/v1/invites/inv_01900000-0000-7000-8000-000000000000";

/// Every call that wants a key, and the scope it wants.
fn calls() -> Vec<(&'static str, String, &'static str)> {
    let read = |path: &str| ("GET", path.to_owned(), "invites:read");
    let see = |path: &str| ("GET", path.to_owned(), "providers:read");
    let write = |method, path: &str| (method, path.to_owned(), "invites:write");
    vec![
        write("POST", "/v1/invites"),
        write("PATCH", NOBODY),
        write("DELETE", NOBODY),
        write("POST", &format!("{NOBODY}/refresh")),
        write("POST", &format!("{NOBODY}/retry")),
        read("/v1/invites"),
        read(NOBODY),
        read(&format!("{NOBODY}/attempts")),
        read("/v1/batches"),
        read("/v1/batches/bat_01900000-0000-7000-8000-000000000000"),
        read("/v1/batches/bat_01900000-0000-7000-8000-000000000000/invites"),
        see("/v1/providers"),
        see("/v1/providers/treasury"),
        see("/v1/provider-kinds"),
        see("/metrics"),
    ]
}

async fn send(client: &Client, method: &str, path: &str) -> invite_tests::Answer {
    let request = client.request(method, path);
    match method {
        "GET" | "DELETE" => request.send().await,
        _ => request.json(&json!({})).send().await,
    }
}

#[tokio::test]
async fn nothing_is_done_without_a_valid_key() {
    let gateway = Gateway::start().await;
    let nobody = gateway.client().without_key();
    let made_up = nobody.with_key("igk_0123456789012345678901234567890123456789012");
    for (method, path, _) in calls() {
        for client in [&nobody, &made_up] {
            let answer = send(client, method, &path).await.expect(401);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        }
    }
    for value in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer  ", "bearer"] {
        let request = nobody.request("GET", "/v1/invites").header("authorization", value);
        let refused = request.send().await.problem(401, "unauthorized");
        assert!(text(&refused, "detail").starts_with("no API key was given"), "{refused}");
    }
    let twice = gateway.client().request("GET", "/v1/invites");
    let twice = twice.header("authorization", &format!("Bearer {}", gateway.client().key()));
    let refused = twice.send().await.problem(401, "unauthorized");
    let why = "several `Authorization` headers were given";
    assert!(text(&refused, "detail").starts_with(why), "{refused}");
    gateway.finish().await;
}

#[tokio::test]
async fn every_call_wants_its_scope_and_no_other() {
    let gateway = Gateway::start().await;
    for scope in ["invites:write", "invites:read", "providers:read"] {
        let others: Vec<&str> = ALL_SCOPES.into_iter().filter(|other| *other != scope).collect();
        let without = gateway.caller(&others.join(","), &[]).await;
        let with = gateway.caller(scope, &[]).await;
        for (method, path, wanted) in calls() {
            if wanted == scope {
                send(&without, method, &path).await.expect(403);
                let status = send(&with, method, &path).await.status;
                assert!(![401, 403].contains(&status), "{method} {path}: {status}");
            }
        }
    }
    let admin = gateway.caller("admin", &[]).await;
    for (method, path, _) in calls() {
        let status = send(&admin, method, &path).await.status;
        assert!(![401, 403].contains(&status), "{method} {path}: {status}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_lapsed_is_no_key() {
    let gateway = Gateway::start().await;
    let lapsed = gateway.caller("invites:read", &["--expires", "1ms"]).await;
    lapsed.get("/v1/invites").await.expect(401);
    let later = gateway.caller("invites:read", &["--expires", "1h"]).await;
    later.get("/v1/invites").await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_the_running_gateway() {
    let gateway = Gateway::start().await;
    let client = gateway.caller("invites:read", &["--tenant", "leaver"]).await;
    client.get("/v1/invites").await.expect(200);
    let listed = gateway.command(&["keys", "list", "--json"]).await.stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["tenant"] == "leaver").unwrap();
    assert!(gateway.command(&["keys", "revoke", text(key, "id")]).await.status.success());
    eventually("the key is refused", async || {
        (client.get("/v1/invites").await.status == 401).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn another_tenants_invites_are_not_there() {
    let gateway = Gateway::start().await;
    let created = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let scopes = ALL_SCOPES.join(",");
    let stranger = gateway.caller(&scopes, &["--tenant", "other"]).await;
    let path = format!("/v1/invites/{}", text(&created, "id"));
    stranger.get(&path).await.problem(404, "not-found");
    stranger.get(&format!("{path}/attempts")).await.problem(404, "not-found");
    let batch = format!("/v1/batches/{}", text(&created, "batch_id"));
    stranger.get(&batch).await.problem(404, "not-found");
    stranger.patch(&path, &json!({ "status": "accepted" })).await.problem(404, "not-found");
    stranger.delete(&path).await.problem(404, "not-found");
    stranger.post(&format!("{path}/refresh"), &json!({})).await.problem(404, "not-found");
    stranger.post(&format!("{path}/retry"), &json!({})).await.problem(404, "not-found");
    assert!(stranger.get("/v1/invites").await.expect(200).invites().is_empty());
    let filter = format!("/v1/invites?batch_id={}", text(&created, "batch_id"));
    assert!(stranger.get(&filter).await.expect(200).invites().is_empty());
    assert_eq!(text(&gateway.client().read(&created).await, "status"), "pending");
    gateway.finish().await;
}

#[tokio::test]
async fn an_administrator_sees_all_tenants_and_can_choose_one() {
    let gateway = Gateway::start().await;
    let other = gateway.caller("invites:write,invites:read", &["--tenant", "other"]).await;
    gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    other.invite(&invites("acme-tenancy", [person(2)])).await;
    let admin = gateway.caller("admin", &[]).await;
    let all = admin.get("/v1/invites").await.expect(200).invites();
    let tenants: Vec<&str> = all.iter().map(|invite| text(invite, "tenant")).collect();
    assert_eq!(tenants, ["other", "default"]);
    let some = admin.get("/v1/invites?tenant=other").await.expect(200).invites();
    assert_eq!(some.len(), 1);
    assert_eq!(text(&some[0], "email"), "guest2@example.org");
    let own = other.get("/v1/invites").await.expect(200).invites();
    assert!(own[0].get("tenant").is_none(), "{}", own[0]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_may_be_limited_to_some_providers() {
    let gateway = Gateway::start().await;
    let limited = gateway.caller(&ALL_SCOPES.join(","), &["--providers", "treasury"]).await;
    limited.invite(&invites("treasury", [person(1)])).await;
    for to in ["acme-tenancy", "berlin-summit", "new-employee"] {
        limited.post("/v1/invites", &invites(to, [person(2)])).await.expect(403);
    }
    // The rules of routing lead elsewhere too.
    limited.post("/v1/invites", &json!({ "invites": [person(3)] })).await.expect(403);
    assert!(gateway.simulators.effects("rkvst").await.is_empty());
    assert!(gateway.simulators.effects("securegate").await.is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn checks_are_made_in_the_documented_order() {
    let gateway = Gateway::builder().setting("server.max_body_bytes", "2000").start().await;
    let post = |client: &Client, kind: &str, body: String| {
        let request = client.request("POST", "/v1/invites").bytes(body);
        request.header("content-type", kind).send()
    };
    let json = "application/json";
    let (huge, broken) = (" ".repeat(5000), "{".to_owned());
    let nobody = gateway.client().without_key();
    post(&nobody, "text/plain", huge.clone()).await.expect(401);
    let reader = gateway.caller("invites:read", &[]).await;
    post(&reader, "text/plain", huge.clone()).await.expect(403);
    let limited = gateway.caller("invites:write", &["--providers", "treasury"]).await;
    post(&limited, "text/plain", huge.clone()).await.expect(415);
    post(&limited, json, huge).await.expect(413);
    post(&limited, json, broken).await.expect(400);
    let mut wrong = person(1);
    wrong["phone"] = Value::from("12");
    post(&limited, json, invites("berlin-summit", [wrong.clone()]).to_string()).await.expect(403);
    post(&limited, json, invites("treasury", [wrong]).to_string()).await.expect(422);
    gateway.finish().await;
}
