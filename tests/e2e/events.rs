//! What callers learn of their invites without asking again: the feed, and the same as a stream.

use std::time::Duration;

use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{admin_configuration::edit, on_both_databases, text, texts};

on_both_databases! {
    what_becomes_of_an_invite_is_told_in_order_and_to_whoever_waits
    a_key_is_told_what_it_may_see
    a_stream_goes_on_where_it_was_and_ends_with_its_key
    whoever_is_too_late_is_told_so
}

/// All events behind one, in pages, as this caller sees them.
async fn follow(client: &Client, query: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/events?limit=3{query}{after}")).await.expect(200).body;
        events.extend(page["events"].as_array().unwrap().clone());
        after = format!("&after={}", text(&page, "next_after"));
        if page["has_more"] == false {
            return events;
        }
    }
}

/// The same once one of this type was told about a subject.
async fn until(client: &Client, event_type: &str, subject: &str) -> Vec<Value> {
    eventually("an event is told", async || {
        let events = follow(client, "").await;
        let found = |event: &Value| event["type"] == event_type && event["subject"] == subject;
        events.iter().any(found).then_some(events)
    })
    .await
}

async fn what_becomes_of_an_invite_is_told_in_order_and_to_whoever_waits(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let answer =
        client.post("/v1/invites", &invites("berlin-summit", [person(1)])).await.expect(201);
    let (batch, invite) =
        (text(&answer.body["batch"], "id").to_owned(), answer.invites().remove(0));
    let id = text(&invite, "id");
    let events = until(client, "batch.completed", &batch).await;
    let status = text(&invite, "status");
    let told = format!("invite.{status}");
    assert_eq!(texts(&events, "type"), ["invite.queued", &told, "batch.completed"]);
    assert!(texts(&events, "id").is_sorted());
    let queued = &events[0]["data"];
    assert_eq!((&queued["previous"], &queued["status_source"]), (&Value::Null, &json!("gateway")));
    assert_eq!(queued["invite"]["status"], "queued");
    assert_eq!(queued["invite"]["email"], invite["email"]);
    let pending = &events[1]["data"];
    assert_eq!(
        (&pending["previous"], &pending["status_source"]),
        (&json!("sending"), &json!("provider"))
    );
    for member in ["id", "status", "provider_ref", "updated_at", "attempt_count", "labels"] {
        assert_eq!(pending["invite"][member], invite[member], "{member}");
    }
    assert_eq!(events[2]["data"], json!({ "counts": { status: 1 } }));

    // Whoever waits hears of what comes, wherever it is written.
    let waiting = async |client: &Client| {
        client
            .request("GET", &format!("/v1/events?after={}", text(&events[2], "id")))
            .header("prefer", "wait=60")
            .send()
            .await
            .expect(200)
    };
    let replica = match database {
        Database::Postgres => Some(gateway.start_replica().await),
        Database::Sqlite => None,
    };
    let other = match &replica {
        Some((_, url)) => Client::connect(url, &client.key()).await,
        None => client.apart(),
    };
    let change = async {
        let accepted = json!({ "status": "accepted" });
        client.patch(&format!("/v1/invites/{id}"), &accepted).await.expect(200)
    };
    let (told, _) = tokio::join!(waiting(&other), change);
    assert_eq!(told.header("preference-applied"), Some("wait=60"));
    let event = &told.body["events"][0];
    assert_eq!((&event["type"], &event["subject"]), (&json!("invite.accepted"), &json!(id)));
    assert_eq!(event["data"]["previous"], status);
    assert_eq!(event["data"]["status_source"], "caller");
    let nothing = format!("/v1/events?after={}", text(&told.body, "next_after"));
    let request = client.request("GET", &nothing).header("prefer", "wait=1");
    let nothing = request.send().await.expect(200);
    assert_eq!(nothing.body["events"], json!([]));
    assert_eq!(nothing.body["next_after"], told.body["next_after"]);
    client.get("/v1/events?after=1").await.problem(422, "validation-failed");
    client.get("/v1/events?type=invite.lost").await.problem(422, "validation-failed");
    if let Some((mut replica, _)) = replica {
        assert!(invite_tests::terminate(&mut replica).await.success());
    }
    gateway.finish().await;
}

