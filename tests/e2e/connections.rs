//! Connections as such: how many there may be, how long each may keep the gateway waiting, and what is
//! answered to what is no request.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::read::GzDecoder;
use futures::future::join_all;
use invite_tests::{Builder, Gateway, eventually, invites, person};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// Longer than any time-out of these tests, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(15);
const SLOW_CREATION: &str = r#"
[[fault]]
provider = "turnkey"
operation = "create"
kind = "latency"
delay = "6s"
"#;

fn address(gateway: &Gateway) -> SocketAddr {
    gateway.url().strip_prefix("http://").unwrap().parse().unwrap()
}

async fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(address(gateway)).await.unwrap()
}

/// A connection that comes from another address of this machine.
async fn connect_from(from: &str, gateway: &Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(address(gateway)).await.unwrap()
}

/// Everything that comes until the gateway closes the connection, which it has to do soon.
async fn rest(connection: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(SOON, connection.read_to_end(&mut bytes)).await;
    // A connection that is cut is closed, too.
    let _ = read.expect("the gateway closes the connection");
    bytes
}

/// What is answered to these bytes on a connection of its own.
async fn answer(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut connection = connect(gateway).await;
    connection.write_all(bytes).await.unwrap();
    String::from_utf8(rest(&mut connection).await).unwrap()
}

