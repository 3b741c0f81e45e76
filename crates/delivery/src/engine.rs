//! The engine: owns the lanes, takes batches, wakes whoever waits, and stops in order.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use invite_config::Live;
use invite_core::{BatchId, Clock, sabotage::crash_point};
use invite_store::{Acceptance, Actor, NewBatch, NoRoom, Placement, Store};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ConfigurationStatus, LiveDocument, Origin, Retention, Review, ReviseError, Revised,
    lane::{self, Lane},
    reconcile, recovery, refresh, replica, retention,
    waiters::Waiters,
};

/// How often a replica looks for what other replicas did.
pub(crate) const SHARED_POLL: Duration = Duration::from_millis(500);

/// The `[delivery]` part of the process's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a claim is held without renewal.
    pub lease: Duration,
    /// Between looking up an unknown outcome and believing that it is absent.
    pub settle: Duration,
    /// How often live invites are asked about; zero switches it off.
    pub refresh: Duration,
    /// How long calls under way may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_retention: Duration,
    /// What is removed of invites that have ended, and when.
    pub retention: Retention,
}

/// Why a batch was not accepted. Nothing of it was stored, but for `Store(CommitUnknown)`.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The process is stopping.
    #[error("the gateway is shutting down and accepts nothing more")]
    ShuttingDown,
    /// A provider's queue is full.
    #[error("the queue of provider `{provider}` is full (limits.max_backlog); try again later")]
    BacklogFull {
        /// Its name.
        provider: String,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// A provider's queue holds as many invites of the tenant as it takes of one.
    #[error(
        "the queue of provider `{provider}` takes no more invites of this tenant \
         (limits.max_backlog_per_tenant); try again later"
    )]
    ShareFull {
        /// Its name.
        provider: String,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// More would be accepted of the caller's key today than may be.
    #[error(
        "{room} more invites of this key are accepted today (invites_per_day of it, or of a key that it \
         descends from); the next day begins at midnight UTC"
    )]
    DayExhausted {
        /// How many more may be.
        room: u64,
        /// When the next day begins.
        retry_after: Duration,
    },
    /// A provider would have more live invites than its administrator allows.
    #[error(
        "provider `{provider}` has room for {room} more live invites (limits.quota is {quota})"
    )]
    QuotaExceeded {
        /// Its name.
        provider: String,
        /// `limits.quota`.
        quota: u64,
        /// How many more it takes.
        room: u64,
    },
    /// Another document went live after the batch was bound to one; binding it again, to the one
    /// that is live now, tells what becomes of it.
    #[error("the provider document was changed meanwhile")]
    Outdated,
    /// The newest document cannot be served here.
    #[error("{}", crate::fault::behind(*.newest))]
    Behind {
        /// Its revision.
        newest: i64,
    },
    /// The database said no, or nothing.
    #[error(transparent)]
    Store(#[from] invite_store::Error),
}

/// The delivery engine, and the trace that what is asked of it belongs to. Cloning shares it.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>, pub(crate) Option<Arc<str>>);

pub(crate) struct Inner {
    pub store: Store,
    pub live: Live,
    pub document: LiveDocument,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub waiters: Waiters,
    pub stopping: CancellationToken,
    pub tasks: TaskTracker,
    /// Names this process in the lanes' leases and among the replicas.
    pub owner: String,
    lanes: Mutex<BTreeMap<String, Arc<Lane>>>,
}

impl Engine {
    /// Recovers what an earlier process left behind, and starts a lane per configured provider.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn start(
        document: LiveDocument,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self, invite_store::Error> {
        let engine = Self(
            Arc::new(Inner {
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
            }),
            None,
        );
        engine.0.store.reexamine().await?;
        // Only one process serves a SQLite database, so whatever is `sending` there has no sender.
        recovery::recover(&engine.0, !engine.0.store.is_shared()).await?;
        // Starts the lanes, too.
        recovery::count_queues(&engine.0).await?;
        let inner = engine.0.clone();
        engine.0.tasks.spawn(recovery::run(inner));
        engine.0.tasks.spawn(replica::run(engine.0.clone()));
        engine.0.tasks.spawn(retention::run(engine.0.clone()));
        Ok(engine)
    }

    /// The same engine for a request of this W3C trace: its attempts record it.
    pub fn traced(&self, traceparent: Option<&str>) -> Self {
        Self(self.0.clone(), traceparent.map(Arc::from))
    }

    /// The live provider document.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What would become of a provider document if it went live now; see [`LiveDocument::review`].
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn review(
        &self,
        text: &str,
        probe: bool,
        actor: Actor,
    ) -> Result<Review, invite_store::Error> {
        self.0.document.review(text, probe, actor).await
    }

    /// Puts a provider document in force; see [`LiveDocument::revise`].
    ///
    /// # Errors
    /// See [`ReviseError`].
    pub async fn revise(
        &self,
        text: &str,
        origin: Origin,
        expected: Option<i64>,
    ) -> Result<Revised, ReviseError> {
        let revised = self.0.document.revise(text, origin, expected).await;
        // Also without it: what another replica had put in force may have been taken first.
        self.0.follow_document();
        revised
    }

    /// Which document is in force, and what was in the way of others.
    pub fn configuration_status(&self) -> ConfigurationStatus {
        self.0.document.status()
    }

    /// Why the newest revision cannot be served here, if it cannot; see [`LiveDocument::lag`].
    pub fn lag(&self) -> Option<String> {
        self.0.document.lag()
    }

    /// Fails if the newest revision cannot be served here; see [`LiveDocument::behind`].
    ///
    /// # Errors
    /// [`AcceptError::Behind`].
    pub fn check_serving(&self) -> Result<(), AcceptError> {
        self.0.document.behind().map_or(Ok(()), |newest| Err(AcceptError::Behind { newest }))
    }