async fn a_key_is_told_what_it_may_see(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let client = gateway.client();
    let mut labelled = invites("treasury", [person(1)]);
    labelled["invites"][0]["labels"] = json!({ "team": "r-and-d" });
    let at_treasury = client.invite(&labelled).await.remove(0);
    let elsewhere = client.invite(&invites("acme-tenancy", [person(2)])).await.remove(0);
    until(client, "batch.completed", text(&elsewhere, "batch_id")).await;
    let subjects = async |client: &Client, query: &str| -> Vec<String> {
        let mut subjects: Vec<String> =
            texts(&follow(client, query).await, "subject").into_iter().map(str::to_owned).collect();
        subjects.dedup();
        subjects
    };
    let [treasury, other] = [&at_treasury, &elsewhere].map(|invite| text(invite, "id").to_owned());
    let (treasury, other) = ([treasury], [other]);
    assert_eq!(subjects(client, "&provider=acme-tenancy").await, other);
    assert_eq!(subjects(client, "&label=team:r-and-d").await, treasury);
    assert_eq!(subjects(client, &format!("&invite_id={}", other[0])).await, other);
    assert_eq!(follow(client, "&type=invite.pending&type=invite.sent").await.len(), 2);
    let limited = gateway.caller("invites:read", &["--providers", "acme-tenancy"]).await;
    assert_eq!(subjects(&limited, "").await, other);
    limited.get("/v1/events?provider=treasury").await.problem(403, "provider-not-allowed");
    let stranger = gateway.caller("invites:read", &["--tenant", "other"]).await;
    assert_eq!(follow(&stranger, "").await, Vec::<Value>::new());
    stranger.get("/v1/events?tenant=default").await.problem(403, "insufficient-scope");
    gateway
        .caller("invites:write", &[])
        .await
        .get("/v1/events")
        .await
        .problem(403, "insufficient-scope");

    // What is the gateway's own is for administrators, and reading another tenant's is on record.
    let admin = gateway.caller("admin", &["--tenant", "other"]).await;
    edit(&admin, "[providers.treasury]", "# Again\n[providers.treasury]").await;
    let events = follow(&admin, "").await;
    assert!(events.iter().any(|event| event["type"] == "config.revised"), "{events:?}");
    assert!(events.iter().any(|event| event["tenant"] == "default"));
    assert!(follow(client, "").await.iter().all(|event| event["type"] != "config.revised"));
    let record = admin.get("/v1/admin/audit").await.expect(200).list("entries");
    assert!(texts(&record, "action").contains(&"feed.read"), "{record:?}");
    gateway.finish().await;
}

/// Reads a stream until as many events with data have come; the `id`, `event` and `data` of each.
async fn read_stream(response: &mut reqwest::Response, count: usize) -> Vec<[String; 3]> {
    let (mut buffer, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        let chunk = timeout(Duration::from_secs(60), response.chunk()).await.unwrap();
        buffer.push_str(&String::from_utf8(chunk.unwrap().unwrap().into()).unwrap());
        while let Some((event, rest)) = buffer.split_once("\n\n") {
            let field = |name: &str| {
                let line =
                    event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.unwrap_or_default().to_owned()
            };
            let event = ["id", "event", "data"].map(field);
            if !event[2].is_empty() {
                events.push(event);
            }
            buffer = rest.to_owned();
        }
    }
    events
}

/// What else comes over a stream that ends.
async fn until_its_end(response: &mut reqwest::Response) -> String {
    let ended = timeout(Duration::from_secs(60), async {
        let mut rest = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            rest.extend(chunk);
        }
        String::from_utf8(rest).unwrap()
    });
    ended.await.unwrap()
}

