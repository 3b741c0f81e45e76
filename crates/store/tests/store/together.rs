//! Requests that come at once are stored by one set of statements, and answered as if one had come after the other.

use std::time::Duration;

use futures::future::join_all;
use invite_core::{InviteId, KeyId, Status};
use invite_store::{
    Acceptance, DayLimit, Error, IdempotencyKey, NewBatch, NoRoom, OnDuplicate, Placement, Quotas,
};
use proptest::{
    prelude::{Just, Strategy, prop, prop_oneof},
    strategy::ValueTree,
    test_runner::TestRunner,
};

use crate::{
    fixture::{Db, added, batch, draft, item, on_both},
    states::reason,
};

on_both!(
    what_comes_at_once_is_answered_as_if_one_had_come_after_the_other,
    of_requests_at_once_only_the_outdated_one_is_refused,
);

const ROUNDS: usize = 60;

/// What of a request the others may clash with.
#[derive(Clone, Debug)]
struct Wish {
    /// A person, and whether the invite was refused before it was bound to a provider.
    people: Vec<(usize, bool)>,
    on_duplicate: OnDuplicate,
    /// A key and a body.
    key: Option<(usize, usize)>,
    limit: Option<usize>,
}

fn wishes() -> impl Strategy<Value = (Vec<Wish>, Option<u64>)> {
    let on_duplicate = prop_oneof![
        Just(OnDuplicate::ReturnExisting),
        Just(OnDuplicate::Reject),
        Just(OnDuplicate::Send),
    ];
    let people = prop::collection::vec((0..4_usize, prop::bool::weighted(0.1)), 0..4);
    let key = prop::option::of((0..2_usize, 0..2_usize));
    let wish = (people, on_duplicate, key, prop::option::weighted(0.3, 0..2_usize));
    let wish = wish.prop_map(|(people, on_duplicate, key, limit)| Wish {
        people,
        on_duplicate,
        key,
        limit,
    });
    (prop::collection::vec(wish, 2..8), prop::option::weighted(0.5, 0..6_u64))
}

/// The requests of a round, which has tenants, a provider and keys of its own.
fn requests(round: usize, wishes: &[Wish]) -> Vec<NewBatch> {
    let limited = [KeyId::generate(), KeyId::generate()];
    let request = |wish: &Wish| {
        let items = wish.people.iter().enumerate().map(|(index, (person, is_refused))| {
            let mut item = item(index, &format!("person-{person}@example.org"));
            match &mut item.placement {
                Placement::Bound { provider, .. } if !is_refused => {
                    *provider = format!("summit-{round}");
                }
                placement => *placement = Placement::Refused { error: reason("no route") },
            }
            item
        });
        NewBatch {
            tenant: format!("tenant-{round}"),
            on_duplicate: wish.on_duplicate,
            idempotency: wish.key.map(|(key, body)| IdempotencyKey {
                key: format!("key-{key}"),
                body_hash: format!("body-{body}"),
                retention: Duration::from_secs(3600),
            }),
            day_limits: wish
                .limit
                .map(|limit| DayLimit { key: limited[limit], invites: 4 + limit as u64 })
                .into_iter()
                .collect(),
            ..batch(items.collect())
        }
    };
    wishes.iter().map(request).collect()
}

type Told = Result<(Vec<(usize, InviteId)>, Vec<(InviteId, Status, Option<String>)>), String>;

/// What a request is answered with, but for times.
fn told(answer: Result<Result<Acceptance, NoRoom>, Error>) -> Told {
    match answer.unwrap() {
        Ok(Acceptance::Accepted(accepted)) => {
            let invites = accepted.invites.into_iter();
            let invites = invites
                .map(|it| (it.id, it.state.status(), it.state.error.map(|error| error.detail)));
            Ok((accepted.batch.duplicates, invites.collect()))
        }
        other => Err(format!("{other:?}")),
    }
}

/// What else is stored of all requests.
async fn stored(db: &Db) -> Vec<i64> {
    let mut stored = Vec::new();
    for sql in [
        "SELECT count(*) FROM batches",
        "SELECT count(*) FROM invites",
        "SELECT count(*) FROM invite_labels",
        "SELECT count(*) FROM idempotency_keys",
        "SELECT CAST(coalesce(sum(invites), 0) AS bigint) FROM key_days",
        "SELECT CAST(coalesce(sum(live), 0) AS bigint) FROM live_at_most",
    ] {
        stored.push(db.number(sql).await);
    }
    stored
}

async fn another(db: &Db) -> Db {
    if db.is_postgres() { Db::postgres().await } else { Db::sqlite() }
}

async fn what_comes_at_once_is_answered_as_if_one_had_come_after_the_other(db: &Db) {
    let other = another(db).await;
    let (at_once, after) = (db.open().await, other.open().await);
    let mut runner = TestRunner::deterministic();
    for round in 0..ROUNDS {
        let (wishes, quota) = wishes().new_tree(&mut runner).unwrap().current();
        let requests = requests(round, &wishes);
        let quotas: Quotas =
            quota.map(|quota| (format!("summit-{round}"), quota)).into_iter().collect();
        let answers =
            requests.iter().map(|request| at_once.accept(request.clone(), 0, quotas.clone()));
        let answers: Vec<Told> = join_all(answers).await.into_iter().map(told).collect();
        let mut expected = Vec::new();
        for request in requests {
            expected.push(told(after.accept(request, 0, quotas.clone()).await));
        }
        assert_eq!(answers, expected, "round {round}: {wishes:?}, quota {quota:?}");
    }
    assert_eq!(stored(db).await, stored(&other).await);
    after.close().await;
    if other.is_postgres() {
        other.remove().await;
    }
}

async fn of_requests_at_once_only_the_outdated_one_is_refused(db: &Db) {
    let store = db.open().await;
    added(store.add_revision(draft("# one"), None, &[]).await);
    let ask = |newest: i64, person: &str| {
        store.accept(batch(vec![item(0, &format!("{person}@example.org"))]), newest, Quotas::new())
    };
    let answers = join_all([ask(1, "ada"), ask(0, "grace"), ask(1, "joan")]).await;
    // A SQLite database has one process, which knows all revisions.
    let is_refused = |answer: &Result<_, Error>| matches!(answer, Err(Error::Outdated));
    let refused: Vec<bool> = answers.iter().map(is_refused).collect();
    assert_eq!(refused, [false, db.is_postgres(), false]);
    let expected = if db.is_postgres() { 2 } else { 3 };
    assert_eq!(db.number("SELECT count(*) FROM invites").await, expected);
}
