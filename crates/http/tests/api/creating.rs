//! `POST /v1/invites`.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::client::{Api, NewKey, person};

const INVITES: &str = "/v1/invites";

#[tokio::test]
async fn an_invite_is_accepted_delivered_and_shown_as_it_was_given() {
    let caller = Api::start().await.caller().await;
    let invite = json!({
        "email": "Ada@Example.org", "first_name": "Ada", "phone": "+15551234567",
        "external_id": "hr-1", "labels": { "purpose": "event" },
    });
    let answer = caller.post(INVITES, json!({ "to": "north", "invites": [invite] })).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let batch = &answer.body["batch"];
    assert_eq!(answer.header("location"), format!("/v1/batches/{}", batch["id"].as_str().unwrap()));
    assert_eq!(batch["state"], "completed");
    assert_eq!(batch["config_revision"], 7);
    assert_eq!(batch["counts"], json!({ "total": 1, "duplicates": 0, "pending": 1 }));
    let invite = &answer.body["invites"][0];
    assert_eq!(invite["email"], "Ada@Example.org");
    assert_eq!(invite["external_id"], "hr-1");
    assert_eq!(invite["labels"], json!({ "purpose": "event" }));
    assert_eq!(invite["provider"], "north");
    assert_eq!(invite["provider_kind"], "pigeon");
    assert_eq!(invite["status"], "pending");
    assert_eq!(invite["status_source"], "provider");
    assert_eq!(invite["options"], json!({ "pigeon": { "loft": "north" } }));
    assert_eq!((&invite["route"], &invite["config_revision"]), (&Value::Null, &json!(7)));
    assert_eq!(invite.get("tenant"), None);
}

#[tokio::test]
async fn what_a_kind_has_no_place_for_is_told_at_its_item_and_at_the_invite() {
    let caller = Api::start().await.caller().await;
    let mut lost = person("ada@example.org");
    lost["phone"] = json!("+15551234567");
    lost["last_name"] = json!("Lovelace");
    let body = json!({ "to": "both", "invites": [person("bob@example.org"), lost] });
    let warning = |at: &str, member: &str| {
        json!({ "pointer": format!("{at}/{member}"), "code": "not-sent-on",
            "detail": format!("pigeon has no place for `{member}`: it is stored, and not sent") })
    };
    let of_request = json!([warning("#/invites/1", "last_name"), warning("#/invites/1", "phone")]);
    let planned = caller.post("/v1/invites?dry_run=true", body.clone()).await;
    assert_eq!(planned.body["warnings"], of_request);
    let answer = caller.post(INVITES, body).await;
    assert_eq!(answer.body["warnings"], of_request, "once, although it goes to two providers");
    let invites = answer.body["invites"].as_array().unwrap();
    assert_eq!(invites[0]["warnings"], json!([]));
    assert_eq!(invites[3]["warnings"], json!([warning("#", "last_name"), warning("#", "phone")]));
}

#[tokio::test]
async fn every_fault_of_a_request_is_listed_and_nothing_is_accepted() {
    let caller = Api::start().await.caller().await;
    let body = json!({ "on_duplicate": "maybe", "invites": [
        { "email": "ada", "first_name": "Ada" },
        { "email": "bob@example.org" },
        { "email": "eve@example.org", "first_name": "Eve", "to": ["nroth"], "options": { "turnkey": {} } },
        { "email": "eve@example.com", "first_name": "Eve", "emial": 1 },
        { "email": "eve@example.org", "first_name": "Eve", "to": "closed" },
    ] });
    let answer = caller.post(INVITES, body).await;
    assert_eq!(answer.code(), (422, "validation-failed"));
    let expected = [
        ("#/on_duplicate", "not-allowed"),
        ("#/invites/0/email", "invalid"),
        ("#/invites/1/first_name", "required"),
        ("#/invites/2/to/0", "unknown-destination"),
        ("#/invites/3/emial", "unknown-member"),
        ("#/invites/3/to", "no-route"),
        ("#/invites/4/to", "provider-disabled"),
    ];
    assert_eq!(answer.errors(), expected);
    assert_eq!(answer.body["errors"][3]["suggestion"], "north");
    assert_eq!(caller.get(INVITES).await.body["invites"], json!([]));
}

