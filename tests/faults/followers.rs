//! Those who follow a round: one reads the feed and dies now and then, others are sent it as webhooks and do not always take
//! it. In the end both know each change once, and what they know is what the API shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::gateway::{Caller, Gateway};
use crate::seed::Seed;

/// How long all may take to be told once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(60);
const START: &str = "evt_0000000000000000";
/// Who has a webhook.
const OWNERS: [Caller; 2] = [Caller::First, Caller::Other];

/// What a reader of the feed keeps, all of it at once.
#[derive(Clone)]
struct Kept {
    /// Where it goes on.
    after: String,
    events: Vec<Value>,
}

/// What the endpoint of an owner's webhooks got, by `webhook-id`.
type Got = BTreeMap<String, Value>;

struct Endpoint {
    got: [Mutex<Got>; OWNERS.len()],
    seed: Mutex<Seed>,
    /// From now on it takes everything.
    is_calm: Mutex<bool>,
}

/// Everyone who follows a round.
pub struct Followers {
    kept: Kept,
    seed: Seed,
    endpoint: Arc<Endpoint>,
    url: String,
    serving: JoinHandle<()>,
    /// For each owner the path of its webhook, and behind which event it gets all.
    webhooks: Vec<(String, String)>,
    findings: Vec<String>,
}

impl Followers {
    /// They know nothing yet.
    pub async fn start(mut seed: Seed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = Arc::new(Endpoint {
            got: Default::default(),
            seed: Mutex::new(Seed::new(seed.next(), 0)),
            is_calm: Mutex::new(false),
        });
        let app = Router::new()
            .route("/{owner}", axum::routing::post(take))
            .with_state(Arc::clone(&endpoint));
        let serving = tokio::spawn(async move {
            // It serves as long as the round lasts.
            let _ = axum::serve(listener, app).await;
        });
        let kept = Kept { after: START.to_owned(), events: Vec::new() };
        Self { kept, seed, endpoint, url, serving, webhooks: Vec::new(), findings: Vec::new() }
    }

    /// Makes the webhooks, and follows the feed without end.
    pub async fn follow(&mut self, gateway: &Gateway) {
        for (place, owner) in OWNERS.into_iter().enumerate() {
            let webhook = self.subscribe(gateway, place, owner).await;
            self.webhooks.push(webhook);
        }
        loop {
            self.read(gateway, "wait=1").await;
        }
    }

