//! How every page looks: to a checker of accessibility, on a phone, in the dark.

use invite_tests::{Gateway, eventually, invites, person};
use serde_json::json;

use crate::sign_in;

const PAGES: [&str; 7] =
    ["overview", "invites", "providers", "providers/treasury", "configuration", "keys", "audit"];

#[tokio::test]
async fn every_page_is_accessible_and_fits_a_phone_in_light_and_dark() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    for (number, to) in ["berlin-summit", "acme-tenancy", "treasury"].into_iter().enumerate() {
        gateway.client().invite(&invites(to, [person(number)])).await;
    }
    let rule = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", rule).await;
    let failed = gateway.client().invite(&invites("acme-tenancy", [person(9)])).await.remove(0);
    gateway
        .simulators
        .break_down("securegate", json!({ "operation": "create", "kind": "cut_after" }))
        .await;
    let unknown = invites("berlin-summit", [person(10)]);
    gateway
        .client()
        .request("POST", "/v1/invites")
        .header("prefer", "respond-async")
        .json(&unknown)
        .send()
        .await
        .expect(202);

    let mut browser = sign_in("looking", &gateway, &admin, "overview").await;
    let mut pages: Vec<String> = PAGES.map(str::to_owned).into();
    pages.push(format!("invites/{}", failed["id"].as_str().unwrap()));
    let mut faults = Vec::new();
    for page in &pages {
        let name = page.split('/').collect::<Vec<_>>().join("-");
        browser.driver.goto(format!("{}/console/#/{page}", gateway.url())).await.unwrap();
        browser.find("main h1").await;
        browser.settles().await;
        for (scheme, width) in [("light", 1280), ("dark", 1280), ("dark", 390), ("light", 360)] {
            browser.prefer(scheme).await;
            browser.resize(width, 900).await;
            browser.shoot(&format!("{name}-{scheme}-{width}")).await;
            let found = browser.accessibility_faults().await;
            faults.extend(
                found.into_iter().map(|fault| format!("{page}, {scheme}, {width}: {fault}")),
            );
            if browser.is_too_wide().await {
                faults.push(format!("{page}: the page is wider than {width} pixels"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn the_overview_draws_what_each_provider_takes_and_says_why_one_takes_nothing() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 401 });
    gateway.simulators.break_down("rkvst", refused).await;
    let mut browser = sign_in("watching", &gateway, &admin, "overview").await;
    let paused = invites("acme-tenancy", [person(0)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&paused);
    request.header("prefer", "respond-async").send().await.expect(202);
    let line = r#"section[aria-label="treasury"] .chart-line[d^="M"]"#;
    let mut number = 0;
    eventually("the chart has a line", async || {
        number += 1;
        gateway.client().invite(&invites("treasury", [person(number)])).await;
        browser.has(line).await.then_some(())
    })
    .await;
    browser.reads("misconfigured").await;
    let chart = browser.find(r#"section[aria-label="treasury"] .chart svg"#).await;
    let said = chart.attr("aria-label").await.unwrap().unwrap_or_default();
    assert!(said.starts_with("Invites per minute at treasury: "), "{said}");
    assert!(!said.contains(": 0 now, at most 0 "), "{said}");
    browser.shoot("traffic").await;
    browser.close(&[]).await;
    gateway.finish().await;
}