#[tokio::test]
async fn what_is_malformed_causes_no_further_faults() {
    let caller = Api::start().await.caller().await;
    let nobody = json!({ "email": "bob@example.org" });
    for (body, fault) in [
        (json!({ "to": 1, "invites": [nobody] }), ("#/to", "wrong-type")),
        (json!({ "to": [null], "invites": [nobody] }), ("#/to/0", "wrong-type")),
        (json!({ "to": "north", "invites": [1] }), ("#/invites/0", "wrong-type")),
    ] {
        assert_eq!(caller.post(INVITES, body).await.errors(), [fault]);
    }
    let misspelt = json!({ "email": "bob@example.org", "too": "north" });
    let answer = caller.post(INVITES, json!({ "too": 1, "invites": [misspelt] })).await;
    let expected = [
        ("#/too", "unknown-member"),
        ("#/invites/0/too", "unknown-member"),
        ("#/invites/0/first_name", "required"),
    ];
    assert_eq!(answer.errors(), expected);
}

#[tokio::test]
async fn options_are_only_for_kinds_that_the_invite_goes_to() {
    let caller = Api::start().await.caller().await;
    let mut invite = person("ada@example.org");
    invite["options"] = json!({ "pigeon": {}, "pigoen": {} });
    let answer = caller.post(INVITES, json!({ "invites": [invite] })).await;
    assert_eq!(answer.errors(), [("#/invites/0/options/pigoen", "unknown-kind")]);
    assert_eq!(answer.body["errors"][0]["suggestion"], "pigeon");
}

#[tokio::test]
async fn a_request_without_a_route_or_to_a_disabled_provider_has_that_code() {
    let caller = Api::start().await.caller().await;
    let nowhere = caller.post(INVITES, json!({ "invites": [person("a@example.com")] })).await;
    assert_eq!(nowhere.code(), (422, "no-route"));
    let body = json!({ "to": "closed", "invites": [person("a@example.com")] });
    let closed = caller.post(INVITES, body).await;
    assert_eq!(closed.code(), (422, "provider-disabled"));
    assert_eq!(closed.errors(), [("#/to", "provider-disabled")]);
}

#[tokio::test]
async fn lenient_handling_accepts_the_valid_items_and_reports_the_invalid_ones() {
    let caller = Api::start().await.caller().await;
    let body =
        json!({ "invites": [{ "email": "ada" }, person("bob@example.org"), { "email": 1 }] });
    let answer = caller.post_invites(&[("prefer", "handling=lenient")], body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("preference-applied"), "handling=lenient");
    assert_eq!(answer.body["batch"]["state"], "completed_with_failures");
    let counts = json!({ "total": 3, "duplicates": 0, "pending": 1, "failed": 2 });
    assert_eq!(answer.body["batch"]["counts"], counts);
    let invites = answer.body["invites"].as_array().unwrap();
    assert_eq!([0, 1, 2].map(|i| &invites[i]["index"]), [&json!(0), &json!(1), &json!(2)]);
    let refused = &invites[0];
    assert_eq!(refused["status"], "failed");
    assert_eq!(refused["email"], "");
    assert_eq!(refused["provider"], Value::Null);
    assert_eq!(refused["provider_kind"], Value::Null);
    assert_eq!(refused["error"]["type"], "/problems/validation-failed");
    assert_eq!(refused["error"]["errors"][0]["pointer"], "#/invites/0/email");
    assert_eq!(invites[2]["email"], "");
}

#[tokio::test]
async fn lenient_handling_accepts_a_request_without_a_valid_item_but_not_a_malformed_one() {
    let caller = Api::start().await.caller().await;
    let lenient = [("prefer", "handling=lenient")];
    let answer = caller.post_invites(&lenient, json!({ "invites": [{}] })).await;
    assert_eq!(answer.status, 201);
    let malformed =
        caller.post_invites(&lenient, json!({ "to": "nowhere", "invites": [{}] })).await;
    assert_eq!(malformed.status, 422);
}

#[tokio::test]
async fn an_invite_to_several_providers_becomes_one_invite_for_each() {
    let caller = Api::start().await.caller().await;
    let body = json!({ "to": ["both", "north"], "invites": [person("ada@example.org")] });
    let answer = caller.post(INVITES, body).await;
    let providers: Vec<_> =
        answer.body["invites"].as_array().unwrap().iter().map(|i| &i["provider"]).collect();
    assert_eq!(providers, ["north", "south"]);

    // Each of them counts: three at two places are more than the five that a request may make.
    let people = ["a@example.org", "b@example.org", "c@example.org"].map(person);
    for prefer in ["handling=strict", "handling=lenient"] {
        let body = json!({ "to": "both", "invites": people });
        let refused = caller.post_invites(&[("prefer", prefer)], body).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert_eq!(refused.errors()[0], ("#/invites", "too-many"));
    }
    let body = json!({ "to": "both", "invites": people[..2] });
    assert_eq!(caller.post(INVITES, body).await.status, 201);
}

