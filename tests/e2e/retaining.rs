//! What is past its retention, as callers see it.

use invite_tests::{Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text};

on_both_databases! {
    an_invite_that_has_ended_loses_its_person_and_is_removed_later
    old_entries_of_the_record_go_and_it_can_still_be_verified
    an_erased_invite_is_answered_and_can_neither_be_retried_nor_found_by_its_person
}

async fn an_invite_that_has_ended_loses_its_person_and_is_removed_later(database: Database) {
    let gateway = Gateway::builder()
        .database(database)
        .setting("idempotency.retention", "1s")
        .setting("privacy.retention.bodies", "0s")
        .setting("privacy.retention.person", "0s")
        .setting("privacy.retention.row", "2s")
        .start()
        .await;
    let client = gateway.client();
    let live = client.invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let ended = client.invite(&invites("acme-tenancy", [person(2)])).await.remove(0);
    let path = format!("/v1/invites/{}", text(&ended, "id"));
    client.delete(&path).await.expect(200);
    eventually("the person to go", async || {
        let answer = client.get(&path).await;
        (answer.status == 404 || answer.body["erased"] == true).then_some(())
    })
    .await;
    eventually("the row to go", async || (client.get(&path).await.status == 404).then_some(()))
        .await;
    client
        .get(&format!("/v1/batches/{}", text(&ended, "batch_id")))
        .await
        .problem(404, "not-found");
    let counted = "invites_removed{provider=\"acme-tenancy\",status=\"revoked\"} 1";
    eventually("it stays counted", async || {
        let metrics = client.get("/metrics").await.expect(200).text;
        metrics.lines().any(|line| line == counted).then_some(())
    })
    .await;
    let kept = client.read(&live).await;
    assert_eq!((&kept["erased"], &kept["email"]), (&json!(false), &live["email"]));
    gateway.finish().await;
}

async fn old_entries_of_the_record_go_and_it_can_still_be_verified(database: Database) {
    let gateway = Gateway::builder()
        .database(database)
        .setting("privacy.retention.audit", "1s")
        .start()
        .await;
    let admin = gateway.caller("admin", &[]).await;
    let first = async || {
        let entries = admin.get("/v1/admin/audit").await.expect(200).list("entries");
        entries.last().unwrap()["sequence"].as_i64().unwrap()
    };
    eventually("the first entry to go", async || (first().await > 1).then_some(())).await;
    let output = gateway.command(&["audit", "verify"]).await;
    assert!(output.status.success(), "{output:?}");
    gateway.finish().await;
}

async fn an_erased_invite_is_answered_and_can_neither_be_retried_nor_found_by_its_person(
    database: Database,
) {
    let faults = "[[fault]]\nprovider = \"rkvst\"\noperation = \"create\"\nkind = \"status_before\"\n\
                  status = 400\n";
    let gateway = Gateway::builder().database(database).faults(faults).start().await;
    let client = gateway.client();
    let mut guest = person(1);
    guest["labels"] = json!({ "team": "red" });
    guest["external_id"] = json!("guest-1");
    let failed = client.invite(&invites("acme-tenancy", [guest])).await.remove(0);
    assert_eq!(text(&failed, "status"), "failed");
    let admin = gateway.caller("admin", &[]).await;
    let body = json!({ "email": failed["email"] });
    let receipt = admin.post("/v1/admin/erase", &body).await.expect(200).body;
    assert_eq!(
        receipt["erased"],
        json!({ "invites": 1, "attempts": 1, "exchanges": 1, "labels": 1 })
    );
    assert_eq!((&receipt["left"], &receipt["cleaned"]), (&json!([]), &json!(true)));

    let now = client.read(&failed).await;
    for member in ["email", "first_name", "last_name", "phone", "external_id", "provider_ref"] {
        assert_eq!(now[member], Value::Null, "{member}");
    }
    assert_eq!((&now["labels"], &now["provider_data"]), (&json!({}), &json!({})));
    assert_eq!((&now["options"], &now["route"]), (&json!({}), &Value::Null));
    assert_eq!((&now["erased"], text(&now, "status")), (&json!(true), "failed"));
    assert_eq!(now["error"]["code"], failed["error"]["code"]);
    let path = format!("/v1/invites/{}", text(&failed, "id"));
    let attempts = client.get(&format!("{path}/attempts")).await.expect(200).list("attempts");
    assert_eq!((attempts.len(), &attempts[0]["reply"]), (1, &Value::Null));
    let problem =
        client.post(&format!("{path}/retry"), &json!({})).await.problem(409, "already-final");
    assert!(text(&problem, "detail").contains("erased"), "{problem}");
    let refreshed = client.post(&format!("{path}/refresh"), &Value::Null).await.expect(200).body;
    assert_eq!(refreshed["erased"], true);
    let redriven = admin.post("/v1/admin/redrive?all=true", &json!({})).await.expect(200).body;
    assert_eq!(redriven["matched"], 0);
    for filter in [
        format!("email={}", text(&failed, "email")),
        "label=team:red".to_owned(),
        "external_id=guest-1".to_owned(),
    ] {
        let found = client.get(&format!("/v1/invites?{filter}")).await.expect(200).invites();
        assert!(found.is_empty(), "{filter}");
    }
    assert_eq!(client.get("/v1/invites?status=failed").await.expect(200).invites().len(), 1);
    gateway.finish().await;
}
