//! Somebody's endpoint, to which a webhook sends.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use invite_tests::{Client, Gateway, eventually};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use crate::text;

/// A request that a receiver got.
#[derive(Clone)]
pub struct Got {
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }
}

type Answers = dyn Fn(usize) -> Response + Send + Sync;

/// An endpoint of somebody's.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Arc<Answers>>>,
    /// Nothing is answered while this is true.
    pub holds: Arc<watch::Sender<bool>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?team=hr", listener.local_addr().unwrap());
        let taken: Arc<Answers> = Arc::new(|_| StatusCode::NO_CONTENT.into_response());
        let (got, answers) = (Arc::default(), Arc::new(Mutex::new(taken)));
        let receiver = Self { url, got, answers, holds: Arc::default() };
        let take = async |State(it): State<Self>, headers: HeaderMap, body: String| {
            let number = {
                let mut got = it.got.lock().unwrap();
                got.push(Got { headers, body });
                got.len()
            };
            // It is never dropped.
            let _ = it.holds.subscribe().wait_for(|holds| !holds).await;
            let answers = it.answers.lock().unwrap().clone();
            answers(number)
        };
        let app = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    /// From now on it answers so; it is told the how many-th request it is.
    pub fn answer(&self, answers: impl Fn(usize) -> Response + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answers);
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// What it got once it got so many different events.
    pub async fn until(&self, events: usize) -> Vec<Got> {
        eventually("the events come", async || {
            let got = self.got();
            let ids: BTreeSet<String> = got.iter().map(Got::id).collect();
            (ids.len() >= events).then_some(got)
        })
        .await
    }
}

pub async fn create(client: &Client, body: Value) -> Value {
    client.post("/v1/webhooks", &body).await.expect(201).body
}

pub async fn manager(gateway: &Gateway) -> Client {
    gateway.caller("webhooks:write,invites:read,invites:write", &[]).await
}

/// What a webhook's attempts came to.
pub async fn attempts(client: &Client, webhook: &Value, query: &str) -> Vec<Value> {
    let path = format!("/v1/webhooks/{}/attempts{query}", text(webhook, "id"));
    client.get(&path).await.expect(200).list("attempts")
}

/// It is to be left alone for an hour.
pub fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]).into_response()
}
