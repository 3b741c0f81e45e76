//! That a leak would be noticed: the same search, for what the gateway is meant to write.

use invite_tests::{Gateway, invites};
use serde_json::json;

use crate::{canary::Of, ear::Ear, people::person};

const TENANT: &str = "planted-tenant-kelvedon-31";
const KEY_NAME: &str = "planted key Abbotsbury 77";
const PROVIDER: &str = "planted-provider-52";
const REQUEST: &str = "planted-request-Thornham-8";

/// In which places something was found of what is called so.
fn places<'a>(found: &'a [String], name: &str) -> Vec<&'a str> {
    let about = found.iter().filter(|line| line.contains(name));
    let mut places: Vec<&str> = about.filter_map(|line| line.split(':').next()).collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[tokio::test]
async fn what_the_gateway_writes_is_found_wherever_it_writes_it() {
    let gateway =
        Gateway::builder().replace("[providers.treasury", &format!("[providers.{PROVIDER}"));
    let gateway = gateway.replace("\"treasury\"", &format!("\"{PROVIDER}\"")).start().await;
    let ear = Ear::default();
    for (name, text) in [
        ("the tenant", TENANT),
        ("the key's name", KEY_NAME),
        ("the provider", PROVIDER),
        ("the request", REQUEST),
    ] {
        ear.keep(Of::Gateway, name, text);
    }
    let admin = gateway.caller("admin", &[]).await;
    let body =
        json!({ "name": KEY_NAME, "scopes": ["invites:write", "invites:read"], "tenant": TENANT });
    let made = admin.post("/v1/admin/keys", &body).await.expect(201);
    let caller = gateway.client().with_key(made.body["key"].as_str().unwrap());
    caller.invite(&invites(PROVIDER, [person(1)])).await;
    // In base64, as one who hides it would write it.
    let hidden =
        base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, format!("x{REQUEST}"));
    let asked = caller.request("GET", "/v1/invites/none").header("x-request-id", &hidden);
    ear.own("a GET", &asked.send().await.expect(404));
    ear.any("the record", &admin.get("/v1/admin/audit").await.expect(200));
    ear.any("the metrics", &admin.get("/metrics").await.expect(200));
    let found = ear.found(&gateway);
    assert_eq!(places(&found, "the request (in base64)"), ["gateway.log", "the answer to a GET"]);
    assert!(places(&found, "the tenant").contains(&"gateway.log"), "{found:?}");
    assert!(places(&found, "the tenant").contains(&"invites.db-wal"), "{found:?}");
    assert!(places(&found, "the key's name").contains(&"the answer to the record"), "{found:?}");
    assert!(places(&found, "the provider").contains(&"the answer to the metrics"), "{found:?}");
    gateway.finish().await;
}
