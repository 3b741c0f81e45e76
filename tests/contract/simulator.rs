//! The control endpoints of a simulator: what happened there, what is to go wrong there, and what
//! other people do there. See crates/sandbox/README.md.

use std::time::Duration;

use http::Method;
use invite_core::http::{AddressGuard, CallContext, HttpClient, Request};
use serde_json::{Value, json};

/// A running simulator, as a test sees it.
pub struct Simulator {
    url: String,
    http: HttpClient,
}

impl Simulator {
    pub fn at(url: String) -> Self {
        Self { url, http: HttpClient::new(AddressGuard::default()).unwrap() }
    }

    /// Every invite that ever came to exist, in order.
    pub async fn effects(&self) -> Vec<Value> {
        list(&self.control(Method::GET, "effects", None).await, "effects")
    }

    /// Those to one address.
    pub async fn effects_for(&self, email: &str) -> Vec<Value> {
        let mut effects = self.effects().await;
        effects.retain(|effect| effect["email"] == email);
        effects
    }

    /// How many requests came in, of one operation or (`*`) of all.
    pub async fn count(&self, operation: &str) -> usize {
        let shown = self.control(Method::GET, "requests", None).await;
        let requests = list(&shown, "requests");
        requests.iter().filter(|r| operation == "*" || r["operation"] == operation).count()
    }

    /// Adds fault rules behind those in force.
    pub async fn fault(&self, rules: Value) {
        self.control(Method::POST, "faults", Some(rules)).await;
    }

    pub async fn clear_faults(&self) {
        self.control(Method::DELETE, "faults", None).await;
    }

    pub async fn set(&self, settings: Value) {
        self.control(Method::PATCH, "settings", Some(settings)).await;
    }

    /// Does to an invite what its invitee, time or another administrator would do.
    pub async fn move_invite(&self, id: &str, status: &str) {
        let id = id.strip_prefix("invites/").unwrap_or(id);
        let order = json!({ "status": status });
        self.control(Method::POST, &format!("invites/{id}"), Some(order)).await;
    }

    /// Votes on a Turnkey activity as the second user.
    pub async fn vote(&self, activity: &str, vote: &str) {
        let order = json!({ "vote": vote });
        self.control(Method::POST, &format!("activities/{activity}"), Some(order)).await;
    }

    async fn control(&self, method: Method, what: &str, body: Option<Value>) -> Value {
        let url = format!("{}/_control/{what}", self.url).parse().unwrap();
        let mut request = Request::new(method, url);
        if let Some(body) = body {
            request = request.json(body.to_string());
        }
        let context = CallContext::new(Duration::from_secs(30));
        let response = self.http.send(&context, request).await.unwrap();
        let shown = String::from_utf8_lossy(&response.body).into_owned();
        assert!(response.status.is_success(), "{what}: {shown}");
        serde_json::from_str(&shown).unwrap()
    }
}

fn list(shown: &Value, member: &str) -> Vec<Value> {
    shown[member].as_array().unwrap().clone()
}
