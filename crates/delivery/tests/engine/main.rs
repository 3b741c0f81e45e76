//! The engine as a whole, over a store on disk and a made-up provider: what the pure functions of
//! `transition` cannot show, because it is about which call is made when.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

mod acting;
mod asking;
mod blame;
mod clocks;
mod costs;
mod door;
mod erasing;
mod evidence;
mod expiring;
mod fairness;
mod fake;
mod fake_lookup;
mod fake_peer;
mod filed;
mod following;
mod late;
mod pauses;
mod refusals;
mod requeueing;
mod revising;
mod states;
mod telling;
mod unrecorded;
mod waits;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use invite_config::{Configuration, Gate, Live, Rules};
use invite_core::{
    AttemptOutcome, BatchId, Cause, Clock, Destination, InviteId, Invitee, Operation, Outcome,
    ProviderError, ProviderKind, ReasonCode, Status, SystemClock,
};
use invite_delivery::{
    AcceptError, Engine, LaneState, LiveDocument, Retention, Settings, transition,
};
use invite_store::{
    Acceptance, Change, Decision, InviteRecord, NewBatch, NewItem, OnDuplicate, Phase, Placement,
    Store,
};
use serde_json::Value;
use tokio::sync::Notify;

use fake::{Answer, World};
use states::{in_doubt, lookups, sender_lost};

const PATIENCE: Duration = Duration::from_secs(20);
/// Small waits, so that what takes minutes in service takes moments here.
const QUICK: &str = "retry = { first = \"20ms\", max = \"40ms\" }";

struct Bench {
    engine: Engine,
    store: Store,
    world: World,
    live: Live,
    _folder: tempfile::TempDir,
}

fn settings() -> Settings {
    Settings {
        lease: Duration::from_secs(4),
        settle: Duration::from_millis(30),
        refresh: Duration::ZERO,
        shutdown_grace: Duration::from_secs(15),
        idempotency_retention: Duration::from_secs(60),
        retention: Retention::default(),
        webhook_give_up: Duration::from_secs(3600),
    }
}

fn gate(world: &World) -> Gate {
    let kinds: Vec<Arc<ProviderKind>> = vec![Arc::new(fake::kind(world.clone()))];
    Gate::new(
        kinds,
        Rules::new(settings().lease, vec!["127.0.0.1".to_owned()]),
        Arc::new(SystemClock),
    )
}

fn configuration(world: &World, limits: &str, revision: i64) -> Configuration {
    let timeout = if limits.contains("timeout = ") { "" } else { "timeout = \"50ms\"" };
    let document = format!(
        "[providers.fake]\nkind = \"fake\"\nbase_url = \"{}\"\n[providers.fake.limits]\n\
         {timeout}\n{limits}\n[[routes]]\nto = [\"fake\"]\n",
        fake::BASE_URL
    );
    let checked = gate(world).check(&document);
    let configuration = checked.configuration.unwrap_or_else(|| panic!("{:?}", checked.findings));
    configuration.with_revision(revision)
}

fn destination(scope: &str) -> Destination {
    Destination { kind: "fake".into(), base_url: fake::BASE_URL.into(), scope: scope.into() }
}

fn error(outcome: Outcome) -> ProviderError {
    ProviderError::new(outcome, format!("made up: {outcome}"))
}

async fn start(limits: &str, world: World) -> Bench {
    start_with(settings(), limits, world).await
}

async fn start_with(settings: Settings, limits: &str, world: World) -> Bench {
    start_on(Arc::new(SystemClock), settings, limits, world).await
}

/// On a machine with these clocks.
async fn start_on(
    machine: Arc<dyn Clock>,
    settings: Settings,
    limits: &str,
    world: World,
) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/invites.db", folder.path().display());
    let store = Store::open(&url, machine).await.unwrap();
    let live = Live::new(configuration(&world, limits, 1));
    let engine = serve(&store, &live, &world, settings).await;
    Bench { engine, store, world, live, _folder: folder }
}

/// Another process on the store.
async fn serve(store: &Store, live: &Live, world: &World, settings: Settings) -> Engine {
    let (gate, clock) = (Arc::new(gate(world)), store.clock());
    let document = LiveDocument::new(store.clone(), gate, live.clone(), clock.clone());
    Engine::start(document, clock, settings).await.unwrap()
}

fn item(name: &str, scope: &str, index: usize) -> NewItem {
    let email = format!("{name}@example.org");
    NewItem {
        id: InviteId::generate(),
        index,
        address: email.parse().ok(),
        invitee: Invitee { email, ..Invitee::default() },
        external_id: None,
        labels: BTreeMap::new(),
        placement: Placement::Bound {
            provider: "fake".into(),
            kind: "fake".into(),
            destination: destination(scope),
            call_key: String::new(),
            params: Value::Null,
            route: None,
        },
    }
}

