//! The simulated providers of one test, and their control endpoints.

use invite_sandbox::{FaultScript, Options, Sandbox, accounts};
use serde_json::{Value, json};

use crate::client::plain_client;

/// What must never appear in anything that the gateway writes.
pub(crate) const SECRETS: [&str; 15] = [
    accounts::SECUREGATE_API_KEY,
    accounts::SECUREGATE_SECOND_API_KEY,
    accounts::RKVST_CLIENT_SECRET,
    accounts::RKVST_SECOND_CLIENT_SECRET,
    accounts::RKVST_OTHER_CLIENT_SECRET,
    accounts::RKVST_FOREIGN_CLIENT_SECRET,
    accounts::RKVST_BEARER_TOKEN,
    accounts::RKVST_SECOND_BEARER_TOKEN,
    accounts::RKVST_NON_OWNER_CLIENT_SECRET,
    accounts::RKVST_NON_OWNER_TOKEN,
    accounts::TURNKEY_API_PRIVATE_KEY,
    accounts::TURNKEY_SECOND_API_PRIVATE_KEY,
    accounts::TURNKEY_EXPIRED_API_PRIVATE_KEY,
    accounts::TURNKEY_READ_ONLY_API_PRIVATE_KEY,
    "Bearer eyJ",
];

/// The three providers, in the process of the test.
pub struct Simulators {
    sandbox: Sandbox,
    http: reqwest::Client,
}

impl Simulators {
    pub(crate) async fn start(faults: &str) -> Self {
        let faults = Some(FaultScript::from_toml(faults).unwrap());
        let options = Options { listen: Vec::new(), faults };
        Self { sandbox: invite_sandbox::start(options).await.unwrap(), http: plain_client() }
    }

    /// A provider document with the words in braces filled in, as in
    /// `config/sandbox/providers.toml`.
    pub fn fill_in(&self, document: &str) -> String {
        self.sandbox
            .fill_in(document)
            .replace("{RKVST_OTHER_CLIENT_ID}", accounts::RKVST_OTHER_CLIENT_ID)
            .replace("{RKVST_OTHER_CLIENT_SECRET}", accounts::RKVST_OTHER_CLIENT_SECRET)
    }

    /// Every invite that ever came to exist at a provider (`securegate`, `rkvst`, `turnkey`).
    pub async fn effects(&self, provider: &str) -> Vec<Value> {
        let answer = self.control(provider, "GET", "effects", &Value::Null).await;
        answer["effects"].as_array().unwrap().clone()
    }

    /// The addresses of those invites, in order.
    pub async fn invited(&self, provider: &str) -> Vec<String> {
        let effects = self.effects(provider).await;
        effects.iter().map(|effect| effect["email"].as_str().unwrap().to_owned()).collect()
    }

    /// How many requests of an operation a provider has had.
    pub async fn request_count(&self, provider: &str, operation: &str) -> u64 {
        let answer = self.control(provider, "GET", "requests", &Value::Null).await;
        answer["counts"][operation].as_u64().unwrap_or(0)
    }

    /// Lets something go wrong from now on; rules as in `config/sandbox/faults.toml`.
    pub async fn break_down(&self, provider: &str, rule: Value) {
        self.control(provider, "POST", "faults", &rule).await;
    }

    /// Ends everything that goes wrong.
    pub async fn recover(&self, provider: &str) {
        self.control(provider, "DELETE", "faults", &Value::Null).await;
    }

    /// Changes how a provider behaves.
    pub async fn set(&self, provider: &str, settings: Value) {
        self.control(provider, "PATCH", "settings", &settings).await;
    }

    /// Does to an invite what the invited person would do.
    pub async fn move_invite(&self, provider: &str, id: &str, status: &str) {
        let path = format!("invites/{id}");
        self.control(provider, "POST", &path, &json!({ "status": status })).await;
    }

    /// Approves an activity of Turnkey as another user of the organization.
    pub async fn approve(&self, activity: &str) {
        let path = format!("activities/{activity}");
        self.control("turnkey", "POST", &path, &json!({ "vote": "approve" })).await;
    }

    async fn control(&self, provider: &str, method: &str, path: &str, body: &Value) -> Value {
        let base = self.sandbox.url(provider).unwrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{base}/_control/{path}");
        let response = self.http.request(method, url).json(body).send().await.unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{provider} {path}: {answer}");
        answer
    }
}
