//! `POST /v1/invites` with what is valid: where invites go, and what becomes of them.

use invite_tests::{Gateway, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

const PLACES: [(&str, &str); 3] =
    [("berlin-summit", "securegate"), ("acme-tenancy", "rkvst"), ("treasury", "turnkey")];

#[tokio::test]
async fn an_invite_to_any_provider_exists_there_once() {
    let gateway = Gateway::start().await;
    for (at, (provider, kind)) in PLACES.into_iter().enumerate() {
        let body = invites(provider, [person(at)]);
        let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
        let invite = answer.invites().remove(0);
        assert_eq!(text(&invite, "provider"), provider);
        assert_eq!(text(&invite, "provider_kind"), kind);
        assert_eq!(text(&invite, "status"), "pending", "{invite}");
        assert_eq!(invite["email"], body["invites"][0]["email"]);
        assert_eq!(invite["attempt_count"], 1);
        assert_eq!(invite["error"], Value::Null);
        let effects = gateway.simulators.effects(kind).await;
        assert_eq!(effects.len(), 1);
        assert_eq!(effects[0]["id"], invite["provider_ref"]);
        assert_eq!(effects[0]["email"], invite["email"]);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn the_answer_names_the_batch_and_where_to_find_it() {
    let gateway = Gateway::start().await;
    let body = invites("treasury", [person(1), person(2)]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
    let batch = &answer.body["batch"];
    assert_eq!(text(batch, "state"), "completed");
    assert_eq!(batch["counts"], json!({ "total": 2, "duplicates": 0, "pending": 2 }));
    assert!(batch["config_revision"].as_i64().unwrap() >= 1);
    let id = text(batch, "id");
    assert!(id.starts_with("bat_"), "{id}");
    assert_eq!(answer.header("location"), Some(format!("/v1/batches/{id}").as_str()));
    let found = gateway.client().get(&format!("/v1/batches/{id}")).await.expect(200);
    assert_eq!(text(&found.body, "state"), "completed");
    assert_eq!(found.body["counts"], batch["counts"]);
    gateway.finish().await;
}

#[tokio::test]
async fn invites_come_back_in_the_order_of_the_request() {
    let gateway = Gateway::start().await;
    let places = ["treasury", "acme-tenancy", "berlin-summit", "treasury", "acme-tenancy"];
    let people = places.iter().enumerate().map(|(at, place)| {
        let mut person = person(at);
        person["to"] = json!(place);
        person
    });
    let found = gateway.client().invite(&json!({ "invites": people.collect::<Vec<_>>() })).await;
    assert_eq!(texts(&found, "provider"), places);
    for (at, invite) in found.iter().enumerate() {
        assert_eq!(invite["index"], at);
        assert_eq!(invite["email"], person(at)["email"]);
        assert!(text(invite, "id").starts_with("inv_"));
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_to_several_places_becomes_one_for_each_provider_once() {
    let gateway = Gateway::start().await;
    let to = json!(["berlin-summit", "new-employee", "treasury", "berlin-summit"]);
    let body = json!({ "to": to, "invites": [person(1), person(2)] });
    let found = gateway.client().invite(&body).await;
    for index in [0, 1] {
        let own: Vec<Value> =
            found.iter().filter(|invite| invite["index"] == index).cloned().collect();
        let mut providers = texts(&own, "provider");
        providers.sort_unstable();
        assert_eq!(providers, ["acme-tenancy", "berlin-summit", "treasury"]);
    }
    for (_, kind) in PLACES {
        assert_eq!(gateway.simulators.effects(kind).await.len(), 2, "{kind}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_one_invite_says_about_its_place_wins_over_the_request() {
    let gateway = Gateway::start().await;
    let mut second = person(2);
    second["to"] = json!("acme-tenancy");
    let found = gateway.client().invite(&invites("treasury", [person(1), second])).await;
    assert_eq!(texts(&found, "provider"), ["treasury", "acme-tenancy"]);
    gateway.finish().await;
}

#[tokio::test]
async fn without_a_place_the_routing_rules_decide() {
    let gateway = Gateway::start().await;
    let mut employee = person(2);
    employee["labels"] = json!({ "purpose": "employee" });
    let found = gateway.client().invite(&json!({ "invites": [person(1), employee] })).await;
    let mut providers = texts(&found, "provider");
    providers.sort_unstable();
    assert_eq!(providers, ["acme-tenancy", "berlin-summit", "treasury"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_route_that_is_named_skips_its_condition() {
    let gateway = Gateway::start().await;
    let found = gateway.client().invite(&invites("new-employee", [person(1)])).await;
    let mut providers = texts(&found, "provider");
    providers.sort_unstable();
    assert_eq!(providers, ["acme-tenancy", "treasury"]);
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_invite_does_not_say_comes_from_the_providers_configuration() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let mut elsewhere = person(2);
    elsewhere["options"] = json!({ "securegate": { "event_id": "event-457" } });
    client.invite(&invites("berlin-summit", [person(1), elsewhere])).await;
    let effects = gateway.simulators.effects("securegate").await;
    let event = |email: &Value| {
        let effect = effects.iter().find(|effect| effect["email"] == *email).unwrap();
        text(effect, "event_id").to_owned()
    };
    assert_eq!(event(&person(1)["email"]), "event-456");
    assert_eq!(event(&person(2)["email"]), "event-457");

    let mut spoken = person(4);
    spoken["message"] = json!("See you on Monday.");
    client.invite(&invites("acme-tenancy", [person(3), spoken])).await;
    let effects = gateway.simulators.effects("rkvst").await;
    let mut messages = texts(&effects, "message");
    messages.sort_unstable();
    assert_eq!(messages, ["See you on Monday.", "Welcome to the tenancy."]);

    let mut named = person(6);
    named["options"] = json!({ "turnkey": { "receiver_user_name": "Front Desk" } });
    client.invite(&invites("treasury", [person(5), named])).await;
    let effects = gateway.simulators.effects("turnkey").await;
    let mut names = texts(&effects, "name");
    names.sort_unstable();
    assert_eq!(names, ["Front Desk", "Tamsin5 Quillfeather5"]);
    gateway.finish().await;
}

#[tokio::test]
async fn labels_and_external_ids_are_kept_and_never_sent() {
    let gateway = Gateway::start().await;
    let mut guest = person(1);
    guest["labels"] = json!({ "team": "basalt-quarry" });
    guest["external_id"] = json!("hr-obsidian-7781");
    let found = gateway.client().invite(&invites("berlin-summit", [guest.clone()])).await;
    let read = gateway.client().read(&found[0]).await;
    assert_eq!(read["labels"], guest["labels"]);
    assert_eq!(read["external_id"], guest["external_id"]);
    let path = format!("/v1/invites/{}/attempts", text(&read, "id"));
    let attempts = gateway.client().get(&path).await.expect(200);
    let request = attempts.list("attempts")[0]["request"].to_string();
    assert!(request.contains("guest1@example.org"), "{request}");
    assert!(!request.contains("basalt-quarry") && !request.contains("obsidian"), "{request}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_dry_run_shows_the_calls_and_does_nothing() {
    let gateway = Gateway::start().await;
    let to = json!(["berlin-summit", "acme-tenancy", "treasury"]);
    let body = json!({ "to": to, "invites": [person(1), person(2)] });
    let answer = gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
    assert!(!answer.list("plan").is_empty());
    let plan = answer.body["plan"].to_string();
    assert!(plan.contains("guest1@example.org") && plan.contains("guest2@example.org"), "{plan}");
    assert!(!plan.contains("eyJ") && !plan.contains("sg-sandbox-key"), "{plan}");
    assert!(gateway.client().get("/v1/invites").await.expect(200).invites().is_empty());
    for (_, kind) in PLACES {
        assert_eq!(gateway.simulators.request_count(kind, "create").await, 0, "{kind}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_dry_run_refuses_what_a_real_one_would_refuse() {
    let gateway = Gateway::start().await;
    let body = invites("nowhere", [person(1)]);
    gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(422);
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_invites_provider_says_of_it_is_shown() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let found = client.invite(&invites("berlin-summit", [person(1)])).await;
    assert_eq!(found[0]["provider_data"]["event_id"], "event-456");
    assert!(found[0]["provider_data"]["session_code"].is_string(), "{}", found[0]);
    let found = client.invite(&invites("acme-tenancy", [person(2)])).await;
    assert!(found[0]["provider_data"]["identity"].is_string(), "{}", found[0]);
    assert!(found[0]["expires_at"].is_string(), "{}", found[0]);
    let found = client.invite(&invites("treasury", [person(3)])).await;
    let data = &found[0]["provider_data"];
    for member in ["activity_id", "fingerprint", "organization_id"] {
        assert!(data[member].is_string(), "{member}: {data}");
    }
    let effects = gateway.simulators.effects("turnkey").await;
    assert_eq!(effects[0]["activity_id"], data["activity_id"]);
    assert_eq!(effects[0]["fingerprint"], data["fingerprint"]);
    gateway.finish().await;
}
