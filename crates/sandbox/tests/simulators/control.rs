//! The control endpoints, and the life of the sandbox itself.

use crate::*;

#[tokio::test]
async fn faults_come_as_json_or_toml_and_go() {
    let world = World::start().await;
    let rule = json!({ "kind": "status_before", "status": 418, "times": 1 });
    world.control("POST", "rkvst", "faults", rule.clone()).await;
    world.control("POST", "rkvst", "faults", json!([rule.clone()])).await;
    world.control("POST", "rkvst", "faults", json!({ "fault": [rule] })).await;
    let url = format!("{}/_control/faults", world.url("rkvst"));
    let toml = "[[fault]]\nkind = 'quota'\nprovider = 'rkvst'";
    let request = world.client.post(&url).header("content-type", "application/toml");
    let (_, answer) = read(request.body(toml).send().await.unwrap()).await;
    assert_eq!(answer["faults"].as_array().unwrap().len(), 4);
    assert_eq!(world.rkvst("GET", "invites", Value::Null).await.0, 418);
    let shown = world.control("GET", "rkvst", "faults", Value::Null).await;
    let counts = json!([shown["faults"][0]["seen"], shown["faults"][0]["applied"]]);
    assert_eq!(counts, json!([1, 1]));
    world.control("DELETE", "rkvst", "faults", Value::Null).await;
    assert_eq!(world.rkvst("GET", "invites", Value::Null).await.0, 200);
    let request = world.client.post(&url).header("content-type", "application/toml");
    let (status, answer) = read(request.body("[[fault]]\nkind = 1").send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("line 2, column 8"), "{answer}");
}

#[tokio::test]
async fn mistakes_are_refused() {
    let world = World::start().await;
    for (method, path, body, status) in [
        ("PATCH", "settings", json!({ "qouta": 1 }), 400),
        ("PATCH", "settings", json!({ "quota": "many" }), 400),
        ("POST", "invites/none", json!({ "status": "accepted" }), 404),
        ("POST", "activities/none", json!({ "vote": "approve" }), 404),
        ("POST", "activities/none", json!({ "vote": "maybe" }), 400),
        ("GET", "nothing", Value::Null, 404),
    ] {
        let (answered, answer) = world.try_control(method, "turnkey", path, body).await;
        assert_eq!(answered, status, "{method} {path}: {answer}");
    }
    let moved = json!({ "status": "accepted" });
    world
        .securegate("POST", "/events/event-456/invites", json!({ "invites": [person("a")] }))
        .await;
    let id = world.effects("securegate").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("invites/{id}");
    world.control("POST", "securegate", &path, moved).await;
    let (status, _) =
        world.try_control("POST", "securegate", &path, json!({ "status": "expired" })).await;
    assert_eq!(status, 409, "Securegate knows no expiry");
    assert_eq!(world.effects("securegate").await[0]["status"], "accepted");
}

#[tokio::test]
async fn a_reset_brings_back_the_start() {
    let world = World::with_faults("[[fault]]\nkind = 'quota'\ntimes = 1").await;
    let create = async || {
        world.rkvst("POST", "invites", json!({ "email": "a@b.c", "message": "m" })).await.0
    };
    assert_eq!([create().await, create().await], [402, 200]);
    world.set("rkvst", json!({ "page_size_cap": 1 })).await;
    world.control("POST", "rkvst", "reset", Value::Null).await;
    assert!(world.effects("rkvst").await.is_empty());
    let settings = world.control("GET", "rkvst", "settings", Value::Null).await;
    assert_eq!(settings["page_size_cap"], 100);
    let seen = world.control("GET", "rkvst", "requests", Value::Null).await;
    assert_eq!(seen, json!({ "requests": [], "counts": {} }));
    assert_eq!(create().await, 402, "the rules of the start are back");
}

#[tokio::test]
async fn the_journal_holds_no_secrets_and_the_clock_can_be_moved() {
    let world = World::start().await;
    world.rkvst_token(accounts::RKVST_CLIENT_ID, accounts::RKVST_CLIENT_SECRET).await;
    world.rkvst("GET", "invites?email=ada%40example.org", Value::Null).await;
    let seen = world.control("GET", "rkvst", "requests", Value::Null).await;
    let text = seen.to_string();
    assert_eq!(seen["counts"], json!({ "token": 1, "list": 1 }));
    assert!(!text.contains("secret") && !text.contains("ada"), "{text}");
    let ahead = 86_400_000;
    world.set("rkvst", json!({ "clock_offset_ms": ahead })).await;
    let request = world.rkvst_request("GET", "invites", accounts::RKVST_BEARER_TOKEN);
    let date = request.send().await.unwrap().headers()["date"].to_str().unwrap().to_owned();
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&date).unwrap();
    assert!((date.as_millisecond() - now_ms() - ahead).abs() < 5_000);
}

