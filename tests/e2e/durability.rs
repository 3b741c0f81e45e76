//! What is answered is stored, in the database that whoever runs the gateway named: whatever the
//! defaults of that database are, and also when its disk is full or its file is gone.

use std::fs;

use invite_tests::{Answer, Database, Gateway, eventually, invites, person};
use serde_json::Value;

use crate::text;

/// Whatever is written tells the setting that its transaction has at the end.
const WITNESS: &str = "CREATE TABLE seen (setting text); \
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
    CREATE CONSTRAINT TRIGGER see AFTER INSERT OR UPDATE ON invites DEFERRABLE INITIALLY DEFERRED \
    FOR EACH ROW EXECUTE FUNCTION see()";

/// A gateway on a database with this default, sends an invite with this setting.
async fn commits_with(default: &str, effective: &str) {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    assert!(gateway.stop().await.success());
    let alter = format!("DO $$ BEGIN EXECUTE format('{default}', current_database()); END $$");
    gateway.execute(&alter).await;
    gateway.execute(WITNESS).await;
    gateway.start_again().await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    let look = format!(
        "DO $$ BEGIN ASSERT (SELECT bool_and(setting = '{effective}') FROM seen), \
         (SELECT string_agg(DISTINCT setting, ', ') FROM seen); END $$"
    );
    gateway.execute(&look).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_default_of_the_database_is() {
    for weaker in ["off", "local", "remote_write", "on"] {
        let default = format!("ALTER DATABASE %I SET synchronous_commit = {weaker}");
        commits_with(&default, "on").await;
    }
}

#[tokio::test]
async fn a_commit_that_waits_for_more_than_the_disk_still_does() {
    let default = "ALTER ROLE CURRENT_USER IN DATABASE %I SET synchronous_commit = remote_apply";
    commits_with(default, "remote_apply").await;
}

#[tokio::test]
async fn a_server_that_loses_what_it_has_committed_is_served_only_if_that_is_allowed() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    assert!(gateway.stop().await.success());
    assert!(gateway.log().contains("fsync and full_page_writes off"), "{}", gateway.log());
    gateway.binary.set_variable("INVITE_GATEWAY__STORAGE__ALLOW_UNSAFE", "false");
    let refused = gateway.command(&["serve"]).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.contains("fsync") && last.contains("storage.allow_unsafe"), "{last}");
    gateway.finish().await;
}

async fn try_to_post(gateway: &Gateway, number: usize) -> Answer {
    let body = invites("treasury", [person(number)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    request.header("prefer", "respond-async").send().await
}

async fn readiness(gateway: &Gateway) -> u16 {
    gateway.client().without_key().get("/readyz").await.status
}

#[tokio::test]
async fn what_a_full_disk_does_not_hold_is_told_to_be_not_stored() {
    // No file of the gateway may be longer than this, which its log in the database soon is.
    let mut gateway = Gateway::builder().setting("log.filter", "off").start().await;
    assert!(gateway.stop().await.success());
    gateway.binary.limit_files(Some(1000));
    gateway.start_again().await;
    let mut stored = Vec::new();
    let refused = eventually("the disk is full", async || {
        let answer = try_to_post(&gateway, stored.len()).await;
        if answer.status == 503 {
            return Some(answer);
        }
        stored.extend(answer.expect(202).invites());
        None
    })
    .await;
    let refused = refused.problem(503, "storage-full");
    assert_eq!(text(&refused, "outcome"), "not_sent");
    eventually("it is not ready", async || (readiness(&gateway).await == 503).then_some(())).await;
    gateway.kill().await;
    gateway.binary.limit_files(None);
    gateway.start_again().await;
    assert_eq!(readiness(&gateway).await, 200);
    for invite in &stored {
        gateway.client().read_once(invite, &["pending"]).await;
    }
    let all = gateway.client().get("/v1/invites?limit=200").await.expect(200).body;
    let all: &Vec<Value> = all["invites"].as_array().unwrap();
    assert_eq!(all.len(), stored.len(), "nothing else was stored");
    gateway.finish().await;
}

#[tokio::test]
async fn nothing_is_accepted_into_a_file_that_was_deleted() {
    let mut gateway = Gateway::start().await;
    gateway.client().invite(&invites("treasury", [person(1)])).await;
    for file in ["invites.db", "invites.db-wal"] {
        fs::rename(gateway.binary.path(file), gateway.binary.path("aside")).unwrap();
        let refused = try_to_post(&gateway, 2).await.problem(503, "not-ready");
        assert_eq!(text(&refused, "outcome"), "not_sent");
        eventually("it is not ready", async || (readiness(&gateway).await == 503).then_some(()))
            .await;
        fs::rename(gateway.binary.path("aside"), gateway.binary.path(file)).unwrap();
        eventually("it is ready", async || (readiness(&gateway).await == 200).then_some(())).await;
    }
    let accepted = try_to_post(&gateway, 2).await.expect(202).invites();
    gateway.client().read_once(&accepted[0], &["pending"]).await;
    fs::remove_file(gateway.binary.path("invites.db")).unwrap();
    try_to_post(&gateway, 3).await.problem(503, "not-ready");
    assert!(gateway.stop().await.success());
    assert_eq!(gateway.simulators.effects("turnkey").await.len(), 2);
    gateway.finish().await;
}

#[tokio::test]
async fn a_second_gateway_by_a_symbolic_link_is_refused() {
    let mut gateway = Gateway::start().await;
    let link = gateway.binary.path("link.db");
    std::os::unix::fs::symlink(gateway.binary.path("invites.db"), &link).unwrap();
    let url = format!("sqlite://{}", link.display());
    gateway.binary.set_variable("INVITE_GATEWAY__STORAGE__URL", &url);
    let output = gateway.command(&["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().last().unwrap().contains("invites.db.lock"), "{said}");
    gateway.finish().await;
}
