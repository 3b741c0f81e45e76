//! Changing invites: read, decide and write in one transaction, with the attempt that it is for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use invite_core::{Address, InviteId};
use jiff::Timestamp;

use crate::{
    AttemptEnd, Error, InviteRecord, InviteState, NewAttempt, Store,
    admission::address_locks,
    attempts::{begin_attempt, end_attempt},
    clash::{Clash, find_clash},
    completing::reopen,
    connection::Connection,
    debug::debug_only,
    dialect::REVISION_LOCK_SHARED,
    epochs::is_lane_held,
    events::NewEvents,
    keyed::HashKey,
    rows::{SET_STATE, read_invites, state_values},
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// Decides about the invite at a place: gets its record, the state to change, and the time by the store's clock. It must be
/// pure, as it may be called again for the same change.
pub type Decide =
    dyn Fn(usize, &InviteRecord, &mut InviteState, Timestamp) -> Decision + Send + Sync;

/// A change of some invites, all of it or nothing.
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Change {
    pub invites: Vec<InviteId>,
    /// What the caller knows of all of these, in their order, so that they are read again only if one was written since; or
    /// nothing.
    pub known: Vec<InviteRecord>,
    /// An attempt that begins with it, for these invites in this order.
    pub begin: Option<NewAttempt>,
    /// An attempt that ends with it: the one that begins, or one that began earlier.
    pub end: Option<AttemptEnd>,
    /// If the attempt has ended before, `end` does not change how.
    pub keeps_end: bool,
    /// The change is made only while the lane of this provider has this epoch.
    pub lane: Option<(String, i64)>,
    /// People to whom no other replica may bring an invite into doubt meanwhile: no index keeps apart two invites whose
    /// destinations only may be the same.
    pub people: Vec<Address>,
    pub decide: Box<Decide>,
}

impl Change {
    /// A change without an attempt, whoever has the lane.
    pub fn of(
        invites: Vec<InviteId>,
        decide: impl Fn(usize, &InviteRecord, &mut InviteState, Timestamp) -> Decision
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let decide = Box::new(decide);
        let (lane, people) = (None, Vec::new());
        let known = Vec::new();
        Self { invites, known, begin: None, end: None, keeps_end: false, lane, people, decide }
    }

    /// A change that is decided about each invite by its state and the time alone.
    pub fn each(
        invites: Vec<InviteId>,
        decide: impl Fn(&mut InviteState, Timestamp) -> Decision + Send + Sync + 'static,
    ) -> Self {
        Self::of(invites, move |_, _, state, now| decide(state, now))
    }
}

debug_only!(Change: invites, begin, end, lane);

/// What becomes of one invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it was.
    Keep,
    /// The state is written.
    Write,
    /// Nothing at all is written, for any invite.
    Abort,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It is written. The invites as they are now, in the order asked for; those that do not exist
    /// or cannot be read are left out, and nothing is written of them.
    Written(Vec<InviteRecord>),
    /// Nothing was written: it was decided so.
    Aborted,
    /// Nothing was written: another invite to the same person at the same destination is `sending`
    /// or `unknown`.
    PersonTaken {
        /// The invite of this change that was to become so too.
        invite: InviteId,
    },
    /// Nothing was written: another attempt has the call's fingerprint.
    FingerprintTaken,
    /// Nothing was written: the lane has another epoch.
    LaneLost,
    /// Nothing was written: another invite holds a provider id.
    ProviderRefTaken {
        /// The invite of this change that was to hold it.
        invite: InviteId,
    },
}

impl From<Clash> for Changed {
    fn from(clash: Clash) -> Self {
        match clash {
            Clash::Person(invite) => Self::PersonTaken { invite },
            Clash::ProviderRef(invite) => Self::ProviderRefTaken { invite },
            Clash::Fingerprint => Self::FingerprintTaken,
        }
    }
}

impl Store {
    /// Reads some invites, decides about each, and writes what changed, in one transaction.
    ///
    /// # Errors
    /// After [`Error::CommitUnknown`] the caller does not know whether its claim holds and must
    /// send nothing.
    pub async fn change(&self, change: Change) -> Result<Changed, Error> {
        let change = Arc::new(change);
        match self.change_once(&change, true).await {
            // Now what another wrote can be seen, so that the result says what clashes.
            Err(Error::Conflict(_)) => self.change_once(&change, false).await,
            result => result,
        }
    }

    /// `trusts` what the caller knows until it shows that an invite was written since.
    async fn change_once(&self, change: &Arc<Change>, trusts: bool) -> Result<Changed, Error> {
        let no_revision = change.lane.iter().map(|_| REVISION_LOCK_SHARED);
        let locks = address_locks(change.people.iter()).chain(no_revision).collect();
        let data = (Arc::clone(change), Arc::clone(self.hash_key()));
        let trusts = trusts && change.knows_all();
        self.write(locks, data, move |tx, (change, key)| Box::pin(apply(tx, change, key, trusts)))
            .await
    }
}

impl Change {
    fn knows_all(&self) -> bool {
        !self.known.is_empty()
            && self.known.iter().map(|known| known.id).eq(self.invites.iter().copied())
    }
}

