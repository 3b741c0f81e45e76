//! Accepting a request: its batch, its invites and its idempotency record, in one step with the
//! check for duplicates.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use invite_core::{Address, BatchId, Destination, InviteId, Invitee, Status};
use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::AnyConnection;

use crate::{
    Error, IdempotencyKey, InviteRecord, InviteState, Store,
    dialect::{ADDRESS_LOCKS, KEY_LOCKS},
    idempotency::{find_key, remember_key},
    rows::{COLUMNS, LIVE, UNSETTLED, invite_values, json},
    statement::{Statement, Value, chunks},
    writer::Tx,
};

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is.
    pub tenant: String,
    /// The revision of the provider document that it was resolved with.
    pub config_revision: i64,
    /// The W3C trace that the request belongs to.
    pub traceparent: Option<String>,
    /// The caller's key for it.
    pub idempotency: Option<IdempotencyKey>,
    /// What becomes of invites to people who have a live one there.
    pub on_duplicate: OnDuplicate,
    /// Its invites, in the order of the request.
    pub items: Vec<NewItem>,
}

/// One invite at one provider.
#[derive(Clone)]
pub struct NewItem {
    /// Its id.
    pub id: InviteId,
    /// Its item's place in the request.
    pub index: usize,
    /// The person.
    pub invitee: Invitee,
    /// The canonical address; none if there is no valid one.
    pub address: Option<Address>,
    /// The caller's own id for it.
    pub external_id: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Where it goes.
    pub placement: Placement,
}

impl fmt::Debug for NewItem {
    /// Without personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewItem")
            .field("id", &self.id)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Where a new invite goes.
#[derive(Clone)]
pub enum Placement {
    /// To a provider.
    Bound {
        /// The configured name.
        provider: String,
        /// The provider's kind.
        kind: String,
        /// The place there.
        destination: Destination,
        /// Invites of equal destination and call key may share a call.
        call_key: String,
        /// What the adapter recorded.
        params: Json,
    },
    /// Nowhere: it is stored as failed.
    Refused {
        /// The problem.
        error: Json,
    },
}

impl fmt::Debug for Placement {
    /// Without parameters and errors, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound { provider, .. } => write!(f, "Bound({provider})"),
            Self::Refused { .. } => f.write_str("Refused"),
        }
    }
}

/// What becomes of an invite to a person who has a live one of the same tenant at the same
/// destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The existing one is answered with; nothing new is stored.
    #[default]
    ReturnExisting,
    /// It is stored as failed.
    Reject,
    /// It is sent all the same.
    Send,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is stored.
    Accepted {
        /// As this batch.
        batch: BatchId,
        /// How many of its invites are queued, by provider: without duplicates and refused ones.
        queued: BTreeMap<String, usize>,
    },
    /// The same request was accepted before, as this batch.
    Replayed(BatchId),
    /// The key belongs to another request.
    KeyReused,
}

impl Store {
    /// Stores a request, durably, unless its key is known. `duplicate_error` makes the problem of a
    /// rejected duplicate of the invite it is given.
    ///
    /// # Errors
    /// After [`Error::CommitUnknown`] asking again with the same key tells.
    pub async fn accept(
        &self,
        batch: NewBatch,
        duplicate_error: fn(&InviteId) -> Json,
    ) -> Result<Acceptance, Error> {
        let locks = locks(&batch);
        let batch = Arc::new(batch);
        self.write(locks, move |tx| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { accept(tx, &batch, duplicate_error).await })
        })
        .await
    }
}

/// What no other replica may write meanwhile: invites to the same people, and the same key.
fn locks(batch: &NewBatch) -> Vec<u32> {
    let people = batch
        .items
        .iter()
        .filter_map(|item| item.address.as_ref())
        .map(|address| number(&[address.as_str()]) % ADDRESS_LOCKS);
    let key = batch
        .idempotency
        .iter()
        .map(|key| ADDRESS_LOCKS + number(&[&batch.tenant, &key.key]) % KEY_LOCKS);
    people.chain(key).collect()
}

/// FNV-1a: the same number in every replica, whatever it was built with.
fn number(texts: &[&str]) -> u32 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

async fn accept(
    tx: Tx<'_>,
    batch: &NewBatch,
    duplicate_error: fn(&InviteId) -> Json,
) -> Result<Acceptance, Error> {
    let Tx { connection, now, .. } = tx;
    if let Some(key) = &batch.idempotency
        && let Some(known) = find_key(connection, now, &batch.tenant, key).await?
    {
        return Ok(known);
    }
    let mut live = match batch.on_duplicate {
        OnDuplicate::Send => HashMap::new(),
        _ => find_live(connection, now, batch).await?,
    };
    let mut invites = Vec::with_capacity(batch.items.len());
    let mut duplicates = Vec::new();
    for item in &batch.items {
        let mut invite = new_invite(batch, item, now);
        let person = person(item).filter(|_| batch.on_duplicate != OnDuplicate::Send);
        match person.map(|person| live.entry(person)) {
            Some(Entry::Occupied(existing)) if batch.on_duplicate == OnDuplicate::Reject => {
                invite.state.status = Status::Failed;
                invite.state.error = Some(duplicate_error(existing.get()));
            }
            Some(Entry::Occupied(existing)) => {
                duplicates.push((item.index, *existing.get()));
                continue;
            }
            Some(Entry::Vacant(free)) => {
                free.insert(item.id);
            }
            None => {}
        }
        invites.push(invite);
    }
    insert_batch(connection, now, batch, &duplicates).await?;
    insert_invites(connection, &invites).await?;
    let mut queued: BTreeMap<String, usize> = BTreeMap::new();
    for invite in invites.iter().filter(|invite| invite.state.status == Status::Queued) {
        if let Some(provider) = &invite.provider {
            *queued.entry(provider.clone()).or_default() += 1;
        }
    }
    Ok(Acceptance::Accepted { batch: batch.id, queued })
}

