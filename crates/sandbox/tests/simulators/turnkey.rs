//! Turnkey: stamps, the life of an activity, and the queries.

use crate::*;

const CREATE: &str = "submit/create_invitations";
const VECTOR_BODY: &str = r#"{"type":"ACTIVITY_TYPE_CREATE_INVITATIONS","timestampMs":"1746736509954","organizationId":"89881fc7-6ff3-4b43-b962-916698f8ff58","parameters":{"invitations":[{"receiverUserName":"Ada Lovelace","receiverUserEmail":"ada@example.org","receiverUserTags":[],"accessType":"ACCESS_TYPE_WEB","senderUserId":"c7517305-6772-4e74-8101-108fbab0c11e"}]}}"#;
const VECTOR_STAMP: &str = "eyJwdWJsaWNLZXkiOiIwMmI4ODc3YWVjNzg2ZGJiMTgyZmRiNjUxM2Y5YTk5ODgwNmJmMGQyMWM0OGFkYjM1ZWRiNTdlZGQ1ZjJmZjU3MjUiLCJzaWduYXR1cmUiOiIzMDQ1MDIyMTAwOWJiNWUwYWViNjBiZGNhNjAyMzVlNzA3Y2JiMTI1NDhmZWY5OWI1ZjQ1N2RiZjdhNjQ1NmI2ZDBmZDg3MDNkZDAyMjAzZjUxMTM3OWJiZTE2NDZhYzYyYzM4ZGUxNTg3NTQxZmE2ZDg1ODcwNmQ4MGYwN2IzMmI1ZDM1YTM2YmI4NWViIiwic2NoZW1lIjoiU0lHTkFUVVJFX1NDSEVNRV9US19BUElfUDI1NiJ9";
const VECTOR_FINGERPRINT: &str =
    "sha256:198af166f6390e43aca47562ad07db269cf3f0f95b494636f9cfc9530618b28f";

async fn settle(world: &World, mode: &str) {
    world.set("turnkey", json!({ "activity_mode": mode })).await;
}

async fn get_activity(world: &World, id: &Value) -> Value {
    let (status, answer) =
        world.turnkey("query/get_activity", &query(json!({ "activityId": id }))).await;
    assert_eq!(status, 200, "{answer}");
    answer["activity"].clone()
}

