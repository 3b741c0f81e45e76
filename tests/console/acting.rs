//! Actions: doing something to all invites that a search matches.

use invite_tests::{Client, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::sign_in;

/// Chooses what to do to all that the page's search matches, and has them counted.
async fn count(browser: &Browser, kind: &str) {
    browser.press("Act on all of these…").await;
    browser.find(&format!("dialog input[value={kind}]")).await.click().await.unwrap();
    browser.press("Count them").await;
}

/// The action whose page is open, as the API shows it.
async fn shown(browser: &Browser, client: &Client) -> Value {
    let id = eventually("the page of the action is open", async || {
        let url = browser.driver.current_url().await.ok()?;
        url.fragment()?.strip_prefix("/actions/").map(str::to_owned)
    })
    .await;
    client.get(&format!("/v1/invites/actions/{id}")).await.expect(200).body
}

/// Makes RKVST refuse to withdraw any but so many, until it recovers.
async fn withdraw_only(gateway: &Gateway, count: u32) {
    let rule =
        json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 1, "skip": count });
    gateway.simulators.break_down("rkvst", rule).await;
}

#[tokio::test]
async fn all_that_a_search_matches_are_counted_withdrawn_and_followed_to_the_end() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut body = invites("acme-tenancy", (0..13).map(person));
    for place in 0..12 {
        body["invites"][place]["labels"] = json!({ "cohort": "spring" });
    }
    for place in 0..2 {
        body["invites"][place]["to"] = "berlin-summit".into();
    }
    let posted = gateway.client().invite(&body).await;
    gateway.client().patch(&path(&posted[1]), &json!({ "status": "accepted" })).await.expect(200);
    withdraw_only(&gateway, 4).await;

    let search = "invites?label=cohort:spring&status=pending&status=accepted";
    let mut browser = sign_in("acting", &gateway, &admin, search).await;
    browser.press("Act on all of these…").await;
    browser.find_with_text("dialog label", "Those that are accepted stay as they are.").await;
    browser.find_with_text("dialog label", "Not for these: only for those that are failed.").await;
    assert!(browser.has("dialog input[value=retry]:disabled").await);
    browser.shoot("choices").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.find("dialog input[value=withdraw]").await.click().await.unwrap();
    browser.press("Count them").await;
    browser.find_with_text("dialog h2", "Withdraw: 11 invites?").await;
    browser.shoot("counted").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.fill("dialog input[name=number]", "12").await;
    browser.press("Withdraw: 11 invites").await;
    assert!(browser.has("dialog[open] input:invalid").await, "any number confirms");
    browser.fill("dialog input[name=number]", "11").await;
    browser.press("Withdraw: 11 invites").await;

    browser.find_with_text("h1", "Withdraw: 11 invites").await;
    browser.reads("The address of this page leads back to it.").await;
    browser.find_with_text(".notice.warn", "It is held up by").await;
    browser.find_with_text(".progress", "4 of 11 withdrawn").await;
    browser.find_with_text("dl", "cohort: spring").await;
    browser.shoot("held-up").await;
    gateway.simulators.recover("rkvst").await;
    browser.find_with_text(".about .badge", "completed").await;
    browser.find_with_text(".progress", "10 of 11 withdrawn, 1 could not be.").await;
    browser.find_with_text("tr", "unsupported-operation").await;
    assert!(!browser.text().await.contains("Cancel…"), "what has ended can be cancelled");
    browser.shoot("completed").await;
    let action = shown(&browser, &admin).await;
    assert_eq!(action["succeeded"], 10);
    browser.press("Those of any status").await;
    browser.reads("13 in all").await;
    // Its address leads back, and so does the record of changes.
    browser.press("Audit").await;
    browser.press(action["id"].as_str().unwrap()).await;
    browser.find_with_text("dl", "Asked for by").await;
    browser.close(&[]).await;
    gateway.finish().await;
}

