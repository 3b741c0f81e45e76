//! Each kind of fault, as it looks from a socket.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::*;

const INVITES: &str = "/events/event-456/invites";

/// Creates an invite at Securegate under a fault; what comes back, raw, and how it ended.
async fn create_under(script: &str) -> (World, Vec<u8>, std::io::Result<()>) {
    let world = World::with_faults(script).await;
    let body = json!({ "invites": [person("ada@example.org"), person("bob@example.org")] });
    let (answer, end) = raw(&world, body.to_string()).await;
    (world, answer, end)
}

/// A POST over a bare socket, read to the end of the connection.
async fn raw(world: &World, body: String) -> (Vec<u8>, std::io::Result<()>) {
    let address = world.url("securegate").replace("http://", "");
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let key = accounts::SECUREGATE_API_KEY;
        let head = format!(
            "POST {INVITES} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A reset is told once only, to whichever of the calls comes next.
        let sent =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        let mut answer = Vec::new();
        let end = sent.and(stream.read_to_end(&mut answer).map(|_| ()));
        (answer, end)
    })
    .await
    .unwrap()
}

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0)
}

fn body(answer: &[u8]) -> &[u8] {
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &answer[at + 4..]
}

async fn count(world: &World) -> usize {
    world.effects("securegate").await.len()
}

#[tokio::test]
async fn a_cut_before_leaves_nothing_and_a_cut_after_leaves_the_effect() {
    let (world, answer, end) =
        create_under("[[fault]]\nkind = 'cut_before'\noperation = 'create'").await;
    assert_eq!((answer.as_slice(), count(&world).await), (&b""[..], 0));
    assert!(end.is_ok(), "closed, not reset: {end:?}");
    let (world, answer, _) = create_under("[[fault]]\nkind = 'cut_after'").await;
    assert_eq!((answer.as_slice(), count(&world).await), (&b""[..], 2));
    let seen = world.control("GET", "securegate", "requests", Value::Null).await;
    let request = &seen["requests"][0];
    assert_eq!((&request["cut"], &request["fault"]), (&json!("closed"), &json!("cut_after")));
    assert!(request.get("status").is_none());
    assert_eq!(seen["counts"], json!({ "create": 1 }));
}

#[tokio::test]
async fn a_client_sees_a_cut_as_a_broken_connection() {
    let world = World::with_faults("[[fault]]\nkind = 'cut_after'\ntimes = 1").await;
    let url = format!("{}{INVITES}", world.url("securegate"));
    let body = json!({ "invites": [person("ada@example.org")] });
    let send = || {
        let request = world.client.post(&url).json(&body);
        request.header("x-api-key", accounts::SECUREGATE_API_KEY).send()
    };
    let error = send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
    assert_eq!(send().await.unwrap().status(), 200);
    assert_eq!(count(&world).await, 2);
}

