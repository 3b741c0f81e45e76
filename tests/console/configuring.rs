//! Editing the provider document: what the gate says as one types, applying, restoring.

use invite_tests::{Gateway, eventually, invites, person};
use serde_json::Value;
use thirtyfour::WebElement;

use crate::browser::Browser;
use crate::sign_in;

const EDITOR: &str = "textarea#document";

#[tokio::test]
async fn an_administrator_breaks_the_document_sees_why_mends_it_applies_and_restores() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("configuring", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    let first = live(&gateway, &admin).await;

    // A misspelt key, and a route into nothing.
    let route = "[[routes]]\nto = [\"berlin-summit\"]";
    let broken = "[[routes]]\nname = \"guests\"\ntoo = [\"acme-tenancy\"]";
    assert!(document(&browser).await.contains(route));
    let text = document(&browser).await.replace(route, broken);
    browser.fill(EDITOR, &text).await;
    browser.reads("cannot be applied").await;
    let line = 1 + text.lines().position(|line| line.starts_with("too")).unwrap();
    browser.find_with_text(".findings li.error", &format!("line {line}, column 1")).await;
    let apply = browser.find_with_text("button", "Apply…").await;
    assert!(!apply.is_enabled().await.unwrap(), "what is refused can be applied");
    browser.shoot("broken").await;

    browser.press("Use it").await;
    browser.reads("can be applied").await;
    assert!(document(&browser).await.contains("to = [\"acme-tenancy\"]"));
    browser.fill("input[name=note]", "guests go to the tenancy").await;
    browser.press("Apply…").await;
    browser.find("dialog[open]").await;
    browser.shoot("applying").await;
    browser.press("Apply").await;
    browser.reads("Applied: the document is live.").await;
    browser.reads("guests go to the tenancy").await;
    browser.shoot("applied").await;
    let second = live(&gateway, &admin).await;
    assert_eq!(second, first + 1);
    assert_eq!(invited_to(&gateway, 1).await, ("acme-tenancy".to_owned(), second));

    browser.press(&format!("Restore {first}")).await;
    browser.press("Restore").await;
    browser.reads(&format!("Revision {first} is restored.")).await;
    browser.shoot("restored").await;
    let third = live(&gateway, &admin).await;
    assert_eq!(third, second + 1);
    assert_eq!(invited_to(&gateway, 2).await, ("berlin-summit".to_owned(), third));
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_document_is_changed_and_applied_without_a_mouse() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("keyboard", &gateway, &admin, "overview").await;
    browser.tab_to("Configuration").await;
    browser.reads("this is the live document").await;
    let is_editor =
        async |at: &WebElement| at.attr("id").await.unwrap().as_deref() == Some("document");
    let editor = browser.tab_until("the editor", is_editor).await;
    editor.send_keys("# by hand\n").await.unwrap();
    browser.reads("can be applied").await;
    browser.tab_to("Apply…").await;
    browser.find("dialog[open]").await;
    browser.tab_to("Apply").await;
    browser.reads("Applied: the document is live.").await;
    browser.shoot("applied").await;
    let text = admin.get("/v1/admin/config").await.expect(200).text;
    assert!(text.contains("# by hand"), "{text}");
    browser.close(&[]).await;
    gateway.finish().await;
}

/// Where an invite that names nothing goes now, and by which revision.
async fn invited_to(gateway: &Gateway, number: usize) -> (String, i64) {
    let mut body = invites("", [person(number)]);
    body.as_object_mut().unwrap().remove("to");
    let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
    let provider = answer.body["invites"][0]["provider"].as_str().unwrap().to_owned();
    (provider, answer.body["batch"]["config_revision"].as_i64().unwrap())
}

async fn live(_: &Gateway, admin: &invite_tests::Client) -> i64 {
    admin.get("/v1/admin/config/revisions").await.expect(200).body["live"].as_i64().unwrap()
}

async fn document(browser: &Browser) -> String {
    let field = browser.find(EDITOR).await;
    field.prop("value").await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn a_turnkey_provider_is_added_to_an_empty_document_by_following_the_findings() {
    // The lease is as by default, and so fits the default time-out.
    let gateway = Gateway::builder().document("# Nothing yet.\n").setting("delivery.lease", "60s");
    let gateway = gateway.start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("beginning", &gateway, &admin, "configuration").await;
    browser.reads("The document is empty").await;
    browser.shoot("empty").await;
    browser.press("Begin with turnkey").await;

    // Each turn gives what a finding asks for by name, and nothing else.
    for turn in 0.. {
        assert!(turn < 10, "the findings lead nowhere: {}", browser.text().await);
        let found = findings(&admin, &document(&browser).await).await;
        let Some(missing) = found.iter().find(|finding| finding["severity"] == "error") else {
            break;
        };
        let pointer = missing["pointer"].as_str().unwrap();
        browser.reads(missing["detail"].as_str().unwrap()).await;
        if turn == 0 {
            browser.shoot("findings").await;
        }
        let member = pointer.rsplit('/').next().unwrap();
        let value = match member {
            "base_url" => "{TURNKEY_URL}",
            "organization_id" => "{TURNKEY_ORGANIZATION_ID}",
            "api_private_key" => "{TURNKEY_API_PRIVATE_KEY}",
            "access_type" => "ACCESS_TYPE_WEB",
            other => panic!("nobody can tell what {other} is to be: {missing}"),
        };
        let line = gateway.simulators.fill_in(&format!("{member} = \"{value}\"\n"));
        let text = format!("{}{line}", document(&browser).await);
        browser.fill(EDITOR, &text).await;
    }
    browser.reads("can be applied").await;
    browser.press("Probe changed providers").await;
    browser.reads("took their credentials").await;
    browser.press("Apply…").await;
    browser.press("Apply").await;
    browser.reads("Applied: the document is live.").await;
    browser.shoot("first-provider").await;
    let sent = gateway.client().invite(&invites("my-turnkey", [person(1)])).await;
    assert_eq!(sent[0]["status"], "pending");
    browser.close(&[]).await;
    gateway.finish().await;
}

/// What the gate says of a text, as the page is told.
async fn findings(admin: &invite_tests::Client, text: &str) -> Vec<Value> {
    let check = admin.request("POST", "/v1/admin/config/check");
    let answer = check.header("content-type", "application/toml").bytes(text).send().await;
    answer.expect(200).body["findings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn who_is_second_is_told_what_changed_and_loses_nothing() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("second", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    let mine = document(&browser).await + "\n# mine\n";
    browser.fill(EDITOR, &mine).await;
    browser.reads("can be applied").await;

    let live = admin.get("/v1/admin/config").await.expect(200);
    let put = admin.request("PUT", "/v1/admin/config?note=theirs");
    let put = put.header("if-match", live.headers["etag"].to_str().unwrap());
    let put = put.header("content-type", "application/toml").bytes(live.text + "\n# theirs\n");
    put.send().await.expect(200);

    browser.press("Apply…").await;
    browser.press("Apply").await;
    browser.reads("Somebody else was first").await;
    browser.reads("# theirs").await;
    browser.shoot("second").await;
    browser.press("Keep my text").await;
    eventually("the editor keeps the text", async || {
        (document(&browser).await == mine).then_some(())
    })
    .await;
    browser.press("Apply…").await;
    browser.press("Apply").await;
    browser.reads("Applied: the document is live.").await;
    assert_eq!(admin.get("/v1/admin/config").await.expect(200).text, mine);
    browser.close(&[412]).await;
    gateway.finish().await;
}
