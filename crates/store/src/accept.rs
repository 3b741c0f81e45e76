//! Accepting a request: its batch, its invites and its idempotency record, in one step with the
//! check for duplicates.

use std::collections::{BTreeMap, HashMap};

use invite_core::{Destination, InviteId, Reason, Status};
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    BatchView, Error, InviteRecord, InviteState, Quotas, Store,
    accounts::Accounts,
    admission::{address_locks, find_duplicates, find_room, quota_locks, take_room},
    advisory::lock_of,
    batch::{Acceptance, Accepted, NewBatch, NewItem, NoRoom, OnDuplicate, Placement},
    connection::Connection,
    dialect::{KEY_LOCKS, REVISION_LOCK_SHARED},
    idempotency::{find_key, remember_key},
    key_days,
    phase::Phase,
    revisions::is_newest,
    rows::{COLUMNS, invite_values, json},
    statement::{Statement, chunks},
    writer::Tx,
};

impl Store {
    /// Stores a request, durably, unless its key is known or there is no room for its invites.
    /// `newest` is the newest revision of the provider document that the caller knows of.
    ///
    /// # Errors
    /// [`Error::Outdated`] if there is a newer revision by now. After [`Error::CommitUnknown`], asking again with the same
    /// key tells whether it is stored.
    pub async fn accept(
        &self,
        batch: NewBatch,
        newest: i64,
        quotas: Quotas,
    ) -> Result<Result<Acceptance, NoRoom>, Error> {
        let batch = NewBatch {
            idempotency: batch.idempotency.as_ref().map(|key| self.as_stored(key)),
            ..batch
        };
        let locks = locks(&batch, &quotas);
        self.write(locks, (batch, quotas), move |tx, (batch, quotas)| {
            Box::pin(accept(tx, batch, newest, quotas))
        })
        .await
    }
}

/// What no other replica may write meanwhile: invites to the same people, or at the same providers with a quota; the same
/// idempotency key; requests of the same API key with a limit; and another provider document.
fn locks(batch: &NewBatch, quotas: &Quotas) -> Vec<u32> {
    let people = address_locks(batch.items.iter().filter_map(|item| item.address.as_ref()));
    let providers = batch.items.iter().filter_map(|item| match &item.placement {
        Placement::Bound { provider, .. } => Some(provider.as_str()),
        Placement::Refused { .. } => None,
    });
    let key = batch.idempotency.iter().map(|key| lock_of(KEY_LOCKS, &[&batch.tenant, &key.key]));
    let of_caller = key.chain(key_days::locks(&batch.day_limits));
    people
        .chain(quota_locks(providers, quotas))
        .chain(of_caller)
        .chain([REVISION_LOCK_SHARED])
        .collect()
}

async fn accept(
    mut tx: Tx<'_>,
    batch: &NewBatch,
    newest: i64,
    quotas: &Quotas,
) -> Result<Result<Acceptance, NoRoom>, Error> {
    if let Some(key) = &batch.idempotency
        && let Some(known) = find_key(tx.connection, tx.now, &batch.tenant, key).await?
    {
        return Ok(Ok(known));
    }
    if !is_newest(&mut tx, newest).await? {
        return Err(Error::Outdated);
    }
    let now = tx.now;
    let (mut invites, duplicates) = split_duplicates(tx.connection, now, batch).await?;
    let mut queued: BTreeMap<String, u64> = BTreeMap::new();
    for invite in invites.iter().filter(|invite| invite.state.status() == Status::Queued) {
        if let Some(provider) = &invite.provider {
            *queued.entry(provider.clone()).or_default() += 1;
        }
    }
    let rooms = find_room(tx.connection, now, quotas, newest, &queued).await?;
    if let Some((provider, room)) = rooms.iter().find(|(name, room)| queued[*name] > room.left) {
        return Ok(Err(NoRoom::Quota { provider: provider.clone(), room: room.left }));
    }
    let room = key_days::room(&mut tx, &batch.day_limits).await?;
    if invites.len() as u64 > room {
        return Ok(Err(NoRoom::Day { room }));
    }
    key_days::take(&mut tx, &batch.day_limits, invites.len()).await?;
    take_room(tx.connection, &rooms, &queued).await?;
    let Tx { connection, now, .. } = tx;
    insert_batch(connection, now, batch, &duplicates).await?;
    insert_invites(connection, &invites).await?;
    let batch = BatchView {
        id: batch.id,
        tenant: batch.tenant.clone(),
        config_revision: batch.config_revision,
        created_at: now,
        duplicates,
    };
    // In the order in which they are read again.
    invites.sort_by_key(|invite| (invite.index, invite.id));
    Ok(Ok(Acceptance::Accepted(Accepted { batch, invites })))
}

/// The invites to store, and those existing ones that items are answered with instead, by the item's place in the request.
async fn split_duplicates(
    connection: &mut Connection,
    now: Timestamp,
    batch: &NewBatch,
) -> Result<(Vec<InviteRecord>, Vec<(usize, InviteId)>), Error> {
    let accounts = Accounts::of(connection, &batch.items).await?;
    let found = match batch.on_duplicate {
        OnDuplicate::Send => HashMap::new(),
        _ => find_duplicates(connection, now, &batch.tenant, &batch.items, &accounts).await?,
    };
    let (mut invites, mut duplicates) = (Vec::new(), Vec::new());
    for item in &batch.items {
        let mut invite = new_invite(batch, item, &accounts, now);
        if let Some(existing) = found.get(&item.id) {
            if batch.on_duplicate == OnDuplicate::ReturnExisting {
                duplicates.push((item.index, *existing));
                continue;
            }
            invite.state.phase = Phase::Settled(Status::Failed);
            invite.state.error = Some(Reason::duplicate(*existing));
        }
        invites.push(invite);
    }
    Ok((invites, duplicates))
}

fn new_invite(
    batch: &NewBatch,
    item: &NewItem,
    accounts: &Accounts,
    now: Timestamp,
) -> InviteRecord {
    let mut invite = InviteRecord {
        id: item.id,
        version: 0,
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
        is_erased: false,
        state: InviteState::queued(now),
    };
    match &item.placement {
        Placement::Bound { provider, kind, destination, call_key, params } => {
            invite.provider = Some(provider.clone());
            invite.kind = Some(kind.clone());
            invite.destination = Some(accounts.known_or_same(destination).clone());
            invite.call_key = Some(call_key.clone());
            invite.params = params.clone();
        }
        Placement::Refused { error } => {
            invite.state.phase = Phase::Settled(Status::Failed);
            invite.state.error = Some(error.clone());
        }
    }
    invite
}

async fn insert_batch(
    connection: &mut Connection,
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
    connection: &mut Connection,
    invites: &[InviteRecord],
) -> Result<(), Error> {
    for chunk in chunks(invites) {
        Statement::new("INSERT INTO invites (")
            .text(COLUMNS)
            .text(", service, final_since) VALUES ")
            .rows(chunk.iter().map(|invite| {
                let service = invite.destination.as_ref().map(Destination::service);
                let ended = invite.state.status().is_final().then_some(invite.created_at);
                invite_values(invite).chain([service.into(), ended.into()])
            }))
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
