//! What is sent to webhooks, and what is sent again.

use std::time::Duration;

use invite_core::{EventId, EventType, Status, WebhookId};
use invite_store::{Actor, Delivered, Store, Webhook, WebhookAttempt};
use jiff::Timestamp;

use crate::fixture::{Db, accept, batch, item, on_both, queue, seconds, set_status};

on_both!(
    what_is_sent_again_ahead_of_its_turn_has_no_other_turn,
    an_event_is_sent_again_only_to_whom_it_concerns,
    all_that_was_given_up_is_recovered_in_steps,
);

async fn webhook(store: &Store, providers: &[&str]) -> Webhook {
    let webhook = Webhook {
        id: WebhookId::generate(),
        tenant: "default".to_owned(),
        url: "https://hooks.example.com/".to_owned(),
        description: None,
        types: vec![EventType::InviteQueued],
        providers: providers.iter().map(ToString::to_string).collect(),
        labels: Vec::new(),
        is_thin: false,
        secrets: Vec::new(),
        disabled_because: None,
        failing_since: None,
        read_up_to: EventId::START,
        created_at: Timestamp::UNIX_EPOCH,
    };
    let actor = Actor { name: "test".to_owned(), source: "api".to_owned() };
    assert!(store.add_webhook(&webhook, 10, &actor).await.unwrap());
    webhook
}

fn attempt(event: EventId, number: u32, failure: Option<&str>) -> Delivered {
    let attempt = WebhookAttempt {
        event,
        number,
        at: Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(5),
        http_status: None,
        failure: failure.map(str::to_owned),
        reply: None,
    };
    Delivered { attempt, again_at: None }
}

async fn new(store: &Store, webhook: &Webhook) -> Vec<EventId> {
    let page = store.new_deliveries(webhook, EventId::START, 5000).await.unwrap().unwrap();
    assert!(page.is_last);
    page.events.iter().map(|event| event.id).collect()
}

async fn due(store: &Store, webhook: &Webhook) -> Vec<(EventId, u32)> {
    let (due, _) = store.due_deliveries(webhook.id, seconds(60), 5000).await.unwrap();
    due.into_iter().map(|due| (due.event.id, due.attempts)).collect()
}

async fn record(store: &Store, webhook: &Webhook, delivered: Vec<Delivered>) {
    let give_up = Duration::from_secs(3600);
    store.record_deliveries(webhook.id, delivered, None, give_up).await.unwrap();
}

async fn what_is_sent_again_ahead_of_its_turn_has_no_other_turn(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    queue(&store, ["ada@example.org", "grace@example.org", "mary@example.org"]).await;
    let ids = new(&store, &webhook).await;
    assert_eq!(ids.len(), 3);
    assert!(store.resend_event(&webhook, ids[1]).await.unwrap());
    assert_eq!(due(&store, &webhook).await, [(ids[1], 0)]);
    assert_eq!(new(&store, &webhook).await, [ids[0], ids[2]]);
    record(&store, &webhook, vec![attempt(ids[1], 1, None)]).await;
    assert_eq!(due(&store, &webhook).await, []);
    assert_eq!(new(&store, &webhook).await, [ids[0], ids[2]]);
    assert!(store.resend_event(&webhook, ids[1]).await.unwrap());
    assert_eq!(due(&store, &webhook).await, [(ids[1], 1)], "attempts go on being counted");
}

async fn an_event_is_sent_again_only_to_whom_it_concerns(db: &Db) {
    let store = db.open().await;
    let [invite] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, invite, Status::Failed).await;
    let other = batch(vec![item(0, "grace@example.org")]);
    accept(&store, invite_store::NewBatch { tenant: "hr".into(), ..other }).await;
    let page = store.events(&Default::default(), None, 10).await.unwrap().unwrap();
    let [queued, failed, of_hr] = page.events.iter().map(|it| it.id).collect::<Vec<_>>()[..] else {
        panic!("{page:?}");
    };
    let (all, elsewhere) =
        (webhook(&store, &["summit"]).await, webhook(&store, &["elsewhere"]).await);
    for (event, may) in [(queued, true), (failed, true), (of_hr, false)] {
        assert_eq!(store.resend_event(&all, event).await.unwrap(), may, "{event}");
        assert!(!store.resend_event(&elsewhere, event).await.unwrap(), "{event}");
    }
    assert!(!store.resend_event(&all, EventId::START).await.unwrap());
    assert!(!store.resend_event(&all, EventId::of(i64::MAX)).await.unwrap());
}

async fn all_that_was_given_up_is_recovered_in_steps(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    let items = (0..1200).map(|index| item(index, &format!("{index}@example.org"))).collect();
    accept(&store, batch(items)).await;
    let ids = new(&store, &webhook).await;
    let taken = |event: &EventId| attempt(*event, 1, None);
    let refused = |event: &EventId| attempt(*event, 1, Some("it answered 500"));
    let mut delivered: Vec<Delivered> = ids[..5].iter().map(taken).collect();
    delivered.extend(ids[5..].iter().map(refused));
    record(&store, &webhook, delivered).await;
    assert_eq!(due(&store, &webhook).await, []);
    assert_eq!(store.recover_deliveries(webhook.id, seconds(60)).await.unwrap(), 0);
    assert_eq!(store.recover_deliveries(webhook.id, seconds(-60)).await.unwrap(), 1195);
    let again: Vec<EventId> = due(&store, &webhook).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(again, ids[5..]);
    assert_eq!(store.recover_deliveries(webhook.id, seconds(-60)).await.unwrap(), 0);
}
