//! Accepting: duplicates, idempotency keys, large batches.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use invite_core::{InviteId, Reason, Status, StatusSource};
use invite_store::{
    Acceptance, IdempotencyKey, InviteFilter, NewBatch, OnDuplicate, Placement, Quotas, Store,
};

use crate::fixture::{Db, accept, batch, item, now, on_both, queue, seconds, set, set_status};
use crate::states::{phase, reason};

on_both!(
    an_accepted_invite_reads_back_as_it_was_given,
    an_item_that_was_refused_is_stored_as_failed,
    a_duplicate_is_answered_with_the_existing_invite_and_stores_nothing,
    a_rejected_duplicate_is_stored_as_failed_naming_the_existing_invite,
    a_duplicate_is_sent_where_the_caller_wants_it,
    the_later_of_two_equal_items_of_a_request_is_the_duplicate,
    only_a_live_invite_of_the_same_tenant_and_destination_makes_a_duplicate,
    of_several_live_invites_the_newest_is_the_existing_one,
    racing_stores_never_make_two_invites_to_one_person,
    the_same_key_and_body_are_answered_with_the_same_batch,
    another_body_under_the_same_key_is_refused,
    keys_of_two_tenants_are_two_keys,
    a_key_is_forgotten_after_its_retention_once_its_batch_has_settled,
    racing_stores_accept_one_request_per_key,
    purging_forgets_old_keys_of_settled_batches_only,
    ten_thousand_invites_are_accepted_at_once,
);

async fn an_accepted_invite_reads_back_as_it_was_given(db: &Db) {
    let store = db.open().await;
    let mut given = item(3, "Ada@Example.org");
    given.external_id = Some("hr-7781".into());
    let accepted = batch(vec![given.clone()]);
    let id = accept(&store, accepted.clone()).await;

    let invite = store.invite(given.id).await.unwrap().unwrap();
    assert_eq!((invite.id, invite.batch_id, invite.index), (given.id, id, 3));
    assert_eq!(invite.tenant, "default");
    assert_eq!(invite.invitee, given.invitee);
    assert_eq!(invite.address.as_ref().unwrap().as_str(), "ada@example.org");
    assert_eq!((&invite.external_id, &invite.labels), (&given.external_id, &given.labels));
    let Placement::Bound { provider, kind, destination, call_key, params, route } = given.placement
    else {
        unreachable!()
    };
    assert_eq!((&invite.provider, &invite.kind), (&Some(provider), &Some(kind)));
    assert_eq!((&invite.destination, &invite.call_key), (&Some(destination), &Some(call_key)));
    assert_eq!((&invite.params, &invite.route, invite.config_revision), (&params, &route, 7));
    assert!(invite.created_at > seconds(-60) && invite.created_at <= now());
    assert_eq!(invite.state, invite_store::InviteState::queued(invite.created_at));

    let view = store.batch(id).await.unwrap().unwrap();
    assert_eq!((view.id, view.tenant.as_str(), view.config_revision), (id, "default", 7));
    assert_eq!(view.created_at, invite.created_at);
    assert!(view.duplicates.is_empty());
}

async fn an_item_that_was_refused_is_stored_as_failed(db: &Db) {
    let store = db.open().await;
    let mut refused = item(0, "ada@example.org");
    refused.address = None;
    refused.placement = Placement::Refused { error: reason("invalid") };
    let id = accept(&store, batch(vec![refused.clone()])).await;
    let invite = store.invite(refused.id).await.unwrap().unwrap();
    assert_eq!(invite.state.status(), Status::Failed);
    assert_eq!(invite.state.source, StatusSource::Gateway);
    assert_eq!(invite.state.error, Some(reason("invalid")));
    assert!(invite.provider.is_none() && invite.destination.is_none() && invite.address.is_none());
    assert_eq!(
        store.batch_counts(id).await.unwrap().by_status,
        BTreeMap::from([(Status::Failed, 1)])
    );
}

/// Accepts an invite to ada and another in the given way; the first one's id and the second batch.
async fn twice(store: &Store, on_duplicate: OnDuplicate) -> (InviteId, NewBatch) {
    let [first] = queue(store, ["ada@example.org"]).await;
    let mut second = batch(vec![item(0, "ADA@example.org"), item(1, "bob@example.org")]);
    second.on_duplicate = on_duplicate;
    accept(store, second.clone()).await;
    (first, second)
}

async fn a_duplicate_is_answered_with_the_existing_invite_and_stores_nothing(db: &Db) {
    let store = db.open().await;
    let (first, second) = twice(&store, OnDuplicate::ReturnExisting).await;
    assert_eq!(store.batch(second.id).await.unwrap().unwrap().duplicates, [(0, first)]);
    assert!(store.invite(second.items[0].id).await.unwrap().is_none());
    assert!(store.invite(second.items[1].id).await.unwrap().is_some());
}

