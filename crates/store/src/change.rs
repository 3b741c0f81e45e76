//! Changing invites: read, decide and write in one transaction, with the attempt that it is for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use invite_core::{Address, Destination, InviteId};
use jiff::Timestamp;

use crate::{
    AttemptEnd, Error, InviteRecord, InviteState, NewAttempt, Store,
    accounts::MAY_BE_COLUMN1,
    admission::address_locks,
    attempts::{begin_attempt, end_attempt},
    connection::Connection,
    debug::debug_only,
    dialect::REVISION_LOCK_SHARED,
    epochs::is_lane_held,
    keyed::HashKey,
    query::read_invites,
    rows::{MAY_HAVE_HOLDER, SET_STATE, state_values},
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
    let mut decided = None;
    if trusts {
        let invites = change.known.clone();
        // What is written shows whether it was written since; for anything else it has to be read.
        if let Some(states) = decide(change, &invites, tx.now)
            && states.len() == invites.len()
            && find_clashes(tx.connection, change, &invites, &states, key).await?.is_none()
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
            if let Some(clash) = find_clashes(tx.connection, change, &invites, &states, key).await?
            {
                return Ok(clash);
            }
            (invites, states)
        }
    };
    write_states(tx.connection, &invites, &states).await?;
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

/// What another invite or attempt has already that one of this change would have.
async fn find_clashes(
    connection: &mut Connection,
    change: &Change,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
    key: &HashKey,
) -> Result<Option<Changed>, Error> {
    if let Some(invite) = find_person_taken(connection, invites, states).await? {
        return Ok(Some(Changed::PersonTaken { invite }));
    }
    if let Some(invite) = find_ref_taken(connection, invites, states, key).await? {
        return Ok(Some(Changed::ProviderRefTaken { invite }));
    }
    let call = change.begin.as_ref().and_then(|attempt| attempt.call.as_ref());
    Ok(match call.and_then(|call| call.fingerprint.as_deref()) {
        Some(fingerprint) if is_fingerprint_taken(connection, fingerprint, key).await? => {
            Some(Changed::FingerprintTaken)
        }
        _ => None,
    })
}

/// The states to write; `None` if the change is aborted.
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
                state.updated_at = now;
                state.round_as_stored();
                states.insert(invite.id, state);
            }
            Decision::Abort => return None,
        }
    }
    Some(states)
}

/// An invite, and the destination and text that no other invite may have together.
type Unique<'a> = (InviteId, &'a Destination, &'a str);

/// An invite of the change that becomes `sending` or `unknown` while another one to the same person is.
async fn find_person_taken(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
) -> Result<Option<InviteId>, Error> {
    let entering: Vec<Unique<'_>> = invites
        .iter()
        .filter(|invite| !invite.state.has_holder())
        .filter(|invite| states.get(&invite.id).is_some_and(InviteState::has_holder))
        .filter_map(|invite| {
            let address = invite.address.as_ref().map_or("", Address::as_str);
            Some((invite.id, invite.destination.as_ref()?, address))
        })
        .collect();
    find_clash(connection, &entering, "invites", "address", MAY_HAVE_HOLDER).await
}

/// An invite of the change whose new provider id another one holds, or held until its person was erased.
async fn find_ref_taken(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
    key: &HashKey,
) -> Result<Option<InviteId>, Error> {
    let entering: Vec<Unique<'_>> = invites
        .iter()
        .filter_map(|invite| {
            let new = states.get(&invite.id)?.provider_ref.as_deref()?;
            let destination = invite.destination.as_ref()?;
            let is_new = invite.state.provider_ref.as_deref() != Some(new);
            is_new.then_some((invite.id, destination, new))
        })
        .collect();
    let held = "provider_ref IS NOT NULL";
    let clash = find_clash(connection, &entering, "invites", "provider_ref", held).await?;
    if clash.is_some() || entering.is_empty() {
        return Ok(clash);
    }
    let hashes: Vec<String> = entering.iter().map(|(_, _, id)| key.provider_ref_hash(id)).collect();
    let gone = entering.iter().zip(&hashes).map(|((invite, place, _), hash)| {
        let unique: Unique<'_> = (*invite, *place, hash);
        unique
    });
    find_clash(connection, &gone.collect::<Vec<_>>(), "held_refs", "reference", "true").await
}

/// The first whose key is stored already, in `table` among the rows that the `condition` of its index selects, or is an
/// earlier one's.
async fn find_clash(
    connection: &mut Connection,
    entering: &[Unique<'_>],
    table: &str,
    column: &str,
    condition: &str,
) -> Result<Option<InviteId>, Error> {
    let mut taken: HashSet<(String, String)> = HashSet::new();
    for chunk in chunks(entering) {
        // A subquery for each key, so that no planner chooses to read all invites.
        let rows = Statement::new("SELECT column1, column3, (SELECT 1 FROM ")
            .text(table)
            .text(" WHERE ")
            .text(column)
            .text(" = column3 AND ")
            .text(condition)
            .text(" AND ")
            .text(MAY_BE_COLUMN1)
            .text(" LIMIT 1) FROM ")
            .rows(chunk.iter().map(|(_, destination, text)| {
                [destination.to_string().into(), destination.service().into(), (*text).into()]
            }))
            .all(connection, |row| {
                let key = (row.string()?, row.string()?);
                Ok(row.optional_count::<i64>()?.map(|_| key))
            })
            .await?;
        taken.extend(rows.into_iter().flatten());
    }
    let clash = entering
        .iter()
        .find(|(_, place, text)| !taken.insert((place.to_string(), (*text).to_owned())));
    Ok(clash.map(|(invite, _, _)| *invite))
}

async fn is_fingerprint_taken(
    connection: &mut Connection,
    fingerprint: &str,
    key: &HashKey,
) -> Result<bool, Error> {
    let taken = Statement::new("SELECT 1 FROM attempts WHERE fingerprint")
        .one_of([fingerprint.into(), key.fingerprint(fingerprint).into()])
        .first(connection, |_| Ok(()))
        .await?;
    Ok(taken.is_some())
}

/// Writes these states of these invites.
///
/// # Errors
/// [`Error::Conflict`] if one of them was written since it was read.
pub(crate) async fn write_states(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
) -> Result<(), Error> {
    let mut written: Vec<_> = invites
        .iter()
        .filter_map(|invite| Some((invite.id, invite.version, states.get(&invite.id)?)))
        .collect();
    // Sorted, so that two replicas that lock rows do not wait for each other.
    written.sort_unstable_by_key(|(id, ..)| *id);
    for chunk in chunks(&written) {
        let rows = chunk.iter().map(|(id, version, state)| {
            let version = Value::Number(i64::try_from(*version).ok());
            std::iter::once(Value::from(id.to_string())).chain(state_values(state)).chain([version])
        });
        let count = Statement::new(SET_STATE)
            .text(" FROM ")
            .rows(rows)
            .text(" WHERE invites.id = v.column1 AND invites.version = v.column26")
            .execute(connection)
            .await?;
        if count < chunk.len() as u64 {
            return Err(Error::Conflict("an invite was written meanwhile".to_owned()));
        }
    }
    Ok(())
}
