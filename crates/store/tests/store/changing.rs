//! Changing: claims, records, and what refuses them.

use std::time::Duration;

use invite_core::{
    AttemptId, AttemptOutcome, Fault, InviteId, Operation, Reason, Status, StatusSource,
};
use invite_store::{Change, Changed, Decision, InviteState, OnDuplicate, Phase, Store, Unknown};
use serde_json::json;

use crate::fixture::{
    Db, accept, attempt, attempts, batch, claim, end, item, now, on_both, queue, seconds, set,
    set_status, status,
};
use crate::states::{phase, reason};

on_both!(
    every_member_of_the_state_reads_back,
    a_claim_writes_invites_and_attempt_together,
    a_claim_of_an_invite_that_is_no_longer_queued_writes_nothing,
    what_is_kept_is_not_written,
    ids_that_do_not_exist_are_left_out,
    a_fingerprint_is_taken_once,
    a_claim_needs_the_lanes_present_epoch,
    a_provider_id_is_held_by_one_invite,
    two_invites_of_one_change_cannot_take_the_same_provider_id,
    at_most_one_invite_per_person_and_destination_is_in_doubt,
    racing_stores_claim_an_invite_once,
    racing_stores_bring_one_invite_of_a_person_into_doubt,
    a_late_reply_is_kept_on_its_attempt,
    an_attempt_may_begin_and_end_in_one_change,
    a_reply_that_no_database_can_hold_is_stored_readably,
    many_invites_change_at_once,
);

async fn every_member_of_the_state_reads_back(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    let (holder, next_attempt_at) = (AttemptId::generate(), Some(seconds(1)));
    let unknown = Unknown {
        holder,
        ended_at: seconds(-4),
        absent_since: Some(seconds(-5)),
        lookups: 6,
        next_attempt_at,
    };
    for phase in [
        Phase::Queued { next_attempt_at },
        Phase::Sending { holder, lease_until: seconds(2), next_attempt_at },
        Phase::Unknown(unknown),
        Phase::Settled(Status::Sent),
    ] {
        let wanted = InviteState {
            phase,
            source: StatusSource::Provider,
            provider_ref: Some("ref-1".into()),
            provider_status: Some("MAILED".into()),
            provider_data: json!({ "session_id": "s" }).as_object().unwrap().clone(),
            second_effects: vec!["ref-2".into(), "ref-3".into()],
            shown_fingerprint: Some("sha256:1".into()),
            expires_at: Some(seconds(60)),
            checked_at: Some(seconds(-1)),
            sent_at: Some(seconds(-2)),
            attempt_count: 3,
            group_id: Some("g".into()),
            error: Some(Reason {
                errors: vec![Fault::new("/phone", "invalid", "no")],
                ..reason("x")
            }),
            duplicate_effect: true,
            revoke_sent: true,
            queued_at: seconds(-3),
            found_absent: 7,
            is_unconfirmed: true,
            updated_at: now(),
        };
        let written = wanted.clone();
        let changed = set(&store, id, move |state, _| *state = written.clone()).await;
        let Changed::Written(invites) = changed else { panic!("{changed:?}") };
        let stored = store.invite(id).await.unwrap().unwrap();
        assert_eq!(invites, std::slice::from_ref(&stored));
        assert_eq!(stored.state, InviteState { updated_at: stored.state.updated_at, ..wanted });
        assert!(stored.state.updated_at >= stored.created_at);
    }

    // And back to nothing.
    set(&store, id, |state, now| *state = InviteState::queued(now)).await;
    let state = store.invite(id).await.unwrap().unwrap().state;
    assert_eq!(state, InviteState::queued(state.updated_at));
}

