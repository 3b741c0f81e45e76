//! What goes wrong on the way, and what may be concluded from it: the table of docs/delivery.md,
//! each row compared with what really happened at the provider.

use std::time::Duration;

use invite_core::{Cause, ListQuery, Outcome, ProviderError};
use serde_json::{Value, json};

use crate::{
    bench::{Bench, each, refusal},
    wire::Stranger,
};

/// Short enough not to wait for, long enough for a busy machine to get a request out.
const BRIEF: Duration = Duration::from_millis(400);

/// Makes a create call fail in this way; the error, and how many effects the call had.
async fn fail(bench: &Bench, rule: Value, number: usize) -> (ProviderError, usize) {
    let mut rule = rule;
    rule["operation"] = "create".into();
    let (recipient, _, created) = bench.create_under(rule, number).await;
    let error = refusal(created);
    let result = Err(error.clone());
    bench.assert_claim(&recipient.invitee.email, &result).await;
    (error, bench.simulator.effects_for(&recipient.invitee.email).await.len())
}

pub async fn a_connection_that_ends_without_a_reply_leaves_the_outcome_unknown(bench: &Bench) {
    let kinds =
        [("cut_before", 0), ("cut_after", 1), ("cut_mid_body", 1), ("reset_before_read", 0)];
    for (number, (kind, effects)) in kinds.into_iter().enumerate() {
        let (error, found) = fail(bench, json!({ "kind": kind }), number).await;
        assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport), "{kind}");
        assert_eq!(found, effects, "{kind}");
    }
}

pub async fn an_unreadable_reply_leaves_the_outcome_unknown(bench: &Bench) {
    let rules = [
        (json!({"kind": "garbage_before"}), 0),
        (json!({"kind": "garbage_after"}), 1),
        (
            json!({"kind": "garbage_after", "body": "<html>Sorry</html>", "content_type": "text/html"}),
            1,
        ),
        (json!({"kind": "garbage_after", "body": "null"}), 1),
        (json!({"kind": "garbage_after", "body": "[]"}), 1),
        (json!({"kind": "garbage_after", "body": "{}"}), 1),
        (json!({"kind": "garbage_after", "body": "", "status": 201}), 1),
        (json!({"kind": "garbage_after", "body": {"activity": {}, "identity": 7}}), 1),
    ];
    for (number, (rule, effects)) in rules.into_iter().enumerate() {
        let (error, found) = fail(bench, rule.clone(), number).await;
        assert_eq!((error.outcome, found), (Outcome::Unknown, effects), "{rule}");
    }
}

pub async fn a_reply_beyond_the_cap_leaves_the_outcome_unknown(bench: &Bench) {
    let (error, effects) = fail(bench, json!({"kind": "huge_body", "size": 3 << 20}), 1).await;
    assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport));
    assert_eq!(effects, 1);
}

pub async fn a_server_error_leaves_the_outcome_unknown(bench: &Bench) {
    let mut number = 0;
    for status in [500, 502, 503, 504, 599] {
        for (kind, effects) in [("status_before", 0), ("status_after", 1)] {
            let (error, found) = fail(bench, json!({"kind": kind, "status": status}), number).await;
            assert_eq!((error.outcome, error.http_status), (Outcome::Unknown, Some(status)));
            assert_eq!(found, effects, "{kind} {status}");
            number += 1;
        }
    }
}

pub async fn a_refusal_that_is_none_leaves_the_outcome_unknown(bench: &Bench) {
    for (number, status) in [408, 409, 425, 499].into_iter().enumerate() {
        let rule = json!({"kind": "status_after", "status": status});
        let (error, _) = fail(bench, rule, number).await;
        assert_eq!((error.outcome, error.http_status), (Outcome::Unknown, Some(status)));
    }
}

pub async fn a_refusal_of_one_invite_is_a_rejection(bench: &Bench) {
    // What was done before can be done there.
    bench.invited(99).await;
    for (number, status) in [400, 404, 405, 410, 413, 415, 422].into_iter().enumerate() {
        let (error, effects) =
            fail(bench, json!({"kind": "status_before", "status": status}), number).await;
        assert_eq!((error.outcome, effects), (Outcome::Rejected, 0), "{status}");
        assert_eq!(error.http_status, Some(status));
        assert!(!matches!(error.cause, Cause::Credentials | Cause::Quota), "{status}: {error:?}");
        assert_eq!(error.cause == Cause::NotFound, status == 404, "{status}: {error:?}");
    }
}

