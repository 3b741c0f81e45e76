//! The duplicate rule: one live invite for a person at a destination.

use futures::future::join_all;
use invite_tests::{Database, Gateway, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    a_second_invite_to_the_same_person_returns_the_first
    the_later_of_two_equal_items_is_the_duplicate
    of_callers_at_once_exactly_one_sends
    a_duplicate_can_be_refused
    a_duplicate_can_be_sent_on_purpose
    a_queued_invite_names_the_one_that_it_waits_for
    a_dry_run_marks_whom_it_would_not_send_to
}

fn with_rule(rule: &str, people: Vec<Value>) -> Value {
    let mut body = invites("acme-tenancy", people);
    body["on_duplicate"] = json!(rule);
    body
}

/// The same mailbox, written differently.
fn written_differently() -> Value {
    let mut same = person(1);
    same["email"] = json!("Guest1@EXAMPLE.org");
    same
}

async fn a_second_invite_to_the_same_person_returns_the_first(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let first = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    let body = invites("acme-tenancy", [person(2), written_differently()]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
    let second = answer.invites();
    assert_eq!(second[1]["id"], first[0]["id"]);
    assert_eq!(second[1]["batch_id"], first[0]["batch_id"]);
    assert_eq!(second[1]["index"], 1);
    assert_eq!(second[1]["duplicate"], true);
    assert_eq!(answer.body["batch"]["counts"]["duplicates"], 1);
    assert_ne!(second[0]["duplicate"], true);
    let read = gateway.client().read(&first[0]).await;
    assert_ne!(read["duplicate"], true, "only the answer to the duplicate says so");
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 2);
    gateway.finish().await;
}

async fn the_later_of_two_equal_items_is_the_duplicate(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let body = invites("acme-tenancy", [person(1), written_differently()]);
    let found = gateway.client().invite(&body).await;
    assert_eq!(found[0]["id"], found[1]["id"]);
    assert_ne!(found[0]["duplicate"], true);
    assert_eq!(found[1]["duplicate"], true);
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}

async fn of_callers_at_once_exactly_one_sends(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let body = invites("acme-tenancy", [person(1)]);
    let calls = (0..12).map(|_| gateway.client().invite(&body));
    let found: Vec<Value> = join_all(calls).await.into_iter().flatten().collect();
    let mut ids = texts(&found, "id");
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(found.iter().filter(|invite| invite["duplicate"] != true).count(), 1);
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}

async fn a_duplicate_can_be_refused(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    let body = with_rule("reject", vec![written_differently(), person(2)]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
    let found = answer.invites();
    assert_eq!(texts(&found, "status"), ["failed", "pending"]);
    assert_eq!(found[0]["error"]["code"], "duplicate");
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 2);
    gateway.finish().await;
}

async fn a_duplicate_can_be_sent_on_purpose(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let first = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    let second = gateway.client().invite(&with_rule("send", vec![person(1)])).await;
    assert_ne!(first[0]["id"], second[0]["id"]);
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 2);
    gateway.finish().await;
}

async fn a_dry_run_marks_whom_it_would_not_send_to(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let live = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let people = vec![written_differently(), person(2), person(3), person(2)];
    let plan = async |rule| {
        let mut body = with_rule(rule, people.clone());
        body["to"] = json!(["acme-tenancy", "treasury"]);
        let answer = gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
        let calls = answer.list("plan");
        let items = |provider: &str| -> Vec<Value> {
            let of_it = calls.iter().filter(|call| text(call, "provider") == provider);
            of_it.flat_map(|call| call["indices"].as_array().unwrap().clone()).collect()
        };
        (items("acme-tenancy"), items("treasury"), answer.list("duplicates"))
    };
    let expected = [
        json!({ "index": 0, "provider": "acme-tenancy", "invite_id": live["id"] }),
        json!({ "index": 3, "provider": "acme-tenancy", "earlier_index": 1 }),
        json!({ "index": 3, "provider": "treasury", "earlier_index": 1 }),
    ];
    for rule in ["return_existing", "reject"] {
        let (at_rkvst, at_turnkey, duplicates) = plan(rule).await;
        assert_eq!(
            (at_rkvst, at_turnkey),
            (vec![json!(1), json!(2)], vec![json!(0), json!(1), json!(2)])
        );
        assert_eq!(duplicates, expected, "{rule}");
    }
    let (at_rkvst, _, duplicates) = plan("send").await;
    assert_eq!((at_rkvst.len(), duplicates), (4, Vec::new()));
    let stored = gateway.client().get("/v1/invites").await.expect(200).invites();
    assert_eq!(texts(&stored, "id"), [text(&live, "id")]);
    gateway.finish().await;
}

