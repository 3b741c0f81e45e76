//! Addresses that are hard to fold, and rows that cannot be read: each costs one invite at most.

use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    an_address_that_lower_case_would_break_is_taken_and_read
    the_same_mailbox_is_one_person_however_it_is_spelled
    damaged_rows_in_every_status_cost_nothing_but_themselves
    a_damaged_row_in_doubt_keeps_a_second_call_from_being_made_until_it_is_ended
}

const DAMAGED: [(&str, &str, &str); 7] = [
    ("queued", "invitee", "{"),
    ("sending", "holder", "damaged"),
    ("unknown", "provider_data", "damaged"),
    ("awaiting_approval", "labels", "[]"),
    ("pending", "status_source", "nobody"),
    ("sent", "error", "{"),
    ("parked", "status", "parked"),
];

async fn damage(gateway: &Gateway, invite: &Value, status: &str, column: &str, value: &str) {
    let id = text(invite, "id");
    let statement = format!(
        "UPDATE invites SET status = '{status}', holder = 'att_{}', ended_at = 0, lease_until = 0 \
         WHERE id = '{id}'; \
         UPDATE invites SET {column} = '{value}' WHERE id = '{id}'",
        "0".repeat(32)
    );
    gateway.execute(&statement).await;
}

async fn admin(gateway: &Gateway) -> Client {
    gateway.caller("admin,invites:read,invites:write,providers:read", &[]).await
}

async fn an_address_that_lower_case_would_break_is_taken_and_read(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    for email in ["\u{130}nfo@example.org", "\u{1e9e}@example.org", "विक्रम@example.org"]
    {
        let body = invites("acme-tenancy", [json!({ "email": email })]);
        let made = gateway.client().invite(&body).await.remove(0);
        assert_eq!((text(&made, "status"), text(&made, "email")), ("pending", email));
        assert_eq!(gateway.client().read(&made).await["id"], made["id"]);
        assert!(gateway.simulators.invited("rkvst").await.contains(&email.to_owned()));
    }
    let long = format!("{}@example.org", "\u{23a}".repeat(22));
    let body = invites("acme-tenancy", [json!({ "email": long })]);
    let refused = gateway.client().post("/v1/invites", &body).await;
    let problem = refused.problem(422, "validation-failed");
    assert_eq!(problem["errors"][0]["code"], "too-long");
    assert_eq!(gateway.client().get("/v1/invites").await.expect(200).invites().len(), 3);
    gateway.finish().await;
}

async fn the_same_mailbox_is_one_person_however_it_is_spelled(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let spellings = [
        "Re\u{301}n.E\u{c9}@example.org",
        "\"r\u{e9}n.e\u{e9}\"@EXAMPLE.org",
        "R\u{e9}N.e\\\u{e9}",
    ];
    let post = async |email: &str| {
        let body = invites("acme-tenancy", [json!({ "email": email })]);
        gateway.client().invite(&body).await.remove(0)
    };
    let (first, second) = (post(spellings[0]).await, post(spellings[1]).await);
    assert_eq!((&second["id"], &second["duplicate"]), (&first["id"], &json!(true)));
    // What is sent is what was written.
    assert_eq!(gateway.simulators.invited("rkvst").await, [spellings[0]]);
    let found = gateway.client().get("/v1/invites?email=%22r%C3%A9n.ee%CC%81%22@example.org").await;
    assert_eq!(texts(&found.expect(200).invites(), "id"), [text(&first, "id")]);
    gateway.finish().await;
}

