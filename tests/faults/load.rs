//! The callers of a round: they invite people, change and withdraw invites, repeat what got no
//! answer, and keep what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use invite_tests::person;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, interval_at};

use crate::gateway::{Caller, Gateway, START};
use crate::providers::Providers;
use crate::seed::Seed;
use crate::trouble::{BAD_EVENT, SPOILT, Trouble};

/// Configured names.
const PROVIDERS: [&str; 3] = ["event", "tenancy", "treasury"];
/// Requests for invites in each life.
const POSTS: usize = 7;
/// Changes of single invites in each life.
const CHANGES: usize = 6;
/// Where an invite to Securegate goes that does not say where.
pub const USUAL_EVENT: &str = "event-456";
/// Over this time the requests of a life are spread.
const SPREAD: usize = 1200;

/// What the callers know.
pub struct Load {
    known: Mutex<Known>,
    has_odd_addresses: bool,
    has_spoilt: bool,
}

#[derive(Default)]
struct Known {
    people: usize,
    /// By key: the body, and the batch once one was promised.
    keyed: BTreeMap<String, (Value, Option<String>)>,
    /// Ids of invites that were promised.
    promised: BTreeSet<String>,
    /// Invites that were changed once: a second change could not be told from the first.
    changed: BTreeSet<String>,
    findings: Vec<String>,
}

/// A request for invites.
struct Post {
    key: Option<String>,
    body: Value,
    wait: &'static str,
}

impl Load {
    /// Callers who know nothing yet.
    pub fn new(troubles: &[Trouble]) -> Self {
        Self {
            known: Mutex::default(),
            has_odd_addresses: troubles.contains(&Trouble::OddAddresses),
            has_spoilt: troubles.contains(&Trouble::BadItem),
        }
    }

    /// The requests of one life, side by side; it may end meanwhile.
    pub async fn run(&self, gateway: &Gateway, providers: &Providers, mut seed: Seed) {
        // Every life has something to do for each provider.
        let everywhere = json!(PROVIDERS);
        let mut posts = vec![self.post(&mut seed, everywhere)];
        for _ in 1..POSTS {
            let to = match seed.below(8) {
                0 => json!(["event", "treasury"]),
                n => json!(PROVIDERS[n % 3]),
            };
            posts.push(self.post(&mut seed, to));
        }
        posts.extend(self.repeats(&mut seed, 3));
        let posting = posts.into_iter().map(|post| {
            let pause = Duration::from_millis(seed.below(SPREAD) as u64);
            async move {
                come_at(pause).await;
                self.send(gateway, post).await;
            }
        });
        let posting: Vec<_> = posting.collect();
        let changing = (0..CHANGES).map(|_| {
            let pause = Duration::from_millis(100 + seed.below(SPREAD) as u64);
            let own = Seed::new(seed.next(), 0);
            async move {
                come_at(pause).await;
                self.change(gateway, providers, own).await;
            }
        });
        let changing: Vec<_> = changing.collect();
        tokio::join!(join_all(posting), join_all(changing));
    }

    /// Repeats every request with a key that was never answered with a promise, until it is: other rounds
    /// have the database's server restarted, too.
    pub async fn repeat_unanswered(&self, gateway: &Gateway) {
        let began = Instant::now();
        let mut tries = interval(Duration::from_millis(200));
        while began.elapsed() < START {
            tries.tick().await;
            let unanswered: Vec<(String, Value)> = {
                let known = self.known.lock().unwrap();
                let open = known.keyed.iter().filter(|(_, (_, batch))| batch.is_none());
                open.map(|(key, (body, _))| (key.clone(), body.clone())).collect()
            };
            if unanswered.is_empty() {
                return;
            }
            let posts = unanswered.into_iter().map(|(key, body)| async move {
                self.send(gateway, Post { key: Some(key), body, wait: "wait=0" }).await;
            });
            join_all(posts).await;
        }
    }

    /// Ids of invites that were promised, and what was answered that should not have been.
    pub fn close(self) -> (BTreeSet<String>, Vec<String>) {
        let known = self.known.into_inner().unwrap();
        let open = known.keyed.iter().filter(|(_, (_, batch))| batch.is_none());
        let mut findings = known.findings;
        findings.extend(open.map(|(key, _)| format!("the request {key} was never answered")));
        (known.promised, findings)
    }