async fn a_claim_writes_invites_and_attempt_together(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let begin = attempt(Some("sha256:1"));
    let mut change = Change::of(vec![bob, ada], |place, _, state, _| {
        state.phase = phase(Status::Sending);
        state.attempt_count = 10 + u32::try_from(place).unwrap();
        Decision::Write
    });
    change.begin = Some(begin.clone());
    let changed = store.change(change).await.unwrap();
    let Changed::Written(invites) = changed else { panic!("{changed:?}") };
    let counts = invites.iter().map(|invite| (invite.id, invite.state.attempt_count));
    assert_eq!(counts.collect::<Vec<_>>(), [(bob, 10), (ada, 11)]);

    let [view] = &attempts(&store, ada).await[..] else { panic!() };
    assert_eq!((view.id, view.position, view.operation.as_str()), (begin.id, 1, "create"));
    assert_eq!(view.call, begin.call);
    assert_eq!((&view.traceparent, view.config_revision), (&begin.traceparent, 7));
    assert_eq!((view.finished_at, &view.outcome), (None, &None));
    assert_eq!(attempts(&store, bob).await[0].position, 0);
    assert_eq!(store.attempt_invites(begin.id).await.unwrap(), invites);
    assert!(store.attempt_invites(AttemptId::generate()).await.unwrap().is_empty());

    let mut record = Change::of(vec![bob, ada], |_, invite, state, _| {
        assert_eq!(invite.state.status(), Status::Sending);
        state.phase = phase(Status::Pending);
        Decision::Write
    });
    record.end = Some(end(begin.id, AttemptOutcome::Succeeded));
    assert!(matches!(store.change(record).await.unwrap(), Changed::Written(_)));
    let [view] = &attempts(&store, ada).await[..] else { panic!() };
    assert_eq!((view.outcome, view.http_status), (Some(AttemptOutcome::Succeeded), Some(201)));
    assert_eq!(view.reply.as_deref(), Some("{}"));
    assert!(view.finished_at.is_some() && view.target.is_some() && view.request.is_none());
    assert_eq!(view.call, begin.call);
    assert_eq!(status(&store, ada).await, Status::Pending);
}

async fn a_claim_of_an_invite_that_is_no_longer_queued_writes_nothing(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    set_status(&store, bob, Status::Revoked).await;
    let before = store.invites_by_id(&[ada, bob]).await.unwrap().invites;
    let mut change = Change::of(vec![ada, bob], |_, invite, state, _| {
        if invite.state.status() != Status::Queued {
            return Decision::Abort;
        }
        state.phase = phase(Status::Sending);
        Decision::Write
    });
    change.begin = Some(attempt(None));
    assert_eq!(store.change(change).await.unwrap(), Changed::Aborted);
    assert_eq!(store.invites_by_id(&[ada, bob]).await.unwrap().invites, before);
    assert!(attempts(&store, ada).await.is_empty());
}

async fn what_is_kept_is_not_written(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let before = store.invite(ada).await.unwrap().unwrap();
    let change = Change::of(vec![ada], |_, _, state, _| {
        state.phase = phase(Status::Failed);
        Decision::Keep
    });
    assert_eq!(store.change(change).await.unwrap(), Changed::Written(vec![before.clone()]));
    assert_eq!(store.invite(ada).await.unwrap(), Some(before));
}

async fn ids_that_do_not_exist_are_left_out(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let mut change = Change::of(vec![InviteId::generate(), ada], |place, _, state, _| {
        assert_eq!(place, 1);
        state.phase = phase(Status::Sending);
        Decision::Write
    });
    change.begin = Some(attempt(None));
    let changed = store.change(change).await.unwrap();
    let Changed::Written(invites) = changed else { panic!("{changed:?}") };
    assert_eq!(invites.iter().map(|invite| invite.id).collect::<Vec<_>>(), [ada]);
    assert_eq!(attempts(&store, ada).await[0].position, 1);
}

async fn a_fingerprint_is_taken_once(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let claim = |id, fingerprint| {
        let mut change = Change::of(vec![id], |_, _, state, _| {
            state.phase = phase(Status::Sending);
            Decision::Write
        });
        change.begin = Some(attempt(Some(fingerprint)));
        change
    };
    assert!(matches!(store.change(claim(ada, "sha256:1")).await.unwrap(), Changed::Written(_)));
    assert_eq!(store.change(claim(bob, "sha256:1")).await.unwrap(), Changed::FingerprintTaken);
    assert_eq!(status(&store, bob).await, Status::Queued);
    assert!(matches!(store.change(claim(bob, "sha256:2")).await.unwrap(), Changed::Written(_)));
}

