//! How invites reach their providers: few calls for many callers, one effect each.

use futures::future::join_all;
use invite_tests::{Gateway, invites, person};
use serde_json::{Value, json};

use crate::text;

#[tokio::test]
async fn many_callers_at_once_share_few_turnkey_activities() {
    let gateway = Gateway::start().await;
    let bodies: Vec<Value> = (0..64).map(|at| invites("treasury", [person(at)])).collect();
    let found = join_all(bodies.iter().map(|body| gateway.client().invite(body))).await;
    for (body, own) in bodies.iter().zip(&found) {
        assert_eq!(own.len(), 1);
        assert_eq!(own[0]["email"], body["invites"][0]["email"], "each gets its own result");
        assert_eq!(text(&own[0], "status"), "pending");
    }
    let effects = gateway.simulators.effects("turnkey").await;
    assert_eq!(effects.len(), 64);
    for own in found.iter().flatten() {
        let effect = effects.iter().find(|effect| effect["id"] == own["provider_ref"]).unwrap();
        assert_eq!(effect["email"], own["email"]);
    }
    let activities = gateway.simulators.request_count("turnkey", "create").await;
    assert!(activities <= 8, "{activities} activities for 64 callers");
    gateway.finish().await;
}

#[tokio::test]
async fn a_hundred_invites_are_one_call_where_the_provider_takes_lists() {
    let gateway = Gateway::start().await;
    for (provider, kind) in [("berlin-summit", "securegate"), ("treasury", "turnkey")] {
        let found = gateway.client().invite(&invites(provider, (0..100).map(person))).await;
        assert!(found.iter().all(|invite| text(invite, "status") == "pending"));
        assert_eq!(gateway.simulators.effects(kind).await.len(), 100);
        let calls = gateway.simulators.request_count(kind, "create").await;
        assert!(calls <= 2, "{kind}: {calls} calls");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn one_bad_invite_of_a_call_does_not_fail_the_others() {
    let gateway = Gateway::start().await;
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
                         "match_email": "guest3@" });
    gateway.simulators.break_down("turnkey", refuse).await;
    let body = invites("treasury", (0..8).map(person));
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let answer = request.header("prefer", "wait=30").send().await.expect(201);
    for invite in answer.invites() {
        let bad = text(&invite, "email") == "guest3@example.org";
        assert_eq!(text(&invite, "status"), if bad { "failed" } else { "pending" }, "{invite}");
    }
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 7);
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_one_effect() {
    let gateway = Gateway::start().await;
    let places =
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];
    for (number, (provider, kind)) in places.into_iter().enumerate() {
        for (offset, fault) in
            ["cut_after", "cut_mid_body", "garbage_after"].into_iter().enumerate()
        {
            let lost = json!({ "operation": "create", "kind": fault, "times": 1 });
            gateway.simulators.break_down(kind, lost).await;
            let guest = person(10 * number + offset);
            let request = gateway.client().request("POST", "/v1/invites");
            let request = request.json(&invites(provider, [guest]));
            let answer = request.header("prefer", "respond-async").send().await.expect(202);
            let invite = gateway.client().read_once(&answer.invites()[0], &["pending"]).await;
            assert_eq!(invite["duplicate_effect"], false, "{provider} {fault}");
            gateway.simulators.recover(kind).await;
        }
        let mut invited = gateway.simulators.invited(kind).await;
        invited.dedup();
        assert_eq!(invited.len(), 3, "{provider}: {invited:?}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_call_that_never_arrived_is_made_again() {
    let gateway = Gateway::start().await;
    let places =
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];
    for (number, (provider, kind)) in places.into_iter().enumerate() {
        let lost = json!({ "operation": "create", "kind": "cut_before", "times": 1 });
        gateway.simulators.break_down(kind, lost).await;
        let request = gateway.client().request("POST", "/v1/invites");
        let request = request.json(&invites(provider, [person(number)]));
        let answer = request.header("prefer", "respond-async").send().await.expect(202);
        gateway.client().read_once(&answer.invites()[0], &["pending"]).await;
        assert_eq!(gateway.simulators.effects(kind).await.len(), 1, "{provider}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_activity_that_takes_its_time_is_followed() {
    let gateway = Gateway::start().await;
    let slow = json!({ "activity_mode": "pending", "pending_looks": 2 });
    gateway.simulators.set("turnkey", slow).await;
    let body = invites("treasury", [person(1), person(2)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let answer = request.header("prefer", "respond-async").send().await.expect(202);
    for invite in answer.invites() {
        gateway.client().read_once(&invite, &["pending"]).await;
    }
    assert_eq!(gateway.simulators.request_count("turnkey", "create").await, 1);
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn a_503_that_asks_to_wait_gets_its_time_from_look_ups_too() {
    let gateway = Gateway::start().await;
    let places =
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];
    for (number, (provider, kind)) in places.into_iter().enumerate() {
        let busy = json!({ "operation": "create", "kind": "status_after", "status": 503,
                           "retry_after": 2, "times": 1 });
        gateway.simulators.break_down(kind, busy).await;
        let began = std::time::Instant::now();
        let invite = gateway.client().invite(&invites(provider, [person(number)])).await;
        assert_eq!(text(&invite[0], "status"), "pending");
        assert!(began.elapsed().as_secs() >= 2, "{provider}: {:?}", began.elapsed());
        assert_eq!(gateway.simulators.effects(kind).await.len(), 1, "{provider}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn how_far_a_providers_clock_is_off_is_shown() {
    let gateway = Gateway::start().await;
    gateway.simulators.set("securegate", json!({ "clock_offset_ms": 600_000 })).await;
    let admin = gateway.caller("admin", &[]).await;
    let probe = admin.request("POST", "/v1/admin/providers/berlin-summit/probe");
    let told = probe.send().await.expect(200).body["clock_difference_seconds"].as_f64().unwrap();
    assert!((570.0..=601.0).contains(&told), "{told}");
    let read = async |name: &str| {
        let path = format!("/v1/providers/{name}");
        gateway.client().get(&path).await.expect(200).body["clock_difference_seconds"].clone()
    };
    assert_eq!(read("berlin-summit").await, told);
    assert!(read("treasury").await.is_null());
    let invite = gateway.client().invite(&invites("treasury", [person(1)])).await;
    assert_eq!(text(&invite[0], "status"), "pending");
    assert_eq!(read("treasury").await, 0.0);
    gateway.finish().await;
}

#[tokio::test]
async fn a_provider_that_asks_to_wait_gets_its_time() {
    let gateway = Gateway::start().await;
    let places =
        [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];
    for (number, (provider, kind)) in places.into_iter().enumerate() {
        let busy = json!({ "operation": "create", "kind": "rate_limited", "retry_after": 1,
                           "times": 1 });
        gateway.simulators.break_down(kind, busy).await;
        let invite = gateway.client().invite(&invites(provider, [person(number)])).await;
        assert_eq!(text(&invite[0], "status"), "pending");
        assert_eq!(gateway.simulators.request_count(kind, "create").await, 2, "{provider}");
        assert_eq!(gateway.simulators.effects(kind).await.len(), 1, "{provider}");
    }
    gateway.finish().await;
}
