//! Erasing a person: what goes, what stays, and that nothing brings them back.

use std::time::Duration;

use invite_core::{AttemptOutcome, InviteId, Operation, Outcome, RouteTaken, Status};
use invite_store::{
    Acceptance, Change, Changed, Decision, IdempotencyKey, InviteFilter, KeptCalls, Phase,
    Placement, Quotas, Requeued, Store,
};
use serde_json::json;

use crate::fixture::{
    Db, accept, attempt, attempts, batch, claim, destination, end, item, on_both, queue, set,
    set_status, status,
};
use crate::states::{phase, reason};

on_both!(
    nothing_of_an_erased_person_is_left_in_any_table,
    live_invites_and_those_that_share_an_unsettled_call_are_left_until_they_have_ended,
    a_late_reply_does_not_bring_the_person_back,
    an_erased_invite_changes_no_more_and_is_not_queued_again,
    a_provider_id_is_held_also_when_its_person_is_erased,
    the_bytes_of_a_call_are_made_once_also_when_its_person_is_erased,
    a_request_is_known_by_its_key_also_when_its_person_is_erased,
    erasing_twice_finds_nothing_more,
    a_database_can_be_cleaned_beside_other_work,
    a_row_that_cannot_be_read_is_erased_once_it_has_ended,
    more_invites_than_one_step_are_erased,
);

const CANARY: &str = "canary";

#[tokio::test]
async fn what_was_erased_is_in_no_file_of_sqlite_once_it_is_rewritten() {
    let db = Db::sqlite();
    let store = db.open().await;
    let bytes = || {
        let log = db.file().with_extension("db-wal");
        let files = [db.file(), log].map(|path| std::fs::read(path).unwrap());
        files.concat().windows(CANARY.len()).filter(|bytes| *bytes == CANARY.as_bytes()).count()
    };
    let emails: Vec<String> =
        (0..300).map(|n| format!("{}@example.org", n * 7919 % 1000)).collect();
    for (n, email) in emails.iter().enumerate() {
        let email = if n % 10 == 0 { format!("canary-{email}") } else { email.clone() };
        full_or_plain(&store, &email, n % 10 == 0).await;
    }
    assert!(bytes() > 300);
    for n in (0..300).step_by(10) {
        let address = format!("canary-{}", emails[n]).parse().unwrap();
        assert_eq!(store.erase_person(&address).await.unwrap().invites, 1);
    }
    assert!(store.clean(true).await.unwrap());
    assert_eq!(bytes(), 0);
    assert_eq!(std::fs::metadata(db.file().with_extension("db-wal")).unwrap().len(), 0);
}

async fn full_or_plain(store: &Store, email: &str, is_full: bool) {
    match is_full {
        true => _ = full(store, email, Status::Accepted).await,
        false => _ = queue(store, [email]).await,
    }
}

/// An invite that says `canary` wherever a caller, a provider or the gateway may write; it has ended.
async fn full(store: &Store, email: &str, to: Status) -> InviteId {
    let mut new = item(0, email);
    new.external_id = Some("canary-guest".into());
    new.labels = [("who".to_owned(), "canary".to_owned())].into();
    new.invitee.first_name = Some("Canary".into());
    new.invitee.phone = Some("+1555canary".into());
    new.invitee.message = Some("Dear canary".into());
    let Placement::Bound { params, call_key, route, .. } = &mut new.placement else {
        unreachable!()
    };
    *params = json!({ "name": "canary" });
    *route = Some(RouteTaken { rule: 0, name: Some("canary".into()) });
    *call_key = "canary".into();
    let id = new.id;
    let key = IdempotencyKey {
        key: format!("invite-{email}"),
        body_hash: "canary".into(),
        retention: Duration::from_secs(3600),
    };
    let mut request = batch(vec![new]);
    request.idempotency = Some(key);
    accept(store, request).await;
    let (holder, _) = claim(store, id).await;
    let mut reply = end(holder, AttemptOutcome::Succeeded);
    reply.request = Some("canary".into());
    reply.reply = Some("canary".into());
    reply.detail = Some("canary".into());
    reply.target = Some("GET https://provider.example/?email=canary".into());
    reply.provider_request_id = Some("canary".into());
    reply.unpaired = vec!["canary-id".into()];
    let mut change = Change::of(vec![id], move |_, _, state, now| {
        state.phase = phase(to);
        state.provider_ref = Some(format!("canary-{id}"));
        state.provider_status = Some("canary".into());
        state.provider_data = [("session".to_owned(), json!("canary"))].into_iter().collect();
        state.second_effects = vec!["canary-2".into()];
        state.shown_fingerprint = Some("canary".into());
        state.error = Some(reason("canary"));
        state.expires_at = Some(now);
        Decision::Write
    });
    change.end = Some(reply);
    store.change(change).await.unwrap();
    id
}

