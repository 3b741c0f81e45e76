//! Revisions of the provider document through the API: what there was, and undoing.

use invite_tests::Gateway;
use serde_json::json;

use crate::admin_configuration::{REVISIONS, edit, live, put, revisions, secret_of};
use crate::{text, texts};

#[tokio::test]
async fn revisions_are_listed_with_their_differences_and_restored() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (first, _) = live(&admin).await;
    edit(&admin, "event-456", "event-457").await;
    edit(&admin, "event-457", "event-458").await;

    let mut path = format!("{REVISIONS}?limit=1");
    let mut listed = Vec::new();
    for _ in 0..3 {
        let page = admin.get(&path).await.expect(200);
        assert_eq!(page.body["live"], 3);
        listed.extend(page.list("revisions"));
        let next = page.body["next_cursor"].as_str();
        path = next.map_or_else(String::new, |at| format!("{REVISIONS}?limit=1&cursor={at}"));
    }
    assert!(path.is_empty(), "the third page is the last");
    let numbers: Vec<_> = listed.iter().map(|revision| revision["revision"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(texts(&listed, "source"), ["api", "api", "file"]);
    assert!(
        text(&listed[0], "diff").contains("-event_id = \"event-457\"\n+event_id = \"event-458\"")
    );
    assert!(text(&listed[2], "diff").contains("+event_id = \"event-456\""), "against nothing");
    assert!(listed.iter().all(|revision| revision.get("document").is_none()));
    assert_eq!(admin.get(REVISIONS).await.body["file"]["differs"], true);

    let one = admin.get(&format!("{REVISIONS}/1")).await.expect(200).body;
    assert_eq!(text(&one, "document"), first);
    for nothing in ["4", "0", "x", "99999999999999999999", "+1", "01", "-1", "%201"] {
        admin.get(&format!("{REVISIONS}/{nothing}")).await.problem(404, "not-found");
        let restore = format!("{REVISIONS}/{nothing}/restore");
        admin.request("POST", &restore).send().await.problem(404, "not-found");
    }

    let restore = format!("{REVISIONS}/1/restore?note=wrong%20event");
    let outdated = admin.request("POST", &restore).header("if-match", "\"2\"").send().await;
    outdated.problem(412, "precondition-failed");
    let restored = admin.request("POST", &restore).header("if-match", "\"3\"").send().await;
    let restored = restored.expect(200);
    let turned = format!("{REVISIONS}/1/restore?note=%E2%80%AEevent");
    let refused = admin.request("POST", &turned).send().await;
    assert_eq!(refused.pointers(), ["?note"]);
    refused.problem(422, "validation-failed");
    assert_eq!((restored.header("etag"), &restored.body["revision"]), (Some("\"4\""), &json!(4)));
    assert_eq!(live(&admin).await, (first, "\"4\"".to_owned()));
    let newest = revisions(&admin).await.remove(0);
    assert_eq!((text(&newest, "source"), text(&newest, "note")), ("restore", "wrong event"));
    assert_eq!((&newest["restored"], &listed[0]["restored"]), (&json!(1), &json!(null)));
    let entry = admin.get("/v1/admin/audit").await.expect(200).list("entries").remove(0);
    assert_eq!(entry["after"], json!({ "revision": 4, "restored": 1 }));
    let one = admin.get(&format!("{REVISIONS}/4")).await.expect(200).body;
    assert_eq!(one["restored"], 1);
    assert_eq!(admin.get(REVISIONS).await.body["file"]["differs"], false);
    gateway.finish().await;
}

#[tokio::test]
async fn a_difference_that_takes_long_to_tell_is_left_to_the_revision_itself() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, _) = live(&admin).await;
    // The same lines in another order throughout.
    for seed in [7_919, 104_729] {
        let lines = (0..60_000_u64).map(|n| format!("# {}\n", (n * seed) % 997));
        let long: String = std::iter::once(document.clone()).chain(lines).collect();
        put(&admin, &long, "*").await.expect(200);
    }
    let listed = revisions(&admin).await;
    assert_eq!((&listed[0]["revision"], &listed[0]["diff"]), (&json!(3), &json!(null)));
    let one = admin.get(&format!("{REVISIONS}/3")).await.expect(200).body;
    assert!(text(&one, "diff").starts_with("--- revision 2\n+++ revision 3\n"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_revision_that_would_not_pass_the_gate_today_is_not_restored() {
    let gateway = Gateway::builder().setting("secrets.directories", ".").start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway.binary.write("securegate.key", &secret_of(&live(&admin).await.0));
    let (document, _) = live(&admin).await;
    let key = document.lines().find(|line| line.starts_with("api_key")).unwrap();
    edit(&admin, key, "api_key = { file = \"securegate.key\" }").await;
    edit(&admin, "api_key = { file = \"securegate.key\" }", key).await;
    std::fs::remove_file(gateway.binary.path("securegate.key")).unwrap();
    let restore = format!("{REVISIONS}/2/restore");
    let refused = admin.request("POST", &restore).send().await.expect(422);
    assert_eq!(refused.body["code"], "configuration-refused");
    assert_eq!(live(&admin).await.0, document);
    gateway.finish().await;
}