pub async fn a_refused_right_is_told_from_a_refused_invite(bench: &Bench) {
    let (error, _) = fail(bench, json!({"kind": "status_before", "status": 401}), 1).await;
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Credentials));
    let (error, _) = fail(bench, json!({"kind": "status_before", "status": 403}), 2).await;
    assert_eq!(error.outcome, Outcome::Rejected);
    assert!(matches!(error.cause, Cause::Credentials | Cause::NotAuthorized), "{error:?}");
}

pub async fn too_many_requests_is_a_wait_as_long_as_the_provider_says(bench: &Bench) {
    let rule = json!({"kind": "rate_limited", "retry_after": 7});
    let (error, effects) = fail(bench, rule, 1).await;
    assert_eq!((error.outcome, effects), (Outcome::Throttled, 0));
    let said = bench.subject.says_wait.then_some(Duration::from_secs(7));
    assert_eq!(error.retry_after, said, "from the provider's own header");
    let standard = json!({"kind": "status_before", "status": 429, "retry_after": 11});
    let (error, _) = fail(bench, standard, 2).await;
    assert_eq!(error.outcome, Outcome::Throttled);
    assert_eq!(error.retry_after, Some(Duration::from_secs(11)), "from Retry-After");
    let (error, _) = fail(bench, json!({"kind": "rate_limited"}), 3).await;
    assert_eq!((error.outcome, error.retry_after), (Outcome::Throttled, None));
}

pub async fn a_rate_that_is_really_exceeded_throttles_and_passes(bench: &Bench) {
    let (recipients, mut calls) = (bench.recipients(0..3), Vec::new());
    for recipient in &recipients {
        calls.push(bench.call(std::slice::from_ref(recipient)).await);
    }
    bench.simulator.set(json!({"rate_per_second": 0.01})).await;
    let mut outcomes = Vec::new();
    for (call, recipient) in calls.iter().zip(&recipients) {
        let created = bench.provider.create(call, std::slice::from_ref(recipient)).await;
        let result = each(created, 1).remove(0);
        bench.assert_claim(&recipient.invitee.email, &result).await;
        outcomes.push(result.map(|_| ()).map_err(|error| error.outcome));
    }
    let throttled = Err(Outcome::Throttled);
    assert_eq!(outcomes, [Ok(()), throttled, throttled]);
    bench.simulator.set(json!({"rate_per_second": null})).await;
    let created = bench.provider.create(&calls[1], &recipients[1..2]).await;
    assert!(created.unwrap()[0].is_ok());
}

pub async fn a_used_up_quota_is_a_rejection_and_no_wait(bench: &Bench) {
    let (error, effects) = fail(bench, json!({"kind": "quota"}), 1).await;
    assert_eq!((error.outcome, error.cause, effects), (Outcome::Rejected, Cause::Quota, 0));
    let said = "Monthly invite quota exceeded";
    let body = json!({"detail": said, "message": said, "code": 8});
    let rule = json!({"kind": "status_before", "status": 429, "body": body});
    let (error, _) = fail(bench, rule, 2).await;
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Quota));
    bench.simulator.set(json!({"quota": 1})).await;
    bench.invited(3).await;
    let recipients = [bench.recipient(4)];
    let call = bench.call(&recipients).await;
    let error = refusal(bench.provider.create(&call, &recipients).await);
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Quota));
    assert_eq!(bench.simulator.effects_for(&recipients[0].invitee.email).await.len(), 0);
}

pub async fn a_redirect_is_not_followed_and_the_credential_goes_nowhere_else(bench: &Bench) {
    let stranger = Stranger::start().await;
    for (number, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let location = format!("{}/events/event-456/invites", stranger.url);
        let rule = json!({"kind": "redirect", "status": status, "location": location});
        let (error, effects) = fail(bench, rule, number).await;
        assert_eq!((error.outcome, effects), (Outcome::Unknown, 0), "{status}");
        assert_eq!(error.http_status, Some(status));
    }
    let (_, remote) = bench.invited(9).await;
    let rule = json!({"kind": "redirect", "operation": "*", "location": stranger.url});
    bench.simulator.fault(rule).await;
    let provider = bench.with_secrets(&[bench.subject.good]);
    assert!(provider.get(&remote).await.is_err());
    assert!(provider.list(&ListQuery::default()).await.is_err());
    assert!(provider.probe().await.is_err());
    assert!(provider.revoke(&remote, false).await.is_err());
    assert_eq!(stranger.visits().await, 0);
}

