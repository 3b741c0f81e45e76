//! What only Turnkey has: activities that wait, fail or are voted on, fingerprints, cursors.

use std::time::Duration;

use invite_core::{Cause, Clock, ListQuery, Observed, Outcome, Remote, Status, SystemClock};
use invite_sandbox::accounts;
use serde_json::{Value, json};

use crate::bench::{Bench, each, refusal, remote};

/// What Turnkey made of two invitations while its activities end like this.
async fn submitted(bench: &Bench, mode: &str) -> Vec<(Observed, Remote)> {
    bench.simulator.set(json!({ "activity_mode": mode })).await;
    let recipients = bench.recipients(0..2);
    let call = bench.call(&recipients).await;
    let results = each(bench.provider.create(&call, &recipients).await, 2);
    let pair = |(index, (recipient, result)): (usize, (&invite_core::Recipient, _))| {
        let observed: Observed = Result::unwrap(result);
        let remote = Remote { index, ..remote(recipient, &observed) };
        (observed, remote)
    };
    recipients.iter().zip(results).enumerate().map(pair).collect()
}

fn activity(remote: &Remote) -> &str {
    remote.data["activity_id"].as_str().unwrap()
}

/// The id of each of the two invitations, as the provider has them.
async fn assert_paired(bench: &Bench, all: &[(Observed, Remote)]) {
    for (_, remote) in all {
        let observed = bench.provider.get(remote).await.unwrap();
        assert_eq!(observed.status, Status::Pending);
        let effect = &bench.simulator.effects_for(&remote.invitee.email).await[0];
        assert_eq!(observed.provider_ref.as_deref(), effect["id"].as_str());
    }
}

pub async fn an_activity_under_way_is_followed_to_its_end(bench: &Bench) {
    for mode in ["pending", "created"] {
        let all = submitted(bench, mode).await;
        for (observed, remote) in &all {
            assert_eq!((observed.status, &observed.provider_ref), (Status::Sending, &None));
            assert!(observed.provider_status.as_deref().unwrap().ends_with(&mode.to_uppercase()));
            assert!(!activity(remote).is_empty());
        }
        let follow = &all[0].1;
        for _ in 0..2 {
            assert_eq!(bench.provider.get(follow).await.unwrap().status, Status::Sending);
        }
        let email = &follow.invitee.email;
        let before = bench.simulator.effects_for(email).await.len();
        assert_eq!(bench.provider.get(follow).await.unwrap().status, Status::Pending);
        assert_eq!(bench.simulator.effects_for(email).await.len(), before + 1);
        bench.advance(Duration::from_secs(1)).await;
        if mode == "pending" {
            assert_paired(bench, &all).await;
        }
    }
}

pub async fn an_activity_that_needs_consensus_waits_for_the_votes(bench: &Bench) {
    assert!(bench.provider.capabilities().approval);
    let all = submitted(bench, "consensus").await;
    for (observed, remote) in &all {
        assert_eq!(observed.status, Status::AwaitingApproval);
        assert_eq!(bench.provider.get(remote).await.unwrap().status, Status::AwaitingApproval);
    }
    assert_eq!(bench.simulator.effects().await.len(), 0);
    bench.simulator.vote(activity(&all[0].1), "approve").await;
    assert_paired(bench, &all).await;
    let pairing = &bench.provider.get(&all[1].1).await.unwrap().data["pairing"];
    assert_eq!(pairing, "unproven", "two invitations of one activity");
}

pub async fn a_rejected_activity_is_the_end_of_its_invites_however_it_is_learnt(bench: &Bench) {
    bench.simulator.set(json!({"activity_mode": "consensus"})).await;
    let recipients = bench.recipients(0..2);
    let call = bench.call(&recipients).await;
    let waiting = each(bench.provider.create(&call, &recipients).await, 2);
    let remotes: Vec<Remote> = recipients
        .iter()
        .zip(waiting)
        .enumerate()
        .map(|(index, (recipient, seen))| Remote { index, ..remote(recipient, &seen.unwrap()) })
        .collect();
    bench.simulator.vote(activity(&remotes[0]), "reject").await;
    let mut failures = Vec::new();
    for remote in &remotes {
        let observed = bench.provider.get(remote).await.unwrap();
        assert_eq!(observed.status, Status::Failed);
        failures.push(observed.failure.expect("why it failed"));
    }
    let seen = bench.provider.look(&[bench.doubt(&call, &recipients)]).await.unwrap();
    failures.extend(seen[0].iter().map(|s| s.exact[0].failure.clone().expect("why it failed")));
    // The same bytes again are a look at the activity.
    failures.push(bench.provider.create(&call, &recipients).await.unwrap_err());
    for failure in &failures {
        assert_eq!(failure.outcome, Outcome::Rejected);
        let named: Vec<usize> = failure.items.iter().map(|item| item.index).collect();
        assert_eq!(named, [0, 1], "nobody is asked again about those whom people refused");
        bench.audit.error(failure);
    }
    assert_eq!((failures.len(), bench.simulator.effects().await.len()), (5, 0));
}

