//! Finding out what became of calls whose outcome is unknown.

use std::time::Duration;

use invite_core::{Observed, Outcome, Sighting, Status};
use serde_json::json;

use crate::bench::{Bench, refusal};

/// From this age on a Turnkey body can create nothing any more.
const DEAD: Duration = Duration::from_secs(70 * 60);

/// Whether absence can be told at once, or only when the bytes are dead.
fn tells_absence_at_once(bench: &Bench) -> bool {
    !bench.provider.capabilities().create.idempotent
}

fn ids(observed: &[Observed]) -> Vec<&str> {
    observed.iter().filter_map(|observed| observed.provider_ref.as_deref()).collect()
}

/// Nothing that could be the invite.
fn saw_nothing(sighting: &Sighting) -> bool {
    sighting.exact.is_empty() && sighting.near.is_empty()
}

pub async fn an_effect_whose_reply_was_lost_is_found(bench: &Bench) {
    for (number, kind) in ["cut_after", "cut_mid_body", "status_after"].into_iter().enumerate() {
        let rule = json!({"kind": kind, "operation": "create"});
        let (recipient, call, created) = bench.create_under(rule, number).await;
        assert_eq!(refusal(created).outcome, Outcome::Unknown);
        let effects = bench.simulator.effects_for(&recipient.invitee.email).await;
        let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
        let sighting = &seen[0][0];
        assert_eq!(ids(&sighting.exact), [effects[0]["id"].as_str().unwrap()]);
        assert!(sighting.near.is_empty());
        assert_eq!(sighting.exact[0].status, Status::Pending);
        for member in bench.subject.data {
            assert!(sighting.exact[0].data.contains_key(*member), "{member}");
        }
    }
    assert_eq!(bench.simulator.effects().await.len(), 3, "looking creates nothing");
}

pub async fn what_never_took_effect_is_absent_once_that_can_be_told(bench: &Bench) {
    bench.invited(7).await;
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, created) = bench.create_under(rule, 1).await;
    assert_eq!(refusal(created).outcome, Outcome::Unknown);
    let doubt = bench.doubt(&call, &[recipient]);
    let seen = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
    assert!(saw_nothing(&seen[0][0]));
    assert_eq!(seen[0][0].gap.is_none(), tells_absence_at_once(bench), "at once");
    bench.advance(DEAD - Duration::from_secs(60)).await;
    let seen = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
    assert_eq!(seen[0][0].gap.is_none(), tells_absence_at_once(bench), "just before the end");
    bench.advance(Duration::from_secs(61)).await;
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    assert!(saw_nothing(&seen[0][0]));
    assert!(seen[0][0].gap.is_none(), "from then on for every provider");
}

pub async fn a_call_that_is_found_is_found_at_any_age(bench: &Bench) {
    let rule = json!({"kind": "cut_after", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let doubt = bench.doubt(&call, &[recipient]);
    bench.advance(DEAD * 10).await;
    bench.invited(2).await;
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    assert_eq!(ids(&seen[0][0].exact).len(), 1);
}

pub async fn several_calls_and_recipients_share_one_lookup(bench: &Bench) {
    let batch = bench.provider.capabilities().create.native_batch;
    let lost = json!({"kind": "cut_after", "operation": "create"});
    let mut doubts = Vec::new();
    for number in [0, 10] {
        let recipients = bench.recipients(number..number + if batch { 3 } else { 1 });
        let call = bench.call(&recipients).await;
        bench.simulator.fault(lost.clone()).await;
        bench.provider.create(&call, &recipients).await.unwrap_err();
        bench.simulator.clear_faults().await;
        doubts.push(bench.doubt(&call, &recipients));
    }
    let never = bench.recipients(20..21);
    doubts.insert(1, bench.doubt(&bench.call(&never).await, &never));
    let effects = bench.simulator.effects().await;
    let seen = bench.provider.look(&doubts).await.unwrap();
    for (doubt, sightings) in doubts.iter().zip(&seen) {
        for (recipient, sighting) in doubt.recipients.iter().zip(sightings) {
            let is_its = |effect: &&serde_json::Value| effect["email"] == *recipient.invitee.email;
            let expected: Vec<&str> =
                effects.iter().filter(is_its).filter_map(|effect| effect["id"].as_str()).collect();
            assert_eq!(ids(&sighting.exact), expected);
        }
    }
    let whole_lists = |target: &str| {
        target.ends_with("/events/event-456/invites")
            || target.ends_with("/invites?page_size=100")
            || target.ends_with("/list_activities")
    };
    let asked = bench.wire.calls().into_iter().filter(|r| {
        (r.target.starts_with("GET") || r.target.contains("/query/")) && whole_lists(&r.target)
    });
    assert_eq!(asked.count(), 1, "the list is read once for all of them");
}

pub async fn a_lookup_that_is_cut_off_proves_no_absence(bench: &Bench) {
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let doubt = bench.doubt(&call, &[recipient]);
    bench.advance(DEAD).await;
    let clean = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
    assert!(clean[0][0].gap.is_none());
    let questions = [
        "list",
        "lookup",
        "event",
        "members",
        "list_activities",
        "get_activity",
        "get_organization",
    ];
    for operation in questions {
        let asked = bench.simulator.count(operation).await;
        for kind in ["cut_before", "garbage_before", "status_before", "rate_limited", "redirect"] {
            bench.simulator.fault(json!({"kind": kind, "operation": operation})).await;
            let seen = bench.provider.look(std::slice::from_ref(&doubt)).await;
            bench.simulator.clear_faults().await;
            if bench.simulator.count(operation).await > asked {
                let told = seen.is_ok_and(|seen| seen[0][0].gap.is_none());
                assert!(!told, "absence was concluded although {operation} was {kind}");
            }
        }
    }
}

pub async fn what_the_list_does_not_show_yet_is_found_later(bench: &Bench) {
    bench.simulator.set(json!({"list_lag_ms": 600_000})).await;
    let rule = json!({"kind": "cut_after", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let doubt = bench.doubt(&call, &[recipient]);
    let seen = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
    assert!(saw_nothing(&seen[0][0]));
    bench.advance(Duration::from_secs(660)).await;
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    assert_eq!(seen[0][0].exact.len(), 1);
}
