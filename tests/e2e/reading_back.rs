//! What an invite was asked for with, and what the provider said of it, can be read from the API.

use invite_tests::{Gateway, invites, person};
use serde_json::{Value, json};

use crate::text;

fn at(invites: &[Value], provider: &str) -> Value {
    invites.iter().find(|invite| text(invite, "provider") == provider).unwrap().clone()
}

#[tokio::test]
async fn an_invite_shows_the_options_that_it_was_sent_with() {
    let gateway = Gateway::start().await;
    let mut photographed = person(2);
    photographed["options"] =
        json!({ "securegate": { "onboarding_flow_type": "only_auth", "notify": 0 } });
    let body = invites("berlin-summit", [person(1), photographed]);
    let sent = gateway.client().invite(&body).await;
    let verified = gateway.client().read(&sent[0]).await;
    let options = |flow: &str, notify: Option<i64>| {
        json!({ "securegate": { "event_id": "event-456", "onboarding_flow_type": flow,
            "authentication_method": "QR Code", "notify": notify } })
    };
    assert_eq!(verified["options"], options("kyc", None), "whether a guest was invited with kyc");
    let photographed = gateway.client().read(&sent[1]).await;
    assert_eq!(photographed["options"], options("only_auth", Some(0)));

    let mut officer = person(3);
    officer["options"] = json!({ "turnkey": { "access_type": "ACCESS_TYPE_ALL" } });
    let officer = gateway.client().invite(&invites("treasury", [officer])).await.remove(0);
    let options = json!({ "turnkey": { "receiver_user_name": "Tamsin3 Quillfeather3",
        "receiver_user_tags": [], "access_type": "ACCESS_TYPE_ALL", "sender_user_id": null } });
    assert_eq!(officer["options"], options);
    gateway.finish().await;
}

