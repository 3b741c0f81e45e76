//! Several processes on one PostgreSQL database.

use std::time::{Duration, Instant};

use futures::future::join_all;
use invite_tests::{Client, Database, Gateway, eventually, invites, person, terminate};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::text;

const PLACES: [(&str, &str); 3] =
    [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];

#[tokio::test]
async fn what_one_replica_accepts_is_sent_once_whoever_sends_it() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    for (number, (provider, kind)) in PLACES.into_iter().enumerate() {
        for (place, client) in [gateway.client(), &other].into_iter().enumerate() {
            let body = invites(provider, [person(10 * number + place)]);
            let answer = client.post("/v1/invites", &body).await.expect(201);
            assert_eq!(text(&answer.invites()[0], "status"), "pending", "{provider}");
        }
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn a_replica_takes_over_what_another_one_left_when_it_died() {
    let mut gateway = Gateway::builder()
        .database(Database::Postgres)
        .setting("delivery.lease", "4s")
        .start()
        .await;
    let mut accepted = Vec::new();
    for (number, (provider, kind)) in PLACES.into_iter().enumerate() {
        gateway.simulators.break_down(kind, json!({ "kind": "rate_limited" })).await;
        let body = invites(provider, [person(10 * number), person(10 * number + 1)]);
        let request = gateway.client().request("POST", "/v1/invites").json(&body);
        let answer = request.header("prefer", "respond-async").send().await.expect(202);
        accepted.extend(answer.invites());
    }
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    gateway.kill().await;
    for (_, kind) in PLACES {
        gateway.simulators.recover(kind).await;
    }
    for invite in &accepted {
        other.read_once(invite, &["pending"]).await;
    }
    for (_, kind) in PLACES {
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn every_replica_shows_how_a_provider_fares_and_which_of_them_makes_its_calls() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 401 });
    gateway.simulators.break_down("turnkey", refused).await;
    let (mut replica, url) = gateway.start_replica().await;
    let admin = gateway.caller("admin", &[]).await;
    let other = Client::connect(&url, &admin.key()).await;
    let request = admin.request("POST", "/v1/invites").json(&invites("treasury", [person(1)]));
    request.header("prefer", "respond-async").send().await.expect(202);
    let shown = async |client: &Client| {
        let one = client.get("/v1/providers/treasury").await.expect(200).body;
        (one["state"] == "misconfigured").then(|| {
            ["state", "state_reason", "holder"]
                .map(|member| one[member].as_str().unwrap().to_owned())
        })
    };
    let by_one = eventually("one replica shows it", async || shown(&admin).await).await;
    let by_other = eventually("the other one shows it", async || shown(&other).await).await;
    assert_eq!(by_one, by_other);
    let replicas = other.get("/v1/providers/treasury").await.expect(200).list("replicas");
    assert!(replicas.iter().any(|one| one["id"] == by_one[2].as_str()), "{replicas:?}");
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

/// Until so many have noticed each other.
async fn are(replicas: usize, client: &Client) {
    let all = async || {
        let shown = client.get("/v1/providers/treasury").await.expect(200).list("replicas");
        (shown.len() == replicas).then_some(())
    };
    eventually("the replicas know of each other", all).await;
}

#[tokio::test]
async fn whoever_waits_at_one_replica_hears_at_once_of_what_another_one_did() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    are(2, &other).await;
    // Without a word from the other one, each of the two looks every 500 ms.
    let at_once = Duration::from_millis(300);
    for (place, client) in [gateway.client(), &other].into_iter().enumerate() {
        let mut guests = (0..).map(|n| person(2 * n + place));
        let quick = async || {
            let began = Instant::now();
            let body = invites("berlin-summit", [guests.next().unwrap()]);
            client.post("/v1/invites", &body).await.expect(201);
            (began.elapsed() < at_once).then_some(())
        };
        eventually("an answer at once", quick).await;
    }
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn the_lane_of_a_replica_that_died_moves_long_before_its_claims_are_over() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    let (mut replica, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &gateway.client().key()).await;
    gateway.kill().await;
    let body = invites("berlin-summit", [person(2)]);
    // A claim is held for a minute.
    let request = other.request("POST", "/v1/invites").json(&body).header("prefer", "wait=20");
    let invite = request.send().await.expect(201).invites().remove(0);
    assert_eq!(text(&invite, "status"), "pending");
    assert!(terminate(&mut replica).await.success());
    gateway.finish().await;
}

