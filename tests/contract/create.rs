//! Creating invites: what arrives, how often, and what is said of it.

use invite_core::{Cause, Observed, Outcome, ProviderError, Status, StatusSource};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    bench::{Bench, each, refusal},
    people::{invite, person, shows},
};

/// Every member of `part` is in `whole` with the same value.
fn assert_holds(whole: &Value, part: &Value) {
    for (name, value) in part.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name}");
    }
}

pub async fn an_invite_comes_to_exist_once_with_what_was_given(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let created = bench.provider.create(&call, &recipients).await;
    let [effect] = &bench.simulator.effects().await[..] else { panic!("one invite exists") };
    assert_holds(effect, &(bench.subject.arrived)(&recipients[0]));
    let observed = each(created, 1).remove(0).unwrap();
    assert_eq!(observed.provider_ref.as_deref(), effect["id"].as_str());
    assert_eq!((observed.status, observed.source), (Status::Pending, StatusSource::Provider));
    assert!(observed.failure.is_none());
    // What is null is said to be none any more.
    let shown = observed.data.iter().filter(|(_, value)| !value.is_null());
    let mut members: Vec<&str> = shown.clone().map(|(name, _)| name.as_str()).collect();
    members.sort_unstable();
    assert_eq!(members, bench.subject.data, "provider_data");
    assert!(shown.clone().all(|(_, value)| value.is_string()), "{:?}", observed.data.keys());
}

pub async fn the_exchange_is_recorded_with_both_bodies_and_the_providers_time(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.provider.create(&call, &recipients).await.unwrap();
    let [exchange] = &bench.audit.last_exchanges()[..] else { panic!("one exchange") };
    assert_eq!(exchange.request.as_deref(), Some(call.body.as_str()));
    assert_eq!(exchange.target, format!("POST {}{}", bench.wire.url, call.path));
    assert!(exchange.request_id.is_some(), "each simulator names its requests");
    assert_eq!(exchange.status, Some(200));
    let id = bench.simulator.effects().await[0]["id"].as_str().unwrap().to_owned();
    assert!(exchange.reply.as_ref().unwrap().contains(&id));
    assert!(exchange.date.is_some());
}

pub async fn what_arrives_is_the_frozen_body_byte_for_byte(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.provider.create(&call, &recipients).await.unwrap();
    let arrived = bench.wire.requests().pop().unwrap();
    assert_eq!(arrived.body(), call.body);
    assert_eq!(arrived.target, format!("POST {}", call.path));
    assert_eq!(arrived.header("content-type"), Some("application/json"));
    // Not only bytes that the adapter would have written: other ones go out as they are, too.
    let other = recipients[0].invitee.first_name.as_deref().unwrap();
    let message = recipients[0].invitee.message.as_deref().unwrap();
    let body = call.body.replace(other, "Someone").replace(message, "Another message");
    let changed = invite_core::PreparedCall { body: format!(" {body} "), ..call };
    let _ = bench.provider.create(&changed, &recipients).await;
    let mut arrived = bench.wire.requests();
    arrived.retain(|request| request.target == format!("POST {}", changed.path));
    assert_eq!(arrived.pop().unwrap().body(), changed.body);
}

pub async fn freezing_twice_at_one_time_gives_the_same_call(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let at = bench.now();
    let first = bench.provider.prepare(&recipients, at).await.unwrap();
    bench.clock.advance(std::time::Duration::from_secs(7));
    let second = bench.provider.prepare(&recipients, at).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(bench.simulator.effects().await.len(), 0, "preparing has no effect");
    let stored = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<invite_core::PreparedCall>(&stored).unwrap(), first);
}