#[tokio::test]
async fn a_reset_comes_before_the_body_is_read() {
    let (world, answer, end) = create_under("[[fault]]\nkind = 'reset_before_read'").await;
    assert_eq!((answer.as_slice(), count(&world).await), (&b""[..], 0));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_body_can_end_in_the_middle() {
    let (world, answer, _) = create_under("[[fault]]\nkind = 'cut_mid_body'").await;
    assert_eq!((status(&answer), count(&world).await), (200, 2));
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_eq!(body(&answer).len(), length.parse::<usize>().unwrap() / 2);
}

#[tokio::test]
async fn a_body_can_come_slowly_or_be_far_too_long() {
    let began = Instant::now();
    let script = "[[fault]]\nkind = 'slow_body'\ndelay = '20ms'";
    let (_, answer, _) = create_under(script).await;
    assert!(began.elapsed() >= Duration::from_millis(160), "{:?}", began.elapsed());
    let invites: Value = serde_json::from_slice(body(&answer)).unwrap();
    assert_eq!(invites.as_array().unwrap().len(), 2);
    let script = "[[fault]]\nkind = 'huge_body'\nsize = 1000001";
    let (world, answer, _) = create_under(script).await;
    assert_eq!((body(&answer).len(), count(&world).await), (1_000_001, 2));
}

#[tokio::test]
async fn a_status_can_hide_what_happened() {
    let script = "[[fault]]\nkind = 'status_before'\nstatus = 503";
    let (world, answer, _) = create_under(script).await;
    assert_eq!((status(&answer), count(&world).await), (503, 0));
    assert_eq!(body(&answer), br#"{"detail":"Service Unavailable"}"#);
    let script = "[[fault]]\nkind = 'status_after'\nbody = '<html>oops</html>'";
    let (world, answer, _) = create_under(script).await;
    assert_eq!((status(&answer), count(&world).await), (500, 2));
    assert!(String::from_utf8_lossy(&answer).contains("content-type: text/html"));
}

#[tokio::test]
async fn garbage_comes_with_or_without_the_effect() {
    for (kind, effects) in [("garbage_before", 0), ("garbage_after", 2)] {
        let (world, answer, _) = create_under(&format!("[[fault]]\nkind = '{kind}'")).await;
        assert_eq!((status(&answer), count(&world).await), (200, effects));
        assert!(serde_json::from_slice::<Value>(body(&answer)).is_err());
    }
}

#[tokio::test]
async fn refusals_are_in_the_providers_own_words() {
    let script = "[[fault]]\nkind = 'rate_limited'\nretry_after = 7\ntimes = 1\n\
                  [[fault]]\nkind = 'quota'";
    let world = World::with_faults(script).await;
    let list =
        |world: &World| world.rkvst_request("GET", "invites", accounts::RKVST_BEARER_TOKEN).send();
    let response = list(&world).await.unwrap();
    assert_eq!(response.headers()["archivist-rate-limit-reset"], "7");
    let (status, answer) = read(list(&world).await.unwrap()).await;
    assert_eq!((status, &answer["error"]), (402, &json!("Entity QuotaReached")));
    let body = query(json!({}));
    let (status, answer) = world.turnkey("query/whoami", &body).await;
    assert_eq!((status, &answer["turnkeyErrorCode"]), (429, &json!("RATE_LIMIT_EXCEEDED")));
    let (status, answer) = world.turnkey("query/whoami", &body).await;
    assert_eq!((status, &answer["turnkeyErrorCode"]), (429, &json!("SIGNING_QUOTA_EXCEEDED")));
    let (status, answer) = world.securegate("GET", "/events", Value::Null).await;
    assert_eq!((status, answer), (429, json!({ "detail": "Too Many Requests" })));
}

#[tokio::test]
async fn a_batch_can_take_effect_in_part() {
    let script = "[[fault]]\nkind = 'partial'\nitems = 1";
    let (world, answer, _) = create_under(script).await;
    assert_eq!((status(&answer), count(&world).await), (500, 1));
    let (_, answer, _) = create_under(&format!("{script}\nstatus = 200")).await;
    let short: Value = serde_json::from_slice(body(&answer)).unwrap();
    assert_eq!((status(&answer), short.as_array().unwrap().len()), (200, 1));
    let body = invitations(now_ms(), &["ada@example.org", "bob@example.org"]);
    let (status, _) = world.turnkey("submit/create_invitations", &body).await;
    assert_eq!((status, world.effects("turnkey").await.len()), (500, 1));
    let invite = json!({ "email": "a@b.c", "message": "m" });
    assert_eq!(world.rkvst("POST", "invites", invite).await.0, 500);
    assert_eq!(world.effects("rkvst").await.len(), 1);
}

#[tokio::test]
async fn an_effect_can_come_late() {
    let script = "[[fault]]\nkind = 'late_effect'\ndelay = '100ms'";
    let (world, answer, _) = create_under(script).await;
    assert_eq!((answer.as_slice(), count(&world).await), (&b""[..], 0));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(count(&world).await, 2);
}

#[tokio::test]
async fn a_redirect_leads_to_a_stranger() {
    let (world, answer, _) = create_under("[[fault]]\nkind = 'redirect'\nstatus = 302").await;
    assert_eq!((status(&answer), count(&world).await), (302, 0));
    let location = format!("location: http://redirected.invalid{INVITES}\r\n");
    assert!(String::from_utf8_lossy(&answer).contains(&location));
}

#[tokio::test]
async fn latency_outlasts_a_caller_that_gives_up() {
    let script = "[[fault]]\nkind = 'latency'\ndelay = '200ms'\nmatch_email = 'ada@'";
    let world = World::with_faults(script).await;
    let url = format!("{}{INVITES}", world.url("securegate"));
    let request = world
        .client
        .post(url)
        .header("x-api-key", accounts::SECUREGATE_API_KEY)
        .timeout(Duration::from_millis(50))
        .json(&json!({ "invites": [person("ada@example.org")] }));
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(count(&world).await, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(count(&world).await, 1);
    let script = "[[fault]]\nkind = 'latency_after'\ndelay = '100ms'";
    let began = Instant::now();
    let (world, answer, _) = create_under(script).await;
    assert_eq!((status(&answer), count(&world).await), (200, 2));
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn silence_lasts_as_long_as_it_is_told_and_comes_at_four_moments() {
    for (kind, effects, bytes) in [
        ("silent_before", 0, false),
        ("silent_after", 2, false),
        ("silent_unread", 0, false),
        ("silent_mid_body", 2, true),
    ] {
        let began = Instant::now();
        let script = format!("[[fault]]\nkind = '{kind}'\ndelay = '150ms'");
        let (world, answer, _) = create_under(&script).await;
        assert!(began.elapsed() >= Duration::from_millis(150), "{kind}: {:?}", began.elapsed());
        assert_eq!((!answer.is_empty(), count(&world).await), (bytes, effects), "{kind}");
        assert!(serde_json::from_slice::<Value>(&answer).is_err());
        let seen = world.control("GET", "securegate", "requests", Value::Null).await;
        let cut = if bytes { "silent_mid_body" } else { "silent" };
        assert_eq!(seen["requests"][0]["cut"], cut);
    }
}

#[tokio::test]
async fn without_an_end_silence_outlasts_the_caller() {
    let world = World::with_faults("[[fault]]\nkind = 'silent_after'").await;
    let url = format!("{}{INVITES}", world.url("securegate"));
    let request = world.client.post(&url).json(&json!({ "invites": [person("ada@example.org")] }));
    let request = request.header("x-api-key", accounts::SECUREGATE_API_KEY);
    let error = request.timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(count(&world).await, 1);
}

#[tokio::test]
async fn one_destination_can_be_bad_while_the_others_are_well() {
    let world = World::start().await;
    for (provider, bad) in [
        ("securegate", accounts::SECUREGATE_EVENT_ID),
        ("rkvst", accounts::RKVST_FOREIGN_TENANT_ID),
        ("turnkey", accounts::TURNKEY_OTHER_ORGANIZATION_ID),
    ] {
        let rule = json!({ "kind": "status_before", "status": 503, "destination": bad });
        world.control("POST", provider, "faults", rule).await;
    }
    let asked = async |event: &str| {
        let body = json!({ "invites": [person("ada@example.org")] });
        let (made, _) = world.securegate("POST", &format!("/events/{event}/invites"), body).await;
        let path = format!("/invites?email=ada%40example.org&event_id={event}");
        [made, world.securegate("GET", &path, Value::Null).await.0]
    };
    assert_eq!(asked(accounts::SECUREGATE_EVENT_ID).await, [503, 503]);
    assert_eq!(asked(accounts::SECUREGATE_UPCOMING_EVENT_ID).await, [200, 200]);

    let list = async |id: &str, secret: &str| {
        let token = world.rkvst_token(id, secret).await.1["access_token"].clone();
        let request = world.rkvst_request("GET", "invites", token.as_str().unwrap());
        read(request.send().await.unwrap()).await.0
    };
    let (id, secret) = (accounts::RKVST_FOREIGN_CLIENT_ID, accounts::RKVST_FOREIGN_CLIENT_SECRET);
    assert_eq!(list(id, secret).await, 503);
    assert_eq!(list(accounts::RKVST_CLIENT_ID, accounts::RKVST_CLIENT_SECRET).await, 200);

    let whoami = async |organization: &str| {
        world.turnkey("query/whoami", &json!({ "organizationId": organization })).await.0
    };
    assert_eq!(whoami(accounts::TURNKEY_OTHER_ORGANIZATION_ID).await, 503);
    assert_eq!(whoami(accounts::TURNKEY_ORGANIZATION_ID).await, 200);
}

#[tokio::test]
async fn a_wait_is_told_in_the_form_of_the_rule_and_a_rate_in_every_answer() {
    let world = World::with_faults(
        "[[fault]]\nkind = 'status_before'\nstatus = 503\nretry_after = 90\n\
         retry_after_form = 'date'\ntimes = 1\n\
         [[fault]]\nkind = 'rate_limited'\nretry_after = '1500ms'\n\
         retry_after_form = 'fraction'\ntimes = 1",
    )
    .await;
    let get = async || {
        let request = world.rkvst_request("GET", "invites", accounts::RKVST_BEARER_TOKEN);
        let headers = request.send().await.unwrap().headers().clone();
        move |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let moment = |date: String| {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        parser.parse_timestamp(&date).unwrap().as_second()
    };
    let told = get().await;
    let wait = moment(told("retry-after").unwrap()) - moment(told("date").unwrap());
    assert!((89..=91).contains(&wait), "{wait}");
    assert_eq!(get().await("archivist-rate-limit-reset").as_deref(), Some("1.500"));
    assert_eq!(get().await("ratelimit-reset"), None);
    for (form, digits) in [("seconds", 1), ("epoch", 10), ("epoch_ms", 13)] {
        let rate_told = json!({ "remaining": 0, "reset_in_ms": 2_000, "form": form });
        world.set("rkvst", json!({ "rate_told": rate_told })).await;
        let told = get().await;
        assert_eq!(told("ratelimit-remaining").as_deref(), Some("0"));
        assert_eq!(told("ratelimit-reset").unwrap().len(), digits, "{form}");
    }
}

#[tokio::test]
async fn every_rule_of_the_example_script_is_valid() {
    let script = include_str!("../../../../config/sandbox/faults.toml");
    FaultScript::from_toml(script).unwrap();
    let uncommented: String = script
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .collect();
    let rules = uncommented.matches("[[fault]]").count();
    FaultScript::from_toml(&uncommented).unwrap();
    assert!(rules >= 24, "an example of each kind");
}
