//! Effects later than `settle`. At Securegate and RKVST nothing can keep such a one from being a
//! second one; then it has to be reported. Turnkey's fingerprint does keep it.

use invite_tests::{Builder, Gateway, eventually, invites, person};
use serde_json::{Value, json};

/// Longer than the time-out and twice `settle`, after which the gateway holds that the call had no
/// effect.
const LATE: &str = "3s";

fn quick_to_judge() -> Builder {
    Gateway::builder()
        .replace("timeout = \"2s\"", "timeout = \"300ms\"")
        .setting("delivery.settle", "300ms")
        .setting("delivery.refresh", "500ms")
}

/// Sends one invite whose first call takes effect late, and returns it once it is settled.
async fn invite_with_a_late_effect(gateway: &Gateway, provider: &str, kind: &str) -> Value {
    let rule = json!({ "operation": "create", "kind": "late_effect", "delay": LATE, "times": 1 });
    gateway.simulators.break_down(kind, rule).await;
    let invite = gateway.client().invite(&invites(provider, [person(1)])).await.remove(0);
    assert_eq!(invite["status"], "pending", "{invite}");
    invite
}

async fn a_second_effect_is_reported(provider: &str, kind: &str) {
    let gateway = quick_to_judge().start().await;
    let invite = invite_with_a_late_effect(&gateway, provider, kind).await;
    assert_eq!(invite["duplicate_effect"], false, "the late one is still on its way");
    let reported = eventually("the second effect is reported", async || {
        let now = gateway.client().read(&invite).await;
        (now["duplicate_effect"] == true).then_some(now)
    })
    .await;
    assert_eq!(reported["status"], "pending");
    assert_eq!(reported["provider_ref"], invite["provider_ref"]);
    assert_eq!(gateway.simulators.effects(kind).await.len(), 2);
    let metrics = gateway.client().get("/metrics").await.expect(200).text;
    let counted = format!("invite_duplicate_effects_total{{provider=\"{provider}\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(gateway.log().contains("a second effect was found"));
    gateway.finish().await;
}

#[tokio::test]
async fn an_effect_later_than_settle_at_securegate_is_reported_as_a_second_one() {
    a_second_effect_is_reported("berlin-summit", "securegate").await;
}

#[tokio::test]
async fn an_effect_later_than_settle_at_rkvst_is_reported_as_a_second_one() {
    a_second_effect_is_reported("acme-tenancy", "rkvst").await;
}

#[tokio::test]
async fn an_effect_later_than_settle_at_turnkey_is_still_the_only_one() {
    let gateway = quick_to_judge().start().await;
    let invite = invite_with_a_late_effect(&gateway, "treasury", "turnkey").await;
    // The late copy of the same bytes has arrived when its request is done.
    eventually("the late copy arrives", async || {
        (gateway.simulators.request_count("turnkey", "create").await >= 2).then_some(())
    })
    .await;
    let effects = gateway.simulators.effects("turnkey").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["id"], invite["provider_ref"]);
    gateway.finish().await;
}