async fn nothing_of_an_erased_person_is_left_in_any_table(db: &Db) {
    let store = db.open().await;
    let email = "canary.ada@example.org";
    let id = full(&store, email, Status::Failed).await;
    let [other] = queue(&store, ["bob@example.org"]).await;
    assert!(db.texts().await.to_lowercase().matches(CANARY).count() > 15);
    let holding = store.kept_calls(&[id, other]).await.unwrap();
    assert_eq!(holding.get(&id), Some(&KeptCalls { attempts: 1, exchanges: 1 }));
    assert_eq!(holding.get(&other), None);

    let erased = store.erase_person(&email.parse().unwrap()).await.unwrap();
    assert_eq!((erased.invites, erased.attempts, erased.exchanges, erased.labels), (1, 1, 1, 1));
    let left = db.texts().await.to_lowercase();
    assert!(!left.contains(CANARY), "{left}");
    assert!(left.contains("bob@example.org"));

    let invite = store.invite(id).await.unwrap().unwrap();
    assert!(invite.is_erased && invite.address.is_none() && invite.invitee.email.is_empty());
    assert_eq!(invite.state.status(), Status::Failed);
    assert_eq!(invite.provider.as_deref(), Some("summit"));
    assert_eq!(invite.state.error.unwrap().outcome, Outcome::Unknown);
    let kept = attempts(&store, id).await;
    assert_eq!((kept.len(), kept[0].outcome), (1, Some(AttemptOutcome::Succeeded)));
    assert!(kept[0].call.is_none() && kept[0].reply.is_none() && kept[0].detail.is_none());
    assert_eq!(
        store.kept_calls(&[id]).await.unwrap()[&id],
        KeptCalls { attempts: 1, exchanges: 0 }
    );
}

/// Makes one call for these, each of which becomes what is said.
async fn call(store: &Store, invites: &[(InviteId, Status)]) {
    let begin = attempt(None);
    let holder = begin.id;
    let ids: Vec<InviteId> = invites.iter().map(|(id, _)| *id).collect();
    let after: Vec<Status> = invites.iter().map(|(_, status)| *status).collect();
    let mut change = Change::of(ids, move |place, _, state, _| {
        state.phase = phase(after[place]);
        if let Phase::Sending { holder: holds, .. } = &mut state.phase {
            *holds = holder;
        }
        state.attempt_count += 1;
        Decision::Write
    });
    change.begin = Some(begin);
    assert!(matches!(store.change(change).await.unwrap(), Changed::Written(_)));
}

async fn live_invites_and_those_that_share_an_unsettled_call_are_left_until_they_have_ended(
    db: &Db,
) {
    let store = db.open().await;
    let emails = ["ada@example.org", "bob@example.org", "cy@example.org", "dan@example.org"];
    let [ada, bob, cy, dan] = queue(&store, emails).await;
    call(&store, &[(ada, Status::Failed), (bob, Status::Unknown)]).await;
    call(&store, &[(cy, Status::Accepted), (dan, Status::Pending)]).await;
    let erase =
        async |email: &str| store.erase_person(&email.parse().unwrap()).await.unwrap().invites;
    assert_eq!(erase("ada@example.org").await, 0, "bob's call is not settled");
    assert!(store.creates(bob).await.unwrap()[0].call.is_some());
    assert_eq!(erase("bob@example.org").await, 0, "it is live");
    assert_eq!(erase("cy@example.org").await, 1, "dan's call is settled");
    assert_eq!(erase("dan@example.org").await, 0, "it is live");
    let creates = store.creates(dan).await.unwrap();
    assert_eq!((creates[0].call.is_none(), creates[0].position), (true, 1));
    set_status(&store, bob, Status::Failed).await;
    assert_eq!(erase("ada@example.org").await, 1);
    assert_eq!(erase("bob@example.org").await, 1);
    assert_eq!(status(&store, dan).await, Status::Pending);
}