pub async fn the_same_bytes_again_have_one_effect(bench: &Bench) {
    assert!(bench.provider.capabilities().create.idempotent);
    let recipients = [bench.recipient(1), bench.recipient(2)];
    let call = bench.call(&recipients).await;
    let first = each(bench.provider.create(&call, &recipients).await, 2);
    let again = each(bench.provider.create(&call, &recipients).await, 2);
    assert_eq!(bench.simulator.effects().await.len(), 2);
    for (first, again) in first.into_iter().zip(again) {
        assert_eq!(first.unwrap().provider_ref, again.unwrap().provider_ref);
    }
    let fingerprint = call.fingerprint.expect("the provider's own name for the bytes");
    let other = bench
        .provider
        .prepare(&recipients, bench.now() + SignedDuration::from_millis(1))
        .await
        .unwrap();
    assert_ne!(other.fingerprint, Some(fingerprint), "other bytes have another name");
}

pub async fn the_same_bytes_again_have_a_second_effect_where_nothing_else_is_promised(
    bench: &Bench,
) {
    assert!(!bench.provider.capabilities().create.idempotent);
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    assert_eq!(call.fingerprint, None);
    let first = each(bench.provider.create(&call, &recipients).await, 1).remove(0).unwrap();
    let again = each(bench.provider.create(&call, &recipients).await, 1).remove(0).unwrap();
    assert_ne!(first.provider_ref, again.provider_ref);
    assert_eq!(bench.simulator.effects().await.len(), 2);
}

pub async fn a_full_batch_is_one_call_answered_in_the_order_of_its_recipients(bench: &Bench) {
    let capability = bench.provider.capabilities().create;
    assert!(capability.native_batch && capability.max_batch > 1);
    let recipients = bench.recipients(0..capability.max_batch as usize);
    let call = bench.call(&recipients).await;
    let results = each(bench.provider.create(&call, &recipients).await, recipients.len());
    assert_eq!(bench.simulator.count("create").await, 1);
    let effects = bench.simulator.effects().await;
    assert_eq!(effects.len(), recipients.len());
    for (recipient, result) in recipients.iter().zip(results) {
        let id = result.unwrap().provider_ref.unwrap();
        let effect = effects.iter().find(|effect| effect["id"] == *id).unwrap();
        assert_eq!(effect["email"], *recipient.invitee.email);
    }
}

pub async fn a_part_of_a_batch_is_claimed_for_what_it_is(bench: &Bench) {
    for items in 0..3 {
        create_in_part(bench, items, 200).await;
    }
}

pub async fn a_part_of_a_batch_behind_a_server_error_is_unknown(bench: &Bench) {
    for items in 0..3 {
        for result in create_in_part(bench, items, 500).await {
            assert_eq!(result.unwrap_err().outcome, Outcome::Unknown);
        }
    }
}

/// Creates three invites of which only so many come to exist, and compares what is claimed.
async fn create_in_part(
    bench: &Bench,
    items: usize,
    status: u16,
) -> Vec<Result<Observed, ProviderError>> {
    let recipients = bench.recipients(items * 10..items * 10 + 3);
    let call = bench.call(&recipients).await;
    let rule = json!({"kind": "partial", "items": items, "status": status, "operation": "create"});
    bench.simulator.fault(rule).await;
    let results = each(bench.provider.create(&call, &recipients).await, 3);
    bench.simulator.clear_faults().await;
    for (recipient, result) in recipients.iter().zip(&results) {
        bench.assert_claim(&recipient.invitee.email, result).await;
    }
    results
}

pub async fn more_than_one_recipient_is_refused_without_a_request(bench: &Bench) {
    let capability = bench.provider.capabilities().create;
    assert_eq!((capability.native_batch, capability.max_batch), (false, 1));
    let recipients = bench.recipients(0..2);
    let call = bench.call(&recipients[..1]).await;
    let before = bench.simulator.count("*").await;
    let error = bench.provider.prepare(&recipients, bench.now()).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    let error = bench.provider.create(&call, &recipients).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    assert_eq!(bench.simulator.count("*").await, before);
}

pub async fn nobody_is_no_call(bench: &Bench) {
    let error = bench.provider.prepare(&[], bench.now()).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    assert_eq!(bench.simulator.count("*").await, 0);
}

