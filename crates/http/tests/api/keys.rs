//! Keys that are made, changed and revoked with other keys, and the scopes of administration.

use serde_json::{Value, json};

use crate::client::{Answer, Api, Caller, NewKey, person};

async fn make(caller: &Caller, body: Value) -> Answer {
    caller.post("/v1/admin/keys", body).await
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", answer.body))
}

#[tokio::test]
async fn each_call_of_administration_has_a_scope_of_its_own_and_admin_has_all() {
    let api = Api::start().await;
    let calls: [(&str, &str, &[&str]); 8] = [
        ("GET", "/v1/admin/config", &["config:write"]),
        ("GET", "/v1/admin/config/revisions", &["config:write"]),
        ("GET", "/v1/admin/audit", &["audit:read"]),
        ("GET", "/v1/admin/keys", &["keys:write"]),
        ("POST", "/v1/admin/providers/north/probe", &["providers:act"]),
        (
            "POST",
            "/v1/admin/redrive?dry_run=true&all=true",
            &["invites:write", "invites:all-tenants"],
        ),
        ("GET", "/v1/providers/north/invites", &["invites:read", "invites:all-tenants"]),
        (
            "GET",
            "/v1/admin/people?email=ada%40example.org",
            &["invites:read", "invites:all-tenants"],
        ),
    ];
    let admin = api.with(&["admin"]).await;
    let all = "invites:write invites:read invites:raw invites:codes invites:all-tenants providers:read \
               providers:act config:write keys:write people:erase audit:read";
    for (method, path, needed) in calls {
        assert_eq!(admin.call(method, path, &[], None).await.status, 200, "{path}");
        let just = api.with(needed).await;
        assert_eq!(just.call(method, path, &[], None).await.status, 200, "{path}");
        for lacking in needed {
            let others: Vec<&str> = all.split(' ').filter(|scope| scope != lacking).collect();
            let refused = api.with(&others).await.call(method, path, &[], None).await;
            assert_eq!(refused.status, 403, "{path} without {lacking}");
            assert!(text(&refused, "detail").contains(lacking), "{}", refused.body);
        }
    }
}

#[tokio::test]
async fn the_invites_of_other_tenants_are_for_keys_of_all_tenants() {
    let api = Api::start().await;
    let theirs = api.caller_with(NewKey { tenant: "other", ..NewKey::default() }).await;
    let id = theirs.invite("ada@example.org").await;
    let all = api.with(&["invites:read", "invites:all-tenants"]).await;
    let path = format!("/v1/invites/{id}");
    assert_eq!(all.get(&path).await.body["tenant"], "other");
    assert_eq!(all.delete(&path).await.status, 403, "it is for reading");
    let most = ["invites:read", "config:write", "keys:write", "providers:act", "audit:read"];
    assert_eq!(api.with(&most).await.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_key_makes_none_that_can_do_more_or_lasts_longer() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let limited = json!({
        "name": "team", "tenant": "sales", "scopes": ["keys:write", "invites:write"],
        "requests_per_second": 50, "expires_at": "2999-01-01T00:00:00Z",
    });
    let limited = make(&admin, limited).await;
    let team = api.holder(&limited);
    let least = json!({ "name": "x", "scopes": ["invites:write"] });
    for (member, value) in [
        ("scopes", json!(["invites:read"])),
        ("scopes", json!(["admin"])),
        ("tenant", json!("default")),
        ("requests_per_second", json!(51)),
        ("expires_at", json!("2999-01-01T00:00:01Z")),
    ] {
        let mut body = least.clone();
        body[member] = value;
        let refused = make(&team, body).await;
        assert_eq!(refused.code(), (403, "key-exceeded"));
        assert!(text(&refused, "detail").contains(member), "{}", refused.body);
    }
    let made = make(&team, least).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["parent"], limited.body["id"]);
    let taken =
        json!([made.body["tenant"], made.body["requests_per_second"], made.body["expires_at"]]);
    assert_eq!(taken, json!(["sales", 50.0, "2999-01-01T00:00:00Z"]));
    // What it could not have made it does not see, and leaves alone.
    let seen = team.get("/v1/admin/keys").await.body;
    let seen: Vec<&Value> = seen["keys"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
    assert_eq!(seen, [&made.body["id"], &limited.body["id"]]);
    let other = make(&admin, json!({ "name": "y", "scopes": ["admin"] })).await;
    let path = format!("/v1/admin/keys/{}", text(&other, "id"));
    assert_eq!(team.delete(&path).await.status, 404);
    let name = Some(json!({ "name": "z" }));
    assert_eq!(team.call("PATCH", &path, &[], name).await.status, 404);
}

#[tokio::test]
async fn a_key_is_revoked_with_those_that_it_made() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let parent =
        make(&admin, json!({ "name": "a", "scopes": ["keys:write", "invites:read"] })).await;
    let holder = api.holder(&parent);
    let child = make(&holder, json!({ "name": "b", "scopes": ["invites:read"] })).await;
    let child = api.holder(&child);
    assert_eq!(child.get("/v1/invites").await.status, 200);
    let path = format!("/v1/admin/keys/{}", text(&parent, "id"));
    assert_eq!(admin.delete(&path).await.status, 200);
    assert_eq!(child.get("/v1/invites").await.status, 401);
}