pub async fn a_refused_question_for_the_sender_fails_no_invite(bench: &Bench) {
    let rules = [
        (json!({"kind": "quota", "operation": "whoami"}), Outcome::Throttled),
        (json!({"kind": "rate_limited", "operation": "whoami"}), Outcome::Throttled),
        (json!({"kind": "status_before", "operation": "whoami", "status": 400}), Outcome::NotSent),
        (json!({"kind": "status_before", "operation": "whoami", "status": 404}), Outcome::NotSent),
    ];
    let recipients = bench.recipients(0..2);
    for (rule, outcome) in rules {
        bench.simulator.fault(rule.clone()).await;
        let prepared = bench.provider.prepare(&recipients, bench.now()).await;
        if bench.subject.settings.get("sender_user_id").is_some() {
            assert!(prepared.is_ok(), "there is no question");
        } else {
            assert_eq!(prepared.unwrap_err().outcome, outcome, "{rule}");
        }
        bench.simulator.clear_faults().await;
    }
    assert!(bench.provider.prepare(&recipients, bench.now()).await.is_ok());
}

pub async fn an_activity_that_fails_at_once_refuses_the_whole_call(bench: &Bench) {
    bench.simulator.set(json!({"activity_mode": "failed"})).await;
    let recipients = bench.recipients(0..2);
    let call = bench.call(&recipients).await;
    let error = bench.provider.create(&call, &recipients).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    assert_eq!(error.code.as_deref(), Some("REQUEST_INVALID"));
    let doubt = bench.doubt(&call, &recipients);
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    for sighting in &seen[0] {
        assert_eq!(sighting.exact[0].status, Status::Failed, "it is known to be without effect");
        assert!(sighting.exact[0].failure.is_some());
    }
}

pub async fn an_activity_that_waits_for_authenticators_awaits_approval(bench: &Bench) {
    let all = submitted(bench, "authenticators_needed").await;
    for (observed, remote) in &all {
        assert_eq!(observed.status, Status::AwaitingApproval);
        assert_eq!(bench.provider.get(remote).await.unwrap().status, Status::AwaitingApproval);
    }
}

pub async fn a_status_that_nobody_knows_is_kept_and_followed(bench: &Bench) {
    let all = submitted(bench, "unknown_status").await;
    for (observed, remote) in &all {
        assert_eq!(observed.status, Status::Sending);
        let word = "ACTIVITY_STATUS_AWAITING_REVIEW";
        assert_eq!(observed.provider_status.as_deref(), Some(word));
        assert_eq!(
            bench.provider.get(remote).await.unwrap().provider_status.as_deref(),
            Some(word)
        );
    }
}

pub async fn the_documented_nested_reply_is_read_as_the_recorded_one(bench: &Bench) {
    bench.simulator.set(json!({"nested_result": true})).await;
    let all = submitted(bench, "completed").await;
    for (observed, remote) in &all {
        let effect = &bench.simulator.effects_for(&remote.invitee.email).await[0];
        assert_eq!(observed.provider_ref.as_deref(), effect["id"].as_str());
        assert_eq!(observed.data["fingerprint"], effect["fingerprint"]);
        assert_eq!(observed.data["activity_id"], effect["activity_id"]);
    }
}

pub async fn the_fingerprint_is_turnkeys_own(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.provider.create(&call, &recipients).await.unwrap();
    let effect = &bench.simulator.effects().await[0];
    assert_eq!(effect["fingerprint"].as_str(), call.fingerprint.as_deref());
}

pub async fn the_same_bytes_again_are_a_look_at_the_activity(bench: &Bench) {
    bench.simulator.set(json!({"activity_mode": "pending", "pending_looks": 1})).await;
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    for status in [Status::Sending, Status::Sending, Status::Pending, Status::Pending] {
        let results = each(bench.provider.create(&call, &recipients).await, 1);
        assert_eq!(results[0].as_ref().unwrap().status, status);
    }
    assert_eq!(bench.simulator.effects().await.len(), 1);
}