#[tokio::test]
async fn another_place_or_another_tenant_is_no_duplicate() {
    let gateway = Gateway::start().await;
    let to_both = json!({ "to": ["acme-tenancy", "treasury"], "invites": [person(1)] });
    gateway.client().invite(&to_both).await;
    let elsewhere = gateway.caller("invites:write,invites:read", &["--tenant", "other"]).await;
    let found = elsewhere.invite(&invites("treasury", [person(1)])).await;
    assert_ne!(found[0]["duplicate"], true);
    let mut other_event = person(1);
    other_event["options"] = json!({ "securegate": { "event_id": "event-457" } });
    let body = invites("berlin-summit", [person(1), other_event]);
    let found = gateway.client().invite(&body).await;
    assert!(found.iter().all(|invite| invite["duplicate"] != true), "{found:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_that_is_no_longer_live_is_no_duplicate() {
    let gateway = Gateway::start().await;
    let first = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    let path = format!("/v1/invites/{}", text(&first[0], "id"));
    gateway.client().delete(&path).await.expect(200);
    let second = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    assert_ne!(second[0]["id"], first[0]["id"]);
    assert_eq!(text(&second[0], "status"), "pending");
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_that_would_have_expired_before_it_was_made_is_live() {
    let gateway = Gateway::start().await;
    // A minute, and back to about 1970.
    for (number, seconds) in [-60, -1_795_000_000_i64].into_iter().enumerate() {
        let lifetime = json!({ "invite_lifetime_seconds": seconds });
        gateway.simulators.set("rkvst", lifetime).await;
        let body = invites("acme-tenancy", [person(number)]);
        let first = gateway.client().invite(&body).await.remove(0);
        assert_eq!((text(&first, "status"), &first["expires_at"]), ("pending", &Value::Null));
        let path = format!("/v1/invites/{}/refresh", text(&first, "id"));
        let asked = gateway.client().post(&path, &json!({})).await.expect(200).body;
        assert_eq!((text(&asked, "status"), &asked["expires_at"]), ("pending", &Value::Null));
        let second = gateway.client().invite(&body).await.remove(0);
        assert_eq!((&second["id"], &second["duplicate"]), (&first["id"], &json!(true)));
        assert_eq!(gateway.simulators.effects("rkvst").await.len(), number + 1);
    }
    gateway.finish().await;
}

async fn a_queued_invite_names_the_one_that_it_waits_for(database: Database) {
    let builder = Gateway::builder().database(database).setting("delivery.settle", "1h");
    let gateway = builder.start().await;
    let cut = json!({ "operation": "create", "kind": "cut_before" });
    gateway.simulators.break_down("rkvst", cut).await;
    let ask = async |rule| {
        let request = gateway.client().request("POST", "/v1/invites");
        let request = request.json(&with_rule(rule, vec![person(1)]));
        let answer = request.header("prefer", "respond-async").send().await.expect(202);
        answer.invites().remove(0)
    };
    let first = gateway.client().read_once(&ask("send").await, &["unknown"]).await;
    assert_eq!(first["error"]["code"], "outcome-unknown");
    let second = gateway.client().read(&ask("send").await).await;
    assert_eq!((text(&second, "status"), text(&second["error"], "code")), ("queued", "waiting"));
    let detail = text(&second["error"], "detail");
    assert!(detail.contains(text(&first, "id")), "{detail}");
    let path = format!("/v1/invites/{}", text(&first, "id"));
    gateway.client().patch(&path, &json!({ "status": "failed" })).await.expect(200);
    let second = gateway.client().read(&second).await;
    assert_ne!(text(&second["error"], "code"), "waiting", "{second}");
    gateway.finish().await;
}