#[tokio::test]
async fn name_and_limits_of_a_key_change_and_its_secret_stays() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let body =
        json!({ "name": "a", "scopes": ["keys:write", "invites:write"], "requests_per_second": 9 });
    let parent = make(&admin, body).await;
    let holder = api.holder(&parent);
    let child = make(&holder, json!({ "name": "b", "scopes": ["invites:write"] })).await;
    let path = |key: &Answer| format!("/v1/admin/keys/{}", text(key, "id"));
    let change = async |key: &Answer, body: Value| admin.patch(&path(key), body).await;
    let changed = change(&child, json!({ "name": "mail", "requests_per_second": 5 })).await;
    assert_eq!(changed.body["name"], "mail");
    assert_eq!(changed.body["requests_per_second"], 5.0);
    let same = api.holder(&child);
    let sent = same.post("/v1/invites", json!({ "invites": [person("ada@example.org")] })).await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    for (key, rate) in [(&child, json!(10)), (&child, Value::Null), (&parent, json!(4))] {
        let refused = change(key, json!({ "requests_per_second": rate })).await;
        assert_eq!(text(&refused, "code"), "key-exceeded", "{}", refused.body);
    }
    assert_eq!(change(&parent, json!({ "requests_per_second": null })).await.status, 200);
    assert_eq!(change(&parent, json!({ "scopes": ["admin"] })).await.status, 422);
    let lapsed = change(&child, json!({ "expires_at": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(lapsed.errors(), [("#/expires_at", "out-of-range")]);
}

#[tokio::test]
async fn a_key_changes_and_revokes_none_that_is_above_it_or_may_do_more() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let team = json!({
        "name": "team", "scopes": ["keys:write", "invites:write"], "requests_per_second": 50,
        "invites_per_second": 40, "invites_per_day": 3, "expires_at": "2999-01-01T00:00:00Z",
    });
    let parent = make(&admin, team.clone()).await;
    let twin = make(&admin, team.clone()).await;
    let mut greater = team.clone();
    greater["invites_per_day"] = json!(4);
    let greater = make(&admin, greater).await;
    let mut lesser = team.clone();
    (lesser["invites_per_day"], lesser["expires_at"]) = (json!(1), json!("2998-01-01T00:00:00Z"));
    let holder = |key: &Answer| api.holder(key);
    let child = make(&holder(&parent), lesser.clone()).await;
    let grandchild = make(&holder(&child), lesser.clone()).await;
    let equal = make(&holder(&parent), team).await;
    let path = |key: &Answer| format!("/v1/admin/keys/{}", text(key, "id"));
    let change =
        async |by: &Answer, key: &Answer, body: Value| holder(by).patch(&path(key), body).await;
    let lifted =
        json!({ "expires_at": null, "invites_per_day": null, "requests_per_second": null });
    for (by, key) in [
        (&child, &parent),
        (&equal, &parent),
        (&grandchild, &parent),
        (&grandchild, &child),
        (&child, &twin),
        (&twin, &greater),
    ] {
        for body in [lifted.clone(), json!({ "name": "x" }), json!({ "invites_per_day": 1 })] {
            let refused = change(by, key, body).await;
            assert_eq!(refused.status, 404, "{}", refused.body);
        }
        assert_eq!(holder(by).delete(&path(key)).await.status, 404);
        let seen = holder(by).get("/v1/admin/keys").await.body;
        let mut seen = seen["keys"].as_array().unwrap().iter().map(|key| &key["id"]);
        assert!(seen.all(|id| *id != key.body["id"]));
    }
    // Of those that it may change none comes to exceed it, nor does it itself.
    for (by, key) in [(&child, &child), (&child, &grandchild), (&twin, &parent)] {
        for (member, value) in lifted.as_object().unwrap() {
            let refused = change(by, key, json!({ member: value })).await;
            assert_eq!(refused.code(), (403, "key-exceeded"));
        }
        assert_eq!(change(by, key, json!({ "name": "x" })).await.status, 200);
    }
    assert_eq!(holder(&child).delete(&path(&grandchild)).await.status, 200);
}

#[tokio::test]
async fn a_line_of_keys_that_make_each_other_ends() {
    let api = Api::start().await;
    let mut last = api.with(&["keys:write"]).await;
    let body = json!({ "name": "next", "scopes": ["keys:write"] });
    for _ in 1..16 {
        let made = make(&last, body.clone()).await;
        last = api.holder(&made);
    }
    let refused = make(&last, body).await;
    assert_eq!(refused.code(), (403, "key-exceeded"));
}

#[tokio::test]
async fn many_keys_are_listed_in_pages() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let name = "x".repeat(100);
    let providers: Vec<String> = (0..60).map(|n| format!("{n:03}{}", "p".repeat(200))).collect();
    let providers: Vec<&str> = providers.iter().map(String::as_str).collect();
    for _ in 0..100 {
        let tenant = name.as_str();
        api.key(NewKey { tenant, providers: Some(&providers), ..NewKey::default() }).await;
    }
    let (mut seen, mut path, mut pages) = (Vec::new(), "/v1/admin/keys".to_owned(), 0);
    loop {
        let page = admin.get(&path).await.body;
        assert!(page.to_string().len() < 1_100_000);
        let keys = page["keys"].as_array().unwrap();
        seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/admin/keys?cursor={cursor}");
    }
    assert!(pages > 1 && seen.len() == 101, "{pages} pages of {} keys", seen.len());
    assert!(seen.is_sorted_by(|newer, older| newer > older));
}
