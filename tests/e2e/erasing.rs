//! Erasing people: made-up ones go through every path that stores something, and then the whole database
//! is searched for them, byte by byte.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use invite_tests::{Answer, Client, Database, Gateway, eventually, invites};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{on_both_databases, text, texts};

on_both_databases! {
    nothing_of_erased_people_is_left_in_database_backup_and_log
    an_erased_person_is_not_invited_again_by_a_repeated_request
    what_is_held_of_a_person_is_shown_over_all_tenants
    a_receipt_names_what_is_left_and_why_and_nobody
}

/// Stands in everything that is made up of the people of these tests.
const CANARY: &str = "zqcanary";
const ERASE: &str = "/v1/admin/erase";
const PEOPLE: &str = "/v1/admin/people";

fn canary(number: usize) -> Value {
    json!({
        "email": email(number),
        "first_name": format!("Zqcanary{number}"),
        "last_name": format!("Zqcanaryson{number}"),
        "phone": format!("+1555{:07}", 7_654_300 + number),
        "external_id": format!("zqcanary-guest-{number}"),
        "labels": { "who": format!("zqcanary-{number}") },
    })
}

fn email(number: usize) -> String {
    format!("Zqcanary.{number}@people.example.org")
}

/// What must be found nowhere: the people, also as base64, hexadecimal and unkeyed hashes.
fn needles(count: usize) -> Vec<Vec<u8>> {
    let mut needles = vec![CANARY.as_bytes().to_vec()];
    for number in 0..count {
        needles.push(format!("1555{:07}", 7_654_300 + number).into_bytes());
        for address in [email(number), email(number).to_lowercase()] {
            for skipped in 0..3 {
                let whole = &address.as_bytes()[skipped..];
                let whole = &whole[..whole.len() / 3 * 3];
                needles.push(BASE64_STANDARD_NO_PAD.encode(whole).into_bytes());
            }
            let hex =
                |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
            needles.push(hex(address.as_bytes()).into_bytes());
            let hash = Sha256::digest(address.as_bytes());
            needles.push(hex(&hash).into_bytes());
            needles.push(hash.to_vec());
        }
    }
    needles
}

/// Each byte as a letter of its own, so that texts can be searched as such.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Everything that is stored: of SQLite the bytes of its files and of a backup, of PostgreSQL every value.
async fn stored(gateway: &Gateway, database: Database, backup: &str) -> Vec<(String, Vec<u8>)> {
    if database == Database::Sqlite {
        let backup = gateway.binary.path(backup);
        gateway.execute(&format!("VACUUM INTO '{}'", backup.display())).await;
        let file = gateway.binary.path("invites.db");
        let files =
            [file.clone(), file.with_extension("db-wal"), file.with_extension("db-shm"), backup];
        let read =
            |path: std::path::PathBuf| (path.display().to_string(), std::fs::read(&path).unwrap());
        return files.into_iter().map(read).collect();
    }
    let mut connection = PgConnection::connect(&gateway.postgres_url()).await.unwrap();
    let of_ours = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()";
    let tables: Vec<String> = sqlx::query_scalar(of_ours).fetch_all(&mut connection).await.unwrap();
    let mut dump = Vec::new();
    for table in tables {
        let rows = format!("SELECT CAST(x AS text) FROM {table} AS x");
        let rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut connection).await.unwrap();
        dump.push((table, rows.join("\n").into_bytes()));
    }
    dump
}

fn places(stored: &[(String, Vec<u8>)], needles: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, bytes) in stored {
        let text = letters(bytes);
        let lower = text.to_ascii_lowercase();
        for needle in needles.iter().map(|needle| letters(needle)) {
            if text.contains(&needle) || lower.contains(&needle.to_ascii_lowercase()) {
                found.push(format!("{needle} in {place}"));
            }
        }
    }
    found
}

async fn post(client: &Client, body: &Value) -> Answer {
    client.request("POST", "/v1/invites").json(body).send().await
}

/// Has every invite of these people end, as people answer and callers withdraw.
async fn end_and_erase(gateway: &Gateway, admin: &Client, number: usize) -> Value {
    let address = email(number).to_uppercase().replace("ZQCANARY", "zqcanary");
    eventually("nothing of the person is left", async || {
        let body = json!({ "email": address, "withdraw": true });
        let receipt = admin.post(ERASE, &body).await.expect(200);
        assert!(!receipt.text.to_lowercase().contains(CANARY), "{}", receipt.text);
        let left = receipt.list("left");
        for invite in &left {
            let now = admin.read(invite).await;
            if let Some(id) = now["provider_ref"].as_str() {
                let kind = text(&now, "provider_kind");
                gateway.simulators.move_invite(kind, id, "accepted").await;
                let refresh = format!("/v1/invites/{}/refresh", text(invite, "id"));
                admin.post(&refresh, &Value::Null).await;
            }
        }
        left.is_empty().then_some(receipt.body)
    })
    .await
}

