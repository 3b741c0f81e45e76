//! Retention: what is removed when, and what never is.

use std::time::Duration;

use invite_core::{AttemptOutcome, InviteId, Status};
use invite_store::{Change, Cursor, Decision, Quotas, Stage, Store};
use jiff::Timestamp;

use crate::fixture::{
    Db, accept, attempts, batch, claim, end, item, now, on_both, queue, seconds, set, set_status,
    status,
};
use crate::states::phase;

on_both!(
    what_has_ended_goes_in_stages,
    what_has_not_ended_stays_whatever_its_age,
    an_open_invite_has_lapsed_when_its_time_is_over,
    a_batch_goes_as_a_whole_and_its_invites_stay_counted,
    steps_come_to_every_invite_once,
    a_batch_without_invites_of_its_own_goes_by_its_age,
    the_time_runs_from_when_it_ended_and_not_from_the_last_look,
);

/// Far enough ahead that everything that has ended is over.
fn later() -> Timestamp {
    seconds(60)
}

/// All steps of a stage; of how many invites something was removed.
async fn remove(store: &Store, stage: Stage, before: Timestamp) -> u64 {
    let (mut removed, mut place): (u64, Option<Cursor>) = (0, None);
    loop {
        let step = store.remove_old(stage, before, place).await.unwrap();
        removed += step.removed;
        place = step.next;
        if place.is_none() {
            return removed;
        }
    }
}

async fn all(store: &Store, before: Timestamp) -> [u64; 3] {
    [
        remove(store, Stage::Bodies, before).await,
        remove(store, Stage::Person, before).await,
        remove(store, Stage::Row, before).await,
    ]
}

async fn sent(store: &Store, id: InviteId, to: Status) {
    let (holder, _) = claim(store, id).await;
    let mut change = Change::of(vec![id], move |_, _, state, _| {
        state.phase = phase(to);
        Decision::Write
    });
    change.end = Some(end(holder, AttemptOutcome::Succeeded));
    store.change(change).await.unwrap();
}

async fn what_has_ended_goes_in_stages(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    sent(&store, id, Status::Accepted).await;
    assert_eq!(all(&store, seconds(-60)).await, [0, 0, 0], "its time is not over");
    let before = store.invite(id).await.unwrap().unwrap();

    assert_eq!(remove(&store, Stage::Bodies, later()).await, 1);
    let kept = attempts(&store, id).await;
    assert!(kept[0].call.is_none() && kept[0].reply.is_none() && kept[0].target.is_none());
    assert!(store.invite(id).await.unwrap().unwrap() == before);
    assert_eq!(remove(&store, Stage::Bodies, later()).await, 0);

    assert_eq!(remove(&store, Stage::Row, later()).await, 0, "the person comes first");
    assert_eq!(remove(&store, Stage::Person, later()).await, 1);
    let without = store.invite(id).await.unwrap().unwrap();
    assert!(without.is_erased && without.labels.is_empty());
    assert_eq!(without.state.status(), Status::Accepted);
    assert_eq!(remove(&store, Stage::Person, later()).await, 0);

    assert_eq!(remove(&store, Stage::Row, later()).await, 1);
    assert!(store.invite(id).await.unwrap().is_none());
    assert!(store.batch(before.batch_id).await.unwrap().is_none());
    assert!(!db.texts().await.contains("att_"), "its attempts went with it");
}

async fn what_has_not_ended_stays_whatever_its_age(db: &Db) {
    let store = db.open().await;
    let emails = [
        "a@example.org",
        "b@example.org",
        "c@example.org",
        "d@example.org",
        "e@example.org",
        "f@example.org",
        "g@example.org",
    ];
    let [queued, sending, unknown, waiting, pending, sent_, damaged] = queue(&store, emails).await;
    sent(&store, unknown, Status::Unknown).await;
    sent(&store, sending, Status::Sending).await;
    for (id, to) in [
        (waiting, Status::AwaitingApproval),
        (pending, Status::Pending),
        (sent_, Status::Sent),
        (damaged, Status::Accepted),
    ] {
        set_status(&store, id, to).await;
    }
    db.execute("UPDATE invites SET labels = 'no JSON' WHERE status = 'accepted'").await;
    assert!(store.invite(damaged).await.is_err());
    assert_eq!(all(&store, later()).await, [0, 0, 0]);
    assert!(store.lapsed(later(), 10).await.unwrap().is_empty());
    for id in [queued, sending, unknown, waiting, pending, sent_] {
        let invite = store.invite(id).await.unwrap().unwrap();
        assert!(!invite.is_erased && invite.address.is_some());
    }
    assert!(store.creates(unknown).await.unwrap()[0].call.is_some());
}

