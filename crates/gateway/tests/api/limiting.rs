//! How many invites may be asked for with a key.

use invite_store::KeyLimits;
use serde_json::{Value, json};

use crate::client::{Answer, Api, Caller, NewKey, person};

async fn limited(api: &Api, limits: KeyLimits) -> Caller<'_> {
    api.caller_with(NewKey { limits, ..NewKey::default() }).await
}

fn people(names: std::ops::Range<u32>) -> Value {
    let people: Vec<_> = names.map(|n| person(&format!("p{n}@example.org"))).collect();
    json!({ "to": "north", "invites": people })
}

fn refused(answer: &Answer) -> (&str, u64) {
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (429, &json!("rate-limited")));
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
