//! What only Securegate has: validation that names the item, replies paired by address, events.

use invite_core::{Cause, ListQuery, Outcome, Recipient, Status, StatusSource};
use invite_sandbox::accounts;
use serde_json::{Value, json};

use crate::{
    bench::{Bench, each, refusal},
    people::{invite, person, shows},
};

pub async fn validation_names_the_item_and_the_callers_own_member(bench: &Bench) {
    let recipients = bench.recipients(0..4);
    let mut call = bench.call(&recipients).await;
    let mut body: Value = serde_json::from_str(&call.body).unwrap();
    body["invites"][1]["country_code"] = "999".into();
    body["invites"][3].as_object_mut().unwrap().remove("email");
    body["invites"][3]["authentication_method"] = "Handshake".into();
    call.body = body.to_string();
    let error = bench.provider.create(&call, &recipients).await.unwrap_err();
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Request));
    assert_eq!(error.http_status, Some(422));
    let mut named: Vec<_> = error
        .items
        .iter()
        .map(|item| (item.index, item.fault.pointer.as_str(), item.fault.code.as_str()))
        .collect();
    named.sort_unstable();
    let method = "/options/securegate/authentication_method";
    assert_eq!(
        named,
        [(1, "/phone", "invalid"), (3, "/email", "required"), (3, method, "invalid")]
    );
    assert_eq!(bench.simulator.effects().await.len(), 0);
}

pub async fn a_fault_in_what_the_call_shares_is_named_for_every_item(bench: &Bench) {
    let recipients = bench.recipients(0..2);
    let mut call = bench.call(&recipients).await;
    call.path = format!("{}?notify=soon", call.path.split('?').next().unwrap());
    let error = bench.provider.create(&call, &recipients).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    let named: Vec<_> =
        error.items.iter().map(|item| (item.index, item.fault.pointer.as_str())).collect();
    assert_eq!(named, [(0, "/options/securegate/notify"), (1, "/options/securegate/notify")]);
}

pub async fn a_shuffled_reply_is_paired_by_address(bench: &Bench) {
    let recipients = bench.recipients(0..3);
    let call = bench.call(&recipients).await;
    let shown = |recipient: &Recipient| {
        // The provider may write an address otherwise than it was sent.
        let email = recipient.invitee.email.to_uppercase();
        json!({"id": format!("of-{}", recipient.id), "email": email, "status": "sent"})
    };
    let reply = json!([shown(&recipients[2]), shown(&recipients[0]), shown(&recipients[1])]);
    let rule =
        json!({"kind": "status_before", "status": 200, "operation": "create", "body": reply});
    bench.simulator.fault(rule).await;
    let results = each(bench.provider.create(&call, &recipients).await, 3);
    for (recipient, result) in recipients.iter().zip(results) {
        let observed = result.unwrap();
        let id = format!("of-{}", recipient.id);
        assert_eq!((observed.provider_ref, observed.status), (Some(id), Status::Sent));
    }
}

pub async fn a_refusal_of_several_that_may_have_come_midway_is_unknown(bench: &Bench) {
    for (round, status) in [400, 402, 409, 422].into_iter().enumerate() {
        let recipients = bench.recipients(round * 10..round * 10 + 3);
        let call = bench.call(&recipients).await;
        let rule = json!({"kind": "partial", "items": 1, "status": status, "operation": "create"});
        bench.simulator.fault(rule).await;
        let error = bench.provider.create(&call, &recipients).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unknown, "{status}");
        bench.simulator.clear_faults().await;
    }
    for (round, status) in [401, 403, 404, 405, 413, 415, 429].into_iter().enumerate() {
        let recipients = bench.recipients(round * 10 + 5..round * 10 + 7);
        let call = bench.call(&recipients).await;
        let rule = json!({"kind": "status_before", "status": status, "operation": "create"});
        bench.simulator.fault(rule).await;
        let error = bench.provider.create(&call, &recipients).await.unwrap_err();
        assert_ne!(error.outcome, Outcome::Unknown, "{status}");
        bench.simulator.clear_faults().await;
    }
}

pub async fn the_options_of_an_invite_win_over_the_configuration(bench: &Bench) {
    let mut wish = invite(&person(1));
    let event = accounts::SECUREGATE_UPCOMING_EVENT_ID;
    let options = json!({
        "event_id": event, "authentication_method": "Biometric",
        "onboarding_flow_type": "peps_sanctions", "notify": 0,
    });
    wish.options.insert("securegate".into(), options);
    let resolved = bench.provider.resolve(&wish).unwrap();
    assert_eq!(resolved.destination.scope, event);
    let plain = bench.provider.resolve(&invite(&person(1))).unwrap();
    assert_ne!(resolved.call_key, plain.call_key, "flow and notify belong to a whole call");
    let mut recipient = bench.recipient(1);
    (recipient.destination, recipient.params) = (resolved.destination, resolved.params);
    let call = bench.call(&[recipient.clone()]).await;
    bench.provider.create(&call, &[recipient]).await.unwrap();
    let arrived = bench.wire.requests().pop().unwrap();
    let (path, query) = arrived.target.split_once('?').unwrap();
    assert_eq!(path, format!("POST /events/{event}/invites"));
    let mut query: Vec<&str> = query.split('&').collect();
    query.sort_unstable();
    assert_eq!(query, ["notify=0", "onboarding_flow_type=peps_sanctions"]);
    let body: Value = serde_json::from_str(arrived.body()).unwrap();
    assert_eq!(body["invites"][0]["authentication_method"], "Biometric");
    assert_eq!(bench.simulator.effects().await[0]["event_id"], event);
    let query = ListQuery { scope: Some(event.into()), ..ListQuery::default() };
    assert_eq!(bench.provider.list(&query).await.unwrap().invites.len(), 1);
}

