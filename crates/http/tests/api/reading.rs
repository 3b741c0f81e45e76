//! Reading invites, attempts, batches and providers.

use serde_json::{Value, json};

use crate::client::{Api, NewKey, person};

fn ids(list: &Value) -> Vec<&str> {
    list["invites"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn invites_are_listed_newest_first_page_by_page() {
    let caller = Api::start().await.caller().await;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(caller.invite(&format!("{name}@example.org")).await);
    }
    made.reverse();
    let first = caller.get("/v1/invites?limit=2").await;
    assert_eq!(ids(&first.body), made[..2]);
    caller.invite("late@example.org").await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = caller.get(&format!("/v1/invites?limit=2&cursor={cursor}")).await;
    assert_eq!(ids(&second.body), made[2..]);
    assert_eq!(second.body["next_cursor"], Value::Null);
    assert_eq!((&first.body["has_more"], &second.body["has_more"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn invites_are_followed_by_their_last_change() {
    let caller = Api::start().await.caller().await;
    let ada = caller.invite("ada@example.org").await;
    let bob = caller.invite("bob@example.org").await;
    let begin = "/v1/invites?sort=updated&updated_after=2020-01-01T00:00:00Z";
    let whole = caller.get(begin).await.body;
    assert_eq!((ids(&whole), &whole["has_more"]), (vec![&*ada, &*bob], &json!(false)));
    let first = caller.get(&format!("{begin}&limit=1")).await.body;
    assert_eq!((ids(&first), &first["has_more"]), (vec![&*ada], &json!(true)));
    let after = |page: &Value| {
        format!("/v1/invites?sort=updated&cursor={}", page["next_cursor"].as_str().unwrap())
    };
    let second = caller.get(&after(&first)).await.body;
    assert_eq!(ids(&second), [&*bob]);
    let end = after(&whole);
    assert_eq!(ids(&caller.get(&end).await.body), [] as [&str; 0]);
    let path = format!("/v1/invites/{ada}");
    assert_eq!(caller.patch(&path, json!({ "status": "declined" })).await.status, 200);
    let changed = caller.get(&end).await.body;
    assert_eq!(ids(&changed), [&*ada]);
    assert_eq!(changed["invites"][0]["status"], "declined");

    let cursor = whole["next_cursor"].as_str().unwrap();
    let created = caller.get("/v1/invites?limit=1").await.body["next_cursor"].clone();
    for (query, faults) in [
        ("sort=updated".to_owned(), vec![("?updated_after", "missing")]),
        ("sort=updated&updated_after=now".to_owned(), vec![("?updated_after", "invalid")]),
        ("sort=id".to_owned(), vec![("?sort", "not-allowed")]),
        (
            "sort=updated&sort=updated&cursor=!".to_owned(),
            vec![("?cursor", "invalid"), ("?sort", "repeated")],
        ),
        (format!("cursor={cursor}"), vec![("?cursor", "invalid")]),
        (
            format!("sort=updated&cursor={}", created.as_str().unwrap()),
            vec![("?cursor", "invalid")],
        ),
    ] {
        let answer = caller.get(&format!("/v1/invites?{query}")).await;
        let mut found = answer.errors();
        found.sort_unstable();
        assert_eq!(found, faults, "{query}");
    }
}

#[tokio::test]
async fn filters_narrow_a_list_and_combine() {
    let caller = Api::start().await.caller().await;
    let mut labelled = person("ada@example.org");
    labelled["labels"] = json!({ "team": "a:b", "x": "y" });
    labelled["external_id"] = json!("hr-1");
    let answer = caller.post("/v1/invites", json!({ "invites": [labelled] })).await;
    let ada = answer.body["invites"][0]["id"].as_str().unwrap();
    let batch = answer.body["batch"]["id"].as_str().unwrap();
    let bob = caller.invite("bob@example.org").await;
    for (query, expected) in [
        ("email=ADA%40example.org".to_owned(), vec![ada]),
        ("external_id=hr-1".to_owned(), vec![ada]),
        ("label=team:a:b&label=x:y".to_owned(), vec![ada]),
        ("label=team:a:b&label=x:z".to_owned(), vec![]),
        (format!("batch_id={batch}"), vec![ada]),
        ("provider=north&status=pending&status=sent".to_owned(), vec![&bob, ada]),
        ("status=failed".to_owned(), vec![]),
        ("created_after=2020-01-01T00:00:00Z".to_owned(), vec![&bob, ada]),
        ("created_before=2020-01-01T00:00:00Z".to_owned(), vec![]),
    ] {
        let list = caller.get(&format!("/v1/invites?{query}")).await;
        assert_eq!(ids(&list.body), expected, "{query}");
    }
}

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let query = "limit=0&status=lost&email=ada&label=x&created_after=now&cursor=!&batch_id=1&x=1\
                 &external_id=%00";
    let answer = caller.get(&format!("/v1/invites?{query}")).await;
    assert_eq!(answer.status, 422);
    let mut pointers: Vec<_> = answer.errors().into_iter().map(|(pointer, _)| pointer).collect();
    pointers.sort_unstable();
    let expected = "?batch_id ?created_after ?cursor ?email ?external_id ?label ?limit ?status ?x";
    assert_eq!(pointers.join(" "), expected);
    let caller = api.caller().await;
    let id = caller.invite("ada@example.org").await;
    assert_eq!(caller.get(&format!("/v1/invites/{id}?x=1")).await.status, 422);
}

#[tokio::test]
async fn another_tenants_invites_do_not_exist_except_for_an_administrator() {
    let api = Api::start().await;
    let theirs = api.caller_with(NewKey { tenant: "other", ..NewKey::default() }).await;
    let id = theirs.invite("ada@example.org").await;
    let batch = theirs.get(&format!("/v1/invites/{id}")).await.body["batch_id"].clone();
    let ours = api.caller().await;
    for path in [
        format!("/v1/invites/{id}"),
        format!("/v1/invites/{id}/attempts"),
        format!("/v1/batches/{}", batch.as_str().unwrap()),
    ] {
        assert_eq!(ours.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(ours.get("/v1/invites").await.body["invites"], json!([]));
    assert_eq!(ours.get("/v1/invites?tenant=other").await.status, 403);
    let changes = [("DELETE", ""), ("POST", "/refresh"), ("POST", "/retry")];
    for (method, suffix) in changes {
        let answer = ours.call(method, &format!("/v1/invites/{id}{suffix}"), &[], None).await;
        assert_eq!(answer.status, 404, "{method} {suffix}");
    }

    let admin = api.with(&["admin"]).await;
    let seen = admin.get("/v1/invites?tenant=other").await;
    assert_eq!(ids(&seen.body), [id]);
    assert_eq!(seen.body["invites"][0]["tenant"], "other");
    assert_eq!(admin.get("/v1/invites?tenant=default").await.body["invites"], json!([]));
}

#[tokio::test]
async fn a_key_limited_to_a_provider_sees_that_one_alone() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let body = json!({ "to": "both", "invites": [person("ada@example.org")] });
    let answer = caller.post("/v1/invites", body).await;
    let [north, south] = [0, 1].map(|i| answer.body["invites"][i]["id"].as_str().unwrap());
    let limited =
        api.caller_with(NewKey { providers: Some(&["north"]), ..NewKey::default() }).await;
    assert_eq!(ids(&limited.get("/v1/invites").await.body), [north]);
    assert_eq!(limited.get("/v1/invites?provider=south").await.status, 403);
    assert_eq!(limited.get(&format!("/v1/invites/{south}")).await.status, 403);
    let providers = limited.get("/v1/providers").await;
    assert_eq!(providers.body["providers"].as_array().unwrap().len(), 1);
    assert_eq!(limited.get("/v1/providers/south").await.status, 403);
}

#[tokio::test]
async fn what_was_exchanged_is_shown_only_to_who_may_see_it_and_only_the_invites_own_part() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let id = caller.invite("ada@example.org").await;
    let path = format!("/v1/invites/{id}/attempts");
    let attempts = caller.get(&path).await;
    let attempt = &attempts.body["attempts"][0];
    assert_eq!(attempt["operation"], "create");
    assert_eq!(attempt["outcome"], "succeeded");
    assert_eq!(attempt["request"], "Ada");
    assert_eq!(attempt["config_revision"], 7);
    assert!(attempt["duration_ms"].is_i64());
    let reader = api.with(&["invites:read"]).await;
    let attempts = reader.get(&path).await;
    assert_eq!(attempts.body["attempts"][0].get("request"), None);
}

#[tokio::test]
async fn a_key_that_may_not_read_invites_sees_of_one_that_was_there_only_that_it_is_and_where() {
    let api = Api::start().await;
    let id = api.caller().await.invite("ada@example.org").await;
    let writer = api.with(&["invites:write"]).await;
    let mut again = person("ADA@example.org");
    again["first_name"] = json!("Eve");
    let duplicate = writer.post("/v1/invites", json!({ "invites": [again] })).await;
    let duplicate = &duplicate.body["invites"][0];
    let refreshed = writer.post_empty(&format!("/v1/invites/{id}/refresh")).await.body;
    let set = json!({ "status": "accepted" });
    let changed = writer.patch(&format!("/v1/invites/{id}"), set).await.body;
    for (shown, is_duplicate) in [(duplicate, true), (&refreshed, false)] {
        let expected = json!({
            "id": id, "index": 0, "provider": "north", "provider_kind": "pigeon",
            "status": shown["status"], "status_source": "provider", "duplicate": is_duplicate,
        });
        assert_eq!(*shown, expected);
    }
    assert!(!changed.to_string().contains("Ada"), "{changed}");
    let shown = writer.delete(&format!("/v1/invites/{id}")).await.body;
    assert!(!shown.to_string().contains("ada@example.org"), "{shown}");
    // What the same request makes it knows already.
    let fresh = writer.post("/v1/invites", json!({ "invites": [person("bo@example.org")] })).await;
    assert_eq!(fresh.body["invites"][0]["first_name"], "Ada");
    assert_eq!(fresh.body["invites"][0]["provider_data"], json!({ "perch": "3" }));
}

#[tokio::test]
async fn codes_that_let_their_holder_in_are_shown_only_with_a_scope_of_their_own() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let id = caller.invite("ada@example.org").await;
    let path = format!("/v1/invites/{id}");
    let codes = ["invites:read", "invites:codes"];
    let holder = api.with(&codes).await;
    assert_eq!(holder.get(&path).await.body["provider_data"]["code"], "s3same");
    for path in [path.clone(), "/v1/invites".into(), format!("{path}/attempts")] {
        let shown = caller.get(&path).await.body.to_string();
        assert!(!shown.contains("s3same"), "{path}: {shown}");
    }
    let listed = "/v1/providers/north/invites";
    let admin = api.with(&["admin"]).await;
    assert!(admin.get(listed).await.body.to_string().contains("s3same"));
}

#[tokio::test]
async fn providers_show_how_they_are_doing_and_what_they_can_do() {
    let caller = Api::start().await.caller().await;
    caller.invite("ada@example.org").await;
    let providers = caller.get("/v1/providers").await;
    let names: Vec<_> =
        providers.body["providers"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["north", "south", "closed", "full"]);
    let north = caller.get("/v1/providers/north").await.body;
    assert_eq!(north["state"], "ready");
    assert_eq!(north["config_revision"], 7);
    assert_eq!(north["limits"]["timeout"], "20s");
    assert_eq!(north["quota"], json!({ "limit": null, "live": 1 }));
    assert_eq!(north["counters"]["outcomes"]["succeeded"], 1);
    assert_eq!(north["counters"]["invites"], 1);
    assert_eq!(caller.get("/v1/providers/closed").await.body["state"], "disabled");
    assert_eq!(caller.get("/v1/providers/lost").await.status, 404);
    let kinds = caller.get("/v1/provider-kinds").await;
    assert_eq!(kinds.body["kinds"][0]["kind"], "pigeon");
}

#[tokio::test]
async fn what_a_provider_lists_is_for_administrators_and_paged_by_its_own_cursor() {
    let api = Api::start().await;
    let path = "/v1/providers/north/invites";
    assert_eq!(api.caller().await.get(path).await.status, 403);
    let admin = api.with(&["admin"]).await;
    let first = admin.get(path).await;
    assert_eq!(first.body["invites"][0]["provider_ref"], "a");
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = admin.get(&format!("{path}?cursor={cursor}")).await;
    assert_eq!(second.body["next_cursor"], Value::Null);
    let elsewhere = admin.get(&format!("/v1/providers/south/invites?cursor={cursor}")).await;
    assert_eq!(elsewhere.errors(), [("?cursor", "invalid")]);
}

#[tokio::test]
async fn a_long_list_of_a_provider_is_shown_in_pages_of_a_bounded_size() {
    let admin = Api::start().await.with(&["admin"]).await;
    let path = "/v1/providers/north/invites?email=many%40example.org";
    let (mut shown, mut next) = (Vec::new(), Some(String::new()));
    while let Some(after) = next {
        let page = admin.get(&format!("{path}{after}")).await;
        assert!(page.body["invites"].to_string().len() <= 1024 * 1024 + 2);
        let ids = page.body["invites"].as_array().unwrap().iter();
        shown.extend(ids.map(|it| it["provider_ref"].as_str().unwrap().to_owned()));
        next = page.body["next_cursor"].as_str().map(|at| format!("&cursor={at}"));
    }
    assert_eq!(shown, (0..20_000).map(|n| format!("id-{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_waits_is_due_no_earlier_than_its_provider_is_tried_again() {
    let caller = Api::start().await.caller().await;
    let mut ada = person("ada@example.org");
    ada["message"] = json!("storm");
    let body = json!({ "to": "full", "invites": [ada] });
    let headers = [("prefer", "respond-async")];
    let answer = caller.call("POST", "/v1/invites", &headers, Some(body)).await;
    let id = answer.body["invites"][0]["id"].as_str().unwrap();
    let batch = answer.body["batch"]["id"].as_str().unwrap();
    let paused = async {
        loop {
            let provider = caller.get("/v1/providers/full").await.body;
            let one = caller.get(&format!("/v1/invites/{id}")).await.body;
            if provider["state"] == "paused" && one["status"] == "queued" {
                return (provider["state_until"].clone(), one);
            }
        }
    };
    let paused = tokio::time::timeout(std::time::Duration::from_secs(20), paused).await;
    let (until, one) = paused.unwrap();
    assert_eq!(one["next_attempt_at"], until);
    let list = caller.get(&format!("/v1/invites?batch_id={batch}")).await.body;
    assert_eq!(list["invites"][0]["next_attempt_at"], until);
}
