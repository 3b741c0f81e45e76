//! The simulators over real sockets: what they verify, what they refuse, and how they fail.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod control;
mod faults;
mod rkvst;
mod securegate;
mod spelling;
mod turnkey;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use invite_sandbox::{FaultScript, Options, Sandbox, accounts};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// A running sandbox and a client for it.
struct World {
    sandbox: Sandbox,
    client: reqwest::Client,
}

impl World {
    async fn start() -> Self {
        Self::with_faults("").await
    }

    #[expect(clippy::disallowed_methods, reason = "a test speaks as a plain client")]
    async fn with_faults(script: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let faults = Some(FaultScript::from_toml(script).unwrap());
        let sandbox = invite_sandbox::start(Options { listen: Vec::new(), faults }).await.unwrap();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .unwrap();
        Self { sandbox, client }
    }

    fn url(&self, provider: &str) -> String {
        self.sandbox.url(provider).unwrap()
    }

    /// A request to a control endpoint, which must succeed.
    async fn control(&self, method: &str, provider: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_control(method, provider, path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn try_control(
        &self,
        method: &str,
        provider: &str,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let url = format!("{}/_control/{path}", self.url(provider));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        read(self.client.request(method, url).json(&body).send().await.unwrap()).await
    }

    async fn set(&self, provider: &str, settings: Value) {
        self.control("PATCH", provider, "settings", settings).await;
    }

    async fn effects(&self, provider: &str) -> Vec<Value> {
        let answer = self.control("GET", provider, "effects", Value::Null).await;
        answer["effects"].as_array().unwrap().clone()
    }

    async fn securegate(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.url("securegate"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, url)
            .header("x-api-key", accounts::SECUREGATE_SECOND_API_KEY);
        if !body.is_null() {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    }

    fn rkvst_request(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/archivist/iam/v1/{path}", self.url("rkvst"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, url).bearer_auth(token)
    }

    async fn rkvst(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.rkvst_request(method, path, accounts::RKVST_BEARER_TOKEN);
        let request = if body.is_null() { request } else { request.json(&body) };
        read(request.send().await.unwrap()).await
    }

    async fn rkvst_token(&self, id: &str, secret: &str) -> (u16, Value) {
        let url = format!("{}/archivist/iam/v1/appidp/token", self.url("rkvst"));
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", id)
            .append_pair("client_secret", secret)
            .finish();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        read(request.send().await.unwrap()).await
    }

    /// Sends a body with a stamp to Turnkey.
    async fn turnkey_raw(&self, path: &str, body: &str, stamp: Option<&str>) -> (u16, Value) {
        let url = format!("{}/public/v1/{path}", self.url("turnkey"));
        let mut request = self.client.post(url).body(body.to_owned());
        if let Some(stamp) = stamp {
            request = request.header("x-stamp", stamp);
        }
        read(request.send().await.unwrap()).await
    }

    async fn turnkey_as(&self, key: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        self.turnkey_raw(path, &body, Some(&stamp(key, &body))).await
    }

    async fn turnkey(&self, path: &str, body: &Value) -> (u16, Value) {
        self.turnkey_as(accounts::TURNKEY_API_PRIVATE_KEY, path, body).await
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("date"), "every answer is dated");
    let body = response.bytes().await.unwrap();
    let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

fn stamp(private_key: &str, body: &str) -> String {
    let bytes: Vec<u8> = (0..private_key.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&private_key[at..at + 2], 16).unwrap())
        .collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = SigningKey::from_slice(&bytes).unwrap();
    let signature: DerSignature = key.sign(body.as_bytes());
    let stamp = json!({
        "publicKey": hex(key.verifying_key().to_sec1_point(true).as_bytes()),
        "signature": hex(signature.as_bytes()),
        "scheme": "SIGNATURE_SCHEME_TK_API_P256",
    });
    URL_SAFE_NO_PAD.encode(stamp.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a test needs a live timestamp")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn person(email: &str) -> Value {
    json!({
        "first_name": "Ada", "last_name": "Lovelace", "email": email,
        "country_code": "44", "mobile_number": "7911123456", "authentication_method": "QR Code",
    })
}

fn submission(activity_type: &str, timestamp_ms: i64, parameters: Value) -> Value {
    json!({
        "type": activity_type,
        "timestampMs": timestamp_ms.to_string(),
        "organizationId": accounts::TURNKEY_ORGANIZATION_ID,
        "parameters": parameters,
    })
}

fn invitations(timestamp_ms: i64, emails: &[&str]) -> Value {
    let invitation = |email: &&str| {
        json!({
            "receiverUserName": "Ada Lovelace", "receiverUserEmail": email,
            "receiverUserTags": [], "accessType": "ACCESS_TYPE_WEB",
            "senderUserId": accounts::TURNKEY_USER_ID,
        })
    };
    let invitations: Vec<Value> = emails.iter().map(invitation).collect();
    let parameters = json!({ "invitations": invitations });
    submission("ACTIVITY_TYPE_CREATE_INVITATIONS", timestamp_ms, parameters)
}

fn query(members: Value) -> Value {
    let mut body = members;
    body["organizationId"] = Value::from(accounts::TURNKEY_ORGANIZATION_ID);
    body
}