/// Destination and canonical address.
type Person = (String, String);

fn person(item: &NewItem) -> Option<Person> {
    match (&item.placement, &item.address) {
        (Placement::Bound { destination, .. }, Some(address)) => {
            Some((destination.to_string(), address.as_str().to_owned()))
        }
        _ => None,
    }
}

/// The newest live invite of each person in the batch who has one.
async fn find_live(
    connection: &mut AnyConnection,
    now: Timestamp,
    batch: &NewBatch,
) -> Result<HashMap<Person, InviteId>, Error> {
    let people: BTreeSet<Person> = batch.items.iter().filter_map(person).collect();
    let people: Vec<Person> = people.into_iter().collect();
    let mut live: HashMap<Person, InviteId> = HashMap::new();
    for chunk in chunks(&people) {
        // A subquery for each person: no planner can take it for a reason to walk all invites.
        let rows = Statement::new(
            "SELECT column1, column2, (SELECT id FROM invites WHERE address = column1 \
             AND destination = column2 AND tenant = ",
        )
        .bind(&batch.tenant)
        .text(" AND ")
        .text(LIVE)
        .text(" AND (expires_at IS NULL OR expires_at > ")
        .bind(now)
        .text(" OR ")
        .text(UNSETTLED)
        .text(") ORDER BY created_at DESC, id DESC LIMIT 1) FROM (VALUES ")
        .rows(chunk.iter().map(|(destination, address)| {
            [Value::from(address.as_str()), Value::from(destination.as_str())]
        }))
        .text(") AS people")
        .all(connection, |row| {
            let (address, destination) = (row.string()?, row.string()?);
            Ok(row.optional_parsed()?.map(|existing| ((destination, address), existing)))
        })
        .await?;
        live.extend(rows.into_iter().flatten());
    }
    Ok(live)
}

fn new_invite(batch: &NewBatch, item: &NewItem, now: Timestamp) -> InviteRecord {
    let mut invite = InviteRecord {
        id: item.id,
        batch_id: batch.id,
        index: item.index,
        tenant: batch.tenant.clone(),
        provider: None,
        kind: None,
        destination: None,
        call_key: None,
        params: Json::Null,
        address: item.address.clone(),
        invitee: item.invitee.clone(),
        external_id: item.external_id.clone(),
        labels: item.labels.clone(),
        created_at: now,
        state: InviteState::queued(now),
    };
    match &item.placement {
        Placement::Bound { provider, kind, destination, call_key, params } => {
            invite.provider = Some(provider.clone());
            invite.kind = Some(kind.clone());
            invite.destination = Some(destination.clone());
            invite.call_key = Some(call_key.clone());
            invite.params = params.clone();
        }
        Placement::Refused { error } => {
            invite.state.status = Status::Failed;
            invite.state.error = Some(error.clone());
        }
    }
    invite
}

async fn insert_batch(
    connection: &mut AnyConnection,
    now: Timestamp,
    batch: &NewBatch,
    duplicates: &[(usize, InviteId)],
) -> Result<(), Error> {
    Statement::new(
        "INSERT INTO batches (id, tenant, config_revision, duplicates, traceparent, created_at) \
         VALUES (",
    )
    .values([
        batch.id.to_string().into(),
        (&batch.tenant).into(),
        batch.config_revision.into(),
        json(&duplicates),
        batch.traceparent.as_deref().into(),
        now.into(),
    ])
    .text(")")
    .execute(connection)
    .await?;
    match &batch.idempotency {
        Some(key) => remember_key(connection, now, batch, key).await,
        None => Ok(()),
    }
}

async fn insert_invites(
    connection: &mut AnyConnection,
    invites: &[InviteRecord],
) -> Result<(), Error> {
    for chunk in chunks(invites) {
        Statement::new("INSERT INTO invites (")
            .text(COLUMNS)
            .text(") VALUES ")
            .rows(chunk.iter().map(invite_values))
            .execute(connection)
            .await?;
    }
    let labels: Vec<(String, &str, &str)> = invites
        .iter()
        .flat_map(|invite| {
            let id = invite.id.to_string();
            invite.labels.iter().map(move |(name, value)| (id.clone(), &**name, &**value))
        })
        .collect();
    for chunk in chunks(&labels) {
        Statement::new("INSERT INTO invite_labels (invite_id, name, value) VALUES ")
            .rows(
                chunk.iter().map(|(id, name, value)| [id.into(), (*name).into(), (*value).into()]),
            )
            .execute(connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_lock_is_the_same_number_in_every_version() {
        // FNV-1a of "a" followed by 0xff, computed by hand from its definition.
        let a = (0x811c_9dc5_u32 ^ 0x61).wrapping_mul(0x0100_0193);
        assert_eq!(a, 0xe40c_292c);
        assert_eq!(number(&["a"]), (a ^ 0xff).wrapping_mul(0x0100_0193));
        assert_ne!(number(&["ab", "c"]), number(&["a", "bc"]));
    }
}
