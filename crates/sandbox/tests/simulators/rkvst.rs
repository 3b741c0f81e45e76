//! RKVST: tokens, roles, paging, and what becomes of an invite.

use crate::*;

fn invite(email: &str) -> Value {
    json!({ "email": email, "message": "Welcome" })
}

#[tokio::test]
async fn a_token_is_given_to_a_client_and_ends_with_its_time() {
    let world = World::start().await;
    let (id, secret) = (accounts::RKVST_CLIENT_ID, accounts::RKVST_CLIENT_SECRET);
    let (status, answer) = world.rkvst_token(id, secret).await;
    assert_eq!((status, &answer["expires_in"]), (200, &json!(3600)));
    assert_eq!(answer["token_type"], "Bearer");
    let token = answer["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["jit_tenant_id"], accounts::RKVST_TENANT_ID);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);

    let list = async || {
        let request = world.rkvst_request("GET", "invites", token);
        read(request.send().await.unwrap()).await.0
    };
    assert_eq!(list().await, 200);
    world.set("rkvst", json!({ "clock_offset_ms": 3_599_000 })).await;
    assert_eq!(list().await, 200);
    world.set("rkvst", json!({ "clock_offset_ms": 3_601_000 })).await;
    assert_eq!(list().await, 401);

    let (status, answer) = world.rkvst_token(id, "wrong").await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    let other_host = world.rkvst_token(id, secret).await.1;
    let token = other_host["access_token"].as_str().unwrap();
    let request = world.rkvst_request("GET", "invites", token).header("host", "elsewhere");
    assert_eq!(read(request.send().await.unwrap()).await.0, 401, "bound to its host");
}

#[tokio::test]
async fn only_owners_may_do_anything() {
    let world = World::start().await;
    let id = accounts::RKVST_NON_OWNER_CLIENT_ID;
    let (_, answer) = world.rkvst_token(id, accounts::RKVST_NON_OWNER_CLIENT_SECRET).await;
    for token in [accounts::RKVST_NON_OWNER_TOKEN, answer["access_token"].as_str().unwrap()] {
        let request = world.rkvst_request("POST", "invites", token).json(&invite("a@b.c"));
        let (status, answer) = read(request.send().await.unwrap()).await;
        let body = json!({ "code": 7, "message": "permission denied", "details": [] });
        assert_eq!((status, answer), (403, body));
    }
}

#[tokio::test]
async fn pages_carry_their_filter_in_the_token() {
    let world = World::start().await;
    for number in 0..5 {
        let email = if number % 2 == 0 { "a+b@example.org" } else { "other@example.org" };
        let (status, created) = world.rkvst("POST", "invites", invite(email)).await;
        assert_eq!(status, 200, "not 201");
        assert!(created["identity"].as_str().unwrap().starts_with("invites/"));
    }
    let first = "invites?page_size=2&email=a%2Bb%40example.org";
    let (_, page) = world.rkvst("GET", first, Value::Null).await;
    assert_eq!(page["invites"].as_array().unwrap().len(), 2);
    let token = page["next_page_token"].as_str().unwrap();
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let next = format!("invites?page_token={token}&page_size=2");
    let (_, page) = world.rkvst("GET", &next, Value::Null).await;
    assert_eq!(page["invites"].as_array().unwrap().len(), 1, "the filter still holds");
    assert_eq!(page["next_page_token"], "");

    world.set("rkvst", json!({ "page_size_cap": 3 })).await;
    let (_, page) = world.rkvst("GET", "invites?page_size=100", Value::Null).await;
    assert_eq!(page["invites"].as_array().unwrap().len(), 3);
    let request = world
        .rkvst_request("GET", "invites?page_size=1", accounts::RKVST_BEARER_TOKEN)
        .header("X-Request-Total-Count", "true");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-total-count"], "5");
    for bad in ["page_token=x", "page_size=x", "page_size=-1", "order_by=EMAIL"] {
        let (status, _) = world.rkvst("GET", &format!("invites?{bad}"), Value::Null).await;
        assert_eq!(status, 400, "{bad}");
    }
}

#[tokio::test]
async fn an_accepted_invite_is_gone_and_a_member_is_there() {
    let world = World::start().await;
    let (_, created) = world.rkvst("POST", "invites", invite("ada@example.org")).await;
    let identity = created["identity"].as_str().unwrap();
    world
        .control("POST", "rkvst", &format!("invites/{identity}"), json!({ "status": "accepted" }))
        .await;
    assert_eq!(world.rkvst("GET", identity, Value::Null).await.0, 404);
    let (_, page) = world.rkvst("GET", "members?page_size=1", Value::Null).await;
    assert_eq!(page["members"][0]["email"], accounts::RKVST_OWNER_EMAIL);
    let token = page["page_token"].as_str().unwrap();
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let next = format!("members?page_size=1&page_token={token}");
    let (_, page) = world.rkvst("GET", &next, Value::Null).await;
    assert_eq!(page["members"][0]["email"], "ada@example.org");
    assert_eq!(page["page_token"], "");
    assert_eq!(world.effects("rkvst").await[0]["status"], "accepted");
}

#[tokio::test]
async fn time_can_run_out_for_an_invite() {
    let world = World::start().await;
    let (_, created) = world.rkvst("POST", "invites", invite("ada@example.org")).await;
    let identity = created["identity"].as_str().unwrap();
    world
        .control("POST", "rkvst", &format!("invites/{identity}"), json!({ "status": "expired" }))
        .await;
    let (_, shown) = world.rkvst("GET", identity, Value::Null).await;
    let expiry: jiff::Timestamp = shown["expiry_time"].as_str().unwrap().parse().unwrap();
    assert!(expiry.as_millisecond() < now_ms());
    world.set("rkvst", json!({ "purge_expired": true })).await;
    assert_eq!(world.rkvst("GET", identity, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_delete_is_answered_in_each_of_three_ways() {
    let world = World::start().await;
    for (form, status, body) in
        [("object", 200, json!({})), ("empty", 200, json!("")), ("no_content", 204, json!(""))]
    {
        world.set("rkvst", json!({ "delete_answer": form })).await;
        let (_, created) = world.rkvst("POST", "invites", invite("ada@example.org")).await;
        let identity = created["identity"].as_str().unwrap();
        let answer = world.rkvst("DELETE", identity, Value::Null).await;
        assert_eq!(answer, (status, body));
        assert_eq!(world.rkvst("DELETE", identity, Value::Null).await.0, 404);
    }
}

#[tokio::test]
async fn fields_and_quota_have_limits() {
    let world = World::start().await;
    let long = |length| "x".repeat(length);
    for (body, status) in [
        (json!({ "email": "a@b.c" }), 400),
        (json!({ "message": "m" }), 400),
        (json!({ "email": "a@b.c", "message": "" }), 400),
        (json!({ "email": 1, "message": "m" }), 400),
        (json!({ "email": "a@b.c", "message": long(257) }), 400),
        (json!({ "email": long(129), "message": "m" }), 400),
        (json!({ "email": "a@b.c", "message": "é".repeat(256) }), 200),
    ] {
        assert_eq!(world.rkvst("POST", "invites", body).await.0, status);
    }
    world.set("rkvst", json!({ "quota": 1, "error_body": "text" })).await;
    let body = json!({ "error": "Entity QuotaReached", "description": "Current quota is 1" });
    assert_eq!(world.rkvst("POST", "invites", invite("b@b.c")).await, (402, body));
    let answer = world.rkvst("GET", "invites/x", Value::Null).await;
    assert_eq!(answer, (400, json!("\"x\" is no uuid")));
}

#[tokio::test]
async fn a_rate_limit_tells_the_seconds_in_the_vendors_header() {
    let world = World::start().await;
    world.set("rkvst", json!({ "rate_per_second": 0.5 })).await;
    assert_eq!(world.rkvst("GET", "invites", Value::Null).await.0, 200);
    let request = world.rkvst_request("GET", "invites", accounts::RKVST_BEARER_TOKEN);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["archivist-rate-limit-reset"], "2");
    assert!(!response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_new_invite_can_be_found_late() {
    let world = World::start().await;
    world.set("rkvst", json!({ "list_lag_ms": 150 })).await;
    world.rkvst("POST", "invites", invite("ada@example.org")).await;
    let count = async || {
        let (_, page) = world.rkvst("GET", "invites", Value::Null).await;
        page["invites"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn registrations_of_one_tenancy_see_the_same_and_a_foreign_one_does_not() {
    let world = World::start().await;
    let token = async |id: &str, secret: &str| {
        world.rkvst_token(id, secret).await.1["access_token"].as_str().unwrap().to_owned()
    };
    let ours = token(accounts::RKVST_CLIENT_ID, accounts::RKVST_CLIENT_SECRET).await;
    let beside = token(accounts::RKVST_OTHER_CLIENT_ID, accounts::RKVST_OTHER_CLIENT_SECRET).await;
    let foreign =
        token(accounts::RKVST_FOREIGN_CLIENT_ID, accounts::RKVST_FOREIGN_CLIENT_SECRET).await;
    let request = world.rkvst_request("POST", "invites", &ours).json(&invite("ada@example.org"));
    let (_, made) = read(request.send().await.unwrap()).await;
    let path = made["identity"].as_str().unwrap();
    let seen = async |token: &str| {
        let list = world.rkvst_request("GET", "invites", token).send().await.unwrap();
        let get = world.rkvst_request("GET", path, token).send().await.unwrap();
        let members = world.rkvst_request("GET", "members", token).send().await.unwrap();
        let members = read(members).await.1["members"].as_array().unwrap().len();
        (read(list).await.1["invites"].as_array().unwrap().len(), get.status().as_u16(), members)
    };
    let telling = accounts::RKVST_TELLING_BEARER_TOKEN;
    for token in [&ours, &beside, telling] {
        assert_eq!(seen(token).await, (1, 200, 1));
    }
    assert_eq!(seen(&foreign).await, (0, 404, 1));
    assert_eq!(world.effects("rkvst").await[0]["tenant_id"], accounts::RKVST_TENANT_ID);
}

#[tokio::test]
async fn an_expiry_time_can_be_none_at_all() {
    let world = World::start().await;
    let path = world.rkvst("POST", "invites", invite("ada@example.org")).await.1["identity"]
        .as_str()
        .unwrap()
        .to_owned();
    for (shown, time) in [("zero", "0001-01-01T00:00:00Z"), ("epoch", "1970-01-01T00:00:00Z")] {
        world.set("rkvst", json!({ "expiry_shown": shown })).await;
        assert_eq!(world.rkvst("GET", &path, Value::Null).await.1["expiry_time"], time);
    }
    assert_eq!(world.effects("rkvst").await[0]["status"], "pending", "it has not expired");
}
