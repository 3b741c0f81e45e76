//! Secrets: checking them, the second one, a new value, and what a refusal leads to.

use invite_core::{Cause, ListQuery, Outcome, ProviderError};
use secrecy::SecretString;

use crate::bench::{Bench, Provider, refusal};

fn assert_refused(error: &ProviderError) {
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Credentials), "{error:?}");
}

pub async fn a_good_credential_passes_the_probe_without_an_effect(bench: &Bench) {
    let report = bench.provider.probe().await.unwrap();
    assert!(report.detail.len() > 10 && !report.detail.contains('\n'), "{}", report.detail);
    assert_eq!(bench.simulator.effects().await.len(), 0);
    assert_eq!(bench.simulator.count("create").await, 0);
    assert!(bench.simulator.count("*").await > 0, "a probe asks the provider");
}

pub async fn an_account_is_what_a_provisional_destination_turns_out_to_be(bench: &Bench) {
    let bound = bench.recipient(1).destination;
    let found = bench.provider.account().await.unwrap();
    match found {
        Some(account) => {
            assert_eq!(account.provisional, bound);
            assert!(bound.is_provisional() && !account.destination.is_provisional());
            assert!(account.destination.may_be(&bound));
            assert_eq!(account.destination.to_string().parse(), Ok(account.destination));
            let refused = bench.with_secrets(&[bench.subject.wrong]);
            assert_refused(&refused.account().await.unwrap_err());
        }
        None => assert_eq!(bench.simulator.count("*").await, 0, "there was nothing to ask"),
    }
    assert_eq!(bench.simulator.effects().await.len(), 0);
}

pub async fn a_refused_credential_is_named_as_the_cause_by_every_question(bench: &Bench) {
    let (recipient, remote) = bench.invited(1).await;
    let call = bench.call(std::slice::from_ref(&recipient)).await;
    let refused = bench.with_secrets(&[bench.subject.wrong]);
    assert_refused(&refused.probe().await.unwrap_err());
    assert_refused(&refused.get(&remote).await.unwrap_err());
    assert_refused(&refused.list(&ListQuery::default()).await.unwrap_err());
    // What a lookup learnt with a refused credential must not pass for absence.
    match refused.look(&[bench.doubt(&call, &[recipient])]).await {
        Err(error) => assert_refused(&error),
        Ok(seen) => assert!(seen[0][0].gap.is_some()),
    }
    assert!(refused.usage()[0].refused > 0);
}

pub async fn a_peer_that_is_not_there_is_no_refused_credential(bench: &Bench) {
    bench.wire.refuse().await;
    let error = bench.with_secrets(&[bench.subject.good]).probe().await.unwrap_err();
    assert_eq!(error.cause, Cause::Transport);
}

pub async fn a_probe_that_was_not_answered_well_is_no_refused_credential(bench: &Bench) {
    for (kind, status) in
        [("garbage_before", 200), ("cut_before", 0), ("status_before", 500), ("rate_limited", 0)]
    {
        let mut rule = serde_json::json!({ "kind": kind });
        if status > 0 {
            rule["status"] = status.into();
        }
        bench.simulator.fault(rule).await;
        let error = bench.with_secrets(&[bench.subject.good]).probe().await.unwrap_err();
        assert_ne!(error.cause, Cause::Credentials, "{kind}");
        bench.simulator.clear_faults().await;
    }
}

pub async fn a_create_with_a_refused_credential_is_rejected_without_effect(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let refused = bench.with_secrets(&[bench.subject.wrong]);
    assert_refused(&refusal(refused.create(&call, &recipients).await));
    assert_eq!(bench.simulator.effects().await.len(), 0);
    let usage = refused.usage();
    assert_eq!((usage.len(), usage[0].refused > 0), (1, true));
    assert_eq!(usage[0].reference, "a literal secret");
}

/// Invites somebody with this provider.
async fn invite(bench: &Bench, provider: &Provider, number: usize) {
    let recipients = [bench.recipient(number)];
    let call = provider.prepare(&recipients, bench.now()).await.unwrap();
    for result in provider.create(&call, &recipients).await.unwrap() {
        result.unwrap();
    }
}

pub async fn the_second_secret_takes_over_when_the_first_is_refused(bench: &Bench) {
    let provider = bench.with_secrets(&[bench.subject.wrong, bench.subject.good]);
    invite(bench, &provider, 1).await;
    let first = provider.usage();
    assert!(first[0].used >= 1 && first[0].refused == first[0].used, "{first:?}");
    assert!(first[1].used >= 1 && first[1].refused == 0, "{first:?}");
    invite(bench, &provider, 2).await;
    provider.probe().await.unwrap();
    let then = provider.usage();
    assert_eq!(then[0], first[0], "the refused one is left alone from then on");
    assert_eq!(then[1].refused, 0);
    assert_eq!(bench.simulator.effects().await.len(), 2, "a repeat after a refusal sends once");
}

pub async fn a_good_first_secret_is_the_only_one_used(bench: &Bench) {
    let provider = bench.with_secrets(&[bench.subject.good, bench.subject.wrong]);
    invite(bench, &provider, 1).await;
    provider.probe().await.unwrap();
    let usage = provider.usage();
    assert!(usage[0].used >= 1 && usage[0].refused == 0, "{usage:?}");
    assert_eq!((usage[1].used, usage[1].refused), (0, 0));
}

pub async fn two_refused_secrets_are_one_refusal(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let call = bench.call(&recipients).await;
    let other = bench.subject.wrong.replace(['0', '1'], "2");
    let provider = bench.with_secrets(&[bench.subject.wrong, &other]);
    assert_refused(&refusal(provider.create(&call, &recipients).await));
    assert!(provider.usage().iter().all(|secret| secret.refused >= 1), "{:?}", provider.usage());
    assert_eq!(bench.simulator.effects().await.len(), 0);
}

pub async fn a_new_value_of_a_secret_is_used_at_once(bench: &Bench) {
    let provider = bench.with_secrets(&[bench.subject.wrong]);
    assert_refused(&provider.probe().await.unwrap_err());
    provider.adapter.credential().secrets()[0].replace(SecretString::from(bench.subject.good));
    provider.probe().await.unwrap();
    invite(bench, &provider, 1).await;
    provider.adapter.credential().secrets()[0].replace(SecretString::from(bench.subject.wrong));
    assert_refused(&provider.probe().await.unwrap_err());
    assert!(provider.usage()[0].used >= 3);
}

pub async fn no_request_shows_a_credential_but_in_its_header(bench: &Bench) {
    invite(bench, &bench.provider, 1).await;
    bench.provider.probe().await.unwrap();
    let mut credentials = 0;
    for request in bench.wire.calls() {
        for name in ["x-api-key", "authorization", "x-stamp"] {
            let Some(value) = request.header(name) else { continue };
            credentials += 1;
            let bare = value.trim_start_matches("Bearer ");
            assert!(!request.target.contains(bare) && !request.body().contains(bare));
        }
        assert!(!request.target.contains(bench.subject.good));
        assert!(!request.body().contains(bench.subject.good));
    }
    assert!(credentials >= 2);
}
