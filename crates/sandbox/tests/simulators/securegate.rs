//! Securegate: its endpoints, and FastAPI's errors.

use crate::*;

const INVITES: &str = "/events/event-456/invites";

#[tokio::test]
async fn invites_are_created_listed_looked_up_and_changed() {
    let world = World::start().await;
    let batch = json!({ "invites": [person("ada@example.org"), person("bob@example.org")] });
    let (status, created) = world.securegate("POST", INVITES, batch).await;
    assert_eq!(status, 200);
    let invite = &created[0];
    assert_eq!(invite["event_id"], "event-456");
    assert_eq!(invite["status"], "pending");
    assert_eq!(invite["session_code"].as_str().unwrap().len(), 6);
    assert!(invite.get("ticket_id").is_none(), "POST leaves the nullable members out");
    assert!(invite["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(!invite["updated_at"].as_str().unwrap().ends_with('Z'), "the naive form");

    let id = invite["id"].as_str().unwrap();
    let path = format!("{INVITES}/{id}");
    let (status, changed) = world.securegate("PUT", &path, json!({ "status": "accepted" })).await;
    assert_eq!((status, &changed["status"]), (200, &json!("accepted")));
    assert!(changed["last_seen"].is_null() && changed.get("last_seen").is_some());
    assert_eq!(changed["ticket_id"], format!("ticket-{id}"), "as in the sample of the update");

    let (_, listed) =
        world.securegate("GET", &format!("{INVITES}?status=accepted"), Value::Null).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let look_up = "/invites?email=bob%40example.org&event_id=event-456";
    let (_, found) = world.securegate("GET", look_up, Value::Null).await;
    assert_eq!(found["id"], created[1]["id"]);
    let (_, found) = world.securegate("GET", &format!("/invites/{id}"), Value::Null).await;
    assert_eq!(found["email"], "ada@example.org");
    let path = format!("/invites-with-event?invite_id={id}");
    let (_, both) = world.securegate("GET", &path, Value::Null).await;
    assert_eq!(both["event"]["id"], "event-456");
    let (status, problem) =
        world.securegate("GET", "/invites?email=eve%40example.org", Value::Null).await;
    assert_eq!((status, problem), (404, json!({ "detail": "Invite not found" })));
}

#[tokio::test]
async fn events_are_made_counted_and_archived() {
    let world = World::start().await;
    let event = json!({
        "title": "Fair", "start_timestamp": 1_677_609_600, "end_timestamp": 1_683_730_000_000_i64,
        "type": "fixed", "location": { "city": "Paris" },
    });
    let (status, event) = world.securegate("POST", "/events", event).await;
    assert_eq!(status, 200);
    let id = event["id"].as_str().unwrap();
    let batch = json!({ "invites": [person("ada@example.org")] });
    world.securegate("POST", &format!("/events/{id}/invites"), batch.clone()).await;
    let (_, shown) = world.securegate("GET", &format!("/events/{id}"), Value::Null).await;
    let stats = json!({ "sent": 0, "accepted": 0, "pending": 1, "rejected": 0, "total": 1 });
    assert_eq!((&shown["invite_stats"], &shown["status"]), (&stats, &json!("ended")));
    let (_, deleted) = world.securegate("DELETE", &format!("/events/{id}"), Value::Null).await;
    assert_eq!(deleted["is_deleted"], true);
    let (_, events) = world.securegate("GET", "/events", Value::Null).await;
    let counts = ["ongoing", "ended", "up_coming", "archived"]
        .map(|list| events[list].as_array().unwrap().len());
    assert_eq!(counts, [1, 1, 1, 1]);
    let (status, _) = world.securegate("POST", &format!("/events/{id}/invites"), batch).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_refused() {
    let world = World::start().await;
    let url = format!("{}{INVITES}", world.url("securegate"));
    let refused = json!({ "detail": "Not authenticated" });
    let answer = read(world.client.get(&url).send().await.unwrap()).await;
    assert_eq!(answer, (403, refused.clone()));
    world.set("securegate", json!({ "unauthorized_status": 401 })).await;
    let request = world.client.get(&url).header("x-api-key", "wrong");
    assert_eq!(read(request.send().await.unwrap()).await, (401, refused));
}

/// Compared with what FastAPI 0.115.12 and pydantic 2 answer to the same requests.
#[tokio::test]
async fn a_422_has_the_shape_that_fastapi_gives_it() {
    let world = World::start().await;
    let mut wrong = person("a");
    wrong["first_name"] = json!(1);
    wrong["country_code"] = json!(1);
    let path = format!("{INVITES}?notify=&onboarding_flow_type=zz");
    let body = json!({ "invites": [person("a"), wrong, null] });
    let (status, answer) = world.securegate("POST", &path, body).await;
    assert_eq!(status, 422);
    let flows = "'only_auth', 'kyc', 'ssn_verification', 'peps_sanctions' or 'criminal_check'";
    let codes = "'1', '44', '1', '61', '91' or '345'";
    let expected = json!({ "detail": [
        { "type": "enum", "loc": ["query", "onboarding_flow_type"],
          "msg": format!("Input should be {flows}"), "input": "zz", "ctx": { "expected": flows } },
        { "type": "int_parsing", "loc": ["query", "notify"], "input": "",
          "msg": "Input should be a valid integer, unable to parse string as an integer" },
        { "type": "string_type", "loc": ["body", "invites", 1, "first_name"],
          "msg": "Input should be a valid string", "input": 1 },
        { "type": "enum", "loc": ["body", "invites", 1, "country_code"],
          "msg": format!("Input should be {codes}"), "input": 1, "ctx": { "expected": codes } },
        { "type": "model_attributes_type", "loc": ["body", "invites", 2], "input": null,
          "msg": "Input should be a valid dictionary or object to extract fields from" },
    ] });
    assert_eq!(answer, expected);
    assert!(world.effects("securegate").await.is_empty(), "all or nothing");
}

#[tokio::test]
async fn bodies_that_are_none_are_told_apart() {
    let world = World::start().await;
    let send = async |content_type: Option<&str>, body: &str| {
        let url = format!("{}{INVITES}", world.url("securegate"));
        let mut request = world.client.post(url).body(body.to_owned());
        request = request.header("x-api-key", accounts::SECUREGATE_API_KEY);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (status, answer) = read(request.send().await.unwrap()).await;
        (status, answer["detail"][0]["type"].clone(), answer["detail"][0]["loc"].clone())
    };
    let json_type = Some("application/json");
    let body = json!(["body"]);
    let attributes = json!("model_attributes_type");
    assert_eq!(send(json_type, "").await, (422, json!("missing"), body.clone()));
    assert_eq!(send(json_type, "null").await, (422, json!("missing"), body.clone()));
    assert_eq!(send(json_type, "[]").await, (422, attributes.clone(), body.clone()));
    assert_eq!(send(Some("text/plain"), "{}").await, (422, attributes, body));
    let broken = send(json_type, "{\"invites\": [}").await;
    assert_eq!(broken, (422, json!("json_invalid"), json!(["body", 13])));
    assert_eq!(send(None, "{\"invites\": []}").await.0, 200);
    let list = send(json_type, "{\"invites\": \"abc\"}").await;
    assert_eq!(list, (422, json!("list_type"), json!(["body", "invites"])));
}

#[tokio::test]
async fn other_errors_have_text_for_a_detail() {
    let world = World::start().await;
    let answer = world.securegate("DELETE", INVITES, Value::Null).await;
    assert_eq!(answer, (405, json!({ "detail": "Method Not Allowed" })));
    let answer = world.securegate("GET", "/nowhere", Value::Null).await;
    assert_eq!(answer, (404, json!({ "detail": "Not Found" })));
    let batch = json!({ "invites": [] });
    assert_eq!(world.securegate("POST", INVITES, batch.clone()).await, (200, json!([])));
    let answer = world.securegate("POST", "/events/none/invites", batch).await;
    assert_eq!(answer, (404, json!({ "detail": "Event not found" })));
    let (status, answer) =
        world.securegate("PUT", &format!("{INVITES}/x"), json!({ "status": "Sent" })).await;
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "status"])));
    assert_eq!(world.securegate("GET", "/invites", Value::Null).await.0, 422);
    assert_eq!(world.securegate("GET", "/events/", Value::Null).await.0, 307);
}