/// A connection to the gateway's database.
async fn connect(gateway: &Gateway) -> PgConnection {
    PgConnection::connect(&gateway.postgres_url()).await.unwrap()
}

/// Has the database note each transaction that writes.
const NOTE_WRITES: &str = "
CREATE TABLE written (id bigint PRIMARY KEY);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO written VALUES (txid_current()) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'written' LOOP
        EXECUTE format('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION note()', name);
    END LOOP;
END $$";

#[tokio::test]
async fn three_idle_replicas_write_once_a_second_and_have_no_more_connections_than_is_said() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut one, url) = gateway.start_replica().await;
    let (mut two, _) = gateway.start_replica().await;
    are(3, &Client::connect(&url, &gateway.client().key()).await).await;
    gateway.execute(NOTE_WRITES).await;
    let mut database = connect(&gateway).await;
    let mut written = async || -> (i64, f64) {
        let now = "SELECT count(*), extract(epoch FROM clock_timestamp())::float8 FROM written";
        sqlx::query_as(now).fetch_one(&mut database).await.unwrap()
    };
    let (before, began) = written().await;
    let (after, ended) = eventually("some rounds pass", async || {
        let now = written().await;
        (now.1 >= began + 12.0).then_some(now)
    })
    .await;
    let (transactions, seconds) = (after - before, ended - began);
    // A few more are seldom due. What a slow machine leaves out only makes them fewer.
    assert!(transactions as f64 <= seconds + 6.0, "{transactions} in {seconds} s");
    assert!(transactions > 0, "each replica tells that it is there");

    let asked = (0..100).map(|_| gateway.client().get("/v1/invites"));
    join_all(asked).await.into_iter().for_each(|answer| drop(answer.expect(200)));
    let connections = "SELECT application_name, count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1";
    let connections: Vec<(String, i64)> =
        sqlx::query_as(connections).fetch_all(&mut database).await.unwrap();
    let [(name, count)] = &connections[..] else { panic!("{connections:?}") };
    assert!(name == "invite-gateway" && *count <= 3 * 12, "{connections:?}");
    assert!(terminate(&mut one).await.success());
    assert!(terminate(&mut two).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn in_no_second_do_more_calls_begin_than_may_while_a_lane_moves() {
    const RATE: usize = 20;
    const ALL: usize = 200;
    let limits = format!("requests_per_second = {RATE}\nmax_batch = 1");
    let mut gateway = Gateway::builder()
        .database(Database::Postgres)
        .replace("requests_per_second = 1000", &limits)
        .start()
        .await;
    let (mut one, _) = gateway.start_replica().await;
    let (mut two, _) = gateway.start_replica().await;
    let body = invites("berlin-summit", (0..ALL).map(person));
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    request.header("prefer", "respond-async").send().await.expect(202);
    let mut database = connect(&gateway).await;
    let mut begun = async |least: usize| {
        let all = "SELECT started_at FROM attempts WHERE operation = 'create' ORDER BY started_at";
        eventually("calls begin", async || {
            let at: Vec<i64> = sqlx::query_scalar(all).fetch_all(&mut database).await.unwrap();
            (at.len() >= least).then_some(at)
        })
        .await
    };
    begun(ALL / 4).await;
    // Its lane is free at once.
    assert!(gateway.stop().await.success());
    begun(ALL / 2).await;
    one.kill().await.unwrap();
    let begun = begun(ALL).await;
    for (place, first) in begun.iter().enumerate() {
        let second = begun[place..].iter().take_while(|at| **at < first + 1000).count();
        assert!(second <= RATE * 105 / 100 + 1, "{second} within a second: {begun:?}");
    }
    assert!(terminate(&mut two).await.success());
    gateway.finish().await;
}

#[tokio::test]
async fn replicas_that_start_at_once_on_a_new_database_all_have_the_document() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    assert!(gateway.stop().await.success());
    for _ in 0..4 {
        gateway.execute("DELETE FROM config_revisions").await;
        let replicas = join_all((0..4).map(|_| gateway.start_replica())).await;
        for (mut replica, url) in replicas {
            let client = Client::connect(&url, &gateway.client().key()).await;
            let shown = client.get("/v1/providers").await.expect(200).body;
            assert_eq!(shown["providers"].as_array().unwrap().len(), 3);
            assert!(terminate(&mut replica).await.success());
        }
    }
    gateway.finish().await;
}