pub async fn bytes_that_are_too_old_create_nothing(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.advance(Duration::from_secs(3601)).await;
    let error = refusal(bench.provider.create(&call, &recipients).await);
    assert_eq!(error.outcome, Outcome::Rejected);
    assert_eq!(bench.simulator.effects().await.len(), 0);
}

pub async fn more_activities_than_a_page_holds_are_read_in_either_cursor_order(bench: &Bench) {
    bench.simulator.set(json!({"quota": 1000})).await;
    let first = [bench.recipient(500)];
    let doubt = bench.doubt(&bench.call(&first).await, &first);
    bench.provider.create(&doubt.call, &first).await.unwrap();
    for number in 0..220 {
        bench.clock.advance(Duration::from_millis(1));
        bench.invited(number).await;
    }
    for order in ["list", "time"] {
        bench.simulator.set(json!({ "cursor_order": order })).await;
        let seen = bench.provider.look(std::slice::from_ref(&doubt)).await.unwrap();
        assert_eq!(seen[0][0].exact.len(), 1, "{order}");
        bench.simulator.set(json!({"get_organization": "forbidden"})).await;
        let page = bench.provider.list(&ListQuery::default()).await.unwrap();
        assert_eq!(page.invites.len(), 221, "{order}");
        bench.simulator.set(json!({"get_organization": "on"})).await;
    }
}

pub async fn an_activity_is_found_by_its_id_although_the_list_lags(bench: &Bench) {
    bench.simulator.set(json!({"activity_mode": "consensus", "list_lag_ms": 600_000})).await;
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let observed = each(bench.provider.create(&call, &recipients).await, 1).remove(0).unwrap();
    let mut doubt = bench.doubt(&call, &recipients);
    doubt.data = observed.data;
    let seen = bench.provider.look(&[doubt]).await.unwrap();
    assert_eq!(seen[0][0].exact[0].status, Status::AwaitingApproval);
}

pub async fn an_organization_that_is_refused_is_done_without(bench: &Bench) {
    for answer in ["forbidden", "not_found"] {
        bench.simulator.set(json!({"get_organization": answer})).await;
        let provider = bench.with_secrets(&[bench.subject.good]);
        let number = bench.simulator.effects().await.len();
        let (_, remote) = bench.invited(number).await;
        assert_eq!(provider.get(&remote).await.unwrap().status, Status::Pending);
        let asked = bench.simulator.count("get_organization").await;
        bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "accepted").await;
        assert_eq!(provider.get(&remote).await.unwrap().status, Status::Accepted);
        let again = bench.simulator.count("get_organization").await;
        assert_eq!(again, asked, "a refusal is remembered for a while");
    }
}

pub async fn a_deleted_invitation_is_revoked_only_if_we_deleted_it(bench: &Bench) {
    for (number, shown) in ["vanish", "revoked"].into_iter().enumerate() {
        bench.simulator.set(json!({ "deleted_invitations": shown })).await;
        let (_, remote) = bench.invited(number).await;
        bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "deleted").await;
        let observed = bench.provider.get(&remote).await.unwrap();
        if shown == "vanish" {
            assert_eq!(observed.provider_status.as_deref(), Some("gone"));
            assert_eq!(observed.status, Status::Pending);
        } else {
            assert_eq!(observed.status, Status::Revoked);
        }
        let sent = Remote { revoke_sent: true, ..remote };
        assert_eq!(bench.provider.get(&sent).await.unwrap().status, Status::Revoked);
    }
}

pub async fn a_delete_that_needs_approval_leaves_the_invite_as_it_was(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    bench.simulator.set(json!({"activity_mode": "consensus"})).await;
    let observed = bench.provider.revoke(&remote, false).await.unwrap();
    assert_eq!(observed.status, Status::Pending);
    assert_eq!(bench.simulator.effects().await[0]["status"], "created");
}

pub async fn another_call_to_the_address_is_neither_exact_nor_near(bench: &Bench) {
    bench.invited(1).await;
    bench.clock.advance(Duration::from_millis(5));
    let rule = json!({"kind": "cut_before", "operation": "create"});
    let (recipient, call, _) = bench.create_under(rule, 1).await;
    let seen = bench.provider.look(&[bench.doubt(&call, &[recipient])]).await.unwrap();
    assert!(seen[0][0].exact.is_empty() && seen[0][0].near.is_empty());
}