async fn a_rejected_duplicate_is_stored_as_failed_naming_the_existing_invite(db: &Db) {
    let store = db.open().await;
    let (first, second) = twice(&store, OnDuplicate::Reject).await;
    let invite = store.invite(second.items[0].id).await.unwrap().unwrap();
    assert_eq!(invite.state.status(), Status::Failed);
    assert_eq!(invite.state.error, Some(Reason::duplicate(first)));
    assert!(store.batch(second.id).await.unwrap().unwrap().duplicates.is_empty());
    assert_eq!(
        store.batch_counts(second.id).await.unwrap().by_status,
        BTreeMap::from([(Status::Queued, 1), (Status::Failed, 1)])
    );
}

async fn a_duplicate_is_sent_where_the_caller_wants_it(db: &Db) {
    let store = db.open().await;
    let (_, second) = twice(&store, OnDuplicate::Send).await;
    let invites = store.batch_invites(second.id).await.unwrap().invites;
    assert_eq!(invites.len(), 2);
    assert!(invites.iter().all(|invite| invite.state.status() == Status::Queued));
}

async fn the_later_of_two_equal_items_of_a_request_is_the_duplicate(db: &Db) {
    let store = db.open().await;
    let request = batch(vec![item(0, "ada@example.org"), item(1, "Ada@example.org")]);
    accept(&store, request.clone()).await;
    let view = store.batch(request.id).await.unwrap().unwrap();
    assert_eq!(view.duplicates, [(1, request.items[0].id)]);
    assert_eq!(store.batch_invites(request.id).await.unwrap().invites.len(), 1);

    let mut request = batch(vec![item(0, "bob@example.org"), item(1, "bob@example.org")]);
    request.on_duplicate = OnDuplicate::Reject;
    accept(&store, request.clone()).await;
    let invites = store.batch_invites(request.id).await.unwrap().invites;
    assert_eq!(invites[0].state.status(), Status::Queued);
    assert_eq!(invites[1].state.error, Some(Reason::duplicate(request.items[0].id)));
}

async fn only_a_live_invite_of_the_same_tenant_and_destination_makes_a_duplicate(db: &Db) {
    let store = db.open().await;
    for status in Status::ALL.iter().copied() {
        let email = format!("{}@example.org", status.as_str().replace('_', "-"));
        let [first] = queue(&store, [&email]).await;
        set_status(&store, first, status).await;
        let again = batch(vec![item(0, &email)]);
        accept(&store, again.clone()).await;
        let stored = store.invite(again.items[0].id).await.unwrap();
        assert_eq!(stored.is_none(), status.is_live(), "{status}");
    }

    let [lapsed] = queue(&store, ["lapsed@example.org"]).await;
    set(&store, lapsed, |state, now| {
        state.phase = phase(Status::Pending);
        state.expires_at = Some(now);
    })
    .await;
    let mut elsewhere = item(1, "queued@example.org");
    let Placement::Bound { destination, .. } = &mut elsewhere.placement else { unreachable!() };
    destination.scope = "event-457".into();
    let mut request = batch(vec![item(0, "lapsed@example.org"), elsewhere]);
    accept(&store, request.clone()).await;
    assert_eq!(store.batch_invites(request.id).await.unwrap().invites.len(), 2);

    request = batch(vec![item(0, "queued@example.org")]);
    request.tenant = "other".into();
    accept(&store, request.clone()).await;
    assert_eq!(store.batch_invites(request.id).await.unwrap().invites.len(), 1);
}

async fn of_several_live_invites_the_newest_is_the_existing_one(db: &Db) {
    let store = db.open().await;
    let (_, second) = twice(&store, OnDuplicate::Send).await;
    let third = batch(vec![item(0, "ada@example.org")]);
    accept(&store, third.clone()).await;
    let view = store.batch(third.id).await.unwrap().unwrap();
    assert_eq!(view.duplicates, [(0, second.items[0].id)]);
}

