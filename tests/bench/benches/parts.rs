//! The parts of sending an invite to Turnkey, each alone: the stamp, the mapping from normalized invites to a body, and
//! storing a request. `cargo bench -p invite-bench`

#![expect(clippy::unwrap_used, reason = "a benchmark ends where something is missing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use invite_core::canned::{Bench, context};
use invite_core::{BatchId, Clock, Invitee, NewInvite, Recipient, Resolved, SystemClock};
use invite_store::{NewBatch, NewItem, OnDuplicate, Placement, Quotas, Store};
use invite_turnkey::stamp::{Stamper, fingerprint};
use serde_json::json;
use tokio::runtime::Runtime;

/// Invites in a call, or a request.
const SIZES: [usize; 2] = [1, 50];
/// Made up.
const KEY: &str = "2f1d1b8a5c3e4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";

fn main() {
    divan::main();
}

fn turnkey() -> Bench {
    let kind = invite_turnkey::kind();
    let settings = json!({
        "base_url": "https://api.turnkey.com",
        "organization_id": "89881fc7-6ff3-4b43-b962-916698f8ff58",
        "api_private_key": { "env": "TURNKEY_API_PRIVATE_KEY" },
        "sender_user_id": "c7517305-6772-4e74-8101-108fbab0c11e",
    });
    Bench::build(kind.build, "treasury", &settings, &[KEY], SystemClock.now()).unwrap()
}

/// Somebody whom nothing else names.
fn person() -> Invitee {
    static PEOPLE: AtomicU64 = AtomicU64::new(0);
    let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
    Invitee {
        email: format!("person.{number:08}@example.org"),
        first_name: Some("Ada".into()),
        last_name: Some("Lovelace".into()),
        ..Invitee::default()
    }
}

fn body(turnkey: &Bench, runtime: &Runtime, invites: usize) -> String {
    let recipients: Vec<Recipient> = (0..invites).map(|_| turnkey.recipient(person())).collect();
    runtime.block_on(turnkey.prepare(&context(), &recipients, SystemClock.now())).unwrap().body
}

#[divan::bench(args = SIZES)]
fn stamping_a_body(bencher: Bencher<'_, '_>, invites: usize) {
    let body = body(&turnkey(), &Runtime::new().unwrap(), invites);
    let stamper = Stamper::parse(KEY).unwrap();
    bencher.bench(|| stamper.stamp(divan::black_box(body.as_bytes())));
}

#[divan::bench]
fn reading_the_key() -> Stamper {
    Stamper::parse(divan::black_box(KEY)).unwrap()
}

#[divan::bench(args = SIZES)]
fn naming_a_body(bencher: Bencher<'_, '_>, invites: usize) {
    let body = body(&turnkey(), &Runtime::new().unwrap(), invites);
    bencher.bench(|| fingerprint(divan::black_box(body.as_bytes())));
}

#[divan::bench(args = SIZES)]
fn mapping_invites_to_a_body(bencher: Bencher<'_, '_>, invites: usize) {
    let (turnkey, runtime) = (turnkey(), Runtime::new().unwrap());
    let recipients: Vec<Recipient> = (0..invites).map(|_| turnkey.recipient(person())).collect();
    let at = SystemClock.now();
    bencher.bench(|| runtime.block_on(turnkey.prepare(&context(), &recipients, at)).unwrap());
}

#[divan::bench(args = SIZES)]
fn binding_invites(bencher: Bencher<'_, '_>, invites: usize) {
    let turnkey = turnkey();
    let invites: Vec<NewInvite> =
        (0..invites).map(|_| NewInvite { invitee: person(), ..NewInvite::default() }).collect();
    bencher.bench(|| {
        invites.iter().map(|invite| turnkey.resolve(invite).unwrap()).collect::<Vec<Resolved>>()
    });
}

/// With the transaction that makes them durable.
#[divan::bench(args = SIZES)]
fn accepting_a_request(bencher: Bencher<'_, '_>, invites: usize) {
    let (turnkey, runtime) = (turnkey(), Runtime::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("invites.db").display());
    let store = runtime.block_on(Store::open(&url, Arc::new(SystemClock))).unwrap();
    bencher.with_inputs(|| batch(&turnkey, invites)).bench_values(|batch| {
        runtime.block_on(store.accept(batch, 0, Quotas::new())).unwrap().unwrap()
    });
    runtime.block_on(store.close());
}

fn batch(turnkey: &Bench, invites: usize) -> NewBatch {
    let item = |index| {
        let Recipient { id, invitee, address, destination, params } = turnkey.recipient(person());
        NewItem {
            id,
            index,
            invitee,
            address: Some(address),
            external_id: None,
            labels: Default::default(),
            placement: Placement::Bound {
                provider: "treasury".into(),
                kind: "turnkey".into(),
                destination,
                call_key: String::new(),
                params,
                route: None,
            },
        }
    };
    NewBatch {
        id: BatchId::generate(),
        tenant: "default".into(),
        config_revision: 0,
        traceparent: None,
        idempotency: None,
        day_limits: Vec::new(),
        on_duplicate: OnDuplicate::ReturnExisting,
        items: (0..invites).map(item).collect(),
    }
}