pub async fn what_neither_invite_nor_configuration_says_is_a_fault(bench: &Bench) {
    let nothing = json!({"event_id": null, "authentication_method": null});
    let provider = bench.with(nothing, &[bench.subject.good]);
    let faults = provider.resolve(&invite(&person(1))).unwrap_err();
    let mut at: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    at.sort_unstable();
    let options = "/options/securegate";
    assert_eq!(at, [format!("{options}/authentication_method"), format!("{options}/event_id")]);
    let mut other = invite(&person(1));
    other.invitee.phone = Some("+4915112345678".into());
    let faults = bench.provider.resolve(&other).unwrap_err();
    assert_eq!(faults[0].pointer, "/phone", "a country that is not listed");
    let mut island = invite(&person(1));
    island.invitee.phone = Some("+13459161234".into());
    assert!(bench.provider.resolve(&island).is_ok());
}

pub async fn another_invite_to_the_address_is_near_and_not_exact(bench: &Bench) {
    let namesake = invite_core::Invitee { first_name: Some("Otherquill".into()), ..person(1) };
    let other = bench.recipient_of(&namesake);
    let call = bench.call(std::slice::from_ref(&other)).await;
    let first = each(bench.provider.create(&call, &[other]).await, 1).remove(0).unwrap();
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert!(seen[0][0].exact.is_empty());
    assert_eq!(seen[0][0].near, [first.provider_ref.unwrap()]);
}

pub async fn an_older_invite_with_the_same_contents_is_not_this_one(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    bench.advance(std::time::Duration::from_secs(3600)).await;
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert!(seen[0][0].exact.is_empty());
    assert_eq!(seen[0][0].near, [remote.provider_ref.unwrap()]);
}

pub async fn the_age_of_an_invite_is_told_by_the_providers_clock(bench: &Bench) {
    bench.simulator.set(json!({"clock_offset_ms": -7_200_000})).await;
    let rule = json!({"kind": "cut_after", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert_eq!(seen[0][0].exact.len(), 1);
}

pub async fn times_are_read_with_and_without_a_zone(bench: &Bench) {
    for (number, form) in ["zoned", "naive", "mixed"].into_iter().enumerate() {
        bench.simulator.set(json!({ "timestamps": form })).await;
        let rule = json!({"kind": "cut_after", "operation": "create"});
        let (recipient, call, _) = bench.create_under(rule, number).await;
        let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
        assert_eq!(seen[0][0].exact.len(), 1, "{form}");
        let age = bench.now().duration_since(seen[0][0].exact[0].created_at.unwrap());
        assert!(age.as_secs().abs() < 60, "{form}: {age:?}");
    }
}

pub async fn absence_means_nothing_in_an_event_that_does_not_exist(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let event = json!({"id": accounts::SECUREGATE_EVENT_ID, "is_deleted": true});
    for rule in [
        json!({"kind": "status_before", "status": 404, "operation": "event"}),
        json!({"kind": "status_before", "status": 200, "operation": "event", "body": event}),
        json!({"kind": "status_before", "status": 200, "operation": "event", "body": {}}),
    ] {
        bench.simulator.fault(rule).await;
        let seen = bench.provider.look(&[bench.doubt(&call, &recipients)]).await;
        assert!(seen.is_err() || seen.unwrap()[0][0].gap.is_some());
        bench.simulator.clear_faults().await;
    }
}

pub async fn an_unauthorized_401_refuses_the_key_as_a_403_does(bench: &Bench) {
    for status in [401, 403] {
        bench.simulator.set(json!({ "unauthorized_status": status })).await;
        let error = bench.with_secrets(&[bench.subject.wrong]).probe().await.unwrap_err();
        assert_eq!((error.cause, error.http_status), (Cause::Credentials, Some(status)));
        let secrets = [bench.subject.wrong, bench.subject.good];
        bench.with_secrets(&secrets).probe().await.unwrap();
    }
}

pub async fn an_event_that_is_not_known_is_no_place_to_invite_to(bench: &Bench) {
    let provider = bench.with(json!({"event_id": "event-unknown"}), &[bench.subject.good]);
    let recipients = [bench.bound(&provider, &person(1))];
    let call = provider.prepare(&recipients, bench.now()).await.unwrap();
    let error = refusal(provider.create(&call, &recipients).await);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
    assert_eq!(provider.probe().await.unwrap_err().cause, Cause::NotFound);
}

pub async fn a_guest_who_declined_is_told_from_a_withdrawal(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "rejected").await;
    assert_eq!(bench.provider.get(&remote).await.unwrap().status, Status::Declined);
    let sent = invite_core::Remote { revoke_sent: true, ..remote };
    let observed = bench.provider.get(&sent).await.unwrap();
    assert_eq!((observed.status, observed.source), (Status::Revoked, StatusSource::Inferred));
}

pub async fn debug_output_does_not_show_what_admits_to_the_event(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let observed = each(bench.provider.create(&call, &recipients).await, 1).remove(0).unwrap();
    let code = observed.data["session_code"].as_str().unwrap();
    let shown = format!("{observed:?} {:?} {recipients:?}", bench.provider.adapter);
    assert!(!shown.contains(code) && !shows(&shown, &person(1)));
}