/// The next answer on a connection that may stay open.
async fn next_answer(connection: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = timeout(SOON, connection.read(&mut bytes)).await;
    let count = read.expect("an answer comes").unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

async fn is_served(connection: &mut TcpStream) -> bool {
    let request = b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n";
    if connection.write_all(request).await.is_err() {
        return false;
    }
    let mut begin = [0; 12];
    let read = timeout(SOON, connection.read_exact(&mut begin)).await.expect("served or closed");
    read.is_ok() && begin == *b"HTTP/1.1 200"
}

/// The problem of an answer, which stands in the log under its id and in the metrics.
async fn problem(gateway: &Gateway, answer: &str, status: u16, code: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(headers.contains("content-type: application/problem+json"), "{headers}");
    assert!(headers.contains("date: "), "{headers}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (problem["status"].as_u64(), problem["code"].as_str()),
        (Some(u64::from(status)), Some(code))
    );
    let id = problem["request_id"].as_str().unwrap();
    assert!(headers.contains(&format!("x-request-id: {id}")), "{headers}");
    eventually("the log has a line of it", async || {
        gateway.log().lines().any(|line| line.contains(id) && line.contains(code)).then_some(())
    })
    .await;
    problem
}

/// The sum of a metric over all of its labels that contain a text.
async fn metric(gateway: &Gateway, name: &str, label: &str) -> f64 {
    let metrics = gateway.client().get("/metrics").await.expect(200).text;
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A gateway with times so short that a test can wait for them.
fn impatient() -> Builder {
    let mut builder = Gateway::builder();
    for time in ["head", "body", "answer", "idle"] {
        builder = builder.setting(&format!("server.{time}_timeout"), "300ms");
    }
    builder
}

#[tokio::test]
async fn a_thousand_silent_clients_lock_nobody_out() {
    // Half of the descriptors stay for everything else.
    let gateway = Gateway::builder().descriptors(600).start().await;
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut connection = connect(&gateway).await;
        if number % 2 == 0 {
            // Those that were closed to make room take nothing.
            let _ = connection.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await;
        }
        silent.push(connection);
        if number % 100 == 99 {
            let began = Instant::now();
            gateway.client().apart().get("/readyz").await.expect(200);
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
    }
    gateway.client().apart().invite(&invites("treasury", [person(1)])).await;
    let open = metric(&gateway, "http_connections ", "").await;
    assert!((100.0..=300.0).contains(&open), "{open}");
    assert!(metric(&gateway, "http_connections_closed_total", "evicted").await >= 700.0);
    assert!(!gateway.log().contains("cannot accept"), "a reserve of descriptors was kept");
    gateway.finish().await;
}

#[tokio::test]
async fn who_has_a_request_under_way_keeps_the_place_and_one_address_leaves_room_to_others() {
    let gateway = Gateway::builder()
        .setting("server.max_connections_per_address", "3")
        .faults(SLOW_CREATION)
        .start()
        .await;
    let key = gateway.client().key();
    let post = async |number: usize| {
        let mut connection = connect_from("127.0.0.2", &gateway).await;
        let body = invites("treasury", [person(number)]).to_string();
        let head = format!(
            "POST /v1/invites HTTP/1.1\r\nhost: gateway\r\nprefer: wait=2\r\n\
             authorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection
    };
    let mut waiting = join_all([1, 2, 3].map(post)).await;
    eventually("all three are being done", async || {
        let invites = gateway.client().get("/v1/invites").await.expect(200).invites();
        (invites.len() == 3).then_some(())
    })
    .await;
    let mut refused = connect_from("127.0.0.2", &gateway).await;
    assert!(!is_served(&mut refused).await);
    assert!(is_served(&mut connect_from("127.0.0.3", &gateway).await).await);
    for connection in &mut waiting {
        assert!(next_answer(connection).await.starts_with("HTTP/1.1 202"));
    }
    // They are idle now, and go.
    assert!(is_served(&mut connect_from("127.0.0.2", &gateway).await).await);
    gateway.finish().await;
}

#[tokio::test]
async fn who_is_slow_to_send_a_body_leaves_the_place_to_others() {
    let gateway =
        Gateway::builder().setting("server.max_connections_per_address", "3").start().await;
    let head = format!(
        "POST /v1/invites HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 500\r\nexpect: 100-continue\r\n\r\n",
        gateway.client().key()
    );
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut connection = connect_from("127.0.0.2", &gateway).await;
        connection.write_all(head.as_bytes()).await.unwrap();
        assert!(next_answer(&mut connection).await.starts_with("HTTP/1.1 100"));
        slow.push(connection);
    }
    let begun = Instant::now();
    eventually("one of them has lost its place", async || {
        let mut connection = connect_from("127.0.0.2", &gateway).await;
        is_served(&mut connection).await.then_some(())
    })
    .await;
    // A body may take a while where there is room.
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    gateway.finish().await;
}

#[tokio::test]
async fn the_limit_of_one_address_holds_for_each_whom_a_proxy_forwards_for() {
    let gateway = Gateway::builder()
        .setting("server.max_connections_per_address", "2")
        .setting("server.trusted_proxies", "127.0.0.1")
        .faults(SLOW_CREATION)
        .start()
        .await;
    let (ours, other) = ("192.0.2.7", "192.0.2.8");
    let post = |number: usize| {
        let request = gateway.client().apart().request("POST", "/v1/invites");
        let request = request.header("x-forwarded-for", ours).header("prefer", "wait=4");
        tokio::spawn(request.json(&invites("treasury", [person(number)])).send())
    };
    let waiting = [1, 2].map(post);
    eventually("both are being done", async || {
        let invites = gateway.client().get("/v1/invites").await.expect(200).invites();
        (invites.len() == 2).then_some(())
    })
    .await;
    let list = async |client: &str| {
        let request = gateway.client().request("GET", "/v1/invites");
        request.header("x-forwarded-for", client).send().await
    };
    let refused = list(ours).await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &Value::from("not-ready")));
    assert_eq!(refused.header("retry-after"), Some("5"));
    list(other).await.expect(200);
    for answer in waiting {
        answer.await.unwrap().expect(202);
    }
    list(ours).await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn heads_and_idle_connections_that_do_not_come_to_an_end_are_closed() {
    let gateway = impatient().start().await;
    let mut silent = connect(&gateway).await;
    assert_eq!(rest(&mut silent).await, b"");
    let mut half = connect(&gateway).await;
    half.write_all(b"GET /livez HTTP/1.1\r\nhost: gate").await.unwrap();
    assert_eq!(rest(&mut half).await, b"");
    let mut idle = connect(&gateway).await;
    assert!(is_served(&mut idle).await);
    assert!(String::from_utf8(rest(&mut idle).await).unwrap().ends_with(r#"{"status":"ok"}"#));
    // A head that trickles in has no more time than one that does not come.
    let mut slow = connect(&gateway).await;
    let trickle = async {
        for byte in b"GET /livez HTTP/1.1\r\nhost: gateway".iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            let _ = timeout(Duration::from_millis(50), slow.readable()).await;
        }
    };
    timeout(SOON, trickle).await.expect("the connection is closed");
    let closed = metric(&gateway, "http_connections_closed_total", "timeout").await;
    assert!(closed >= 4.0, "{closed}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_a_problem_and_nothing_is_done() {
    let gateway = impatient().start().await;
    for length in ["content-length: 100", "transfer-encoding: chunked"] {
        let head = format!(
            "POST /v1/invites HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n{length}\r\n\r\n5\r\n[",
            gateway.client().key()
        );
        let answer = answer(&gateway, head.as_bytes()).await;
        let problem = problem(&gateway, &answer, 408, "body-timeout").await;
        assert_eq!(problem["outcome"], "not_sent");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn answers_that_nobody_reads_are_given_up() {
    let gateway = impatient().start().await;
    let mut connection = connect(&gateway).await;
    // More answers than the kernel keeps for a caller who reads none.
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: gateway\r\n\r\n".repeat(500);
    let _ = timeout(SOON, connection.write_all(&request)).await.expect("taken, or cut off");
    eventually("the connection is closed", async || {
        let closed = metric(&gateway, "http_connections_closed_total", "answer-timeout").await;
        (closed >= 1.0).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_as_a_request_is_a_problem_in_log_and_metrics() {
    let gateway = Gateway::start().await;
    let many = "x: y\r\n".repeat(101);
    let long = "x".repeat(70_000);
    for (sent, status, code) in [
        ("\u{1}\u{2}\r\n\r\n".to_owned(), 400, "malformed-request"),
        ("GET /livez HTTP/7.3\r\nhost: gateway\r\n\r\n".to_owned(), 400, "malformed-request"),
        ("GET /livez HTTP/1.1\r\nho st: gateway\r\n\r\n".to_owned(), 400, "malformed-request"),
        (
            "POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            400,
            "malformed-request",
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: g\r\n\r\n"), 414, "uri-too-long"),
        (format!("GET / HTTP/1.1\r\nhost: g\r\nx: {long}\r\n\r\n"), 431, "headers-too-large"),
        (format!("GET / HTTP/1.1\r\nhost: g\r\n{many}\r\n"), 431, "headers-too-large"),
    ] {
        let answer = answer(&gateway, sent.as_bytes()).await;
        problem(&gateway, &answer, status, code).await;
    }
    assert!(metric(&gateway, "http_requests_total", "unreadable").await >= 7.0);
    // Sixty kilobytes are no fault.
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: g\r\nconnection: close\r\nx: {}\r\n\r\n",
        "x".repeat(60_000)
    );
    assert!(answer(&gateway, head.as_bytes()).await.starts_with("HTTP/1.1 200"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_malformed() {
    let gateway = Gateway::start().await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nHost: b\r\n", "host: a b\r\n"] {
        let request = format!("GET /livez HTTP/1.1\r\nconnection: close\r\n{hosts}\r\n");
        let answer = answer(&gateway, request.as_bytes()).await;
        problem(&gateway, &answer, 400, "malformed-request").await;
    }
    assert!(answer(&gateway, b"GET /livez HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_is_compressed_for_who_asks_for_that() {
    let gateway = Gateway::start().await;
    let get = async |coding: &str| {
        let request = format!(
            "GET /openapi.json HTTP/1.0\r\nhost: gateway\r\naccept-encoding: {coding}\r\n\r\n"
        );
        let mut connection = connect(&gateway).await;
        connection.write_all(request.as_bytes()).await.unwrap();
        let bytes = rest(&mut connection).await;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
    };
    let (plain_head, plain) = get("identity").await;
    let (head, compressed) = get("gzip").await;
    assert!(!plain_head.contains("content-encoding"), "{plain_head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = Vec::new();
    GzDecoder::new(compressed.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(compressed.len() * 3 < plain.len());
    gateway.finish().await;
}

#[tokio::test]
async fn an_answer_arrives_although_the_body_was_not_read() {
    let gateway = Gateway::start().await;
    let length = 8 * 1024 * 1024;
    let head =
        format!("POST /v1/invites HTTP/1.1\r\nhost: gateway\r\ncontent-length: {length}\r\n\r\n");
    let mut connection = connect(&gateway).await;
    connection.write_all(head.as_bytes()).await.unwrap();
    // As much as is taken.
    let _ = timeout(SOON, connection.write_all(&vec![b'x'; 1024 * 1024])).await.unwrap();
    let answer = String::from_utf8(rest(&mut connection).await).unwrap();
    problem(&gateway, &answer, 401, "unauthorized").await;
    gateway.finish().await;
}