#[tokio::test]
async fn a_sandbox_that_is_shut_down_or_dropped_is_gone() {
    let world = World::start().await;
    let url = world.url("rkvst");
    world.rkvst("GET", "invites", Value::Null).await;
    world.sandbox.shutdown().await;
    assert!(world.client.get(&url).send().await.unwrap_err().is_connect());

    let world = World::start().await;
    let url = world.url("turnkey");
    drop(world.sandbox);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(world.client.get(&url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn addresses_can_be_chosen() {
    let listen = vec!["127.0.0.1:0".parse().unwrap(); 4];
    let refused = invite_sandbox::start(Options { listen, faults: None }).await.unwrap_err();
    assert_eq!(refused.to_string(), "4 addresses for 3 simulators");
    let first = invite_sandbox::start(Options::default()).await.unwrap();
    let taken = first.url("securegate").unwrap().replace("http://", "").parse().unwrap();
    let options = Options { listen: vec![taken], faults: None };
    let refused = invite_sandbox::start(options).await.unwrap_err();
    assert!(refused.to_string().starts_with(&format!("cannot listen on {taken}")));
}

#[tokio::test]
async fn a_revoked_credential_is_refused_like_a_wrong_one_and_the_second_still_opens() {
    let world = World::start().await;
    let revoked = |credential: &str| json!({ "revoked_credentials": [credential] });

    let url = format!("{}/events", world.url("securegate"));
    let events = async |key: &str| {
        read(world.client.get(&url).header("x-api-key", key).send().await.unwrap()).await.0
    };
    let (first, second) = (accounts::SECUREGATE_API_KEY, accounts::SECUREGATE_SECOND_API_KEY);
    assert_eq!([events(first).await, events(second).await], [200, 200]);
    world.set("securegate", revoked(first)).await;
    assert_eq!([events(first).await, events(second).await], [403, 200]);

    let whoami = query(json!({}));
    let who = async |key: &str| {
        let (status, answer) = world.turnkey_as(key, "query/whoami", &whoami).await;
        (status, answer["turnkeyErrorCode"].clone())
    };
    let refused = (401, json!("PUBLIC_KEY_NOT_FOUND"));
    world.set("turnkey", revoked(accounts::TURNKEY_SECOND_API_PUBLIC_KEY)).await;
    assert_eq!(who(accounts::TURNKEY_SECOND_API_PRIVATE_KEY).await, refused);
    world.set("turnkey", revoked(accounts::TURNKEY_API_PUBLIC_KEY)).await;
    assert_eq!(who(accounts::TURNKEY_API_PRIVATE_KEY).await, refused);
    let second = accounts::TURNKEY_SECOND_API_PRIVATE_KEY;
    let body = invitations(now_ms(), &["ada@example.org"]);
    let (status, answer) = world.turnkey_as(second, "submit/create_invitations", &body).await;
    assert_eq!((status, &answer["activity"]["status"]), (200, &json!("ACTIVITY_STATUS_COMPLETED")));
}

#[tokio::test]
async fn a_revoked_client_secret_gets_no_token_and_those_it_got_end_only_if_set_so() {
    let world = World::start().await;
    let id = accounts::RKVST_CLIENT_ID;
    let (first, second) = (accounts::RKVST_CLIENT_SECRET, accounts::RKVST_SECOND_CLIENT_SECRET);
    let list = async |token: &str| {
        let request = world.rkvst_request("GET", "invites", token);
        read(request.send().await.unwrap()).await.0
    };
    let token = async |secret: &str| {
        let (status, answer) = world.rkvst_token(id, secret).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let (of_first, of_second) = (token(first).await, token(second).await);
    world.set("rkvst", json!({ "revoked_credentials": [first] })).await;
    let (status, answer) = world.rkvst_token(id, first).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    assert_eq!([list(&of_first).await, list(&of_second).await], [200, 200]);
    world.set("rkvst", json!({ "revocation_ends_tokens": true })).await;
    assert_eq!([list(&of_first).await, list(&of_second).await], [401, 200]);
    assert_eq!(list(&token(second).await).await, 200);

    let (first, second) = (accounts::RKVST_BEARER_TOKEN, accounts::RKVST_SECOND_BEARER_TOKEN);
    assert_eq!([list(first).await, list(second).await], [200, 200]);
    world.set("rkvst", json!({ "revoked_credentials": [first, of_second] })).await;
    assert_eq!([list(first).await, list(second).await, list(&of_second).await], [401, 200, 401]);
}
