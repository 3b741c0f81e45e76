//! The task of one webhook.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use invite_core::{EventId, WebhookId, failpoint::failpoint};
use invite_store::{Delivered, Error, Event, EventPage, RemovedUpTo, Webhook};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Sender,
    sending::{Payload, send},
};
use crate::shared::catch_panic;

/// How many events are sent at the same time.
const AT_ONCE: usize = 10;
/// How many are sent in a round at most. It begins with as many as are sent at the same time, and doubles while all is taken
/// quickly: what was sent in a round that is not recorded is sent again.
const MOST: usize = 200;
/// After this time no further request of a round is begun, so that what came of it is soon recorded.
const QUICK: Duration = Duration::from_millis(500);
/// How many while nothing was taken lately.
const FEW: usize = 2;
/// How long after each attempt an event is sent again; the last of these from then on.
const AGAIN: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
];
/// How long nothing is sent after a round of which nothing was taken, doubled with each, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How often it is stored up to where the feed was read, if there was nothing to send.
const KEEP_PLACE: Duration = Duration::from_secs(60);
/// How often it is looked for what is to be sent again, and for what other replicas have written.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long events gather, so that several are sent together.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after the database failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Sends to a webhook what it gets, until it is disabled or removed, or `stop`.
pub(super) async fn work(sender: Arc<Sender>, id: WebhookId, stop: CancellationToken) {
    let mut watch = sender.shared.store.watch_feed();
    let scanned = EventId::START;
    let mut endpoint = Endpoint {
        sender,
        id,
        stop: stop.clone(),
        scanned,
        failed: 0,
        most: AT_ONCE,
        rest: None,
        kept_at: None,
    };
    while !stop.is_cancelled() {
        let wait = match catch_panic(endpoint.round()).await {
            Ok(Next::Ended) => return,
            Ok(Next::AtOnce) => continue,
            Ok(Next::Rest) => {
                // What comes meanwhile waits, too.
                let _ = tokio::time::timeout(LOOK_AGAIN, stop.cancelled()).await;
                continue;
            }
            Ok(Next::Wait(until)) => until,
            Err(error) => {
                tracing::error!(webhook.id = %id, %error, "cannot read or store what is sent to a webhook; trying again");
                let _ = tokio::time::timeout(AFTER_ERROR, stop.cancelled()).await;
                continue;
            }
        };
        tokio::select! {
            () = watch.changed_or(LOOK_AGAIN, GATHER) => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What a round leaves to do.
enum Next {
    /// There is more.
    AtOnce,
    /// Nothing is to be sent at present.
    Rest,
    /// There is nothing to send before so long, unless something happens.
    Wait(Duration),
    /// The webhook is disabled or removed.
    Ended,
}

struct Endpoint {
    sender: Arc<Sender>,
    id: WebhookId,
    /// Once it is cancelled no further request is begun.
    stop: CancellationToken,
    /// Up to here there is nothing for it in the feed, as far as that is not stored yet.
    scanned: EventId,
    /// How many rounds in a row nothing was taken.
    failed: u32,
    /// How many events are sent in the next round.
    most: usize,
    /// Until when it is left alone.
    rest: Option<Rest>,
    /// When it was last stored up to where the feed was read.
    kept_at: Option<Timestamp>,
}

/// A pause after a round of which nothing was taken.
struct Rest {
    /// Where that was sent to.
    url: String,
    began: Timestamp,
    until: Timestamp,
}

/// An event to send.
struct Task {
    event: Event,
    /// How many attempts there were.
    attempts: u32,
    /// When the first of them was; none before that.
    first_at: Option<Timestamp>,
}

/// What came of a round.
struct Sent {
    delivered: Vec<Delivered>,
    /// How many events were taken.
    taken: usize,
    /// Whether all that was sent was taken, and quickly.
    is_quick: bool,
    /// For how long the endpoint asks to be left alone.
    wait: Option<Duration>,
    /// The first event of the feed that was not sent, if the round was cut short.
    unsent: Option<EventId>,
}

impl Endpoint {
    /// Sends what is due, at most so much at once, and stores what came of it.
    async fn round(&mut self) -> Result<Next, Error> {
        let shared = &self.sender.shared;
        let webhook = shared.store.webhook(self.id).await?;
        let Some(webhook) = webhook.filter(|it| it.disabled_because.is_none()) else {
            return Ok(Next::Ended);
        };
        let now = shared.clock.now();
        self.rest = self.rest.take().filter(|rest| rest.url == webhook.url && now < rest.until);
        // Half are new ones, so that none waits for those that are refused.
        let most = if webhook.failing_since.is_some() { FEW } else { self.most };
        // What somebody asks for is sent even while it rests.
        let rest_began = self.rest.as_ref().map(|rest| rest.began);
        let due = shared.store.due_deliveries(self.id, now, rest_began, most / 2);
        let (due, next_due) = due.await?;
        let due: Vec<Task> = due
            .into_iter()
            .map(|due| Task {
                event: due.event,
                attempts: due.attempts,
                first_at: Some(due.first_at),
            })
            .collect();
        if rest_began.is_some() && due.is_empty() {
            return Ok(Next::Rest);
        }
        let (mut new, mut read_up_to) = (Vec::new(), None);
        if rest_began.is_none() {
            let page = self.read(&webhook, most - due.len()).await?;
            let is_changed = |now: &Webhook| {
                (&now.types, &now.providers, &now.labels)
                    != (&webhook.types, &webhook.providers, &webhook.labels)
            };
            // What a changed filter lets through is in no page that was read with the old one.
            if shared.store.webhook(self.id).await?.as_ref().is_none_or(is_changed) {
                return Ok(Next::AtOnce);
            }
            read_up_to = Some(page.next);
            let events = page.events.into_iter();
            new = events.map(|event| Task { event, attempts: 0, first_at: None }).collect();
            if due.is_empty() && new.is_empty() {
                // Not before it is certain that nothing behind it has to be sent.
                self.scanned = page.next;
                self.keep_place(&webhook, now).await?;
                if !page.is_last {
                    return Ok(Next::AtOnce);
                }
                let next_due = next_due.unwrap_or(Timestamp::MAX);
                let wait = next_due.duration_since(now).unsigned_abs();
                return Ok(Next::Wait(wait.min(LOOK_AGAIN)));
            }
        }
        let sent = self.deliver(&webhook, by_turns(due, new)).await;
        self.most = if sent.is_quick { (self.most * 2).min(MOST) } else { AT_ONCE };
        // What was not sent is read again.
        if let Some(unsent) = sent.unsent {
            read_up_to = Some(EventId::of(unsent.number() - 1));
        }
        let give_up = shared.settings.webhook_give_up;
        shared.store.record_deliveries(self.id, sent.delivered, read_up_to, give_up).await?;
        failpoint("webhook-after-record");
        self.kept_at = Some(now);
        self.failed = if sent.taken > 0 { 0 } else { self.failed + 1 };
        let pause = match self.failed {
            0 => Duration::ZERO,
            failed => (PAUSE * (1 << (failed - 1).min(16))).min(LONGEST_PAUSE),
        };
        let pause = pause.max(sent.wait.unwrap_or_default());
        let began = shared.clock.now();
        let rest = Rest { url: webhook.url, began, until: began + pause };
        self.rest = Some(rest).filter(|_| !pause.is_zero());
        Ok(Next::AtOnce)
    }

    /// The next events that it gets.
    async fn read(&self, webhook: &Webhook, most: usize) -> Result<EventPage, Error> {
        let store = &self.sender.shared.store;
        let after = webhook.read_up_to.max(self.scanned);
        match store.new_deliveries(webhook, after, most).await? {
            Ok(page) => Ok(page),
            Err(RemovedUpTo(last)) => {
                tracing::error!(
                    webhook.id = %self.id,
                    "events were removed (events.retention) before they could be sent to webhook {}",
                    self.id
                );
                Ok(EventPage { events: Vec::new(), next: last, is_last: false })
            }
        }
    }

    /// Stores up to where the feed was read, so that not all of it is read again later; now and then, as it is a commit.
    async fn keep_place(&mut self, webhook: &Webhook, now: Timestamp) -> Result<(), Error> {
        let is_due =
            self.kept_at.is_none_or(|at| now.duration_since(at).unsigned_abs() >= KEEP_PLACE);
        if is_due && self.scanned > webhook.read_up_to {
            let shared = &self.sender.shared;
            let (scanned, give_up) = (Some(self.scanned), shared.settings.webhook_give_up);
            shared.store.record_deliveries(self.id, Vec::new(), scanned, give_up).await?;
            self.kept_at = Some(now);
        }
        Ok(())
    }

    /// Sends these events, some at the same time. Once one is not taken, or it takes long, or `stop`, no further one is begun:
    /// while an endpoint hangs, what it took would otherwise not be recorded for minutes, and sent again if the process ends.
    async fn deliver(&self, webhook: &Webhook, tasks: Vec<Task>) -> Sent {
        let began = Instant::now();
        let mut waiting = tasks.into_iter();
        let mut under_way = FuturesUnordered::new();
        let (mut delivered, mut taken, mut wait) = (Vec::new(), 0, None);
        loop {
            let is_quick = taken == delivered.len() && began.elapsed() < QUICK;
            if is_quick
                && !self.stop.is_cancelled()
                && under_way.len() < AT_ONCE
                && let Some(task) = waiting.next()
            {
                under_way.push(self.deliver_one(webhook, task));
                continue;
            }
            let Some((one, asked_for)) = under_way.next().await else {
                let unsent = waiting.find(|task| task.first_at.is_none());
                let unsent = unsent.map(|task| task.event.id);
                return Sent { delivered, taken, is_quick, wait, unsent };
            };
            taken += usize::from(one.attempt.failure.is_none());
            delivered.push(one);
            wait = wait.max(asked_for);
        }
    }

    async fn deliver_one(&self, webhook: &Webhook, task: Task) -> (Delivered, Option<Duration>) {
        let Sender { shared, client, render } = &*self.sender;
        let now = shared.clock.now();
        let (event, number) = (task.event.id, task.attempts + 1);
        let event_type = task.event.event_type;
        let body = render(webhook, task.event);
        let payload = Payload { event, number, body };
        failpoint("webhook-before-request");
        let (attempt, wait) = send(shared, client, webhook, payload).await;
        failpoint("webhook-after-reply");
        let outcome = if attempt.failure.is_none() { "taken" } else { "failed" };
        metrics::counter!("webhook_attempts_total", "outcome" => outcome).increment(1);
        if attempt.failure.is_some() {
            // The reason may hold the path of the webhook's URL, which may be a secret.
            let why = attempt.http_status.map_or_else(
                || "no answer came".to_owned(),
                |status| format!("it answered {status}"),
            );
            tracing::warn!(
                webhook.id = %self.id, event.id = %event, event.type = %event_type, attempt = number,
                "webhook {} did not take an event: {why}; GET /v1/webhooks/{0}/attempts tells more", self.id
            );
        }
        let place = usize::try_from(task.attempts).unwrap_or(usize::MAX).min(AGAIN.len() - 1);
        // The last attempt is when it is given up.
        let last_at = task.first_at.unwrap_or(now) + shared.settings.webhook_give_up;
        let again_at = (now + AGAIN[place].max(wait.unwrap_or_default())).min(last_at);
        let again_at = Some(again_at).filter(|_| now < last_at);
        (Delivered { attempt, again_at }, wait)
    }
}

/// What is sent again and what is new, in turns, so that a round that is cut short has of both.
fn by_turns(due: Vec<Task>, new: Vec<Task>) -> Vec<Task> {
    let turns = due.len().max(new.len());
    let (mut due, mut new) = (due.into_iter(), new.into_iter());
    (0..turns).flat_map(|_| [due.next(), new.next()]).flatten().collect()
}
