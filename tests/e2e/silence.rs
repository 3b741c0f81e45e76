//! A database that goes silent or is cut off: every request is answered soon, the process ends when
//! it is told to, and all goes on by itself when the database is back.

use std::time::Duration;

use futures::future::join_all;
use invite_tests::{Client, Gateway, Proxy, eventually, invites, person};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{Instant, timeout};

use crate::text;

/// The longest that a request waits for a database that answered until just now.
const FIRST: Duration = Duration::from_secs(25);
/// The longest while it is known to be away.
const KNOWN: Duration = Duration::from_secs(2);

fn proxy(gateway: &Gateway) -> &Proxy {
    gateway.proxy.as_ref().unwrap()
}

async fn post(client: &Client, number: usize) -> Value {
    let body = invites("treasury", [person(number)]);
    let request = client.request("POST", "/v1/invites").json(&body);
    let answer =
        request.header("prefer", "respond-async").header("idempotency-key", "k").send().await;
    assert!([201, 202, 503].contains(&answer.status), "{answer:?}");
    answer.body
}

async fn is_ready(client: &Client) -> bool {
    let asked = timeout(Duration::from_secs(1), client.get("/readyz")).await;
    asked.expect("/readyz answers within a second").status == 200
}

#[tokio::test]
async fn a_silent_database_hangs_nothing_and_is_used_again_when_it_answers() {
    let gateway = Gateway::builder().behind_proxy().start().await;
    let client = gateway.client();
    client.invite(&invites("treasury", [person(1)])).await;
    proxy(&gateway).silent();
    let asked = ["/v1/invites", "/v1/providers", "/v1/invites"].map(|path| client.get(path));
    let answers = timeout(FIRST, join_all(asked)).await.expect("everybody is answered");
    assert!(answers.iter().any(|answer| answer.status == 503), "{answers:?}");
    assert!(!is_ready(client).await);
    let began = Instant::now();
    client.get("/v1/invites").await.problem(503, "not-ready");
    assert_eq!(text(&post(client, 2).await, "code"), "not-ready");
    assert!(began.elapsed() < KNOWN, "{:?}", began.elapsed());
    client.get("/livez").await.expect(200);
    proxy(&gateway).restore();
    let began = Instant::now();
    eventually("it is ready again", async || is_ready(client).await.then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    client.invite(&invites("treasury", [person(3)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_used_again_at_once() {
    let gateway = Gateway::builder().behind_proxy().start().await;
    let client = gateway.client();
    proxy(&gateway).cut();
    proxy(&gateway).restore();
    client.invite(&invites("treasury", [person(1)])).await;
    proxy(&gateway).cut();
    assert!(!is_ready(client).await);
    let began = Instant::now();
    for _ in 0..3 {
        client.get("/v1/invites").await.problem(503, "not-ready");
    }
    assert!(began.elapsed() < KNOWN, "{:?}", began.elapsed());
    proxy(&gateway).restore();
    let began = Instant::now();
    eventually("it is ready again", async || is_ready(client).await.then_some(())).await;
    assert!(began.elapsed() < KNOWN, "{:?}", began.elapsed());
    client.invite(&invites("treasury", [person(2)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_gateway_whose_database_is_silent_ends_when_it_is_told_to() {
    let mut gateway =
        Gateway::builder().setting("delivery.shutdown_grace", "2s").behind_proxy().start().await;
    proxy(&gateway).silent();
    let began = Instant::now();
    let status = gateway.stop().await;
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_to_a_commit_that_never_comes_leaves_it_open_whether_it_is_stored() {
    let gateway = Gateway::builder().behind_proxy().start().await;
    let client = gateway.client();
    // The commit of this one arrives, and takes so long that its answer can be held back.
    gateway
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await;
    let mut other = PgConnection::connect(&gateway.postgres_url()).await.unwrap();
    other.execute("SELECT pg_advisory_lock(4711)").await.unwrap();
    let (answered, ()) = tokio::join!(timeout(FIRST, post(client, 1)), async {
        let waiting = "SELECT 1 FROM pg_locks WHERE objid = 4711 AND NOT granted";
        eventually("the commit waits", async || other.fetch_optional(waiting).await.unwrap()).await;
        proxy(&gateway).silence_answers();
        other.execute("SELECT pg_advisory_unlock(4711)").await.unwrap();
    });
    let answer = answered.expect("it is answered");
    assert_eq!(text(&answer, "code"), "accept-unknown", "{answer}");
    proxy(&gateway).restore();
    let again = eventually("it is answered again", async || {
        let again = post(client, 1).await;
        again["invites"].is_array().then_some(again)
    })
    .await;
    client.read_once(&again["invites"][0], &["pending"]).await;
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 1);
    gateway.finish().await;
}
