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
