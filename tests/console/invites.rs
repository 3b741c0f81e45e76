//! Invites: finding one, seeing what was tried, and doing something about it.

use invite_tests::{Gateway, invites, person};
use serde_json::json;
use thirtyfour::error::WebDriverResult;

use crate::browser::Browser;
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
    for status in ["queued", "failed", "pending", "revoked"] {
        browser.find_with_text("section[aria-labelledby=history] li", status).await;
    }
    browser.driver.execute("window.scrollTo(0, 100000);", Vec::new()).await.unwrap();
    browser.shoot("history").await;
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

#[tokio::test]
async fn a_question_cannot_be_left_while_what_it_asked_for_is_being_done() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let invite = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    let slow = json!({ "operation": "delete", "kind": "latency", "delay": "1500ms" });
    gateway.simulators.break_down("rkvst", slow).await;
    let page = format!("invites/{}", invite["id"].as_str().unwrap());
    let mut browser = sign_in("slow", &gateway, &admin, "invites").await;
    browser.driver.goto(format!("{}/console/#/{page}", gateway.url())).await.unwrap();
    browser.press("Revoke…").await;
    browser.press("Revoke").await;
    browser.find_with_text("dialog button", "Revoking…").await;
    browser.shoot("under-way").await;
    assert!(is_open_or_done(&browser).await.unwrap());
    for _ in 0..3 {
        browser.escape().await;
        assert!(is_open_or_done(&browser).await.unwrap(), "Escape hides how it ends");
    }
    browser.driver.back().await.unwrap();
    assert!(is_open_or_done(&browser).await.unwrap(), "Back hides how it ends");
    browser.reads("Revoked: ").await;
    browser.find_with_text(".head .badge", "revoked").await;

    // One that has not begun goes with its page.
    let other = gateway.client().invite(&invites("acme-tenancy", [person(2)])).await.remove(0);
    browser.press("Invites").await;
    browser.press(other["email"].as_str().unwrap()).await;
    browser.press("Revoke…").await;
    browser.find("dialog[open]").await;
    browser.driver.back().await.unwrap();
    browser.find(".filters").await;
    assert!(!browser.has("dialog").await);
    browser.close(&[]).await;
    gateway.finish().await;
}

async fn is_open_or_done(browser: &Browser) -> WebDriverResult<bool> {
    let script = "return document.querySelector('dialog[open]') !== null \
                  || document.querySelector('.head .badge').textContent === 'revoked';";
    browser.driver.execute(script, Vec::new()).await?.convert()
}

#[tokio::test]
async fn an_address_with_letters_outside_ascii_is_found() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut guest = person(1);
    guest["email"] = json!("jörg@example.org");
    gateway.client().invite(&invites("berlin-summit", [guest, person(2)])).await;
    let browser = sign_in("searching", &gateway, &admin, "invites").await;
    browser.reads("2 in all").await;
    browser.fill("input[name=email]", "jörg@example.org").await;
    browser.press("Search").await;
    browser.reads("1 in all").await;
    browser.find_with_text("td", "jörg@example.org").await;

    // Who searches for the same again wants to know what is new.
    let invite = gateway.client().get("/v1/invites?email=j%C3%B6rg@example.org").await;
    let invite = invite.list("invites").remove(0);
    let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
    gateway.client().patch(&path, &json!({ "status": "accepted" })).await.expect(200);
    browser.press("Search").await;
    browser.find_with_text("td .badge", "accepted").await;
    browser.close(&[]).await;
    gateway.finish().await;
}
