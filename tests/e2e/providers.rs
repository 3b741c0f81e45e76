//! What the gateway says about its providers and about the kinds that it knows.

use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

#[tokio::test]
async fn every_configured_provider_is_shown_with_its_state() {
    let gateway = Gateway::start().await;
    let listed = gateway.client().get("/v1/providers").await.expect(200).list("providers");
    let mut names = texts(&listed, "name");
    names.sort_unstable();
    assert_eq!(names, ["acme-tenancy", "berlin-summit", "treasury"]);
    for provider in &listed {
        assert_eq!(text(provider, "state"), "ready", "{provider}");
        for member in ["capabilities", "limits", "counters"] {
            assert!(provider[member].is_object(), "{member}: {provider}");
        }
        assert_eq!((&provider["queued"], &provider["in_flight"]), (&json!(0), &json!(0)));
        let path = format!("/v1/providers/{}", text(provider, "name"));
        let one = gateway.client().get(&path).await.expect(200).body;
        assert_eq!(one["kind"], provider["kind"]);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn capabilities_say_what_the_documents_of_the_providers_say() {
    let gateway = Gateway::start().await;
    let listed = gateway.client().get("/v1/providers").await.expect(200).list("providers");
    let of = |kind: &str| {
        listed.iter().find(|p| text(p, "kind") == kind).unwrap()["capabilities"].clone()
    };
    let (securegate, rkvst, turnkey) = (of("securegate"), of("rkvst"), of("turnkey"));
    assert_eq!(securegate["create"]["native_batch"], true);
    assert_eq!(rkvst["create"]["native_batch"], false);
    assert_eq!(turnkey["create"]["idempotent"], true);
    assert_eq!(securegate["revoke"], false);
    assert_eq!(rkvst["revoke"], true);
    assert_eq!(turnkey["revoke"], true);
    assert_eq!(turnkey["approval"], true);
    let fields = securegate["create"]["required_fields"].to_string();
    assert!(fields.contains("phone"), "{fields}");
    assert!(!rkvst["create"]["fields"].to_string().contains("first_name"));
    gateway.finish().await;
}

#[tokio::test]
async fn every_kind_comes_with_schemas_of_its_configuration_and_options() {
    let gateway = Gateway::start().await;
    let answer = gateway.client().get("/v1/provider-kinds").await.expect(200);
    let kinds = answer.list("kinds");
    let mut names = texts(&kinds, "kind");
    names.sort_unstable();
    let mut known: Vec<_> = invite_kinds::all().iter().map(|kind| kind.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
    let securegate = kinds.iter().find(|kind| text(kind, "kind") == "securegate").unwrap();
    let schemas = securegate.to_string();
    assert!(schemas.contains("authentication_method") && schemas.contains("QR Code"), "{schemas}");
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_provider_itself_lists_is_shown_to_administrators() {
    let gateway = Gateway::start().await;
    for (number, provider) in ["acme-tenancy", "berlin-summit"].into_iter().enumerate() {
        let created = gateway.client().invite(&invites(provider, [person(number)])).await;
        let path = format!("/v1/providers/{provider}/invites");
        gateway.client().get(&path).await.expect(403);
        let admin = gateway.caller("admin", &[]).await;
        let listed = admin.get(&path).await.expect(200).invites();
        assert_eq!(texts(&listed, "email"), [text(&created[0], "email")], "{provider}");
        assert_eq!(listed[0]["provider_ref"], created[0]["provider_ref"]);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn refused_credentials_are_the_providers_fault_and_no_invite_fails() {
    let wrong = "api_key = \"sg-wrong-key-000000\"";
    let gateway =
        Gateway::builder().replace("api_key = \"{SECUREGATE_API_KEY}\"", wrong).start().await;
    let request = gateway.client().request("POST", "/v1/invites");
    let request = request.json(&invites("berlin-summit", [person(1)]));
    let answer = request.header("prefer", "wait=1").send().await.expect(202);
    // Now and then one create is tried; meanwhile the invite is not queued.
    let provider = eventually("the provider is misconfigured and the invite waits", async || {
        let read = gateway.client().get("/v1/providers/berlin-summit").await.expect(200).body;
        (text(&read, "state") == "misconfigured" && read["queued"] == 1).then_some(read)
    })
    .await;
    assert!(provider["state_reason"].is_string(), "{provider}");
    assert_ne!(provider["last_error"], Value::Null);
    gateway.client().read_once(&answer.invites()[0], &["queued"]).await;
    let other = gateway.client().invite(&invites("treasury", [person(2)])).await;
    assert_eq!(text(&other[0], "status"), "pending", "one provider never holds up another");
    // The log says once how the provider fares, and of each call what it was about.
    let log = gateway.log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    assert_eq!(lines("provider berlin-summit is misconfigured").len(), 1, "{log}");
    let waiting = format!("invite.id={}", answer.invites()[0]["id"]);
    let failed = lines("create at berlin-summit did not succeed");
    assert!(failed[0].contains(&waiting) && failed[0].contains("attempt.id=\"att_"), "{failed:?}");
    let batch = format!("batch.id={}", other[0]["batch_id"]);
    assert!(lines("created 1 invite at treasury")[0].contains(&batch), "{log}");
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_call_was_and_how_it_failed_is_told_to_administrators_only() {
    let gateway = Gateway::start().await;
    let refuse = json!({ "operation": "create", "kind": "rate_limited", "retry_after": "60s" });
    gateway.simulators.break_down("securegate", refuse).await;
    let request = gateway.client().request("POST", "/v1/invites");
    let request = request.json(&invites("berlin-summit", (1..22).map(person)));
    request.header("prefer", "respond-async").send().await.expect(202);
    let read = async |client: &Client| {
        let read = client.get("/v1/providers/berlin-summit").await.expect(200).body;
        (text(&read, "state") == "paused").then_some(read)
    };
    let admin = gateway.caller("admin", &[]).await;
    let all = eventually("the provider is paused", async || read(&admin).await).await;
    for message in [&all["state_reason"], &all["last_error"]["message"]] {
        assert!(message.as_str().unwrap().contains("creating invites at event event-456"), "{all}");
    }
    // The call may hold others' invites: what is told of it to all of them does not say how many.
    let listed = gateway.client().get("/v1/invites?limit=200").await.expect(200).invites();
    let of = async |invite: &Value| {
        let path = format!("/v1/invites/{}/attempts", text(invite, "id"));
        gateway.client().get(&path).await.expect(200).list("attempts")
    };
    let tried = eventually("the refused call among the attempts", async || {
        let mut tried = Vec::new();
        for invite in &listed {
            let ended = of(invite).await.into_iter().filter(|it| it["detail"].is_string());
            tried.extend(ended);
        }
        (tried.len() > 1).then_some(tried)
    })
    .await;
    for attempt in tried {
        let told = "creating invites at event event-456 at berlin-summit: HTTP 429";
        assert!(text(&attempt, "detail").starts_with(told), "{attempt}");
    }
    let others = gateway.caller("providers:read", &["--tenant", "other"]).await;
    let seen = read(&others).await.unwrap();
    assert_eq!(text(&seen, "state_reason"), "no calls are made for now");
    let error = &seen["last_error"];
    assert_eq!(text(error, "message"), "the provider asked to wait");
    for member in ["at", "operation", "outcome", "http_status"] {
        assert_eq!(error[member], all["last_error"][member], "{member}");
    }
    let listed = others.get("/v1/providers").await.expect(200).text;
    assert!(!listed.contains("event event-456"), "{listed}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_backlog_that_is_full_takes_no_more() {
    let limits = "[providers.acme-tenancy.limits]\n";
    let few = format!("{limits}max_backlog = 2\n");
    let gateway = Gateway::builder().replace(limits, &few).start().await;
    gateway.simulators.break_down("rkvst", json!({ "kind": "rate_limited" })).await;
    let mut accepted = 0;
    // Those that are being tried at the moment are not in the backlog.
    let full = loop {
        let request = gateway.client().request("POST", "/v1/invites");
        let request = request.json(&invites("acme-tenancy", [person(accepted)]));
        let answer = request.header("prefer", "respond-async").send().await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100, "the backlog has no end");
    };
    assert!(full.header("retry-after").is_some(), "{}", full.text);
    full.problem(503, "backlog-full");
    assert!(accepted >= 2);
    let stored = gateway.client().get("/v1/invites?limit=200").await.expect(200).invites();
    assert_eq!(stored.len(), accepted, "nothing of what was refused");
    gateway.finish().await;
}

#[tokio::test]
async fn a_quota_that_an_administrator_set_is_kept() {
    let limits = "[providers.acme-tenancy.limits]\n";
    let few = format!("{limits}quota = 2\n");
    let gateway = Gateway::builder().replace(limits, &few).start().await;
    gateway.client().invite(&invites("acme-tenancy", [person(1), person(2)])).await;
    let body = invites("acme-tenancy", [person(3)]);
    gateway.client().post("/v1/invites", &body).await.problem(422, "quota-exceeded");
    gateway.finish().await;
}
