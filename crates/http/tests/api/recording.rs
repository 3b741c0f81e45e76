//! Which reads are on record, and what the record shows.

use serde_json::{Value, json};

use crate::client::{Api, NewKey, person};

/// Actions and targets of reads, oldest first.
async fn reads(api: &Api) -> Vec<(String, String)> {
    let mut entries = api.store.audit(None, 100).await.unwrap().entries;
    entries.reverse();
    let reads = entries.into_iter().filter(|entry| entry.change.action.contains("read"));
    reads.map(|entry| (entry.change.action, entry.change.target)).collect()
}

fn recorded(action: &str, target: &str) -> (String, String) {
    (action.to_owned(), target.to_owned())
}

#[tokio::test]
async fn what_is_read_of_other_tenants_is_recorded_before_it_is_shown() {
    let api = Api::start().await;
    let theirs = api.caller_with(NewKey { tenant: "other", ..NewKey::default() }).await;
    let body = json!({ "to": "north", "invites": [person("ada@example.org")] });
    let created = theirs.post("/v1/invites", body);
    let created = created.await.body;
    let id = created["invites"][0]["id"].as_str().unwrap().to_owned();
    let batch = created["batch"]["id"].as_str().unwrap().to_owned();
    theirs.get("/v1/invites").await;
    theirs.get(&format!("/v1/invites/{id}")).await;
    assert_eq!(reads(&api).await, [], "who reads of the own tenant is not on record");

    let all = api.with(&["invites:read", "invites:write", "invites:all-tenants"]).await;
    let own = all.invite("grace@example.org").await;
    all.get(&format!("/v1/invites/{own}")).await;
    all.get("/v1/invites?tenant=default&limit=5").await;
    assert_eq!(reads(&api).await, []);

    let query = "status=pending&status=sent&email=ada%40example.org&limit=5";
    for path in [
        "/v1/invites".to_owned(),
        format!("/v1/invites?{query}"),
        format!("/v1/invites/{id}"),
        format!("/v1/invites/{id}/attempts"),
        format!("/v1/batches/{batch}"),
        "/v1/providers/north/invites".to_owned(),
        // Again: it is the same read.
        "/v1/invites".to_owned(),
    ] {
        assert_eq!(all.get(&path).await.status, 200, "{path}");
    }
    let expected = [
        recorded("invites.read", "all"),
        recorded("invites.read", "status=pending&status=sent&email=…"),
        recorded("invite.read", &id),
        recorded("batch.read", &batch),
        recorded("provider.read_invites", "north"),
    ];
    assert_eq!(reads(&api).await, expected);
}

#[tokio::test]
async fn what_was_exchanged_is_not_read_without_a_record() {
    let api = Api::start().await;
    let caller = api.with(&["invites:read", "invites:write", "invites:raw"]).await;
    let id = caller.invite("ada@example.org").await;
    let path = format!("/v1/invites/{id}/attempts");
    assert_eq!(api.with(&["invites:read"]).await.get(&path).await.status, 200);
    assert_eq!(reads(&api).await, []);
    assert_eq!(caller.get(&path).await.status, 200);
    assert_eq!(reads(&api).await, [recorded("invite.read_raw", &id)]);
}

#[tokio::test]
async fn each_entry_shows_its_place_and_its_hash() {
    let admin = Api::start().await.with(&["admin"]).await;
    let made = json!({ "name": "hr", "scopes": ["invites:read"] });
    admin.post("/v1/admin/keys", made).await;
    let entries = admin.get("/v1/admin/audit").await.body["entries"].clone();
    let places: Vec<&Value> = entries.as_array().unwrap().iter().map(|e| &e["sequence"]).collect();
    assert_eq!(places, [2, 1]);
    assert_eq!(entries[0]["hash"].as_str().unwrap().len(), 64);
}
