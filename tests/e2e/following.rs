//! The programs of docs/following-invites.md, as they stand there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use invite_core::{Clock, SystemClock};
use invite_tests::{Client, Gateway, PATIENCE, eventually, invites, person, plain_client};
use rusqlite::Connection;
use serde_json::{Value, json};
use standardwebhooks::Webhook as Signer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::text;

fn python(example: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(tests.join("../docs/examples").join(example));
    command
}

/// Cargo puts it two folders above the tests' own executable.
fn rust() -> Command {
    let own = std::env::current_exe().unwrap();
    Command::new(own.parent().unwrap().parent().unwrap().join("webhook-receiver"))
}

/// The database of one of the programs, which has it in use.
struct Kept {
    folder: TempDir,
}

impl Kept {
    fn nothing() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("invites.db")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path
    }

    /// The first column of the first row; none also where there is no such table yet.
    fn ask(&self, sql: &str) -> Option<String> {
        let database = Connection::open(self.path()).unwrap();
        database.query_one(sql, [], |row| row.get(0)).ok()
    }

    fn status(&self, invite: &Value) -> Option<String> {
        self.ask(&format!("SELECT status FROM invites WHERE id = '{}'", text(invite, "id")))
    }

    async fn until(&self, invite: &Value, status: &str) {
        eventually(status, async || (self.status(invite)? == status).then_some(())).await;
    }
}

/// Starts a receiver, tells the gateway where it is, and returns it with its address.
async fn start(
    mut command: Command,
    kept: &Kept,
    client: &Client,
    webhook: &Value,
) -> (Child, String) {
    let secret = kept.file("secret", text(webhook, "secret"));
    command.arg(kept.path()).arg("0").arg(secret);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let path = format!("/v1/webhooks/{}", text(webhook, "id"));
    client.patch(&path, &json!({ "url": url })).await.expect(200);
    (child, url)
}

async fn a_receiver_stores_once_what_the_gateway_signed(program: fn() -> Command) {
    let gateway = Gateway::start().await;
    let client = gateway.caller("webhooks:write,invites:read,invites:write", &[]).await;
    let webhook = client.post("/v1/webhooks", &json!({ "url": "http://127.0.0.1:1/" })).await;
    let webhook = webhook.expect(201).body;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let kept = Kept::nothing();
    let (mut child, _) = start(program(), &kept, &client, &webhook).await;
    let invite = client.invite(&invites("treasury", [person(1)])).await.remove(0);
    kept.until(&invite, "pending").await;
    let test = client.request("POST", &format!("{path}/test")).send().await.expect(200);
    assert_eq!(test.body["delivered"], true);

    // What comes again, after its end as a power cut would bring it, changes nothing.
    let queued = client.get("/v1/events?type=invite.queued").await.expect(200).list("events");
    let again = json!({ "event_id": queued[0]["id"] });
    let deliveries = async || {
        let attempts = client.get(&format!("{path}/attempts")).await.expect(200).list("attempts");
        let of = attempts.iter().filter(|one| one["event_id"] == again["event_id"]);
        of.filter(|one| one["delivered"] == true).count()
    };
    let before = deliveries().await;
    child.kill().await.unwrap();
    let (_child, url) = start(program(), &kept, &client, &webhook).await;
    client.post(&format!("{path}/resend"), &again).await.expect(202);
    eventually("it comes again", async || (deliveries().await > before).then_some(())).await;
    assert_eq!(kept.status(&invite).unwrap(), "pending");
    let received = "SELECT group_concat(type, ' ') FROM (SELECT type FROM received ORDER BY type)";
    let told = "batch.completed invite.pending invite.queued webhook.test";
    eventually(told, async || (kept.ask(received)? == told).then_some(())).await;

    let signer = Signer::new(text(&webhook, "secret")).unwrap();
    let send = async |event: &str, status: &str, age: i64, secret: &Signer| {
        let data = json!({ "invite": { "id": invite["id"], "status": status } });
        let body =
            json!({ "id": event, "type": "invite.told", "subject": invite["id"], "data": data });
        let (body, at) = (body.to_string(), SystemClock.now().as_second() - age);
        let signature = secret.sign(event, at, body.as_bytes()).unwrap();
        let request = plain_client().post(&url).header("webhook-id", event);
        let request =
            request.header("webhook-timestamp", at).header("webhook-signature", signature);
        request.body(body).send().await.unwrap().status().as_u16()
    };
    let (older, newer) = ("evt_0000000000000001", "evt_7000000000000000");
    let stranger = Signer::from_bytes(vec![7; 32]).unwrap();
    assert_eq!(send(newer, "failed", 0, &stranger).await, 401);
    assert_eq!(send(newer, "failed", 400, &signer).await, 401);
    assert_eq!(send(newer, "failed", -400, &signer).await, 401);
    assert_eq!(send(older, "failed", 0, &signer).await, 204, "it is late, and not news");
    assert_eq!(kept.status(&invite).unwrap(), "pending");
    assert_eq!(send(newer, "accepted", 0, &signer).await, 204);
    assert_eq!(send(newer, "expired", 0, &signer).await, 204, "it is known");
    assert_eq!(kept.status(&invite).unwrap(), "accepted");
    let long = plain_client().post(&url).body(vec![b' '; 3 * 1024 * 1024]);
    // Its sender is told so, or cut off while it still sends.
    assert!(!long.send().await.is_ok_and(|answer| answer.status() != 413));
    gateway.finish().await;
}

