//! The provider document while the gateway runs: its file, SIGHUP, and starts after a change. What the API
//! does with it is in `admin_configuration`.

use std::fs;

use invite_tests::{Client, Database, Gateway, eventually, invites, person, terminate};
use serde_json::{Value, json};

use crate::text;

const DOCUMENT: &str = "providers.toml";
const PATH: &str = "/v1/admin/config";

fn read(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.binary.path(DOCUMENT)).unwrap()
}

/// The file with one text of it replaced, which has to be there.
fn edit(gateway: &Gateway, from: &str, to: &str) {
    let document = read(gateway);
    assert!(document.contains(from), "{document}");
    gateway.binary.write(DOCUMENT, &document.replacen(from, to, 1));
}

/// What is said of the configuration once it is as wanted.
async fn until(client: &Client, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let said = client.get("/v1/providers").await.expect(200).body["configuration"].clone();
        is(&said).then_some(said)
    })
    .await
}

async fn until_live(client: &Client, revision: i64) -> Value {
    until(client, "the revision is live", |said| said["live"] == revision).await
}

/// Puts the live document in force with more behind it, as the console does.
async fn change_elsewhere(admin: &Client, more: &str) -> i64 {
    let live = admin.get(PATH).await.expect(200);
    let changed = format!("{}{more}", live.text);
    let request = admin.request("PUT", PATH).bytes(changed);
    let request = request.header("content-type", "application/toml");
    let answer = request.header("if-match", live.header("etag").unwrap()).send().await.expect(200);
    answer.body["revision"].as_i64().unwrap()
}

/// The first error of the document that was refused last.
fn error(said: &Value) -> &Value {
    let findings = said["last_refusal"]["findings"].as_array();
    let mut errors = findings.into_iter().flatten().filter(|it| it["severity"] == "error");
    errors.next().unwrap_or(&Value::Null)
}

fn refusal(said: &Value) -> (&str, &str) {
    (text(&said["last_refusal"], "source"), text(error(said), "code"))
}