async fn nothing_of_erased_people_is_left_in_database_backup_and_log(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let (client, admin) = (gateway.client(), gateway.caller("admin", &[]).await);
    let other = gateway.caller("invites:write,invites:read", &["--tenant", "zq"]).await;
    let mut told: Vec<Value> = Vec::new();

    // Sent by each provider, alone and together with others, with a message and a key.
    for (number, to) in ["berlin-summit", "acme-tenancy", "treasury"].into_iter().enumerate() {
        let mut guest = canary(number);
        if to == "acme-tenancy" {
            guest["message"] = json!("Dear zqcanary, welcome.");
        }
        let others = (0..3).map(|n| invite_tests::person(10 * number + n));
        let body = invites(to, [guest].into_iter().chain(others));
        let key = format!("invite-{}", email(number));
        for _ in 0..2 {
            let request = client.request("POST", "/v1/invites").header("idempotency-key", &key);
            told.extend(request.json(&body).send().await.invites().into_iter().take(1));
        }
        // The same person again, here and for another tenant.
        post(client, &invites(to, [canary(number)])).await.expect(201);
        let again = json!({ "to": to, "on_duplicate": "reject", "invites": [canary(number)] });
        post(client, &again).await.expect(201);
        post(&other, &invites(to, [canary(number)])).await;
    }
    // Refused, whole and one by one.
    let mut bad = canary(3);
    bad["first_nam"] = json!("zqcanary");
    post(client, &invites("treasury", [bad.clone()])).await.problem(422, "validation-failed");
    let lenient = client.request("POST", "/v1/invites").header("prefer", "handling=lenient");
    lenient.json(&invites("treasury", [bad, canary(4)])).send().await.expect(201);
    let rehearsed = invites("acme-tenancy", [canary(4)]);
    client.post("/v1/invites?dry_run=true", &rehearsed).await.expect(200);
    // Failed at its provider, which repeats the address.
    let refusal = json!({
        "operation": "create", "kind": "status_before", "status": 422, "match_email": "anary.5",
        "body": format!("{{\"detail\": \"{} is known\"}}", email(5)),
    });
    for kind in ["securegate", "rkvst", "turnkey"] {
        gateway.simulators.break_down(kind, refusal.clone()).await;
    }
    for to in ["berlin-summit", "acme-tenancy", "treasury"] {
        let failed = client.invite(&invites(to, [canary(5)])).await.remove(0);
        assert_eq!(text(&failed, "status"), "failed");
    }
    // Unknown for a while, and found.
    for (kind, to) in
        [("securegate", "berlin-summit"), ("rkvst", "acme-tenancy"), ("turnkey", "treasury")]
    {
        gateway.simulators.recover(kind).await;
        let cut = json!({ "operation": "create", "kind": "cut_after", "times": 1 });
        gateway.simulators.break_down(kind, cut).await;
        let found = post(client, &invites(to, [canary(6)])).await.invites().remove(0);
        told.push(client.read_once(&found, &["pending", "sent"]).await);
    }
    // Withdrawn; asked about; looked for.
    let withdrawn = client.invite(&invites("acme-tenancy", [canary(7)])).await.remove(0);
    client.delete(&format!("/v1/invites/{}", text(&withdrawn, "id"))).await.expect(200);
    for invite in &told {
        let refresh = format!("/v1/invites/{}/refresh", text(invite, "id"));
        client.post(&refresh, &Value::Null).await;
    }
    admin.get(&format!("/v1/providers/acme-tenancy/invites?email={}", email(1))).await.expect(200);
    client.get(&format!("/v1/invites?email={}", email(2))).await.expect(200);
    admin.get(&format!("{PEOPLE}?email={}", email(0))).await.expect(200);
    // A row that cannot be read, of an invite that has ended.
    let damaged = client.invite(&invites("acme-tenancy", [canary(8)])).await.remove(0);
    client.delete(&format!("/v1/invites/{}", text(&damaged, "id"))).await.expect(200);
    let id = text(&damaged, "id");
    gateway.execute(&format!("UPDATE invites SET params = 'zqcanary' WHERE id = '{id}'")).await;
    client.get(&format!("/v1/invites/{id}")).await.problem(409, "unreadable");

    let count = 9;
    let before = stored(&gateway, database, "before.db").await;
    let mut needles = needles(count);
    assert!(!places(&before, &needles[..1]).is_empty(), "the search finds people who are there");
    assert!(!places(&before, &needles[1..2]).is_empty());
    // What providers call them by.
    let ids = told.iter().flat_map(|invite| {
        let data = &invite["provider_data"];
        ["session_code", "session_id", "activity_id", "fingerprint"]
            .map(|name| data[name].clone())
            .into_iter()
            .chain([invite["provider_ref"].clone()])
    });
    let ids: Vec<Vec<u8>> =
        ids.filter_map(|id| id.as_str().map(|id| id.as_bytes().to_vec())).collect();
    assert!(ids.len() > 6);
    assert!(!places(&before, &ids).is_empty());

    for number in 0..count {
        let receipt = end_and_erase(&gateway, &admin, number).await;
        assert_eq!(receipt["cleaned"], true);
    }
    // What is shared with invites that are still there, such as an activity, goes with the last of them.
    let live = client.get("/v1/invites?limit=200").await.expect(200).text;
    needles.extend(ids.into_iter().filter(|id| !live.contains(&letters(id))));
    let after = stored(&gateway, database, "after.db").await;
    assert_eq!(places(&after, &needles), Vec::<String>::new());
    assert!(!places(&after, &[b"guest0@".to_vec()]).is_empty(), "others are still there");
    let log = [("the log".to_owned(), gateway.log().into_bytes())];
    assert_eq!(places(&log, &needles[..1]), Vec::<String>::new());
    gateway.finish().await;
}