async fn apply(
    mut tx: Tx<'_>,
    change: &Change,
    key: &HashKey,
    trusts: bool,
) -> Result<Changed, Error> {
    if let Some((provider, epoch)) = &change.lane
        && !is_lane_held(&mut tx, provider, *epoch).await?
    {
        return Ok(Changed::LaneLost);
    }
    let call = change.begin.as_ref().and_then(|attempt| attempt.call.as_ref());
    let fingerprint = call.and_then(|call| call.fingerprint.as_deref());
    let mut decided = None;
    if trusts {
        let invites = change.known.clone();
        // What is written shows whether it was written since; for anything else it has to be read.
        if let Some(states) = decide(change, &invites, tx.now)
            && states.len() == invites.len()
            && find_clash(tx.connection, &invites, &states, fingerprint, key).await?.is_none()
            && write_states(tx.connection, tx.events, &invites, &states).await?
        {
            decided = Some((invites, states));
        }
    }
    let (mut invites, states) = match decided {
        Some(decided) => decided,
        None => {
            let lock = tx.dialect.for_update();
            let invites = read_invites(tx.connection, &change.invites, lock).await?;
            if change.lane.is_some() && invites.len() < change.invites.len() {
                // A call is claimed with all of its invites or not at all.
                return Ok(Changed::Aborted);
            }
            let Some(states) = decide(change, &invites, tx.now) else {
                return Ok(Changed::Aborted);
            };
            let clash = find_clash(tx.connection, &invites, &states, fingerprint, key).await?;
            if let Some(clash) = clash {
                return Ok(clash.into());
            }
            if !write_states(tx.connection, tx.events, &invites, &states).await? {
                return Err(Error::Conflict(WRITTEN_MEANWHILE.to_owned()));
            }
            (invites, states)
        }
    };
    // The texts would tell of a person who was erased.
    let keeps_texts = !invites.iter().any(|invite| invite.is_erased);
    if let Some(attempt) = &change.begin {
        begin_attempt(tx.connection, attempt, &change.invites, &invites).await?;
    }
    if let Some(end) = &change.end {
        match keeps_texts {
            true => end_attempt(tx.connection, end, change.keeps_end).await?,
            false => end_attempt(tx.connection, &end.without_texts(), change.keeps_end).await?,
        }
    }
    for invite in &mut invites {
        if let Some(state) = states.get(&invite.id) {
            invite.state = state.clone();
            invite.version += 1;
        }
    }
    Ok(Changed::Written(invites))
}

fn decide(
    change: &Change,
    invites: &[InviteRecord],
    now: Timestamp,
) -> Option<HashMap<InviteId, InviteState>> {
    let mut found = invites.iter().peekable();
    let mut states = HashMap::new();
    for (place, id) in change.invites.iter().enumerate() {
        let Some(invite) = found.next_if(|invite| invite.id == *id) else { continue };
        let mut state = invite.state.clone();
        match (change.decide)(place, invite, &mut state, now) {
            Decision::Write if invite.is_erased => {
                if state.provider_ref.is_some() {
                    tracing::error!(
                        invite.id = %invite.id,
                        "a reply shows an effect of an invite whose person was erased, and it is not kept: withdraw it at the provider"
                    );
                }
            }
            Decision::Keep => {}
            Decision::Write => {
                state.follow(&invite.state, now);
                states.insert(invite.id, state);
            }
            Decision::Abort => return None,
        }
    }
    Some(states)
}

const WRITTEN_MEANWHILE: &str = "an invite was written meanwhile";

/// Writes these states of these invites, with their events; false if nothing was written, because they were since they were read.
///
/// # Errors
/// [`Error::Conflict`] if that is so of some only.
pub(crate) async fn write_states(
    connection: &mut Connection,
    events: &mut NewEvents,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
) -> Result<bool, Error> {
    let mut written: Vec<_> = invites
        .iter()
        .filter_map(|invite| Some((invite.id, invite.version, states.get(&invite.id)?)))
        .collect();
    // Sorted, so that two replicas that lock rows do not wait for each other.
    written.sort_unstable_by_key(|(id, ..)| *id);
    for (place, chunk) in chunks(&written).enumerate() {
        let rows = chunk.iter().map(|(id, version, state)| {
            let version = Value::Number(i64::try_from(*version).ok());
            std::iter::once(Value::from(id.to_string())).chain(state_values(state)).chain([version])
        });
        let count = Statement::new(SET_STATE)
            .text(" FROM ")
            .rows(rows)
            .text(" WHERE invites.id = v.column1 AND invites.version = v.column27")
            .execute(connection)
            .await?;
        if count == 0 && place == 0 {
            return Ok(false);
        }
        if count < chunk.len() as u64 {
            return Err(Error::Conflict(WRITTEN_MEANWHILE.to_owned()));
        }
    }
    let mut reopened = BTreeSet::new();
    for invite in invites {
        let Some(state) = states.get(&invite.id) else { continue };
        events.changed(invite, state);
        if invite.state.status().is_settled() && !state.status().is_settled() {
            reopened.insert(invite.batch_id.to_string());
        }
    }
    reopen(connection, &reopened).await?;
    Ok(true)
}
