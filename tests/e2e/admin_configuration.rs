//! The provider document through the API: reading, trying, putting in force.

use invite_tests::{Answer, Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

const PATH: &str = "/v1/admin/config";
const CHECK: &str = "/v1/admin/config/check";
/// Where the revisions are listed.
pub(crate) const REVISIONS: &str = "/v1/admin/config/revisions";

async fn send(admin: &Client, method: &str, path: &str, document: &str) -> Answer {
    let request = admin.request(method, path).bytes(document);
    request.header("content-type", "application/toml").send().await
}

/// Puts a document in force in place of another.
pub(crate) async fn put(admin: &Client, document: &str, basis: &str) -> Answer {
    let request = admin.request("PUT", PATH).bytes(document).header("if-match", basis);
    request.header("content-type", "application/toml").send().await
}

/// The live document and its entity tag.
pub(crate) async fn live(admin: &Client) -> (String, String) {
    let answer = admin.get(PATH).await.expect(200);
    let tag = answer.header("etag").unwrap().to_owned();
    (answer.text, tag)
}

/// Puts the live document in force with one text replaced; its revision.
pub(crate) async fn edit(admin: &Client, from: &str, to: &str) -> i64 {
    let (document, tag) = live(admin).await;
    assert!(document.contains(from), "{document}");
    let answer = put(admin, &document.replacen(from, to, 1), &tag).await.expect(200);
    answer.body["revision"].as_i64().unwrap()
}

/// The newest revisions.
pub(crate) async fn revisions(admin: &Client) -> Vec<Value> {
    admin.get(REVISIONS).await.expect(200).list("revisions")
}

#[tokio::test]
async fn the_live_document_is_answered_byte_for_byte_with_its_revision() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let answer = admin.get(PATH).await.expect(200);
    let file = std::fs::read_to_string(gateway.binary.path("providers.toml")).unwrap();
    assert_eq!(answer.text, file);
    assert_eq!(answer.header("content-type"), Some("application/toml"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    for (known, status) in [("\"1\"", 304), ("W/\"1\"", 304), ("\"2\"", 200), ("1", 400)] {
        let request = admin.request("GET", PATH).header("if-none-match", known);
        let answer = request.send().await.expect(status);
        assert!(status != 304 || answer.text.is_empty(), "{known}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_candidate_is_tried_with_everything_that_is_wrong_and_nothing_changes() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, tag) = live(&admin).await;

    let misspelt = document.replacen("event_id", "evnt_id", 1);
    let review = send(&admin, "POST", CHECK, &misspelt).await.expect(200).body;
    assert_eq!(review["passes"], false);
    let finding = review["findings"].as_array().unwrap().iter();
    let finding = finding.clone().find(|found| text(found, "code") == "unknown-member").unwrap();
    assert_eq!(text(finding, "severity"), "error");
    assert_eq!(text(finding, "pointer"), "/providers/berlin-summit/evnt_id");
    assert_eq!(text(finding, "suggestion"), "event_id");
    let line = document.lines().position(|line| line.starts_with("event_id")).unwrap() + 1;
    assert_eq!((&finding["line"], &finding["column"]), (&json!(line), &json!(1)));
    assert!(text(&review, "diff").contains("-event_id"), "{review}");

    let broken = send(&admin, "POST", CHECK, "[providers").await.expect(200).body;
    assert_eq!(
        (&broken["passes"], &broken["findings"][0]["code"]),
        (&false.into(), &"syntax".into())
    );

    let other = document.replacen("event-456", "event-789", 1);
    let review = send(&admin, "POST", CHECK, &other).await.expect(200).body;
    assert_eq!((&review["passes"], &review["changed"]), (&true.into(), &json!(["berlin-summit"])));
    let same = send(&admin, "POST", CHECK, &document).await.expect(200).body;
    assert_eq!((text(&same, "diff"), &same["changed"]), ("", &json!([])));

    assert_eq!(live(&admin).await, (document, tag));
    assert_eq!(revisions(&admin).await.len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn a_candidate_can_be_tried_against_its_providers() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, _) = live(&admin).await;
    let key = document.lines().find(|line| line.starts_with("api_key")).unwrap();
    let wrong = document.replacen(key, "api_key = \"sg-wrong-key-000000\"", 1);
    let review = send(&admin, "POST", CHECK, &wrong).await.expect(200).body;
    assert_eq!(review["passes"], true, "{review}");
    let probed = format!("{CHECK}?probe=true");
    let review = send(&admin, "POST", &probed, &wrong).await.expect(200).body;
    assert_eq!(review["passes"], true, "a credential may be good later: {review}");
    let found = &review["findings"].as_array().unwrap()[0];
    assert_eq!(text(found, "pointer"), "/providers/berlin-summit", "{review}");
    assert_eq!((text(found, "severity"), text(found, "code")), ("warning", "credential-refused"));
    let right = document.replacen("event-456\"", "event-456\"\nnotify = 2", 1);
    let review = send(&admin, "POST", &probed, &right).await.expect(200).body;
    assert_eq!(review["passes"], true, "{review}");
    assert_eq!(review["changed"], json!(["berlin-summit"]));
    gateway.finish().await;
}

#[tokio::test]
async fn a_document_is_put_in_force_by_who_knows_what_it_replaces() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, tag) = live(&admin).await;
    let next = document.replacen("event-456", "event-789", 1);

    send(&admin, "PUT", PATH, &next).await.problem(428, "precondition-required");
    put(&admin, &next, "7").await.problem(400, "malformed-header");
    for other in ["\"0\"", "\"9\"", "W/\"1\"", "\"x\""] {
        let problem = put(&admin, &next, other).await.problem(412, "precondition-failed");
        assert!(text(&problem, "detail").contains("revision 1,"), "{problem}");
        let is_weak = other.starts_with("W/");
        assert_eq!(text(&problem, "detail").contains("without W/"), is_weak, "{problem}");
    }
    let long = format!("{PATH}?note={}", "x".repeat(257));
    let request = admin.request("PUT", &long).bytes(next.clone()).header("if-match", &tag);
    let answer = request.header("content-type", "application/toml").send().await;
    assert_eq!(answer.pointers(), ["?note"]);
    assert_eq!(live(&admin).await, (document.clone(), tag.clone()));

    let noted = format!("{PATH}?note=the%20next%20event");
    let request = admin.request("PUT", &noted).bytes(next.clone()).header("if-match", &tag);
    let answer = request.header("content-type", "application/toml").send().await.expect(200);
    assert_eq!((answer.header("etag"), &answer.body["revision"]), (Some("\"2\""), &json!(2)));
    assert!(text(&answer.body, "diff").contains("+event_id = \"event-789\""));
    assert_eq!(live(&admin).await, (next.clone(), "\"2\"".to_owned()));
    let newest = revisions(&admin).await.remove(0);
    assert_eq!((text(&newest, "source"), text(&newest, "note")), ("api", "the next event"));
    assert!(text(&newest, "actor").contains("key_"), "{newest}");
    assert!(text(&newest, "diff").contains("-event_id = \"event-456\"\n+event_id"), "{newest}");

    let same = put(&admin, &next, "\"2\"").await.expect(200);
    assert_eq!((same.header("etag"), text(&same.body, "diff")), (Some("\"2\""), ""));
    assert_eq!(revisions(&admin).await.len(), 2);
    let back = put(&admin, &document, "*").await.expect(200);
    assert_eq!(back.body["revision"], 3);
    gateway.finish().await;
}

#[tokio::test]
async fn only_a_document_in_utf_8_of_limited_length_is_taken() {
    let gateway = Gateway::builder().setting("server.max_body_bytes", "4000").start().await;
    let admin = gateway.caller("admin", &[]).await;
    for (method, path) in [("POST", CHECK), ("PUT", PATH)] {
        let send = async |kind: &str, body: Vec<u8>| {
            let request = admin.request(method, path).bytes(body).header("if-match", "*");
            request.header("content-type", kind).send().await
        };
        send("application/json", b"{}".to_vec()).await.problem(415, "unsupported-media-type");
        send("application/toml", vec![b'#'; 4001]).await.problem(413, "too-large");
        send("application/toml", b"a = \"\xff\"".to_vec()).await.problem(400, "not-utf-8");
    }
    assert_eq!(revisions(&admin).await.len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn a_broken_document_is_refused_with_every_error_and_shown_as_refused() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, tag) = live(&admin).await;
    let broken = document.replacen("event_id", "evnt_id", 1).replacen("kind = \"rkvst\"", "", 1);
    let answer = put(&admin, &broken, &tag).await.expect(422);
    assert_eq!(answer.body["code"], "configuration-refused");
    assert!(answer.pointers().contains(&"#/providers/berlin-summit/evnt_id"), "{}", answer.text);
    assert!(answer.pointers().contains(&"#/providers/acme-tenancy/kind"), "{}", answer.text);
    let errors = answer.list("errors");
    assert!(errors.iter().all(|error| error["line"].is_u64() && error["column"].is_u64()));
    assert_eq!(live(&admin).await, (document, tag));

    let status = gateway.client().get("/v1/providers").await.expect(200).body;
    let status = &status["configuration"];
    assert_eq!((&status["live"], text(&status["last_refusal"], "source")), (&json!(1), "api"));
    let findings = status["last_refusal"]["findings"].as_array().unwrap();
    assert!(texts(findings, "code").contains(&"unknown-member"), "{status}");
    let listed = admin.get(REVISIONS).await.expect(200).body;
    assert_eq!(listed["last_refusal"], status["last_refusal"]);
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn of_two_who_change_the_same_document_one_is_told_that_the_other_was_first() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    for round in 0..5 {
        let (document, tag) = live(&admin).await;
        let [one, other] = ["one", "other"].map(|who| format!("{document}\n# {who} {round}\n"));
        let (one, other) = tokio::join!(put(&admin, &one, &tag), put(&admin, &other, &tag));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{} {}", one.text, other.text);
        let winner = if one.status == 200 { &one } else { &other };
        let (document, tag) = live(&admin).await;
        assert_eq!(winner.header("etag"), Some(tag.as_str()));
        let said = if one.status == 200 { "one" } else { "other" };
        assert!(document.ends_with(&format!("# {said} {round}\n")), "{document}");
    }
    assert_eq!(revisions(&admin).await.len(), 6);
    gateway.finish().await;
}

/// Securegate's key in a document.
pub(crate) fn secret_of(document: &str) -> String {
    let line = document.lines().find(|line| line.starts_with("api_key")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_provider_with_work_is_not_removed_and_is_drained_first() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway.simulators.break_down("rkvst", json!({ "kind": "rate_limited" })).await;
    let body = invites("acme-tenancy", [person(1), person(2)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let waiting = request.header("prefer", "respond-async").send().await.expect(202).invites();

    let (document, tag) = live(&admin).await;
    let without = without_provider(&document, "acme-tenancy");
    let refused = put(&admin, &without, &tag).await.expect(422);
    assert!(refused.text.contains("while 2 of its invites are not finished"), "{}", refused.text);
    assert_eq!(live(&admin).await, (document, tag));

    let draining = "[providers.acme-tenancy]\nenabled = false";
    edit(&admin, "[providers.acme-tenancy]", draining).await;
    let body = invites("acme-tenancy", [person(3)]);
    gateway.client().post("/v1/invites", &body).await.problem(422, "provider-disabled");
    gateway.simulators.recover("rkvst").await;
    for invite in &waiting {
        gateway.client().read_once(invite, &["pending"]).await;
    }
    let (_, tag) = live(&admin).await;
    put(&admin, &without, &tag).await.expect(200);
    gateway.client().get("/v1/providers/acme-tenancy").await.problem(404, "not-found");
    gateway.finish().await;
}

/// The document without one provider, its limits, and its place in routes.
fn without_provider(document: &str, name: &str) -> String {
    let parts = document.split("\n\n");
    let kept: Vec<&str> =
        parts.filter(|part| !part.starts_with(&format!("[providers.{name}"))).collect();
    kept.join("\n\n").replace(&format!("\"{name}\", "), "")
}

#[tokio::test]
async fn traffic_moves_with_the_document_and_every_call_carries_its_revision() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let everybody = |number| json!({ "invites": [person(number)] });
    let mut sent = Vec::new();
    for (number, to) in ["berlin-summit", "acme-tenancy", "treasury"].into_iter().enumerate() {
        let revision = match number {
            0 => 1,
            _ => {
                let (document, _) = live(&admin).await;
                let route = document.lines().last().unwrap();
                edit(&admin, route, &format!("to = [\"{to}\"]")).await
            }
        };
        let answer = gateway.client().post("/v1/invites", &everybody(number)).await.expect(201);
        assert_eq!(answer.body["batch"]["config_revision"], revision);
        let invite = answer.invites().remove(0);
        assert_eq!(text(&invite, "provider"), to);
        sent.push((invite, revision));
    }
    for (invite, revision) in sent {
        let path = format!("/v1/invites/{}/attempts", text(&invite, "id"));
        let attempts = gateway.client().get(&path).await.expect(200).list("attempts");
        assert!(!attempts.is_empty());
        assert!(
            attempts.iter().all(|attempt| attempt["config_revision"] == revision),
            "revision {revision}: {attempts:?}"
        );
    }
    let shown = gateway.client().get("/v1/providers/treasury").await.expect(200).body;
    assert_eq!(shown["config_revision"], 3);
    eventually("the replica reports what it serves", async || {
        let shown = gateway.client().get("/v1/providers/treasury").await.expect(200).body;
        let replicas = shown["replicas"].as_array().unwrap().clone();
        (replicas.len() == 1 && replicas[0]["config_revision"] == 3).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_secret_reference_leads_to_is_never_shown() {
    let gateway = Gateway::builder().setting("secrets.directories", ".").start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, tag) = live(&admin).await;
    let secret = secret_of(&document);
    gateway.binary.write("securegate.key", &secret);
    let line = document.lines().find(|line| line.starts_with("api_key")).unwrap();
    let next = document.replacen(line, "api_key = { file = \"securegate.key\" }", 1);
    let shown = [
        send(&admin, "POST", &format!("{CHECK}?probe=true"), &next).await.expect(200),
        put(&admin, &next, &tag).await.expect(200),
    ];
    // The document before holds the secret itself, as one on loopback may: so does a diff to it.
    for answer in &shown {
        let added = answer.body["diff"].as_str().unwrap().lines();
        assert!(!added.filter(|line| line.starts_with('+')).any(|line| line.contains(&secret)));
    }
    edit(&admin, "event-456", "event-457").await;
    let broken = next.replacen("securegate.key", "missing.key", 1);
    put(&admin, &broken, "*").await.expect(422);
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    for path in [
        PATH,
        "/v1/admin/config/revisions/3",
        "/v1/admin/audit",
        "/v1/providers",
        "/v1/providers/berlin-summit",
    ] {
        let answer = admin.get(path).await.expect(200);
        assert!(!answer.text.contains(&secret), "{path}: {}", answer.text);
    }
    gateway.finish().await;
}
