//! What only RKVST has: tokens, roles, members, and invites that vanish when they are answered.

use std::time::Duration;

use invite_core::{Cause, Outcome, PreparedCall, Status, StatusSource};
use invite_sandbox::accounts;
use serde_json::json;

use crate::{
    bench::{Bench, each, refusal},
    people::{invite, person},
};

const HOUR: Duration = Duration::from_secs(3600);

pub async fn an_invite_that_is_gone_is_told_by_what_else_is_known(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "deleted").await;
    let observed = bench.provider.get(&remote).await.unwrap();
    assert_eq!((observed.status, observed.source), (Status::Pending, StatusSource::Inferred));
    assert_eq!(observed.provider_status.as_deref(), Some("gone"));
    let sent = invite_core::Remote { revoke_sent: true, ..remote.clone() };
    assert_eq!(bench.provider.get(&sent).await.unwrap().status, Status::Revoked);
    let lapsed = invite_core::Remote { expires_at: Some(bench.now()), ..remote };
    let observed = bench.provider.get(&lapsed).await.unwrap();
    assert_eq!((observed.status, observed.source), (Status::Expired, StatusSource::Inferred));
}

pub async fn an_invite_lapses_when_its_time_is_over(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let expires_at = remote.expires_at.expect("the reply says when");
    assert!(expires_at > bench.now());
    bench.advance(11 * 24 * HOUR).await;
    let observed = bench.provider.get(&remote).await.unwrap();
    assert_eq!((observed.status, observed.source), (Status::Expired, StatusSource::Inferred));
    bench.simulator.set(json!({"purge_expired": true})).await;
    assert_eq!(bench.provider.get(&remote).await.unwrap().status, Status::Expired);
}

pub async fn an_acceptance_is_seen_on_a_later_page_of_the_members(bench: &Bench) {
    bench.simulator.set(json!({"page_size_cap": 1})).await;
    let mut last = None;
    for number in 0..4 {
        let (_, remote) = bench.invited(number).await;
        bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "accepted").await;
        last = Some(remote);
    }
    let observed = bench.provider.get(&last.unwrap()).await.unwrap();
    assert_eq!((observed.status, observed.source), (Status::Accepted, StatusSource::Inferred));
}

pub async fn each_answer_to_a_delete_is_a_withdrawal(bench: &Bench) {
    for (number, answer) in ["object", "empty", "no_content"].into_iter().enumerate() {
        bench.simulator.set(json!({ "delete_answer": answer })).await;
        let (_, remote) = bench.invited(number).await;
        let observed = bench.provider.revoke(&remote, false).await.unwrap();
        assert_eq!((observed.status, observed.source), (Status::Revoked, StatusSource::Provider));
    }
}

pub async fn each_form_of_an_error_is_read(bench: &Bench) {
    for (number, form) in ["rpc_status", "error", "text"].into_iter().enumerate() {
        bench.simulator.set(json!({ "error_body": form })).await;
        let mut recipient = bench.recipient(number);
        recipient.params["message"] = "x".repeat(300).into();
        let call = bench.call(std::slice::from_ref(&recipient)).await;
        let error = refusal(bench.provider.create(&call, &[recipient]).await);
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Request));
        assert!(error.message.contains("longer than 256"), "{form}: {error}");
    }
}

pub async fn an_invite_without_a_message_gets_the_configured_one(bench: &Bench) {
    let mut invitee = person(1);
    invitee.message = None;
    let recipient = bench.recipient_of(&invitee);
    let call = bench.call(std::slice::from_ref(&recipient)).await;
    bench.provider.create(&call, &[recipient]).await.unwrap();
    let effects = bench.simulator.effects().await;
    let message = effects[0]["message"].as_str().unwrap();
    assert!(message.starts_with("You are invited."), "{message}");
    let provider = bench.with(json!({"message": "Come."}), &[bench.subject.good]);
    let resolved = provider.resolve(&invite(&invitee)).unwrap();
    assert_eq!(resolved.params["message"], "Come.");
}