    /// One webhook of an owner. If an answer is lost there are two, which changes nothing.
    async fn subscribe(&self, gateway: &Gateway, place: usize, owner: Caller) -> (String, String) {
        let body = json!({ "url": format!("{}/{place}", self.url) });
        let mut tries = interval(Duration::from_millis(100));
        loop {
            tries.tick().await;
            let path = "/v1/webhooks";
            let made = gateway.ask(owner, Method::POST, path, &[], Some(&body)).await;
            let Ok((201, made)) = made else { continue };
            let latest = "/v1/events?after=latest";
            let start = gateway.insist(owner, Method::GET, latest, &[], None).await;
            if let Ok((200, page)) = start {
                let path = format!("{path}/{}", made["id"].as_str().unwrap());
                return (path, page["next_after"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Reads a page. Whether there may be more.
    async fn read(&mut self, gateway: &Gateway, wait: &str) -> bool {
        let path = format!("/v1/events?limit=200&after={}", self.kept.after);
        let headers = [("prefer", wait.to_owned())];
        let answer = gateway.insist(Caller::Admin, Method::GET, &path, &headers, None).await;
        let page = match answer {
            Ok((200, page)) => page,
            Ok((503, _)) | Err(_) => return true,
            Ok((status, body)) => {
                self.findings.push(format!("GET {path}: {status} {body}"));
                return false;
            }
        };
        // It dies before it has kept what it read, and reads it again.
        if self.seed.chance(20) {
            return true;
        }
        self.kept.events.extend(page["events"].as_array().unwrap().iter().cloned());
        self.kept.after = page["next_after"].as_str().unwrap().to_owned();
        page["has_more"] == true
    }

    /// Waits until all are told everything, or for as long as it may take; then says what is not as it should be.
    pub async fn examine(mut self, gateway: &Gateway, invites: &[Value]) -> Vec<String> {
        *self.endpoint.is_calm.lock().unwrap() = true;
        for ((path, _), owner) in self.webhooks.iter().zip(OWNERS) {
            let path = format!("{path}/recover?since=2020-01-01T00:00:00Z");
            // What is not sent at once is sent later.
            let _ = gateway.insist(owner, Method::POST, &path, &[], None).await;
        }
        let began = Instant::now();
        let mut looks = interval(Duration::from_millis(250));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut found = loop {
            looks.tick().await;
            while self.read(gateway, "wait=0").await {}
            let found = self.compare(invites);
            if found.is_empty() || began.elapsed() > CALM {
                break found;
            }
        };
        self.serving.abort();
        found.append(&mut self.findings);
        found
    }

    fn compare(&self, invites: &[Value]) -> Vec<String> {
        let mut found = Vec::new();
        let events = &self.kept.events;
        let ids: Vec<&str> = events.iter().map(|event| word(event, "id")).collect();
        if !ids.is_sorted_by(|one, other| one < other) {
            found.push("the feed told something twice, or not in order".to_owned());
        }
        let mut told: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for event in events {
            told.entry(word(event, "subject")).or_default().push(event);
        }
        let mut batches = BTreeSet::new();
        for invite in invites {
            let own = told.get(word(invite, "id")).map(Vec::as_slice).unwrap_or_default();
            found.extend(story(invite, own));
            batches.insert(word(invite, "batch_id"));
        }
        let incomplete = batches.iter().filter(|batch| !told.contains_key(**batch));
        found.extend(incomplete.map(|batch| format!("nothing told that batch {batch} completed")));
        for ((place, (_, start)), tenant) in
            self.webhooks.iter().enumerate().zip(["default", "other"])
        {
            let wanted: BTreeMap<&str, &Value> = events
                .iter()
                .filter(|event| event["tenant"] == tenant)
                .map(|event| (word(event, "id"), event))
                .collect();
            let got = self.endpoint.got[place].lock().unwrap();
            let missing =
                wanted.keys().filter(|id| **id > start.as_str() && !got.contains_key(**id));
            found.extend(missing.map(|id| format!("the webhook of {tenant} was not sent {id}")));
            for (id, body) in &*got {
                let event = wanted.get(id.as_str());
                if event.is_none_or(|event| {
                    event["type"] != body["type"] || event["subject"] != body["subject"]
                }) {
                    found.push(format!(
                        "the webhook of {tenant} was sent {id}, which the feed tells otherwise"
                    ));
                }
            }
        }
        found
    }
}

/// What is not so of the events of an invite.
fn story(invite: &Value, events: &[&Value]) -> Option<String> {
    let id = word(invite, "id");
    let mut status = "";
    for event in events {
        let (to, from) = (&event["data"]["invite"]["status"], &event["data"]["previous"]);
        // That a call begins is not told.
        let goes_on = match status {
            "" => from.is_null(),
            before => from == before || from == "sending",
        };
        if !goes_on {
            return Some(format!(
                "{id} was {status}, and the next event {event} does not begin there"
            ));
        }
        status = to.as_str().unwrap_or_default();
    }
    let is = word(invite, "status");
    (status != is).then(|| format!("{id} is {is}, and the last event told that it was {status:?}"))
}

fn word<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// Takes a request, or does not, or takes it and does not say so.
async fn take(
    State(endpoint): State<Arc<Endpoint>>,
    Path(place): Path<usize>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let is_calm = *endpoint.is_calm.lock().unwrap();
    let chance = if is_calm { 100 } else { endpoint.seed.lock().unwrap().below(100) };
    if chance < 10 {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&body).unwrap();
    endpoint.got[place].lock().unwrap().insert(id, body);
    if chance < 20 { StatusCode::BAD_GATEWAY } else { StatusCode::NO_CONTENT }
}