fn batch(items: Vec<NewItem>) -> NewBatch {
    NewBatch {
        id: BatchId::generate(),
        tenant: "default".into(),
        config_revision: 1,
        traceparent: None,
        idempotency: None,
        day_limits: Vec::new(),
        on_duplicate: OnDuplicate::Send,
        items,
    }
}

impl Bench {
    /// One request for these people, at one place.
    async fn post_at(&self, scope: &str, names: &str) -> BatchId {
        let names = names.split(' ').enumerate();
        let items = names.map(|(index, name)| item(name, scope, index)).collect();
        let config_revision = self.live.current().revision();
        let new = NewBatch { config_revision, ..batch(items) };
        match self.engine.accept(new).await.unwrap() {
            Acceptance::Accepted(accepted) => accepted.batch.id,
            other => panic!("{other:?}"),
        }
    }

    async fn post(&self, names: &str) -> BatchId {
        self.post_at("here", names).await
    }

    async fn invites(&self, batch: BatchId) -> Vec<InviteRecord> {
        self.store.batch_invites(batch).await.unwrap().invites
    }

    /// The looks that were made for an invite: how each ended, and what it told.
    async fn looks(&self, invite: InviteId) -> Vec<(AttemptOutcome, String)> {
        let page = self.store.attempts(invite, None, 100, false).await.unwrap();
        let looks =
            page.attempts.into_iter().filter(|attempt| attempt.operation == Operation::Reconcile);
        looks.map(|look| (look.outcome.unwrap(), look.detail.unwrap())).collect()
    }

    async fn one(&self, batch: BatchId) -> InviteRecord {
        self.invites(batch).await.remove(0)
    }

    /// The revisions that the calls for a request's only invite were made under.
    async fn revisions(&self, batch: BatchId) -> Vec<i64> {
        let calls = self.store.creates(self.one(batch).await.id).await.unwrap();
        calls.iter().map(|call| call.config_revision).collect()
    }

    /// The statuses of a request's invites, once all of them have one of these.
    async fn until(&self, batch: BatchId, statuses: &[Status]) -> Vec<Status> {
        self.eventually("the invites to settle", async || {
            let all: Vec<_> =
                self.invites(batch).await.iter().map(|invite| invite.state.status()).collect();
            all.iter().all(|status| statuses.contains(status)).then_some(all)
        })
        .await
    }

    /// Takes a request's only invite, once it is on its way, from its sender.
    async fn lose_sender_of(&self, batch: BatchId) -> InviteRecord {
        self.until(batch, &[Status::Sending]).await;
        let invite = self.one(batch).await;
        let lose = Change::of(vec![invite.id], |_, _, state, now| {
            transition::lose_sender(state, state.holder().unwrap(), &sender_lost(), now)
        });
        self.store.change(lose).await.unwrap();
        invite
    }

    async fn eventually<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(answer) = ask().await {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => panic!("waited in vain for {what}; calls: {:?}", self.world.calls()),
        }
    }
}

/// Nothing tells that something does not happen: after this it has had the time to.
async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn refused(cause: Cause) -> ProviderError {
    error(Outcome::Rejected).caused_by(cause)
}

const ENDS: &[Status] = &[Status::Pending, Status::Failed];

#[tokio::test]
async fn while_a_credential_is_refused_each_try_is_of_another_invite() {
    let world = World::new(|to| match to[0].starts_with("ada") {
        true => Answer::Fails(refused(Cause::Credentials)),
        false => Answer::Takes,
    });
    let bench = start(&format!("max_batch = 1\n{QUICK}"), world).await;
    bench.post_at("closed", "ada").await;
    let grace = bench.post_at("open", "grace").await;
    assert_eq!(bench.until(grace, ENDS).await, [Status::Pending]);
}

#[tokio::test]
async fn a_success_from_before_does_not_end_the_wait_that_a_provider_asked_for() {
    let slow = Arc::new(Notify::new());
    let gate = slow.clone();
    let wait = Duration::from_millis(400);
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        match calls {
            1 => Answer::After(gate.clone(), Box::new(Answer::Takes)),
            2 => Answer::Fails(ProviderError {
                retry_after: Some(wait),
                ..error(Outcome::Throttled)
            }),
            _ => Answer::Takes,
        }
    });
    let limits = "max_batch = 1\nmax_in_flight = 2\nretry = { first = \"20ms\", max = \"10s\" }";
    let bench = start(limits, world).await;
    let batch = bench.post("ada grace barbara").await;
    bench
        .eventually("the lane to pause", async || {
            let status = bench.status().await;
            (status.state == LaneState::Paused).then_some(())
        })
        .await;
    slow.notify_one();
    bench.until(batch, ENDS).await;
    let world = bench.world.lock();
    assert!(world.asked[2].at - world.asked[1].at >= wait - Duration::from_millis(5));
}

