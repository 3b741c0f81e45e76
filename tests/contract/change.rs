//! Setting a status, withdrawing, and saying so where that is not offered.

use invite_core::{Cause, Outcome, Status};
use serde_json::json;

use crate::{bench::Bench, people::person};

pub async fn every_listed_status_can_be_set_and_set_again(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let listed = bench.provider.capabilities().update_status;
    assert!(!listed.is_empty());
    for status in listed.iter().chain(listed.iter().rev()) {
        let observed = bench.provider.update_status(&remote, *status).await.unwrap();
        assert_eq!(observed.status, *status);
        let changes = bench.simulator.count("update_status").await;
        let again = bench.provider.update_status(&remote, *status).await.unwrap();
        assert_eq!(again.status, *status);
        assert_eq!(bench.simulator.count("update_status").await, changes, "{status} was set");
        assert_eq!(bench.provider.get(&remote).await.unwrap().status, *status);
    }
    let [effect] = &bench.simulator.effects().await[..] else { panic!("one invite exists") };
    let shown = bench.provider.get(&remote).await.unwrap().provider_status;
    assert_eq!(effect["status"].as_str(), shown.as_deref());
}

pub async fn a_status_that_is_not_listed_is_unsupported_and_sends_nothing(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let listed = bench.provider.capabilities().update_status;
    let before = bench.simulator.count("*").await;
    for status in Status::ALL.iter().filter(|status| !listed.contains(status)) {
        let error = bench.provider.update_status(&remote, *status).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Unsupported));
    }
    assert_eq!(bench.simulator.count("*").await, before);
}

pub async fn a_withdrawn_invite_is_withdrawn_and_can_be_withdrawn_again(bench: &Bench) {
    assert!(bench.provider.capabilities().revoke);
    let (_, remote) = bench.invited(1).await;
    let (other, _) = bench.invited(2).await;
    let observed = bench.provider.revoke(&remote, false).await.unwrap();
    assert_eq!(observed.status, Status::Revoked);
    let effects = bench.simulator.effects_for(&remote.invitee.email).await;
    let gone = ["deleted", "rejected"].map(|word| effects[0]["status"] == word);
    assert!(gone.contains(&true), "{effects:?}");
    let remaining = bench.simulator.effects_for(&other.invitee.email).await;
    assert!(["pending", "created"].map(|word| remaining[0]["status"] == word).contains(&true));
    let again = invite_core::Remote { revoke_sent: true, ..remote };
    for force in [false, true] {
        let observed = bench.provider.revoke(&again, force).await.unwrap();
        assert_eq!(observed.status, Status::Revoked);
    }
    assert_eq!(bench.simulator.effects().await.len(), 2);
}

pub async fn a_withdrawal_whose_reply_was_lost_is_seen_by_asking(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let operation = if bench.subject.is("securegate") { "update_status" } else { "delete" };
    let rule = json!({"kind": "cut_after", "operation": operation, "times": 1});
    bench.simulator.fault(rule).await;
    let error = bench.provider.revoke(&remote, false).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Unknown);
    let sent = invite_core::Remote { revoke_sent: true, ..remote };
    assert_eq!(bench.provider.get(&sent).await.unwrap().status, Status::Revoked);
}

pub async fn withdrawing_is_unsupported_and_sends_nothing(bench: &Bench) {
    assert!(!bench.provider.capabilities().revoke);
    let (_, remote) = bench.invited(1).await;
    let before = bench.simulator.count("*").await;
    for force in [false, true] {
        let error = bench.provider.revoke(&remote, force).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Unsupported));
    }
    assert_eq!(bench.simulator.count("*").await, before);
}

pub async fn an_acceptance_is_not_withdrawn(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "accepted").await;
    if let Ok(observed) = bench.provider.revoke(&remote, false).await {
        assert_eq!(observed.status, Status::Accepted);
    }
    let effects = bench.simulator.effects().await;
    assert_eq!(effects[0]["status"], "accepted");
}

pub async fn an_invite_without_an_id_is_not_withdrawn(bench: &Bench) {
    let (_, mut remote) = bench.invited(1).await;
    remote.provider_ref = None;
    let before = bench.simulator.count("*").await;
    let error = bench.provider.revoke(&remote, true).await.unwrap_err();
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
    assert_eq!(bench.simulator.count("*").await, before);
}

pub async fn an_id_that_shows_another_person_is_withdrawn_only_by_force(bench: &Bench) {
    let (_, victim) = bench.invited(1).await;
    let mistaken = invite_core::Remote {
        invitee: person(2),
        address: person(2).email.parse().unwrap(),
        data: [("pairing".to_owned(), "unproven".into())].into_iter().collect(),
        ..victim
    };
    bench.audit.person(&mistaken.invitee);
    let error = bench.provider.revoke(&mistaken, false).await.unwrap_err();
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::PairingUnproven));
    let still = |effects: Vec<serde_json::Value>| {
        ["pending", "created"].map(|word| effects[0]["status"] == word).contains(&true)
    };
    assert!(still(bench.simulator.effects().await), "nothing was withdrawn");
    bench.provider.revoke(&mistaken, true).await.unwrap();
    assert!(!still(bench.simulator.effects().await), "force withdraws what the id names");
}

pub async fn an_id_that_shows_nobody_is_not_withdrawn(bench: &Bench) {
    let (_, mut remote) = bench.invited(1).await;
    remote.data.insert("pairing".into(), "unproven".into());
    let id = remote.provider_ref.clone().unwrap();
    let (operation, body) = match bench.subject.kind.name {
        "securegate" => ("get", json!({ "id": id, "status": "pending" })),
        "rkvst" => ("get", json!({ "identity": id })),
        _ => ("get_organization", json!({"organizationData": {"invitations": []}})),
    };
    let rule = json!({
        "kind": "status_before", "status": 200, "operation": operation, "body": body,
    });
    bench.simulator.fault(rule).await;
    let error = bench.provider.revoke(&remote, false).await.unwrap_err();
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::PairingUnproven));
    let effects = bench.simulator.effects().await;
    assert!(["pending", "created"].map(|word| effects[0]["status"] == word).contains(&true));
}
