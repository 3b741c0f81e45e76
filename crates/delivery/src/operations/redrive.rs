//! Putting failed invites back into the queue, one of them or by a filter, where there is room and the person has no
//! other live invite. Both are decided in the transaction that queues an invite.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use invite_config::Provider;
use invite_core::{InviteId, Status};
use invite_store::{DayLimit, InviteFilter, InviteRecord, InviteState, Requeued};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    ask::Result,
    error::{AcceptError, OperationError},
    shared::Engine,
    transition,
};

/// Invites read and queued at once.
const PAGE: u32 = 200;

/// What became of the failed invites that a filter matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Redriven {
    /// Failed invites that the filter matched and that can be sent at all.
    pub matched: u64,
    /// Queued again; in a dry run those that would be.
    pub queued: u64,
    /// Left alone: the person has a live invite there by now.
    pub duplicates: u64,
    /// Left alone: their provider is no longer configured, its backlog or quota or the day of the key
    /// that asks (`invites_per_day`) is full, or they are not `failed` any more, or known to exist there,
    /// or may exist there.
    pub left: u64,
}

impl Engine {
    /// Puts a failed invite back in the queue; an unknown one, or one that may have taken effect, if
    /// the risk of a second effect is accepted. It counts for the `day_limits` of the key that asks.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn retry(
        &self,
        id: InviteId,
        accept_duplicate_risk: bool,
        day_limits: Vec<DayLimit>,
    ) -> Result<InviteRecord> {
        let invite = self.find(id).await?;
        if invite.destination.is_none() {
            return Err(OperationError::NeverBound);
        }
        let status = invite.status_at(self.shared.clock.now()).0;
        match status {
            Status::Failed if transition::is_risky(&invite.state) && !accept_duplicate_risk => {
                return Err(OperationError::Risky);
            }
            Status::Failed => {}
            Status::Unknown if accept_duplicate_risk => {}
            Status::Queued | Status::Sending | Status::Unknown => {
                return Err(OperationError::NotSettled { status });
            }
            status if status.is_final() => return Err(OperationError::AlreadyFinal { status }),
            status => return Err(OperationError::NotRetryable { status }),
        }
        self.shared.counted.wait().await;
        let _document_stays = self.shared.document.freeze().await;
        let provider = self.provider_of(&invite)?;
        let room = BTreeMap::from([(provider.name.clone(), 1)]);
        self.reserve(&invite.tenant, &room).await?;
        let requeued = self.requeue(vec![invite], accept_duplicate_risk, day_limits).await?.pop();
        match requeued.unwrap_or(Requeued::Declined) {
            Requeued::Written(invite) => Ok(*invite),
            Requeued::Duplicate(existing) => Err(OperationError::Duplicate { existing }),
            Requeued::QuotaExceeded => Err(OperationError::NoRoom(AcceptError::QuotaExceeded {
                provider: provider.name.clone(),
                quota: provider.limits.quota.unwrap_or_default(),
                room: 0,
            })),
            Requeued::DayExhausted => Err(OperationError::NoRoom(self.day_exhausted(0))),
            // Its status changed while this was being decided.
            Requeued::Declined => {
                let status = self.find(id).await?.state.status();
                Err(OperationError::NotSettled { status })
            }
        }
    }

    /// Queues the failed invites that `filter` matches again, newest first, each by the rules of
    /// [`retry`](Self::retry); a dry run only counts, and looks at no `day_limits`.
    ///
    /// # Errors
    /// If the store cannot be read or written; what was queued until then stays queued.
    pub async fn redrive(
        &self,
        filter: InviteFilter,
        dry_run: bool,
        day_limits: &[DayLimit],
    ) -> Result<Redriven, invite_store::Error> {
        let filter = InviteFilter { statuses: vec![Status::Failed], ..filter };
        let mut dry = if dry_run { Some(DryRun::new(self).await?) } else { None };
        let mut redriven = Redriven::default();
        let mut full = BTreeSet::new();
        let mut before = None;
        loop {
            let mut page = self.store().invites(&filter, before, PAGE).await?;
            page.invites.retain(|invite| invite.destination.is_some() && !invite.is_erased);
            redriven.matched += page.invites.len() as u64;
            match &mut dry {
                Some(dry) => dry.count(self, &page.invites, &mut redriven).await?,
                None => {
                    let limits = day_limits.to_vec();
                    self.redrive_page(page.invites, limits, &mut full, &mut redriven).await?;
                }
            }
            before = page.next;
            if before.is_none() {
                return Ok(redriven);
            }
        }
    }

    /// `full` holds the providers whose quota was found used up.
    async fn redrive_page(
        &self,
        mut invites: Vec<InviteRecord>,
        day_limits: Vec<DayLimit>,
        full: &mut BTreeSet<String>,
        redriven: &mut Redriven,
    ) -> Result<(), invite_store::Error> {
        self.shared.counted.wait().await;
        let _document_stays = self.shared.document.freeze().await;
        let asked = invites.len() as u64;
        invites.retain(|invite| {
            let provider = self.provider_of(invite).ok();
            let open = provider.filter(|provider| !full.contains(&provider.name));
            open.is_some_and(|it| self.shared.lane(&it.name).reserve(1, it.limits.max_backlog))
        });
        redriven.left += asked - invites.len() as u64;
        if invites.is_empty() {
            return Ok(());
        }
        let providers: Vec<_> = invites.iter().map(|invite| invite.provider.clone()).collect();
        let requeued = self.requeue(invites, false, day_limits).await?;
        for (requeued, provider) in requeued.iter().zip(providers) {
            match requeued {
                Requeued::Written(invite) if invite.state.status() == Status::Queued => {
                    redriven.queued += 1;
                }
                Requeued::Duplicate(_) => redriven.duplicates += 1,
                Requeued::Written(_) | Requeued::Declined | Requeued::DayExhausted => {
                    redriven.left += 1;
                }
                Requeued::QuotaExceeded => {
                    redriven.left += 1;
                    full.extend(provider);
                }
            }
        }
        Ok(())
    }

    /// Queues invites for which room is reserved in their providers' queues, and frees the room that was not needed.
    async fn requeue(
        &self,
        invites: Vec<InviteRecord>,
        accept_duplicate_risk: bool,
        day_limits: Vec<DayLimit>,
    ) -> Result<Vec<Requeued>, invite_store::Error> {
        let mut unused: BTreeMap<String, usize> = BTreeMap::new();
        for provider in invites.iter().filter_map(|invite| invite.provider.clone()) {
            *unused.entry(provider).or_default() += 1;
        }
        let quotas = self.quotas(unused.keys().map(String::as_str));
        let decide = move |_, _: &InviteRecord, state: &mut InviteState, now: Timestamp| {
            transition::requeue(state, accept_duplicate_risk, now)
        };
        let newest = self.shared.live.current().revision();
        let requeued = match self.check_serving() {
            Ok(()) => self.shared.store.requeue(invites, newest, quotas, day_limits, decide).await,
            Err(_) => Err(invite_store::Error::Outdated),
        };
        let written = requeued.iter().flatten().filter_map(|requeued| match requeued {
            Requeued::Written(invite) => Some(invite),
            _ => None,
        });
        for invite in written {
            if invite.state.status() == Status::Queued
                && let Some(count) = invite.provider.as_ref().and_then(|name| unused.get_mut(name))
            {
                *count -= 1;
            }
            self.shared.waiters.wake(std::iter::once(invite.batch_id));
        }
        for (name, unused) in unused {
            let lane = self.shared.lane(&name);
            lane.queue_shrank(unused);
            lane.wake_for_all();
        }
        requeued
    }
}

