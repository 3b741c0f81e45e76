//! How much is sent to a webhook at a time, when it is signed, and when nothing is sent.

use std::time::Duration;

use axum::{http::StatusCode, response::IntoResponse};
use invite_core::{Clock, SystemClock};
use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    clocks, on_both_databases,
    receiver::{Receiver, attempts, busy, create, manager},
    text,
};

on_both_databases! {
    a_round_is_cut_short_at_shutdown_and_nothing_is_lost_or_sent_twice
}

/// An endpoint that takes longer than this is not quick.
const SLOW: Duration = Duration::from_millis(600);

/// A webhook that has just taken four events quickly, so that many are sent to it in a round, and what it is sent to.
async fn quick(client: &Client) -> (Value, Receiver) {
    let receiver = Receiver::start().await;
    let webhook = create(client, json!({ "url": receiver.url, "types": ["invite.queued"] })).await;
    for number in 0..4 {
        client.invite(&invites("treasury", [person(number)])).await;
        receiver.until(number + 1).await;
    }
    eventually("all is recorded", async || {
        (attempts(client, &webhook, "").await.len() == 4).then_some(())
    })
    .await;
    (webhook, receiver)
}

async fn a_round_is_cut_short_at_shutdown_and_nothing_is_lost_or_sent_twice(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let client = manager(&gateway).await;
    let (_, receiver) = quick(&client).await;
    receiver.holds.send_replace(true);
    client.invite(&invites("treasury", (10..60).map(person))).await;
    receiver.until(14).await;
    gateway.tell_to_stop();
    eventually("it stops", async || gateway.log().contains("stopping: ").then_some(())).await;
    receiver.holds.send_replace(false);
    assert!(gateway.stop().await.success());
    assert_eq!(receiver.got().len(), 14, "no more is begun than was under way");
    gateway.start_again().await;
    receiver.until(54).await;
    client.invite(&invites("treasury", [person(60)])).await;
    assert_eq!(receiver.until(55).await.len(), 55, "each once");
    gateway.finish().await;
}

#[tokio::test]
async fn a_round_is_cut_short_when_an_endpoint_becomes_slow() {
    let gateway = Gateway::start().await;
    let client = manager(&gateway).await;
    let (webhook, receiver) = quick(&client).await;
    receiver.holds.send_replace(true);
    receiver.answer(|number| if number <= 14 { StatusCode::OK.into_response() } else { busy() });
    client.invite(&invites("treasury", (10..60).map(person))).await;
    receiver.until(14).await;
    let began = Instant::now();
    eventually("it is slow", async || (began.elapsed() > SLOW).then_some(())).await;
    receiver.holds.send_replace(false);
    let tried = eventually("the next ones are refused", async || {
        let tried = attempts(&client, &webhook, "?limit=200").await;
        (tried.len() >= 24).then_some(tried)
    })
    .await;
    let taken = tried.iter().filter(|one| one["delivered"] == true).count();
    assert_eq!((tried.len(), taken), (24, 14), "the next round began anew with ten");
    // Another URL ends the rest. What was refused comes again in an hour.
    receiver.answer(|_| StatusCode::OK.into_response());
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    client.patch(&path, &json!({ "url": format!("{}&again", receiver.url) })).await.expect(200);
    assert_eq!(receiver.until(54).await.len(), 54, "each once");
    gateway.finish().await;
}

#[tokio::test]
async fn a_round_is_cut_short_when_an_endpoint_refuses() {
    let gateway = Gateway::start().await;
    let client = manager(&gateway).await;
    let (webhook, receiver) = quick(&client).await;
    receiver.answer(|_| busy());
    client.invite(&invites("treasury", (10..60).map(person))).await;
    let tried = eventually("they are refused", async || {
        let tried = attempts(&client, &webhook, "?limit=200").await;
        (tried.len() > 4).then_some(tried)
    })
    .await;
    assert_eq!(tried.len(), 14, "no more are begun than at the same time");
    receiver.answer(|_| StatusCode::OK.into_response());
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    client.patch(&path, &json!({ "url": format!("{}&again", receiver.url) })).await.expect(200);
    assert_eq!(receiver.until(54).await.len(), 54, "each once");
    gateway.finish().await;
}

#[tokio::test]
async fn sending_stops_when_the_lease_cannot_be_renewed_and_goes_on_when_it_can() {
    let gateway = Gateway::builder().behind_proxy().start().await;
    let client = manager(&gateway).await;
    let (_, receiver) = quick(&client).await;
    let proxy = gateway.proxy.as_ref().unwrap();
    proxy.silent();
    eventually("it stops", async || {
        gateway.log().contains("the lease #webhooks could not be renewed").then_some(())
    })
    .await;
    proxy.restore();
    eventually("it is ready again", async || {
        (client.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    client.invite(&invites("treasury", [person(10)])).await;
    receiver.until(5).await;
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
    client.invite(&invites("berlin-summit", [person(1)])).await;
    receiver.until(1).await;
    // The store's clock makes up for such a step in days.
    clocks::set_clock(&gateway, 25);
    client.invite(&invites("berlin-summit", [person(2)])).await;
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
async fn what_somebody_asks_for_is_sent_while_an_endpoint_rests() {
    let gateway = Gateway::start().await;
    let client = manager(&gateway).await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| busy());
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