/// The official stamper's own header and body, at a provider that lives in May 2025.
#[tokio::test]
async fn a_stamp_of_the_official_client_is_accepted_and_a_tampered_body_is_not() {
    let world = World::start().await;
    let then = 1_746_736_509_954 - now_ms();
    world.set("turnkey", json!({ "clock_offset_ms": then })).await;
    let (status, answer) = world.turnkey_raw(CREATE, VECTOR_BODY, Some(VECTOR_STAMP)).await;
    assert_eq!(status, 200, "{answer}");
    let activity = &answer["activity"];
    assert_eq!(activity["status"], "ACTIVITY_STATUS_COMPLETED");
    assert_eq!(activity["fingerprint"], VECTOR_FINGERPRINT);
    assert_eq!(activity["votes"][0]["message"], VECTOR_BODY);
    let ids = &activity["result"]["createInvitationsResult"]["invitationIds"];
    assert_eq!(world.effects("turnkey").await[0]["id"], ids[0]);
    assert!(activity["failure"].is_null() && activity.get("failure").is_some());
    assert!(activity.get("appProofs").is_none());
    assert!(activity["createdAt"]["seconds"].as_str().unwrap().starts_with("17467365"));
    let id = uuid::Uuid::try_parse(activity["id"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 7);

    let tampered = VECTOR_BODY.replace("ada@", "eve@");
    let (status, answer) = world.turnkey_raw(CREATE, &tampered, Some(VECTOR_STAMP)).await;
    assert_eq!((status, &answer["turnkeyErrorCode"]), (401, &json!("SIGNATURE_INVALID")));
    assert_eq!(world.effects("turnkey").await.len(), 1);
}

#[tokio::test]
async fn the_same_bytes_are_the_same_activity() {
    let world = World::start().await;
    let body = invitations(now_ms(), &["ada@example.org"]);
    let (_, first) = world.turnkey(CREATE, &body).await;
    let (_, again) = world.turnkey(CREATE, &body).await;
    assert_eq!(first["activity"]["id"], again["activity"]["id"]);
    let spaced = serde_json::to_string_pretty(&body).unwrap();
    let stamp = stamp(accounts::TURNKEY_API_PRIVATE_KEY, &spaced);
    let (_, other) = world.turnkey_raw(CREATE, &spaced, Some(&stamp)).await;
    assert_ne!(first["activity"]["id"], other["activity"]["id"]);
    assert_eq!(world.effects("turnkey").await.len(), 2, "another byte, another mail");
}

#[tokio::test]
async fn only_new_activities_must_be_alive() {
    let world = World::start().await;
    let hour = 3_600_000;
    for (age, status) in [(hour - 5_000, 200), (hour, 400), (-290_000, 200), (-310_000, 400)] {
        let body = invitations(now_ms() - age, &["ada@example.org"]);
        let (answered, answer) = world.turnkey(CREATE, &body).await;
        assert_eq!(answered, status, "{age}: {answer}");
    }
    let body = invitations(now_ms(), &["bob@example.org"]);
    let (_, first) = world.turnkey(CREATE, &body).await;
    world.set("turnkey", json!({ "clock_offset_ms": 2 * hour })).await;
    let (_, replayed) = world.turnkey(CREATE, &body).await;
    assert_eq!(first["activity"]["id"], replayed["activity"]["id"]);
    world.set("turnkey", json!({ "liveness_on_replay": true })).await;
    assert_eq!(world.turnkey(CREATE, &body).await.0, 400);
}

#[tokio::test]
async fn a_pending_activity_completes_after_some_looks() {
    let world = World::start().await;
    settle(&world, "pending").await;
    let body = invitations(now_ms(), &["ada@example.org"]);
    let (_, answer) = world.turnkey(CREATE, &body).await;
    assert_eq!(answer["activity"]["status"], "ACTIVITY_STATUS_PENDING");
    assert_eq!(answer["activity"]["result"], json!({}));
    let (_, answer) = world.turnkey(CREATE, &body).await;
    assert_eq!(answer["activity"]["status"], "ACTIVITY_STATUS_PENDING", "a replay is a look");
    let id = &answer["activity"]["id"];
    assert_eq!(get_activity(&world, id).await["status"], "ACTIVITY_STATUS_PENDING");
    assert!(world.effects("turnkey").await.is_empty());
    assert_eq!(get_activity(&world, id).await["status"], "ACTIVITY_STATUS_COMPLETED");
    assert_eq!(world.effects("turnkey").await.len(), 1);
}

#[tokio::test]
async fn consensus_takes_a_second_user() {
    let world = World::start().await;
    settle(&world, "consensus").await;
    let (_, answer) = world.turnkey(CREATE, &invitations(now_ms(), &["ada@example.org"])).await;
    let activity = &answer["activity"];
    assert_eq!(activity["status"], "ACTIVITY_STATUS_CONSENSUS_NEEDED");
    assert_eq!(activity["canApprove"], false, "the submission was the first approval");
    let parameters = json!({ "fingerprint": activity["fingerprint"] });
    let approval = submission("ACTIVITY_TYPE_APPROVE_ACTIVITY", now_ms(), parameters);
    world.turnkey("submit/approve_activity", &approval).await;
    let unmoved = get_activity(&world, &activity["id"]).await;
    assert_eq!(unmoved["status"], "ACTIVITY_STATUS_CONSENSUS_NEEDED");
    let parameters = json!({ "fingerprint": activity["fingerprint"] });
    let approval = submission("ACTIVITY_TYPE_APPROVE_ACTIVITY", now_ms() + 1, parameters);
    let second = accounts::TURNKEY_SECOND_API_PRIVATE_KEY;
    let (status, _) = world.turnkey_as(second, "submit/approve_activity", &approval).await;
    assert_eq!(status, 200);
    let done = get_activity(&world, &activity["id"]).await;
    assert_eq!(done["status"], "ACTIVITY_STATUS_COMPLETED");
    assert_eq!(done["votes"].as_array().unwrap().len(), 2);

    let parameters = json!({ "fingerprint": "sha256:none" });
    let approval = submission("ACTIVITY_TYPE_APPROVE_ACTIVITY", now_ms(), parameters);
    let (status, answer) = world.turnkey("submit/approve_activity", &approval).await;
    assert_eq!((status, &answer["code"]), (404, &json!(5)));
}

#[tokio::test]
async fn activities_can_be_rejected_fail_or_stay_strange() {
    let world = World::start().await;
    settle(&world, "consensus").await;
    let (_, answer) = world.turnkey(CREATE, &invitations(now_ms(), &["ada@example.org"])).await;
    let id = answer["activity"]["id"].as_str().unwrap();
    world
        .control("POST", "turnkey", &format!("activities/{id}"), json!({ "vote": "reject" }))
        .await;
    let rejected = get_activity(&world, &json!(id)).await;
    assert_eq!(rejected["status"], "ACTIVITY_STATUS_REJECTED");

    settle(&world, "failed").await;
    let (status, answer) =
        world.turnkey(CREATE, &invitations(now_ms(), &["bob@example.org"])).await;
    assert_eq!((status, &answer["activity"]["failure"]["code"]), (200, &json!(3)));
    settle(&world, "unknown_status").await;
    let (_, answer) = world.turnkey(CREATE, &invitations(now_ms(), &["eve@example.org"])).await;
    assert_eq!(answer["activity"]["status"], "ACTIVITY_STATUS_AWAITING_REVIEW");
    assert!(world.effects("turnkey").await.is_empty());

    settle(&world, "completed").await;
    world.set("turnkey", json!({ "nested_result": true })).await;
    let (_, answer) = world.turnkey(CREATE, &invitations(now_ms(), &["ida@example.org"])).await;
    let nested = &answer["activity"]["result"]["activity"];
    assert!(nested["result"]["createInvitationsResult"]["invitationIds"].is_array());
    assert!(nested["createdAt"].is_string() && answer["activity"]["timestampMs"].is_string());
}

#[tokio::test]
async fn activities_are_listed_in_pages_newest_first() {
    let world = World::start().await;
    let mut made = Vec::new();
    for number in 0..4 {
        let body = invitations(now_ms() + number, &["ada@example.org"]);
        made.insert(0, world.turnkey(CREATE, &body).await.1["activity"]["id"].clone());
    }
    let list = async |body: Value| {
        let (status, answer) = world.turnkey("query/list_activities", &query(body)).await;
        assert_eq!(status, 200, "{answer}");
        let activities = answer["activities"].as_array().unwrap().clone();
        activities.iter().map(|activity| activity["id"].clone()).collect::<Vec<_>>()
    };
    let page = async |options: Value| list(json!({ "paginationOptions": options })).await;
    assert_eq!(list(json!({})).await, made);
    assert_eq!(page(json!({ "limit": "3" })).await, made[..3]);
    assert_eq!(page(json!({ "limit": "3", "after": made[2] })).await, made[3..]);
    assert_eq!(page(json!({ "limit": "1", "before": made[2] })).await, made[1..2]);
    world.set("turnkey", json!({ "cursor_order": "time" })).await;
    assert_eq!(page(json!({ "limit": "3", "before": made[2] })).await, made[3..]);
    let filtered = list(json!({ "filterByType": ["ACTIVITY_TYPE_DELETE_INVITATION"] })).await;
    assert!(filtered.is_empty());
    for bad in [json!({ "limit": 3 }), json!({ "limit": "0" }), json!({ "limit": "101" })] {
        let body = query(json!({ "paginationOptions": bad }));
        assert_eq!(world.turnkey("query/list_activities", &body).await.0, 400);
    }
    let body = query(json!({ "filterByStatus": ["DONE"] }));
    assert_eq!(world.turnkey("query/list_activities", &body).await.0, 400);
}

#[tokio::test]
async fn invitations_are_deleted_accepted_and_shown_by_the_organization() {
    let world = World::start().await;
    let emails = ["ada@example.org", "bob@example.org", "eve@example.org"];
    let (_, answer) = world.turnkey(CREATE, &invitations(now_ms(), &emails)).await;
    let ids = answer["activity"]["result"]["createInvitationsResult"]["invitationIds"].clone();
    let delete = |offset: i64| {
        let parameters = json!({ "invitationId": ids[0] });
        submission("ACTIVITY_TYPE_DELETE_INVITATION", now_ms() + offset, parameters)
    };
    let (_, answer) = world.turnkey("submit/delete_invitation", &delete(0)).await;
    assert_eq!(answer["activity"]["result"]["deleteInvitationResult"]["invitationId"], ids[0]);
    assert_eq!(world.turnkey("submit/delete_invitation", &delete(1)).await.0, 404);
    let second = format!("invites/{}", ids[1].as_str().unwrap());
    world.control("POST", "turnkey", &second, json!({ "status": "accepted" })).await;
    let body = query(json!({ "filterByType": ["ACTIVITY_TYPE_ACCEPT_INVITATION_V2"] }));
    let (_, answer) = world.turnkey("query/list_activities", &body).await;
    let accepted = &answer["activities"][0]["result"]["acceptInvitationResult"];
    assert_eq!(accepted["invitationId"], ids[1]);

    let (_, answer) = world.turnkey("query/get_organization", &query(json!({}))).await;
    let shown = answer["organizationData"]["invitations"].as_array().unwrap().clone();
    let statuses: Vec<_> = shown.iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["INVITATION_STATUS_ACCEPTED", "INVITATION_STATUS_CREATED"]);
    assert_eq!(shown[1]["receiverEmail"], "eve@example.org");
    for (setting, status) in [("not_found", 404), ("forbidden", 403)] {
        world.set("turnkey", json!({ "get_organization": setting })).await;
        let (answered, _) = world.turnkey("query/get_organization", &query(json!({}))).await;
        assert_eq!(answered, status);
    }
}

