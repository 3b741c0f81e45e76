//! What the delivery engine looks for: due invites, leases, held ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use invite_core::{Destination, InviteId, Status};
use invite_store::{Head, InviteRecord, MAX_SCANNED, Phase, Placement, Store};
use jiff::Timestamp;

use crate::fixture::{
    Db, accept, batch, claim, destination, item, now, on_both, queue, seconds, set, set_status,
};
use crate::states::{phase, set_due};

on_both!(
    due_invites_come_longest_due_first,
    what_goes_again_comes_behind_what_is_due_already,
    each_tenant_has_a_queue_for_each_destination,
    looks_tell_of_some_destinations_of_a_tenant_and_one_after_the_other_of_all,
    the_queues_for_a_destination_are_told_by_tenant,
    look_ups_leave_out_destinations,
    what_was_due_before_the_head_of_a_queue_is_not_looked_at,
    what_was_queued_before_a_time_comes_longest_ago_first,
    an_invite_waits_while_another_to_the_same_person_is_in_doubt,
    leases_are_over_by_the_clock_they_were_written_with,
    open_invites_that_were_not_asked_about_are_stale,
    what_expired_by_the_clock_is_stale_until_its_provider_said_something,
    a_list_can_tell_about_what_is_open_under_an_id_and_needs_no_other_question,
    invites_are_counted_per_provider_and_status_until_they_are_final,
    held_provider_ids_are_found_at_their_destination,
);

fn ids(invites: Vec<InviteRecord>) -> Vec<InviteId> {
    invites.iter().map(|invite| invite.id).collect()
}

async fn wait_until(store: &Store, id: InviteId, at: Timestamp) {
    set(store, id, move |state, _| set_due(state, Some(at))).await;
}

/// What is due of the fixture's tenant at its place.
async fn due(store: &Store, at: Timestamp, limit: u32) -> Vec<InviteId> {
    ids(store.due("summit", "default", &destination(), None, at, limit).await.unwrap())
}

/// When the first invite of each queue of a provider is due, by tenant and scope.
async fn queues(store: &Store, provider: &str) -> Vec<(String, String, Timestamp)> {
    let queues = store.queues(provider, None, &[]).await.unwrap().queues.into_iter();
    queues.map(|queue| (queue.tenant, queue.destination.scope, queue.due)).collect()
}

async fn due_invites_come_longest_due_first(db: &Db) {
    let store = db.open().await;
    assert_eq!(queues(&store, "summit").await, []);
    let emails = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
    let [fresh, waited, waits, sent] = queue(&store, emails).await;
    let mut elsewhere = item(0, "e@example.org");
    let Placement::Bound { provider, .. } = &mut elsewhere.placement else { unreachable!() };
    *provider = "tenancy".into();
    accept(&store, batch(vec![elsewhere.clone()])).await;
    set_status(&store, sent, Status::Sent).await;
    let (past, future) = (seconds(-60), seconds(3600));
    wait_until(&store, waited, past).await;
    wait_until(&store, waits, future).await;

    assert_eq!(due(&store, now(), 10).await, [waited, fresh]);
    assert_eq!(due(&store, now(), 1).await, [waited]);
    assert_eq!(due(&store, future, 10).await, [waited, fresh, waits]);
    let own = store.due("tenancy", "default", &destination(), None, now(), 10).await.unwrap();
    assert_eq!(ids(own), [elsewhere.id]);
    let of_summit = |at| vec![("default".to_owned(), destination().scope, at)];
    assert_eq!(queues(&store, "summit").await, of_summit(past));
    set_status(&store, waited, Status::Failed).await;
    let queued_at = store.invite(fresh).await.unwrap().unwrap().state.queued_at;
    assert_eq!(queues(&store, "summit").await, of_summit(queued_at));
    set_status(&store, fresh, Status::Failed).await;
    assert_eq!(queues(&store, "summit").await, of_summit(future));
}

async fn what_goes_again_comes_behind_what_is_due_already(db: &Db) {
    let store = db.open().await;
    let [first, second] = queue(&store, ["a@example.org", "b@example.org"]).await;
    let soon = Duration::from_millis(1);
    set(&store, first, move |state, now| set_due(state, Some(now + soon))).await;
    assert_eq!(due(&store, seconds(60), 10).await, [second, first]);
}

