//! How every page looks: to a checker of accessibility, on a phone, in the dark.

use invite_tests::{Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::sign_in;

const PAGES: [&str; 8] = [
    "overview",
    "invites",
    "providers",
    "providers/treasury",
    "webhooks",
    "configuration",
    "keys",
    "audit",
];

#[tokio::test]
async fn every_page_is_accessible_and_fits_a_phone_in_light_and_dark() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    // Nothing listens there.
    let webhook = json!({ "url": "http://127.0.0.1:1/hooks/invites", "description": "HR",
        "types": ["invite.pending", "invite.failed"], "labels": { "team": "hr" } });
    admin.post("/v1/webhooks", &webhook).await.expect(201);
    let webhook = json!({ "url": "http://127.0.0.1:1/hooks/all", "payload": "thin" });
    let webhook = admin.post("/v1/webhooks", &webhook).await.expect(201).body;
    for (number, to) in ["acme-tenancy", "berlin-summit", "treasury"].into_iter().enumerate() {
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
    pages.push(format!("webhooks/{}", webhook["id"].as_str().unwrap()));
    pages.push(format!("actions/{}", held_up_action(&gateway).await));
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

/// The id of an action that waits, to which some of what it is for could not be done.
async fn held_up_action(gateway: &Gateway) -> String {
    let later = json!({ "operation": "delete", "kind": "rate_limited", "retry_after": 600 });
    gateway.simulators.break_down("rkvst", later).await;
    let filter =
        json!({ "action": "withdraw", "filter": { "created_after": "2026-01-01T00:00:00Z" } });
    let with = |member: &str, value: Value| {
        let mut wanted = filter.clone();
        wanted[member] = value;
        wanted
    };
    let actions = "/v1/invites/actions";
    let client = gateway.client();
    let counted = client.post(actions, &with("dry_run", true.into())).await.expect(200).body;
    let wanted = with("confirm", counted["matched"].clone());
    let action = client.post(actions, &wanted).await.expect(202).body;
    let id = action["id"].as_str().unwrap().to_owned();
    eventually("the action is held up", async || {
        let now = client.get(&format!("{actions}/{id}")).await.expect(200).body;
        now["held_up_by"].is_string().then_some(())
    })
    .await;
    id
}

#[tokio::test]
async fn the_longest_values_keep_every_page_within_its_width() {
    let provider = "p".repeat(63);
    let document = format!(
        "\n[providers.{provider}]\nkind = \"rkvst\"\nbase_url = \"{{RKVST_URL}}\"\n\
         client_id = \"{{RKVST_CLIENT_ID}}\"\nclient_secret = \"{{RKVST_CLIENT_SECRET}}\"\n\
         [providers.{provider}.limits]\ntimeout = \"2s\"\n"
    );
    let gateway = Gateway::builder().append(&document).start().await;
    let admin = gateway.caller("admin", &[]).await;
    let tenant = "t".repeat(64);
    let scopes = "invites:write,invites:read,invites:raw,providers:read";
    let names = format!("{provider},treasury");
    let caller = gateway.caller(scopes, &["--tenant", &tenant, "--providers", &names]).await;
    let guest = json!({
        "email": format!("{}@{}.example.org", "l".repeat(64), "d".repeat(48)),
        "first_name": "F".repeat(200), "last_name": "L".repeat(200),
        "external_id": "x".repeat(255),
        "labels": { "k".repeat(64): "v".repeat(256) },
    });
    let invite = caller.invite(&invites(&provider, [guest])).await.remove(0);
    let webhook = json!({
        "url": format!("https://{}.example.org/{}", "h".repeat(63), "p".repeat(1_900)),
        "description": "d".repeat(200), "providers": [provider],
        "labels": { "k".repeat(64): "v".repeat(256) },
    });
    let webhook = admin.post("/v1/webhooks", &webhook).await.expect(201).body;

    let browser = sign_in("long", &gateway, &admin, "overview").await;
    let mut pages: Vec<String> = PAGES.map(str::to_owned).into();
    pages.push(format!("providers/{provider}"));
    pages.push(format!("invites/{}", invite["id"].as_str().unwrap()));
    pages.push(format!("webhooks/{}", webhook["id"].as_str().unwrap()));
    let mut faults = Vec::new();
    for page in &pages {
        browser.driver.goto(format!("{}/console/#/{page}", gateway.url())).await.unwrap();
        browser.find("main h1").await;
        browser.settles().await;
        for width in [1280, 1025, 1024, 768, 360] {
            browser.resize(width, 900).await;
            if browser.is_too_wide().await {
                faults.push(format!("{page}: the page is wider than {width} pixels"));
            }
            let narrowest = narrowest_cell(&browser).await;
            if narrowest < 60.0 {
                faults.push(format!("{page}, {width}: a cell is {narrowest} pixels wide"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    browser.close(&[]).await;
    gateway.finish().await;
}

/// How wide the narrowest table cell with text is, in pixels; numbers need little.
async fn narrowest_cell(browser: &Browser) -> f64 {
    let script = "return Math.min(1000, ...[...document.querySelectorAll('.cards td:not(.number)')]\
                  .map(cell => cell.getBoundingClientRect().width).filter(width => width > 0));";
    browser.driver.execute(script, Vec::new()).await.unwrap().convert().unwrap()
}

#[tokio::test]
async fn an_overview_without_its_gateway_says_so_and_recovers_by_itself() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let mut browser = sign_in("no-answer", &gateway, &admin, "overview").await;
    browser.find_with_text(".lane .badge", "ready").await;
    browser.unplug(true).await;
    let notice = browser.find(".notice.bad[role=alert]").await.text().await.unwrap();
    assert!(notice.contains("The gateway does not answer"), "{notice}");
    assert!(notice.contains("What is shown here is old"), "{notice}");
    browser.find(".stale .lane").await;
    browser.shoot("outage").await;
    assert_eq!(browser.accessibility_faults().await, Vec::<String>::new());
    browser.unplug(false).await;
    browser.reads("The gateway answers again.").await;
    assert!(!browser.has(".stale, .notice.bad").await);
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn while_one_provider_is_probed_the_others_are_brought_up_to_date() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let browser = sign_in("probing", &gateway, &admin, "providers").await;
    let probe = browser.find("button[aria-label^='Probe treasury:']").await;
    let script = "const real = window.fetch; window.fetch = async (url, how) => { \
                  if (url.pathname.endsWith('/probe')) \
                  await new Promise((release) => { window.release = release; }); \
                  return real(url, how); };";
    browser.driver.execute(script, Vec::new()).await.unwrap();
    probe.click().await.unwrap();
    browser.reads("Probing…").await;
    let refused = json!({ "operation": "create", "kind": "status_before", "status": 401 });
    gateway.simulators.break_down("rkvst", refused).await;
    let to = invites("acme-tenancy", [person(1)]);
    let request = gateway.client().request("POST", "/v1/invites").json(&to);
    request.header("prefer", "respond-async").send().await.expect(202);
    browser.find_with_text("tr", "misconfigured").await;
    assert_eq!(probe.text().await.unwrap(), "Probing…");
    let focused = browser.driver.active_element().await.unwrap();
    assert_eq!(focused.element_id(), probe.element_id(), "the button has lost the focus");
    browser.driver.execute("window.release();", Vec::new()).await.unwrap();
    browser.find_with_text("tr", "whoami").await;
    browser.close(&[]).await;
    gateway.finish().await;
}

#[tokio::test]
async fn many_invalid_invites_do_not_hide_one_that_failed_at_its_provider() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let rule = json!({ "operation": "create", "kind": "status_before", "status": 400 });
    gateway.simulators.break_down("rkvst", rule).await;
    let failed = gateway.client().invite(&invites("acme-tenancy", [person(0)])).await.remove(0);
    let invalid = invites("acme-tenancy", (1..=60).map(|_| json!({ "email": "nobody" })));
    let request = gateway.client().request("POST", "/v1/invites").json(&invalid);
    request.header("prefer", "handling=lenient").send().await.expect(201);
    let browser = sign_in("attention", &gateway, &admin, "overview").await;
    browser.find_with_text(".rows li", failed["email"].as_str().unwrap()).await;
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