    /// Stores a batch durably and wakes the lanes of its providers.
    ///
    /// # Errors
    /// See [`AcceptError`]; after `CommitUnknown` it may be stored.
    pub async fn accept(&self, batch: NewBatch) -> Result<Acceptance, AcceptError> {
        if self.is_shutting_down() {
            return Err(AcceptError::ShuttingDown);
        }
        let mut new: BTreeMap<String, usize> = BTreeMap::new();
        for item in &batch.items {
            if let Placement::Bound { provider, .. } = &item.placement {
                *new.entry(provider.clone()).or_default() += 1;
            }
        }
        self.check_serving()?;
        let document_stays = self.0.document.hold().await;
        if !self.are_unchanged(new.keys(), batch.config_revision) {
            return Err(AcceptError::Outdated);
        }
        let quotas = self.quotas(new.keys().map(String::as_str));
        self.reserve(&batch.tenant, &new).await?;
        crash_point("accept-before-commit");
        let (store, newest) = (&self.0.store, self.0.live.current().revision());
        let acceptance = store.accept(batch, newest, quotas.clone(), crate::fault::duplicate).await;
        crash_point("accept-after-commit");
        drop(document_stays);
        let queued = match &acceptance {
            Ok(Ok(Acceptance::Accepted { queued, .. })) => queued,
            _ => &BTreeMap::new(),
        };
        for (provider, reserved) in new {
            let lane = self.0.lane(&provider);
            let queued = queued.get(&provider).copied().unwrap_or(0);
            // Duplicates took room and did not need it.
            lane.queue_shrank(reserved.saturating_sub(queued));
            lane.wake.notify_one();
        }
        if let Err(invite_store::Error::Outdated) = acceptance {
            self.0.catch_up().await?;
            return Err(AcceptError::Outdated);
        }
        acceptance?.map_err(|no_room| match no_room {
            NoRoom::Quota { provider, room } => {
                let quota = quotas.get(&provider).copied().unwrap_or_default();
                AcceptError::QuotaExceeded { provider, quota, room }
            }
            NoRoom::Day { room } => self.day_exhausted(room),
        })
    }

    /// Whether all of these are still the accounts that they were under this revision.
    fn are_unchanged<'a>(
        &self,
        mut names: impl Iterator<Item = &'a String>,
        revision: i64,
    ) -> bool {
        let document = self.0.live.current();
        names.all(|name| document.provider(name).is_some_and(|it| it.account_since <= revision))
    }

    /// Returns when every invite of the batch that can be read has left `queued`, `sending` and
    /// `unknown`, when `limit` is over, or when shutdown begins. The caller then reads the batch.
    pub async fn wait_settled(&self, batch: BatchId, limit: Duration) {
        let deadline = Instant::now() + limit;
        let waiting = self.0.waiters.wait_for(batch);
        loop {
            let changed = waiting.changed();
            match self.0.store.batch_counts(batch).await {
                Ok(counts) if counts.by_status.keys().all(|status| status.is_settled()) => return,
                Ok(_) => {}
                // The caller reads the batch next and reports what is wrong.
                Err(_) => return,
            }
            let poll = if self.0.store.is_shared() { SHARED_POLL } else { limit };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(poll) => {}
                () = tokio::time::sleep_until(deadline) => return,
                () = self.0.stopping.cancelled() => return,
            }
        }
    }

    /// A secret of this provider is another one now: what its lane paused for may be over.
    pub fn secret_changed(&self, provider: &str) {
        let lane = self.0.lane(provider);
        lane.with_state(|state| state.resume(self.0.clock.now()));
        lane.wake.notify_one();
        lane.doubt.notify_one();
    }

    /// Whether shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Stops claiming, wakes the waiting callers, and gives the calls under way `shutdown_grace` to
    /// finish and be recorded. What is still under way then is found again by the next process.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        let grace = self.0.settings.shutdown_grace;
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                grace.seconds = grace.as_secs_f64(),
                "calls are still under way after delivery.shutdown_grace; their invites will be \
                 `unknown` at the next start"
            );
        }
    }
}

impl Inner {
    /// Puts the newest stored revision in force, if it can be served here.
    pub async fn catch_up(self: &Arc<Self>) -> Result<(), invite_store::Error> {
        if self.document.catch_up().await? {
            self.follow_document();
        }
        Ok(())
    }

    /// Starts the lanes of providers that are new, and has all others look at the document. The lane
    /// of one that is gone rests.
    pub fn follow_document(self: &Arc<Self>) {
        let document = self.live.current();
        for provider in document.providers() {
            let lane = self.lane(&provider.name);
            lane.wake.notify_one();
            lane.doubt.notify_one();
        }
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes
            .keys()
            .filter(|name| document.provider(name).is_none())
            .for_each(|it| recovery::hide(it));
    }

    /// The lanes that there are.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The lane of a provider, started when first asked for.
    pub fn lane(self: &Arc<Self>, provider: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(provider) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(provider, self.document.budget(provider)));
        lanes.insert(provider.to_owned(), lane.clone());
        if !self.stopping.is_cancelled() {
            self.tasks.spawn(lane::run(self.clone(), lane.clone()));
            self.tasks.spawn(reconcile::run(self.clone(), lane.clone()));
            self.tasks.spawn(refresh::run(Engine(self.clone(), None), lane.clone()));
        }
        lane
    }
}

/// A step of a task that goes on for ever: a defect in an adapter must not end it.
pub(crate) async fn contain<T>(
    step: impl Future<Output = Result<T, invite_store::Error>>,
) -> Result<T, invite_store::Error> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or_else(|_| {
        let why = "a step panicked, which is a defect of the gateway";
        Err(invite_store::Error::Unavailable(why.to_owned()))
    })
}
