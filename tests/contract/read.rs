//! Asking a provider: one invite's state, and what it lists.

use std::{collections::BTreeSet, time::Duration};

use invite_core::{Cause, ListQuery, Observed, Outcome, Status, StatusSource};
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    people::{person, shows},
};

pub async fn an_invite_that_exists_is_read_as_it_was_made(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    assert!(bench.provider.capabilities().get);
    let observed = bench.provider.get(&remote).await.unwrap();
    assert_eq!(observed.provider_ref, remote.provider_ref);
    assert_eq!(observed.status, Status::Pending);
    for member in bench.subject.data {
        assert_eq!(observed.data.get(*member), remote.data.get(*member), "{member}");
    }
    assert_eq!(bench.simulator.effects().await.len(), 1);
}

pub async fn an_acceptance_is_seen(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let (_, other) = bench.invited(2).await;
    bench.simulator.move_invite(remote.provider_ref.as_deref().unwrap(), "accepted").await;
    assert_eq!(bench.provider.get(&remote).await.unwrap().status, Status::Accepted);
    assert_eq!(bench.provider.get(&other).await.unwrap().status, Status::Pending);
}

pub async fn an_id_that_is_not_known_there_is_no_invite(bench: &Bench) {
    let (_, mut remote) = bench.invited(1).await;
    remote.provider_ref = Some(match bench.subject.kind.name {
        "securegate" => "invite-0123456789ab".into(),
        "rkvst" => "invites/0b7d8a5e-8f57-4d0e-9d0c-2f4b8d1e6a03".into(),
        _ => "0b7d8a5e-8f57-4d0e-9d0c-2f4b8d1e6a03".into(),
    });
    match bench.provider.get(&remote).await {
        Ok(observed) => {
            assert_eq!(observed.source, StatusSource::Inferred);
            assert_eq!(observed.status, Status::Pending, "absence alone is no answer");
        }
        Err(error) => {
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        }
    }
}

pub async fn an_invite_without_an_id_cannot_be_asked_about(bench: &Bench) {
    let (_, mut remote) = bench.invited(1).await;
    remote.provider_ref = None;
    remote.data.clear();
    let before = bench.simulator.count("*").await;
    let error = bench.provider.get(&remote).await.unwrap_err();
    assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
    assert_eq!(bench.simulator.count("*").await, before);
}

pub async fn an_id_that_would_lead_elsewhere_is_not_followed(bench: &Bench) {
    let (_, mut remote) = bench.invited(1).await;
    for id in ["", ".", "..", "../members", "invites/../members", "a?b=c", "x\ny"] {
        remote.provider_ref = Some(id.into());
        let seen = bench.wire.calls().len();
        let _ = bench.provider.get(&remote).await;
        for request in bench.wire.calls().split_off(seen) {
            let path = request.target.split([' ', '?']).nth(1).unwrap().to_owned();
            assert!(!path.split('/').any(|step| step == ".."), "{id:?}: {path}");
            let names_the_list = path.ends_with("/invites") || path.ends_with("/invites/");
            assert!(!names_the_list, "{id:?}: {path}");
        }
    }
}

/// Every invite that is listed, page by page, and how many pages there were.
async fn listed(bench: &Bench, email: Option<&str>) -> (Vec<Observed>, usize) {
    let mut query = ListQuery { email: email.map(str::to_owned), ..ListQuery::default() };
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = bench.provider.list(&query).await.unwrap();
        (all, pages) = ([all, page.invites].concat(), pages + 1);
        assert!(pages < 100, "the list runs in a circle");
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return (all, pages);
        }
    }
}

pub async fn a_list_shows_every_invite_once_to_its_last_page(bench: &Bench) {
    assert!(bench.provider.capabilities().list);
    let is_paged = bench.subject.is("rkvst");
    if is_paged {
        bench.simulator.set(json!({"page_size_cap": 2})).await;
    }
    let mut ids = BTreeSet::new();
    for number in 0..5 {
        ids.insert(bench.invited(number).await.1.provider_ref.unwrap());
    }
    let (all, pages) = listed(bench, None).await;
    assert_eq!(pages, if is_paged { 3 } else { 1 });
    assert_eq!(all.len(), ids.len());
    let shown: BTreeSet<String> = all.iter().filter_map(|o| o.provider_ref.clone()).collect();
    assert_eq!(shown, ids);
    for (number, observed) in all.iter().enumerate() {
        let invitee = observed.invitee.as_ref().expect("a list shows addresses");
        assert!((0..5).any(|n| person(n).email == invitee.email), "{number}");
        assert_eq!(observed.status, Status::Pending);
    }
}

