//! How many invites may be asked for with a key.

use std::{sync::Arc, time::Duration};

use invite_store::KeyLimits;
use serde_json::{Value, json};

use crate::client::{Answer, Api, Caller, NewKey, person};

const TEAM: &[&str] = &["keys:write", "invites:write", "invites:read"];

async fn limited(api: &Arc<Api>, limits: KeyLimits) -> Caller {
    api.caller_with(NewKey { limits, ..NewKey::default() }).await
}

fn people(names: std::ops::Range<u32>) -> Value {
    let people: Vec<_> = names.map(|n| person(&format!("p{n}@example.org"))).collect();
    json!({ "to": "north", "invites": people })
}

fn refused(answer: &Answer) -> (&str, u64) {
    assert_eq!(answer.code(), (429, "rate-limited"));
    (answer.body["detail"].as_str().unwrap(), answer.header("retry-after").parse().unwrap())
}

#[tokio::test]
async fn invites_per_second_are_counted_over_requests_and_a_dry_run_counts_none() {
    let api = Api::start().await;
    let limits = KeyLimits { invites_per_second: Some(0.01), ..KeyLimits::default() };
    let caller = limited(&api, limits).await;
    for _ in 0..3 {
        let rehearsed = caller.post("/v1/invites?dry_run=true", people(0..5)).await;
        assert_eq!(rehearsed.status, 200);
    }
    let accepted = caller.post("/v1/invites", people(0..3)).await;
    assert_eq!(accepted.body["invites"].as_array().map(Vec::len), Some(3), "{}", accepted.body);
    let answer = caller.post("/v1/invites", people(3..4)).await;
    let (detail, wait) = refused(&answer);
    assert_eq!(detail, "this key may ask for 0.01 invites per second");
    assert!((290..=301).contains(&wait), "three are paid off, at a hundred seconds each: {wait}");
    // Requests are not limited, and another key is not concerned.
    assert_eq!(caller.get("/v1/invites").await.status, 200);
    let other = limited(&api, KeyLimits::default()).await;
    assert!(other.post("/v1/invites", people(3..8)).await.status.is_success());
}

