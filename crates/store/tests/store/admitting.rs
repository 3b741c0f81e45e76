//! What is let into the queue: the quota of a provider when invites are accepted, and everything
//! that holds for an invite that is queued again.

use std::sync::Arc;

use futures::future::join_all;
use invite_core::{InviteId, KeyId, Status};
use invite_store::{
    Acceptance, DayLimit, Decision, InviteRecord, NewBatch, NoRoom, OnDuplicate, Placement, Quotas,
    Requeued, Store,
};

use crate::fixture::{
    Db, accept, batch, item, now, on_both, queue, seconds, set, set_status, status,
};
use crate::states::phase;

on_both!(
    a_request_beyond_the_quota_is_refused_as_a_whole,
    what_turns_out_a_duplicate_takes_no_room,
    only_live_invites_of_the_same_provider_take_room,
    a_known_key_is_answered_although_the_quota_is_used_up,
    no_more_invites_of_a_key_are_accepted_in_a_day_than_may_be,
    racing_stores_never_exceed_what_a_key_may_have_in_a_day,
    what_is_accepted_of_a_key_counts_for_all_that_it_descends_from_or_for_none,
    no_more_invites_of_a_key_are_queued_again_in_a_day_than_may_be,
    racing_stores_never_exceed_a_quota,
    live_invites_are_counted_again_only_where_what_is_known_of_them_does_not_suffice,
    invites_that_nothing_stands_in_the_way_of_are_queued_again,
    an_invite_that_is_declined_or_not_there_stays_as_it_was,
    a_person_with_a_live_invite_gets_no_second_one_by_requeueing,
    of_two_to_one_person_the_first_named_is_queued_again,
    requeueing_keeps_the_quota,
    racing_stores_never_make_two_live_invites_by_requeueing,
    live_duplicates_are_found_for_each_invite_of_any_tenant,
);

fn quota(most: u64) -> Quotas {
    [("summit".to_owned(), most)].into()
}

async fn try_accept(store: &Store, request: NewBatch, most: u64) -> Result<Acceptance, NoRoom> {
    store.accept(request, 0, quota(most)).await.unwrap()
}

fn people(names: &[&str]) -> NewBatch {
    let item = |(n, name): (usize, &&str)| item(n, &format!("{name}@example.org"));
    batch(names.iter().enumerate().map(item).collect())
}

fn exceeded(room: u64) -> Result<Acceptance, NoRoom> {
    Err(NoRoom::Quota { provider: "summit".into(), room })
}

async fn a_request_beyond_the_quota_is_refused_as_a_whole(db: &Db) {
    let store = db.open().await;
    queue(&store, ["ada@example.org"]).await;
    let request = people(&["bob", "eve", "joe"]);
    assert_eq!(try_accept(&store, request.clone(), 3).await, exceeded(2));
    assert_eq!(store.batch(request.id).await.unwrap(), None);
    assert!(store.invite(request.items[0].id).await.unwrap().is_none());
    assert_eq!(try_accept(&store, request.clone(), 1).await, exceeded(0));
    assert!(matches!(try_accept(&store, request, 4).await, Ok(Acceptance::Accepted(_))));
}

async fn what_turns_out_a_duplicate_takes_no_room(db: &Db) {
    let store = db.open().await;
    queue(&store, ["ada@example.org"]).await;
    for on_duplicate in [OnDuplicate::ReturnExisting, OnDuplicate::Reject] {
        let request = NewBatch { on_duplicate, ..people(&["ada", "ada"]) };
        let answer = try_accept(&store, request, 1).await;
        assert!(matches!(answer, Ok(Acceptance::Accepted(_))), "{answer:?}");
    }
    let sent = NewBatch { on_duplicate: OnDuplicate::Send, ..people(&["ada"]) };
    assert_eq!(try_accept(&store, sent, 1).await, exceeded(0));
}

async fn only_live_invites_of_the_same_provider_take_room(db: &Db) {
    let store = db.open().await;
    let [ended, lapsed] = queue(&store, ["a@example.org", "b@example.org"]).await;
    set_status(&store, ended, Status::Accepted).await;
    let past = seconds(-60);
    set(&store, lapsed, move |state, _| {
        (state.phase, state.expires_at) = (phase(Status::Sent), Some(past));
    })
    .await;
    let mut elsewhere = item(0, "c@example.org");
    let Placement::Bound { provider, .. } = &mut elsewhere.placement else { unreachable!() };
    *provider = "tenancy".into();
    accept(&store, batch(vec![elsewhere])).await;
    let answer = try_accept(&store, people(&["d"]), 1).await;
    assert!(matches!(answer, Ok(Acceptance::Accepted(_))), "{answer:?}");
    assert_eq!(try_accept(&store, people(&["e"]), 1).await, exceeded(0));
}

