//! The simulated providers of a round, through their control endpoints.

use std::collections::BTreeMap;

use invite_sandbox::{Options, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::plan::Plan;

/// The simulators' names, which are the kinds too.
pub const KINDS: [&str; 3] = ["securegate", "rkvst", "turnkey"];
const DOCUMENT: &str = include_str!("providers.toml");

/// The three simulators of a round, in this process.
pub struct Providers {
    sandbox: Sandbox,
    http: reqwest::Client,
}

impl Providers {
    /// Simulators without faults.
    pub async fn start(http: reqwest::Client) -> Self {
        Self { sandbox: invite_sandbox::start(Options::default()).await.unwrap(), http }
    }

    /// The provider document that leads here.
    pub fn document(&self) -> String {
        self.sandbox.fill_in(DOCUMENT)
    }

    /// Ends what no provider does for long, and lets only these rules go on.
    pub async fn relieve(&self, settings: &[(&'static str, Value)], lasting: &[Value]) {
        for (kind, settings) in settings {
            self.set(kind, settings).await;
        }
        for kind in KINDS {
            self.must(kind, Method::DELETE, "faults", &Value::Null).await;
            self.must(kind, Method::POST, "faults", &json!(lasting)).await;
        }
    }

    /// Lets them behave and go wrong as planned.
    pub async fn follow(&self, plan: &Plan) {
        for (kind, settings) in &plan.settings {
            self.set(kind, settings).await;
        }
        for kind in KINDS {
            self.must(kind, Method::POST, "faults", &json!(plan.faults)).await;
        }
    }

    /// How one of them behaves.
    pub async fn set(&self, kind: &str, settings: &Value) {
        self.must(kind, Method::PATCH, "settings", settings).await;
    }

    /// One more thing that goes wrong.
    pub async fn break_down(&self, kind: &str, rule: &Value) {
        self.must(kind, Method::POST, "faults", rule).await;
    }

    /// How often each fault was met.
    pub async fn met(&self) -> BTreeMap<(String, String, String), u64> {
        let mut met = BTreeMap::new();
        for kind in KINDS {
            let rules = self.must(kind, Method::GET, "faults", &Value::Null).await;
            for rule in rules["faults"].as_array().into_iter().flatten() {
                let text = |member: &str| rule[member].as_str().unwrap_or("*").to_owned();
                let key = (kind.to_owned(), text("operation"), text("kind"));
                *met.entry(key).or_default() += rule["applied"].as_u64().unwrap_or(0);
            }
        }
        met
    }

    /// Every invite that ever came to exist at a provider.
    pub async fn effects(&self, kind: &str) -> Vec<Value> {
        let answer = self.must(kind, Method::GET, "effects", &Value::Null).await;
        answer["effects"].as_array().cloned().unwrap_or_default()
    }

    /// The same of each of them.
    pub async fn all_effects(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let mut effects = BTreeMap::new();
        for kind in KINDS {
            effects.insert(kind, self.effects(kind).await);
        }
        effects
    }

    /// Every request that a provider saw.
    pub async fn journal(&self, kind: &str) -> Value {
        self.must(kind, Method::GET, "requests", &Value::Null).await
    }

    /// The invited person accepts; false if there is nothing to accept any more.
    pub async fn accept(&self, kind: &str, id: &str) -> bool {
        let accepted = json!({ "status": "accepted" });
        self.ask(kind, Method::POST, &format!("invites/{id}"), &accepted).await.is_ok()
    }

    /// A second user of the organization votes, if there is anything to vote on.
    pub async fn vote(&self, activity: &str, approve: bool) {
        let vote = json!({ "vote": if approve { "approve" } else { "reject" } });
        let path = format!("activities/{activity}");
        // It may have been voted on before, with the answer lost.
        let _ = self.ask("turnkey", Method::POST, &path, &vote).await;
    }

    /// Stops them.
    pub async fn stop(self) {
        self.sandbox.shutdown().await;
    }

    async fn must(&self, kind: &str, method: Method, path: &str, body: &Value) -> Value {
        match self.ask(kind, method, path, body).await {
            Ok(answer) => answer,
            Err(answer) => panic!("{kind} {path}: {answer}"),
        }
    }

    async fn ask(
        &self,
        kind: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Value> {
        let base = self.sandbox.url(kind).unwrap();
        let url = format!("{base}/_control/{path}");
        let response = self.http.request(method, url).json(body).send().await.unwrap();
        let is_good = response.status().is_success();
        let answer: Value = response.json().await.unwrap();
        if is_good { Ok(answer) } else { Err(answer) }
    }
}
