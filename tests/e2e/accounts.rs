//! Two names of one account at a provider.

use std::collections::BTreeSet;

use futures::future::join_all;
use invite_tests::{Database, Gateway, eventually, invites, person};
use serde_json::{Value, json};

use crate::{on_both_databases, text};

on_both_databases! {
    two_registrations_of_a_tenancy_share_the_rule_of_duplicates
    what_is_known_of_an_account_outlives_a_restart
    names_of_one_tenancy_never_take_each_others_effects
}

/// The tenancy of `acme-tenancy` by another app registration.
fn other_registration() -> String {
    let credential = r#"client_id = "{RKVST_OTHER_CLIENT_ID}"
client_secret = "{RKVST_OTHER_CLIENT_SECRET}""#;
    tenancy("acme-other", credential)
}

/// The same by a token that does not show whose it is.
fn token() -> String {
    tenancy("acme-token", r#"bearer_token = "{RKVST_BEARER_TOKEN}""#)
}

fn tenancy(name: &str, credential: &str) -> String {
    format!(
        r#"
[providers.{name}]
kind = "rkvst"
base_url = "{{RKVST_URL}}"
{credential}
message = "Welcome to the tenancy."
limits = {{ timeout = "1s", requests_per_second = 1000, retry = {{ first = "50ms", max = "300ms" }} }}
"#
    )
}

fn to_send(provider: &str, people: impl IntoIterator<Item = Value>) -> Value {
    let mut body = invites(provider, people);
    body["on_duplicate"] = json!("send");
    body
}

/// Returns once an invite to this person through a provider would be a duplicate.
async fn knows(gateway: &Gateway, provider: &str, guest: Value) {
    let body = invites(provider, [guest]);
    eventually("two names are known to be one account", async || {
        let plan = gateway.client().post("/v1/invites?dry_run=true", &body).await.expect(200);
        (!plan.list("duplicates").is_empty()).then_some(())
    })
    .await;
}

async fn two_registrations_of_a_tenancy_share_the_rule_of_duplicates(database: Database) {
    let gateway = Gateway::builder().database(database).append(&other_registration()).start().await;
    let first = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    knows(&gateway, "acme-other", person(1)).await;
    let second = gateway.client().invite(&invites("acme-other", [person(1)])).await.remove(0);
    assert_eq!((&second["id"], &second["duplicate"]), (&first["id"], &json!(true)));
    let other = gateway.client().invite(&invites("acme-other", [person(2)])).await.remove(0);
    let again = gateway.client().invite(&invites("acme-tenancy", [person(2)])).await.remove(0);
    assert_eq!((&again["id"], &again["duplicate"]), (&other["id"], &json!(true)));
    assert_eq!(gateway.simulators.effects("rkvst").await.len(), 2);
    gateway.finish().await;
}

async fn what_is_known_of_an_account_outlives_a_restart(database: Database) {
    let builder = Gateway::builder().database(database).append(&other_registration());
    let mut gateway = builder.start().await;
    let first = gateway.client().invite(&invites("acme-tenancy", [person(1)])).await.remove(0);
    knows(&gateway, "acme-other", person(1)).await;
    gateway.stop().await;
    let refuse = json!({ "operation": "token", "kind": "status_before", "status": 500 });
    gateway.simulators.break_down("rkvst", refuse).await;
    gateway.start_again().await;
    let second = gateway.client().invite(&invites("acme-other", [person(1)])).await.remove(0);
    assert_eq!(second["id"], first["id"]);
    gateway.finish().await;
}

async fn names_of_one_tenancy_never_take_each_others_effects(database: Database) {
    let builder =
        Gateway::builder().database(database).append(&other_registration()).append(&token());
    let gateway = builder.start().await;
    let names = ["acme-tenancy", "acme-other", "acme-token"];
    for (number, kind) in ["cut_before", "cut_after", "garbage_after"].into_iter().enumerate() {
        // The reply to any one of the three is lost.
        for skip in 0..3 {
            let lost = json!({ "operation": "create", "kind": kind, "skip": skip, "times": 1 });
            gateway.simulators.break_down("rkvst", lost).await;
            let guest = person(10 * number + skip);
            let before = gateway.simulators.effects("rkvst").await.len();
            let posts = names.map(async |name| {
                let request = gateway.client().request("POST", "/v1/invites");
                let request = request.json(&to_send(name, [guest.clone()]));
                let answer = request.header("prefer", "respond-async").send().await.expect(202);
                answer.invites().remove(0)
            });
            let posted = join_all(posts).await;
            let read = posted.iter().map(|it| gateway.client().read_once(it, &["pending"]));
            let settled = join_all(read).await;
            gateway.simulators.recover("rkvst").await;
            let ids: BTreeSet<&str> = settled.iter().map(|it| text(it, "provider_ref")).collect();
            assert_eq!(ids.len(), 3, "{kind} {skip}: each stands for its own: {settled:?}");
            let effects = gateway.simulators.effects("rkvst").await;
            let made: BTreeSet<&str> = effects[before..].iter().map(|it| text(it, "id")).collect();
            assert_eq!(made, ids, "{kind} {skip}: each was sent once");
            for invite in settled {
                assert_eq!(invite["duplicate_effect"], false, "{kind} {skip}");
            }
        }
    }
    gateway.finish().await;
}