/// What a dry run has to know: what there is room for, and who would have an invite by now.
struct DryRun {
    /// Invites that each configured provider would still take.
    room: BTreeMap<String, u64>,
    /// Hashes of the people whose invites would be queued.
    people: HashSet<u64>,
}

impl DryRun {
    async fn new(engine: &Engine) -> Result<Self, invite_store::Error> {
        let counts = engine.store().provider_counts().await?;
        let room = |provider: &Arc<Provider>| {
            let counts = counts.get(&provider.name);
            let queued = counts.and_then(|counts| counts.get(&Status::Queued)).copied();
            let backlog = provider.limits.max_backlog.saturating_sub(queued.unwrap_or(0));
            let live: u64 = counts.map_or(0, |counts| counts.values().sum());
            let quota = provider.limits.quota.map(|quota| quota.saturating_sub(live));
            (provider.name.clone(), quota.unwrap_or(backlog).min(backlog))
        };
        let room = engine.live().current().providers().map(room).collect();
        Ok(Self { room, people: HashSet::new() })
    }

    async fn count(
        &mut self,
        engine: &Engine,
        invites: &[InviteRecord],
        redriven: &mut Redriven,
    ) -> Result<(), invite_store::Error> {
        let duplicates = engine.store().live_duplicates(invites).await?;
        for (invite, existing) in invites.iter().zip(duplicates) {
            let person = (&invite.tenant, &invite.destination, &invite.address);
            let person = BuildHasherDefault::<DefaultHasher>::default().hash_one(person);
            let room = invite.provider.as_ref().and_then(|name| self.room.get_mut(name));
            let can_be_sent =
                invite.state.provider_ref.is_none() && !transition::is_risky(&invite.state);
            let Some(room) = room.filter(|room| **room > 0 && can_be_sent) else {
                redriven.left += 1;
                continue;
            };
            if existing.is_some() || !self.people.insert(person) {
                redriven.duplicates += 1;
            } else {
                *room -= 1;
                redriven.queued += 1;
            }
        }
        Ok(())
    }
}
