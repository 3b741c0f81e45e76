//! What changes while a request is under way: its body comes slowly, or it waits.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::Request,
};
use futures::stream;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};

use crate::client::{Answer, Api, Caller, NewKey};

/// Whatever does not wait is answered within this time.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Sends a request whose body comes only once something else was done, after its beginning was read.
async fn slowly(
    caller: &Caller,
    (method, path, body): (&str, &str, String),
    meanwhile: impl Future<Output = ()>,
) -> Answer {
    let (is_read, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reading, going_on) = (is_read.clone(), goes_on.clone());
    let body = stream::once(async move {
        reading.notify_one();
        going_on.notified().await;
        Ok::<_, Infallible>(Bytes::from(body))
    });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", caller.key))
        .header("content-type", "application/json")
        .body(Body::from_stream(body))
        .unwrap();
    let change = async {
        is_read.notified().await;
        meanwhile.await;
        goes_on.notify_one();
    };
    tokio::join!(caller.api.send(request), change).0
}

#[tokio::test]
async fn a_webhook_that_was_widened_while_a_body_came_is_no_longer_a_limited_keys() {
    let api = Api::start().await;
    let id = api.caller().await.invite("ada@example.org").await;
    let scopes: &[&str] = &["webhooks:write", "invites:read"];
    let limited = NewKey { scopes, providers: Some(&["north"]), ..NewKey::default() };
    let (limited, all) = (api.caller_with(limited).await, api.with(scopes).await);
    let told = all.get(&format!("/v1/events?invite_id={id}")).await;
    let url = "https://hooks.example.com/";
    let made = limited.post("/v1/webhooks", json!({ "url": url })).await;
    assert_eq!((made.status.as_u16(), &made.body["providers"]), (201, &json!(["north"])));
    let path = format!("/v1/webhooks/{}", made.body["id"].as_str().unwrap());
    let providers = async |names: &[&str]| {
        assert_eq!(all.patch(&path, json!({ "providers": names })).await.status, 200);
    };
    let text = |body: Value| body.to_string();
    let requests = [
        ("PATCH", "", text(json!({ "url": "https://theirs.example.com/" }))),
        ("POST", "/rotate", text(json!({}))),
        ("POST", "/resend", text(json!({ "event_id": told.body["events"][0]["id"] }))),
        ("POST", "/recover?since=2026-01-01T00:00:00Z", String::new()),
        ("POST", "/test", String::new()),
        ("DELETE", "", String::new()),
    ];
    for (method, rest, body) in requests {
        let request = (method, &*format!("{path}{rest}"), body);
        let answer = slowly(&limited, request, providers(&["north", "south"])).await;
        assert_eq!(answer.code(), (404, "not-found"), "{method} {rest}");
        let shown = all.get(&path).await.body;
        assert_eq!((&shown["url"], &shown["enabled"]), (&json!(url), &json!(true)));
        assert!(shown["old_secret_until"].is_null(), "{shown}");
        providers(&["north"]).await;
    }
}

#[tokio::test]
async fn whoever_waits_for_events_is_told_only_what_the_key_may_see_when_they_come() {
    let api = Api::start().await;
    let admin = api.with(&["admin"]).await;
    let writer = api.caller().await;
    let bodies = [(None, 401), (Some(json!({ "providers": ["south"] })), 200)];
    for (change, status) in bodies {
        let made = json!({ "name": "reader", "scopes": ["invites:read"] });
        let made = admin.post("/v1/admin/keys", made).await;
        let reader = api.holder(&made);
        let end = reader.get("/v1/events?after=latest").await.body["next_after"].clone();
        // What still becomes of an earlier invite ends no wait.
        let path = format!("/v1/events?type=invite.queued&after={}", end.as_str().unwrap());
        let wait = [("prefer", "wait=60")];
        let mut waiting = std::pin::pin!(reader.call("GET", &path, &wait, None));
        assert!(timeout(AT_ONCE, &mut waiting).await.is_err(), "it waits");
        let key = format!("/v1/admin/keys/{}", made.body["id"].as_str().unwrap());
        let changed = match change {
            Some(change) => admin.patch(&key, change).await,
            None => admin.delete(&key).await,
        };
        assert_eq!(changed.status, 200, "{}", changed.body);
        writer.invite(&format!("ada-{status}@example.org")).await;
        let answer = waiting.await;
        assert_eq!(answer.status, status, "{}", answer.body);
        if status == 200 {
            assert_eq!(answer.body["events"], json!([]));
            assert_eq!(
                (&answer.body["next_after"], &answer.body["has_more"]),
                (&end, &json!(true))
            );
            assert_eq!(
                reader.get(&path).await.body["events"],
                json!([]),
                "it is at another provider"
            );
        }
    }
}
