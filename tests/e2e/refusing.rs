//! `POST /v1/invites` with what is not valid: what is refused, and how it is told.

use invite_tests::{Gateway, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

/// A person with one member changed.
fn with(member: &str, value: Value) -> Value {
    let mut person = person(1);
    person[member] = value;
    person
}

fn without(member: &str) -> Value {
    let mut person = person(1);
    person.as_object_mut().unwrap().remove(member);
    person
}

fn labels(count: usize) -> Value {
    (0..count).map(|at| (format!("label-{at}"), json!("x"))).collect()
}

/// An address of this many characters.
fn address(length: usize) -> String {
    let label = "d".repeat(60);
    let domain = format!("{label}.{label}.{label}.example.org");
    match length.checked_sub(domain.len() + 1) {
        Some(local @ 1..=64) => format!("{}@{domain}", "a".repeat(local)),
        _ => format!("{}@{}.example.org", "a".repeat(64), "d".repeat(length - 77)),
    }
}

#[tokio::test]
async fn every_limit_is_told_at_its_place() {
    let gateway = Gateway::start().await;
    let long = |length: usize| json!("y".repeat(length));
    for (invite, pointer) in [
        (without("email"), "#/invites/0/email"),
        (with("email", json!("nobody.example.org")), "#/invites/0/email"),
        (with("email", json!("two@at@example.org")), "#/invites/0/email"),
        (with("email", json!(address(255))), "#/invites/0/email"),
        (with("email", json!(17)), "#/invites/0/email"),
        (with("first_name", long(201)), "#/invites/0/first_name"),
        (with("last_name", long(201)), "#/invites/0/last_name"),
        (with("last_name", json!(["x"])), "#/invites/0/last_name"),
        (with("external_id", long(256)), "#/invites/0/external_id"),
        (with("message", long(257)), "#/invites/0/message"),
        (with("labels", labels(17)), "#/invites/0/labels"),
        (with("labels", json!([])), "#/invites/0/labels"),
        (with("labels", json!({ "k".repeat(65): "x" })), "#/invites/0/labels"),
        (with("labels", json!({ "a:b": "x" })), "#/invites/0/labels"),
        (with("labels", json!({ "a": "v".repeat(257) })), "#/invites/0/labels"),
        (with("labels", json!({ "a": 1 })), "#/invites/0/labels"),
        (with("phone", json!("15551234567")), "#/invites/0/phone"),
        (with("phone", json!("+05551234567")), "#/invites/0/phone"),
        (with("phone", json!("+1555123")), "#/invites/0/phone"),
        (with("phone", json!("+1555123456789012")), "#/invites/0/phone"),
        (with("phone", json!("+1 555 1234567")), "#/invites/0/phone"),
        (with("nickname", json!("Taz")), "#/invites/0/nickname"),
        (with("options", json!("x")), "#/invites/0/options"),
        (with("options", json!({ "pigeon": {} })), "#/invites/0/options/pigeon"),
        (with("options", json!({ "turnkey": {} })), "#/invites/0/options/turnkey"),
        (with("options", json!({ "securegate": { "a": 1 } })), "#/invites/0/options/securegate/a"),
        (with("to", json!(5)), "#/invites/0/to"),
        (with("to", json!("nowhere")), "#/invites/0/to"),
        (with("to", json!(["treasury", "nowhere"])), "#/invites/0/to"),
        (with("to", json!([])), "#/invites/0/to"),
        (json!("guest1@example.org"), "#/invites/0"),
    ] {
        let body = invites("berlin-summit", [invite]);
        let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
        let told = answer.pointers().iter().any(|found| found.starts_with(pointer));
        assert!(told, "{pointer} is not told: {}", answer.text);
    }
    let none = gateway.client().get("/v1/invites").await.expect(200).invites();
    assert!(none.is_empty(), "{none:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken() {
    let gateway = Gateway::start().await;
    let long = |length: usize| json!("z".repeat(length));
    for invite in [
        with("email", json!(address(254))),
        with("first_name", long(200)),
        with("external_id", long(255)),
        with("message", long(256)),
        with("labels", labels(16)),
        with("labels", json!({ "k".repeat(64): "v".repeat(256) })),
        with("phone", json!("+61131450")),
        with("phone", json!("+911800123456789")),
    ] {
        let body = invites("berlin-summit", [invite]);
        gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
    }
    let short = json!(address(128));
    let body = invites("acme-tenancy", [with("email", short)]);
    gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
    let body = invites("acme-tenancy", [with("email", json!(address(129)))]);
    let answer = gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(422);
    assert_eq!(answer.pointers(), ["#/invites/0/email"]);
    gateway.finish().await;
}

#[tokio::test]
async fn lengths_are_counted_in_characters() {
    let gateway = Gateway::start().await;
    let body = invites("berlin-summit", [with("first_name", json!("ž".repeat(200)))]);
    gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_provider_needs_and_misses_is_named_with_the_provider() {
    let gateway = Gateway::start().await;
    let email_only = || json!({ "email": "guest1@example.org" });
    let body = invites("berlin-summit", [email_only()]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
    assert!(answer.pointers().contains(&"#/invites/0/phone"), "{}", answer.text);
    assert!(answer.pointers().contains(&"#/invites/0/first_name"), "{}", answer.text);
    let details = answer.list("errors");
    assert!(
        texts(&details, "detail").iter().all(|detail| {
            let detail = detail.to_lowercase();
            detail.contains("securegate") || detail.contains("berlin-summit")
        }),
        "{details:?}"
    );
    let body = invites("treasury", [email_only()]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
    assert_eq!(answer.pointers(), ["#/invites/0/first_name"]);
    gateway.client().invite(&invites("acme-tenancy", [email_only()])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn all_faults_are_told_with_the_callers_own_indices_and_nothing_is_accepted() {
    let gateway = Gateway::start().await;
    let mut third = person(3);
    third["phone"] = json!("12");
    third["first_name"] = json!("n".repeat(201));
    let mut fifth = person(5);
    fifth["email"] = json!("nobody.example.org");
    let body = invites("berlin-summit", [person(1), person(2), third, person(4), fifth]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
    let expected = ["#/invites/2/first_name", "#/invites/2/phone", "#/invites/4/email"];
    assert_eq!(answer.pointers(), expected);
    assert_eq!(text(&answer.body, "origin"), "caller");
    assert_eq!(text(&answer.body, "outcome"), "rejected");
    assert_eq!(gateway.simulators.request_count("securegate", "create").await, 0);
    gateway.finish().await;
}

#[tokio::test]
async fn faults_of_the_request_itself_are_told() {
    let gateway = Gateway::builder().setting("server.max_invites_per_request", "3").start().await;
    let crowd = (0..4).map(person).collect::<Vec<_>>();
    for (body, pointer) in [
        (json!({ "to": "treasury", "invites": crowd }), "#/invites"),
        (json!({ "to": "treasury", "invites": [] }), "#/invites"),
        (json!({ "to": "treasury" }), "#/invites"),
        (json!({ "to": "treasury", "invites": {} }), "#/invites"),
        (json!({ "to": "treasury", "invites": [person(1)], "on_duplicate": "twice" }), "#/on_d"),
        (json!({ "to": "treasury", "invites": [person(1)], "on_duplicates": "send" }), "#/on_d"),
        (json!({ "to": "nowhere", "invites": [person(1)] }), "#/"),
        (json!({ "to": {}, "invites": [person(1)] }), "#/to"),
    ] {
        let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
        let told = answer.pointers().iter().any(|found| found.starts_with(pointer));
        assert!(told, "{pointer} is not told: {}", answer.text);
    }
    gateway.client().post("/v1/invites", &json!([])).await.expect(422);
    gateway
        .client()
        .post("/v1/invites?dry_rum=true", &invites("treasury", [person(1)]))
        .await
        .expect(422);
    gateway.finish().await;
}

#[tokio::test]
async fn a_thousand_invites_are_the_most_that_a_request_may_hold() {
    let gateway = Gateway::start().await;
    let path = "/v1/invites?dry_run=true";
    let body = invites("treasury", (0..1000).map(person));
    gateway.client().post(path, &body).await.expect(200);
    let body = invites("treasury", (0..1001).map(person));
    gateway.client().post(path, &body).await.expect(422);
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_that_no_route_takes_is_refused() {
    let rest = "[[routes]]\nto = [\"berlin-summit\"]\n";
    let gateway = Gateway::builder().replace(rest, "").start().await;
    let body = json!({ "invites": [person(1)] });
    gateway.client().post("/v1/invites", &body).await.problem(422, "no-route");
    gateway.finish().await;
}

#[tokio::test]
async fn a_disabled_provider_takes_no_new_invites() {
    let kind = "[providers.berlin-summit]\nkind = \"securegate\"\n";
    let gateway =
        Gateway::builder().replace(kind, &format!("{kind}enabled = false\n")).start().await;
    let body = invites("berlin-summit", [person(1)]);
    gateway.client().post("/v1/invites", &body).await.problem(422, "provider-disabled");
    let read = gateway.client().get("/v1/providers/berlin-summit").await.expect(200);
    assert_eq!(text(&read.body, "state"), "disabled");
    gateway.finish().await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_malformed() {
    let gateway = Gateway::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [&b""[..], b"{", b"{\"invites\": [}", b"\"\xff\"", b"{} {}", deep.as_bytes()] {
        let request = gateway.client().request("POST", "/v1/invites").bytes(body);
        let answer = request.header("content-type", "application/json").send().await;
        answer.expect(400);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_body_of_another_media_type_is_not_read() {
    let gateway = Gateway::start().await;
    let body = invites("treasury", [person(1)]).to_string();
    let post = || gateway.client().request("POST", "/v1/invites").bytes(body.as_bytes());
    post().send().await.expect(415);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/toml"] {
        post().header("content-type", kind).send().await.expect(415);
    }
    post().header("content-type", "application/json; charset=utf-8").send().await.expect(201);
    gateway.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let gateway = Gateway::builder().setting("server.max_body_bytes", "2000").start().await;
    let crowd = invites("treasury", (0..40).map(person));
    gateway.client().post("/v1/invites", &crowd).await.expect(413);
    gateway.client().post("/v1/invites", &invites("treasury", [person(1)])).await.expect(201);
    gateway.finish().await;
}

#[tokio::test]
async fn lenient_handling_accepts_the_valid_and_reports_the_others() {
    let gateway = Gateway::start().await;
    let mut wrong = person(2);
    wrong["phone"] = json!("12");
    let body = invites("berlin-summit", [person(1), wrong, person(3)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let answer = request.header("prefer", "handling=lenient").send().await.expect(201);
    let applied = answer.header("preference-applied").unwrap_or_default();
    assert!(applied.contains("handling=lenient"), "{applied}");
    let found = answer.invites();
    assert_eq!(texts(&found, "status"), ["pending", "failed", "pending"]);
    assert_eq!(found[1]["error"]["errors"][0]["pointer"], "#/invites/1/phone");
    assert_eq!(text(&answer.body["batch"], "state"), "completed_with_failures");
    assert_eq!(answer.body["batch"]["counts"]["failed"], 1);
    assert_eq!(gateway.simulators.effects("securegate").await.len(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn lenient_handling_can_report_every_invite() {
    let gateway = Gateway::start().await;
    let body = invites("treasury", [json!({ "email": 3 }), json!(null)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let answer = request.header("prefer", "handling=lenient").send().await.expect(201);
    assert_eq!(texts(&answer.invites(), "status"), ["failed", "failed"]);
    gateway.finish().await;
}