#[tokio::test]
async fn a_second_invite_to_the_same_person_is_answered_as_the_caller_chose() {
    let caller = Api::start().await.caller().await;
    let first = caller.invite("ada@example.org").await;
    let body = |choice: &str| {
        json!({ "on_duplicate": choice,
        "invites": [person("bob@example.org"), person("ADA@example.org")] })
    };
    let answer = caller.post(INVITES, body("return_existing")).await;
    assert_eq!(answer.status, 201);
    let existing = &answer.body["invites"][1];
    assert_eq!(existing["id"], first);
    assert_eq!(existing["index"], 1);
    assert_eq!(existing["duplicate"], true);
    let counts = json!({ "total": 2, "duplicates": 1, "pending": 2 });
    assert_eq!(answer.body["batch"]["counts"], counts);
    let batch = caller.get(answer.header("location")).await;
    assert_eq!(batch.body, answer.body["batch"]);

    let answer = caller.post(INVITES, body("reject")).await;
    assert_eq!(answer.body["invites"][1]["error"]["code"], "duplicate");
    assert_eq!(answer.body["batch"]["state"], "completed_with_failures");

    let answer = caller.post(INVITES, body("send")).await;
    assert_eq!(answer.body["invites"][1]["status"], "pending");
    assert_ne!(answer.body["invites"][1]["id"], json!(first));
}

#[tokio::test]
async fn a_caller_who_does_not_wait_is_told_where_to_look() {
    let caller = Api::start().await.caller().await;
    let mut silent = person("ada@example.org");
    silent["message"] = json!("silence");
    let body = json!({ "invites": [silent] });
    let answer = caller.post_invites(&[("prefer", "respond-async")], body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), "respond-async");
    assert_eq!(answer.body["batch"]["state"], "in_progress");
    let batch = caller.call("GET", answer.header("location"), &[("prefer", "wait=0")], None).await;
    assert_eq!(batch.header("preference-applied"), "wait=0");
    assert_eq!(batch.body["state"], "in_progress");
}

#[tokio::test]
async fn a_dry_run_shows_the_calls_and_sends_nothing() {
    let caller = Api::start().await.caller().await;
    let body = json!({ "to": "both",
        "invites": [person("ada@example.org"), person("bob@example.org")] });
    let path = "/v1/invites?dry_run=true";
    let answer = caller.post(path, body).await;
    assert_eq!(answer.status, 200);
    let plan = answer.body["plan"].as_array().unwrap();
    assert_eq!(plan.len(), 2);
    assert_eq!(plan[0]["url"], "https://pigeon.example/fly");
    assert_eq!(plan[0]["body"], json!(["Ada", "Ada"]));
    assert_eq!(plan[0]["indices"], json!([0, 1]));
    assert_eq!(caller.get(INVITES).await.body["invites"], json!([]));
    assert_eq!(caller.post(path, json!({ "invites": [{}] })).await.status, 422);
    let headers = [("prefer", "wait=1, handling=lenient")];
    let lenient = caller.call("POST", path, &headers, Some(json!({ "invites": [{}] }))).await;
    assert_eq!(lenient.status, 200);
    assert_eq!(lenient.header("preference-applied"), "handling=lenient");
}

#[tokio::test]
async fn a_key_limited_to_a_provider_cannot_send_elsewhere_however_wrong_the_rest_is() {
    let api = Api::start().await;
    let caller = api.caller_with(NewKey { providers: Some(&["north"]), ..NewKey::default() }).await;
    let invites = json!([person("ada@example.org"), { "email": 1, "to": "south" }]);
    let answer = caller.post(INVITES, json!({ "invites": invites })).await;
    assert_eq!(answer.code(), (403, "provider-not-allowed"));
    assert_eq!(answer.errors(), [("#/invites/1/to", "provider-not-allowed")]);
    caller.invite("ada@example.org").await;
}