#[tokio::test]
async fn keys_and_organizations_are_checked() {
    let world = World::start().await;
    let whoami = async |key: &str, organization: &str| {
        let body = json!({ "organizationId": organization });
        let (status, answer) = world.turnkey_as(key, "query/whoami", &body).await;
        (status, answer["turnkeyErrorCode"].clone(), answer["userId"].clone())
    };
    let own = accounts::TURNKEY_ORGANIZATION_ID;
    let key = accounts::TURNKEY_API_PRIVATE_KEY;
    let user = json!(accounts::TURNKEY_USER_ID);
    assert_eq!(whoami(key, own).await, (200, Value::Null, user));
    let unknown_organization = "11111111-2222-4333-8444-555555555555";
    for (key, organization, status, code) in [
        (key, "x", 400, "INVALID_ORGANIZATION_ID"),
        (key, unknown_organization, 404, "ORGANIZATION_NOT_FOUND"),
        (key, accounts::TURNKEY_OTHER_ORGANIZATION_ID, 400, "ORGANIZATION_MISMATCH"),
        (accounts::TURNKEY_EXPIRED_API_PRIVATE_KEY, own, 401, "API_KEY_EXPIRED"),
        (&"01".repeat(32), own, 401, "PUBLIC_KEY_NOT_FOUND"),
    ] {
        assert_eq!(whoami(key, organization).await, (status, json!(code), Value::Null));
    }
    let reader = accounts::TURNKEY_READ_ONLY_API_PRIVATE_KEY;
    assert_eq!(whoami(reader, own).await.0, 200, "queries are beyond the policies");
    let body = invitations(now_ms(), &["ada@example.org"]);
    let (status, answer) = world.turnkey_as(reader, CREATE, &body).await;
    assert_eq!((status, &answer["code"]), (403, &json!(7)));
    assert!(answer.to_string().contains("PolicyEnginePermissionError"));
    let (status, answer) = world.turnkey_raw("query/whoami", "{}", None).await;
    assert_eq!((status, &answer["turnkeyErrorCode"]), (401, &json!("SIGNATURE_MISSING")));
    let detail = "type.googleapis.com/errors.v1.TurnkeyErrorDetail";
    assert_eq!(answer["details"][0]["@type"], detail);
    let url = format!("{}/public/v1/query/whoami", world.url("turnkey"));
    assert_eq!(world.client.get(url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn bodies_are_validated() {
    let world = World::start().await;
    let with = |change: fn(&mut Value)| {
        let mut body = invitations(now_ms(), &["ada@example.org"]);
        change(&mut body);
        body
    };
    let bodies = [
        with(|body| body["type"] = json!("ACTIVITY_TYPE_CREATE_INVITATIONS_V2")),
        with(|body| body["timestampMs"] = json!(now_ms())),
        with(|body| body["generateAppProofs"] = json!("no")),
        with(|body| body["parameters"] = json!({ "invitations": [] })),
        with(|body| body["parameters"]["invitations"][0]["receiverUserName"] = json!("")),
        with(|body| body["parameters"]["invitations"][0]["receiverUserTags"] = Value::Null),
        with(|body| body["parameters"]["invitations"][0]["receiverUserTags"] = json!(["x"])),
        with(|body| body["parameters"]["invitations"][0]["accessType"] = json!("WEB")),
        with(|body| body["parameters"]["invitations"][0]["senderUserId"] = json!("x")),
    ];
    for body in bodies {
        let (status, answer) = world.turnkey(CREATE, &body).await;
        let code = &answer["turnkeyErrorCode"];
        assert_eq!((status, code), (400, &json!("REQUEST_INVALID")), "{body}");
    }
    for (email, code) in [("ada", "INVALID_EMAIL"), ("ada@mail.invalid", "INVALID_FQDN")] {
        let (status, answer) = world.turnkey(CREATE, &invitations(now_ms(), &[email])).await;
        assert_eq!((status, &answer["turnkeyErrorCode"]), (400, &json!(code)));
    }
    let proofs = with(|body| body["generateAppProofs"] = Value::Null);
    assert_eq!(world.turnkey(CREATE, &proofs).await.0, 200, "the Rust client sends null");
}

#[tokio::test]
async fn an_organization_holds_a_hundred_invitations_and_a_rate() {
    let world = World::start().await;
    let emails: Vec<String> = (0..101).map(|n| format!("a{n}@example.org")).collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let (status, answer) = world.turnkey(CREATE, &invitations(now_ms(), &emails)).await;
    assert_eq!(
        (status, &answer["code"], &answer["turnkeyErrorCode"]),
        (429, &json!(8), &json!(""))
    );
    let (status, _) = world.turnkey(CREATE, &invitations(now_ms(), &emails[1..])).await;
    assert_eq!(status, 200);
    let (status, _) = world.turnkey(CREATE, &invitations(now_ms(), &emails[..1])).await;
    assert_eq!(status, 429);

    world.set("turnkey", json!({ "rate_per_second": 1 })).await;
    let url = format!("{}/public/v1/query/whoami", world.url("turnkey"));
    let body = query(json!({})).to_string();
    let stamp = stamp(accounts::TURNKEY_API_PRIVATE_KEY, &body);
    for (status, limit, remaining) in [(200, "1", "0"), (429, "1", "0")] {
        let request = world.client.post(&url).header("x-stamp", &stamp).body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["ratelimit-limit"], limit);
        assert_eq!(response.headers()["ratelimit-remaining"], remaining);
    }
}
