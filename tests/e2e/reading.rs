//! Reading invites, attempts and batches.

use invite_tests::{Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{text, texts};

async fn list(gateway: &Gateway, query: &str) -> Vec<Value> {
    gateway.client().get(&format!("/v1/invites?{query}")).await.expect(200).invites()
}

#[tokio::test]
async fn each_filter_finds_what_it_names() {
    let gateway = Gateway::start().await;
    let mut labelled = person(1);
    labelled["labels"] = json!({ "team": "north", "floor": "2" });
    labelled["external_id"] = json!("hr-1");
    let first = gateway.client().invite(&invites("acme-tenancy", [labelled])).await.remove(0);
    let second = gateway.client().invite(&invites("treasury", [person(2)])).await.remove(0);
    let path = format!("/v1/invites/{}", text(&second, "id"));
    gateway.client().delete(&path).await.expect(200);
    let first_only = [
        format!("batch_id={}", text(&first, "batch_id")),
        "provider=acme-tenancy".to_owned(),
        "status=pending".to_owned(),
        "status=pending&status=accepted".to_owned(),
        "email=Guest1@Example.ORG".to_owned(),
        "external_id=hr-1".to_owned(),
        "label=team:north".to_owned(),
        "label=team:north&label=floor:2".to_owned(),
        format!("created_before={}", text(&second, "created_at")),
    ];
    for query in &first_only {
        let found = list(&gateway, query).await;
        assert_eq!(texts(&found, "id"), [text(&first, "id")], "{query}");
    }
    let second_only = [
        "status=revoked".to_owned(),
        format!("created_after={}", text(&first, "created_at")),
        format!("updated_after={}", text(&first, "updated_at")),
        "email=guest2@example.org&provider=treasury".to_owned(),
        "email=guest2@example.org&created_before=9999-12-31T23:59:59Z".to_owned(),
        "email=guest2@example.org&updated_after=0000-01-01T00:00:00Z".to_owned(),
    ];
    for query in &second_only {
        let found = list(&gateway, query).await;
        assert_eq!(texts(&found, "id"), [text(&second, "id")], "{query}");
    }
    for query in [
        "label=team:south",
        "label=team:north&label=floor:3",
        "provider=berlin-summit",
        "created_after=9999-12-31T23:59:59Z",
    ] {
        assert!(list(&gateway, query).await.is_empty(), "{query}");
    }
    let both = list(&gateway, "status=pending&status=revoked").await;
    assert_eq!(texts(&both, "id"), [text(&second, "id"), text(&first, "id")], "newest first");
    gateway.finish().await;
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    let gateway = Gateway::start().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=many",
        "status=lost",
        "created_after=yesterday",
        "label=team",
        "cursor=elsewhere",
        "colour=blue",
    ] {
        gateway.client().get(&format!("/v1/invites?{query}")).await.expect(422);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn pages_show_each_invite_once_while_others_come_in() {
    let gateway = Gateway::start().await;
    let people = || (0..7).map(person);
    let body = invites("acme-tenancy", people());
    let mut expected: Vec<String> = Vec::new();
    for invite in gateway.client().invite(&body).await.iter().rev() {
        expected.push(text(invite, "id").to_owned());
    }
    let mut found = Vec::new();
    let mut path = "/v1/invites?limit=3".to_owned();
    for page in 0..3 {
        let answer = gateway.client().get(&path).await.expect(200);
        found.extend(answer.invites().iter().map(|invite| text(invite, "id").to_owned()));
        gateway.client().invite(&invites("acme-tenancy", [person(100 + page)])).await;
        let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
        path = format!("/v1/invites?limit=3&cursor={cursor}");
    }
    assert_eq!(found, expected);
    gateway.finish().await;
}

#[tokio::test]
async fn the_last_page_says_that_it_is_the_last() {
    let gateway = Gateway::start().await;
    gateway.client().invite(&invites("acme-tenancy", (0..4).map(person))).await;
    let first = gateway.client().get("/v1/invites?limit=2").await.expect(200);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let path = format!("/v1/invites?limit=2&cursor={cursor}");
    let last = gateway.client().get(&path).await.expect(200);
    assert_eq!(last.invites().len(), 2);
    assert_eq!(last.body.get("next_cursor").unwrap_or(&Value::Null), &Value::Null);
    gateway.finish().await;
}

#[tokio::test]
async fn attempts_tell_every_call_and_its_outcome() {
    let gateway = Gateway::start().await;
    let busy = json!({ "operation": "create", "kind": "rate_limited", "times": 1 });
    gateway.simulators.break_down("rkvst", busy).await;
    let invite = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let path = format!("/v1/invites/{}/attempts", text(&invite, "id"));
    let attempts = gateway.client().get(&path).await.expect(200).list("attempts");
    assert_eq!(texts(&attempts, "operation"), ["create", "create"]);
    assert_eq!(texts(&attempts, "outcome"), ["throttled", "succeeded"]);
    assert_eq!(attempts[0]["http_status"], 429);
    assert_eq!(attempts[1]["http_status"], 200);
    for attempt in &attempts {
        assert!(attempt["started_at"].is_string() && attempt["duration_ms"].is_number());
        assert!(attempt["config_revision"].as_i64().unwrap() >= 1);
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_shared_call_shows_each_invite_its_own_part_only() {
    let gateway = Gateway::start().await;
    let found = gateway.client().invite(&invites("treasury", [person(1), person(2)])).await;
    let path = format!("/v1/invites/{}/attempts", text(&found[0], "id"));
    let attempts = gateway.client().get(&path).await.expect(200).list("attempts");
    let exchange = json!(attempts).to_string();
    assert!(exchange.contains("guest1@example.org"), "{exchange}");
    assert!(!exchange.contains("guest2"), "{exchange}");
    gateway.finish().await;
}

#[tokio::test]
async fn the_exchange_itself_wants_a_scope_of_its_own() {
    let gateway = Gateway::start().await;
    let invite = gateway.client().invite(&invites("treasury", [person(1)])).await.remove(0);
    let path = format!("/v1/invites/{}/attempts", text(&invite, "id"));
    let raw = gateway.client().get(&path).await.expect(200).list("attempts").remove(0);
    assert!(!raw["request"].is_null() && !raw["reply"].is_null(), "{raw}");
    let shown = raw.to_string();
    assert!(!shown.contains("eyJ") && !shown.contains("X-Stamp"), "{shown}");
    let reader = gateway.caller("invites:read", &[]).await;
    let plain = reader.get(&path).await.expect(200).list("attempts").remove(0);
    assert!(plain.get("request").is_none_or(Value::is_null), "{plain}");
    assert!(plain.get("reply").is_none_or(Value::is_null), "{plain}");
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let gateway = Gateway::start().await;
    let invite = gateway.client().invite(&invites("treasury", [person(1)])).await.remove(0);
    let id = text(&invite, "id");
    let other = format!("{}00000000", &id[..id.len() - 8]);
    for path in [
        format!("/v1/invites/{other}"),
        format!("/v1/invites/{other}/attempts"),
        "/v1/invites/inv_nothing".to_owned(),
        "/v1/invites/%F0%9F%92%A9".to_owned(),
        format!("/v1/batches/{}", other.replace("inv_", "bat_")),
        "/v1/batches/1".to_owned(),
        "/v1/providers/nowhere".to_owned(),
    ] {
        gateway.client().get(&path).await.problem(404, "not-found");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_past_its_time_reads_as_expired_everywhere() {
    let gateway = Gateway::start().await;
    gateway.simulators.set("rkvst", json!({ "invite_lifetime_seconds": 2 })).await;
    let body = invites("acme-tenancy", [person(1)]);
    let created = gateway.client().invite(&body).await.remove(0);
    let expired = gateway.client().read_once(&created, &["expired"]).await;
    assert_eq!(text(&expired, "status_source"), "inferred");
    let listed = list(&gateway, "status=expired").await;
    assert_eq!(texts(&listed, "id"), [text(&created, "id")]);
    assert!(list(&gateway, "status=pending").await.is_empty());
    let batch = format!("/v1/batches/{}", text(&created, "batch_id"));
    let batch = gateway.client().get(&batch).await.expect(200).body;
    assert_eq!(batch["counts"], json!({ "total": 1, "duplicates": 0, "expired": 1 }));
    let again = gateway.client().invite(&body).await.remove(0);
    assert_ne!(again["id"], created["id"], "no duplicate of what is over");
    gateway.finish().await;
}

#[tokio::test]
async fn a_batch_counts_what_became_of_its_invites() {
    let gateway = Gateway::start().await;
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
                         "match_email": "guest2@" });
    gateway.simulators.break_down("rkvst", refuse).await;
    let body = invites("acme-tenancy", [person(1), person(2), person(3)]);
    let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
    let path = answer.header("location").unwrap();
    let batch = gateway.client().get(path).await.expect(200).body;
    assert_eq!(text(&batch, "state"), "completed_with_failures");
    let counts = json!({ "total": 3, "duplicates": 0, "pending": 2, "failed": 1 });
    assert_eq!(batch["counts"], counts);
    let failed = answer.invites().remove(1);
    assert_eq!(failed["error"]["origin"], "provider");
    assert_eq!(failed["error"]["outcome"], "rejected");
    assert_eq!(failed["error"]["provider"], "acme-tenancy");
    assert_eq!(failed["error"]["provider_http_status"], 400);
    assert!(failed["error"].get("status").is_none() && failed["error"].get("request_id").is_none());
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_provider_said_of_a_call_of_several_tenants_is_shown_to_who_sees_all_tenants() {
    let rate = "requests_per_second = 1000\n";
    let lingering = format!("{rate}linger = \"1s\"\n");
    let gateway = Gateway::builder().replace(rate, &lingering).start().await;
    // Invites gather while a call is under way.
    let slow = json!({ "operation": "create", "kind": "latency", "delay": "1200ms", "times": 1 });
    gateway.simulators.break_down("securegate", slow).await;
    let refuse = json!({ "operation": "create", "kind": "status_before", "status": 413, "times": 1,
                         "match_email": "guest2@", "body": { "detail": "blocked: guestbook" } });
    gateway.simulators.break_down("securegate", refuse).await;
    let scopes = "invites:write,invites:read,invites:raw";
    let other = gateway.caller(scopes, &["--tenant", "zq"]).await;
    let all = gateway.caller(&format!("{scopes},invites:all-tenants"), &[]).await;
    let company = invites("berlin-summit", [person(3)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&company);
    let company = request.header("prefer", "respond-async").send().await.expect(202).invites();
    gateway.client().read_once(&company[0], &["sending"]).await;
    let (one, two) = (invites("berlin-summit", [person(1)]), invites("berlin-summit", [person(2)]));
    let (_, mine) = tokio::join!(gateway.client().invite(&one), other.invite(&two));
    let mine = other.read_once(&mine[0], &["pending"]).await;
    let path = format!("/v1/invites/{}/attempts", text(&mine, "id"));
    let first = async |client: &invite_tests::Client| {
        let attempts = client.get(&path).await.expect(200).list("attempts");
        assert_eq!(attempts.len(), 2, "one that was shared, and one of its own: {attempts:?}");
        assert_eq!(attempts[1]["reply"][0]["email"], "guest2@example.org");
        attempts[0].clone()
    };
    let told = first(&other).await;
    assert_eq!(told["detail"], "the provider refused a call");
    assert_eq!(told["request"]["invites"][0]["email"], "guest2@example.org");
    assert!(!told["reply"].is_null() && !told.to_string().contains("guestbook"), "{told}");
    let told = first(&all).await;
    assert!(text(&told, "detail").contains("guestbook"), "{told}");
    assert!(told["reply"].to_string().contains("guestbook"), "{told}");
    gateway.finish().await;
}

#[tokio::test]
async fn attempts_come_in_pages_and_the_latest_questions_are_kept() {
    let gateway = Gateway::start().await;
    let invite = gateway.client().invite(&invites("berlin-summit", [person(1)])).await.remove(0);
    let path = format!("/v1/invites/{}", text(&invite, "id"));
    for _ in 0..23 {
        gateway.client().post(&format!("{path}/refresh"), &Value::Null).await.expect(200);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}/attempts?limit=8{cursor}");
        let answer = gateway.client().get(&page).await.expect(200).body;
        found.extend(answer["attempts"].as_array().unwrap().clone());
        let Some(next) = answer["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let operations = texts(&found, "operation");
    assert_eq!((operations[0], operations.len()), ("create", 21));
    assert!(operations[1..].iter().all(|operation| *operation == "get"));
    assert!(texts(&found, "id").is_sorted(), "oldest first");
    gateway.client().get(&format!("{path}/attempts?limit=201")).await.expect(422);
    gateway.finish().await;
}

#[tokio::test]
async fn a_list_that_is_too_slow_says_so_and_how_to_have_it() {
    use sqlx::{Connection, Executor};
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    let mut other = sqlx::PgConnection::connect(&gateway.postgres_url()).await.unwrap();
    // Whoever reads invites waits for it.
    let mut held = other.begin().await.unwrap();
    held.execute("LOCK TABLE invites IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let problem = gateway.client().get("/v1/invites").await.problem(503, "not-ready");
    let detail = text(&problem, "detail");
    assert!(detail.contains("longer than 5 s") && detail.contains("narrow it"), "{detail}");
    held.rollback().await.unwrap();
    assert_eq!(gateway.client().get("/v1/invites").await.expect(200).list("invites").len(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn who_follows_what_was_updated_sees_nothing_of_questions_whose_answer_is_the_same() {
    for database in [Database::Sqlite, Database::Postgres] {
        let gateway =
            Gateway::builder().database(database).setting("delivery.refresh", "1s").start().await;
        for (number, provider) in ["berlin-summit", "acme-tenancy", "treasury"].iter().enumerate() {
            gateway.client().invite(&invites(provider, [person(number)])).await;
        }
        // The first answers may show more than the replies to the calls did.
        let asked_after = async |before: Vec<Value>| {
            eventually("each is asked about", async || {
                let found = list(&gateway, "").await;
                let asked = texts(&found, "checked_at");
                let moved = |(at, before): (&&str, &&str)| at > before;
                let all = asked.iter().zip(&texts(&before, "checked_at")).all(moved);
                all.then_some(found)
            })
            .await
        };
        let first = asked_after(list(&gateway, "").await).await;
        let newest = texts(&first, "updated_at").into_iter().max().unwrap().to_owned();
        let second = asked_after(first.clone()).await;
        assert_eq!(texts(&second, "updated_at"), texts(&first, "updated_at"));
        assert!(list(&gateway, &format!("updated_after={newest}")).await.is_empty());
        gateway.finish().await;
    }
}