async fn a_late_reply_does_not_bring_the_person_back(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["canary@example.org"]).await;
    let (holder, _) = claim(&store, id).await;
    set_status(&store, id, Status::Failed).await;
    store.erase_person(&"canary@example.org".parse().unwrap()).await.unwrap();

    let mut reply = end(holder, AttemptOutcome::Succeeded);
    (reply.request, reply.reply) = (Some(CANARY.into()), Some(CANARY.into()));
    (reply.detail, reply.target) = (Some(CANARY.into()), Some(CANARY.into()));
    let mut question = attempt(None);
    (question.operation, question.call) = (Operation::Get, None);
    let mut answer = reply.clone();
    answer.id = question.id;
    for (begin, end) in [(None, reply), (Some(question), answer)] {
        let mut change = Change::of(vec![id], |_, _, state, _| {
            state.phase = phase(Status::Accepted);
            state.provider_ref = Some(CANARY.into());
            state.provider_data = [(CANARY.to_owned(), json!(CANARY))].into_iter().collect();
            state.error = Some(reason(CANARY));
            Decision::Write
        });
        (change.begin, change.end) = (begin, Some(end));
        assert!(matches!(store.change(change).await.unwrap(), Changed::Written(_)));
    }
    let left = db.texts().await;
    assert!(!left.contains(CANARY), "{left}");
    assert_eq!(status(&store, id).await, Status::Failed);
    let kept = attempts(&store, id).await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|attempt| attempt.outcome == Some(AttemptOutcome::Succeeded)));
}

async fn an_erased_invite_changes_no_more_and_is_not_queued_again(db: &Db) {
    let store = db.open().await;
    let id = full(&store, "ada@example.org", Status::Failed).await;
    store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    set(&store, id, |state, _| state.phase = phase(Status::Queued)).await;
    assert_eq!(status(&store, id).await, Status::Failed);
    let invite = store.invite(id).await.unwrap().unwrap();
    let again = |_, _: &_, state: &mut invite_store::InviteState, _| {
        state.phase = phase(Status::Queued);
        Decision::Write
    };
    let requeued = store.requeue(vec![invite], 0, Quotas::new(), Vec::new(), again).await.unwrap();
    assert_eq!(requeued, [Requeued::Declined]);
}

async fn a_provider_id_is_held_also_when_its_person_is_erased(db: &Db) {
    let store = db.open().await;
    let id = full(&store, "ada@example.org", Status::Accepted).await;
    let held = vec![format!("canary-{id}"), "nobodys".to_owned()];
    let before = store.find_held(&destination(), &held).await.unwrap();
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [(held[0].clone(), id)]);
    store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    let after = store.find_held(&destination(), &held).await.unwrap();
    assert_eq!(after.keys().collect::<Vec<_>>(), [&held[0]]);
    let mut elsewhere = destination();
    elsewhere.scope = "event-789".into();
    assert!(store.find_held(&elsewhere, &held).await.unwrap().is_empty());

    let [bob] = queue(&store, ["bob@example.org"]).await;
    let (taken, free) = (held[0].clone(), held[1].clone());
    let changed = set(&store, bob, move |state, _| state.provider_ref = Some(taken.clone())).await;
    assert_eq!(changed, Changed::ProviderRefTaken { invite: bob });
    let changed = set(&store, bob, move |state, _| state.provider_ref = Some(free.clone())).await;
    assert!(matches!(changed, Changed::Written(_)));
}