#[tokio::test]
async fn after_a_refusal_that_names_one_item_the_rest_of_a_half_stays_by_itself() {
    let world = World::new(|to| {
        let has = |name: &str| to.iter().position(|address| address.starts_with(name));
        match (has("bad"), has("worse")) {
            (Some(_), _) if to.len() > 2 => Answer::Fails(error(Outcome::Rejected)),
            (Some(index), _) if to.len() > 1 => {
                let fault = invite_core::Fault::new("/email", "invalid", "made up");
                let items = vec![invite_core::ItemFault { index, fault }];
                Answer::Fails(ProviderError { items, ..error(Outcome::Rejected) })
            }
            _ => Answer::Takes,
        }
    });
    let bench = start(&format!("max_batch = 4\nmax_in_flight = 1\n{QUICK}"), world).await;
    let batch = bench.post("bad b c d e").await;
    let ends = bench.until(batch, ENDS).await;
    assert_eq!(ends.iter().filter(|end| **end == Status::Failed).count(), 1);
    assert_eq!(bench.world.calls()[0], "bad b c d");
    assert!(bench.world.calls().contains(&"b".to_owned()), "{:?}", bench.world.calls());
}

#[tokio::test]
async fn halving_beside_a_bad_item_costs_the_good_ones_no_attempts() {
    let world = World::new(|to| match to.iter().any(|address| address.starts_with("bad")) {
        true => Answer::Fails(error(Outcome::Unknown)),
        false => Answer::Takes,
    });
    let retry = "retry = { first = \"20ms\", max = \"40ms\", max_attempts = 2 }";
    let bench = start(&format!("max_batch = 8\n{retry}"), world).await;
    let batch = bench.post("a b c d e bad g h").await;
    let ends = bench.until(batch, ENDS).await;
    let failed: Vec<_> = (0..8).filter(|i| ends[*i] == Status::Failed).collect();
    assert_eq!(failed, [5]);
    for name in ["a", "b", "c", "d", "e", "g", "h"] {
        assert_eq!(bench.world.effects_of(name), 1, "{name}");
    }
}

#[tokio::test]
async fn a_call_that_took_effect_unheard_is_found_and_not_made_again() {
    let world = World::new(|_| Answer::TakesButFails(error(Outcome::Unknown)));
    let bench = start(&format!("max_batch = 4\n{QUICK}"), world).await;
    let batch = bench.post("ada grace").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending; 2]);
    assert_eq!(bench.world.calls().len(), 1);
    assert!(bench.invites(batch).await.iter().all(|invite| !invite.state.duplicate_effect));
}

#[tokio::test]
async fn a_look_up_is_told_when_each_invite_was_first_tried() {
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        match calls {
            1 => Answer::Fails(error(Outcome::Throttled).with_status(429)),
            _ => Answer::TakesButFails(error(Outcome::Unknown)),
        }
    });
    let retry = "retry = { first = \"1s\", max = \"1s\" }";
    let bench = start(&format!("max_batch = 4\n{retry}"), world).await;
    let first = bench.post("ada").await;
    bench.eventually("a call", async || (bench.world.calls().len() == 1).then_some(())).await;
    let second = bench.post("grace").await;
    bench.until(first, ENDS).await;
    bench.until(second, ENDS).await;
    assert_eq!(bench.world.calls(), ["ada", "ada grace"]);
    let told = bench.world.lock().first_attempts[0].clone();
    assert!(told.len() == 2 && told[0] < told[1], "{told:?}");
}

#[tokio::test]
async fn requests_that_come_at_once_do_not_overfill_the_backlog() {
    let closed = Arc::new(Notify::new());
    let gate = closed.clone();
    let world = World::new(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    let bench = start("max_batch = 1\nmax_in_flight = 1\nmax_backlog = 5", world).await;
    let names: Vec<_> = (0..40).map(|n| format!("p{n}")).collect();
    let asked = names.iter().map(|name| bench.engine.accept(batch(vec![item(name, "here", 0)])));
    let answers = join_all(asked).await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused =
        answers.iter().filter(|a| matches!(a, Err(AcceptError::BacklogFull { .. }))).count();
    // One may have left the queue for the provider meanwhile.
    assert!((5..=6).contains(&accepted), "{accepted}");
    assert_eq!(accepted + refused, 40);
}

#[tokio::test]
async fn an_adapter_that_panics_does_not_end_its_lane() {
    let world = World::new(|_| Answer::Takes);
    world.lock().panics_in_prepare = 1;
    let bench = start(QUICK, world).await;
    let batch = bench.post("ada").await;
    assert_eq!(bench.until(batch, ENDS).await, [Status::Pending]);
}
