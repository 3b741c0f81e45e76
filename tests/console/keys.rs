//! Signing in and out, and the keys of others.

use invite_tests::{Gateway, eventually};
use thirtyfour::{Key, error::WebDriverResult};

use crate::browser::Browser;
use crate::sign_in;

#[tokio::test]
async fn a_key_is_made_shown_once_used_and_revoked_and_the_audit_tells() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("keys", &gateway, &admin, "keys").await;
    browser.press("Create a key…").await;
    browser.fill("dialog input[name=name]", "payroll").await;
    browser.find("dialog input[name=scopes][value='invites:read']").await.click().await.unwrap();
    browser.shoot("creating").await;
    browser.press("Create").await;
    let shown = browser.find("dialog input.secret").await;
    let secret = shown.prop("value").await.unwrap().unwrap();
    assert!(secret.starts_with("igk_"));
    let payroll = admin.with_key(&secret);
    payroll.get("/v1/invites").await.expect(200);
    payroll.get("/v1/providers").await.expect(403);
    browser.press("I have stored it").await;
    browser.find_with_text("tr", "payroll").await;
    assert!(!browser.driver.source().await.unwrap().contains(&secret), "it is still in the page");
    browser.find("button[aria-label='Revoke payroll']").await.click().await.unwrap();
    browser.find("dialog[open]").await;
    browser.press("Revoke").await;
    browser.reads("The key payroll is revoked.").await;
    payroll.get("/v1/invites").await.expect(401);
    browser.press("Audit").await;
    browser.reads("payroll").await;
    browser.shoot("audit").await;
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_signing_out_forgets_a_good_one() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = Browser::open("signing-in", &gateway.url(), "/console").await;
    browser.fill("input[name=key]", "igk_nothing").await;
    browser.press("Sign in").await;
    browser.reads("does not know this key").await;
    browser.shoot("refused").await;

    // By keyboard alone: the field has the focus.
    let field = browser.find("input[name=key]").await;
    field.clear().await.unwrap();
    field.send_keys(admin.key() + Key::Enter).await.unwrap();
    browser.reads("Overview").await;
    assert_eq!(stored(&browser).await.unwrap(), 1);
    browser.driver.refresh().await.unwrap();
    browser.find("#sign-out").await;
    browser.press("Sign out").await;
    browser.find("input[name=key]").await;
    assert_eq!(stored(&browser).await.unwrap(), 0);

    // A key that is revoked while it is used leads back to the form.
    browser.fill("input[name=key]", &admin.key()).await;
    browser.press("Sign in").await;
    browser.find("#sign-out").await;
    let keys =
        admin.get("/v1/admin/keys").await.expect(200).body["keys"].as_array().unwrap().clone();
    for key in keys {
        let path = format!("/v1/admin/keys/{}", key["id"].as_str().unwrap());
        admin.delete(&path).await;
        if key["scopes"][0] == "admin" {
            break;
        }
    }
    eventually("the form is back", async || {
        browser.text().await.contains("no longer takes the key").then_some(())
    })
    .await;
    browser.close(&[401]).await;
    gateway.finish().await;
}

/// How much the tab remembers.
async fn stored(browser: &Browser) -> WebDriverResult<u32> {
    let script = "return sessionStorage.length + localStorage.length + document.cookie.length;";
    browser.driver.execute(script, Vec::new()).await?.convert()
}
