//! What the feed tells, and that no reader misses anything.

use std::time::Duration;

use invite_core::{EventId, EventType, InviteId, Status};
use invite_store::{Event, EventFilter, RemovedUpTo, Store, Told};
use serde_json::json;

use crate::fixture::{Db, accept, batch, draft, item, on_both, queue, seconds, set, set_status};
use crate::states::{phase, reason};

on_both!(
    each_change_of_a_status_is_told_once_with_what_was_before,
    a_call_that_begins_is_told_only_if_it_is_wanted,
    what_a_filter_leaves_out_does_not_stop_a_reader,
    a_reader_beside_three_writers_misses_nothing,
    an_erased_person_is_in_no_event,
    nor_is_one_who_is_erased_in_the_transaction_of_the_event,
    a_batch_completes_once_also_where_its_events_are_looked_at_late,
    old_events_go_and_a_reader_behind_them_is_told,
    a_batch_completes_once_and_again_after_a_retry,
);

/// All events, as whoever sees everything reads them.
async fn all(store: &Store) -> Vec<Event> {
    follow(store, &EventFilter { of_gateway: true, ..EventFilter::default() }, None).await
}

async fn follow(store: &Store, filter: &EventFilter, after: Option<EventId>) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), after);
    loop {
        let page = store.events(filter, after, 7).await.unwrap().unwrap();
        assert!(after < Some(page.next) || page.is_last, "a page goes on");
        events.extend(page.events);
        after = Some(page.next);
        if page.is_last {
            assert!(events.is_sorted_by(|one, other| one.id < other.id));
            return events;
        }
    }
}

fn types(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.event_type.as_str()).collect()
}

async fn each_change_of_a_status_is_told_once_with_what_was_before(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, id, Status::Sending).await;
    set(&store, id, |state, now| {
        state.phase = phase(Status::Sent);
        (state.provider_ref, state.sent_at) = (Some("ref-1".into()), Some(now));
    })
    .await;
    set(&store, id, |state, _| state.provider_status = Some("MAILED".into())).await;
    set(&store, id, |state, _| {
        state.phase = phase(Status::Accepted);
        (state.duplicate_effect, state.error) = (true, Some(reason("twice")));
    })
    .await;
    store.add_revision(draft("x = 1"), None, &[]).await.unwrap();
    store.tell_provider_state("summit", json!({ "state": "paused" }));
    // The next write comes behind it.
    set(&store, id, |_, _| ()).await;
    let events = all(&store).await;
    let told = [
        "invite.queued",
        "invite.sent",
        "invite.updated",
        "invite.accepted",
        "invite.duplicate_effect",
        "config.revised",
        "provider.state_changed",
    ];
    assert_eq!(types(&events), told);
    let before: Vec<_> = events.iter().map(|event| event.previous).collect();
    let (sending, sent, accepted) = (Status::Sending, Status::Sent, Status::Accepted);
    let before_each = [None, Some(sending), Some(sent), Some(sent), Some(accepted), None, None];
    assert_eq!(before, before_each);
    let state = |event: &Event| match &event.told {
        Told::Invite(invite) => {
            assert_eq!((invite.id, &*event.subject), (id, &*id.to_string()));
            (invite.state.status(), invite.state.provider_ref.clone(), invite.invitee.email.clone())
        }
        other => panic!("{other:?}"),
    };
    let ada = || "ada@example.org".to_owned();
    let known = || Some("ref-1".to_owned());
    assert_eq!(state(&events[0]), (Status::Queued, None, ada()), "as it then was");
    assert_eq!(state(&events[1]), (Status::Sent, known(), ada()));
    assert_eq!(state(&events[4]), (Status::Accepted, known(), ada()));
    assert_eq!((&*events[5].subject, events[5].tenant.as_deref()), ("1", None));
    assert_eq!(events[6].told, Told::Other(json!({ "state": "paused" })));
    let own = EventFilter { tenant: Some("default".into()), ..EventFilter::default() };
    assert_eq!(
        types(&follow(&store, &own, None).await),
        &told[..5],
        "the rest is for administrators"
    );
    let end = store.end_of_feed().await.unwrap();
    assert_eq!(end, events[6].id);
    assert_eq!(follow(&store, &own, Some(end)).await, []);
}

async fn a_call_that_begins_is_told_only_if_it_is_wanted(db: &Db) {
    let store = db.open().await;
    let [one, other] = queue(&store, ["ada@example.org", "grace@example.org"]).await;
    set_status(&store, one, Status::Sending).await;
    store.tell_sending();
    set_status(&store, other, Status::Sending).await;
    set_status(&store, other, Status::Queued).await;
    let events = all(&store).await;
    let told = ["invite.queued", "invite.queued", "invite.sending", "invite.queued"];
    assert_eq!(types(&events), told);
    assert_eq!(events[3].previous, Some(Status::Sending));
}