pub async fn a_refused_connection_sent_nothing(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    bench.wire.refuse().await;
    let fresh = bench.with_secrets(&[bench.subject.good]);
    let error = refusal(fresh.create(&call, &recipients).await);
    assert_eq!((error.outcome, error.cause), (Outcome::NotSent, Cause::Transport));
    assert_eq!(bench.simulator.effects().await.len(), 0);
}

pub async fn an_attempt_that_its_time_cuts_short_at_any_point_denies_no_effect(bench: &Bench) {
    let mut claims = Vec::new();
    for number in 0..40 {
        let recipients = [bench.recipient(number)];
        let call = bench.call(&recipients).await;
        let time = Duration::from_micros(number as u64 * 100);
        let brief = bench.with_secrets(&[bench.subject.good]).hurried(time);
        let result = each(brief.create(&call, &recipients).await, 1).remove(0);
        claims.push((recipients[0].invitee.email.clone(), result));
    }
    // Whatever was under way is through before this one.
    bench.invited(100).await;
    for (email, result) in &claims {
        bench.assert_claim(email, result).await;
    }
}

pub async fn an_answer_that_comes_too_late_leaves_the_outcome_unknown(bench: &Bench) {
    for (number, kind) in ["latency", "latency_after", "slow_body"].into_iter().enumerate() {
        let recipients = [bench.recipient(number)];
        let call = bench.call(&recipients).await;
        let rule = json!({"kind": kind, "operation": "create", "delay": "30s"});
        bench.simulator.fault(rule).await;
        let error = refusal(bench.provider.hurried(BRIEF).create(&call, &recipients).await);
        assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport), "{kind}");
        bench.simulator.clear_faults().await;
    }
}

pub async fn an_effect_that_comes_after_the_connection_ended_was_not_denied(bench: &Bench) {
    let rule = json!({"kind": "late_effect", "delay": "50ms"});
    let (error, _) = fail(bench, rule, 1).await;
    assert_eq!(error.outcome, Outcome::Unknown);
    while bench.simulator.effects().await.is_empty() {
        tokio::task::yield_now().await;
    }
}

pub async fn every_question_ends_in_its_time_although_the_peer_stalls(bench: &Bench) {
    let (recipient, remote) = bench.invited(1).await;
    let call = bench.call(std::slice::from_ref(&recipient)).await;
    bench.simulator.fault(json!({"kind": "latency", "operation": "*", "delay": "60s"})).await;
    // A provider that knows nothing yet has the most to ask.
    let fresh = || bench.with_secrets(&[bench.subject.good, bench.subject.wrong]).hurried(BRIEF);
    let recipients = [recipient.clone()];
    let (_, again) =
        (fresh().prepare(&recipients, bench.now()).await, bench.doubt(&call, &recipients));
    let errors = [
        fresh().create(&call, &recipients).await.err(),
        fresh().get(&remote).await.err(),
        fresh().list(&ListQuery::default()).await.err(),
        fresh().probe().await.err(),
        fresh().revoke(&remote, true).await.err(),
        fresh().look(&[again]).await.err(),
    ];
    // The audit compares each with its time; here only that none claims to have been answered.
    for error in errors.into_iter() {
        let error = error.expect("nothing was answered");
        let stalled = matches!(error.cause, Cause::Transport | Cause::Unsupported);
        assert!(stalled, "{error:?}");
    }
}

pub async fn a_question_that_fails_says_nothing_about_the_invite(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    for rule in [
        json!({"kind": "cut_before"}),
        json!({"kind": "status_before", "status": 500}),
        json!({"kind": "garbage_before"}),
        json!({"kind": "rate_limited"}),
    ] {
        bench.simulator.fault(rule.clone()).await;
        let error = bench.provider.get(&remote).await.unwrap_err();
        let expected = [Outcome::Unknown, Outcome::Throttled];
        assert!(expected.contains(&error.outcome), "{rule}: {error:?}");
        bench.simulator.clear_faults().await;
    }
    assert!(bench.provider.get(&remote).await.is_ok());
}