async fn a_known_key_is_answered_although_the_quota_is_used_up(db: &Db) {
    let store = db.open().await;
    let key = invite_store::IdempotencyKey {
        key: "k-1".into(),
        body_hash: "a".into(),
        retention: std::time::Duration::from_secs(3600),
    };
    let request = NewBatch { idempotency: Some(key), ..people(&["ada"]) };
    assert!(matches!(try_accept(&store, request.clone(), 1).await, Ok(Acceptance::Accepted(_))));
    let again = NewBatch { id: people(&[]).id, ..request.clone() };
    assert_eq!(try_accept(&store, again, 1).await, Ok(Acceptance::Replayed(request.id)));
}

async fn racing_stores_never_exceed_a_quota(db: &Db) {
    let stores = [db.open().await, db.open().await];
    let asked = stores.iter().cycle().take(40).enumerate().map(|(n, store)| {
        let request = people(&[&format!("person-{n}")]);
        let store = store.clone();
        tokio::spawn(async move { try_accept(&store, request, 7).await })
    });
    let answers = join_all(asked.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap);
    let accepted = answers.filter(|a| matches!(a, Ok(Acceptance::Accepted(_)))).count();
    assert_eq!(accepted, 7);
}

async fn live_invites_are_counted_again_only_where_what_is_known_of_them_does_not_suffice(db: &Db) {
    let store = db.open().await;
    let at_most = async || db.number("SELECT live FROM live_at_most").await;
    let request = people(&["a"]);
    let first = request.items[0].id;
    try_accept(&store, request, 4).await.unwrap();
    set_status(&store, first, Status::Accepted).await;
    // One of these is not live any more, which only a count tells.
    try_accept(&store, people(&["b", "c"]), 4).await.unwrap();
    assert_eq!(at_most().await, 3);
    db.execute("UPDATE live_at_most SET counted_at = 0").await;
    try_accept(&store, people(&["d"]), 4).await.unwrap();
    assert_eq!(at_most().await, 3, "counted, as it was long ago");
    try_accept(&store, people(&["e"]), 4).await.unwrap();
    assert_eq!(at_most().await, 4);
    assert_eq!(try_accept(&store, people(&["f"]), 4).await, exceeded(0));
    let [failed] = queue(&store, ["g@example.org"]).await;
    set_status(&store, failed, Status::Failed).await;
    db.execute("UPDATE invites SET status = 'accepted' WHERE status = 'queued'").await;
    let requeued = requeue(&store, &[failed], quota(4)).await;
    assert!(matches!(requeued[0], Requeued::Written(_)), "{requeued:?}");
    assert_eq!(at_most().await, 1, "counted, as there was no room");
    db.execute("UPDATE live_at_most SET config_revision = -1").await;
    queue(&store, ["h@example.org"]).await;
    try_accept(&store, people(&["i"]), 4).await.unwrap();
    assert_eq!(at_most().await, 3, "counted, as there may have been no quota");
}

/// Queues what failed again.
async fn requeue(store: &Store, ids: &[InviteId], quotas: Quotas) -> Vec<Requeued> {
    let invites = store.invites_by_id(ids).await.unwrap().invites;
    requeue_records(store, invites, quotas, Vec::new()).await
}

async fn requeue_records(
    store: &Store,
    invites: Vec<InviteRecord>,
    quotas: Quotas,
    day_limits: Vec<DayLimit>,
) -> Vec<Requeued> {
    let decide = |_, _: &_, state: &mut invite_store::InviteState, _| {
        if !matches!(state.status(), Status::Failed | Status::Unknown) {
            return Decision::Abort;
        }
        state.phase = phase(Status::Queued);
        Decision::Write
    };
    store.requeue(invites, 0, quotas, day_limits, decide).await.unwrap()
}

async fn failed<const N: usize>(store: &Store, emails: [&str; N]) -> [InviteId; N] {
    let ids = queue(store, emails).await;
    for id in ids {
        set_status(store, id, Status::Failed).await;
    }
    ids
}

async fn invites_that_nothing_stands_in_the_way_of_are_queued_again(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = failed(&store, ["ada@example.org", "bob@example.org"]).await;
    set_status(&store, bob, Status::Unknown).await;
    let requeued = requeue(&store, &[bob, ada], Quotas::new()).await;
    let now_stored = store.invites_by_id(&[bob, ada]).await.unwrap().invites;
    let wanted: Vec<_> =
        now_stored.iter().map(|invite| Requeued::Written(Box::new(invite.clone()))).collect();
    assert_eq!(requeued, wanted);
    assert!(now_stored.iter().all(|invite| invite.state.status() == Status::Queued));
    assert!(now_stored.iter().all(|invite| invite.state.updated_at <= now()));
}