async fn each_tenant_has_a_queue_for_each_destination(db: &Db) {
    let store = db.open().await;
    let mut wanted = Vec::new();
    for (tenant, scope) in [("a", "x"), ("b", "x"), ("b", "y"), ("b y", "x"), ("c", "z")] {
        let mut queued_at = None;
        for n in 0..3 {
            let mut new = item(0, &format!("p{n}@example.org"));
            let Placement::Bound { destination, .. } = &mut new.placement else { unreachable!() };
            destination.scope = scope.into();
            let mut batch = batch(vec![new]);
            batch.tenant = tenant.into();
            let id = batch.items[0].id;
            accept(&store, batch).await;
            let invite = store.invite(id).await.unwrap().unwrap();
            queued_at.get_or_insert(invite.state.queued_at);
        }
        wanted.push((tenant.to_owned(), scope.to_owned(), queued_at.unwrap()));
    }
    let mut found = queues(&store, "summit").await;
    found.sort();
    assert_eq!(found, wanted);
    assert!(queues(&store, "tenancy").await.is_empty());
}

/// Accepts one invite of a tenant for each of so many destinations.
async fn spread(store: &Store, tenant: &str, destinations: usize) {
    let items = (0..destinations).map(|n| {
        let mut new = item(n, &format!("p{n}@example.org"));
        let Placement::Bound { destination, .. } = &mut new.placement else { unreachable!() };
        destination.scope = format!("{tenant}-{n}");
        new
    });
    let mut batch = batch(items.collect());
    batch.tenant = tenant.into();
    accept(store, batch).await;
}

async fn looks_tell_of_some_destinations_of_a_tenant_and_one_after_the_other_of_all(db: &Db) {
    let store = db.open().await;
    let many = [("a", 3 * MAX_SCANNED), ("c", 2 * MAX_SCANNED + 3)];
    for (tenant, destinations) in many.into_iter().chain([("b", 2), ("d", MAX_SCANNED - 1)]) {
        spread(&store, tenant, destinations).await;
    }
    let (mut told, mut from) = (BTreeMap::<String, BTreeSet<String>>::new(), None);
    for looks in 1.. {
        assert!(looks < 10);
        let look = store.queues("summit", from.as_deref(), &[]).await.unwrap();
        let mut tenants = BTreeMap::<String, usize>::new();
        for queue in look.queues {
            *tenants.entry(queue.tenant.clone()).or_default() += 1;
            told.entry(queue.tenant).or_default().insert(queue.destination.scope);
        }
        // Those of few destinations are told of in every look.
        assert_eq!((tenants["b"], tenants["d"]), (2, MAX_SCANNED - 1));
        assert!(tenants.values().all(|told| *told <= MAX_SCANNED), "{tenants:?}");
        from = look.next;
        if from.is_none() {
            break;
        }
    }
    for (tenant, destinations) in many {
        assert_eq!(told[tenant].len(), destinations, "{tenant}");
    }
}

async fn the_queues_for_a_destination_are_told_by_tenant(db: &Db) {
    let store = db.open().await;
    for tenant in ["a", "b", "c"] {
        spread(&store, tenant, 2).await;
        let mut shared = batch(vec![item(0, "ada@example.org")]);
        shared.tenant = tenant.into();
        if tenant != "b" {
            accept(&store, shared).await;
        }
    }
    let at = store.queues_at("summit", &destination(), &[]).await.unwrap();
    let tenants: Vec<&str> = at.iter().map(|queue| queue.tenant.as_str()).collect();
    assert_eq!(tenants, ["a", "c"]);
    assert!(at.iter().all(|queue| queue.destination == destination()));
    assert!(store.is_any_due("summit", &destination(), now()).await.unwrap());
    assert!(!store.is_any_due("tenancy", &destination(), now()).await.unwrap());
}

async fn what_was_due_before_the_head_of_a_queue_is_not_looked_at(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let (early, late) = (seconds(-60), seconds(-30));
    wait_until(&store, ada, early).await;
    wait_until(&store, bob, late).await;
    let later = |time: Timestamp| time + Duration::from_millis(1);
    for (since, due, first) in [
        (early, vec![ada, bob], Some(early)),
        (later(early), vec![bob], Some(late)),
        (later(late), vec![], None),
    ] {
        let found = store.due("summit", "default", &destination(), Some(since), now(), 10).await;
        assert_eq!(ids(found.unwrap()), due);
        let head = |destination| Head { tenant: "default".into(), destination, since };
        let elsewhere = Destination { scope: "elsewhere".into(), ..destination() };
        for heads in [vec![head(destination())], vec![head(elsewhere), head(destination())]] {
            let scan = store.queues("summit", None, &heads).await.unwrap();
            assert_eq!(scan.queues.first().map(|queue| queue.due), first);
            let held_back: Vec<_> = scan.held_back.iter().map(|head| head.since).collect();
            let passed_over = first.unwrap_or(Timestamp::MAX);
            assert_eq!(held_back, Vec::from_iter((since > early).then_some(passed_over)));
            assert!(!scan.is_empty);
            let at = store.queues_at("summit", &destination(), &heads).await.unwrap();
            assert_eq!(at, scan.queues);
        }
    }
}