async fn what_a_filter_leaves_out_does_not_stop_a_reader(db: &Db) {
    let store = db.open().await;
    let [first] = queue(&store, ["first@example.org"]).await;
    let items = (0..1200).map(|index| item(index, &format!("{index}@example.org"))).collect();
    accept(&store, batch(items)).await;
    let mut other = item(0, "last@example.org");
    other.labels = [("team".to_owned(), "sales".to_owned())].into();
    let last = other.id;
    accept(&store, invite_store::NewBatch { tenant: "hr".into(), ..batch(vec![other]) }).await;
    let subjects = async |filter: EventFilter| -> Vec<String> {
        follow(&store, &filter, None).await.into_iter().map(|event| event.subject).collect()
    };
    let (first, last) = (first.to_string(), last.to_string());
    let of = EventFilter::default;
    let only_last = [last.clone()];
    assert_eq!(subjects(EventFilter { tenant: Some("hr".into()), ..of() }).await, only_last);
    let labels = vec![("team".to_owned(), "sales".to_owned())];
    assert_eq!(subjects(EventFilter { labels, ..of() }).await, only_last);
    let invite = first.parse::<InviteId>().ok();
    assert_eq!(subjects(EventFilter { invite, ..of() }).await, [first]);
    let providers = vec!["summit".to_owned()];
    assert_eq!(subjects(EventFilter { providers, ..of() }).await.len(), 1202);
    let providers = vec!["other".to_owned()];
    assert_eq!(subjects(EventFilter { providers, ..of() }).await.len(), 0);
    let types = vec![EventType::InviteSent];
    assert_eq!(subjects(EventFilter { types, ..of() }).await.len(), 0);
}