async fn damaged_rows_in_every_status_cost_nothing_but_themselves(database: Database) {
    let mut gateway =
        Gateway::builder().database(database).setting("delivery.refresh", "1s").start().await;
    let people = (0..8).map(person).collect::<Vec<_>>();
    let made = gateway.client().invite(&json!({ "to": "acme-tenancy", "invites": people })).await;
    gateway.stop().await;
    for (invite, (status, column, value)) in made.iter().zip(DAMAGED) {
        damage(&gateway, invite, status, column, value).await;
    }
    gateway.start_again().await;

    // Others of the provider are sent.
    let sent = gateway.client().invite(&invites("acme-tenancy", [person(20)])).await;
    assert_eq!(texts(&sent, "status"), ["pending"]);
    let admin = admin(&gateway).await;
    // Lists go on past them.
    for limit in [1, 3, 200] {
        let (mut seen, mut unreadable, mut next) = (0, Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/v1/invites?limit={limit}{next}")).await.expect(200);
            seen += page.invites().len();
            unreadable.extend(page.body["unreadable"].as_array().cloned().unwrap_or_default());
            match page.body["next_cursor"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!((seen, unreadable.len()), (2, DAMAGED.len()), "pages of {limit}");
    }
    // They are shown as what they are.
    for (invite, (status, column, _)) in made.iter().zip(DAMAGED) {
        let path = format!("/v1/invites/{}", text(invite, "id"));
        let problem = admin.get(&path).await.problem(409, "unreadable");
        assert!(text(&problem, "detail").contains(&format!("`{column}`")), "{problem}");
        assert!(text(&problem, "detail").contains(&format!("`{status}`")), "{problem}");
        gateway.client().delete(&path).await.problem(409, "unreadable");
        admin.post(&format!("{path}/refresh"), &Value::Null).await.problem(409, "unreadable");
    }
    let batch = format!("/v1/batches/{}", text(&made[0], "batch_id"));
    let counts = admin.get(&batch).await.expect(200).body["counts"].clone();
    assert_eq!(counts["unreadable"], DAMAGED.len());
    assert_eq!(counts["total"], 8);
    let provider = admin.get("/v1/providers/acme-tenancy").await.expect(200).body;
    assert_eq!((&provider["unreadable"], &provider["queued"]), (&json!(7), &json!(0)));
    assert_eq!(provider["quota"]["live"], 9);
    eventually("the metric tells of them", async || {
        let metrics = admin.get("/metrics").await.expect(200).text;
        metrics.lines().any(|line| line == "invites_unreadable 7").then_some(())
    })
    .await;
    // An administrator ends them.
    for invite in made.iter().take(DAMAGED.len()) {
        let path = format!("/v1/invites/{}", text(invite, "id"));
        let ended = admin.delete(&path).await.expect(200).body;
        assert_eq!((&ended["id"], &ended["status"]), (&invite["id"], &json!("revoked")));
        assert_eq!(admin.delete(&path).await.expect(200).body["status"], "revoked");
    }
    let provider = admin.get("/v1/providers/acme-tenancy").await.expect(200).body;
    assert_eq!((&provider["unreadable"], &provider["quota"]["live"]), (&json!(0), &json!(2)));
    gateway.finish().await;
}

async fn a_damaged_row_in_doubt_keeps_a_second_call_from_being_made_until_it_is_ended(
    database: Database,
) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let made = gateway.client().invite(&invites("acme-tenancy", [person(1), person(2)])).await;
    gateway.stop().await;
    for (invite, status) in made.iter().zip(["sending", "unknown"]) {
        damage(&gateway, invite, status, "params", "{").await;
    }
    gateway.start_again().await;
    let other = gateway.caller("invites:read,invites:write", &["--tenant", "other"]).await;
    let request = other.request("POST", "/v1/invites");
    let body = invites("acme-tenancy", [person(1), person(2), person(3)]);
    let accepted = request.header("prefer", "respond-async").json(&body).send().await.expect(202);
    let waiting = accepted.invites();
    other.read_once(&waiting[2], &["pending"]).await;
    let admin = admin(&gateway).await;
    for (invite, damaged) in waiting.iter().zip(&made) {
        let seen = other.read(invite).await;
        assert_eq!((text(&seen, "status"), &seen["error"]["code"]), ("queued", &json!("waiting")));
        admin.delete(&format!("/v1/invites/{}", text(damaged, "id"))).await.expect(200);
        other.read_once(invite, &["pending"]).await;
    }
    gateway.finish().await;
}