    fn post(&self, seed: &mut Seed, to: Value) -> Post {
        let count = if seed.chance(50) { 1 } else { 2 + seed.below(6) };
        let to_event = to.to_string().contains("event");
        let event = (to_event && seed.chance(35)).then_some(BAD_EVENT);
        let mut invites = self.people(count, event);
        if self.has_spoilt && seed.chance(25) {
            spoil(&mut invites[0]);
        }
        let body = json!({ "to": to, "invites": invites });
        let mut known = self.known.lock().unwrap();
        let key = seed.chance(60).then(|| format!("key-{}", known.people));
        if let Some(key) = &key {
            known.keyed.insert(key.clone(), (body.clone(), None));
        }
        Post { key, body, wait: if seed.chance(70) { "wait=0" } else { "wait=1" } }
    }

    /// People whom nobody has invited before, to an event other than the usual one if there is a
    /// choice of events.
    pub fn people(&self, count: usize, event: Option<&str>) -> Vec<Value> {
        let known = &mut *self.known.lock().unwrap();
        let invite = |_| {
            known.people += 1;
            let number = known.people;
            let mut invite = person(number);
            invite["external_id"] = json!(format!("guest-{number}"));
            if self.has_odd_addresses {
                invite["email"] = json!(odd_address(number));
                invite["first_name"] = json!(format!("d\u{fc}MMY  o'nEIL{number}"));
            }
            invite["labels"] = json!({ "event": event.unwrap_or(USUAL_EVENT) });
            if let Some(event) = event {
                invite["options"] = json!({ "securegate": { "event_id": event } });
            }
            invite
        };
        (0..count).map(invite).collect()
    }

    /// Invites that a caller is promised, by id, or what was answered instead.
    pub async fn invite(
        &self,
        gateway: &Gateway,
        caller: Caller,
        body: &Value,
    ) -> Result<Vec<String>, String> {
        let key = body["invites"][0]["external_id"].as_str().unwrap_or_default();
        let headers = [
            ("prefer", "respond-async".to_owned()),
            ("idempotency-key", format!("\"siege-{key}\"")),
        ];
        match gateway.insist(caller, Method::POST, "/v1/invites", &headers, Some(body)).await {
            Ok((200..=202, body)) => {
                let invites = body["invites"].as_array().into_iter().flatten();
                let ids = invites.filter_map(|invite| invite["id"].as_str());
                let ids: Vec<String> = ids.map(str::to_owned).collect();
                self.known.lock().unwrap().promised.extend(ids.iter().cloned());
                Ok(ids)
            }
            Ok((status, body)) => Err(format!("POST /v1/invites: {status} {body}")),
            Err(error) => Err(format!("POST /v1/invites: {error}")),
        }
    }

    /// Some requests that were sent in an earlier life, answered or not.
    fn repeats(&self, seed: &mut Seed, count: usize) -> Vec<Post> {
        let known = self.known.lock().unwrap();
        let keys: Vec<&String> = known.keyed.keys().collect();
        let chosen: BTreeSet<&String> = match keys.len() {
            0 => BTreeSet::new(),
            _ => (0..count).map(|_| *seed.pick(&keys)).collect(),
        };
        let post = |key: &String| Post {
            key: Some(key.clone()),
            body: known.keyed[key].0.clone(),
            wait: "wait=0",
        };
        chosen.into_iter().map(post).collect()
    }

    async fn send(&self, gateway: &Gateway, post: Post) {
        let mut headers = vec![("prefer", post.wait.to_owned())];
        headers.extend(post.key.iter().map(|key| ("idempotency-key", format!("\"{key}\""))));
        let answer = gateway
            .ask(Caller::First, Method::POST, "/v1/invites", &headers, Some(&post.body))
            .await;
        let known = &mut *self.known.lock().unwrap();
        match answer {
            Ok((200..=202, body)) => {
                let batch = body["batch"]["id"].as_str().unwrap_or_default().to_owned();
                let invites = body["invites"].as_array().into_iter().flatten();
                let ids = invites.filter_map(|invite| invite["id"].as_str());
                known.promised.extend(ids.map(str::to_owned));
                let keyed = post.key.as_ref().and_then(|key| known.keyed.get_mut(key));
                let Some((_, first)) = keyed else { return };
                let first = first.get_or_insert_with(|| batch.clone());
                if *first != batch {
                    let key = post.key.unwrap_or_default();
                    known.findings.push(format!("{key} was answered with {first} and {batch}"));
                }
            }
            Err(error) if error.is_timeout() => {
                known.findings.push(format!("POST /v1/invites: {error:?}"));
            }
            // The gateway is stopping, or does not know whether it accepted.
            Ok((503, _)) | Err(_) => {}
            Ok((status, body)) => {
                known.findings.push(format!("POST /v1/invites: {status} {body}"));
            }
        }
    }

