//! Edits of the provider document while invites flow: good ones move the invites to another provider
//! at once, broken ones change nothing, and no caller notices either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use invite_tests::{Answer, Client, Gateway};
use serde_json::Value;

use crate::load::{Load, assert_each_exists_once, attempts};
use crate::{text, texts};

const PATH: &str = "/v1/admin/config";
/// Of each sort.
const EDITS: usize = 100;
const PLACES: [&str; 3] = ["berlin-summit", "acme-tenancy", "treasury"];
const CALLERS: usize = 4;
/// How long a caller waits before its next invite.
const PAUSE: Duration = Duration::from_millis(10);

/// How a document is broken (what is replaced, and by what), and what the gate says to it.
const BREAKAGES: [(&str, &str, &str); 12] = [
    ("[[routes]]", "[[routes", "syntax"),
    ("enabled = true", "enabled = true\nenabled = true", "syntax"),
    ("event_id", "evnt_id", "unknown-member"),
    ("[[routes]]\nname", "[[route]]\nname", "unknown-member"),
    ("kind = \"turnkey\"", "kind = \"turnkeys\"", "not-allowed"),
    ("to = [\"acme-tenancy\", \"treasury\"]", "to = [\"nowhere\"]", "unknown-provider"),
    ("name = \"new\"", "name = \"treasury\"", "name-clash"),
    ("base_url = \"http://127.0.0.1", "base_url = \"https://securegate.example", "literal-secret"),
    ("base_url = \"http://127.0.0.1", "base_url = \"http://securegate.example", "not-https"),
    ("base_url = \"http://127.0.0.1", "base_url = \"https://10.1.2.3", "private-host"),
    ("timeout = \"2s\"", "timeout = \"1h\"", "out-of-range"),
    ("requests_per_second = 1000", "requests_per_second = \"many\"", "wrong-type"),
];

#[tokio::test]
async fn a_hundred_good_edits_and_a_hundred_broken_ones_disturb_no_invite() {
    let gateway = start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (mut document, mut tag) = live(&admin).await;
    let mut routed = BTreeMap::from([(1, PLACES[0])]);
    let load = Load::kept_alive(gateway.client(), CALLERS, "new", PAUSE);
    load.goes_on(CALLERS).await;
    for number in 1..=EDITS {
        let place = PLACES[number % PLACES.len()];
        document = moved(&document, place, number);
        let applied = put(&admin, &document, &tag).await.expect(200);
        let revision = applied.body["revision"].as_i64().unwrap();
        assert_eq!(revision, number as i64 + 1);
        tag = applied.header("etag").unwrap().to_owned();
        routed.insert(revision, place);

        let (from, to, code) = BREAKAGES[number % BREAKAGES.len()];
        assert!(document.contains(from), "nothing to break: {from}");
        let refused = put(&admin, &document.replacen(from, to, 1), &tag).await.expect(422);
        shows_where_it_is_broken(&refused, code);
        assert_eq!(live(&admin).await, (document.clone(), tag.clone()));
    }
    load.goes_on(CALLERS).await;
    let answers = load.end().await;
    check_invites(&gateway, &answers, &routed).await;
    gateway.finish().await;
}

/// A gateway with a route that is reached by its name alone.
async fn start() -> Gateway {
    let catch_all = "[[routes]]\nto = [\"berlin-summit\"]\n";
    let named = "[[routes]]\nname = \"new\"\nwhen = { labels = { purpose = \"none\" } }\n";
    let moving = format!("{named}to = [\"{}\"]\n\n{catch_all}", PLACES[0]);
    let rate = "requests_per_second = 1000\n";
    let gateway = Gateway::builder()
        .replace(catch_all, &moving)
        .replace(rate, &format!("{rate}linger = \"{}\"\n", linger(0)))
        .replace("kind = \"rkvst\"\n", "kind = \"rkvst\"\nenabled = true\n")
        .start()
        .await;
    gateway.simulators.set("turnkey", serde_json::json!({ "quota": 100_000 })).await;
    gateway
}

/// Differs from edit to edit, so that every provider has other settings than before.
fn linger(edit: usize) -> String {
    format!("{}ms", 1 + edit % 5)
}

/// The document with the named route to another provider, and other limits.
fn moved(document: &str, place: &str, edit: usize) -> String {
    let (before, after) = document.split_once("purpose = \"none\" } }\nto = [\"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    format!("{before}purpose = \"none\" }} }}\nto = [\"{place}\"{after}")
        .replace(&linger(edit - 1), &linger(edit))
}

async fn put(admin: &Client, document: &str, basis: &str) -> Answer {
    let request = admin.request("PUT", PATH).bytes(document).header("if-match", basis);
    request.header("content-type", "application/toml").send().await
}

/// The live document and its entity tag.
async fn live(admin: &Client) -> (String, String) {
    let answer = admin.get(PATH).await.expect(200);
    let tag = answer.header("etag").unwrap().to_owned();
    (answer.text, tag)
}

#[track_caller]
fn shows_where_it_is_broken(refused: &Answer, code: &str) {
    let errors = refused.list("errors");
    assert!(texts(&errors, "code").contains(&code), "{code}: {}", refused.text);
    for error in &errors {
        let place = [&error["line"], &error["column"]].map(|number| number.as_u64().unwrap_or(0));
        assert!(place.iter().all(|number| *number > 0), "{}", refused.text);
    }
}

/// Every invite went, once, where the revision that its batch was accepted under sends it, in one
/// call under that revision or a later one.
async fn check_invites(gateway: &Gateway, answers: &[Answer], routed: &BTreeMap<i64, &str>) {
    let newest = *routed.keys().last().unwrap();
    let (mut invites, mut revisions) = (Vec::<Value>::new(), BTreeSet::new());
    for answer in answers {
        let accepted_under = answer.body["batch"]["config_revision"].as_i64().unwrap();
        let invite = answer.invites().remove(0);
        assert_eq!(text(&invite, "provider"), routed[&accepted_under], "{}", answer.text);
        let attempts = attempts(gateway, &invite).await.list("attempts");
        assert_eq!(texts(&attempts, "outcome"), ["succeeded"], "{invite}");
        let called_under = attempts[0]["config_revision"].as_i64().unwrap();
        assert!((accepted_under..=newest).contains(&called_under), "{called_under}: {invite}");
        revisions.insert(accepted_under);
        invites.push(invite);
    }
    assert_each_exists_once(gateway, &invites).await;
    let seen = revisions.len();
    assert!(seen > EDITS / 2, "only {seen} revisions were live while an invite was accepted");
}
