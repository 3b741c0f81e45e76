//! API keys through the API: made, listed, revoked.

use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

const PATH: &str = "/v1/admin/keys";

async fn make(admin: &Client, body: Value) -> Value {
    admin.post(PATH, &body).await.expect(201).body
}

#[tokio::test]
async fn a_key_is_shown_once_and_does_what_it_says() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let wanted = json!({
        "name": "HR", "scopes": ["invites:write", "invites:read"], "tenant": "hr",
        "providers": ["treasury"], "requests_per_second": 50, "expires_at": "2999-01-01T00:00:00Z",
    });
    let answer = admin.post(PATH, &wanted).await.expect(201);
    let made = answer.body.clone();
    let own = format!("{PATH}/{}", text(&made, "id"));
    assert_eq!(answer.header("location"), Some(own.as_str()));
    for (member, value) in wanted.as_object().unwrap() {
        assert_eq!(made[member].as_f64(), value.as_f64(), "{member}");
        assert!(value.is_number() || made[member] == *value, "{member}: {made}");
    }
    assert_eq!((text(&made, "state"), &made["revoked_at"]), ("active", &Value::Null));

    let secret = text(&made, "key");
    let caller = gateway.client().with_key(secret);
    let listed = caller.get("/v1/invites").await.expect(200);
    assert_eq!(listed.header("ratelimit-policy"), Some("\"key\";q=50;w=1"));
    let invite = caller.invite(&invites("treasury", [person(1)])).await.remove(0);
    let seen = admin.read(&invite).await;
    assert_eq!(text(&seen, "tenant"), "hr");
    caller.post("/v1/invites", &invites("acme-tenancy", [person(2)])).await.expect(403);
    caller.get("/v1/providers").await.problem(403, "insufficient-scope");

    let answer = admin.get(PATH).await.expect(200);
    assert!(!answer.text.contains(secret) && !answer.text.contains("hash"), "{}", answer.text);
    let keys = answer.list("keys");
    assert_eq!(texts(&keys, "name"), ["HR", "e2e", "e2e"], "newest first");
    let shown = &keys[0];
    for member in ["id", "created_at", "expires_at", "scopes", "providers", "requests_per_second"] {
        assert_eq!(shown[member], made[member], "{member}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_request_on() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let made = make(&admin, json!({ "name": "leaver", "scopes": ["invites:read"] })).await;
    let caller = gateway.client().with_key(text(&made, "key"));
    caller.get("/v1/invites").await.expect(200);
    let path = format!("{PATH}/{}", text(&made, "id"));
    let revoked = admin.delete(&path).await.expect(200).body;
    assert_eq!(text(&revoked, "state"), "revoked");
    assert!(revoked["revoked_at"].is_string() && revoked.get("key").is_none(), "{revoked}");
    caller.get("/v1/invites").await.problem(401, "unauthorized");
    let again = admin.delete(&path).await.expect(200).body;
    assert_eq!(again["revoked_at"], revoked["revoked_at"]);
    for nothing in ["key_01900000000070008000000000000000", "x"] {
        admin.delete(&format!("{PATH}/{nothing}")).await.problem(404, "not-found");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_administrator_may_revoke_the_key_in_hand() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let made = make(&admin, json!({ "name": "one use", "scopes": ["admin"] })).await;
    let other = gateway.client().with_key(text(&made, "key"));
    let path = format!("{PATH}/{}", text(&made, "id"));
    assert_eq!(text(&other.delete(&path).await.expect(200).body, "state"), "revoked");
    other.get(PATH).await.problem(401, "unauthorized");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_lapses_is_listed_as_expired() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway.caller("invites:read", &["--tenant", "visitor", "--expires", "1ms"]).await;
    eventually("the key has expired", async || {
        let keys = admin.get(PATH).await.expect(200).list("keys");
        let visitor = keys.iter().find(|key| text(key, "tenant") == "visitor").unwrap().clone();
        (text(&visitor, "state") == "expired").then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_key_is_said_at_once() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let wrong = json!({
        "name": "x".repeat(101), "scopes": ["admin", "invite:read"], "tenant": "a\nb",
        "providers": ["treasuri"], "requests_per_second": -1, "expires_at": "2001-01-01T00:00:00Z",
        "key": "igk_mine",
    });
    let answer = admin.post(&format!("{PATH}?x=1"), &wrong).await.expect(422);
    let expected = [
        "#/expires_at",
        "#/key",
        "#/name",
        "#/providers/0",
        "#/requests_per_second",
        "#/scopes/1",
        "#/tenant",
        "?x",
    ];
    assert_eq!(answer.pointers(), expected);
    let errors = answer.list("errors");
    let suggested = |pointer: &str| {
        let error = errors.iter().find(|error| text(error, "pointer") == pointer).unwrap();
        text(error, "suggestion").to_owned()
    };
    assert_eq!(suggested("#/scopes/1"), "invites:read");
    assert_eq!(suggested("#/providers/0"), "treasury");
    assert_eq!(admin.get(PATH).await.expect(200).list("keys").len(), 2, "none was made");
    gateway.finish().await;
}

#[tokio::test]
async fn an_administrator_of_some_providers_cannot_lift_that_limit() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &["--providers", "treasury"]).await;
    let body = json!({ "name": "mine", "scopes": ["admin"] });
    admin.post(PATH, &body).await.problem(403, "provider-not-allowed");
    admin.get("/v1/admin/config").await.problem(403, "provider-not-allowed");
    admin.request("POST", "/v1/admin/providers/treasury/probe").send().await.expect(200);
    let other = admin.request("POST", "/v1/admin/providers/acme-tenancy/probe").send().await;
    other.problem(403, "provider-not-allowed");
    gateway.finish().await;
}
