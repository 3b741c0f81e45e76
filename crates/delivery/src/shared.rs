//! What everything here uses: store, document, clock, settings, who waits, and the lanes as data. It starts nothing;
//! [`crate::engine`] does.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use invite_config::Live;
use invite_core::{Clock, http::HttpClient};
use invite_store::{News, Stage, Store};
use tokio::sync::{Notify, SetOnce};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{lane::Lane, revise::LiveDocument, waiters::Waiters};

/// How often a replica looks for what other replicas have done.
pub(crate) const SHARED_POLL: Duration = Duration::from_millis(500);
/// How often an idle lane looks for work.
const IDLE: Duration = Duration::from_secs(10);

/// The `[delivery]` part of the process's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a claim is held without renewal.
    pub lease: Duration,
    /// How far apart two look-ups have to be before an absence is believed, and how long after the call's end the
    /// first of them may begin.
    pub settle: Duration,
    /// How often open invites are asked about; zero switches it off.
    pub refresh: Duration,
    /// How long calls under way may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_retention: Duration,
    /// What is removed of invites that have ended, and when.
    pub retention: Retention,
    /// After how long without anything taken a webhook is disabled, and an event is sent to it no more.
    pub webhook_give_up: Duration,
}

/// After how long from its end something is removed of an invite; none: never. No stage is earlier than
/// the one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// What was exchanged with its provider.
    pub bodies: Option<Duration>,
    /// All that may tell of its person.
    pub person: Option<Duration>,
    /// Its row.
    pub row: Option<Duration>,
    /// Counted from when it was made: an entry of the record of changes.
    pub audit: Option<Duration>,
    /// Counted from when it was written: an event.
    pub events: Option<Duration>,
}

impl Retention {
    pub(crate) fn stages(self) -> impl Iterator<Item = (Stage, Duration)> {
        [(Stage::Bodies, self.bodies), (Stage::Person, self.person), (Stage::Row, self.row)]
            .into_iter()
            .filter_map(|(stage, age)| Some((stage, age?)))
    }
}

/// The delivery engine, for one request. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    /// The W3C trace of the request that asks.
    pub(crate) trace: Option<Arc<str>>,
}

pub(crate) struct Shared {
    pub store: Store,
    pub live: Live,
    pub document: LiveDocument,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub waiters: Waiters,
    pub stopping: CancellationToken,
    /// The tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// Names this process in the lanes' leases and among the replicas.
    pub owner: String,
    lanes: Mutex<BTreeMap<String, Arc<Lane>>>,
    /// Whether other replicas were there when the replica loop last looked.
    pub has_others: AtomicBool,
    /// Set once it was counted what earlier processes left queued: until then nobody knows for how much more there is room.
    pub counted: SetOnce<()>,
    /// Notified when a lane was added.
    pub lane_added: Notify,
    /// Made when it is first needed.
    pub webhook_client: OnceLock<HttpClient>,
}

impl Engine {
    /// The same engine for a request of this W3C trace: its attempts record it.
    pub fn traced(&self, traceparent: Option<&str>) -> Self {
        Self { shared: self.shared.clone(), trace: traceparent.map(Arc::from) }
    }

    /// The live provider document.
    pub fn live(&self) -> &Live {
        &self.shared.live
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What this process is called among the replicas.
    pub fn replica(&self) -> &str {
        &self.shared.owner
    }

    /// Whether shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.shared.stopping.is_cancelled()
    }

    /// Returns when shutdown begins.
    pub async fn shutdown_begun(&self) {
        self.shared.stopping.cancelled().await;
    }
}

impl Shared {
    pub fn new(document: LiveDocument, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        Self {
            store: document.store().clone(),
            live: document.live().clone(),
            document,
            clock,
            settings,
            waiters: Waiters::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            owner: invite_core::ReplicaId::generate().to_string(),
            lanes: Mutex::default(),
            has_others: AtomicBool::new(false),
            counted: SetOnce::new(),
            lane_added: Notify::new(),
            webhook_client: OnceLock::new(),
        }
    }

    /// Tells the other replicas, if there are any, so that they need not look.
    pub fn tell_others(&self, news: impl Iterator<Item = News>) {
        if self.has_others.load(Ordering::Relaxed) {
            self.store.tell(news);
        }
    }

    /// Puts the newest stored revision in force, if it can be served here.
    pub async fn catch_up(&self) -> Result<(), invite_store::Error> {
        if self.document.catch_up().await? {
            self.sync_lanes();
        }
        Ok(())
    }

    /// Makes sure that each provider of the live document has a lane, and wakes all lanes to look at the document. The lane
    /// of a provider that is gone rests.
    pub fn sync_lanes(&self) {
        let document = self.live.current();
        for provider in document.providers() {
            let lane = self.lane(&provider.name);
            lane.wake_for_all();
            lane.wake_look_ups.notify_one();
        }
        let is_gone = |lane: &&Arc<Lane>| document.provider(&lane.name).is_none();
        self.lanes().iter().filter(is_gone).for_each(|lane| lane.set_gauges(None, |_| 0));
    }

    /// How long to sleep when nothing is due.
    pub fn idle(&self) -> Duration {
        if self.store.is_shared() { SHARED_POLL } else { IDLE }
    }

    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The lane of a provider, made if need be; then [`crate::engine`] starts its tasks.
    pub fn lane(&self, provider: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(provider) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(provider, self.document.budget(provider)));
        lanes.insert(provider.to_owned(), lane.clone());
        self.lane_added.notify_one();
        lane
    }

    /// Waits for a while, or until shutdown.
    pub async fn pause(&self, time: Duration) {
        // Whichever comes first, the caller goes on.
        let _ = tokio::time::timeout(time, self.stopping.cancelled()).await;
    }
}

/// Makes an error of a panic in a step, so that a defect in an adapter does not end a task that goes on for ever.
pub(crate) async fn catch_panic<T>(
    step: impl Future<Output = Result<T, invite_store::Error>>,
) -> Result<T, invite_store::Error> {
    let panicked = invite_store::Error::Defect("a step of a loop panicked");
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or(Err(panicked))
}
