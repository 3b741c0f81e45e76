//! A sender that is frozen, or whose machine is suspended, between its lease check and its write, for
//! longer than its lease: it sends nothing when it wakes up, whether or not another replica took over.

use invite_tests::{Client, Database, Gateway, eventually, invites, person};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

const CRASH_AT: &str = "INVITE_GATEWAY_CRASH_AT";
const CLOCKS: &str = "INVITE_GATEWAY_CLOCKS";

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// Whether a process is stopped, as the system sees it.
fn is_frozen(child: &Child) -> bool {
    let path = format!("/proc/{}/stat", child.id().unwrap());
    let stat = std::fs::read_to_string(path).unwrap();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// A gateway that does not run, and an invite that it accepted and could not send.
async fn stopped_with_a_queued_invite(provider: &str, kind: &str) -> (Gateway, Value) {
    let mut gateway = Gateway::builder()
        .database(Database::Postgres)
        .replace("timeout = \"2s\"", "timeout = \"800ms\"")
        .setting("delivery.lease", "2s")
        .setting("delivery.refresh", "500ms")
        .start()
        .await;
    let busy = json!({ "operation": "create", "kind": "rate_limited" });
    gateway.simulators.break_down(kind, busy).await;
    let request = gateway.client().request("POST", "/v1/invites");
    let request = request.json(&invites(provider, [person(1)]));
    let answer = request.header("prefer", "respond-async").send().await.expect(202);
    assert!(gateway.stop().await.success());
    gateway.simulators.recover(kind).await;
    (gateway, answer.invites().remove(0))
}

/// Calls that were made for it and may have taken effect.
async fn count_sendings(gateway: &Gateway, invite: &Value) -> usize {
    let path = format!("/v1/invites/{}/attempts", invite["id"].as_str().unwrap());
    let attempts = gateway.client().get(&path).await.expect(200).list("attempts");
    let sent = |it: &&Value| it["operation"] == "create" && it["outcome"] != "throttled";
    attempts.iter().filter(sent).count()
}

async fn a_frozen_sender_makes_no_second_effect(provider: &str, kind: &str) {
    let (mut gateway, invite) = stopped_with_a_queued_invite(provider, kind).await;
    gateway.binary.set_variable(CRASH_AT, "create-before-request:1:freeze");
    let serve = ["--config", "gateway.toml", "serve", "--ready-file", "frozen.ready"];
    let mut sender = gateway.binary.spawn(&serve, "frozen");
    eventually("the sender freezes", async || is_frozen(&sender).then_some(())).await;
    gateway.binary.set_variable(CRASH_AT, &format!("create-before-request:{}", u32::MAX));
    gateway.start_again().await;
    let sent = gateway.client().read_once(&invite, &["pending"]).await;
    assert_eq!(count_sendings(&gateway, &invite).await, 2, "one froze, another sent");
    assert_eq!(gateway.simulators.effects(kind).await.len(), 1);
    signal(&sender, Signal::CONT);
    // It may have been frozen while it started.
    let ready = gateway.binary.path("frozen.ready");
    eventually("it goes on", async || ready.exists().then_some(())).await;
    signal(&sender, Signal::TERM);
    let status = sender.wait().await.unwrap();
    assert!(status.success(), "what was under way is finished and recorded: {status}");
    assert_eq!(gateway.simulators.effects(kind).await.len(), 1);
    let now = gateway.client().read(&invite).await;
    assert_eq!(now["provider_ref"], sent["provider_ref"]);
    assert_eq!(now["duplicate_effect"], json!(false));
    gateway.finish().await;
}

#[tokio::test]
async fn a_sender_frozen_before_its_write_at_securegate_makes_no_second_effect() {
    a_frozen_sender_makes_no_second_effect("berlin-summit", "securegate").await;
}

#[tokio::test]
async fn a_sender_frozen_before_its_write_at_rkvst_makes_no_second_effect() {
    a_frozen_sender_makes_no_second_effect("acme-tenancy", "rkvst").await;
}

/// While it is suspended, its monotonic clock stands still: only the clock that counts from boot knows.
#[tokio::test]
async fn a_sender_suspended_before_its_write_sends_nothing_by_that_claim() {
    let (mut gateway, invite) = stopped_with_a_queued_invite("berlin-summit", "securegate").await;
    gateway.binary.set_variable(CRASH_AT, "create-before-request:1:freeze");
    let clocks = gateway.binary.path("clocks");
    gateway.binary.set_variable(CLOCKS, clocks.to_str().unwrap());
    let serve = ["--config", "gateway.toml", "serve", "--ready-file", "suspended.ready"];
    let mut sender = gateway.binary.spawn(&serve, "suspended");
    eventually("the sender is about to write", async || is_frozen(&sender).then_some(())).await;
    gateway.binary.write("clocks", "0 60000");
    signal(&sender, Signal::CONT);
    let ready = gateway.binary.path("suspended.ready");
    let url = eventually("it goes on", async || {
        std::fs::read_to_string(&ready).ok().filter(|url| url.ends_with('\n'))
    })
    .await;
    let client = Client::connect(url.trim(), &gateway.client().key()).await;
    client.read_once(&invite, &["pending"]).await;
    let path = format!("/v1/invites/{}/attempts", invite["id"].as_str().unwrap());
    let attempts = client.get(&path).await.expect(200).list("attempts");
    let creates = attempts.iter().filter(|it| it["operation"] == "create");
    let outcomes: Vec<_> = creates.filter_map(|it| it["outcome"].as_str()).collect();
    assert!(outcomes.contains(&"not_sent"), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "succeeded").count(), 1);
    assert!(!outcomes.contains(&"unknown"), "{outcomes:?}");
    assert_eq!(gateway.simulators.effects("securegate").await.len(), 1);
    signal(&sender, Signal::TERM);
    assert!(sender.wait().await.unwrap().success());
    gateway.finish().await;
}