pub async fn a_list_of_one_address_shows_all_to_it_and_no_other(bench: &Bench) {
    if bench.subject.is("rkvst") {
        bench.simulator.set(json!({"page_size_cap": 1})).await;
    }
    let mut ids = BTreeSet::new();
    for number in [1, 2, 3, 2] {
        bench.clock.advance(Duration::from_millis(5));
        let id = bench.invited(number).await.1.provider_ref.unwrap();
        if number == 2 {
            ids.insert(id);
        }
    }
    let wanted = person(2);
    let (found, _) = listed(bench, Some(&wanted.email)).await;
    assert!(found.iter().all(|one| one.invitee.as_ref().unwrap().email == wanted.email));
    // Two to one person, as a second effect would be.
    let shown: BTreeSet<String> = found.into_iter().filter_map(|one| one.provider_ref).collect();
    assert_eq!((shown.len(), shown), (2, ids));
    let (none, _) = listed(bench, Some("zyx.nobody@mail.example.org")).await;
    assert_eq!(none.len(), 0);
}

pub async fn an_empty_list_is_no_error(bench: &Bench) {
    let page = bench.provider.list(&ListQuery::default()).await.unwrap();
    assert_eq!((page.invites.len(), page.next_cursor), (0, None));
}

pub async fn a_cursor_that_was_never_given_is_refused_without_a_request(bench: &Bench) {
    let query = ListQuery { cursor: Some("made-up".into()), ..ListQuery::default() };
    let error = bench.provider.list(&query).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::Rejected);
    assert_eq!(bench.simulator.count("*").await, 0);
}

/// A reply to a list request that leads back to itself.
fn circle(bench: &Bench) -> (&'static str, Value) {
    match bench.subject.kind.name {
        "rkvst" => ("list", json!({"invites": [], "next_page_token": "the-same"})),
        _ => {
            let activity = |i: usize| {
                json!({"id": format!("activity-{i}"), "status": "ACTIVITY_STATUS_COMPLETED",
                       "type": "ACTIVITY_TYPE_CREATE_INVITATIONS"})
            };
            let page: Vec<Value> = (0..100).map(activity).collect();
            ("list_activities", json!({ "activities": page }))
        }
    }
}

pub async fn a_list_that_leads_in_a_circle_is_an_error(bench: &Bench) {
    let (operation, body) = circle(bench);
    let rule = json!({
        "kind": "status_before", "status": 200, "operation": operation, "body": body,
    });
    bench.simulator.fault(rule).await;
    let mut query = ListQuery::default();
    for _ in 0..10 {
        match bench.provider.list(&query).await {
            Ok(page) => {
                query.cursor = page.next_cursor;
                assert!(query.cursor.is_some(), "the list claims to have ended");
            }
            Err(error) => {
                assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport));
                return;
            }
        }
    }
    panic!("the list runs in a circle");
}

pub async fn unknown_words_and_members_fail_nothing(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let id = remote.provider_ref.clone().unwrap();
    let email = remote.invitee.email.clone();
    let (operation, body) = match bench.subject.kind.name {
        "securegate" => (
            "get",
            json!({"id": id, "email": email, "status": "on_hold", "new": {"a": []}, "created_at": 7}),
        ),
        "rkvst" => (
            "get",
            json!({"identity": id, "email": email, "expiry_time": "soon", "new": {"a": []}}),
        ),
        _ => (
            "get_organization",
            json!({"organizationData": {"new": 1, "invitations": [{
                "invitationId": id, "receiverEmail": email, "status": "INVITATION_STATUS_ON_HOLD",
                "createdAt": "yesterday", "new": {"a": []}}]}}),
        ),
    };
    let rule = json!({
        "kind": "status_before", "status": 200, "operation": operation, "body": body,
    });
    bench.simulator.fault(rule).await;
    let observed = bench.provider.get(&remote).await.unwrap();
    assert_eq!(observed.status, Status::Pending);
    assert_eq!(observed.provider_ref, Some(id));
    if let Some(word) = observed.provider_status {
        assert!(word.to_lowercase().contains("on_hold"), "the raw word is kept: {word}");
    }
    assert!(!shows(&format!("{:?}", observed.data), &remote.invitee));
}
