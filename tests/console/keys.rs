//! Signing in and out, and the keys of others.

use invite_tests::{Gateway, eventually, invites, person};
use serde_json::json;
use thirtyfour::{By, Key, error::WebDriverResult};

use crate::browser::Browser;
use crate::sign_in;

#[tokio::test]
async fn a_key_is_made_shown_once_used_and_revoked_and_the_audit_tells() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("keys", &gateway, &admin, "keys").await;
    browser.press("Audit").await;
    browser.press("Keys").await;
    browser.press("Create a key…").await;
    browser.fill("dialog input[name=name]", "payroll").await;
    browser.find("dialog input[name=scopes][value='invites:read']").await.click().await.unwrap();
    browser.shoot("creating").await;
    browser.press("Create").await;
    let shown = browser.find("dialog input.secret").await;
    let secret = shown.prop("value").await.unwrap().unwrap();
    assert!(secret.starts_with("igk_"));
    for _ in 0..3 {
        browser.escape().await;
    }
    browser.driver.back().await.unwrap();
    browser.find("dialog[open] input.secret").await;
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

#[tokio::test]
async fn two_presses_on_older_entries_bring_each_entry_once() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    for number in 0..60 {
        let key = json!({ "name": format!("caller {number}"), "scopes": ["invites:read"] });
        admin.post("/v1/admin/keys", &key).await.expect(201);
    }
    let all = admin.get("/v1/admin/audit?limit=200").await.list("entries").len();
    let browser = sign_in("older", &gateway, &admin, "audit").await;
    let older = browser.find_with_text("button", "Older entries").await;
    let script = "arguments[0].focus(); arguments[0].click(); arguments[0].click();";
    browser.driver.execute(script, vec![older.to_json().unwrap()]).await.unwrap();
    browser.reads("That is all.").await;
    let focused = browser.driver.active_element().await.unwrap();
    assert_eq!(focused.text().await.unwrap(), "That is all.");
    let shown = browser.driver.find_all(By::Css("li.event")).await.unwrap().len();
    assert_eq!(shown, all);
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_of_few_scopes_is_offered_what_it_may_use() {
    let gateway = Gateway::start().await;
    let reader = gateway.caller("invites:read", &[]).await;
    let invite = gateway.client().invite(&invites("berlin-summit", [person(1)])).await.remove(0);
    let mut browser = sign_in("few-scopes", &gateway, &reader, "overview").await;
    browser.reads("The key may not read providers.").await;
    browser.reads("Waiting for somebody").await;
    eventually("the tabs that lead nowhere are gone", async || {
        let mut tabs = Vec::new();
        for tab in browser.driver.find_all(By::Css("#nav a")).await.ok()? {
            tabs.push(tab.text().await.ok()?);
        }
        tabs.retain(|tab| !tab.is_empty());
        (tabs == ["Overview", "Invites"]).then_some(())
    })
    .await;
    browser.shoot("overview").await;
    let page = format!("invites/{}", invite["id"].as_str().unwrap());
    browser.driver.goto(format!("{}/console/#/{page}", gateway.url())).await.unwrap();
    browser.reads("The key may not change invites.").await;
    browser.close(&[403]).await;

    // One that makes keys is taken for an administrator's, until it is refused something.
    let maker = gateway.caller("invites:read,keys:write", &[]).await;
    let browser = sign_in("key-maker", &gateway, &maker, &page).await;
    browser.press("Set status…").await;
    browser.press("Set").await;
    browser.reads("lacks the scope").await;
    browser.press("Cancel").await;
    browser.reads("The key may not change invites.").await;
    browser.close(&[403]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_may_not_read_invites_has_the_summary_of_the_providers() {
    let gateway = Gateway::start().await;
    let reader = gateway.caller("providers:read", &[]).await;
    let browser = sign_in("summary", &gateway, &reader, "overview").await;
    browser.reads("The key may not read invites.").await;
    let summary = browser.find("#summary").await.text().await.unwrap();
    assert!(summary.contains("providers · 0 queued"), "{summary}");
    browser.close(&[403]).await;
    gateway.finish().await;
}

/// How much the tab remembers.
async fn stored(browser: &Browser) -> WebDriverResult<u32> {
    let script = "return sessionStorage.length + localStorage.length + document.cookie.length;";
    browser.driver.execute(script, Vec::new()).await?.convert()
}