#[tokio::test]
async fn an_invite_shows_the_message_that_was_sent_and_which_rule_chose_its_provider() {
    let gateway = Gateway::start().await;
    let mut employee = person(1);
    employee["labels"] = json!({ "purpose": "employee" });
    let chosen = |to: Option<&str>, person: Value| {
        let mut body = json!({ "invites": [person] });
        if let Some(to) = to {
            body["to"] = to.into();
        }
        body
    };
    let hired = gateway.client().post("/v1/invites", &chosen(None, employee)).await.expect(201);
    let rule = |rule: usize, name: Option<&str>| json!({ "rule": rule, "name": name });
    for provider in ["acme-tenancy", "treasury"] {
        let invite = gateway.client().read(&at(&hired.invites(), provider)).await;
        assert_eq!(invite["route"], rule(0, Some("new-employee")), "{provider}");
        assert_eq!(invite["config_revision"], hired.body["batch"]["config_revision"]);
    }
    let tenancy = at(&hired.invites(), "acme-tenancy");
    assert_eq!(text(&tenancy, "message"), "Welcome to the tenancy.");
    assert_eq!(tenancy["options"], json!({ "rkvst": {} }));
    for (to, person, expected) in [
        (None, person(2), rule(1, None)),
        (Some("new-employee"), person(3), rule(0, Some("new-employee"))),
        (Some("berlin-summit"), person(4), Value::Null),
    ] {
        let invite = gateway.client().invite(&chosen(to, person)).await.remove(0);
        assert_eq!(invite["route"], expected, "{to:?}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_kind_has_no_place_for_is_warned_of_in_the_dry_run_the_answer_and_the_invite() {
    let gateway = Gateway::start().await;
    let mut guest = person(1);
    guest["message"] = json!("See you there.");
    for (provider, lost) in [
        ("berlin-summit", vec!["message"]),
        ("acme-tenancy", vec!["first_name", "last_name", "phone"]),
        ("treasury", vec!["phone", "message"]),
    ] {
        let body = invites(provider, [guest.clone()]);
        let pointers = |warnings: &Value| -> Vec<String> {
            let warnings = warnings.as_array().unwrap();
            assert!(warnings.iter().all(|warning| text(warning, "code") == "not-sent-on"));
            warnings.iter().map(|warning| text(warning, "pointer").to_owned()).collect()
        };
        let below = |at: &str| lost.iter().map(|it| format!("{at}/{it}")).collect::<Vec<_>>();
        let plan = gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
        assert_eq!(pointers(&plan.body["warnings"]), below("#/invites/0"), "{provider}");
        let answer = gateway.client().post("/v1/invites", &body).await.expect(201);
        assert_eq!(pointers(&answer.body["warnings"]), below("#/invites/0"), "{provider}");
        let invite = gateway.client().read(&answer.invites()[0]).await;
        assert_eq!(pointers(&invite["warnings"]), below("#"), "{provider}");
        assert_eq!(text(&invite, "message"), "See you there.");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_callers_need_of_a_guest_who_accepted_is_in_provider_data() {
    let gateway = Gateway::start().await;
    let invited = gateway.client().invite(&invites("berlin-summit", [person(1)])).await.remove(0);
    let data = &invited["provider_data"];
    assert!(data["created_at"].is_string() && data["updated_at"].is_string(), "{data}");
    assert!(data.get("ticket_id").is_none(), "{data}");
    let id = text(&invited, "provider_ref");
    gateway.simulators.move_invite("securegate", id, "accepted").await;
    let refresh = format!("/v1/invites/{}/refresh", text(&invited, "id"));
    let refreshed = gateway.client().request("POST", &refresh).send().await.expect(200).body;
    assert_eq!(text(&refreshed, "status"), "accepted");
    let data = &refreshed["provider_data"];
    assert_eq!(data["ticket_id"], format!("ticket-{id}"));
    assert_eq!(data["onyxplus_id"], format!("onyx-{id}"));
    assert_eq!(data["image"], format!("https://example.com/profile-photos/{id}.jpg"));
    gateway.finish().await;
}

#[tokio::test]
async fn while_approval_is_awaited_provider_data_says_who_voted_and_whether_our_key_may() {
    let gateway = Gateway::builder()
        .behaving("turnkey", json!({ "activity_mode": "consensus" }))
        .start()
        .await;
    let waiting = gateway.client().invite(&invites("treasury", [person(1)])).await.remove(0);
    assert_eq!(text(&waiting, "status"), "awaiting_approval");
    let data = &waiting["provider_data"];
    assert_eq!((&data["canApprove"], &data["canReject"]), (&json!(false), &json!(true)));
    let votes = data["votes"].as_array().unwrap();
    assert_eq!(votes.len(), 1, "submitting approves it: {data}");
    assert_eq!(text(&votes[0], "selection"), "VOTE_SELECTION_APPROVED");
    let mut members: Vec<&String> = votes[0].as_object().unwrap().keys().collect();
    members.sort_unstable();
    assert_eq!(members, ["createdAt", "selection", "userId"]);
    gateway.simulators.approve(text(data, "activity_id")).await;
    let refresh = format!("/v1/invites/{}/refresh", text(&waiting, "id"));
    let approved = gateway.client().request("POST", &refresh).send().await.expect(200).body;
    assert_eq!(text(&approved, "status"), "pending");
    for member in ["votes", "canApprove", "canReject"] {
        assert!(approved["provider_data"].get(member).is_none(), "{}", approved["provider_data"]);
    }
    gateway.finish().await;
}

async fn raw_attempts(gateway: &Gateway, invite: &Value) -> Vec<Value> {
    let path = format!("/v1/invites/{}/attempts", text(invite, "id"));
    gateway.client().get(&path).await.expect(200).list("attempts")
}

#[tokio::test]
async fn a_raw_attempt_says_where_it_went_and_what_the_provider_calls_it() {
    let gateway = Gateway::start().await;
    let invite = gateway.client().invite(&invites("berlin-summit", [person(1)])).await.remove(0);
    let refresh = format!("/v1/invites/{}/refresh", text(&invite, "id"));
    gateway.client().request("POST", &refresh).send().await.expect(200);
    let attempts = raw_attempts(&gateway, &invite).await;
    let place = |attempt: &Value| {
        let (_, path) = text(attempt, "url").split_once("://127.0.0.1:").unwrap();
        let path = path.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        (text(attempt, "method").to_owned(), path)
    };
    let created = "/events/event-456/invites?onboarding_flow_type=kyc".to_owned();
    assert_eq!(place(&attempts[0]), ("POST".to_owned(), created));
    let read = format!("/invites/{}", text(&invite, "provider_ref"));
    assert_eq!(place(&attempts[1]), ("GET".to_owned(), read));
    for attempt in &attempts {
        assert!(text(attempt, "provider_request_id").starts_with("securegate-"), "{attempt}");
    }
    let reader = gateway.caller("invites:read", &[]).await;
    let path = format!("/v1/invites/{}/attempts", text(&invite, "id"));
    let plain = reader.get(&path).await.expect(200).list("attempts").remove(0);
    for member in ["method", "url", "provider_request_id"] {
        assert!(plain.get(member).is_none(), "{plain}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_raw_attempt_that_was_refused_says_so_in_the_providers_own_members() {
    let gateway = Gateway::start().await;
    for (kind, provider, body, shown) in [
        (
            "securegate",
            "berlin-summit",
            json!({ "detail": "the event is over" }),
            json!({ "detail": "the event is over" }),
        ),
        (
            "rkvst",
            "acme-tenancy",
            json!({ "code": 9, "message": "the tenancy is closed" }),
            json!({ "code": 9, "message": "the tenancy is closed" }),
        ),
        (
            "turnkey",
            "treasury",
            json!({ "code": 9, "message": "closed", "turnkeyErrorCode": "CLOSED", "secret": "x" }),
            json!({ "code": 9, "message": "closed", "turnkeyErrorCode": "CLOSED" }),
        ),
    ] {
        let refuse = json!({ "operation": "create", "kind": "status_before", "status": 400,
            "times": 1, "body": body });
        gateway.simulators.break_down(kind, refuse).await;
        let failed = gateway.client().invite(&invites(provider, [person(1)])).await.remove(0);
        assert_eq!(text(&failed, "status"), "failed", "{failed}");
        let attempt = raw_attempts(&gateway, &failed).await.remove(0);
        assert_eq!((&attempt["http_status"], &attempt["reply"]), (&json!(400), &shown));
        assert_eq!(text(&attempt, "method"), "POST");
        assert!(text(&attempt, "provider_request_id").starts_with(kind), "{attempt}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn what_a_provider_adds_tomorrow_can_be_asked_for_today_where_the_document_allows_it() {
    let methods = "authentication_method = \"QR Code\"\n";
    let allowing = format!("{methods}allow_extra = true\n");
    let gateway = Gateway::builder().replace(methods, &allowing).start().await;
    let adding = |kind: &str, extra: Value| {
        let mut guest = person(1);
        guest["options"] = json!({ kind: { "extra": extra } });
        guest
    };
    let lounge = json!({ "lounge": { "name": "north", "seats": [1, 2] } });
    let body = invites("berlin-summit", [adding("securegate", lounge.clone()), person(2)]);
    let sent = gateway.client().invite(&body).await;
    let invite = gateway.client().read(&sent[0]).await;
    assert_eq!(invite["options"]["securegate"]["extra"], lounge);
    let other = gateway.client().read(&sent[1]).await;
    assert!(other["options"]["securegate"].get("extra").is_none(), "{}", other["options"]);
    let attempt = raw_attempts(&gateway, &invite).await.remove(0);
    let item = &attempt["request"]["invites"][0];
    assert_eq!(
        (&item["lounge"], &item["email"]),
        (&lounge["lounge"], &json!("guest1@example.org"))
    );

    let ours = adding("securegate", json!({ "Email": "eve@example.org", "lounge": 1 }));
    let refused = gateway.client().post("/v1/invites", &invites("berlin-summit", [ours])).await;
    let refused = refused.expect(422);
    assert_eq!(refused.pointers(), ["#/invites/0/options/securegate/extra/Email"]);
    let elsewhere = invites("treasury", [adding("turnkey", lounge)]);
    let refused = gateway.client().post("/v1/invites", &elsewhere).await.expect(422);
    assert_eq!(refused.pointers(), ["#/invites/0/options/turnkey/extra"]);
    assert!(text(&refused.list("errors")[0], "detail").contains("allow_extra"));
    gateway.finish().await;
}
