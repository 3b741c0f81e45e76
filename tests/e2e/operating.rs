//! The commands that call a running gateway about its invites.

use invite_tests::{Gateway, invites, person};
use serde_json::Value;

use crate::{text, texts};

/// Runs a command against the gateway, with an administrator's key.
async fn run(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let url = gateway.url();
    let output = gateway.command(&[arguments, &["--url", &url]].concat()).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn print(gateway: &Gateway, arguments: &[&str]) -> String {
    let (status, printed, said) = run(gateway, arguments).await;
    assert_eq!(status, 0, "{arguments:?}: {printed}{said}");
    printed
}

async fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let printed = print(gateway, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test]
async fn an_operator_lists_shows_and_withdraws_invites() {
    let mut gateway = Gateway::start().await;
    let key = gateway.client().key();
    gateway.binary.set_variable("INVITE_GATEWAY_KEY", &key);
    let sent = gateway.client().invite(&invites("treasury", (1..=3).map(person))).await;
    gateway.client().invite(&invites("berlin-summit", [person(4)])).await;
    let id = text(&sent[0], "id");

    let listed = json(&gateway, &["invites", "list", "--provider", "treasury"]).await;
    assert_eq!(listed["invites"].as_array().unwrap().len(), 3);
    let table = print(&gateway, &["invites", "list", "--limit", "1"]).await;
    assert_eq!(table.lines().count(), 2, "{table}");
    let shown = json(&gateway, &["invites", "show", id]).await;
    assert_eq!(texts(shown["attempts"].as_array().unwrap(), "operation"), ["create"]);
    assert!(print(&gateway, &["invites", "show", id]).await.contains("status: pending"));

    assert_eq!(print(&gateway, &["invites", "withdraw", id]).await, format!("{id} revoked\n"));
    let (status, printed, said) = run(&gateway, &["invites", "withdraw", id, "inv_1"]).await;
    assert_eq!((status, &*printed), (2, ""), "no id is one: {said}");
    let (status, _, said) = run(&gateway, &["invites", "retry", id]).await;
    assert!(status == 1 && said.contains(id) && said.contains("409"), "{said}");

    // Of those that match nothing is done without the number.
    let some = ["invites", "withdraw", "--provider", "treasury"];
    let counted = print(&gateway, &some).await;
    assert!(counted.contains("2 invites match") && counted.contains("--confirm 2"), "{counted}");
    let (status, _, said) = run(&gateway, &[&some[..], &["--confirm", "3"]].concat()).await;
    assert!(status == 1 && said.contains("matches 2"), "{said}");
    let done = print(&gateway, &[&some[..], &["--confirm", "2"]].concat()).await;
    assert_eq!(done, "withdraw completed: 2 of 2\n");
    for wrong in [
        &["invites", "withdraw"][..],
        &["invites", "withdraw", id, "--provider", "treasury"],
        &["invites", "withdraw", id, "--confirm", "1"],
        &["invites", "retry", "--all", "--accept-duplicate-risk"],
        &["invites", "settle", id],
        &["invites", "withdraw", "--label", "team"],
        &["invites", "withdraw", "--label", "team:a", "--label", "team:b"],
        &["invites", "action", "../../admin/keys/key_1", "--cancel"],
    ] {
        let (status, printed, said) = run(&gateway, wrong).await;
        assert_eq!((status, &*printed), (2, ""), "{wrong:?}: {said}");
        assert!(!said.is_empty(), "{wrong:?}");
    }
    let statuses = json(&gateway, &["invites", "list", "--status", "revoked"]).await;
    assert_eq!(statuses["invites"].as_array().unwrap().len(), 3);
    gateway.finish().await;
}

#[tokio::test]
async fn an_operator_follows_what_becomes_of_requests() {
    let mut gateway = Gateway::start().await;
    let key = gateway.client().key();
    gateway.binary.set_variable("INVITE_GATEWAY_KEY", &key);
    let sent = gateway.client().invite(&invites("treasury", (1..=3).map(person))).await;
    let batch = text(&sent[0], "batch_id");

    let batches = json(&gateway, &["batches", "list"]).await;
    assert_eq!(texts(batches["batches"].as_array().unwrap(), "id"), [batch]);
    let shown = json(&gateway, &["batches", "show", batch]).await;
    assert_eq!(shown["invites"].as_array().unwrap().len(), 3);
    let counted = json(&gateway, &["batches", "withdraw", batch, "--dry-run"]).await;
    assert!(counted.is_object(), "{counted}");

    let told = print(&gateway, &["events", "--type", "invite.pending", "--json"]).await;
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 3);
    let second = text(&events[1], "id");
    let later = ["events", "--type", "invite.pending", "--after", second];
    let told = print(&gateway, &later).await;
    assert_eq!(told.lines().count(), 1);
    assert!(told.contains("invite.pending") && told.contains("(was sending)"), "{told}");

    let table = print(&gateway, &["stats"]).await;
    assert!(table.contains("provider"), "{table}");
    let (status, _, said) = run(&gateway, &["stats", "--since", "yesterday"]).await;
    assert!(status == 1 && said.contains("since"), "{said}");
    let withdrawn = print(&gateway, &["batches", "withdraw", batch]).await;
    assert!(withdrawn.contains("withdrawn_at_provider: 3"), "{withdrawn}");
    gateway.finish().await;
}
