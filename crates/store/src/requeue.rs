//! Putting invites back into the queue, each only if it may be live by now.

use std::collections::{BTreeMap, HashMap};

use invite_core::{InviteId, Status};
use jiff::Timestamp;

use crate::{
    DayLimit, Decide, Decision, Error, InviteRecord, InviteState, Quotas, Store,
    admission::{Person, Rooms, address_locks, find_live, people, quota_locks},
    change::write_states,
    dialect::REVISION_LOCK_SHARED,
    key_days::{self, Days},
    revisions::is_newest,
    rows::read_invites,
    writer::Tx,
};

/// What became of an invite that was to be queued again.
#[derive(Clone, Debug, PartialEq)]
pub enum Requeued {
    /// The decision is written; the invite as it is now.
    Written(Box<InviteRecord>),
    /// It stays as it was: this other invite of its tenant to the same person at the same destination is live.
    Duplicate(InviteId),
    /// It stays as it was: its provider has as many live invites as its quota allows.
    QuotaExceeded,
    /// It stays as it was: no more invites of the caller's key are queued today.
    DayExhausted,
    /// It stays as it was: its status is another by now, or it is not there.
    Declined,
}

struct Requeue {
    invites: Vec<InviteRecord>,
    newest: i64,
    quotas: Quotas,
    day_limits: Vec<DayLimit>,
    decide: Box<Decide>,
}

impl Store {
    /// Queues those of these invites again, in one transaction, that `decide` is for, whose person has no other live invite, and
    /// for which there is room at the provider and in the `day_limits` of the key that asks. `newest` is the newest revision
    /// of the provider document that the caller knows of. Returns what became of each, in their order.
    ///
    /// # Errors
    /// [`Error::Outdated`] if there is a newer revision by now, or the database cannot be used. After
    /// [`Error::CommitUnknown`] they may be queued.
    pub async fn requeue(
        &self,
        invites: Vec<InviteRecord>,
        newest: i64,
        quotas: Quotas,
        day_limits: Vec<DayLimit>,
        decide: impl Fn(usize, &InviteRecord, &mut InviteState, Timestamp) -> Decision
        + Send
        + Sync
        + 'static,
    ) -> Result<Vec<Requeued>, Error> {
        let people = address_locks(invites.iter().filter_map(|invite| invite.address.as_ref()));
        let providers = invites.iter().filter_map(|invite| invite.provider.as_deref());
        let locks = people
            .chain(quota_locks(providers, &quotas))
            .chain(key_days::locks(&day_limits))
            .chain([REVISION_LOCK_SHARED])
            .collect();
        let decide = Box::new(decide);
        let requeue = Requeue { invites, newest, quotas, day_limits, decide };
        self.write(locks, requeue, |tx, requeue| Box::pin(apply(tx, requeue))).await
    }
}

async fn apply(mut tx: Tx<'_>, requeue: &Requeue) -> Result<Vec<Requeued>, Error> {
    if !is_newest(&mut tx, requeue.newest).await? {
        return Err(Error::Outdated);
    }
    let Tx { connection, now, dialect, events, .. } = tx;
    let mut days = Days::of(connection, now, requeue.day_limits.iter()).await?;
    let ids: Vec<InviteId> = requeue.invites.iter().map(|invite| invite.id).collect();
    let found = read_invites(connection, &ids, dialect.for_update()).await?;
    let live = find_live(connection, now, &people(&found)).await?;
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    // An invite that is live already takes no more room.
    for invite in found.iter().filter(|invite| !invite.state.status().is_live()) {
        if let Some(provider) = &invite.provider {
            *wanted.entry(provider).or_default() += 1;
        }
    }
    let mut rooms = Rooms::find(connection, now, &requeue.quotas, requeue.newest, &wanted).await?;

    let mut left = found.iter().peekable();
    let mut taken: HashMap<Person, InviteId> = HashMap::new();
    let mut states = HashMap::new();
    let mut requeued = Vec::with_capacity(ids.len());
    for (place, id) in ids.iter().enumerate() {
        let Some(invite) = left.next_if(|invite| invite.id == *id) else {
            requeued.push(Requeued::Declined);
            continue;
        };
        let mut state = invite.state.clone();
        if invite.is_erased || (requeue.decide)(place, invite, &mut state, now) != Decision::Write {
            requeued.push(Requeued::Declined);
            continue;
        }
        let person = Person::of(invite);
        let existing = live.get(id).or(person.as_ref().and_then(|person| taken.get(person)));
        if let Some(existing) = existing {
            requeued.push(Requeued::Duplicate(*existing));
            continue;
        }
        let is_queued = state.status() == Status::Queued;
        if is_queued && days.room(&requeue.day_limits) == 0 {
            requeued.push(Requeued::DayExhausted);
            continue;
        }
        let becomes_live = !invite.state.status().is_live();
        if let Some(provider) = invite.provider.as_deref().filter(|_| becomes_live) {
            if rooms.left(provider) == Some(0) {
                requeued.push(Requeued::QuotaExceeded);
                continue;
            }
            rooms.take(provider, 1);
        }
        if is_queued {
            days.take(&requeue.day_limits, 1);
        }
        taken.extend(person.map(|person| (person, invite.id)));
        state.follow(&invite.state, now);
        states.insert(invite.id, state.clone());
        let written = InviteRecord { state, version: invite.version + 1, ..invite.clone() };
        requeued.push(Requeued::Written(Box::new(written)));
    }
    write_states(connection, events, &found, &states).await?;
    rooms.store(connection).await?;
    days.store(connection).await?;
    Ok(requeued)
}