async fn a_claim_needs_the_lanes_present_epoch(db: &Db) {
    let store = db.open().await;
    let minute = Duration::from_secs(60);
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let epoch = store.acquire_lane("summit", "a", minute, 0, false).await.unwrap().unwrap();
    let claim = |epoch| {
        let mut change = Change::of(vec![ada], |_, _, _, _| Decision::Write);
        change.lane = Some(("summit".into(), epoch));
        change
    };
    assert!(matches!(store.change(claim(epoch)).await.unwrap(), Changed::Written(_)));
    let taken = store.acquire_lane("summit", "b", minute, 0, true).await.unwrap().unwrap();
    assert_eq!(store.change(claim(epoch)).await.unwrap(), Changed::LaneLost);
    assert!(matches!(store.change(claim(taken)).await.unwrap(), Changed::Written(_)));
}

/// Has an invite hold a provider id.
async fn hold(store: &Store, id: InviteId, provider_ref: &'static str) -> Changed {
    set(store, id, move |state, _| state.provider_ref = Some(provider_ref.into())).await
}

async fn a_provider_id_is_held_by_one_invite(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    assert!(matches!(hold(&store, ada, "ref-1").await, Changed::Written(_)));
    assert!(matches!(hold(&store, ada, "ref-1").await, Changed::Written(_)));
    assert_eq!(hold(&store, bob, "ref-1").await, Changed::ProviderRefTaken { invite: bob });
    assert_eq!(store.invite(bob).await.unwrap().unwrap().state.provider_ref, None);
    assert!(matches!(hold(&store, bob, "ref-2").await, Changed::Written(_)));
}

async fn two_invites_of_one_change_cannot_take_the_same_provider_id(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let change = Change::of(vec![ada, bob], |_, _, state, _| {
        state.provider_ref = Some("ref-1".into());
        Decision::Write
    });
    assert_eq!(store.change(change).await.unwrap(), Changed::ProviderRefTaken { invite: bob });
    assert_eq!(store.invite(ada).await.unwrap().unwrap().state.provider_ref, None);
}

/// Two queued invites to ada at one destination, of two tenants.
async fn two_to_ada(store: &Store) -> [InviteId; 2] {
    let [first] = queue(store, ["ada@example.org"]).await;
    let mut second = batch(vec![item(0, "ada@example.org")]);
    second.tenant = "other".into();
    let id = second.items[0].id;
    accept(store, second).await;
    [first, id]
}

async fn at_most_one_invite_per_person_and_destination_is_in_doubt(db: &Db) {
    let store = db.open().await;
    let [first, second] = two_to_ada(&store).await;
    for in_doubt in [Status::Sending, Status::Unknown] {
        set_status(&store, first, in_doubt).await;
        let crowded = Changed::PersonTaken { invite: second };
        assert_eq!(claim(&store, second).await.1, crowded, "{in_doubt}");
        assert_eq!(status(&store, second).await, Status::Queued);
    }
    set_status(&store, first, Status::Pending).await;
    assert!(matches!(claim(&store, second).await.1, Changed::Written(_)));

    let mut pair = batch(vec![item(0, "bob@example.org"), item(1, "bob@example.org")]);
    pair.on_duplicate = OnDuplicate::Send;
    let ids = vec![pair.items[0].id, pair.items[1].id];
    accept(&store, pair).await;
    let both = Change::of(ids.clone(), |_, _, state, _| {
        state.phase = phase(Status::Sending);
        Decision::Write
    });
    let crowded = Changed::PersonTaken { invite: ids[1] };
    assert_eq!(store.change(both).await.unwrap(), crowded);
    assert_eq!(status(&store, ids[0]).await, Status::Queued);
}

async fn racing_stores_claim_an_invite_once(db: &Db) {
    let stores = [db.open().await, db.open().await];
    for round in 0..20 {
        let [id] = queue(&stores[0], [&format!("person-{round}@example.org")]).await;
        let (a, b) = tokio::join!(claim(&stores[0], id), claim(&stores[1], id));
        let claimed = |claim: &(AttemptId, Changed)| matches!(claim.1, Changed::Written(_));
        assert!(claimed(&a) != claimed(&b), "{a:?} {b:?}");
        let holder = if claimed(&a) { a.0 } else { b.0 };
        let invite = stores[0].invite(id).await.unwrap().unwrap();
        assert_eq!(invite.state.holder(), Some(holder));
        assert_eq!(attempts(&stores[0], id).await.len(), 1);
    }
}

