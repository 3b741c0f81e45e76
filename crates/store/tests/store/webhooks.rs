//! What is sent to webhooks, and what is sent again.

use std::time::Duration;

use invite_core::{EventId, EventType, Status, WebhookId};
use invite_store::{Delivered, Store, Webhook, WebhookAttempt};
use jiff::Timestamp;

use crate::fixture::{Db, accept, api, batch, item, on_both, queue, seconds, set_status};

on_both!(
    what_is_sent_again_ahead_of_its_turn_has_no_other_turn,
    what_was_asked_for_is_found_behind_what_is_due_for_longer,
    an_event_is_sent_again_only_to_whom_it_concerns,
    all_that_was_given_up_is_recovered_in_steps,
    an_attempt_that_began_before_does_not_undo_what_was_asked_for,
    nothing_is_left_of_a_webhook_that_was_removed,
    what_an_endpoint_says_of_an_erased_person_is_not_kept,
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
    assert!(store.add_webhook(&webhook, 10, &api()).await.unwrap());
    webhook
}

fn attempt(event: EventId, number: u32, failure: Option<&str>) -> Delivered {
    let attempt = WebhookAttempt {
        event,
        number,
        at: seconds(60),
        took: Duration::from_millis(5),
        http_status: None,
        failure: failure.map(str::to_owned),
        reply: None,
    };
    Delivered { attempt, again_at: None }
}

async fn new(store: &Store, webhook: &Webhook) -> Vec<EventId> {
    let (mut ids, mut after) = (Vec::new(), EventId::START);
    loop {
        let page = store.new_deliveries(webhook, after, 5000).await.unwrap().unwrap();
        ids.extend(page.events.iter().map(|event| event.id));
        if page.is_last {
            return ids;
        }
        after = page.next;
    }
}

async fn due(store: &Store, webhook: &Webhook) -> Vec<(EventId, u32)> {
    let (due, _) = store.due_deliveries(webhook.id, seconds(60), None, 5000).await.unwrap();
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

async fn what_was_asked_for_is_found_behind_what_is_due_for_longer(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    queue(&store, ["ada@example.org", "grace@example.org"]).await;
    let ids = new(&store, &webhook).await;
    let failed = |event: &EventId| {
        let mut failed = attempt(*event, 1, Some("it answered 500"));
        (failed.attempt.at, failed.again_at) = (seconds(-60), Some(seconds(-50)));
        failed
    };
    record(&store, &webhook, ids.iter().map(failed).collect()).await;
    let asked_after = |after| store.due_deliveries(webhook.id, seconds(60), Some(after), 1);
    let (due, _) = asked_after(seconds(-30)).await.unwrap();
    assert!(due.is_empty(), "nobody asked for them");
    assert!(store.resend_event(&webhook, ids[1]).await.unwrap());
    let (due, _) = asked_after(seconds(-30)).await.unwrap();
    assert_eq!(due.iter().map(|due| due.event.id).collect::<Vec<_>>(), [ids[1]]);
    let (due, _) = asked_after(seconds(60)).await.unwrap();
    assert!(due.is_empty(), "it was asked for before");
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
    let delivered = ids[5..].iter().map(|event| attempt(*event, 2, None)).collect();
    record(&store, &webhook, delivered).await;
    assert_eq!(due(&store, &webhook).await, []);
    assert_eq!(store.recover_deliveries(webhook.id, seconds(-60)).await.unwrap(), 0);
}

async fn an_attempt_that_began_before_does_not_undo_what_was_asked_for(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    queue(&store, ["ada@example.org"]).await;
    let event = new(&store, &webhook).await[0];
    let old = |number| {
        let mut old = attempt(event, number, Some("it answered 500"));
        old.attempt.at = seconds(-60);
        old
    };
    record(&store, &webhook, vec![old(3)]).await;
    assert_eq!(due(&store, &webhook).await, [], "given up");
    assert!(store.resend_event(&webhook, event).await.unwrap());
    record(&store, &webhook, vec![old(4)]).await;
    assert_eq!(due(&store, &webhook).await, [(event, 4)]);
    // Of a replica that had lost its lease.
    record(&store, &webhook, vec![old(1)]).await;
    assert_eq!(due(&store, &webhook).await, [(event, 4)]);
}

async fn nothing_is_left_of_a_webhook_that_was_removed(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    queue(&store, ["ada@example.org"]).await;
    let event = new(&store, &webhook).await[0];
    record(&store, &webhook, vec![attempt(event, 1, Some("it answered 500"))]).await;
    assert!(store.remove_webhook(webhook.id, &api(), |_| true).await.unwrap());
    record(&store, &webhook, vec![attempt(event, 2, None)]).await;
    assert!(!store.resend_event(&webhook, event).await.unwrap());
    assert_eq!(store.recover_deliveries(webhook.id, seconds(-60)).await.unwrap(), 0);
    for table in ["webhooks", "webhook_attempts", "webhook_deliveries"] {
        assert_eq!(db.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    assert!(!store.remove_webhook(webhook.id, &api(), |_| true).await.unwrap());
}

async fn what_an_endpoint_says_of_an_erased_person_is_not_kept(db: &Db) {
    let store = db.open().await;
    let webhook = webhook(&store, &[]).await;
    let [invite] = queue(&store, ["ada@example.org"]).await;
    set_status(&store, invite, Status::Failed).await;
    let event = new(&store, &webhook).await[0];
    let says = |number| {
        let mut says = attempt(event, number, Some("lovelace is unknown"));
        says.attempt.reply = Some("who is lovelace?".to_owned());
        says
    };
    record(&store, &webhook, vec![says(1)]).await;
    assert!(db.texts().await.contains("lovelace"));
    store.erase_person(&"ada@example.org".parse().unwrap()).await.unwrap();
    record(&store, &webhook, vec![says(2)]).await;
    let texts = db.texts().await;
    assert!(!texts.contains("lovelace"), "{texts}");
    let attempts = store.webhook_attempts(webhook.id, None, None, 10).await.unwrap();
    let failures: Vec<_> = attempts.iter().map(|it| it.failure.as_deref()).collect();
    assert_eq!(failures, [Some("it failed"); 2]);
}
