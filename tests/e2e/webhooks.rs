//! Events that are sent to webhooks: signed, again until they are taken, and to each by itself.

use std::collections::BTreeSet;

use axum::{http::StatusCode, response::IntoResponse};
use invite_tests::{Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};
use standardwebhooks::Webhook as Verifier;

use crate::{
    on_both_databases,
    receiver::{Got, Receiver, attempts, create, manager},
    text, texts,
};

on_both_databases! {
    each_event_is_sent_signed_and_as_the_feed_shows_it
    what_is_not_taken_is_sent_again_also_after_a_kill
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