async fn racing_stores_bring_one_invite_of_a_person_into_doubt(db: &Db) {
    let stores = [db.open().await, db.open().await];
    for _ in 0..20 {
        let [first, second] = two_to_ada(&stores[0]).await;
        let (a, b) = tokio::join!(claim(&stores[0], first), claim(&stores[1], second));
        let claimed = |claim: &(AttemptId, Changed)| matches!(claim.1, Changed::Written(_));
        assert!(claimed(&a) != claimed(&b), "{a:?} {b:?}");
        for id in [first, second] {
            set_status(&stores[0], id, Status::Failed).await;
        }
    }
}

async fn a_late_reply_is_kept_on_its_attempt(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let (id, _) = claim(&store, ada).await;
    let mut gone = Change::of(vec![ada], |_, _, _, _| Decision::Keep);
    let mut outcome = end(id, AttemptOutcome::Unknown);
    (outcome.reply, outcome.http_status) = (None, None);
    gone.end = Some(outcome);
    store.change(gone).await.unwrap();

    let mut late = Change::of(Vec::new(), |_, _, _, _| Decision::Keep);
    let mut outcome = end(id, AttemptOutcome::Succeeded);
    outcome.target = None;
    late.end = Some(outcome);
    assert_eq!(store.change(late).await.unwrap(), Changed::Written(Vec::new()));
    let [view] = &attempts(&store, ada).await[..] else { panic!() };
    assert_eq!(view.outcome, Some(AttemptOutcome::Succeeded));
    assert_eq!(view.reply.as_deref(), Some("{}"));
    assert!(view.target.is_some());
}

async fn an_attempt_may_begin_and_end_in_one_change(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let mut begin = attempt(None);
    (begin.operation, begin.call) = (Operation::Get, None);
    let mut change = Change::of(vec![ada], |_, _, _, _| Decision::Keep);
    change.end = Some(end(begin.id, AttemptOutcome::Succeeded));
    change.begin = Some(begin);
    store.change(change).await.unwrap();
    let [view] = &attempts(&store, ada).await[..] else { panic!() };
    assert_eq!((view.operation, view.outcome), (Operation::Get, Some(AttemptOutcome::Succeeded)));
    assert_eq!(view.call, None);
}

async fn a_reply_that_no_database_can_hold_is_stored_readably(db: &Db) {
    let store = db.open().await;
    let [ada] = queue(&store, ["ada@example.org"]).await;
    let begin = attempt(None);
    let mut change = Change::of(vec![ada], |_, _, state, _| {
        state.provider_status = Some("a\0b".into());
        Decision::Write
    });
    let mut outcome = end(begin.id, AttemptOutcome::Succeeded);
    outcome.reply = Some("nul \0 and \u{1F600}".into());
    change.end = Some(outcome);
    change.begin = Some(begin.clone());
    store.change(change).await.unwrap();
    let [view] = &attempts(&store, ada).await[..] else { panic!() };
    assert_eq!(view.reply.as_deref(), Some("nul \u{FFFD} and \u{1F600}"));
    assert_eq!(view.call, begin.call, "frozen bytes stay as they are");
}

async fn many_invites_change_at_once(db: &Db) {
    let store = db.open().await;
    let items: Vec<_> = (0..1500).map(|n| item(n, &format!("person-{n}@example.org"))).collect();
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    accept(&store, batch(items)).await;
    let mut change = Change::of(ids.clone(), |place, _, state, _| {
        state.phase = phase(Status::Pending);
        state.provider_ref = Some(format!("ref-{place}"));
        Decision::Write
    });
    change.begin = Some(attempt(None));
    assert!(matches!(store.change(change).await.unwrap(), Changed::Written(_)));
    let stored = store.invites_by_id(&ids).await.unwrap().invites;
    assert_eq!(stored.len(), 1500);
    for (place, invite) in stored.iter().enumerate() {
        assert_eq!(invite.id, ids[place]);
        assert_eq!(invite.state.provider_ref, Some(format!("ref-{place}")));
    }
    assert_eq!(attempts(&store, ids[1499]).await[0].position, 1499);
}
