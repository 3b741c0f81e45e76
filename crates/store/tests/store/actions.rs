//! Actions on many invites: that each step counts once, whoever makes it, and that they end once.

use invite_core::{ActionId, ActionKind, ActionState, KeyId, Status};
use invite_store::{Action, ActionFilter, Progress, Store};

use crate::fixture::{Db, api, now, on_both, seconds};

on_both!(
    an_action_reads_back_and_a_tenant_has_only_so_many_that_run,
    a_step_counts_once_and_only_while_its_action_runs,
    what_was_done_by_a_cancelled_action_counts_all_the_same,
    an_action_ends_once_and_the_record_says_so,
    an_action_that_has_ended_keeps_no_values_of_labels_and_goes_with_its_age,
);

fn action(tenant: &str) -> Action {
    let key = KeyId::generate();
    Action {
        id: ActionId::generate(),
        tenant: tenant.into(),
        key,
        actor: format!("{key} (HR)"),
        kind: ActionKind::Settle,
        settled_as: Some(Status::Failed),
        filter: ActionFilter {
            tenant: Some(tenant.into()),
            statuses: vec![Status::Unknown],
            labels: vec![("team".into(), "secret".into())],
            created_after: Some(seconds(-60)),
            ..ActionFilter::default()
        },
        state: ActionState::Running,
        cancelled_because: None,
        matched: 3,
        progress: Progress::new(),
        created_at: now(),
        ended_at: None,
    }
}

async fn read(store: &Store, of: &Action) -> Action {
    store.action(of.id).await.unwrap().unwrap()
}

fn step(before: &Action, succeeded: u64) -> Progress {
    let place = format!("{}-", before.progress.place);
    let failed = [("not-settled".to_owned(), 1)].into();
    let held_up_by = Some("lane-paused".into());
    Progress { succeeded: before.progress.succeeded + succeeded, failed, held_up_by, place }
}

async fn an_action_reads_back_and_a_tenant_has_only_so_many_that_run(db: &Db) {
    let store = db.open().await;
    let [one, other, third] = [action("hr"), action("hr"), action("it")];
    for (action, is_added) in [(&one, true), (&other, false), (&third, true)] {
        assert_eq!(store.add_action(action, 1).await.unwrap(), is_added);
    }
    assert_eq!(read(&store, &one).await, one);
    assert_eq!(store.action(other.id).await.unwrap(), None);
    assert_eq!(store.running_actions(None).await.unwrap(), (vec![one.id, third.id], false));
    assert_eq!(store.running_actions(Some(one.id)).await.unwrap(), (vec![third.id], false));
    store.cancel_action(one.id, "enough", &api()).await.unwrap();
    assert!(store.add_action(&other, 1).await.unwrap());
}

async fn a_step_counts_once_and_only_while_its_action_runs(db: &Db) {
    let store = db.open().await;
    let first = action("hr");
    store.add_action(&first, 1).await.unwrap();
    store.advance_action(&first, step(&first, 2), false).await.unwrap();
    // Another replica, which had read the same.
    store.advance_action(&first, step(&first, 1), true).await.unwrap();
    let second = read(&store, &first).await;
    assert_eq!((second.state, &second.progress), (ActionState::Running, &step(&first, 2)));
    let cancelled = store.cancel_action(first.id, "enough", &api()).await.unwrap().unwrap();
    assert_eq!(cancelled, read(&store, &first).await);
    assert_eq!(cancelled.progress.held_up_by, None, "it waits for nothing any more");
    assert_eq!(cancelled.cancelled_because.as_deref(), Some("enough"));
}

async fn what_was_done_by_a_cancelled_action_counts_all_the_same(db: &Db) {
    let store = db.open().await;
    let first = action("hr");
    store.add_action(&first, 1).await.unwrap();
    let cancelled = store.cancel_action(first.id, "enough", &api()).await.unwrap().unwrap();
    // Its step was under way.
    store.advance_action(&first, step(&first, 2), true).await.unwrap();
    let ended = read(&store, &first).await;
    let progress = Progress { held_up_by: None, ..step(&first, 2) };
    assert_eq!(ended, Action { progress, ..cancelled });
    // So was the same one of another replica.
    store.advance_action(&first, step(&first, 1), false).await.unwrap();
    assert_eq!(read(&store, &first).await, ended);
}

async fn an_action_ends_once_and_the_record_says_so(db: &Db) {
    let store = db.open().await;
    let first = action("hr");
    store.add_action(&first, 1).await.unwrap();
    store.advance_action(&first, step(&first, 2), true).await.unwrap();
    let ended = store.cancel_action(first.id, "too late", &api()).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.cancelled_because), (ActionState::Completed, None));
    assert_eq!(ended.progress.held_up_by, None);
    assert!(ended.ended_at.is_some());
    assert_eq!(store.running_actions(None).await.unwrap(), (vec![], false));
    assert!(store.cancel_action(ActionId::generate(), "?", &api()).await.unwrap().is_none());
    let entries = store.audit(None, 10).await.unwrap().entries;
    let recorded: Vec<_> =
        entries.iter().map(|it| (&*it.change.action, &it.change.target)).collect();
    let id = first.id.to_string();
    assert_eq!(recorded, [("action.end", &id), ("action.start", &id)]);
    assert!(entries.iter().all(|entry| entry.change.actor.name == first.actor));
    assert_eq!(entries[0].change.after.as_ref().unwrap()["succeeded"], 2);
    assert!(!format!("{entries:?}").contains("secret"), "labels may tell who somebody is");
}

async fn an_action_that_has_ended_keeps_no_values_of_labels_and_goes_with_its_age(db: &Db) {
    let store = db.open().await;
    let [completed, cancelled, running] = [action("hr"), action("hr"), action("it")];
    for action in [&completed, &cancelled, &running] {
        store.add_action(action, 2).await.unwrap();
    }
    store.advance_action(&completed, step(&completed, 2), true).await.unwrap();
    store.cancel_action(cancelled.id, "enough", &api()).await.unwrap();
    for action in [&completed, &cancelled] {
        let ended = read(&store, action).await;
        assert_eq!(ended.filter.labels, [("team".to_owned(), String::new())]);
    }
    assert_eq!(read(&store, &running).await, running);
    store.remove_actions(seconds(-60)).await.unwrap();
    assert!(store.action(completed.id).await.unwrap().is_some(), "it has just ended");
    store.remove_actions(seconds(60)).await.unwrap();
    for (action, is_there) in [(&completed, false), (&cancelled, false), (&running, true)] {
        assert_eq!(store.action(action.id).await.unwrap().is_some(), is_there);
    }
}
