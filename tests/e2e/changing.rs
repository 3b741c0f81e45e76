//! Changing one invite: its status, withdrawing it, asking about it, sending it again.

use invite_tests::{Answer, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::text;

async fn invite(gateway: &Gateway, provider: &str, number: usize) -> Value {
    gateway.client().invite(&invites(provider, [person(number)])).await.remove(0)
}

fn path(invite: &Value) -> String {
    format!("/v1/invites/{}", text(invite, "id"))
}

async fn set_status(gateway: &Gateway, invite: &Value, status: &str) -> Answer {
    gateway.client().patch(&path(invite), &json!({ "status": status })).await
}

async fn call(gateway: &Gateway, invite: &Value, operation: &str, body: &Value) -> Answer {
    gateway.client().post(&format!("{}/{operation}", path(invite)), body).await
}

async fn status_at(gateway: &Gateway, provider: &str, invite: &Value) -> String {
    let effects = gateway.simulators.effects(provider).await;
    let effect = effects.iter().find(|effect| effect["id"] == invite["provider_ref"]).unwrap();
    text(effect, "status").to_owned()
}

async fn withdrawing_securegate() -> Gateway {
    let kind = "kind = \"securegate\"\n";
    let with = format!("{kind}revoke_as = \"rejected\"\n");
    Gateway::builder().replace(kind, &with).start().await
}

#[tokio::test]
async fn a_status_is_set_at_a_provider_that_can() {
    let gateway = Gateway::start().await;
    for (number, (status, theirs)) in
        [("sent", "sent"), ("accepted", "accepted"), ("declined", "rejected")]
            .into_iter()
            .enumerate()
    {
        let created = invite(&gateway, "berlin-summit", number).await;
        let changed = set_status(&gateway, &created, status).await.expect(200).body;
        assert_eq!(text(&changed, "status"), status);
        assert_eq!(status_at(&gateway, "securegate", &created).await, theirs);
        assert_eq!(text(&gateway.client().read(&created).await, "status"), status);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_account_of_one_request_per_second_is_not_hurried_by_a_change_that_reads_first() {
    let kind = "kind = \"securegate\"\n";
    let gateway = Gateway::builder()
        .replace(kind, &format!("{kind}revoke_as = \"rejected\"\n"))
        .replace("requests_per_second = 1000", "requests_per_second = 1")
        .start()
        .await;
    let places =
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];
    let withdrawn = places.into_iter().enumerate().map(async |(number, (provider, kind))| {
        let created = invite(&gateway, provider, number).await;
        // A little more than the gateway makes of it, whose requests do not arrive equally fast.
        gateway.simulators.set(kind, json!({ "rate_per_second": 1.25 })).await;
        gateway.client().delete(&path(&created)).await.expect(200).body
    });
    for revoked in futures::future::join_all(withdrawn).await {
        assert_eq!(text(&revoked, "status"), "revoked", "{revoked}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_status_cannot_be_set_where_the_provider_has_no_such_call() {
    let gateway = Gateway::start().await;
    for (number, provider) in ["acme-tenancy", "treasury"].into_iter().enumerate() {
        let created = invite(&gateway, provider, number).await;
        let answer = set_status(&gateway, &created, "accepted").await;
        answer.problem(422, "unsupported-operation");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_status_that_a_caller_may_not_set_is_refused() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    for status in ["revoked", "queued", "lost", ""] {
        set_status(&gateway, &created, status).await.expect(422);
    }
    for body in [json!({}), json!({ "status": 1 }), json!({ "status": "sent", "by": "me" })] {
        gateway.client().patch(&path(&created), &body).await.expect(422);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_was_withdrawn_or_failed_keeps_its_status() {
    let gateway = withdrawing_securegate().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    gateway.client().delete(&path(&created)).await.expect(200);
    set_status(&gateway, &created, "pending").await.problem(409, "already-final");
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("securegate", refuse).await;
    let failed = invite(&gateway, "berlin-summit", 2).await;
    set_status(&gateway, &failed, "pending").await.problem(409, "already-final");
    gateway.client().delete(&path(&failed)).await.problem(409, "already-final");
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_of_the_person_can_be_overridden() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    set_status(&gateway, &created, "accepted").await.expect(200);
    let changed = set_status(&gateway, &created, "declined").await.expect(200).body;
    assert_eq!(text(&changed, "status"), "declined");
    gateway.finish().await;
}

#[tokio::test]
async fn an_approval_is_waited_for() {
    let gateway = Gateway::start().await;
    gateway.simulators.set("turnkey", json!({ "activity_mode": "consensus" })).await;
    let created = invite(&gateway, "treasury", 1).await;
    assert_eq!(text(&created, "status"), "awaiting_approval", "{created}");
    let refused = gateway.client().delete(&path(&created)).await.problem(409, "not-settled");
    assert!(text(&refused, "detail").contains("approve or refuse it at the provider"), "{refused}");
    gateway.simulators.approve(text(&created["provider_data"], "activity_id")).await;
    let refreshed = call(&gateway, &created, "refresh", &Value::Null).await.expect(200).body;
    assert_eq!(text(&refreshed, "status"), "pending", "{refreshed}");
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn an_unproven_pairing_is_withdrawn_only_by_force() {
    let gateway = Gateway::start().await;
    gateway.simulators.set("turnkey", json!({ "get_organization": "forbidden" })).await;
    let body = invites("treasury", [person(1), person(2)]);
    let created = gateway.client().invite(&body).await.remove(1);
    assert_eq!(created["provider_data"]["pairing"], "unproven", "{created}");
    gateway.client().delete(&path(&created)).await.problem(409, "pairing-unproven");
    let by_force = format!("{}?force=true", path(&created));
    let revoked = gateway.client().delete(&by_force).await.expect(200).body;
    assert_eq!(text(&revoked, "status"), "revoked");
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_is_withdrawn_at_the_provider() {
    let gateway = Gateway::start().await;
    for (number, (provider, kind)) in
        [("acme-tenancy", "rkvst"), ("treasury", "turnkey")].into_iter().enumerate()
    {
        let created = invite(&gateway, provider, number).await;
        let revoked = gateway.client().delete(&path(&created)).await.expect(200).body;
        assert_eq!(text(&revoked, "status"), "revoked", "{provider}");
        assert_ne!(status_at(&gateway, kind, &created).await, "pending");
        let again = gateway.client().delete(&path(&created)).await.expect(200).body;
        assert_eq!(text(&again, "status"), "revoked", "{provider}");
        assert_eq!(gateway.simulators.request_count(kind, "delete").await, 1, "{provider}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn securegate_withdraws_only_if_it_is_configured_to() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    gateway.client().delete(&path(&created)).await.problem(422, "unsupported-operation");
    gateway.finish().await;

    let gateway = withdrawing_securegate().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    let revoked = gateway.client().delete(&path(&created)).await.expect(200).body;
    assert_eq!(text(&revoked, "status"), "revoked");
    assert_eq!(status_at(&gateway, "securegate", &created).await, "rejected");
    gateway.finish().await;
}

#[tokio::test]
async fn what_was_accepted_cannot_be_withdrawn() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "acme-tenancy", 1).await;
    let id = text(&created, "provider_ref");
    gateway.simulators.move_invite("rkvst", id, "accepted").await;
    let refreshed = call(&gateway, &created, "refresh", &Value::Null).await.expect(200).body;
    assert_eq!(text(&refreshed, "status"), "accepted");
    gateway.client().delete(&path(&created)).await.problem(409, "already-final");
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_still_queued_is_withdrawn_here() {
    let gateway = Gateway::start().await;
    gateway.simulators.break_down("rkvst", json!({ "kind": "rate_limited" })).await;
    let request = gateway.client().request("POST", "/v1/invites");
    let request = request.json(&invites("acme-tenancy", [person(1)]));
    let answer = request.header("prefer", "wait=1").send().await.expect(202);
    let waiting = answer.invites().remove(0);
    // Now and then it is tried; meanwhile it cannot be withdrawn.
    let revoked = eventually("a queued invite is withdrawn", async || {
        let answer = gateway.client().delete(&path(&waiting)).await;
        (answer.status != 409).then(|| answer.expect(200).body)
    })
    .await;
    assert_eq!(text(&revoked, "status"), "revoked");
    gateway.simulators.recover("rkvst").await;
    let next = invite(&gateway, "acme-tenancy", 2).await;
    assert_eq!(gateway.simulators.invited("rkvst").await, [text(&next, "email")]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_refresh_tells_what_the_person_did() {
    let gateway = Gateway::start().await;
    for (number, (provider, kind, theirs, ours)) in [
        ("berlin-summit", "securegate", "accepted", "accepted"),
        ("berlin-summit", "securegate", "rejected", "declined"),
        ("acme-tenancy", "rkvst", "accepted", "accepted"),
        ("treasury", "turnkey", "accepted", "accepted"),
    ]
    .into_iter()
    .enumerate()
    {
        let created = invite(&gateway, provider, number).await;
        let id = text(&created, "provider_ref");
        gateway.simulators.move_invite(kind, id, theirs).await;
        let body = Value::Null;
        let refreshed = call(&gateway, &created, "refresh", &body).await.expect(200).body;
        assert_eq!(text(&refreshed, "status"), ours, "{provider}: {refreshed}");
        assert!(refreshed["checked_at"].is_string());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_provider_that_refuses_a_change_is_named() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    let refuse = json!({ "operation": "update_status", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("securegate", refuse).await;
    let answer = set_status(&gateway, &created, "sent").await.expect(502);
    assert_eq!(answer.body["provider"], "berlin-summit");
    assert_eq!(answer.body["provider_http_status"], 400);
    assert_eq!(answer.body["origin"], "provider");
    assert_eq!(text(&gateway.client().read(&created).await, "status"), "pending");
    gateway.finish().await;
}

#[tokio::test]
async fn a_change_without_an_answer_may_have_happened_and_a_refresh_tells() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "berlin-summit", 1).await;
    let silent = json!({ "operation": "update_status", "kind": "latency_after", "delay": "4s" });
    gateway.simulators.break_down("securegate", silent).await;
    let answer = set_status(&gateway, &created, "accepted").await.expect(504);
    assert_eq!(answer.body["outcome"], "unknown");
    gateway.simulators.recover("securegate").await;
    let refreshed = call(&gateway, &created, "refresh", &Value::Null).await.expect(200).body;
    assert_eq!(text(&refreshed, "status"), "accepted");
    gateway.finish().await;
}

#[tokio::test]
async fn a_failed_invite_is_sent_again_by_hand() {
    let gateway = Gateway::start().await;
    for (number, (provider, kind)) in
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")]
            .into_iter()
            .enumerate()
    {
        let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400 });
        gateway.simulators.break_down(kind, refuse).await;
        let failed = invite(&gateway, provider, number).await;
        assert_eq!(text(&failed, "status"), "failed", "{failed}");
        assert!(failed["error"]["code"].is_string());
        gateway.simulators.recover(kind).await;
        call(&gateway, &failed, "retry", &json!({})).await.expect(200);
        let sent = gateway.client().read_once(&failed, &["pending"]).await;
        assert_eq!(sent["error"], Value::Null);
        assert_eq!(gateway.simulators.effects(kind).await.len(), 1, "{provider}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_retry_checks_the_duplicate_rule_again() {
    let gateway = Gateway::start().await;
    let refuse =
        json!({ "operation": "create", "kind": "status_before", "status": 400, "times": 1 });
    gateway.simulators.break_down("rkvst", refuse).await;
    let failed = invite(&gateway, "acme-tenancy", 1).await;
    assert_eq!(text(&failed, "status"), "failed");
    invite(&gateway, "acme-tenancy", 1).await;
    call(&gateway, &failed, "retry", &json!({})).await.problem(409, "duplicate");
    gateway.finish().await;
}

#[tokio::test]
async fn a_retry_keeps_the_quota() {
    let limits = "[providers.acme-tenancy.limits]\n";
    let few = format!("{limits}quota = 1\n");
    let gateway = Gateway::builder().replace(limits, &few).start().await;
    let refuse =
        json!({ "operation": "create", "kind": "status_before", "status": 400, "times": 1 });
    gateway.simulators.break_down("rkvst", refuse).await;
    let failed = invite(&gateway, "acme-tenancy", 1).await;
    let live = invite(&gateway, "acme-tenancy", 2).await;
    call(&gateway, &failed, "retry", &json!({})).await.problem(422, "quota-exceeded");
    gateway.client().delete(&path(&live)).await.expect(200);
    call(&gateway, &failed, "retry", &json!({})).await.expect(200);
    gateway.client().read_once(&failed, &["pending"]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn only_what_failed_is_retried() {
    let gateway = Gateway::start().await;
    let created = invite(&gateway, "acme-tenancy", 1).await;
    call(&gateway, &created, "retry", &json!({})).await.expect(409);
    call(&gateway, &created, "retry", &json!({ "force": true })).await.expect(422);
    gateway.finish().await;
}

#[tokio::test]
async fn a_person_may_settle_what_is_unknown() {
    let gateway = Gateway::builder().setting("delivery.settle", "1h").start().await;
    // It never takes effect, and nobody can tell.
    let cut = json!({ "operation": "create", "kind": "cut_before" });
    gateway.simulators.break_down("rkvst", cut).await;
    let mut unknown = Vec::new();
    for number in [1, 2, 3] {
        let request = gateway.client().request("POST", "/v1/invites");
        let request = request.json(&invites("acme-tenancy", [person(number)]));
        let answer = request.header("prefer", "respond-async").send().await.expect(202);
        unknown.push(gateway.client().read_once(&answer.invites()[0], &["unknown"]).await);
    }
    gateway.simulators.recover("rkvst").await;
    let absent = set_status(&gateway, &unknown[0], "failed").await.expect(200).body;
    assert_eq!(text(&absent, "status"), "failed");
    assert_eq!(text(&absent, "status_source"), "caller");
    let found = set_status(&gateway, &unknown[1], "pending").await.expect(200).body;
    assert_eq!(text(&found, "status"), "pending");
    let title = text(&unknown[2]["error"], "title");
    assert!(title.contains("is looked up at the provider"), "{title}");
    for refused in [
        gateway.client().delete(&path(&unknown[2])).await,
        set_status(&gateway, &unknown[2], "accepted").await,
        call(&gateway, &unknown[2], "retry", &json!({})).await,
    ] {
        let refused = refused.problem(409, "not-settled");
        for way in ["`pending`", "`failed`", "accept_duplicate_risk"] {
            assert!(text(&refused, "detail").contains(way), "{refused}");
        }
    }
    let risk = json!({ "accept_duplicate_risk": true });
    call(&gateway, &unknown[2], "retry", &risk).await.expect(200);
    gateway.client().read_once(&unknown[2], &["pending"]).await;
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 1);
    gateway.finish().await;
}