async fn racing_stores_never_make_two_invites_to_one_person(db: &Db) {
    let stores = [db.open().await, db.open().await];
    let people: Vec<String> = (0..40).map(|n| format!("person-{n}@example.org")).collect();
    let requests = people.iter().flat_map(|email| {
        stores.iter().flat_map(move |store| {
            // The same people in both orders, which would deadlock if locks were taken as they come.
            [false, true].map(|reversed| {
                let mut items = vec![item(0, email), item(1, "everyone@example.org")];
                if reversed {
                    items.reverse();
                }
                let (store, request) = (store.clone(), batch(items));
                tokio::spawn(async move { accept(&store, request).await })
            })
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    for email in people.iter().map(String::as_str).chain(["everyone@example.org"]) {
        let filter =
            InviteFilter { address: Some(email.parse().unwrap()), ..InviteFilter::default() };
        assert_eq!(stores[0].invites(&filter, None, 10).await.unwrap().invites.len(), 1, "{email}");
    }
}

fn key(body: &str, retention: Duration) -> IdempotencyKey {
    IdempotencyKey { key: "k-1".into(), body_hash: body.into(), retention }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keyed(body: &str, retention: Duration) -> NewBatch {
    let mut request = batch(vec![item(0, &format!("{body}@example.org"))]);
    request.idempotency = Some(key(body, retention));
    request
}

async fn the_same_key_and_body_are_answered_with_the_same_batch(db: &Db) {
    let store = db.open().await;
    assert_eq!(store.find_idempotent("default", &key("a", DAY)).await.unwrap(), None);
    let first = accept(&store, keyed("a", DAY)).await;
    let again = keyed("a", DAY);
    let replayed = Acceptance::Replayed(first);
    assert_eq!(store.accept(again.clone(), 0, Quotas::new()).await.unwrap().unwrap(), replayed);
    assert_eq!(store.batch(again.id).await.unwrap(), None);
    assert_eq!(
        store.find_idempotent("default", &key("a", DAY)).await.unwrap(),
        Some(Acceptance::Replayed(first))
    );
    // Across a restart too.
    store.close().await;
    let store = db.open().await;
    assert_eq!(store.accept(keyed("a", DAY), 0, Quotas::new()).await.unwrap().unwrap(), replayed);
}

async fn another_body_under_the_same_key_is_refused(db: &Db) {
    let store = db.open().await;
    accept(&store, keyed("a", DAY)).await;
    let other = keyed("b", DAY);
    let answer = store.accept(other.clone(), 0, Quotas::new()).await.unwrap().unwrap();
    assert_eq!(answer, Acceptance::KeyReused);
    assert_eq!(store.batch(other.id).await.unwrap(), None);
    assert!(store.invite(other.items[0].id).await.unwrap().is_none());
    assert_eq!(
        store.find_idempotent("default", &key("b", DAY)).await.unwrap(),
        Some(Acceptance::KeyReused)
    );
}

async fn keys_of_two_tenants_are_two_keys(db: &Db) {
    let store = db.open().await;
    accept(&store, keyed("a", DAY)).await;
    let other = NewBatch { tenant: "other".into(), ..keyed("b", DAY) };
    accept(&store, other).await;
}

async fn a_key_is_forgotten_after_its_retention_once_its_batch_has_settled(db: &Db) {
    let store = db.open().await;
    let first = keyed("a", Duration::ZERO);
    accept(&store, first.clone()).await;
    let again = store.accept(keyed("a", Duration::ZERO), 0, Quotas::new()).await.unwrap().unwrap();
    assert_eq!(again, Acceptance::Replayed(first.id));

    set_status(&store, first.items[0].id, Status::Pending).await;
    assert_eq!(store.find_idempotent("default", &key("b", Duration::ZERO)).await.unwrap(), None);
    let second = keyed("b", Duration::ZERO);
    accept(&store, second.clone()).await;
    assert_eq!(
        store.find_idempotent("default", &key("b", DAY)).await.unwrap(),
        Some(Acceptance::Replayed(second.id))
    );
}

async fn racing_stores_accept_one_request_per_key(db: &Db) {
    let stores = [db.open().await, db.open().await];
    let requests = stores.iter().cycle().take(16).enumerate().map(|(n, store)| {
        let mut request = keyed("a", DAY);
        request.items = vec![item(0, &format!("person-{n}@example.org"))];
        let store = store.clone();
        tokio::spawn(async move { store.accept(request, 0, Quotas::new()).await.unwrap().unwrap() })
    });
    let answers: Vec<Acceptance> =
        join_all(requests.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
    let accepted: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Acceptance::Accepted(new) => Some(new.batch.id),
            _ => None,
        })
        .collect();
    let [winner] = accepted[..] else { panic!("{answers:?}") };
    assert_eq!(answers.iter().filter(|a| **a == Acceptance::Replayed(winner)).count(), 15);
    let all = stores[0].invites(&InviteFilter::default(), None, 100).await.unwrap();
    assert_eq!(all.invites.len(), 1);
}

async fn purging_forgets_old_keys_of_settled_batches_only(db: &Db) {
    let store = db.open().await;
    let first = keyed("a", DAY);
    accept(&store, first.clone()).await;
    assert_eq!(store.purge_idempotency(Duration::ZERO).await.unwrap(), 0);
    set_status(&store, first.items[0].id, Status::Failed).await;
    assert_eq!(store.purge_idempotency(DAY).await.unwrap(), 0);
    assert_eq!(store.purge_idempotency(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.find_idempotent("default", &key("a", DAY)).await.unwrap(), None);
}

async fn ten_thousand_invites_are_accepted_at_once(db: &Db) {
    let store = db.open().await;
    let people = |from: usize| {
        let items = (0..10_000).map(|n| item(n, &format!("person-{}@example.org", from + n)));
        batch(items.collect())
    };
    let first = people(0);
    accept(&store, first.clone()).await;
    let stored = store.batch_invites(first.id).await.unwrap().invites;
    assert_eq!(stored.len(), 10_000);
    assert!(stored.iter().zip(&first.items).all(|(invite, item)| invite.id == item.id));

    let half = people(5_000);
    accept(&store, half.clone()).await;
    assert_eq!(store.batch(half.id).await.unwrap().unwrap().duplicates.len(), 5_000);
    assert_eq!(
        store.batch_counts(half.id).await.unwrap().by_status,
        BTreeMap::from([(Status::Queued, 5_000)])
    );
}