async fn what_was_queued_before_a_time_comes_longest_ago_first(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
    let [retried, old, older, sent] = queue(&store, emails).await;
    for (id, ago) in [(retried, 10), (old, 60), (older, 90), (sent, 120)] {
        set(&store, id, move |state, _| state.queued_at = seconds(-ago)).await;
    }
    set_status(&store, sent, Status::Sent).await;
    // Whether they wait for a time of their own makes no difference.
    wait_until(&store, old, seconds(3600)).await;
    let queued = |limit| store.queued_before("summit", seconds(-30), limit);
    assert_eq!(ids(queued(10).await.unwrap()), [older, old]);
    assert_eq!(ids(queued(1).await.unwrap()), [older]);
    assert!(store.queued_before("tenancy", seconds(0), 10).await.unwrap().is_empty());
}

async fn an_invite_waits_while_another_to_the_same_person_is_in_doubt(db: &Db) {
    let store = db.open().await;
    let [first] = queue(&store, ["ada@example.org"]).await;
    let mut other = batch(vec![item(0, "ada@example.org")]);
    other.tenant = "other".into();
    let second = other.items[0].id;
    accept(&store, other).await;
    for in_doubt in [Status::Sending, Status::Unknown] {
        set_status(&store, first, in_doubt).await;
        let own = store.due("summit", "other", &destination(), None, now(), 10).await.unwrap();
        assert!(own.is_empty(), "{in_doubt}");
        assert_eq!(queues(&store, "summit").await, []);
    }
    set_status(&store, first, Status::Failed).await;
    let own = store.due("summit", "other", &destination(), None, now(), 10).await.unwrap();
    assert_eq!(ids(own), [second]);
}

async fn look_ups_leave_out_destinations(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, ada, Status::Unknown).await;
    wait_until(&store, ada, seconds(-60)).await;
    let mut elsewhere = destination();
    elsewhere.scope = "event-457".into();
    for (except, wanted) in [(elsewhere, vec![ada]), (destination(), Vec::new())] {
        let except = [except];
        let next = store.next_lookup("summit", &except).await.unwrap();
        assert_eq!(next.is_some(), !wanted.is_empty());
        let found = store.doubtful("summit", &except, now(), 10).await.unwrap();
        assert_eq!(ids(found), wanted);
        set_status(&store, ada, Status::Pending).await;
        let stale = store.stale("summit", &except, seconds(0), 10).await.unwrap();
        assert_eq!(ids(stale), wanted);
        set_status(&store, ada, Status::Unknown).await;
    }
}

async fn leases_are_over_by_the_clock_they_were_written_with(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org"];
    let [held, over, _queued] = queue(&store, emails).await;
    let (holder, _) = claim(&store, held).await;
    claim(&store, over).await;
    set(&store, over, |state, now| {
        if let Phase::Sending { lease_until, .. } = &mut state.phase {
            *lease_until = now;
        }
    })
    .await;
    let found = store.leases_over(false, 10).await.unwrap();
    assert_eq!(ids(found), [over]);
    let all = store.leases_over(true, 10).await.unwrap();
    assert_eq!(all[1].state.holder(), Some(holder));
    assert_eq!(ids(all), [over, held]);
    assert_eq!(ids(store.leases_over(true, 1).await.unwrap()), [over]);
}