fn path(invite: &Value) -> String {
    format!("/v1/invites/{}", invite["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_number_that_is_another_by_now_is_counted_and_asked_again() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let client = gateway.client();
    let posted = client.invite(&invites("acme-tenancy", (0..3).map(person))).await;
    let mut browser =
        sign_in("recounting", &gateway, &admin, "invites?provider=acme-tenancy").await;
    count(&browser, "withdraw").await;
    browser.find_with_text("dialog h2", "Withdraw: 3 invites?").await;
    client.delete(&path(&posted[0])).await.expect(200);
    browser.press("Withdraw: 3 invites").await;
    browser.find_with_text("dialog h2", "Withdraw: 2 invites?").await;
    browser.find_with_text("dialog .notice.warn", "Nothing was done yet").await;
    browser.shoot("another-number").await;
    assert_eq!(client.read(&posted[1]).await["status"], "pending");

    // When none is left there is nothing to ask.
    for invite in &posted[1..] {
        client.delete(&path(invite)).await.expect(200);
    }
    browser.press("Withdraw: 2 invites").await;
    browser.find_with_text("dialog .notice.bad", "There is nothing to do").await;
    browser.press("Cancel").await;
    count(&browser, "withdraw").await;
    browser.find_with_text("dialog .notice.bad", "There is nothing to do").await;
    browser.close(&[409]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_in_doubt_is_settled_after_somebody_has_looked() {
    let gateway = Gateway::builder().setting("delivery.settle", "1h").start().await;
    let admin = gateway.caller("admin", &[]).await;
    let client = gateway.client();
    let cut = json!({ "operation": "create", "kind": "cut_before" });
    gateway.simulators.break_down("rkvst", cut).await;
    let mut unknown = Vec::new();
    for number in [1, 2] {
        let request = client.request("POST", "/v1/invites").header("prefer", "respond-async");
        let body = invites("acme-tenancy", [person(number)]);
        let posted = request.json(&body).send().await.expect(202).invites().remove(0);
        unknown.push(client.read_once(&posted, &["unknown"]).await);
    }
    gateway.simulators.recover("rkvst").await;
    let mut browser = sign_in("settling", &gateway, &admin, "invites?status=unknown").await;
    count(&browser, "absent").await;
    browser.find_with_text("dialog h2", "Settle as absent: 2 invites?").await;
    browser.find_with_text("dialog .notice.warn", "Look at the provider now").await;
    browser.shoot("look-first").await;
    browser.prefer("dark").await;
    browser.resize(390, 900).await;
    browser.shoot("look-first-dark-390").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    assert!(!browser.is_too_wide().await, "the question is wider than a phone");
    browser.press("Settle as absent: 2 invites").await;
    assert!(browser.has("dialog[open] input:invalid").await, "nobody says that he looked");
    browser.find("dialog input[name=looked]").await.click().await.unwrap();
    browser.press("Settle as absent: 2 invites").await;
    browser.find_with_text(".about .badge", "completed").await;
    browser.find_with_text(".progress", "2 of 2 recorded as failed.").await;
    browser.find_with_text("dl", "In doubt before").await;
    browser.shoot("settled").await;
    let action = shown(&browser, &admin).await;
    assert!(action["as_of"].is_string(), "{action}");
    for invite in &unknown {
        assert_eq!(client.read(invite).await["error"]["code"], "found-absent");
    }
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn an_action_that_runs_can_be_cancelled_also_with_the_keyboard() {
    let gateway = Gateway::start().await;
    // It may name no tenant, so that the way to its invites does not.
    let caller = gateway.caller("invites:write,invites:read", &[]).await;
    caller.invite(&invites("acme-tenancy", (0..3).map(person))).await;
    withdraw_only(&gateway, 1).await;
    let mut browser = sign_in("cancelling", &gateway, &caller, "invites").await;
    browser.press("Act on all of these…").await;
    browser.reads("No filter is set").await;
    browser.find("dialog input[value=withdraw]").await.click().await.unwrap();
    browser.tab_to("Count them").await;
    browser.find_with_text("dialog h2", "Withdraw: 3 invites?").await;
    browser.tab_to("Withdraw: 3 invites").await;
    browser.find_with_text(".progress", "1 of 3 withdrawn, 2 to come.").await;
    browser.tab_to("Cancel…").await;
    browser.tab_to("Cancel it").await;
    browser.find_with_text(".about .badge", "cancelled").await;
    browser.reads("Because somebody cancelled it.").await;
    browser.find_with_text(".progress", "1 of 3 withdrawn, 2 left as they were.").await;
    browser.shoot("cancelled").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.press("Those that match now").await;
    browser.reads("2 in all").await;
    browser.close(&[403]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn what_an_action_cannot_be_for_is_said_and_a_key_without_the_scope_is_offered_none() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let reader = gateway.caller("invites:read,providers:read", &[]).await;
    gateway.client().invite(&invites("acme-tenancy", [person(1)])).await;
    let search = "invites?email=guest1@example.org&status=pending";
    let browser = sign_in("one-person", &gateway, &admin, search).await;
    browser.reads("it takes no email").await;
    browser.press("search without that").await;
    browser.find_with_text("button", "Act on all of these…").await;
    browser.close(&[]).await;

    let browser = sign_in("reading-only", &gateway, &reader, "invites").await;
    browser.find_with_text("td", "guest1@example.org").await;
    eventually("nothing is offered", async || {
        (!browser.text().await.contains("Act on all")).then_some(())
    })
    .await;
    browser.close(&[403]).await;
    gateway.finish().await;
}