    /// One change of an invite that was promised, as its state allows.
    async fn change(&self, gateway: &Gateway, providers: &Providers, mut seed: Seed) {
        let id = {
            let known = self.known.lock().unwrap();
            let open: Vec<&String> = known.promised.difference(&known.changed).collect();
            if open.is_empty() {
                return;
            }
            (*seed.pick(&open)).clone()
        };
        let path = format!("/v1/invites/{id}");
        let Some(invite) = self.ask(gateway, Method::GET, &path, None).await else { return };
        let word = |member: &str| invite[member].as_str().unwrap_or_default();
        let (kind, status, reference) =
            (word("provider_kind"), word("status"), word("provider_ref"));
        let refresh = format!("{path}/refresh");
        if seed.chance(30) {
            self.ask(gateway, Method::POST, &refresh, None).await;
            return;
        }
        if !self.known.lock().unwrap().changed.insert(id.clone()) {
            return;
        }
        match (status, kind) {
            ("pending" | "sent", _) if seed.chance(25) => {
                providers.accept(kind, reference).await;
                self.ask(gateway, Method::POST, &refresh, None).await;
            }
            ("pending" | "sent", "securegate") => {
                let to = json!({ "status": seed.pick(&["accepted", "declined", "sent"]) });
                self.ask(gateway, Method::PATCH, &path, Some(&to)).await;
            }
            ("queued", "securegate") => {
                // It may be sent by now, and cannot be withdrawn there: that is said with a 422.
                match gateway.ask(Caller::First, Method::DELETE, &path, &[], None).await {
                    Ok((200..=202 | 409 | 422 | 502..=504, _)) | Err(_) => {}
                    Ok((status, body)) => {
                        let finding = format!("DELETE {path}: {status} {body}");
                        self.known.lock().unwrap().findings.push(finding);
                    }
                }
            }
            ("pending" | "sent" | "queued", _) => {
                self.ask(gateway, Method::DELETE, &path, None).await;
            }
            ("failed", _) => {
                let retry = format!("{path}/retry");
                self.ask(gateway, Method::POST, &retry, Some(&json!({}))).await;
            }
            _ => {
                self.known.lock().unwrap().changed.remove(&id);
                self.ask(gateway, Method::POST, &refresh, None).await;
            }
        }
    }

    /// An answer that is good; a refusal is noted if no caller should get it.
    async fn ask(
        &self,
        gateway: &Gateway,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Value> {
        let line = format!("{method} {path}");
        match gateway.ask(Caller::First, method, path, &[], body).await {
            Ok((200..=202, body)) => Some(body),
            Err(error) if error.is_timeout() => {
                self.known.lock().unwrap().findings.push(format!("{line}: {error:?}"));
                None
            }
            Ok((409 | 502..=504, _)) | Err(_) => None,
            Ok((status, body)) => {
                let finding = format!("{line}: {status} {body}");
                self.known.lock().unwrap().findings.push(finding);
                None
            }
        }
    }
}

/// Addresses that are good, and that few programs spell alike.
fn odd_address(number: usize) -> String {
    match number % 7 {
        0 => format!("\"guest{number}\"@example.org"),
        1 => format!("Guest.{number}@EXAMPLE.org"),
        2 => format!("\"guest..{number}\"@example.org"),
        3 => format!("\u{fb01}ona{number}@example.org"),
        4 => format!("\u{ff47}uest{number}@example.org"),
        5 => format!("\u{130}nfo{number}@example.org"),
        _ => format!("guest{number}@example.org"),
    }
}

/// Makes an invite one of those that nobody takes.
pub fn spoil(invite: &mut Value) {
    invite["email"] =
        json!(format!("{SPOILT}-{}@example.org", invite["external_id"].as_str().unwrap()));
}

/// Callers come when they come: not all at once, and at moments that the seed chooses.
pub async fn come_at(moment: Duration) {
    let first = Instant::now() + moment;
    interval_at(first, Duration::from_secs(1)).tick().await;
}