async fn an_erased_person_is_not_invited_again_by_a_repeated_request(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let (client, admin) = (gateway.client(), gateway.caller("admin", &[]).await);
    let send = async || {
        let request = client.request("POST", "/v1/invites").header("idempotency-key", "zqcanary-1");
        request.json(&invites("acme-tenancy", [canary(1)])).send().await
    };
    let first = send().await.expect(201).invites().remove(0);
    end_and_erase(&gateway, &admin, 1).await;
    let again = send().await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let again = again.invites().remove(0);
    assert_eq!(
        (&again["id"], &again["erased"], &again["email"]),
        (&first["id"], &json!(true), &Value::Null)
    );
    assert_eq!(gateway.simulators.invited("rkvst").await, [email(1)]);
    gateway.finish().await;
}

async fn what_is_held_of_a_person_is_shown_over_all_tenants(database: Database) {
    let gateway = Gateway::builder().database(database).start().await;
    let other = gateway.caller("invites:write,invites:read", &["--tenant", "zq"]).await;
    let admin = gateway.caller("admin", &[]).await;
    let first = gateway.client().invite(&invites("acme-tenancy", [canary(1)])).await.remove(0);
    let second = other.invite(&invites("treasury", [canary(1)])).await.remove(0);
    gateway.client().invite(&invites("acme-tenancy", [canary(2)])).await;
    let by_url =
        admin.get(&format!("{PEOPLE}?email={}", email(1).to_lowercase())).await.expect(200);
    let by_body = admin.post(PEOPLE, &json!({ "email": email(1) })).await.expect(200);
    assert_eq!(by_url.body, by_body.body);
    let held = by_body.invites();
    let shown: Vec<Value> = held.iter().map(|held| held["invite"].clone()).collect();
    assert_eq!(texts(&shown, "id"), [text(&second, "id"), text(&first, "id")]);
    assert_eq!(texts(&shown, "tenant"), ["zq", "default"]);
    assert!(held.iter().all(|held| held["attempts"] == 1 && held["exchanges"] == 1), "{held:?}");
    let page = admin.post(&format!("{PEOPLE}?limit=1"), &json!({ "email": email(1) })).await;
    let cursor = page.expect(200).body["next_cursor"].as_str().unwrap().to_owned();
    let next = format!("{PEOPLE}?limit=1&cursor={cursor}");
    let last = admin.post(&next, &json!({ "email": email(1) })).await.expect(200);
    assert_eq!(last.invites()[0]["invite"]["id"], first["id"]);
    let nobody = admin.post(PEOPLE, &json!({ "email": "nobody@example.org" })).await.expect(200);
    assert!(nobody.invites().is_empty());

    let audit = admin.get("/v1/admin/audit").await.expect(200);
    let entries = audit.list("entries");
    let reads = entries.iter().filter(|entry| entry["action"] == "person.read");
    assert_eq!(reads.count(), 2, "each person once: {}", audit.text);
    assert!(!audit.text.to_lowercase().contains(CANARY), "{}", audit.text);

    for (body, pointer) in [
        (json!({}), "#/email"),
        (json!({ "email": "nobody" }), "#/email"),
        (json!({ "email": email(1), "emial": 1 }), "#/emial"),
        (json!([]), "#"),
    ] {
        for path in [PEOPLE, ERASE] {
            let refused = admin.post(path, &body).await.expect(422);
            assert!(refused.pointers().contains(&pointer), "{}", refused.text);
            assert!(!refused.text.contains(CANARY));
        }
    }
    admin.get(PEOPLE).await.problem(422, "validation-failed");
    // What is about everybody is not for a key that is limited to some providers.
    let limited = gateway.caller("admin", &["--providers", "acme-tenancy"]).await;
    for path in [PEOPLE, ERASE] {
        let refused = limited.post(path, &json!({ "email": email(1) })).await;
        refused.problem(403, "provider-not-allowed");
    }
    gateway.finish().await;
}

