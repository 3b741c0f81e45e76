//! Invites: finding one, seeing what was tried, and doing something about it.

use invite_tests::{Gateway, invites, person};
use serde_json::json;

use crate::sign_in;

#[tokio::test]
async fn a_failed_invite_is_found_understood_and_retried() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let rule = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", rule).await;
    let invite = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    assert_eq!(invite["status"], "failed");
    gateway.simulators.recover("rkvst").await;

    let mut browser = sign_in("retrying", &gateway, &admin, "invites?status=failed").await;
    let address = invite["email"].as_str().unwrap();
    browser.press(address).await;
    browser.find_with_text("ol.timeline li", "status 400").await;
    browser.shoot("failed").await;
    browser.press("Retry…").await;
    browser.find("dialog[open]").await;
    browser.shoot("asked").await;
    browser.press("Retry").await;
    browser.find_with_text("h1 + .badge, .head .badge", "pending").await;
    let effects = gateway.simulators.invited("rkvst").await;
    assert_eq!(effects, [address.to_lowercase()]);
    browser.shoot("pending").await;

    browser.press("Revoke…").await;
    browser.press("Revoke").await;
    browser.find_with_text(".head .badge", "revoked").await;
    assert_eq!(gateway.client().read(&invite).await["status"], "revoked");
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_invite_says_is_shown_as_text_and_never_run() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut guest = person(1);
    guest["first_name"] = json!("<img src=x onerror=alert(1)>");
    guest["labels"] = json!({ "team": "<script>alert(1)</script>" });
    let invite = gateway.client().invite(&invites("berlin-summit", [guest])).await.remove(0);
    let page = format!("invites/{}", invite["id"].as_str().unwrap());
    let browser = sign_in("escaping", &gateway, &admin, &page).await;
    browser.reads("<img src=x onerror=alert(1)>").await;
    browser.reads("<script>alert(1)</script>").await;
    browser.close(&[]).await;
    gateway.finish().await;
}