#[tokio::test]
async fn the_receiver_in_python_stores_once_what_the_gateway_signed() {
    a_receiver_stores_once_what_the_gateway_signed(|| python("webhook_receiver.py")).await;
}

#[tokio::test]
async fn the_receiver_in_rust_stores_once_what_the_gateway_signed() {
    a_receiver_stores_once_what_the_gateway_signed(rust).await;
}

#[tokio::test]
async fn the_follower_goes_on_where_it_was_and_begins_anew_where_events_are_gone() {
    let mut gateway = Gateway::start().await;
    let kept = Kept::nothing();
    let follow = |gateway: &Gateway| {
        let mut command = python("feed_follower.py");
        let key = kept.file("key", &gateway.client().key());
        command.arg(kept.path()).arg(gateway.url()).arg(key);
        command.kill_on_drop(true).spawn().unwrap()
    };
    let accept = async |gateway: &Gateway, invite: &Value| {
        let path = format!("/v1/invites/{}", text(invite, "id"));
        gateway.client().patch(&path, &json!({ "status": "accepted" })).await.expect(200);
    };
    let marker = json!({ "id": "inv_marker" });
    let before = gateway.client().invite(&invites("berlin-summit", [person(1)])).await.remove(0);
    let mut follower = follow(&gateway);
    kept.until(&before, "pending").await;
    let first = gateway.client().invite(&invites("berlin-summit", [person(2)])).await.remove(0);
    kept.until(&first, "pending").await;

    follower.kill().await.unwrap();
    let mark = "INSERT INTO invites VALUES ('inv_marker', 'kept')";
    Connection::open(kept.path()).unwrap().execute(mark, []).unwrap();
    accept(&gateway, &first).await;
    let mut follower = follow(&gateway);
    kept.until(&first, "accepted").await;
    assert_eq!(kept.status(&marker).unwrap(), "kept", "it goes on, and reads nothing anew");

    follower.kill().await.unwrap();
    let place = kept.ask("SELECT after FROM feed").unwrap();
    accept(&gateway, &before).await;
    gateway.client().invite(&invites("berlin-summit", [person(3)])).await;
    assert!(gateway.stop().await.success());
    for setting in ["EVENTS__RETENTION", "WEBHOOKS__GIVE_UP"] {
        gateway.binary.set_variable(&format!("INVITE_GATEWAY__{setting}"), "1s");
    }
    gateway.start_again().await;
    eventually("events are removed", async || {
        let answer = gateway.client().get(&format!("/v1/events?after={place}")).await;
        (answer.status == 410).then_some(())
    })
    .await;
    let _follower = follow(&gateway);
    kept.until(&before, "accepted").await;
    assert_eq!(kept.status(&marker), None);
    gateway.finish().await;
}