async fn an_open_invite_has_lapsed_when_its_time_is_over(db: &Db) {
    let store = db.open().await;
    let [over, open] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    for (id, at) in [(over, seconds(-3600)), (open, seconds(3600))] {
        set(&store, id, move |state, _| {
            state.phase = phase(Status::Pending);
            state.expires_at = Some(at);
        })
        .await;
    }
    let lapsed = store.lapsed(seconds(-60), 10).await.unwrap();
    assert_eq!(lapsed.iter().map(|invite| invite.id).collect::<Vec<_>>(), [over]);
    assert!(store.lapsed(seconds(-7200), 10).await.unwrap().is_empty());
    set_status(&store, over, Status::Expired).await;
    assert!(store.lapsed(seconds(-60), 10).await.unwrap().is_empty());
    // Its time runs from when it lapsed, not from when that was written down.
    assert_eq!(remove(&store, Stage::Person, seconds(-60)).await, 1);
    assert!(!store.invite(open).await.unwrap().unwrap().is_erased);
}

async fn a_batch_goes_as_a_whole_and_its_invites_stay_counted(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    set_status(&store, ada, Status::Accepted).await;
    assert_eq!(all(&store, later()).await, [1, 1, 0], "bob's is live");
    let id = store.invite(ada).await.unwrap().unwrap().batch_id;
    let counts = store.batch_counts(id).await.unwrap().by_status;
    assert_eq!(counts[&Status::Accepted], 1);
    set_status(&store, bob, Status::Declined).await;
    assert_eq!(all(&store, later()).await, [1, 1, 2]);
    let removed = store.removed_counts().await.unwrap();
    let of = |status| removed[&("summit".to_owned(), status)];
    assert_eq!((of(Status::Accepted), of(Status::Declined)), (1, 1));
}

async fn steps_come_to_every_invite_once(db: &Db) {
    let store = db.open().await;
    let items: Vec<_> =
        (0..130).map(|index| item(index, &format!("p{index}@example.org"))).collect();
    let ids: Vec<InviteId> = items.iter().map(|item| item.id).collect();
    accept(&store, batch(items)).await;
    let change = Change::of(ids, |_, _, state, _| {
        state.phase = phase(Status::Accepted);
        Decision::Write
    });
    store.change(change).await.unwrap();
    let first = store.remove_old(Stage::Bodies, later(), None).await.unwrap();
    assert_eq!((first.removed, first.next.is_some()), (50, true));
    // Half of them are a stage behind the others.
    assert_eq!(all(&store, later()).await, [80, 130, 130]);
    assert!(!db.texts().await.contains("example.org"));
}

async fn a_batch_without_invites_of_its_own_goes_by_its_age(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let kept = store.invite(ada).await.unwrap().unwrap().batch_id;
    let mut empty = Vec::new();
    for _ in 0..60 {
        // Its invite is answered with the one that there is.
        empty.push(accept_duplicate(&store).await);
    }
    let remove = async |before| {
        let mut after = Some(String::new());
        while let Some(from) = after {
            after = store.remove_empty_batches(before, from).await.unwrap();
        }
    };
    remove(seconds(-3600)).await;
    assert!(store.batch(empty[0]).await.unwrap().is_some());
    remove(later()).await;
    for id in empty {
        assert!(store.batch(id).await.unwrap().is_none());
    }
    assert!(store.batch(kept).await.unwrap().is_some());
}

async fn accept_duplicate(store: &Store) -> invite_core::BatchId {
    let request = batch(vec![item(0, "ada@example.org")]);
    let id = request.id;
    let accepted = store.accept(request, 0, Quotas::new()).await.unwrap();
    assert!(accepted.is_ok());
    id
}

async fn the_time_runs_from_when_it_ended_and_not_from_the_last_look(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, id, Status::Accepted).await;
    let ended = store.invite(id).await.unwrap().unwrap().state.updated_at;
    tokio::time::sleep(Duration::from_millis(5)).await;
    set(&store, id, |state, _| state.checked_at = Some(now())).await;
    assert_eq!(remove(&store, Stage::Person, ended).await, 1);
    assert_eq!(status(&store, id).await, Status::Accepted);
}
