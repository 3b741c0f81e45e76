//! What finding out about calls in doubt costs a provider.

use invite_tests::{Gateway, invites, person};
use serde_json::json;

/// A gateway whose `calls` for so many people were cut off before they arrived, were found absent and made again.
async fn invite_again(provider: &str, kind: &str, people: usize, calls: u64) -> Gateway {
    let gateway = Gateway::builder().setting("delivery.settle", "2s").start().await;
    let lost = json!({ "operation": "create", "kind": "cut_before", "times": calls });
    gateway.simulators.break_down(kind, lost).await;
    let body = invites(provider, (0..people).map(person));
    let request = gateway.client().request("POST", "/v1/invites").json(&body);
    let answer = request.header("prefer", "respond-async").send().await.expect(202);
    for invite in answer.invites() {
        gateway.client().read_once(&invite, &["pending"]).await;
    }
    assert_eq!(gateway.simulators.effects(kind).await.len(), people);
    gateway
}

#[tokio::test]
async fn an_address_is_asked_for_only_where_its_absence_is_about_to_be_believed() {
    let gateway = invite_again("berlin-summit", "securegate", 120, 2).await;
    let asked = async |operation| gateway.simulators.request_count("securegate", operation).await;
    // Twice, and again where that was a moment too early to count.
    let by_address = asked("lookup").await;
    assert!((2 * 120..=3 * 120).contains(&by_address), "{by_address} by address");
    let events = asked("event").await;
    assert!((2..=6).contains(&events), "the event {events} times");
    gateway.finish().await;
}

#[tokio::test]
async fn calls_for_one_invite_each_share_what_is_asked_about_them() {
    let gateway = invite_again("acme-tenancy", "rkvst", 24, 24).await;
    let asked = async |operation| gateway.simulators.request_count("rkvst", operation).await;
    let (lists, members) = (asked("list").await, asked("members").await);
    // With each look-up asking for each address, or for the members, it would be more than ten for each.
    assert!((2 * 24..=8 * 24).contains(&lists), "{lists} of invites");
    assert!((2..=3 * 24).contains(&members), "{members} of members");
    gateway.finish().await;
}