async fn an_invite_that_is_declined_or_not_there_stays_as_it_was(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = failed(&store, ["ada@example.org", "bob@example.org"]).await;
    set_status(&store, ada, Status::Pending).await;
    let mut invites = store.invites_by_id(&[ada, bob]).await.unwrap().invites;
    let before = invites[0].clone();
    let mut missing = before.clone();
    Arc::make_mut(&mut missing.facts).id = InviteId::generate();
    invites.insert(0, missing);
    let requeued = requeue_records(&store, invites, Quotas::new(), Vec::new()).await;
    assert_eq!(requeued[..2], [Requeued::Declined, Requeued::Declined]);
    assert!(matches!(&requeued[2], Requeued::Written(invite) if invite.id == bob));
    assert_eq!(store.invite(ada).await.unwrap(), Some(before));
}

async fn a_person_with_a_live_invite_gets_no_second_one_by_requeueing(db: &Db) {
    let store = db.open().await;
    let [ada] = failed(&store, ["ada@example.org"]).await;
    let [live] = queue(&store, ["Ada@example.org"]).await;
    assert_eq!(requeue(&store, &[ada], Quotas::new()).await, [Requeued::Duplicate(live)]);
    assert_eq!(status(&store, ada).await, Status::Failed);
    // Another tenant's, or one that has ended, stands in nobody's way.
    set_status(&store, live, Status::Revoked).await;
    let other = NewBatch { tenant: "other".into(), ..people(&["ada"]) };
    accept(&store, other).await;
    assert!(matches!(requeue(&store, &[ada], Quotas::new()).await[..], [Requeued::Written(_)]));
}

async fn of_two_to_one_person_the_first_named_is_queued_again(db: &Db) {
    let store = db.open().await;
    let [first] = failed(&store, ["ada@example.org"]).await;
    let [second] = failed(&store, ["ada@example.org"]).await;
    let requeued = requeue(&store, &[second, first], Quotas::new()).await;
    assert!(matches!(&requeued[0], Requeued::Written(invite) if invite.id == second));
    assert_eq!(requeued[1], Requeued::Duplicate(second));
}

async fn requeueing_keeps_the_quota(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org"];
    let [a, b, c] = failed(&store, emails).await;
    let [unknown] = queue(&store, ["d@example.org"]).await;
    set_status(&store, unknown, Status::Unknown).await;
    let requeued = requeue(&store, &[a, b, unknown, c], quota(2)).await;
    assert!(matches!(requeued[0], Requeued::Written(_)));
    assert_eq!(requeued[1], Requeued::QuotaExceeded);
    assert!(matches!(requeued[2], Requeued::Written(_)), "it was live before");
    assert_eq!(requeued[3], Requeued::QuotaExceeded);
    assert_eq!(status(&store, b).await, Status::Failed);
}

async fn racing_stores_never_make_two_live_invites_by_requeueing(db: &Db) {
    let stores = [db.open().await, db.open().await];
    for round in 0..20 {
        let email = format!("person-{round}@example.org");
        let [before] = failed(&stores[0], [&email]).await;
        let request = batch(vec![item(0, &email)]);
        let again = [before];
        let (requeued, _) = tokio::join!(
            requeue(&stores[1], &again, Quotas::new()),
            stores[0].accept(request.clone(), 0, Quotas::new())
        );
        let is_queued = matches!(requeued[..], [Requeued::Written(_)]);
        let is_new = stores[0].invite(request.items[0].id).await.unwrap().is_some();
        assert!(is_queued != is_new, "{requeued:?}");
    }
}

async fn live_duplicates_are_found_for_each_invite_of_any_tenant(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = failed(&store, ["ada@example.org", "bob@example.org"]).await;
    let other = NewBatch { tenant: "other".into(), ..people(&["ada", "bob"]) };
    let theirs = other.items[1].id;
    accept(&store, other).await;
    let [live] = queue(&store, ["ada@example.org"]).await;
    let invites = store.invites_by_id(&[ada, bob, live, theirs]).await.unwrap().invites;
    let found = store.live_duplicates(&invites).await.unwrap();
    assert_eq!(found, [Some(live), None, None, None]);
}