#[tokio::test]
async fn invites_per_day_are_those_that_were_accepted() {
    let api = Api::start().await;
    let limits = KeyLimits { invites_per_day: Some(3), ..KeyLimits::default() };
    let caller = limited(&api, limits).await;
    let body = people(0..2);
    let named = [("idempotency-key", "a")];
    for status in [201, 200] {
        // The same request again is not accepted again.
        let answer = caller.call("POST", "/v1/invites?", &named, Some(body.clone())).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    // Neither are people who have a live invite.
    assert!(caller.post("/v1/invites", people(0..2)).await.status.is_success());
    let answer = caller.post("/v1/invites", people(2..4)).await;
    let (detail, wait) = refused(&answer);
    assert!(detail.starts_with("1 more invites of this key are accepted today"), "{detail}");
    assert!((1..=24 * 3600).contains(&wait), "{wait}");
    assert_eq!(caller.get("/v1/invites").await.body["invites"].as_array().unwrap().len(), 2);
    assert!(caller.post("/v1/invites", people(2..3)).await.status.is_success());
    refused(&caller.post("/v1/invites", people(3..4)).await);
}

/// A key that makes keys, and two that were made with it, which have the limits of `own` or its own.
async fn family(api: &Arc<Api>, limits: KeyLimits, own: Value) -> [Caller; 3] {
    let team = api.caller_with(NewKey { scopes: TEAM, limits, ..NewKey::default() }).await;
    let mut body = own;
    (body["name"], body["scopes"]) = (json!("child"), json!(["invites:write", "invites:read"]));
    let [first, second] = [body.clone(), body].map(async |body| {
        let made = team.post("/v1/admin/keys", body).await;
        api.holder(&made)
    });
    let (first, second) = (first.await, second.await);
    [team, first, second]
}

#[tokio::test]
async fn keys_together_may_do_no_more_than_the_one_that_they_were_made_with() {
    let api = Api::start().await;
    let limits = KeyLimits { invites_per_day: Some(3), ..KeyLimits::default() };
    let [team, first, second] = family(&api, limits, json!({})).await;
    assert!(first.post("/v1/invites", people(0..2)).await.status.is_success());
    let answer = second.post("/v1/invites", people(2..4)).await;
    assert!(refused(&answer).0.starts_with("1 more invites"), "{}", answer.body);
    assert!(second.post("/v1/invites", people(2..3)).await.status.is_success());
    for caller in [&team, &first, &second] {
        refused(&caller.post("/v1/invites", people(3..4)).await);
    }

    let limits = KeyLimits { invites_per_second: Some(0.01), ..KeyLimits::default() };
    let [team, first, second] = family(&api, limits, json!({})).await;
    assert!(first.post("/v1/invites", people(5..6)).await.status.is_success());
    for caller in [&team, &second] {
        refused(&caller.post("/v1/invites", people(6..7)).await);
    }

    let slow = json!({ "requests_per_second": 0.01 });
    let [team, first, second] = family(&api, KeyLimits::default(), slow.clone()).await;
    let admin = api.with(&["admin"]).await;
    let keys = admin.get("/v1/admin/keys").await.body;
    let parent = keys["keys"][1]["parent"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/keys/{parent}");
    assert_eq!(admin.patch(&path, slow).await.status, 200);
    assert_eq!(first.get("/v1/invites").await.status, 200);
    let answer = second.get("/v1/invites").await;
    let said = "a key that this one descends from, and all that were made with it, may make 0.01 \
                requests per second";
    assert_eq!(refused(&answer).0, said);
    refused(&team.get("/v1/invites").await);
}

/// The id of an invite that its provider refused.
async fn failed(caller: &Caller) -> String {
    let refused = json!({ "email": "ada@example.org", "first_name": "Ada", "message": "refuse" });
    let answer = caller.post("/v1/invites", json!({ "to": "north", "invites": [refused] })).await;
    let invite = &answer.body["invites"][0];
    assert_eq!(invite["status"], "failed", "{}", answer.body);
    invite["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_invite_that_is_queued_again_counts_as_another() {
    let api = Api::start().await;
    let limits = KeyLimits { invites_per_day: Some(2), ..KeyLimits::default() };
    let caller = limited(&api, limits).await;
    let id = failed(&caller).await;
    let retry = async |caller: &Caller, id: &str| {
        caller.post_empty(&format!("/v1/invites/{id}/retry")).await
    };
    assert_eq!(retry(&caller, &id).await.status, 200);
    while caller.get(&format!("/v1/invites/{id}")).await.body["status"] != "failed" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = retry(&caller, &id).await;
    assert!(refused(&answer).0.starts_with("0 more invites of this key"), "{}", answer.body);

    let limits = KeyLimits { invites_per_second: Some(0.01), ..KeyLimits::default() };
    let caller = limited(&api, limits).await;
    let id = failed(&caller).await;
    let answer = retry(&caller, &id).await;
    assert_eq!(refused(&answer).0, "this key may ask for 0.01 invites per second");
}

#[tokio::test]
async fn invites_that_are_redriven_count_as_others() {
    let api = Api::start().await;
    failed(&api.caller().await).await;
    let redriven = async |caller: &Caller| caller.post_empty("/v1/admin/redrive?all=true").await;
    let scopes = &["invites:write", "invites:read", "invites:all-tenants"];
    let limits = KeyLimits { invites_per_day: Some(1), ..KeyLimits::default() };
    let caller = api.caller_with(NewKey { scopes, limits, ..NewKey::default() }).await;
    assert!(caller.post("/v1/invites", people(0..1)).await.status.is_success());
    let left = redriven(&caller).await.body;
    assert_eq!(left["queued"], 0);
    assert_eq!(left["left"], 1);

    let limits = KeyLimits { invites_per_second: Some(0.01), ..KeyLimits::default() };
    let caller = api.caller_with(NewKey { scopes, limits, ..NewKey::default() }).await;
    assert_eq!(redriven(&caller).await.body["queued"], 1);
    refused(&caller.post("/v1/invites", people(1..2)).await);
}