pub async fn an_accepted_invite_is_not_absent(bench: &Bench) {
    bench.simulator.set(json!({"page_size_cap": 1})).await;
    let rule = json!({"kind": "cut_after", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let effects = bench.simulator.effects().await;
    bench.simulator.move_invite(effects[0]["id"].as_str().unwrap(), "accepted").await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert!(seen[0][0].exact.is_empty() && seen[0][0].gap.is_some());
}

pub async fn absence_cannot_be_told_a_day_later(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let doubt = bench.doubt(&bench.call(&recipients).await, &recipients);
    bench.advance(23 * HOUR).await;
    let seen = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
    assert!(seen[0][0].gap.is_none());
    bench.advance(2 * HOUR).await;
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    assert!(seen[0][0].gap.is_some());
}

pub async fn a_call_made_in_another_tenancy_is_not_judged_in_this_one(bench: &Bench) {
    let rule = json!({"kind": "cut_after", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    assert_eq!(call.account.as_deref(), Some(accounts::RKVST_TENANT_ID));
    let other = PreparedCall { account: Some("tenant/other".into()), ..call.clone() };
    let recipients = [recipient];
    let doubts = [bench.doubt(&other, &recipients), bench.doubt(&call, &recipients)];
    let seen = bench.provider.look(&doubts).await.unwrap();
    assert!(seen[0][0].gap.is_some() && seen[0][0].exact.is_empty());
    assert_eq!(seen[1][0].exact.len(), 1);
    let error = refusal(bench.provider.create(&other, &recipients).await);
    assert_eq!(error.outcome, Outcome::NotSent, "nor is it made in this one");
    assert_eq!(bench.simulator.effects().await.len(), 1);
}

pub async fn another_message_to_the_address_is_near_and_not_exact(bench: &Bench) {
    let mut invitee = person(1);
    let mut made = Vec::new();
    for message in ["Another quilltext", "A third quilltext"] {
        invitee.message = Some(message.into());
        let other = bench.recipient_of(&invitee);
        let call = bench.call(std::slice::from_ref(&other)).await;
        let created = each(bench.provider.create(&call, &[other]).await, 1).remove(0).unwrap();
        made.push(created.provider_ref.unwrap());
    }
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    let mut near = seen[0][0].near.clone();
    near.sort();
    made.sort();
    assert!(seen[0][0].exact.is_empty());
    assert_eq!(near, made);
}

pub async fn a_lone_other_invite_is_taken_for_this_one_but_only_inferred(bench: &Bench) {
    let invitee = invite_core::Invitee { message: Some("Another quilltext".into()), ..person(1) };
    let other = bench.recipient_of(&invitee);
    let call = bench.call(std::slice::from_ref(&other)).await;
    bench.provider.create(&call, &[other]).await.unwrap();
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert_eq!(seen[0][0].exact.len(), 1);
    assert_eq!(seen[0][0].exact[0].source, StatusSource::Inferred);
}

pub async fn with_a_reference_an_equal_message_is_not_enough(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert!(seen[0][0].exact.is_empty());
    assert_eq!(seen[0][0].near, [remote.provider_ref.unwrap()]);
}

pub async fn a_token_is_renewed_before_it_lapses_and_after_it_was_refused(bench: &Bench) {
    bench.invited(1).await;
    bench.invited(2).await;
    assert_eq!(bench.simulator.count("token").await, 1, "a token serves many calls");
    bench.advance(HOUR - Duration::from_secs(30)).await;
    bench.invited(3).await;
    assert_eq!(bench.simulator.count("token").await, 2, "renewed in time");
    // Only the provider's clock: the token is refused, and a fresh one asked for.
    let hours = bench.now().duration_since(invite_core::Clock::now(&invite_core::SystemClock));
    let later = hours.as_millis() as i64 + 2 * 3_600_000;
    bench.simulator.set(json!({ "clock_offset_ms": later })).await;
    bench.invited(4).await;
    assert_eq!(bench.simulator.count("token").await, 3);
    assert_eq!(bench.simulator.effects().await.len(), 4);
    let usage = bench.provider.usage();
    assert_eq!((usage[0].used, usage[0].refused), (3, 0), "a lapsed token refuses no secret");
}

pub async fn a_failed_token_call_sent_nothing(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    for rule in [
        json!({"kind": "cut_before"}),
        json!({"kind": "cut_after"}),
        json!({"kind": "garbage_after"}),
        json!({"kind": "status_before", "status": 500}),
        json!({"kind": "redirect"}),
        json!({"kind": "garbage_before", "body": {"token_type": "Bearer"}}),
    ] {
        let mut rule = rule;
        rule["operation"] = "token".into();
        bench.simulator.fault(rule.clone()).await;
        let error =
            refusal(bench.with_secrets(&[bench.subject.good]).create(&call, &recipients).await);
        assert_eq!(error.outcome, Outcome::NotSent, "{rule}");
        bench.simulator.clear_faults().await;
    }
    bench.simulator.fault(json!({"kind": "rate_limited", "operation": "token"})).await;
    let error = refusal(bench.with_secrets(&[bench.subject.good]).create(&call, &recipients).await);
    assert!(matches!(error.outcome, Outcome::NotSent | Outcome::Throttled), "{error:?}");
    assert_eq!(bench.simulator.count("create").await, 0);
}

pub async fn a_registration_without_the_owner_role_is_a_refused_credential(bench: &Bench) {
    let provider = bench.with(
        json!({"client_id": accounts::RKVST_NON_OWNER_CLIENT_ID}),
        &[accounts::RKVST_NON_OWNER_CLIENT_SECRET],
    );
    let error = provider.probe().await.unwrap_err();
    assert_eq!((error.cause, error.http_status), (Cause::Credentials, Some(403)));
    assert!(error.message.contains("Owner"), "what to do: {error}");
    let recipients = [bench.bound(&provider, &person(1))];
    let call = provider.prepare(&recipients, bench.now()).await.unwrap();
    let error = refusal(provider.create(&call, &recipients).await);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Credentials));
}

pub async fn curls_whole_header_line_is_a_token(bench: &Bench) {
    let line = format!("Authorization: Bearer {}\n", accounts::RKVST_BEARER_TOKEN);
    bench.with_secrets(&[&line]).probe().await.unwrap();
}

pub async fn a_path_that_is_not_there_is_the_configurations_until_it_was_found(bench: &Bench) {
    let gone = json!({"kind": "status_before", "status": 404, "operation": "create"});
    let (_, _, created) = bench.create_under(gone.clone(), 1).await;
    let error = refusal(created);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Configuration));
    assert!(error.message.contains("`path`"), "{error}");
    let unlisted = json!({"kind": "status_before", "status": 404, "operation": "list"});
    bench.simulator.fault(unlisted).await;
    assert_eq!(bench.provider.probe().await.unwrap_err().cause, Cause::Configuration);
    bench.simulator.clear_faults().await;
    bench.invited(2).await;
    let (_, _, created) = bench.create_under(gone, 3).await;
    assert_eq!(refusal(created).cause, Cause::NotFound);
}