async fn no_more_invites_of_a_key_are_accepted_in_a_day_than_may_be(db: &Db) {
    let store = db.open().await;
    let limit = DayLimit { key: KeyId::generate(), invites: 5 };
    let of_key = |names: &[&str]| NewBatch { day_limits: vec![limit], ..people(names) };
    let full = |room| Err(NoRoom::Day { room });
    let accepted = |answer| matches!(answer, Ok(Acceptance::Accepted(_)));
    assert!(accepted(try_accept(&store, of_key(&["a", "b", "c"]), 100).await));
    let request = of_key(&["d", "e", "f"]);
    assert_eq!(try_accept(&store, request.clone(), 100).await, full(2));
    assert_eq!(store.batch(request.id).await.unwrap(), None);
    // What is refused for another reason takes nothing.
    assert_eq!(try_accept(&store, of_key(&["d", "e"]), 3).await, exceeded(0));
    assert!(accepted(try_accept(&store, of_key(&["d", "e"]), 100).await));
    // It outlives the process.
    store.close().await;
    let store = db.open().await;
    assert_eq!(try_accept(&store, of_key(&["f"]), 100).await, full(0));
    let other = DayLimit { key: KeyId::generate(), ..limit };
    let request = NewBatch { day_limits: vec![other], ..people(&["f"]) };
    assert!(accepted(try_accept(&store, request, 100).await));
    db.execute("UPDATE key_days SET day = day - 1").await;
    assert!(accepted(try_accept(&store, of_key(&["g", "h", "i", "j", "k"]), 100).await));
    assert_eq!(try_accept(&store, of_key(&["l"]), 100).await, full(0));
    let many = of_key(&["l", "m", "n", "o", "p", "q"]);
    db.execute("DELETE FROM key_days").await;
    assert_eq!(try_accept(&store, many, 100).await, full(5));
}

fn a_day(invites: u64) -> DayLimit {
    DayLimit { key: KeyId::generate(), invites }
}

async fn what_is_accepted_of_a_key_counts_for_all_that_it_descends_from_or_for_none(db: &Db) {
    let store = db.open().await;
    let (above, first, second) = (a_day(5), a_day(3), a_day(9));
    let ask = async |own: DayLimit, names: &[&str]| {
        let request = NewBatch { day_limits: vec![own, above], ..people(names) };
        try_accept(&store, request, 100).await.map(|_| ())
    };
    let full = |room| Err(NoRoom::Day { room });
    assert_eq!(ask(first, &["a", "b"]).await, Ok(()));
    assert_eq!(ask(first, &["c", "d"]).await, full(1), "its own limit");
    assert_eq!(ask(second, &["c", "d", "e", "f"]).await, full(3), "the one above");
    assert_eq!(ask(second, &["c", "d"]).await, Ok(()), "what was refused took nothing");
    assert_eq!(ask(first, &["e"]).await, Ok(()));
    assert_eq!(ask(second, &["f"]).await, full(0));
    // The next day begins for all of them, also for one that was not asked for meanwhile.
    db.execute("UPDATE key_days SET day = day - 1").await;
    assert_eq!(ask(second, &["f", "g"]).await, Ok(()));
    assert_eq!(ask(first, &["h", "i", "j"]).await, Ok(()));
    assert_eq!(ask(second, &["k"]).await, full(0));
}

async fn no_more_invites_of_a_key_are_queued_again_in_a_day_than_may_be(db: &Db) {
    let store = db.open().await;
    let (own, above) = (a_day(3), a_day(2));
    let emails = ["a@example.org", "b@example.org", "c@example.org"];
    let ids = failed(&store, emails).await;
    let again = async |ids: &[InviteId]| {
        let invites = store.invites_by_id(ids).await.unwrap().invites;
        requeue_records(&store, invites, Quotas::new(), vec![own, above]).await
    };
    let [a, b, c] = ids;
    assert!(matches!(again(&[a]).await[..], [Requeued::Written(_)]));
    assert_eq!(again(&[a]).await, [Requeued::Declined], "which takes nothing");
    let requeued = again(&[b, c]).await;
    assert!(matches!(requeued[..], [Requeued::Written(_), Requeued::DayExhausted]), "{requeued:?}");
    assert_eq!(status(&store, c).await, Status::Failed);
    let request = NewBatch { day_limits: vec![own], ..people(&["d", "e"]) };
    assert_eq!(try_accept(&store, request, 100).await, Err(NoRoom::Day { room: 1 }));
}

async fn racing_stores_never_exceed_what_a_key_may_have_in_a_day(db: &Db) {
    let stores = [db.open().await, db.open().await, db.open().await];
    let limit = DayLimit { key: KeyId::generate(), invites: 10 };
    let asked = (0..30).map(|n| {
        let request = NewBatch { day_limits: vec![limit], ..people(&[format!("p{n}").as_str()]) };
        let store = &stores[n % stores.len()];
        async move { try_accept(store, request, 100).await.is_ok() }
    });
    let accepted = join_all(asked).await.into_iter().filter(|is_accepted| *is_accepted).count();
    assert_eq!(accepted, 10);
}