pub async fn what_must_be_given_is_what_the_capability_lists(bench: &Bench) {
    let capability = bench.provider.capabilities().create;
    let lacking = |without: &[&str]| {
        let mut invitee = person(1);
        for field in without {
            match *field {
                "first_name" => invitee.first_name = None,
                "last_name" => invitee.last_name = None,
                "phone" => invitee.phone = None,
                "message" => invitee.message = None,
                other => panic!("no common member: {other}"),
            }
        }
        bench.provider.resolve(&invite(&invitee))
    };
    let groups: Vec<Vec<&str>> =
        capability.required_fields.iter().map(|group| group.split('|').collect()).collect();
    for group in &groups {
        let faults = lacking(group).unwrap_err();
        let named =
            faults.iter().any(|fault| group.iter().any(|f| fault.pointer == format!("/{f}")));
        assert!(named && faults.iter().any(|f| f.code == "required"), "{group:?}: {faults:?}");
        for other in group.iter().filter(|_| group.len() > 1) {
            let all_but: Vec<&str> = group.iter().copied().filter(|field| field != other).collect();
            assert!(lacking(&all_but).is_ok(), "{other} alone is enough");
        }
    }
    let all_of: Vec<&str> = groups.iter().flatten().copied().collect();
    if !all_of.is_empty() {
        let count = lacking(&all_of).unwrap_err().len();
        assert_eq!(count, groups.len(), "every fault is found at once");
    }
    let optional: Vec<&str> = ["first_name", "last_name", "phone", "message"]
        .into_iter()
        .filter(|field| !all_of.contains(field))
        .collect();
    assert!(lacking(&optional).is_ok(), "{optional:?} may be left out");
}

pub async fn the_members_that_reach_the_provider_are_those_that_the_capability_lists(
    bench: &Bench,
) {
    let fields = bench.provider.capabilities().create.fields;
    let recipient = bench.recipient(1);
    let call = bench.call(std::slice::from_ref(&recipient)).await;
    let invitee = &recipient.invitee;
    let digits = invitee.phone.as_deref().map(|phone| phone.trim_start_matches("+1"));
    for (field, value) in [
        ("email", Some(invitee.email.as_str())),
        ("first_name", invitee.first_name.as_deref()),
        ("last_name", invitee.last_name.as_deref()),
        ("phone", digits),
        ("message", invitee.message.as_deref()),
    ] {
        let listed = fields.iter().any(|listed| listed == field);
        assert_eq!(call.body.contains(value.unwrap()), listed, "{field}");
    }
}

pub async fn labels_and_external_ids_never_reach_a_provider(bench: &Bench) {
    let invitee = person(1);
    let mut invite = invite(&invitee);
    invite.external_id = Some("external-quillnumber".into());
    invite.labels.insert("purpose".into(), "label-quillvalue".into());
    let resolved = bench.provider.resolve(&invite).unwrap();
    let plain = bench.provider.resolve(&crate::people::invite(&invitee)).unwrap();
    assert_eq!(resolved, plain);
    assert!(!resolved.params.to_string().contains("quillnumber"));
    assert!(!resolved.call_key.contains("quillvalue"));
}

pub async fn one_of_several_callers_sees_nothing_of_the_others_in_an_error(bench: &Bench) {
    let recipient = bench.recipient(1);
    let call = bench.call(std::slice::from_ref(&recipient)).await;
    let invitee = &recipient.invitee;
    let echo = format!(
        "<{}> {} {} {} '{}' is not welcome",
        invitee.email,
        invitee.first_name.as_deref().unwrap(),
        invitee.last_name.as_deref().unwrap(),
        invitee.phone.as_deref().unwrap(),
        invitee.message.as_deref().unwrap(),
    );
    for body in [
        json!({"detail": echo, "message": echo, "code": 3, "error": echo, "turnkeyErrorCode": ""}),
        json!({"error": echo}),
        json!(echo),
        json!({"detail": [{"loc": ["body", "invites", 0, "email"], "msg": echo, "type": echo, "input": echo}]}),
        json!({"code": 3, "message": "m", "details": [{"fieldViolations": [
            {"field": "invitations[0].receiverUserEmail", "description": echo}]}]}),
    ] {
        for status in [400, 422, 500] {
            let rule = json!({
                "kind": "status_before", "operation": "create", "status": status, "body": body,
            });
            bench.simulator.fault(rule).await;
            let error =
                refusal(bench.provider.create(&call, std::slice::from_ref(&recipient)).await);
            bench.simulator.clear_faults().await;
            // The audit looks at every error; this only makes sure that it has something to look at.
            assert!(!shows(&error.message, invitee));
            assert_eq!(error.http_status, Some(status));
        }
    }
}

