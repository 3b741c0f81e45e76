//! Webhooks: from making one to removing it, before an endpoint that is real.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};
use standardwebhooks::Webhook as Verifier;
use thirtyfour::By;
use tokio::net::TcpListener;

use crate::browser::Browser;
use crate::sign_in;

/// What it answers, and what it got.
#[derive(Clone)]
struct Endpoint {
    url: String,
    answer: Arc<Mutex<(StatusCode, &'static str)>>,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?token=hidden", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((StatusCode::OK, "thanks")));
        let endpoint = Self { url, answer, got: Arc::default() };
        let take = async |State(it): State<Self>, headers: HeaderMap, body: String| {
            it.got.lock().unwrap().push((headers, body));
            *it.answer.lock().unwrap()
        };
        let app = Router::new().fallback(take).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        endpoint
    }

    fn answer(&self, status: StatusCode, body: &'static str) {
        *self.answer.lock().unwrap() = (status, body);
    }

    /// Whether a secret verifies the last request, which is of this type.
    fn verifies(&self, secret: &str, event_type: &str) -> bool {
        let (headers, body) = self.got.lock().unwrap().last().cloned().unwrap();
        assert!(body.contains(event_type), "{body}");
        Verifier::new(secret).unwrap().verify(body.as_bytes(), &headers).is_ok()
    }
}

/// The secret that is shown, which only its button closes.
async fn secret_of(browser: &Browser) -> String {
    let shown = browser.find("dialog[open] input.secret").await;
    let secret = shown.prop("value").await.unwrap().unwrap();
    assert!(secret.starts_with("whsec_"), "{secret}");
    browser.reads("never again").await;
    browser.escape().await;
    browser.find("dialog[open] input.secret").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.press("I have stored it").await;
    eventually("the dialog is gone", async || (!browser.has("dialog").await).then_some(())).await;
    assert!(!browser.driver.source().await.unwrap().contains(&secret), "it is still in the page");
    secret
}

async fn webhooks(client: &Client) -> Vec<Value> {
    client.get("/v1/webhooks").await.expect(200).list("webhooks")
}

#[tokio::test]
async fn a_webhook_is_made_tested_followed_changed_rotated_disabled_and_removed() {
    let gateway = Gateway::start().await;
    let endpoint = Endpoint::start().await;
    let manager = gateway.caller("webhooks:write,invites:read", &[]).await;
    let mut browser = sign_in("webhooks", &gateway, &manager, "webhooks").await;
    browser.reads("There are no webhooks.").await;
    browser.press("Make a webhook…").await;
    browser.fill("dialog input[name=url]", &endpoint.url).await;
    browser.fill("dialog input[name=description]", "HR").await;
    browser.find_with_text("dialog .chip", "invite.pending").await.click().await.unwrap();
    browser.fill("dialog textarea[name=labels]", "team:hr\nno label").await;
    browser.press("Make").await;
    assert!(webhooks(&manager).await.is_empty(), "it was made with what is no label");
    browser.fill("dialog textarea[name=labels]", "team:hr").await;
    browser.shoot("making").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.press("Make").await;
    let secret = secret_of(&browser).await;
    let made = webhooks(&manager).await.remove(0);
    assert_eq!(made["types"], json!(["invite.pending"]));
    assert_eq!(made["labels"], json!({ "team": "hr" }));
    let row = browser.find_with_text("tr", "HR").await.text().await.unwrap();
    assert!(row.contains("/hooks") && row.contains("enabled"), "{row}");
    assert!(!row.contains("token"), "{row}");
    browser.shoot("list").await;

    // A test, whose outcome is shown at once, whatever it is.
    browser.find("a.row-link").await.click().await.unwrap();
    browser.press("Send a test").await;
    browser.reads("The test was taken").await;
    assert!(endpoint.verifies(&secret, "webhook.test"));
    endpoint.answer(StatusCode::INTERNAL_SERVER_ERROR, "<b>not now</b>");
    browser.press("Send a test").await;
    browser.reads("The test was not taken").await;
    browser.reads("<b>not now</b>").await;
    browser.shoot("tested").await;

    // An attempt that fails, and the event once more.
    let mut guest = person(1);
    guest["labels"] = json!({ "team": "hr" });
    gateway.client().invite(&invites("treasury", [guest])).await;
    browser.find_with_text("li.event.rejected", "status 500").await;
    browser.press("What it answered").await;
    browser.find_with_text("li.event pre", "<b>not now</b>").await;
    browser.find_with_text(".head .badge", "failing").await;
    browser.find_with_text("li.event.rejected", "Attempt 2").await;
    assert!(browser.find("li.event pre").await.is_displayed().await.unwrap(), "it was closed");
    browser.shoot("failed").await;
    endpoint.answer(StatusCode::OK, "thanks");
    browser.press("Send again…").await;
    browser.press("Send").await;
    browser.find_with_text("li.event.succeeded", "taken").await;
    browser.find_with_text(".head .badge", "enabled").await;
    assert!(endpoint.verifies(&secret, "invite.pending"));
    browser.find("li.event a").await.click().await.unwrap();
    browser.reads("Attempts of one event").await;
    browser.press("All events").await;
    browser.press("Recover…").await;
    browser.fill("dialog input[name=since]", "2026-01-01T00:00").await;
    browser.press("Recover").await;
    browser.reads("0 events are sent again.").await;

    browser.press("Change…").await;
    browser.fill("dialog input[name=description]", "Payroll").await;
    browser.find_with_text("dialog .chip", "invite.pending").await.click().await.unwrap();
    browser.find("dialog input[value='thin']").await.click().await.unwrap();
    browser.press("Change").await;
    browser.find_with_text("h1", "Payroll").await;
    let changed = webhooks(&manager).await.remove(0);
    assert_eq!(
        (&changed["types"], &changed["payload"]),
        (&Value::from(Vec::<Value>::new()), &"thin".into())
    );
    assert_eq!((&changed["url"], &changed["labels"]), (&made["url"], &made["labels"]));

    browser.press("Rotate the secret…").await;
    browser.find("dialog option[value='0s']").await.click().await.unwrap();
    browser.shoot("rotating").await;
    browser.press("Rotate").await;
    let newer = secret_of(&browser).await;
    browser.press("Send a test").await;
    browser.reads("The test was taken").await;
    assert!(endpoint.verifies(&newer, "webhook.test"));
    assert!(!endpoint.verifies(&secret, "webhook.test"));

    browser.press("Disable…").await;
    browser.press("Disable").await;
    browser.find_with_text(".head", "somebody disabled it").await;
    browser.shoot("disabled").await;
    browser.press("Enable…").await;
    browser.press("Enable").await;
    browser.find_with_text(".head .badge", "enabled").await;
    browser.press("Remove…").await;
    browser.press("Remove").await;
    browser.reads("There are no webhooks.").await;
    assert!(webhooks(&manager).await.is_empty());
    // The page that followed it may have read it once more meanwhile.
    browser.close(&[403, 404]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_lacks_one_of_the_scopes_is_not_offered_webhooks() {
    let gateway = Gateway::start().await;
    let writer = gateway.caller("webhooks:write,providers:read", &[]).await;
    let browser = sign_in("no-webhooks", &gateway, &writer, "providers").await;
    eventually("the tab is gone", async || {
        let tab = browser.driver.find(By::Css("#nav a[href='#/webhooks']")).await.ok()?;
        (!tab.is_displayed().await.ok()?).then_some(())
    })
    .await;
    browser.close(&[403]).await;
    gateway.finish().await;
}