async fn the_bytes_of_a_call_are_made_once_also_when_its_person_is_erased(db: &Db) {
    let store = db.open().await;
    let [ada, bob] = queue(&store, ["ada@example.org", "bob@example.org"]).await;
    let made = |id, fingerprint: &'static str| {
        let mut change = Change::of(vec![id], |_, _, state, _| {
            state.phase = phase(Status::Failed);
            Decision::Write
        });
        change.begin = Some(attempt(Some(fingerprint)));
        store.change(change)
    };
    assert!(matches!(made(ada, "sha256:canary").await.unwrap(), Changed::Written(_)));
    store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    assert!(!db.texts().await.contains(CANARY));
    assert_eq!(made(bob, "sha256:canary").await.unwrap(), Changed::FingerprintTaken);
    assert!(matches!(made(bob, "sha256:other").await.unwrap(), Changed::Written(_)));
}

async fn a_request_is_known_by_its_key_also_when_its_person_is_erased(db: &Db) {
    let store = db.open().await;
    let request = |body: &str| {
        let mut request = batch(vec![item(0, "canary@example.org")]);
        request.idempotency = Some(IdempotencyKey {
            key: "canary".into(),
            body_hash: body.into(),
            retention: Duration::from_secs(3600),
        });
        request
    };
    let first = request("canary");
    let (id, invite) = (first.id, first.items[0].id);
    accept(&store, first).await;
    set_status(&store, invite, Status::Accepted).await;
    store.erase_person(&"canary@example.org".parse().unwrap()).await.unwrap();
    assert!(!db.texts().await.contains(CANARY));
    let ask = async |body| {
        let asked = store.accept(request(body), 0, Quotas::new()).await;
        asked.unwrap().unwrap()
    };
    assert_eq!(ask("canary").await, Acceptance::Replayed(id));
    assert_eq!(ask("another").await, Acceptance::KeyReused);
}

async fn erasing_twice_finds_nothing_more(db: &Db) {
    let store = db.open().await;
    full(&store, "Ada@Example.org", Status::Revoked).await;
    let address = "ada@example.org".parse().unwrap();
    assert_eq!(store.erase_person(&address).await.unwrap().invites, 1);
    assert_eq!(store.erase_person(&address).await.unwrap(), Default::default());
    let filter = InviteFilter { address: Some(address), ..InviteFilter::default() };
    assert!(store.invites(&filter, None, 10).await.unwrap().invites.is_empty());
}

async fn a_database_can_be_cleaned_beside_other_work(db: &Db) {
    let store = db.open().await;
    queue(&store, ["ada@example.org"]).await;
    let work = async {
        for n in 0..50 {
            queue(&store, [&*format!("p{n}@example.org")]).await;
        }
    };
    let ((), cleaned) = tokio::join!(work, async {
        [store.clean(false).await.unwrap(), store.clean(true).await.unwrap()]
    });
    assert_eq!(cleaned, [true, true]);
}

async fn a_row_that_cannot_be_read_is_erased_once_it_has_ended(db: &Db) {
    let store = db.open().await;
    let id = full(&store, "canary@example.org", Status::Pending).await;
    db.execute("UPDATE invites SET params = 'canary, and no JSON'").await;
    let address = "canary@example.org".parse().unwrap();
    assert!(store.invite(id).await.is_err());
    assert_eq!(store.erase_person(&address).await.unwrap().invites, 0);
    store.end_unreadable(&id.to_string(), &crate::fixture::api()).await.unwrap();
    assert_eq!(store.erase_person(&address).await.unwrap().invites, 1);
    assert!(store.invite(id).await.unwrap().unwrap().is_erased);
    let left = db.texts().await.to_lowercase();
    assert!(!left.contains(CANARY), "{left}");
}

async fn more_invites_than_one_step_are_erased(db: &Db) {
    let store = db.open().await;
    let items: Vec<_> = (0..120).map(|index| item(index, "ada@example.org")).collect();
    let ids: Vec<InviteId> = items.iter().map(|item| item.id).collect();
    let mut request = batch(items);
    request.on_duplicate = invite_store::OnDuplicate::Send;
    accept(&store, request).await;
    let change = Change::of(ids, |_, _, state, _| {
        state.phase = phase(Status::Accepted);
        Decision::Write
    });
    store.change(change).await.unwrap();
    let erased = store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    assert_eq!((erased.invites, erased.labels), (120, 120));
}