pub async fn a_policy_that_denies_is_no_refused_key(bench: &Bench) {
    let provider = bench.with_secrets(&[accounts::TURNKEY_READ_ONLY_API_PRIVATE_KEY]);
    provider.probe().await.unwrap();
    let recipients = [bench.recipient(1)];
    let call = provider.prepare(&recipients, bench.now()).await.unwrap();
    let error = refusal(provider.create(&call, &recipients).await);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotAuthorized));
    assert_eq!(error.code.as_deref(), Some("REQUEST_NOT_AUTHORIZED"));
    let expired = bench.with_secrets(&[accounts::TURNKEY_EXPIRED_API_PRIVATE_KEY]);
    assert_eq!(expired.probe().await.unwrap_err().cause, Cause::Credentials);
    let other = json!({"organization_id": accounts::TURNKEY_OTHER_ORGANIZATION_ID});
    let misplaced = bench.with(other, &[bench.subject.good]);
    assert_eq!(misplaced.probe().await.unwrap_err().cause, Cause::Configuration);
}

pub async fn the_sender_is_asked_for_once_or_configured(bench: &Bench) {
    for number in 0..3 {
        bench.invited(number).await;
    }
    let configured = bench.subject.settings.get("sender_user_id").is_some();
    assert_eq!(bench.simulator.count("whoami").await, if configured { 0 } else { 1 });
    let bodies = bench.wire.requests().into_iter().filter(|r| r.target.contains("create_inv"));
    for request in bodies {
        let body: Value = serde_json::from_str(request.body()).unwrap();
        let sender = &body["parameters"]["invitations"][0]["senderUserId"];
        assert_eq!(sender, accounts::TURNKEY_USER_ID);
    }
}

pub async fn a_private_key_of_the_wrong_form_is_a_fault_that_does_not_show_it(bench: &Bench) {
    for wrong in ["zz", "1234", "0000000000000000000000000000000000000000000000000000000000000000"]
    {
        let part = bench.subject.part(&bench.wire.url, &[wrong]);
        let clock = std::sync::Arc::new(bench.clock.clone());
        let faults = bench.subject.build(&part, clock).unwrap_err();
        assert_eq!(faults[0].pointer, "/api_private_key");
        assert!(!format!("{faults:?}").contains(wrong));
    }
    let command_line = format!("{}:p256", bench.subject.good);
    bench.with_secrets(&[&command_line]).probe().await.unwrap();
}

pub async fn a_clock_that_is_off_is_no_fault_of_the_invitations(bench: &Bench) {
    let recipients = bench.recipients(0..2);
    let minute = 60_000;
    for (ahead, is_refused) in [
        (0, false),
        (4 * minute, false),
        (10 * minute, true),
        (-50 * minute, false),
        (-120 * minute, true),
    ] {
        // By as much is the bench's clock ahead of the simulator's.
        let offset = bench.now().duration_since(SystemClock.now()).as_millis() as i64 - ahead;
        bench.simulator.set(json!({ "clock_offset_ms": offset })).await;
        let probed = bench.provider.probe().await;
        let call = bench.provider.prepare(&recipients, bench.now()).await.unwrap();
        let created = bench.provider.create(&call, &recipients).await;
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!((probed.is_err(), created.is_err()), (is_refused, is_refused), "{ahead}");
        if is_refused {
            let refused = refusal(created);
            for error in [&probed.unwrap_err(), &refused] {
                let expected = (Outcome::Rejected, Cause::Configuration);
                assert_eq!((error.outcome, error.cause), expected, "{ahead}");
            }
            assert!(refused.items.is_empty(), "{refused:?}");
        }
    }
}

pub async fn an_activity_that_fails_for_the_organization_is_no_fault_of_its_invitations(
    bench: &Bench,
) {
    let failed = json!({"activity": {
        "id": "0190f0a4-0000-7000-8000-000000000001", "status": "ACTIVITY_STATUS_FAILED",
        "failure": {"code": 9, "message": "organization is disabled", "details": []},
    }});
    let rule = json!({
        "kind": "status_before", "operation": "create", "status": 200, "body": failed.to_string(),
    });
    bench.simulator.set(json!({ "get_organization": "not_found" })).await;
    let (_, _, created) = bench.create_under(rule, 1).await;
    let error = refusal(created);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Configuration));
}