async fn a_stream_goes_on_where_it_was_and_ends_with_its_key(database: Database) {
    let builder = Gateway::builder().database(database).setting("server.answer_timeout", "1s");
    let gateway = builder.start().await;
    let client = gateway.client();
    let reader = gateway.caller("invites:read", &[]).await;
    let open = async |last: &str, query: &str| {
        let request = reader.request("GET", &format!("/v1/events/stream{query}"));
        let response = request.header("last-event-id", last).open().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    };
    let mut stream = open("", "").await;
    // The time that a caller has to read an answer does not end a stream that has nothing to tell.
    timeout(Duration::from_secs(2), stream.chunk()).await.unwrap_err();
    let first = client.invite(&invites("treasury", [person(1)])).await.remove(0);
    let told = read_stream(&mut stream, 3).await;
    let types: Vec<&str> = told.iter().map(|[_, event_type, _]| &**event_type).collect();
    assert_eq!(types, ["invite.queued", "invite.pending", "batch.completed"]);
    let event: Value = serde_json::from_str(&told[1][2]).unwrap();
    assert_eq!((text(&event, "id"), text(&event, "subject")), (&*told[1][0], text(&first, "id")));
    drop(stream);
    let mut stream = open(&told[0][0], "?after=latest").await;
    assert_eq!(read_stream(&mut stream, 2).await, told[1..]);
    let mut of_kind = open("", "?type=invite.queued&after=latest").await;
    let second = client.invite(&invites("treasury", [person(2)])).await.remove(0);
    let [only] = read_stream(&mut of_kind, 1).await.try_into().unwrap();
    assert!(only[2].contains(text(&second, "id")), "{only:?}");
    drop(of_kind);
    reader
        .request("GET", "/v1/events/stream")
        .header("last-event-id", "7")
        .send()
        .await
        .problem(400, "malformed-header");

    let id = eventually("the key is listed", async || {
        let admin = gateway.caller("admin", &[]).await;
        let keys = admin.get("/v1/admin/keys").await.expect(200).list("keys");
        let own = keys.iter().find(|key| key["scopes"] == json!(["invites:read"]))?;
        Some((admin, text(own, "id").to_owned()))
    });
    let (admin, id) = id.await;
    let key = format!("/v1/admin/keys/{id}");
    let mut before = open("", "?after=latest").await;
    admin.patch(&key, &json!({ "providers": ["acme-tenancy"] })).await.expect(200);
    client.invite(&invites("treasury", [person(3)])).await;
    assert!(!until_its_end(&mut before).await.contains("guest3"));
    assert!(!until_its_end(&mut stream).await.contains("guest3"));
    let mut stream = open("", "?after=latest").await;
    admin.delete(&key).await.expect(200);
    client.invite(&invites("acme-tenancy", [person(4)])).await;
    assert!(!until_its_end(&mut stream).await.contains("guest4"));
    gateway.finish().await;
}

async fn whoever_is_too_late_is_told_so(database: Database) {
    let gateway = Gateway::builder()
        .database(database)
        .setting("events.retention", "1s")
        .setting("webhooks.give_up", "1s")
        .start()
        .await;
    let client = gateway.client();
    client.invite(&invites("treasury", [person(1)])).await;
    let start = "/v1/events?after=evt_0000000000000000";
    let gone = eventually("events are removed", async || {
        let answer = client.get(start).await;
        (answer.status != 200).then_some(answer)
    });
    let problem = gone.await.problem(410, "events-removed");
    assert!(text(&problem, "detail").contains("after=latest"), "{problem}");
    let stream = client.get(&start.replace("events?", "events/stream?")).await;
    stream.problem(410, "events-removed");
    // From the first that is kept: the last one always is.
    assert!(!follow(client, "").await.is_empty());
    client.get("/v1/events?after=latest").await.expect(200);
    gateway.finish().await;
}
