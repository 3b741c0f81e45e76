//! Actions on many invites: to which they are done, and when they end, wait or are passed over.

use invite_core::{ActionId, ActionKind, ActionState, KeyId};
use invite_delivery::{ActionRules, OperationError};
use invite_store::{Action, ActionFilter, Actor, ApiKey, KeyLimits, NewRevision, Progress};

use super::*;

const LOST: &str = "it may no longer";

/// What the API says of errors and keys. A key of the name `lost` may ask for nothing any more.
const RULES: ActionRules = ActionRules {
    name_problem: |error| match error {
        OperationError::Busy { .. } => "busy",
        OperationError::Store(invite_store::Error::Defect(_)) => "defect",
        OperationError::NotSettled { .. } => "not-settled",
        _ => "other",
    },
    why_not: |key, _| (key.name == "lost").then_some(LOST),
};

/// Stores an action for so many invites, which a key of this name asked for.
async fn ask_with(
    bench: &Bench,
    name: &str,
    kind: ActionKind,
    filter: ActionFilter,
    matched: u64,
) -> ActionId {
    let now = SystemClock.now();
    let key = ApiKey {
        id: KeyId::generate(),
        hash: KeyId::generate().to_string(),
        name: name.into(),
        scopes: Vec::new(),
        tenant: "default".into(),
        providers: None,
        limits: KeyLimits::default(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        parent: None,
    };
    let actor = Actor { name: "test".into(), source: "test".into() };
    bench.store.insert_key(&key, &actor).await.unwrap();
    let action = Action {
        id: ActionId::generate(),
        tenant: "default".into(),
        key: key.id,
        actor: "test".into(),
        kind,
        settled_as: (kind == ActionKind::Settle).then_some(Status::Failed),
        filter: ActionFilter { statuses: kind.statuses().to_vec(), ..filter },
        state: ActionState::Running,
        cancelled_because: None,
        matched,
        progress: Progress::new(),
        created_at: now,
        ended_at: None,
    };
    assert!(bench.store.add_action(&action, 10).await.unwrap());
    action.id
}

async fn ask(bench: &Bench, kind: ActionKind, matched: u64) -> ActionId {
    ask_with(bench, "test", kind, ActionFilter::default(), matched).await
}

async fn read(bench: &Bench, id: ActionId) -> Action {
    bench.store.action(id).await.unwrap().unwrap()
}

async fn ended(bench: &Bench, id: ActionId) -> Action {
    let ended = async || Some(read(bench, id).await).filter(|it| it.state != ActionState::Running);
    bench.eventually("the action to end", ended).await
}

/// A provider that has invites to these people, each of which it takes a while to withdraw, and does not.
async fn pending(names: &str) -> (Bench, BatchId) {
    let bench = start(QUICK, World::new(|_| Answer::Takes)).await;
    let batch = bench.post(names).await;
    bench.until(batch, &[Status::Pending]).await;
    bench.world.lock().refusal = Some(error(Outcome::Rejected));
    (bench, batch)
}

async fn first_withdrawal(bench: &Bench) {
    let asked = async || (bench.world.lock().withdrawals.len() == 1).then_some(());
    bench.eventually("the first withdrawal", asked).await;
}

#[tokio::test]
async fn a_cancelled_action_ends_within_its_step_and_what_it_did_counts() {
    let (bench, _) = pending("ada grace barbara").await;
    let gate = Arc::new(Notify::new());
    bench.world.lock().withdrawal_waits_for = Some(gate.clone());
    let id = ask(&bench, ActionKind::Withdraw, 3).await;
    bench.engine.start_actions(RULES);
    first_withdrawal(&bench).await;
    let actor = Actor { name: "test".into(), source: "test".into() };
    bench.store.cancel_action(id, "enough", &actor).await.unwrap();
    gate.notify_one();
    let counted = async || (read(&bench, id).await.progress.done() > 0).then_some(());
    bench.eventually("what was done to count", counted).await;
    let_pass(Duration::from_millis(200)).await;
    let action = read(&bench, id).await;
    assert_eq!((action.state, action.progress.done()), (ActionState::Cancelled, 1));
    assert_eq!(bench.world.lock().withdrawals.len(), 1);
}

#[tokio::test]
async fn an_action_ends_within_its_step_when_its_key_is_revoked_and_before_it_when_that_lost_its_rights()
 {
    let (bench, _) = pending("ada grace barbara").await;
    let lost = ask_with(&bench, "lost", ActionKind::Withdraw, ActionFilter::default(), 3).await;
    bench.engine.start_actions(RULES);
    let action = ended(&bench, lost).await;
    assert_eq!((action.cancelled_because.as_deref(), action.progress.done()), (Some(LOST), 0));
    assert_eq!(bench.world.lock().withdrawals.len(), 0);
    let gate = Arc::new(Notify::new());
    bench.world.lock().withdrawal_waits_for = Some(gate.clone());
    let id = ask(&bench, ActionKind::Withdraw, 3).await;
    first_withdrawal(&bench).await;
    let actor = Actor { name: "test".into(), source: "test".into() };
    let key = read(&bench, id).await.key;
    bench.store.revoke_key(key, &actor).await.unwrap();
    gate.notify_one();
    let action = ended(&bench, id).await;
    assert!(action.cancelled_because.unwrap().contains("revoked"));
    assert_eq!(bench.world.lock().withdrawals.len(), 1);
}

#[tokio::test]
async fn queued_invites_are_withdrawn_together() {
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let world = World::new(move |_| Answer::After(closed.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\ntimeout = \"2s\"", world).await;
    let under_way = bench.post("ada").await;
    bench.until(under_way, &[Status::Sending]).await;
    let batch = bench.post("grace barbara edith").await;
    let id = ask(&bench, ActionKind::Withdraw, 3).await;
    bench.engine.start_actions(RULES);
    let action = ended(&bench, id).await;
    assert_eq!((action.state, action.progress.succeeded), (ActionState::Completed, 3));
    let invites = bench.invites(batch).await;
    assert!(invites.iter().all(|invite| invite.state.status() == Status::Revoked));
    let at: Vec<_> = invites.iter().map(|invite| invite.state.updated_at).collect();
    assert!(at.iter().all(|time| *time == at[0]), "in one transaction: {at:?}");
    assert_eq!(bench.world.calls(), ["ada"]);
    gate.notify_one();
}

#[tokio::test]
async fn an_action_is_done_to_no_more_than_were_confirmed() {
    let (bench, _) = pending("ada grace barbara").await;
    let [two, none] = [2, 0].map(|matched| ask(&bench, ActionKind::Withdraw, matched));
    let (two, none) = (two.await, none.await);
    bench.engine.start_actions(RULES);
    let action = ended(&bench, two).await;
    assert_eq!((action.state, action.progress.done()), (ActionState::Completed, 2));
    assert_eq!(ended(&bench, none).await.progress.done(), 0);
    assert_eq!(bench.world.lock().withdrawals.len(), 2);
}

#[tokio::test]
async fn an_invite_that_came_into_doubt_after_somebody_looked_is_not_settled() {
    let (bench, invite) = asking::unknown(&[]).await;
    bench.engine.start_actions(RULES);
    let Phase::Unknown(doubt) = &invite.state.phase else { panic!("it is in doubt") };
    let later = doubt.ended_at + Duration::from_millis(1);
    for (looked_at, succeeded) in [(doubt.ended_at, 0), (later, 1)] {
        let filter = ActionFilter { in_doubt_before: Some(looked_at), ..ActionFilter::default() };
        let id = ask_with(&bench, "test", ActionKind::Settle, filter, 1).await;
        assert_eq!(ended(&bench, id).await.progress.succeeded, succeeded);
    }
    let now = bench.store.invite(invite.id).await.unwrap().unwrap();
    assert_eq!(now.state.status(), Status::Failed);
}

#[tokio::test]
async fn an_action_that_fails_at_an_invite_says_so_and_others_go_on() {
    let (bench, _) = pending("ada").await;
    let broken = ActionRules {
        name_problem: |error| match error {
            OperationError::Store(_) => "defect",
            _ => panic!("made up"),
        },
        ..RULES
    };
    let fails = ask(&bench, ActionKind::Withdraw, 1).await;
    let goes_on = ask(&bench, ActionKind::Refresh, 1).await;
    bench.engine.start_actions(broken);
    assert_eq!(ended(&bench, goes_on).await.progress.succeeded, 1);
    let action = read(&bench, fails).await;
    assert_eq!(action.state, ActionState::Running);
    assert_eq!(action.progress.held_up_by.as_deref(), Some("defect"));
}

#[tokio::test]
async fn a_replica_that_cannot_serve_the_newest_revision_leaves_actions_to_others() {
    let bench = revising::start_stored(World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let actor = Actor { name: "test".into(), source: "test".into() };
    let broken = NewRevision { document: "[[[".into(), actor, note: None, restored: None };
    bench.store.add_revision(broken, None, &[]).await.unwrap();
    let (gate, clock) = (Arc::new(gate(&bench.world)), bench.store.clock());
    let live = Live::new(configuration(&bench.world, QUICK, 1));
    let document = LiveDocument::new(bench.store.clone(), gate, live, clock.clone());
    document.catch_up().await.unwrap();
    assert!(document.unserved_revision().is_some());
    let other = Engine::start(document, clock, settings()).await.unwrap();
    let id = ask(&bench, ActionKind::Refresh, 1).await;
    other.start_actions(RULES);
    let_pass(Duration::from_millis(300)).await;
    let action = read(&bench, id).await;
    assert_eq!((action.state, action.progress.done()), (ActionState::Running, 0));
    bench.engine.start_actions(RULES);
    assert_eq!(ended(&bench, id).await.progress.succeeded, 1);
}

#[tokio::test]
async fn what_somebody_else_withdrew_meanwhile_is_not_counted_as_withdrawn_here() {
    let gate = Arc::new(Notify::new());
    let closed = gate.clone();
    let world = World::new(move |_| Answer::After(closed.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\ntimeout = \"2s\"", world).await;
    let under_way = bench.post("ada").await;
    bench.until(under_way, &[Status::Sending]).await;
    let batch = bench.post("grace barbara").await;
    let as_read = bench.invites(batch).await;
    bench.engine.revoke(as_read[0].id, false).await.unwrap();
    let done = bench.engine.revoke_all(&as_read, false).await.unwrap();
    assert_eq!((done.here, done.ended), (1, 1));
    gate.notify_one();
}