async fn open_invites_that_were_not_asked_about_are_stale(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
    let [never, long_ago, lately, _queued] = queue(&store, emails).await;
    let (before, after) = (seconds(-7200), seconds(-60));
    set_status(&store, never, Status::Pending).await;
    set(&store, long_ago, move |state, _| {
        (state.phase, state.checked_at) = (phase(Status::Sent), Some(before));
    })
    .await;
    set(&store, lately, move |state, _| {
        (state.phase, state.checked_at) = (phase(Status::AwaitingApproval), Some(after));
    })
    .await;
    let stale = |before, limit| store.stale("summit", &[], before, limit);
    assert_eq!(ids(stale(seconds(-3600), 10).await.unwrap()), [never, long_ago]);
    assert_eq!(ids(stale(seconds(0), 10).await.unwrap()), [never, long_ago, lately]);
    assert_eq!(ids(stale(seconds(0), 1).await.unwrap()), [never]);
    assert!(store.stale("tenancy", &[], seconds(0), 10).await.unwrap().is_empty());
}

async fn what_expired_by_the_clock_is_stale_until_its_provider_said_something(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org"];
    let [confirmed, unconfirmed, open] = queue(&store, emails).await;
    let asked = seconds(-60);
    let expired = Status::Expired;
    for (id, status) in [(confirmed, expired), (unconfirmed, expired), (open, Status::Pending)] {
        set(&store, id, move |state, _| {
            state.phase = phase(status);
            state.is_unconfirmed = id == unconfirmed;
            state.checked_at = Some(asked);
        })
        .await;
    }
    let here = [destination()];
    let stale = |provider, except, before| store.stale(provider, except, before, 10);
    let found = ids(stale("summit", &[], now()).await.unwrap());
    assert_eq!(BTreeSet::from_iter(found), BTreeSet::from([unconfirmed, open]));
    assert!(stale("tenancy", &[], now()).await.unwrap().is_empty());

    assert!(stale("summit", &here, now()).await.unwrap().is_empty());
    assert!(stale("summit", &[], asked).await.unwrap().is_empty());
}

async fn a_list_can_tell_about_what_is_open_under_an_id_and_needs_no_other_question(db: &Db) {
    let store = db.open().await;
    let emails = ["a", "b", "c", "d", "e", "f"].map(|name| format!("{name}@example.org"));
    let all = queue(&store, emails.each_ref().map(String::as_str)).await;
    for (id, number) in all.into_iter().zip(0..) {
        let status = if number == 5 { Status::Accepted } else { Status::Pending };
        set(&store, id, move |state, _| {
            state.phase = phase(status);
            state.provider_ref = (number > 0).then(|| format!("ref-{number}"));
            state.revoke_sent = number == 1;
            state.attempt_count = if number == 2 { 2 } else { 1 };
            state.checked_at = Some(seconds(-number));
        })
        .await;
    }
    let here = destination();
    let listable = |provider, limit| store.listable(provider, std::slice::from_ref(&here), limit);
    let told =
        [(here.clone(), "ref-4".to_owned(), all[4]), (here.clone(), "ref-3".to_owned(), all[3])];
    assert_eq!(listable("summit", 10).await.unwrap(), told);
    assert_eq!(listable("summit", 1).await.unwrap(), told[..1]);
    assert!(listable("tenancy", 10).await.unwrap().is_empty());
    assert!(store.listable("summit", &[], 10).await.unwrap().is_empty());
    let elsewhere = [Destination { scope: "event-457".into(), ..destination() }];
    assert!(store.listable("summit", &elsewhere, 10).await.unwrap().is_empty());
}

async fn invites_are_counted_per_provider_and_status_until_they_are_final(db: &Db) {
    let store = db.open().await;
    let mut wanted = BTreeMap::new();
    for status in Status::ALL.iter().copied() {
        let email = format!("{}@example.org", status.as_str().replace('_', "-"));
        let [id] = queue(&store, [&email]).await;
        set_status(&store, id, status).await;
        if !status.is_final() {
            wanted.insert(status, 1);
        }
    }
    let counts = store.provider_counts().await.unwrap();
    assert_eq!(counts, [("summit".to_owned(), wanted)].into());
}

async fn held_provider_ids_are_found_at_their_destination(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    set(&store, ada, |state, _| state.provider_ref = Some("ref-1".into())).await;
    let refs: Vec<String> = ["ref-1", "ref-2", "ref-1"].map(str::to_owned).into();
    let held = store.find_held(&destination(), &refs).await.unwrap();
    assert_eq!(held, [("ref-1".to_owned(), ada)].into());
    let mut elsewhere = destination();
    elsewhere.scope = "event-457".into();
    assert!(store.find_held(&elsewhere, &refs).await.unwrap().is_empty());
    assert!(store.find_held(&destination(), &[]).await.unwrap().is_empty());
}
