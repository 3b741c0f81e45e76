//! Editing the provider document: what the gate says as one types, applying, restoring.

use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};
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
    let restored = format!("as a restore of revision {first}");
    browser.find_with_text(".revisions li.live", &restored).await;
    browser.shoot("restored").await;
    let third = live(&gateway, &admin).await;
    assert_eq!(third, second + 1);
    assert_eq!(invited_to(&gateway, 2).await, ("berlin-summit".to_owned(), third));
    browser.press("Audit").await;
    browser.find_with_text("li.event", &restored).await;
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

async fn live(_: &Gateway, admin: &Client) -> i64 {
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
        // Backquotes are shown as type.
        browser.reads(&missing["detail"].as_str().unwrap().replace('`', "")).await;
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
async fn findings(admin: &Client, text: &str) -> Vec<Value> {
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

    put(&admin, |live| live + "\n# theirs\n").await;

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

/// Makes another document live, as somebody else would, and returns it.
async fn put(admin: &Client, change: impl FnOnce(String) -> String) -> String {
    let live = admin.get("/v1/admin/config").await.expect(200);
    let tag = live.headers["etag"].to_str().unwrap().to_owned();
    let text = change(live.text);
    let put = admin.request("PUT", "/v1/admin/config?note=theirs").header("if-match", &tag);
    let put = put.header("content-type", "application/toml").bytes(text.clone());
    put.send().await.expect(200);
    text
}

#[tokio::test]
async fn what_was_typed_survives_the_end_of_the_key_but_not_signing_out() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let wanted = json!({ "name": "editor", "scopes": ["admin"] });
    let made = admin.post("/v1/admin/keys", &wanted).await.expect(201).body;
    let editor = admin.with_key(made["key"].as_str().unwrap());
    let mut browser = sign_in("lost-key", &gateway, &editor, "configuration").await;
    browser.reads("this is the live document").await;
    let mine = document(&browser).await + "# mine\n";
    browser.fill(EDITOR, &mine).await;
    browser.fill("input[name=note]", "not to be lost").await;
    browser.reads("can be applied").await;
    admin.delete(&format!("/v1/admin/keys/{}", made["id"].as_str().unwrap())).await.expect(200);
    browser.reads("is kept in this tab until then").await;
    browser.shoot("signed-out").await;
    let script = "return JSON.stringify([{ ...sessionStorage }, { ...localStorage }]);";
    let stored = browser.driver.execute(script, Vec::new()).await.unwrap();
    assert_eq!(stored.json(), "[{},{}]", "what is typed is for the memory alone");

    let again = async |browser: &Browser| {
        browser.fill("input[name=key]", &admin.key()).await;
        browser.press("Sign in").await;
    };
    again(&browser).await;
    browser.reads("are here again").await;
    browser.reads("can be applied").await;
    browser.shoot("back").await;
    assert_eq!(document(&browser).await, mine);
    let note = browser.find("input[name=note]").await;
    assert_eq!(note.prop("value").await.unwrap().unwrap(), "not to be lost");

    browser.press("Sign out").await;
    browser.press("Drop the changes").await;
    browser.find("input[name=key]").await;
    again(&browser).await;
    browser.reads("this is the live document").await;
    assert!(!document(&browser).await.contains("# mine"));
    browser.close(&[401]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_document_of_crlf_is_not_changed_by_looking_and_keeps_its_line_ends() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let before = put(&admin, |live| live.replace('\n', "\r\n")).await;
    let browser = sign_in("crlf", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    let apply = browser.find_with_text("button", "Apply…").await;
    assert!(!apply.is_enabled().await.unwrap(), "a document that nobody touched can be applied");

    browser.find(EDITOR).await.send_keys("# mine\n").await.unwrap();
    browser.reads("can be applied").await;
    browser.press("Apply…").await;
    browser.press("Apply").await;
    browser.reads("Applied: the document is live.").await;
    browser.reads("this is the live document").await;
    let after = admin.get("/v1/admin/config").await.expect(200).text;
    assert!(after.contains("# mine\r\n"), "{after:?}");
    assert_eq!(after.replace("# mine\r\n", ""), before);
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_typed_while_another_revision_is_read_is_kept() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let browser = sign_in("slow", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    // The next answer with the live document is held back.
    let script = "const real = window.fetch; window.fetch = async (url, how) => { \
                  const answer = await real(url, how); \
                  if (how.method === 'GET' && url.pathname.endsWith('/admin/config')) \
                  await new Promise((release) => { window.release = release; }); \
                  return answer; };";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    put(&admin, |live| live + "\n# theirs\n").await;
    eventually("the page reads what went live", async || {
        let held = browser.driver.execute("return Boolean(window.release);", Vec::new()).await;
        held.unwrap().convert::<bool>().unwrap().then_some(())
    })
    .await;
    browser.find(EDITOR).await.send_keys("# mine").await.unwrap();
    browser.driver.execute("window.release();", Vec::new()).await.unwrap();
    browser.reads("Your text began from revision 1").await;
    let text = document(&browser).await;
    assert!(text.contains("# mine") && !text.contains("# theirs"), "{text}");
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_change_that_the_list_leaves_out_is_read_when_somebody_opens_it() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    put(&admin, |live| live + "\n# theirs\n").await;
    let mut browser = sign_in("long-change", &gateway, &admin, "overview").await;
    // The gateway leaves a change out where finding it takes too long. The first read of it fails.
    let script = "const real = window.fetch; let asked = 0; window.fetch = async (url, how) => { \
                  const one = /revisions\\/\\d+$/.test(url.pathname); \
                  if (one && ++asked === 1) throw new TypeError('cut off'); \
                  const answer = await real(url, how); \
                  if (!url.pathname.endsWith('/revisions')) return answer; \
                  const page = await answer.json(); \
                  for (const revision of page.revisions) revision.diff = null; \
                  return Response.json(page); };";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    browser.press("Configuration").await;
    let summary = "What it changed (long, so it is read when you open it)";
    browser.press(summary).await;
    browser.reads("The gateway does not answer").await;
    browser.press(summary).await;
    browser.press(summary).await;
    browser.find_with_text(".revisions .diff-added", "# theirs").await;
    browser.shoot("opened").await;
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn after_an_outage_the_text_is_checked_again_by_itself() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("outage", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    let script = "window.real = window.fetch; \
                  window.fetch = async () => { throw new TypeError('cut off'); };";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    browser.fill(EDITOR, "").await;
    browser.reads("not checked").await;
    browser.shoot("cut-off").await;
    browser.driver.execute("window.fetch = window.real;", Vec::new()).await.unwrap();
    browser.reads("cannot be applied").await;
    browser.reads("Begin with turnkey").await;

    // So it is where the gateway was asked too often.
    let script = "window.fetch = async (url, how) => url.pathname.endsWith('/check') \
                  ? Response.json({ title: 'Too many requests' }, { status: 429 }) \
                  : window.real(url, how);";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    browser.fill(EDITOR, "strange = 1\n").await;
    browser.reads("not checked").await;
    browser.driver.execute("window.fetch = window.real;", Vec::new()).await.unwrap();
    browser.reads("cannot be applied").await;
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn of_a_long_document_only_what_is_in_view_is_drawn_each_line_beside_its_number() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("long", &gateway, &admin, "configuration").await;
    browser.reads("this is the live document").await;
    let long = "# one of many\n".repeat(4500);
    let text = format!("{long}{}strange = 1\n", document(&browser).await);
    let line = text.lines().count();
    browser.fill(EDITOR, &text).await;
    browser
        .find_with_text(".finding", &format!("line {line}, column 1"))
        .await
        .click()
        .await
        .unwrap();
    let script = "const line = document.querySelector('.line.error'); \
                  const number = document.querySelector('.numbers .error'); \
                  if (!line) return null; \
                  const top = (element) => Math.round(element.getBoundingClientRect().top); \
                  const input = document.querySelector('textarea#document'); \
                  const below = 8 + (parseInt(number.lastChild.textContent) - 1) * 20; \
                  return [line.firstChild.textContent, number.lastChild.textContent, \
                  top(line) - top(number), top(line) - (top(input) + below - input.scrollTop), \
                  document.querySelectorAll('.line').length < 100];";
    let drawn = eventually("the finding's line is in view", async || {
        let drawn = browser.driver.execute(script, Vec::new()).await.unwrap();
        let drawn: Value = drawn.convert().unwrap();
        (!drawn.is_null()).then_some(drawn)
    })
    .await;
    assert_eq!(drawn, json!(["strange = 1", line.to_string(), 0, 0, true]));
    browser.find_with_text(".here", "is not known here").await;
    browser.shoot("end").await;
    browser.close(&[]).await;
    gateway.finish().await;
}
