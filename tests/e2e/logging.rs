//! What the gateway logs, and how.

use invite_tests::{Binary, Gateway, eventually, person};
use serde_json::Value;

use crate::text;

#[tokio::test]
async fn serving_says_where_it_listens() {
    let gateway = Gateway::start().await;
    let line = format!("listening on {}", gateway.url());
    eventually("the log says so", async || gateway.log().contains(&line).then_some(())).await;
    let version = concat!(
        "invite-gateway ",
        env!("CARGO_PKG_VERSION"),
        " starts with the settings in gateway.toml"
    );
    let log = gateway.log();
    assert!(log.contains(version) && log.contains("API keys are valid"), "{log}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_fatal_error_is_an_object_where_logs_are_json() {
    let binary = Binary::in_empty_folder();
    binary.write(
        "gateway.toml",
        "[log]\nformat = \"json\"\n[storage]\nurl = \"sqlite://no/such/folder/x.db\"\n",
    );
    binary.write("no", "a file, and no folder");
    let output = binary.run(&["--config", "gateway.toml", "serve"]).await;
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(text(&last, "message").contains("cannot open the database"), "{said}");
}

#[tokio::test]
async fn logs_can_be_json() {
    let gateway = Gateway::builder().setting("log.format", "json").start().await;
    let body = invite_tests::invites("treasury", [person(1)]);
    gateway.client().invite(&body).await;
    let log = gateway.log();
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn probes_and_scrapes_say_nothing_in_the_log_while_all_is_well() {
    let gateway = Gateway::builder().setting("log.filter", "info").start().await;
    let client = gateway.client();
    for path in ["/livez", "/readyz", "/metrics"] {
        client.get(path).await.expect(200);
    }
    client.without_key().get("/metrics").await.expect(401);
    client.get("/v1/invites").await.expect(200);
    eventually("what was asked last", async || {
        gateway.log().contains("answered GET /v1/invites with 200").then_some(())
    })
    .await;
    let log = gateway.log();
    for quiet in ["/livez", "/readyz", "/metrics with 200"] {
        assert!(!log.contains(&format!("answered GET {quiet}")), "{log}");
    }
    assert!(log.contains("answered GET /metrics with 401"), "{log}");
    gateway.finish().await;
}