#[tokio::test]
async fn faults_are_found_in_the_order_that_the_contract_gives() {
    let api = Api::start().await;
    let reader = api.with(&["invites:read"]).await;
    let writer = api.caller().await;
    let send = async |key: &str, kind: &str, body: &str| {
        let request = Request::post(INVITES)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        api.send(request).await
    };
    let large = "{".repeat(10_001);
    let (text, json) = ("text/plain", "application/json");
    assert_eq!(send("no", text, &large).await.code(), (401, "unauthorized"));
    assert_eq!(send(&reader.key, text, &large).await.code(), (403, "insufficient-scope"));
    assert_eq!(send(&writer.key, text, &large).await.code(), (415, "unsupported-media-type"));
    assert_eq!(send(&writer.key, json, &large).await.code(), (413, "too-large"));
    assert_eq!(send(&writer.key, json, "{").await.code(), (400, "malformed-json"));
    assert_eq!(send(&writer.key, json, "{}").await.code(), (422, "validation-failed"));
}

#[tokio::test]
async fn a_provider_takes_no_more_than_its_backlog_and_its_quota() {
    let caller = Api::start().await.caller().await;
    let two = json!([person("ada@example.org"), person("bob@example.org")]);
    let answer = caller.post(INVITES, json!({ "to": "full", "invites": two })).await;
    assert_eq!(answer.code(), (503, "backlog-full"));
    assert_ne!(answer.header("retry-after"), "");
    for email in ["ada@example.org", "bob@example.org"] {
        let one = json!({ "to": "full", "invites": [person(email)] });
        assert_eq!(caller.post(INVITES, one).await.status, 201);
    }
    let another = json!({ "to": "full", "invites": [person("eve@example.org")] });
    let answer = caller.post(INVITES, another).await;
    assert_eq!(answer.code(), (422, "quota-exceeded"));
    assert_eq!(answer.errors(), [("#/invites", "quota-exceeded")]);
}

#[tokio::test]
async fn a_gateway_that_is_stopping_accepts_nothing() {
    let api = Api::start().await;
    let caller = api.caller().await;
    api.engine.shutdown().await;
    let answer = caller.post(INVITES, json!({ "invites": [person("ada@example.org")] })).await;
    assert_eq!(answer.code(), (503, "not-ready"));
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(answer.body["outcome"], "not_sent");
}

#[tokio::test]
async fn what_the_document_says_of_a_request_is_what_is_taken() {
    let api = Api::start().await;
    let caller = api.caller().await;
    let request = api.whole(&json!({ "$ref": "#/components/schemas/NewInvites" }));
    let validator = jsonschema::validator_for(&request).unwrap();
    let invite = |member: &str, value: Value| {
        let mut invite = person("ada@example.org");
        invite[member] = value;
        json!({ "invites": [invite] })
    };
    let labels = |count: usize| (0..count).map(|i| (i.to_string(), json!("x"))).collect::<Value>();
    let bodies = [
        (true, invite("last_name", json!("é".repeat(200)))),
        (false, invite("last_name", json!("é".repeat(201)))),
        (false, invite("last_name", json!("a\u{0}"))),
        (true, invite("last_name", Value::Null)),
        (true, invite("message", json!("a\nb"))),
        (false, invite("message", json!("x".repeat(257)))),
        (true, invite("external_id", json!(""))),
        (false, invite("external_id", json!("x".repeat(256)))),
        (false, invite("external_id", json!("a\u{202e}b"))),
        (false, invite("labels", json!({ "a": "b\u{85}" }))),
        (false, invite("to", json!(["north"].repeat(101)))),
        (true, invite("phone", json!("+12345678"))),
        (false, invite("phone", json!("+02345678"))),
        (true, invite("labels", labels(16))),
        (false, invite("labels", labels(17))),
        (false, invite("labels", json!({ "a:b": "c" }))),
        (false, invite("labels", json!({ "": "c" }))),
        (false, invite("labels", json!({ "a": "x".repeat(257) }))),
        (false, invite("labels", json!({ "a": null }))),
        (true, invite("to", json!(["north"]))),
        (false, invite("to", json!([]))),
        (false, invite("to", json!(1))),
        (false, invite("options", json!([]))),
        (true, invite("options", json!({ "pigeon": {} }))),
        (false, invite("emial", json!("x"))),
        (false, json!({ "invites": [] })),
        (false, json!({ "invites": [person("ada@example.org")], "too": "north" })),
        (false, json!({ "invites": [person("ada@example.org")], "on_duplicate": "x" })),
        (true, json!({ "invites": [person("ada@example.org")], "on_duplicate": "reject" })),
        (false, json!([])),
    ];
    for (is_valid, body) in bodies {
        assert_eq!(validator.is_valid(&body), is_valid, "the document on {body}");
        let answer = caller.post("/v1/invites?dry_run=true", body.clone()).await;
        assert_eq!(answer.status == 200, is_valid, "the gateway on {body}: {}", answer.body);
    }
}