/// Each writer has its own connections, as replicas have on PostgreSQL; SQLite has one process.
async fn a_reader_beside_three_writers_misses_nothing(db: &Db) {
    const EACH: usize = 120;
    let store = db.open().await;
    let mut writers = Vec::new();
    for writer in 0..3 {
        let store = if db.is_postgres() { db.open().await } else { store.clone() };
        writers.push(tokio::spawn(async move {
            for number in 0..EACH {
                let email = format!("{writer}-{number}@example.org");
                let [id] = queue(&store, [&email]).await;
                set_status(&store, id, Status::Pending).await;
            }
        }));
    }
    let filter = EventFilter::default();
    let (mut after, mut read) = (None, Vec::new());
    while read.len() < 3 * 2 * EACH {
        let has_ended = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = store.events(&filter, after, 50).await.unwrap().unwrap();
        after = Some(page.next);
        assert!(
            !has_ended || !page.events.is_empty() || !page.is_last,
            "{} are missed",
            read.len()
        );
        read.extend(page.events.into_iter().map(|event| event.id));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let ids: Vec<EventId> = all(&store).await.into_iter().map(|event| event.id).collect();
    assert_eq!(read, ids);
}

async fn an_erased_person_is_in_no_event(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    set(&store, id, |state, _| {
        state.phase = phase(Status::Failed);
        state.provider_ref = Some("lovelace-1".into());
        state.provider_status = Some("lovelace-2".into());
        state.provider_data.insert("name".into(), "lovelace-3".into());
        state.second_effects = vec!["lovelace-4".into()];
        state.error = Some(reason("lovelace-5"));
    })
    .await;
    assert!(db.texts().await.contains("lovelace-5"));
    store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    let texts = db.texts().await;
    assert!(!texts.contains("lovelace") && !texts.contains("ada@"), "{texts}");
    let events = all(&store).await;
    assert_eq!(types(&events), ["invite.queued", "invite.failed", "invite.updated"]);
    assert!(matches!(&events[1].told, Told::Invite(it) if it.state.status() == Status::Failed));
}

async fn nor_is_one_who_is_erased_in_the_transaction_of_the_event(db: &Db) {
    let store = db.open().await;
    for round in 0..20 {
        let email = format!("ada{round}@example.org");
        let [id, other] = queue(&store, [&email, "grace@example.org"]).await;
        let ended = set(&store, id, |state, _| {
            state.phase = phase(Status::Failed);
            state.provider_ref = Some("lovelace".into());
        });
        let address = email.parse().unwrap();
        let before = set_status(&store, other, Status::Failed);
        _ = tokio::join!(before, ended, store.erase_person(&address));
        store.erase_person(&address).await.unwrap();
        let texts = db.texts().await;
        assert!(!texts.contains("lovelace"), "{texts}");
    }
}

async fn a_batch_completes_once_also_where_its_events_are_looked_at_late(db: &Db) {
    let store = db.open().await;
    let items = [item(0, "ada@example.org"), item(1, "grace@example.org")];
    let [one, other] = items.each_ref().map(|item| item.id);
    accept(&store, batch(items.into())).await;
    set_status(&store, one, Status::Failed).await;
    for status in [Status::Sending, Status::Queued] {
        set_status(&store, other, status).await;
        set_status(&store, one, Status::Queued).await;
        set_status(&store, one, Status::Failed).await;
    }
    // What comes then is not among the events that are looked at first.
    let more = (0..600).map(|index| item(index, &format!("{index}@example.org"))).collect();
    accept(&store, batch(more)).await;
    set_status(&store, other, Status::Sent).await;
    while store.complete_batches(async || Ok(true)).await.unwrap() {}
    let completed = |event: &&Event| event.event_type == EventType::BatchCompleted;
    let told = all(&store).await;
    assert_eq!(told.iter().filter(completed).count(), 1);
}

async fn old_events_go_and_a_reader_behind_them_is_told(db: &Db) {
    let store = db.open().await;
    let [one, other] = queue(&store, ["ada@example.org", "grace@example.org"]).await;
    set_status(&store, one, Status::Pending).await;
    set_status(&store, other, Status::Pending).await;
    let ids: Vec<EventId> = all(&store).await.iter().map(|event| event.id).collect();
    assert_eq!(store.remove_events(seconds(-60), 100).await.unwrap(), 0);
    assert_eq!(store.remove_events(seconds(60), 2).await.unwrap(), 2);
    assert_eq!(store.remove_events(seconds(60), 100).await.unwrap(), 1);
    assert_eq!(store.remove_events(seconds(60), 100).await.unwrap(), 0, "the last stays");
    let filter = EventFilter::default();
    let behind = store.events(&filter, Some(ids[1]), 10).await.unwrap();
    assert_eq!(behind, Err(RemovedUpTo(ids[2])));
    assert!(store.events(&filter, Some(ids[2]), 10).await.unwrap().is_ok());
    // Whoever follows one invite has looked at all others, too.
    let of_one = EventFilter { invite: Some(one), ..filter };
    let page = store.events(&of_one, Some(ids[2]), 10).await.unwrap().unwrap();
    assert!(page.events.is_empty() && page.is_last);
    assert_eq!(page.next, ids[3]);
    assert_eq!(all(&store).await.len(), 1, "from the first that is kept");
    set_status(&store, one, Status::Accepted).await;
    assert!(all(&store).await[1].id > ids[3], "no id comes again");
}

async fn a_batch_completes_once_and_again_after_a_retry(db: &Db) {
    let store = db.open().await;
    let complete = async || {
        while store.complete_batches(async || Ok(true)).await.unwrap() {}
        let events = all(&store).await;
        let told = events.iter().filter(|event| event.event_type == EventType::BatchCompleted);
        told.map(|event| (event.subject.clone(), event.told.clone())).collect::<Vec<_>>()
    };
    let items = [item(0, "ada@example.org"), item(1, "grace@example.org")];
    let [one, other] = items.each_ref().map(|item| item.id);
    let batch = accept(&store, batch(items.into())).await.to_string();
    assert_eq!(complete().await, []);
    set_status(&store, one, Status::Sent).await;
    assert_eq!(complete().await, []);
    set_status(&store, other, Status::Failed).await;
    let counts = |told| (batch.clone(), Told::Other(json!({ "counts": told })));
    let first = counts(json!({ "failed": 1, "sent": 1 }));
    assert_eq!(complete().await, std::slice::from_ref(&first));
    set_status(&store, one, Status::Accepted).await;
    assert_eq!(complete().await, std::slice::from_ref(&first), "it was complete already");
    set_status(&store, other, Status::Queued).await;
    assert_eq!(complete().await, std::slice::from_ref(&first));
    set_status(&store, other, Status::Pending).await;
    let second = counts(json!({ "accepted": 1, "pending": 1 }));
    assert_eq!(complete().await, [first.clone(), second.clone()]);
    // Queued and settled between two looks.
    set_status(&store, other, Status::Queued).await;
    set_status(&store, other, Status::Pending).await;
    assert_eq!(complete().await, [first, second.clone(), second]);
    let no = async || Ok(false);
    set_status(&store, one, Status::Queued).await;
    assert!(!store.complete_batches(no).await.unwrap(), "another replica does it");
}

/// A writer that has its number and is not committed yet: what others commit behind it may not be read before it.
#[tokio::test]
async fn nothing_is_read_before_what_is_committed_later_with_a_smaller_id() {
    let db = Db::postgres().await;
    let (slow, fast) = (db.open().await, db.open().await);
    db.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         WHILE NEW.tenant = 'slow' AND NOT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'go_on' AND \
         relnamespace = CAST(current_schema() AS regnamespace)) LOOP PERFORM pg_sleep(0.02); END LOOP; \
         RETURN NEW; END $$; \
         CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    .await;
    let item = item(0, "slow@example.org");
    let held = item.id.to_string();
    let batch = invite_store::NewBatch { tenant: "slow".into(), ..batch(vec![item]) };
    let writing = tokio::spawn(async move { accept(&slow, batch).await });
    let taken = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_numbers";
    while db.number(taken).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let [id] = queue(&fast, ["fast@example.org"]).await;
    assert_eq!(fast.end_of_feed().await.unwrap(), EventId::START);
    let page = fast.events(&EventFilter::default(), None, 10).await.unwrap().unwrap();
    assert_eq!((page.events, page.next), (vec![], EventId::START));
    db.execute("CREATE TABLE go_on (x BIGINT)").await;
    writing.await.unwrap();
    let subjects: Vec<String> = follow(&fast, &EventFilter::default(), None)
        .await
        .into_iter()
        .map(|it| it.subject)
        .collect();
    assert_eq!(subjects, [held, id.to_string()]);
    drop(fast);
    db.remove().await;
}