#[tokio::test]
async fn an_edited_file_goes_live_and_a_broken_one_leaves_what_was() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    edit(&gateway, "kind = \"rkvst\"", "kind = \"rkvst\"\nenabled = false");
    let said = until_live(client, 2).await;
    assert_eq!(said["file"], json!({ "path": "providers.toml", "differs": false }));
    let provider = client.get("/v1/providers/acme-tenancy").await.expect(200).body;
    assert_eq!((text(&provider, "state"), &provider["config_revision"]), ("disabled", &json!(2)));
    let good = read(&gateway);

    edit(&gateway, "event_id", "evnt_id");
    let said = until(client, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(refusal(&said), ("file", "unknown-member"));
    assert_eq!(text(error(&said), "suggestion"), "event_id");
    assert_eq!((&said["live"], &said["file"]["differs"]), (&json!(2), &json!(true)));
    client.invite(&invites("berlin-summit", [person(1)])).await;

    gateway.binary.write(DOCUMENT, "# the first line of several\n");
    let said =
        until(client, "it is without providers", |said| refusal(said).1 == "empty-document").await;
    assert!(text(error(&said), "detail").contains("enabled = false"), "{said}");
    assert_eq!(said["live"], 2);
    gateway.binary.write(DOCUMENT, "");
    fs::remove_file(gateway.binary.path(DOCUMENT)).unwrap();
    until(client, "it is gone", |said| refusal(said).1 == "unreadable").await;

    gateway.binary.write(DOCUMENT, &good);
    until(client, "it is good again", |said| said["last_refusal"].is_null()).await;
    edit(&gateway, "enabled = false", "enabled = true");
    until_live(client, 3).await;
    client.invite(&invites("acme-tenancy", [person(2)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn sighup_has_a_refused_file_looked_at_again() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    edit(&gateway, "api_key = \"", "# \"");
    edit(&gateway, "kind = \"securegate\"", "kind = \"securegate\"\napi_key = { file = \"key\" }");
    let said = until(client, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(refusal(&said), ("file", "secret-unresolved"));
    gateway.binary.write("key", invite_sandbox::accounts::SECUREGATE_API_KEY);
    gateway.hang_up();
    until_live(client, 2).await;
    client.invite(&invites("berlin-summit", [person(1)])).await;
    gateway.finish().await;
}

/// The file with Securegate's key in a file, which is not there yet.
fn refer_to_missing_key(gateway: &Gateway) {
    let key = read(gateway).lines().find(|line| line.starts_with("api_key")).unwrap().to_owned();
    edit(gateway, &key, "api_key = { file = \"key\" }");
}

#[tokio::test]
async fn a_file_refused_for_what_is_missing_is_taken_by_itself_once_that_is_there() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    refer_to_missing_key(&gateway);
    let said = until(client, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(refusal(&said), ("file", "secret-unresolved"));
    gateway.binary.write("key", invite_sandbox::accounts::SECUREGATE_API_KEY);
    let said = until_live(client, 2).await;
    assert_eq!(said["last_refusal"], Value::Null);
    assert_eq!(gateway.log().matches("a provider document is refused").count(), 1);
    gateway.finish().await;
}

#[tokio::test]
async fn a_refused_file_does_not_replace_a_later_change_at_the_next_start() {
    let mut gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    refer_to_missing_key(&gateway);
    until(&admin, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(change_elsewhere(&admin, "# elsewhere\n").await, 2);
    assert!(gateway.stop().await.success());
    gateway.binary.write("key", invite_sandbox::accounts::SECUREGATE_API_KEY);
    gateway.start_again().await;
    let said = until_live(&admin, 2).await;
    assert_eq!(said["file"]["differs"], true);
    let why = "refused when revision 1 was the newest; revision 2 was made since and stays";
    assert!(gateway.log().contains(why), "{}", gateway.log());

    assert!(gateway.stop().await.success());
    edit(&gateway, "kind = \"rkvst\"", "kind = \"rkvst\"\nenabled = false");
    gateway.start_again().await;
    until_live(&admin, 3).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_refused_file_is_taken_over_a_later_change_when_told_to() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    refer_to_missing_key(&gateway);
    until(&admin, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(change_elsewhere(&admin, "# elsewhere\n").await, 2);
    gateway.binary.write("key", invite_sandbox::accounts::SECUREGATE_API_KEY);
    gateway.hang_up();
    until_live(&admin, 3).await;
    assert!(!admin.get(PATH).await.expect(200).text.ends_with("# elsewhere\n"));
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_waited_for() {
    let mut gateway = Gateway::start().await;
    let path = gateway.binary.path(DOCUMENT);
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let said = until(gateway.client(), "it is refused", |said| {
        text(error(said), "detail").contains("not a regular file")
    })
    .await;
    assert_eq!(refusal(&said), ("file", "unreadable"));
    assert!(gateway.stop().await.success());
    gateway.start_again().await;
    until_live(gateway.client(), 1).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_change_made_elsewhere_survives_a_restart_and_an_edited_file_is_noticed_at_the_next() {
    let mut gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    assert_eq!(change_elsewhere(&admin, "# elsewhere\n").await, 2);
    assert!(gateway.stop().await.success());
    gateway.start_again().await;
    let said = until_live(&admin, 2).await;
    assert_eq!(said["file"]["differs"], true);
    assert!(admin.get(PATH).await.expect(200).text.ends_with("# elsewhere\n"));

    assert!(gateway.stop().await.success());
    edit(&gateway, "kind = \"rkvst\"", "kind = \"rkvst\"\nenabled = false");
    gateway.start_again().await;
    let said = until_live(&admin, 3).await;
    assert_eq!(said["file"]["differs"], false);

    assert!(gateway.stop().await.success());
    edit(&gateway, "enabled = false", "enabled = \"no\"");
    gateway.start_again().await;
    let said = until_live(&admin, 3).await;
    assert_eq!(refusal(&said), ("file", "wrong-type"));
    assert!(gateway.log().contains("and revision 3 is live"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_start_at_which_the_newest_revision_does_not_pass_sends_nothing_by_the_one_before() {
    let mut gateway = Gateway::builder().setting("secrets.directories", ".").start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway.binary.write("key", invite_sandbox::accounts::SECUREGATE_API_KEY);
    let live = admin.get(PATH).await.expect(200).text;
    let (start, rest) = live.split_once("api_key = ").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let put = async |text: &str, basis: &str| {
        let request = admin.request("PUT", PATH).bytes(text.to_owned());
        let request = request.header("content-type", "application/toml");
        request.header("if-match", basis).send().await
    };
    put(&format!("{start}api_key = {{ file = \"key\" }}\n{rest}"), "\"1\"").await.expect(200);
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 401 });
    gateway.simulators.break_down("turnkey", refused).await;
    let request = gateway.client().request("POST", "/v1/invites").header("prefer", "respond-async");
    let request = request.json(&invites("treasury", [person(2)]));
    let waiting = request.send().await.expect(202).body["invites"][0].clone();
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", refused).await;
    let failed = gateway.client().invite(&invites("acme-tenancy", [person(3)])).await.remove(0);
    assert!(gateway.stop().await.success());
    fs::remove_file(gateway.binary.path("key")).unwrap();
    gateway.start_again().await;
    let said = until_live(&admin, 1).await;
    assert_eq!(refusal(&said), ("store", "secret-unresolved"));
    let why = "revision 2 of the provider document cannot be served here";
    let retry = format!("/v1/invites/{}/retry", text(&failed, "id"));
    gateway.client().post(&retry, &json!({})).await.problem(503, "not-ready");
    let ready = admin.get("/readyz").await;
    assert!(text(&ready.problem(503, "not-ready"), "detail").contains(why));
    let refused = gateway.client().post("/v1/invites", &invites("treasury", [person(1)])).await;
    assert!(text(&refused.problem(503, "not-ready"), "detail").contains(why));
    let provider = admin.get("/v1/providers/treasury").await.expect(200).body;
    assert_eq!(provider["state"], "paused", "{provider}");
    assert!(text(&provider, "state_reason").contains(why), "{provider}");
    let queued = gateway.client().read(&waiting).await;
    assert_eq!(queued["status"], "queued", "{queued}");

    let outdated = put(&format!("{live}# more\n"), "\"1\"").await;
    assert!(outdated.text.contains("revision 2 does not pass here"), "{}", outdated.text);
    outdated.problem(412, "precondition-failed");
    put(&format!("{live}# more\n"), "\"2\"").await.expect(200);
    assert_eq!(until_live(&admin, 3).await["last_refusal"], Value::Null);
    admin.get("/readyz").await.expect(200);
    gateway.simulators.recover("turnkey").await;
    gateway.client().read_once(&waiting, &["pending"]).await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_shared_store_is_not_seeded_from_a_file_that_is_not_there() {
    let gateway = Gateway::builder().database(Database::Postgres);
    let gateway = gateway.setting("providers.file", "no.toml").start().await;
    let admin = gateway.caller("admin", &[]).await;
    assert!(admin.get("/v1/admin/config/revisions").await.expect(200).list("revisions").is_empty());
    let live = admin.get(PATH).await.expect(200);
    assert_eq!((&*live.text, live.header("etag")), ("", Some("\"0\"")));
    assert_eq!(change_elsewhere(&admin, &read(&gateway)).await, 1);
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_provider_stays_while_it_has_work_whatever_the_file_says() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    gateway.simulators.break_down("turnkey", json!({ "kind": "rate_limited" })).await;
    let request = client.request("POST", "/v1/invites").json(&invites("treasury", [person(1)]));
    let waiting = request.header("prefer", "respond-async").send().await.expect(202).invites();
    let before = read(&gateway);
    let (others, _) = before.split_once("[providers.treasury]").unwrap();
    gateway.binary.write(DOCUMENT, others);
    let said = until(client, "it is refused", |said| !said["last_refusal"].is_null()).await;
    assert_eq!(refusal(&said), ("file", "has-work"));
    let detail = text(error(&said), "detail").to_owned();
    assert!(detail.contains("`treasury`") && detail.contains(" 1 of its invites"), "{detail}");
    gateway.simulators.recover("turnkey").await;
    client.read_once(&waiting[0], &["pending"]).await;
    gateway.hang_up();
    until_live(client, 2).await;
    client.get("/v1/providers/treasury").await.expect(404);
    let metrics = client.get("/metrics").await.expect(200).text;
    let shown = metrics.lines().filter(|line| line.starts_with("invite_lane_state{"));
    let treasury = shown.filter(|line| line.contains("\"treasury\"") && !line.ends_with(" 0"));
    assert_eq!(treasury.collect::<Vec<_>>(), Vec::<&str>::new());
    gateway.finish().await;
}

#[tokio::test]
async fn replicas_converge_on_the_newest_revision_and_say_which_they_serve() {
    let gateway = Gateway::builder().database(Database::Postgres).start().await;
    let (mut process, url) = gateway.start_replica().await;
    let admin = gateway.caller("admin", &[]).await;
    let other = Client::connect(&url, &admin.key()).await;
    assert_eq!(change_elsewhere(&other, "# one\n").await, 2, "neither start made a second one");
    until_live(&admin, 2).await;
    let all = eventually("both say so", async || {
        let provider = admin.get("/v1/providers/treasury").await.expect(200).body;
        let replicas = provider["replicas"].as_array().unwrap().clone();
        (replicas.len() == 2 && replicas.iter().all(|it| it["config_revision"] == 2))
            .then_some(replicas)
    })
    .await;
    assert!(all.iter().all(|replica| replica["refusal"].is_null()), "{all:?}");
    let batch = admin.invite(&invites("treasury", [person(1)])).await;
    let attempts = format!("/v1/invites/{}/attempts", text(&batch[0], "id"));
    let attempts = admin.get(&attempts).await.expect(200).list("attempts");
    assert!(attempts.iter().all(|attempt| attempt["config_revision"] == 2), "{attempts:?}");

    edit(&gateway, "kind = \"rkvst\"", "kind = \"rkvst\"\nenabled = false");
    gateway.hang_up();
    eventually("it is told why not", async || {
        gateway.log().contains("SIGHUP changes nothing").then_some(())
    })
    .await;
    assert_eq!(change_elsewhere(&admin, "# two\n").await, 3, "the file changed nothing");
    until_live(&other, 3).await;
    assert!(terminate(&mut process).await.success());
    let provider = admin.get("/v1/providers/treasury").await.expect(200).body;
    assert_eq!(provider["replicas"].as_array().unwrap().len(), 1, "{provider}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_replica_that_cannot_serve_the_newest_revision_leaves_the_work_to_those_that_can() {
    let builder = Gateway::builder().setting("secrets.env_prefixes", "NEW_");
    let mut gateway = builder.database(Database::Postgres).start().await;
    let admin = gateway.caller("admin,invites:write", &[]).await;
    // The first one's lanes are its own by now.
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    let key = gateway.simulators.fill_in("{TURNKEY_API_PRIVATE_KEY}");
    gateway.binary.set_variable("NEW_TURNKEY_KEY", &key);
    let (mut process, url) = gateway.start_replica().await;
    let other = Client::connect(&url, &admin.key()).await;

    let live = other.get(PATH).await.expect(200);
    let changed = live.text.replace(&format!("\"{key}\""), "{ env = \"NEW_TURNKEY_KEY\" }");
    let request = other.request("PUT", PATH).bytes(changed);
    let request = request.header("content-type", "application/toml");
    let tag = live.header("etag").unwrap();
    assert_eq!(request.header("if-match", tag).send().await.expect(200).body["revision"], 2);

    let problem = eventually("the first one says that it is behind", async || {
        let ready = admin.get("/readyz").await;
        (ready.status == 503).then_some(ready.body)
    })
    .await;
    let detail = text(&problem, "detail");
    assert!(detail.contains("revision 2"), "{detail}");
    assert!(!detail.contains("NEW_TURNKEY_KEY"), "whoever asks is told: {detail}");
    let said = admin.get("/v1/providers").await.expect(200).body["configuration"].clone();
    assert!(error(&said)["detail"].to_string().contains("NEW_TURNKEY_KEY"), "{said}");
    let request = admin.request("POST", "/v1/invites").json(&invites("treasury", [person(2)]));
    assert_eq!(text(&request.send().await.expect(503).body, "code"), "not-ready");
    let invite = other.invite(&invites("treasury", [person(2)])).await.remove(0);
    assert_eq!(invite["status"], "pending", "{invite}");
    let attempts = format!("/v1/invites/{}/attempts", text(&invite, "id"));
    let attempts = gateway.client().get(&attempts).await.expect(200).list("attempts");
    assert!(attempts.iter().all(|attempt| attempt["config_revision"] == 2), "{attempts:?}");

    // Nobody else serves it any more: still nothing goes where an older one says. It can be mended.
    assert!(terminate(&mut process).await.success());
    let request = admin.request("POST", "/v1/invites").json(&invites("treasury", [person(3)]));
    request.send().await.problem(503, "not-ready");
    admin.post("/v1/admin/config/revisions/1/restore", &json!({})).await.expect(200);
    admin.get("/readyz").await.expect(200);
    let invite = admin.invite(&invites("treasury", [person(3)])).await.remove(0);
    assert_eq!(invite["status"], "pending", "{invite}");
    gateway.finish().await;
}
