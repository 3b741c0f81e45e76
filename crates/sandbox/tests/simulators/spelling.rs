//! Providers that show what they were given in a spelling of their own.

use crate::*;

const SENT: &str = "\"\u{fb01}ona\"@example.org";

/// Each setting, and how the address is then shown.
const SHOWN: [(&[&str], &str); 3] = [
    (&["unquoted"], "\u{fb01}ona@example.org"),
    (&["unquoted", "nfkc"], "fiona@example.org"),
    (&["unquoted", "masked"], "\u{fb01}**@example.org"),
];

#[tokio::test]
async fn securegate_shows_its_own_spelling_in_every_answer() {
    for (spelling, shown) in SHOWN {
        let world = World::start().await;
        world.set("securegate", json!({ "spelling": spelling })).await;
        let mut asked = person(SENT);
        asked["first_name"] = json!(" ADA");
        let body = json!({ "invites": [asked] });
        let (_, made) = world.securegate("POST", "/events/event-456/invites", body).await;
        let path = format!("/invites/{}", made[0]["id"].as_str().unwrap());
        let (_, read) = world.securegate("GET", &path, Value::Null).await;
        let (_, listed) = world.securegate("GET", "/events/event-456/invites", Value::Null).await;
        for invite in [&made[0], &read, &listed[0]] {
            assert_eq!(invite["email"], shown);
            assert_eq!(invite["first_name"], " ADA", "names are not addresses");
        }
        assert_eq!(world.effects("securegate").await[0]["email"], SENT, "as it was sent");
    }
}

#[tokio::test]
async fn names_and_messages_have_spellings_of_their_own() {
    let world = World::start().await;
    let spelling = json!({ "spelling": ["trimmed", "title_case"] });
    for provider in ["securegate", "rkvst", "turnkey"] {
        world.set(provider, spelling.clone()).await;
    }
    let mut asked = person("Ada@example.org");
    asked["last_name"] = json!("LOVE  lace ");
    let body = json!({ "invites": [asked] });
    let (_, made) = world.securegate("POST", "/events/event-456/invites", body).await;
    assert_eq!([&made[0]["last_name"], &made[0]["email"]], ["Love Lace", "Ada@example.org"]);
    let body = json!({ "email": "ada@example.org", "message": "be  WELCOME" });
    assert_eq!(world.rkvst("POST", "invites", body).await.1["message"], "Be Welcome");
}

#[tokio::test]
async fn a_query_finds_either_spelling_or_only_the_one_that_is_kept() {
    let world = World::start().await;
    world.set("securegate", json!({ "spelling": ["unquoted", "masked"] })).await;
    world.set("rkvst", json!({ "spelling": ["unquoted", "masked"] })).await;
    let body = json!({ "invites": [person("\"ada\"@example.org")] });
    world.securegate("POST", "/events/event-456/invites", body).await;
    let body = json!({ "email": "\"ada\"@example.org", "message": "m" });
    world.rkvst("POST", "invites", body).await;
    let found = async |address: &str| {
        let path = format!("/invites?event_id=event-456&email={address}");
        let (status, _) = world.securegate("GET", &path, Value::Null).await;
        let (_, list) = world.rkvst("GET", &format!("invites?email={address}"), Value::Null).await;
        (status == 200, list["invites"].as_array().unwrap().len() == 1)
    };
    let quoted = "%22ada%22@example.org";
    assert_eq!(found(quoted).await, (true, true));
    assert_eq!(found("ada@example.org").await, (true, true));
    assert_eq!(found("a**@example.org").await, (false, false), "a mask hides what is kept");
    for provider in ["securegate", "rkvst"] {
        world.set(provider, json!({ "literal_queries": true })).await;
    }
    assert_eq!(found(quoted).await, (false, false));
    assert_eq!(found("ada@example.org").await, (true, true));
}

#[tokio::test]
async fn rkvst_and_turnkey_respell_what_they_list() {
    let world = World::start().await;
    for provider in ["rkvst", "turnkey"] {
        world.set(provider, json!({ "spelling": ["lower_case", "masked"] })).await;
    }
    let body = json!({ "email": "Ada@example.org", "message": "m" });
    let id = world.rkvst("POST", "invites", body).await.1["identity"].clone();
    let (_, list) = world.rkvst("GET", "invites", Value::Null).await;
    assert_eq!(list["invites"][0]["email"], "a**@example.org");
    let moved = json!({ "status": "accepted" });
    world.control("POST", "rkvst", id.as_str().unwrap(), moved).await;
    let (_, members) = world.rkvst("GET", "members", Value::Null).await;
    assert_eq!(members["members"][1]["email"], "a**@example.org");

    let body = invitations(now_ms(), &["Ada@example.org"]);
    let (_, answer) = world.turnkey("submit/create_invitations", &body).await;
    let intent = &answer["activity"]["intent"]["createInvitationsIntent"]["invitations"][0];
    assert_eq!(intent["receiverUserEmail"], "a**@example.org");
    assert_eq!(intent["receiverUserName"], "ada lovelace");
    let (_, answer) = world.turnkey("query/get_organization", &query(json!({}))).await;
    let invitation = &answer["organizationData"]["invitations"][0];
    assert_eq!(invitation["receiverEmail"], "a**@example.org");
    assert_eq!(world.effects("turnkey").await[0]["email"], "Ada@example.org");
}

#[tokio::test]
async fn what_a_fault_hides_is_respelled_all_the_same() {
    for (kind, seen) in [("cut_after", false), ("status_after", false), ("latency_after", true)] {
        let script = format!("[[fault]]\nkind = '{kind}'\noperation = 'create'\ndelay = '10ms'");
        let world = World::with_faults(&script).await;
        world.set("rkvst", json!({ "spelling": ["lower_case"] })).await;
        let body = json!({ "email": "Ada@example.org", "message": "m" });
        let request = world.rkvst_request("POST", "invites", accounts::RKVST_BEARER_TOKEN);
        let answer = request.json(&body).send().await;
        assert_eq!(answer.is_ok_and(|answer| answer.status() == 200), seen, "{kind}");
        let (_, list) = world.rkvst("GET", "invites", Value::Null).await;
        assert_eq!(list["invites"][0]["email"], "ada@example.org", "{kind}");
    }
}
