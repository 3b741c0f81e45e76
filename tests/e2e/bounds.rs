//! What a request may cost, whatever stands in it: time of processors, and the size of what is
//! answered, stored and listed.

use std::iter::repeat_n;
use std::time::{Duration, Instant};

use invite_tests::{Answer, Client, Gateway, eventually, invites, person};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// As much as a problem may be.
const LONGEST_PROBLEM: usize = 64_000;

/// So many bytes of members that nothing knows.
fn members(bytes: usize) -> Value {
    (0..bytes / 14).map(|at| (format!("m{at:07}"), json!(1))).collect::<Map<_, _>>().into()
}

/// A person with one member set.
fn with(member: &str, value: Value) -> Value {
    let mut person = person(1);
    person[member] = value;
    person
}

/// So many people with this much of something wrong for all of them together.
fn people(bytes: usize, wrong: impl Fn(usize) -> Value) -> Value {
    invites("berlin-summit", repeat_n(wrong(bytes / 200 - 200), 200))
}

/// A kind of wrong body, and one of about so many bytes.
type Kind = (&'static str, fn(usize) -> Value);

const KINDS: &[Kind] = &[
    ("unknown members of the request", members),
    ("unknown members of an invite", |bytes| invites("treasury", [members(bytes)])),
    ("unknown options of securegate", |bytes| {
        invites("berlin-summit", [with("options", json!({ "securegate": members(bytes) }))])
    }),
    ("unknown options of rkvst", |bytes| {
        invites("acme-tenancy", [with("options", json!({ "rkvst": members(bytes) }))])
    }),
    ("unknown options of turnkey", |bytes| {
        invites("treasury", [with("options", json!({ "turnkey": members(bytes) }))])
    }),
    ("options of unknown kinds", |bytes| invites("treasury", [with("options", members(bytes))])),
    ("tags that are none", |bytes| {
        let tags = vec!["none"; bytes / 7];
        invites("treasury", [with("options", json!({ "turnkey": { "receiver_user_tags": tags } }))])
    }),
    (
        "destinations that are none",
        |bytes| json!({ "to": vec!["nowhere"; bytes / 10], "invites": [person(1)] }),
    ),
    (
        "destinations of another type",
        |bytes| json!({ "to": vec![1; bytes / 2], "invites": [person(1)] }),
    ),
    ("labels without end", |bytes| invites("treasury", [with("labels", members(bytes))])),
    ("invites without end", |bytes| json!({ "to": "treasury", "invites": vec![1; bytes / 2] })),
    ("an address without end", |bytes| {
        invites("treasury", [with("email", "a".repeat(bytes).into())])
    }),
    ("a name without end", |bytes| {
        invites("treasury", [with("first_name", "ä".repeat(bytes / 2).into())])
    }),
    ("a member with a name without end", |bytes| json!({ "x".repeat(bytes): 1 })),
    ("many invites with unknown members", |bytes| people(bytes, members)),
    ("many invites with unknown options", |bytes| {
        people(bytes, |bytes| with("options", json!({ "securegate": members(bytes) })))
    }),
    ("many invites to nowhere", |bytes| {
        people(bytes, |bytes| with("to", vec!["nowhere"; (bytes / 10).min(100)].into()))
    }),
];

/// A kind of provider document, and one of about so many bytes.
type Document = (&'static str, fn(usize) -> String);

const DOCUMENTS: &[Document] = &[
    ("members that are none", |bytes| {
        (0..bytes / 14).map(|at| format!("m{at:07} = 1\n")).collect()
    }),
    ("providers without anything", |bytes| {
        (0..bytes / 18).map(|at| format!("[providers.{at:05}]\n")).collect()
    }),
    ("a route to many that are none", |bytes| {
        let providers = (0..300).map(|at| format!("[providers.p{at}]\nkind = \"rkvst\"\n"));
        let names = (0..bytes / 10).map(|at| format!("\"n{at:06}\",")).collect::<String>();
        format!("{}[[routes]]\nto = [{names}]\n", providers.collect::<String>())
    }),
    ("many routes to one that is none", |bytes| {
        let routes = (0..bytes / 26).map(|at| format!("[[routes]]\nto = \"n{at:06}\"\n"));
        let providers = (0..300).map(|at| format!("[providers.p{at}]\nkind = \"rkvst\"\n"));
        providers.chain(routes).collect()
    }),
];

/// A path, the body's media type, a preference, and a body.
type Request<'a> = (&'a str, &'a str, &'a str, String);

/// What the gateway needs in processor time for a request, and what it answers.
async fn cost(gateway: &Gateway, client: &Client, request: &Request<'_>) -> (Duration, Answer) {
    let (path, media_type, prefer, body) = request;
    let before = gateway.processor_times();
    let asked = client.request("POST", path);
    let asked = asked.header("content-type", media_type).header("prefer", prefer);
    let answer = asked.bytes(body.clone()).send().await;
    assert!(matches!(answer.status, 200 | 422), "{}", answer.text);
    let used = gateway.processor_times().into_iter();
    let used = used.map(|(thread, time)| time - before.get(&thread).copied().unwrap_or_default());
    (used.sum(), answer)
}

/// Holds that a request of four times the size needs at most six times as much: a square would need
/// sixteen times, and what else the machine does never half as much again.
async fn is_linear(gateway: &Gateway, client: &Client, what: &str, requests: [Request<'_>; 2]) {
    let mut least = [Duration::MAX; 2];
    let is_linear = |[quarter, whole]: [Duration; 2]| {
        // What is too short to be measured is no square of anything.
        whole <= 6 * quarter || whole <= Duration::from_millis(20)
    };
    // Whatever else runs on the machine makes some measurements longer, and none shorter: the least of
    // them comes down to the truth, and a square stays one. Three show that a small one was no accident.
    for round in 0..40 {
        for (least, request) in least.iter_mut().zip(&requests) {
            let (cost, answer) = cost(gateway, client, request).await;
            assert!(answer.status == 200 || answer.text.len() < LONGEST_PROBLEM, "{what}");
            let wrong = answer.body["errors"].as_array().or(answer.body["findings"].as_array());
            assert!(wrong.is_none_or(|wrong| wrong.len() <= 101), "{what}");
            *least = cost.min(*least);
        }
        if round >= 2 && is_linear(least) {
            return;
        }
    }
    assert!(is_linear(least), "{what}: {least:?}");
}

#[tokio::test]
async fn four_times_the_body_takes_at_most_six_times_the_processor() {
    let gateway = Gateway::start().await;
    let client = &gateway.caller("admin", &[]).await;
    let (invites_at, json) = ("/v1/invites?dry_run=true", "application/json");
    for (what, body) in KINDS {
        for prefer in ["handling=strict", "handling=lenient"] {
            let requests =
                [100_000, 400_000].map(|bytes| (invites_at, json, prefer, body(bytes).to_string()));
            is_linear(&gateway, client, &format!("{what} ({prefer})"), requests).await;
        }
    }
    for provider in ["berlin-summit", "acme-tenancy", "treasury"] {
        let good = |count: usize| invites(provider, (0..count).map(person)).to_string();
        let requests = [250, 1000].map(|n| (invites_at, json, "handling=strict", good(n)));
        is_linear(&gateway, client, &format!("a plan at {provider}"), requests).await;
    }
    for (what, document) in DOCUMENTS {
        let requests = [50_000, 200_000].map(|bytes| {
            ("/v1/admin/config/check", "application/toml", "handling=strict", document(bytes))
        });
        is_linear(&gateway, client, what, requests).await;
    }
    gateway.finish().await;
}

#[tokio::test]
async fn requests_that_take_long_keep_no_other_waiting() {
    let gateway = Gateway::start().await;
    let body = invites("treasury", [with("options", json!({ "turnkey": members(1_000_000) }))]);
    let body = body.to_string();
    let mut posts = JoinSet::new();
    for _ in 0..3 {
        let (client, body): (Client, String) = (gateway.client().apart(), body.clone());
        posts.spawn(async move {
            let request = client.request("POST", "/v1/invites");
            request.header("content-type", "application/json").bytes(body).send().await
        });
    }
    let mut longest = Duration::ZERO;
    while !posts.is_empty() {
        let asked = Instant::now();
        gateway.client().get("/livez").await.expect(200);
        longest = longest.max(asked.elapsed());
        while let Some(answer) = posts.try_join_next() {
            answer.unwrap().expect(422);
        }
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    gateway.finish().await;
}

#[tokio::test]
async fn two_mebibytes_of_faults_leave_little_behind() {
    let gateway = Gateway::start().await;
    let unknown = (0..700).map(|at| (format!("m{at:07}"), "x".repeat(12).into()));
    let unknown = Value::Object(unknown.collect());
    let body = invites("treasury", repeat_n(with("options", json!({ "turnkey": unknown })), 100));
    let post = gateway.client().request("POST", "/v1/invites").json(&body);
    let accepted = post.header("prefer", "handling=lenient").send().await.expect(201);
    let listed = gateway.client().get("/v1/invites?limit=200").await.expect(200);
    for answer in [&accepted, &listed] {
        assert_eq!(answer.invites().len(), 100);
        assert!(answer.text.len() < 1_000_000, "{} bytes", answer.text.len());
        for invite in answer.invites() {
            let errors = invite["error"]["errors"].as_array().unwrap();
            assert_eq!((errors.len(), &errors[19]["code"]), (20, &json!("more-faults")));
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_asked_for_beside_the_body_is_bounded_too() {
    let gateway = Gateway::start().await;
    let list = |count: usize| format!("/v1/invites?{}", vec!["label=a:b"; count].join("&"));
    gateway.client().get(&list(16)).await.expect(200);
    let refused = gateway.client().get(&list(17)).await.expect(422);
    assert_eq!(refused.pointers(), ["?label"]);
    let parent = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
    for (given, stored) in
        [(parent.clone(), json!(parent)), (format!("{parent}-{}", "c".repeat(9_000)), Value::Null)]
    {
        let body = invites("treasury", [person(if stored.is_null() { 2 } else { 3 })]);
        let post = gateway.client().request("POST", "/v1/invites").json(&body);
        let invite =
            post.header("traceparent", &given).send().await.expect(201).invites().remove(0);
        let path = format!("/v1/invites/{}/attempts", invite["id"].as_str().unwrap());
        let attempts = gateway.client().get(&path).await.expect(200).body;
        assert_eq!(attempts["attempts"][0]["traceparent"], stored);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_number_that_cannot_exist_is_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    for phone in ["+4407700900123", "+15551234", "+6104123456"] {
        let body = invites("berlin-summit", [with("phone", phone.into())]);
        let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
        assert_eq!(answer.pointers(), ["#/invites/0/phone"], "{}", answer.text);
        assert!(answer.text.contains("there is no such number"), "{}", answer.text);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn of_more_than_a_hundred_faults_the_last_that_is_listed_says_so() {
    let gateway = Gateway::start().await;
    for (count, listed, code) in
        [(100, 100, "unknown-member"), (101, 100, "more-faults"), (5_000, 100, "more-faults")]
    {
        let body =
            invites("treasury", [with("options", json!({ "turnkey": members(14 * count) }))]);
        let answer = gateway.client().post("/v1/invites", &body).await.expect(422);
        let errors = answer.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), listed);
        assert_eq!(errors[listed - 1]["code"], code);
    }
    gateway.finish().await;
}

/// A figure of the process's memory, in bytes.
fn memory(gateway: &Gateway, name: &str) -> usize {
    let status = gateway.process_file("status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    1024 * line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<usize>().unwrap()
}

#[tokio::test]
async fn bodies_that_do_not_come_to_their_end_take_a_bounded_memory_of_their_own_key_alone() {
    let gateway = Gateway::start().await;
    let other = gateway.caller("invites:write", &[]).await;
    let key = gateway.client().key();
    let head = format!(
        "POST /v1/invites HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: 2097152\r\n\r\n"
    );
    let begin = async || {
        let address = gateway.url().strip_prefix("http://").unwrap().to_owned();
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        connection
    };
    let refusal = async |connection: &mut TcpStream| {
        let mut bytes = vec![0; 4096];
        let read = timeout(Duration::from_secs(2), connection.read(&mut bytes)).await.ok()?;
        Some(String::from_utf8(bytes[..read.unwrap()].to_vec()).unwrap())
    };
    let before = memory(&gateway, "VmRSS");
    let mut held = Vec::new();
    // Eight of them fit.
    for _ in 0..12 {
        let mut connection = begin().await;
        // Who is refused may be cut off.
        let _ = connection.write_all(&[b' '; 2_000_000]).await;
        held.push(connection);
    }
    // One that came before some of those has the place of one of them, and keeps it.
    eventually("all of them are being read", async || {
        let mut connection = begin().await;
        let answer = refusal(&mut connection).await;
        held.push(connection);
        answer
    })
    .await;
    for _ in 0..50 {
        // What is only announced counts like what is there.
        let answer = refusal(&mut begin().await).await.expect("a refusal");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
        assert!(answer.contains("this key's other requests"), "{answer}");
    }
    let taken = memory(&gateway, "VmRSS").saturating_sub(before);
    assert!(taken < 60_000_000, "{taken} bytes");
    let large = invites("treasury", (0..500).map(person));
    assert!(large.to_string().len() > 30_000);
    other.post("/v1/invites?dry_run=true", &large).await.expect(200);
    let small = invites("treasury", [person(1)]);
    gateway.client().post("/v1/invites?dry_run=true", &small).await.expect(200);
    drop(held);
    eventually("the memory is given back", async || {
        let answer = gateway.client().post("/v1/invites?dry_run=true", &large).await;
        (answer.status == 200).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn the_smallest_of_values_take_no_more_memory_than_others() {
    let gateway = Gateway::start().await;
    let body =
        format!(r#"{{"to":"treasury","invites":[{}]}}"#, vec![r#"{"a":0}"#; 260_000].join(","));
    let mut posts = JoinSet::new();
    for _ in 0..20 {
        let (client, body): (Client, String) = (gateway.client().apart(), body.clone());
        posts.spawn(async move {
            let request = client.request("POST", "/v1/invites?dry_run=true");
            request.header("content-type", "application/json").bytes(body).send().await
        });
    }
    let answers = posts.join_all().await;
    assert!(answers.iter().any(|answer| answer.status == 422));
    for answer in answers {
        match answer.status {
            422 => {
                let fault = &answer.body["errors"][0];
                assert_eq!((&fault["pointer"], &fault["code"]), (&json!("#"), &json!("too-many")));
            }
            _ => assert_eq!(answer.expect(503).body["code"], "not-ready"),
        }
    }
    let most = memory(&gateway, "VmHWM");
    assert!(most < 300_000_000, "{most} bytes");
    gateway.finish().await;
}
