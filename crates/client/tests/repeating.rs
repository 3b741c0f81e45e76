//! Which calls are made again, against a server that answers as told.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use invite_client::{Call, Client, Error};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A refusal: its status, what it says of the effect, and whether it asks for another call.
type Refusal = (u16, &'static str, bool);

async fn answer(State(refusals): State<Arc<Mutex<Vec<Refusal>>>>) -> Response {
    let Some((status, outcome, asks)) = refusals.lock().unwrap().pop() else {
        return Json(json!({ "done": true })).into_response();
    };
    let problem = json!({ "code": "busy", "detail": "busy", "outcome": outcome });
    let mut response = (StatusCode::from_u16(status).unwrap(), Json(problem)).into_response();
    if asks {
        response.headers_mut().insert("retry-after", "0".parse().unwrap());
    }
    response
}

/// A client of a server that refuses so at first.
async fn refusing(refusals: &[Refusal]) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refusals = Arc::new(Mutex::new(refusals.iter().rev().copied().collect()));
    let router = Router::new().fallback(answer).with_state(refusals);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&url, "key").unwrap()
}

#[tokio::test]
async fn a_refused_call_is_made_again_only_where_that_is_asked_for_and_safe() {
    let get = || Call::get("/v1/invites");
    let post = || Call::post("/v1/invites").json(&json!({}));
    for (call, refusal, is_made_again) in [
        (get(), (503, "unknown", true), true),
        (get(), (429, "throttled", true), true),
        (get(), (503, "not_sent", false), false),
        (get(), (500, "unknown", true), false),
        (post(), (503, "not_sent", true), true),
        (post(), (429, "throttled", true), true),
        (post(), (503, "unknown", true), false),
        (post().may_repeat(), (503, "unknown", true), true),
        (post().may_repeat(), (422, "rejected", true), false),
    ] {
        let client = refusing(&[refusal, refusal]).await;
        let shown = format!("{call:?} {refusal:?}");
        match client.read::<Value>(call).await {
            Ok(answer) => assert!(is_made_again && answer == json!({ "done": true }), "{shown}"),
            Err(error) => {
                let problem = error.problem().unwrap();
                assert!(!is_made_again, "{shown}: {error}");
                assert_eq!((problem.status.as_u16(), &*problem.code), (refusal.0, "busy"));
            }
        }
    }
}

#[tokio::test]
async fn without_patience_a_call_is_made_once() {
    let gone = Client::new("http://127.0.0.1:9", "key").unwrap().with_patience(Duration::ZERO);
    let failed = gone.call(Call::post("/v1/invites")).await.unwrap_err();
    assert!(matches!(failed, Error::NoAnswer { .. }), "{failed}");
    assert!(!failed.to_string().contains("key"), "{failed}");
}

#[tokio::test]
async fn what_was_not_sent_is_sent_once_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&format!("http://{address}"), "key").unwrap();
    let calling = tokio::spawn(async move { client.read::<Value>(Call::post("/")).await });
    tokio::task::yield_now().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let router = Router::new().fallback(answer).with_state(Arc::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(calling.await.unwrap().unwrap(), json!({ "done": true }));
}