async fn a_receipt_names_what_is_left_and_why_and_nobody(database: Database) {
    let mut gateway = Gateway::builder().database(database).start().await;
    let admin = gateway.caller("people:erase,audit:read", &[]).await;
    let at_securegate =
        gateway.client().invite(&invites("berlin-summit", [canary(1)])).await.remove(0);
    let at_rkvst = gateway.client().invite(&invites("acme-tenancy", [canary(1)])).await.remove(0);
    let body = json!({ "email": email(1) });
    let receipt = admin.post(ERASE, &body).await.expect(200);
    let left = receipt.list("left");
    assert_eq!(texts(&left, "reason"), ["live", "live"]);
    assert_eq!(texts(&left, "id"), [text(&at_rkvst, "id"), text(&at_securegate, "id")]);
    assert_eq!(receipt.body["erased"]["invites"], 0);

    // From the command line, with the address where no list of processes shows it.
    gateway.binary.set_variable("INVITE_GATEWAY_KEY", &admin.key());
    let url = gateway.url();
    let erase = ["--config", "gateway.toml", "erase", "-", "--withdraw", "--url", &url];
    let output = gateway.binary.run_with_input(&erase, &format!("{}\n", email(1))).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("erased 1 invites, 2 calls") && said.contains("withdrawn 1"), "{said}");
    let line = format!("left {} (berlin-summit, pending): ", text(&at_securegate, "id"));
    assert!(said.contains(&line) && !said.to_lowercase().contains(CANARY), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 invite(s) still hold the person"));
    let now = gateway.client().read(&at_rkvst).await;
    assert_eq!((text(&now, "status"), &now["erased"]), ("revoked", &json!(true)));

    let id = text(&at_securegate, "provider_ref");
    gateway.simulators.move_invite("securegate", id, "accepted").await;
    let refresh = format!("/v1/invites/{}/refresh", text(&at_securegate, "id"));
    gateway.client().post(&refresh, &Value::Null).await.expect(200);
    let erase = ["--config", "gateway.toml", "erase", &email(1), "--json", "--url", &url];
    let receipt: Value = serde_json::from_str(&gateway.binary.print(&erase).await).unwrap();
    assert_eq!((&receipt["erased"]["invites"], &receipt["left"]), (&json!(1), &json!([])));

    let audit = admin.get("/v1/admin/audit").await.expect(200);
    assert!(!audit.text.to_lowercase().contains(CANARY), "{}", audit.text);
    let entries = audit.list("entries");
    let erased: Vec<&Value> =
        entries.iter().filter(|entry| entry["action"] == "person.erase").collect();
    assert_eq!(erased.len(), 3);
    assert!(erased.iter().all(|entry| entry["target"] == receipt["person"]));
    assert_eq!(erased[0]["after"]["erased"]["invites"], 1);
    assert_eq!(erased[1]["after"]["left"], 1);
    gateway.finish().await;
}

#[tokio::test]
async fn the_search_finds_a_person_in_every_form() {
    let stored = |text: String| [("here".to_owned(), text.into_bytes())];
    let needles = needles(1);
    let address = email(0);
    for skipped in ["", "a", "ab"] {
        let whole = BASE64_STANDARD_NO_PAD.encode(format!("{skipped}{address}"));
        assert!(!places(&stored(whole), &needles).is_empty(), "{skipped}");
    }
    let hash: String =
        Sha256::digest(address.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    assert!(!places(&stored(hash), &needles).is_empty());
    assert!(places(&stored("somebody@example.org".to_owned()), &needles).is_empty());
    // The test of the files works on real ones.
    let folder = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("x.db")).unwrap();
    file.execute_batch("CREATE TABLE x (y TEXT); INSERT INTO x VALUES ('zqcanary')").unwrap();
    drop(file);
    let file = std::fs::read(folder.path().join("x.db")).unwrap();
    assert!(!places(&[("x.db".to_owned(), file)], &needles).is_empty());
}
