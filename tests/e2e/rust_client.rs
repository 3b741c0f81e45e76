//! The client in Rust, against the gateway.

use invite_client::{Client, Event};
use invite_tests::{Gateway, eventually, invites, person};
use serde_json::json;

#[tokio::test]
async fn a_service_in_rust_invites_reads_and_follows() {
    let gateway = Gateway::start().await;
    let client = Client::new(&gateway.url(), gateway.client().key()).unwrap();
    let body = invites("treasury", (1..=3).map(person));
    let created = client.create(&body, "order-4711").await.unwrap();
    assert_eq!(created.invites.len(), 3);
    let again = client.create(&body, "order-4711").await.unwrap();
    assert_eq!(again.batch.id, created.batch.id, "it is the same request");

    let mut events = client.events(&[("type", "invite.pending")], None);
    let mut told: Vec<Event> = Vec::new();
    while told.len() < 3 {
        told.extend(events.next().await.unwrap());
    }
    let place = events.place().unwrap().to_owned();
    let mut subjects: Vec<&str> = told.iter().map(|event| event.subject.as_str()).collect();
    subjects.sort_unstable();
    let mut ids: Vec<String> = created.invites.iter().map(|invite| invite.id.to_string()).collect();
    ids.sort_unstable();
    assert_eq!(subjects, ids);
    assert_eq!(told[0].data.invite.as_ref().unwrap().status, "pending");

    let mut pages = client.invites(&[("limit", "2"), ("provider", "treasury")]);
    let mut lengths = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        lengths.push(page.len());
    }
    assert_eq!(lengths, [2, 1]);
    let by_change =
        [("sort", "updated"), ("updated_after", "2020-01-01T00:00:00Z"), ("limit", "2")];
    let mut pages = client.invites(&by_change);
    let mut changed = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        changed.extend(page.into_iter().map(|invite| invite.id.to_string()));
    }
    changed.sort_unstable();
    assert_eq!(changed, ids, "a list by change ends, too");
    let cursor = pages.place().unwrap().to_owned();
    let mut pages = client.invites(&[("sort", "updated"), ("cursor", &cursor)]);
    assert_eq!(pages.next().await.unwrap(), Some(vec![]));
    assert_eq!(pages.next().await.unwrap(), None);
    // Whoever may only write learns of one that was there before less than of a new one.
    let writer = gateway.caller("invites:write", &[]).await;
    let writer = Client::new(&gateway.url(), writer.key()).unwrap();
    let there = writer.create(&body, "order-of-another-key").await.unwrap();
    assert_eq!((there.invites.len(), there.invites[0].created_at), (3, None));
    let first = created.invites[0].id;
    let email = client.invite(first).await.unwrap().email;
    assert_eq!(email, created.invites[0].email);

    // Whoever begins at the place of an earlier reader gets what came since.
    client.create(&invites("treasury", [person(4)]), "order-4712").await.unwrap();
    let mut later = client.events(&[("type", "invite.pending")], Some(&place));
    let event = eventually("the next event", async || later.next().await.unwrap().pop()).await;
    assert!(!ids.contains(&event.subject));

    let wrong = json!({ "to": "nowhere", "invites": [{ "email": "ada@example.org" }] });
    let refused = client.create(&wrong, "order-4713").await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.status.as_u16(), &*problem.code), (422, "validation-failed"));
    assert!(problem.more["errors"][0]["detail"].is_string());
    gateway.finish().await;
}
