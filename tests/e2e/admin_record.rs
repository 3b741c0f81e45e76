//! What administrators do besides configuration and keys, what is recorded of it all, and who may.

use invite_tests::{Answer, Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

const AUDIT: &str = "/v1/admin/audit";
const TOML: &str = "application/toml";

/// Every call of administration, each with a body that it takes.
fn calls() -> [(&'static str, &'static str, Option<&'static str>); 15] {
    [
        ("GET", "/v1/admin/config", None),
        ("POST", "/v1/admin/config/check", Some(TOML)),
        ("PUT", "/v1/admin/config", Some(TOML)),
        ("GET", "/v1/admin/config/revisions", None),
        ("GET", "/v1/admin/config/revisions/1", None),
        ("POST", "/v1/admin/config/revisions/1/restore", None),
        ("POST", "/v1/admin/providers/treasury/probe", None),
        ("POST", "/v1/admin/keys", Some("application/json")),
        ("GET", "/v1/admin/keys", None),
        ("DELETE", "/v1/admin/keys/key_01900000000070008000000000000000", None),
        ("POST", "/v1/admin/redrive", None),
        ("GET", AUDIT, None),
        ("POST", "/v1/admin/erase", Some("application/json")),
        ("GET", "/v1/admin/people", None),
        ("POST", "/v1/admin/people", Some("application/json")),
    ]
}

async fn send(client: &Client, method: &str, path: &str, kind: Option<&str>) -> Answer {
    let request = client.request(method, path);
    match kind {
        Some(kind) => request.header("content-type", kind).bytes("{}").send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn only_an_administrator_administers() {
    let gateway = Gateway::start().await;
    for (method, path, kind) in calls() {
        let nobody = gateway.client().without_key();
        send(&nobody, method, path, kind).await.problem(401, "unauthorized");
        let refused = send(gateway.client(), method, path, kind).await;
        refused.problem(403, "insufficient-scope");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_and_another_method_not_offered() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    for (method, path, kind) in calls() {
        let answer = send(&admin, method, &format!("{path}?nite=x"), kind).await;
        if !path.contains("key_") {
            assert!(answer.pointers().contains(&"?nite"), "{method} {path}: {}", answer.text);
        }
        let other = if path.contains("key_") { "PUT" } else { "PATCH" };
        let answer = send(&admin, other, path, kind).await;
        assert!(answer.header("allow").is_some_and(|allow| allow.contains(method)), "{path}");
        answer.problem(405, "method-not-allowed");
    }
    gateway.finish().await;
}

/// A call that would drop its body would do what the caller asked it not to do, such as a dry run
/// for good.
#[tokio::test]
async fn a_body_is_refused_where_none_is_taken_and_nothing_is_done() {
    let gateway = Gateway::builder().setting("server.max_body_bytes", "4000").start().await;
    let admin = gateway.caller("admin", &[]).await;
    let failed = gateway.client().invite(&invites("treasury", [person(1)])).await.remove(0);
    let invite = format!("/v1/invites/{}", text(&failed, "id"));
    let key = json!({ "name": "hr", "scopes": ["providers:read"] });
    let key = admin.post("/v1/admin/keys", &key).await.expect(201).body;
    let key = format!("/v1/admin/keys/{}", text(&key, "id"));
    for (method, path, parameter) in [
        ("POST", "/v1/admin/redrive", Some("dry_run")),
        ("POST", "/v1/admin/config/revisions/1/restore", Some("note")),
        ("POST", "/v1/admin/providers/treasury/probe", None),
        ("DELETE", &key, None),
        ("POST", &format!("{invite}/refresh"), None),
        ("DELETE", &invite, Some("force")),
    ] {
        let member = parameter.unwrap_or("wait");
        let send = async |body: String| admin.request(method, path).bytes(body).send().await;
        let refused = send(json!({ member: true }).to_string()).await.expect(422);
        assert_eq!(text(&refused.body, "code"), "validation-failed", "{path}");
        assert_eq!(refused.pointers(), [format!("#/{member}")], "{path}");
        let fault = refused.list("errors").remove(0);
        assert_eq!(text(&fault, "code"), "unknown-member", "{path}");
        assert_eq!(text(&fault, "detail").contains("query parameters"), parameter.is_some());
        assert_eq!(send("wait=1".to_owned()).await.expect(422).pointers(), ["#"], "{path}");
        send(" ".repeat(4001)).await.problem(413, "too-large");
    }
    let answer = gateway.client().get(&invite).await.expect(200);
    assert_eq!(
        (&answer.body["status"], &answer.body["checked_at"]),
        (&failed["status"], &failed["checked_at"])
    );
    let keys = admin.get("/v1/admin/keys").await.expect(200).list("keys");
    assert!(keys.iter().all(|key| key["revoked_at"].is_null()), "{keys:?}");
    for (method, path) in
        [("POST", format!("{invite}/refresh")), ("DELETE", invite), ("DELETE", key)]
    {
        admin.request(method, &path).bytes(" {} ").send().await.expect(200);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_probe_says_whether_the_provider_takes_the_credential() {
    let wrong = "api_key = \"sg-wrong-key-000000\"";
    let gateway =
        Gateway::builder().replace("api_key = \"{SECUREGATE_API_KEY}\"", wrong).start().await;
    let admin = gateway.caller("admin", &[]).await;
    let probe = async |name: &str| {
        admin.request("POST", &format!("/v1/admin/providers/{name}/probe")).send().await
    };
    for name in ["acme-tenancy", "treasury"] {
        let found = probe(name).await.expect(200).body;
        assert_eq!(found["result"], "accepted");
        let shown = admin.get(&format!("/v1/providers/{name}")).await.expect(200).body;
        assert_eq!(shown["last_probe"]["detail"], found["detail"]);
    }
    probe("berlin-summit").await.problem(502, "provider-credentials");
    probe("nothing").await.problem(404, "not-found");
    gateway.simulators.break_down("turnkey", json!({ "kind": "latency", "delay": "9s" })).await;
    probe("treasury").await.problem(502, "provider-unavailable");
    gateway.simulators.recover("turnkey").await;
    for kind in ["rkvst", "turnkey"] {
        let down = json!({ "kind": "status_before", "status": 503 });
        gateway.simulators.break_down(kind, down).await;
    }
    for name in ["acme-tenancy", "treasury"] {
        let problem = probe(name).await.problem(502, "provider-unavailable");
        assert_eq!(problem["outcome"], "not_sent", "{problem}");
        let shown = admin.get(&format!("/v1/providers/{name}")).await.expect(200).body;
        assert_eq!(shown["last_probe"]["result"], "not_checked");
        let list = format!("/v1/providers/{name}/invites");
        admin.get(&list).await.problem(502, "provider-unavailable");
    }
    assert!(gateway.simulators.effects("turnkey").await.is_empty());
    gateway.finish().await;
}

async fn entries(admin: &Client) -> Vec<Value> {
    admin.get(AUDIT).await.expect(200).list("entries")
}

#[tokio::test]
async fn every_change_is_recorded_with_who_made_it_and_what_there_was() {
    let gateway = Gateway::start().await;
    let first = gateway.caller("admin", &[]).await;
    let body = json!({ "name": "Grace", "scopes": ["admin"] });
    let made = first.post("/v1/admin/keys", &body).await.expect(201).body;
    let admin = gateway.client().with_key(text(&made, "key"));
    let grace = format!("{} (Grace)", text(&made, "id"));
    let before = entries(&admin).await.len();

    let document = admin.get("/v1/admin/config").await.expect(200).text;
    let next = document.replacen("event-456", "event-789", 1);
    let put = admin.request("PUT", "/v1/admin/config?note=moved").header("if-match", "\"1\"");
    put.header("content-type", TOML).bytes(next).send().await.expect(200);
    admin.request("POST", "/v1/admin/config/revisions/1/restore").send().await.expect(200);
    let body = json!({ "name": "leaver", "scopes": ["invites:read"] });
    let leaver = admin.post("/v1/admin/keys", &body).await.expect(201).body;
    let path = format!("/v1/admin/keys/{}", text(&leaver, "id"));
    admin.delete(&path).await.expect(200);
    admin.delete(&path).await.expect(200);
    admin.request("POST", "/v1/admin/redrive?dry_run=true&all=true").send().await.expect(200);
    let redrive = "/v1/admin/redrive?provider=treasury&email=ada@example.org";
    admin.request("POST", redrive).send().await.expect(200);

    let all = entries(&admin).await;
    let made_here = &all[..all.len() - before];
    let expected =
        ["invites.redrive", "key.revoke", "key.create", "config.revise", "config.revise"];
    assert_eq!(texts(made_here, "action"), expected, "newest first, and no dry run");
    assert!(texts(made_here, "actor").iter().all(|actor| *actor == grace), "{made_here:?}");
    let [redriven, revoked, created, restored, revised] = made_here else { unreachable!() };
    assert_eq!(text(redriven, "target"), "provider=treasury&email=…");
    assert_eq!(redriven["after"], json!({ "matched": 0, "queued": 0, "duplicates": 0, "left": 0 }));
    assert_eq!(text(revoked, "target"), text(&leaver, "id"));
    assert_eq!(
        (&revoked["before"]["revoked_at"], &created["before"]),
        (&Value::Null, &Value::Null)
    );
    assert!(revoked["after"]["revoked_at"].is_string(), "{revoked}");
    assert_eq!((text(revised, "source"), text(restored, "source")), ("api", "restore"));
    assert_eq!((text(revised, "note"), text(revised, "target")), ("moved", "2"));
    assert_eq!(
        (&revised["before"], &revised["after"]),
        (&json!({ "revision": 1 }), &json!({ "revision": 2 }))
    );

    let recorded = serde_json::to_string(&all).unwrap();
    for secret in [text(&made, "key"), text(&leaver, "key"), &first.key(), "ada@example.org"] {
        assert!(!recorded.contains(secret), "{recorded}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn the_record_is_read_in_pages() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    for number in 0..3 {
        let body = json!({ "name": format!("key {number}"), "scopes": ["invites:read"] });
        admin.post("/v1/admin/keys", &body).await.expect(201);
    }
    let all = entries(&admin).await;
    let mut read = Vec::new();
    let mut path = format!("{AUDIT}?limit=2");
    while !path.is_empty() {
        let page = admin.get(&path).await.expect(200);
        read.extend(page.list("entries"));
        let next = page.body["next_cursor"].as_str();
        path = next.map_or_else(String::new, |at| format!("{AUDIT}?limit=2&cursor={at}"));
    }
    assert_eq!(read, all);
    assert_eq!(admin.get(&format!("{AUDIT}?cursor=x")).await.expect(422).pointers(), ["?cursor"]);
    gateway.finish().await;
}

#[tokio::test]
async fn failed_invites_are_queued_again_and_that_is_recorded() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway
        .simulators
        .break_down(
            "rkvst",
            json!({ "operation": "create", "kind": "status_before", "status": 400 }),
        )
        .await;
    let failed = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    assert_eq!(text(&failed, "status"), "failed");
    gateway.simulators.recover("rkvst").await;
    let body = json!({ "dry_run": true, "provider": "treasury" });
    let refused = admin.post("/v1/admin/redrive", &body).await.expect(422);
    assert_eq!(refused.pointers(), ["#/dry_run", "#/provider"]);
    assert_eq!(
        gateway.client().get(&format!("/v1/invites/{}", text(&failed, "id"))).await.body["status"],
        "failed"
    );
    for wrong in ["", "?dry_run=true", "?all=false", "?all=true&provider=acme-tenancy"] {
        let path = format!("/v1/admin/redrive{wrong}");
        let refused = admin.request("POST", &path).send().await.expect(422);
        assert_eq!(refused.pointers(), ["?all"], "{wrong}");
    }
    let path = "/v1/admin/redrive?provider=acme-tenancy";
    let done = admin.request("POST", path).send().await.expect(200).body;
    assert_eq!(done["queued"], 1);
    gateway.client().read_once(&failed, &["pending"]).await;
    let newest = eventually("the change is recorded", async || {
        let newest = entries(&admin).await.remove(0);
        (text(&newest, "action") == "invites.redrive").then_some(newest)
    })
    .await;
    assert_eq!(newest["after"], json!({ "matched": 1, "queued": 1, "duplicates": 0, "left": 0 }));
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_administrator_does_to_an_invite_by_hand_is_recorded_and_what_others_do_is_not() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", refuse).await;
    let failed = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    gateway.simulators.recover("rkvst").await;
    let set = gateway.client().invite(&invites("berlin-summit", [person(2)])).await.remove(0);
    let path = |invite: &Value| format!("/v1/invites/{}", text(invite, "id"));
    let before = entries(&admin).await.len();

    let status = |status: &str| json!({ "status": status });
    gateway.client().patch(&path(&set), &status("sent")).await.expect(200);
    admin.patch(&path(&set), &status("accepted")).await.expect(200);
    let retry = format!("{}/retry", path(&failed));
    admin.post(&retry, &json!({ "accept_duplicate_risk": true })).await.expect(200);
    gateway.client().read_once(&failed, &["pending"]).await;
    let revoked = admin.delete(&format!("{}?force=true", path(&failed))).await.expect(200).body;

    let all = entries(&admin).await;
    let made_here = &all[..all.len() - before];
    assert_eq!(texts(made_here, "action"), ["invite.revoke", "invite.retry", "invite.status"]);
    let [revoke, retried, changed] = made_here else { unreachable!() };
    let ids = [text(&failed, "id"), text(&failed, "id"), text(&set, "id")];
    assert_eq!(texts(made_here, "target"), ids);
    assert_eq!((&changed["before"], &changed["after"]), (&status("sent"), &status("accepted")));
    assert_eq!(retried["before"], status("failed"));
    let queued = json!({ "status": "queued", "accept_duplicate_risk": true });
    assert_eq!(retried["after"], queued);
    assert_eq!(revoke["after"], json!({ "status": text(&revoked, "status"), "force": true }));
    gateway.finish().await;
}

#[tokio::test]
async fn a_change_by_an_administrator_is_recorded_although_nobody_knows_whether_it_was_made() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let invite = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let path = format!("/v1/invites/{}", text(&invite, "id"));
    let before = entries(&admin).await.len();

    let refuse = json!({ "operation": "delete", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", refuse).await;
    admin.delete(&path).await.problem(502, "provider-rejected");
    assert_eq!(entries(&admin).await.len(), before, "what was refused changed nothing");
    gateway.simulators.recover("rkvst").await;
    let cut = json!({ "operation": "delete", "kind": "cut_after" });
    gateway.simulators.break_down("rkvst", cut).await;
    let problem = admin.delete(&path).await.problem(504, "provider-timeout");
    assert_eq!(problem["outcome"], "unknown");

    let all = entries(&admin).await;
    let made_here = &all[..all.len() - before];
    assert_eq!(texts(made_here, "action"), ["invite.revoke"]);
    assert_eq!(text(&made_here[0], "target"), text(&invite, "id"));
    assert_eq!(made_here[0]["before"], json!({ "status": "pending" }));
    assert_eq!(made_here[0]["after"], json!({ "failed": problem["detail"] }));
    let refreshed = admin.request("POST", &format!("{path}/refresh")).send().await.expect(200);
    assert_eq!(refreshed.body["status"], "revoked");
    gateway.finish().await;
}

#[tokio::test]
async fn the_record_is_verified_against_itself_and_against_the_log() {
    // The record is in the log however little else is.
    let gateway = Gateway::builder().setting("log.filter", "error").start().await;
    let admin = gateway.caller("admin", &[]).await;
    let made = json!({ "name": "a \"b\" audit.hash=\"c\"", "scopes": ["invites:read"] });
    admin.post("/v1/admin/keys", &made).await.expect(201);
    let newest = admin.get(AUDIT).await.expect(200).list("entries").remove(0);
    let logged = || gateway.log().lines().any(|line| line.contains(text(&newest, "hash")));
    eventually("its line in the log", async || logged().then_some(())).await;

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway.log");
    std::fs::write(&log, gateway.log()).unwrap();
    let verify = ["audit", "verify", "--json", "--log", log.to_str().unwrap()];
    let output = gateway.command(&verify).await;
    assert!(output.status.success(), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["newest"]["hash"], &found["faults"]), (&newest["hash"], &json!([])));

    gateway.execute("UPDATE audit_entries SET actor = 'nobody' WHERE action = 'key.create'").await;
    let output = gateway.command(&["audit", "verify"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("was altered"), "{said}");
    gateway.execute("DELETE FROM audit_entries").await;
    let output = gateway.command(&verify).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the record ends before it"), "{said}");
    std::fs::write(&log, "nothing\n").unwrap();
    assert_eq!(gateway.command(&verify).await.status.code(), Some(2));
    gateway.finish().await;
}
