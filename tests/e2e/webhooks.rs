//! Events that are sent to webhooks: signed, again until they are taken, and to each by itself.

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
use invite_core::{Clock, SystemClock};
use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use standardwebhooks::Webhook as Verifier;
use tokio::{net::TcpListener, sync::watch};

use crate::{clocks, on_both_databases, text, texts};

on_both_databases! {
    each_event_is_sent_signed_and_as_the_feed_shows_it
    what_is_not_taken_is_sent_again_also_after_a_kill
}

/// A request that a receiver got.
#[derive(Clone)]
struct Got {
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }
}

type Answers = dyn Fn(usize) -> Response + Send + Sync;

/// An endpoint of somebody's.
#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Arc<Answers>>>,
    /// Nothing is answered while this is true.
    holds: Arc<watch::Sender<bool>>,
}

impl Receiver {
    async fn start() -> Self {
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
    fn answer(&self, answers: impl Fn(usize) -> Response + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answers);
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// What it got once it got so many different events.
    async fn until(&self, events: usize) -> Vec<Got> {
        eventually("the events come", async || {
            let got = self.got();
            let ids: BTreeSet<String> = got.iter().map(Got::id).collect();
            (ids.len() >= events).then_some(got)
        })
        .await
    }
}

async fn create(client: &Client, body: Value) -> Value {
    client.post("/v1/webhooks", &body).await.expect(201).body
}

async fn manager(gateway: &Gateway) -> Client {
    gateway.caller("webhooks:write,invites:read,invites:write", &[]).await
}

/// What a webhook's attempts came to.
async fn attempts(client: &Client, webhook: &Value, query: &str) -> Vec<Value> {
    let path = format!("/v1/webhooks/{}/attempts{query}", text(webhook, "id"));
    client.get(&path).await.expect(200).list("attempts")
}

async fn each_event_is_sent_signed_and_as_the_feed_shows_it(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = manager(&gateway).await;
    let (full, thin) = (Receiver::start().await, Receiver::start().await);
    let webhook = create(&client, json!({ "url": full.url, "description": "HR" })).await;
    let types = json!(["invite.pending", "batch.completed"]);
    let body =
        json!({ "url": thin.url, "payload": "thin", "types": types, "providers": ["treasury"] });
    let thin_one = create(&client, body).await;
    client.invite(&invites("acme-tenancy", [person(2)])).await;
    let invite = client.invite(&invites("treasury", [person(1)])).await.remove(0);
    let got = full.until(6).await;
    let feed = client.get("/v1/events").await.expect(200).list("events");
    let mut sent: Vec<Value> = got.iter().map(Got::json).collect();
    sent.sort_by_key(|event| text(event, "id").to_owned());
    assert_eq!(sent, feed);
    let verifier = Verifier::new(text(&webhook, "secret")).unwrap();
    for one in &got {
        verifier.verify(one.body.as_bytes(), &one.headers).unwrap();
        assert_eq!(one.id(), text(&one.json(), "id"));
        assert_eq!(one.headers["content-type"], "application/json");
        let forged = one.body.replace("example", "exbmple");
        assert!(verifier.verify(forged.as_bytes(), &one.headers).is_err() || forged == one.body);
    }
    let got = thin.until(1).await;
    let body = got[0].json();
    assert_eq!((got.len(), text(&body, "type")), (1, "invite.pending"));
    let ids = json!({ "invite_id": invite["id"], "batch_id": invite["batch_id"], "status": "pending", "previous": "sending" });
    assert_eq!(body["data"], ids);
    // An attempt is stored once its answer has come.
    let tried = eventually("it is recorded", async || {
        Some(attempts(&client, &thin_one, "").await).filter(|tried| !tried.is_empty())
    })
    .await;
    assert_eq!(tried.len(), 1);
    assert_eq!((&tried[0]["delivered"], &tried[0]["http_status"]), (&json!(true), &json!(204)));

    // The old secrets sign for a while, too.
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let rotated = client.post(&format!("{path}/rotate"), &json!({ "overlap": "1h" })).await;
    let rotated = rotated.expect(200).body;
    assert!(rotated["old_secret_until"].is_string() && rotated["secret"] != webhook["secret"]);
    let third = client.post(&format!("{path}/rotate"), &json!({})).await.expect(200).body;
    let tested = client.request("POST", &format!("{path}/test")).send().await.expect(200).body;
    assert_eq!(tested["delivered"], true);
    let test = full.got().pop().unwrap();
    assert_eq!(text(&test.json(), "type"), "webhook.test");
    for secret in [&webhook, &rotated, &third] {
        let verifier = Verifier::new(text(secret, "secret")).unwrap();
        verifier.verify(test.body.as_bytes(), &test.headers).unwrap();
    }
    let shown = client.get(&path).await.expect(200).body;
    assert!(shown["secret"].is_null() && shown["enabled"] == true, "{shown}");

    // One event again, and then nothing more.
    let again = json!({ "event_id": feed[0]["id"] });
    client.post(&format!("{path}/resend"), &again).await.expect(202);
    eventually("it comes again", async || {
        let times = full.got().iter().filter(|one| one.id() == text(&feed[0], "id")).count();
        (times == 2).then_some(())
    })
    .await;
    let unknown = json!({ "event_id": "evt_7000000000000000" });
    client.post(&format!("{path}/resend"), &unknown).await.problem(404, "not-found");
    client.delete(&path).await.expect(204);
    client.get(&path).await.problem(404, "not-found");
    client.invite(&invites("treasury", [person(3)])).await;
    thin.until(2).await;
    assert_eq!(full.got().len(), 8, "six events, a test, and one again");
    let writer = gateway.caller("webhooks:write", &[]).await;
    let body = json!({ "url": full.url });
    writer.post("/v1/webhooks", &body).await.problem(403, "insufficient-scope");
    writer.get("/v1/webhooks").await.problem(403, "insufficient-scope");
    let stranger = gateway.caller("webhooks:write,invites:read", &["--tenant", "other"]).await;
    assert!(stranger.get("/v1/webhooks").await.expect(200).list("webhooks").is_empty());
    let other = format!("/v1/webhooks/{}", text(&thin_one, "id"));
    stranger.get(&other).await.problem(404, "not-found");
    let limited =
        gateway.caller("webhooks:write,invites:read", &["--providers", "acme-tenancy"]).await;
    limited.get(&other).await.problem(404, "not-found");
    gateway.client().get("/v1/webhooks").await.problem(403, "insufficient-scope");
    gateway.finish().await;
}

async fn what_is_not_taken_is_sent_again_also_after_a_kill(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let client = manager(&gateway).await;
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    bad.answer(|number| match number {
        1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "busy").into_response(),
        2 => StatusCode::TEMPORARY_REDIRECT.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let [_, failing] =
        [&good, &bad].map(|receiver| json!({ "url": receiver.url, "types": ["invite.queued"] }));
    create(&client, json!({ "url": good.url })).await;
    let failing = create(&client, failing).await;
    client.invite(&invites("treasury", [person(1)])).await;
    good.until(3).await;
    let got = bad.until(1).await;
    let tried = eventually("it is taken", async || {
        let tried = attempts(&client, &failing, "").await;
        tried.iter().any(|one| one["delivered"] == true).then_some(tried)
    })
    .await;
    assert_eq!(tried.len(), 3, "{tried:?}");
    assert!(tried.iter().all(|one| text(one, "event_id") == got[0].id()));
    let statuses: Vec<&Value> = tried.iter().map(|one| &one["http_status"]).collect();
    assert_eq!(statuses, [&json!(200), &json!(307), &json!(503)]);
    assert_eq!(text(&tried[2], "reply"), "busy");
    assert_eq!(tried[2]["failure"], "it answered 503");

    // Killed while requests are under way.
    good.holds.send_replace(true);
    client.invite(&invites("treasury", (10..20).map(person))).await;
    good.until(4).await;
    gateway.kill().await;
    gateway.start_again().await;
    good.holds.send_replace(false);
    let events = eventually("all is told", async || {
        let events = client.get("/v1/events?limit=200").await.expect(200).list("events");
        let completed = events.iter().filter(|event| event["type"] == "batch.completed").count();
        (completed == 2).then_some(events)
    })
    .await;
    let got: BTreeSet<String> = good.until(events.len()).await.iter().map(Got::id).collect();
    let told: BTreeSet<String> = texts(&events, "id").into_iter().map(str::to_owned).collect();
    assert_eq!(got, told);
    gateway.finish().await;
}

#[tokio::test]
async fn a_request_is_signed_at_the_time_of_the_wall_clock() {
    let mut gateway = Gateway::start().await;
    assert!(gateway.stop().await.success());
    clocks::follow_file(&mut gateway);
    gateway.start_again().await;
    let client = manager(&gateway).await;
    let receiver = Receiver::start().await;
    let webhook = create(&client, json!({ "url": receiver.url, "types": ["invite.queued"] })).await;
    client.invite(&invites("treasury", [person(1)])).await;
    receiver.until(1).await;
    // The store's clock makes up for such a step in days.
    clocks::set_clock(&gateway, 25);
    client.invite(&invites("treasury", [person(2)])).await;
    let got = receiver.until(2).await;
    let signed: Vec<i64> = got
        .iter()
        .map(|one| one.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap())
        .collect();
    let now = SystemClock.wall().as_second();
    let stepped = SignedDuration::from_hours(25).as_secs();
    assert!((now - signed[0]).abs() < 300, "{signed:?}");
    assert!((now + stepped - signed[1]).abs() < 300, "{signed:?}");
    let tried = eventually("both are recorded", async || {
        Some(attempts(&client, &webhook, "").await).filter(|tried| tried.len() == 2)
    })
    .await;
    let at: Timestamp = text(&tried[0], "at").parse().unwrap();
    assert!((at.as_second() - now).abs() < 3600, "attempts go by the store's clock: {at}");
    gateway.finish().await;
}

#[tokio::test]
async fn one_that_takes_nothing_is_disabled_and_gets_what_it_missed_when_asked() {
    let gateway = Gateway::builder().setting("webhooks.give_up", "1s").start().await;
    let client = manager(&gateway).await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let webhook =
        create(&client, json!({ "url": receiver.url, "types": ["invite.pending"] })).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    client.invite(&invites("treasury", [person(1)])).await;
    receiver.until(1).await;
    // The second one of which nothing is taken comes more than a second later.
    client.invite(&invites("treasury", [person(2)])).await;
    let disabled = eventually("it is disabled", async || {
        let shown = client.get(&path).await.expect(200).body;
        (shown["enabled"] == false).then_some(shown)
    })
    .await;
    assert!(text(&disabled, "disabled_because").starts_with("only failures"), "{disabled}");
    let admin = gateway.caller("admin", &[]).await;
    let events = admin.get("/v1/events?type=webhook.disabled").await.expect(200).list("events");
    assert_eq!(texts(&events, "subject"), [text(&webhook, "id")]);
    receiver.answer(|_| StatusCode::OK.into_response());
    let before = receiver.got().len();
    client.patch(&path, &json!({ "enabled": true })).await.expect(200);
    client.post(&format!("{path}/recover"), &json!({})).await.problem(422, "validation-failed");
    let request = client.request("POST", &format!("{path}/recover?since=2026-01-01T00:00:00Z"));
    let recovered = request.send().await.expect(202).body;
    assert!(recovered["events"].as_u64().unwrap() >= 1, "{recovered}");
    eventually("both come", async || {
        let got = &receiver.got()[before..];
        let ids: BTreeSet<String> = got.iter().map(Got::id).collect();
        (ids.len() == 2).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_somebody_asks_for_is_sent_while_an_endpoint_rests() {
    let gateway = Gateway::start().await;
    let client = manager(&gateway).await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| {
        let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "3600")]);
        busy.into_response()
    });
    let webhook = create(&client, json!({ "url": receiver.url, "types": ["invite.queued"] })).await;
    client.invite(&invites("treasury", [person(1), person(2)])).await;
    let tried = eventually("both are refused", async || {
        Some(attempts(&client, &webhook, "").await).filter(|tried| tried.len() == 2)
    })
    .await;
    // Another one has been due for longer than what is asked for.
    gateway.execute("UPDATE webhook_deliveries SET next_at = first_at").await;
    receiver.answer(|_| StatusCode::OK.into_response());
    let newer = text(&tried[0], "event_id");
    let resend = format!("/v1/webhooks/{}/resend", text(&webhook, "id"));
    client.post(&resend, &json!({ "event_id": newer })).await.expect(202);
    let got =
        eventually("it comes", async || Some(receiver.got()).filter(|got| got.len() > 2)).await;
    assert_eq!(got[2].id(), newer);
    gateway.finish().await;
}

#[tokio::test]
async fn what_the_settings_no_longer_allow_is_sent_nothing() {
    let gateway = Gateway::builder().setting("webhooks.allow_private_hosts", "10.0.0.9").start();
    let gateway = gateway.await;
    let client = manager(&gateway).await;
    let receiver = Receiver::start().await;
    let refused = client.post("/v1/webhooks", &json!({ "url": receiver.url })).await;
    let problem = refused.problem(422, "validation-failed");
    assert!(problem.to_string().contains("webhooks.allow_private_hosts"), "{problem}");
    let webhook = create(&client, json!({ "url": "https://10.0.0.9:1/" })).await;
    gateway.execute(&format!("UPDATE webhooks SET url = '{}'", receiver.url)).await;
    let test = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let tested = client.request("POST", &test).send().await.expect(200).body;
    assert!(text(&tested, "failure").contains("webhooks.allow_private_hosts"), "{tested}");
    client.invite(&invites("treasury", [person(1)])).await;
    let tried = eventually("it is tried", async || {
        Some(attempts(&client, &webhook, "").await).filter(|tried| !tried.is_empty())
    });
    assert_eq!(tried.await[0]["failure"], tested["failure"]);
    assert!(receiver.got().is_empty());
    gateway.finish().await;
}

#[tokio::test]
async fn a_webhook_leads_nowhere_that_a_provider_may_not() {
    let gateway = Gateway::start().await;
    let client = manager(&gateway).await;
    for url in [
        "",
        "x",
        "ftp://hooks.example.com/",
        "http://hooks.example.com/",
        "https://u:p@hooks.example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://hooks.example.com/#a",
        "https://hooks.example.com./",
    ] {
        let refused = client.post("/v1/webhooks", &json!({ "url": url })).await;
        refused.problem(422, "validation-failed");
    }
    for body in [
        json!({}),
        json!({ "url": "https://hooks.example.com/", "types": ["config.revised"] }),
        json!({ "url": "https://hooks.example.com/", "types": ["invite.lost"] }),
        json!({ "url": "https://hooks.example.com/", "providers": ["nobody"] }),
        json!({ "url": "https://hooks.example.com/", "payload": "half" }),
        json!({ "url": "https://hooks.example.com/", "labels": { "a:b": "c" } }),
        json!({ "url": "https://hooks.example.com/", "labels": { "a": "c\n" } }),
    ] {
        client.post("/v1/webhooks", &body).await.problem(422, "validation-failed");
    }
    let limited = gateway.caller("webhooks:write,invites:read", &["--providers", "treasury"]).await;
    let url = "https://hooks.example.com/in?team=hr";
    let types = ["invite.sent", "invite.failed", "invite.sent"];
    let made = create(&limited, json!({ "url": url, "types": types })).await;
    assert_eq!(made["types"], json!(["invite.sent", "invite.failed"]));
    assert_eq!(made["providers"], json!(["treasury"]));
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    limited.patch(&path, &json!({ "providers": [] })).await.problem(422, "validation-failed");
    limited
        .patch(&path, &json!({ "providers": ["acme-tenancy"] }))
        .await
        .problem(422, "validation-failed");
    let invite = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let told = format!("/v1/events?invite_id={}", text(&invite, "id"));
    let event = gateway.client().get(&told).await.expect(200).list("events").remove(0);
    let resend = json!({ "event_id": event["id"] });
    limited.post(&format!("{path}/resend"), &resend).await.problem(404, "not-found");
    let changed =
        limited.patch(&path, &json!({ "enabled": false, "labels": { "team": "hr" } })).await;
    let changed = changed.expect(200).body;
    assert_eq!(
        (&changed["enabled"], &changed["labels"]),
        (&json!(false), &json!({ "team": "hr" }))
    );
    gateway.finish().await;
}