pub async fn a_reply_that_quotes_the_credential_is_not_passed_on(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.provider.create(&call, &recipients).await.unwrap();
    let arrived = bench.wire.calls().pop().unwrap();
    let credential =
        ["x-api-key", "authorization", "x-stamp"].iter().find_map(|n| arrived.header(n));
    let quoting = |credential: &str| {
        let said = format!("'{credential}' is no credential");
        json!({"detail": said, "message": said, "error": said, "code": 16})
    };
    // What is said and recorded is looked through at the end of every check.
    for status in [400, 402, 500] {
        let body = quoting(credential.unwrap());
        let rule = json!({
            "kind": "status_before", "operation": "create", "status": status, "body": body,
        });
        bench.simulator.fault(rule).await;
        refusal(bench.provider.create(&call, &recipients).await);
        bench.simulator.clear_faults().await;
    }
    let body = quoting(bench.subject.good);
    let rule = json!({"kind": "status_before", "operation": "token", "status": 400, "body": body});
    bench.simulator.fault(rule).await;
    let asked = bench.simulator.count("token").await;
    let refused = bench.with_secrets(&[bench.subject.good]).probe().await;
    let was_asked = bench.simulator.count("token").await > asked;
    assert_eq!(refused.is_err(), was_asked);
}

pub async fn a_call_for_another_place_is_refused_without_a_request(bench: &Bench) {
    let stranger = crate::wire::Stranger::start().await;
    let (recipient, mut remote) = bench.invited(1).await;
    let mut call = bench.call(std::slice::from_ref(&recipient)).await;
    let elsewhere = invite_core::Destination {
        base_url: stranger.url.clone(),
        ..recipient.destination.clone()
    };
    let mut away = recipient.clone();
    away.destination = elsewhere.clone();
    call.destination = elsewhere.clone();
    remote.destination = elsewhere.clone();
    let before = bench.simulator.count("*").await;
    let provider = &bench.provider;
    let refused = [
        provider.prepare(std::slice::from_ref(&away), bench.now()).await.err(),
        provider.create(&call, std::slice::from_ref(&away)).await.err(),
        provider.get(&remote).await.err(),
        provider.look(&[bench.doubt(&call, &[away])]).await.err(),
    ];
    for error in refused {
        let error = error.expect("nothing is done elsewhere");
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
    }
    for error in [
        provider.revoke(&remote, true).await.err(),
        provider.update_status(&remote, Status::Accepted).await.err(),
    ] {
        let error = error.expect("nothing is done elsewhere");
        assert_eq!(error.outcome, Outcome::Rejected);
        assert!(matches!(error.cause, Cause::NotFound | Cause::Unsupported), "{error:?}");
    }
    assert_eq!(bench.simulator.count("*").await, before);
    assert_eq!(stranger.visits().await, 0);
}

pub async fn an_invite_that_needs_no_approval_is_never_awaiting_one(bench: &Bench) {
    assert!(!bench.provider.capabilities().approval);
    let (_, remote) = bench.invited(1).await;
    assert_eq!(remote.status, Status::Pending);
    assert_eq!(bench.provider.get(&remote).await.unwrap().status, Status::Pending);
}
