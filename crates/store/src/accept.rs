//! Accepting requests: their batches, their invites and their idempotency records, in one step with the check for
//! duplicates.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use invite_core::{InviteId, Reason, Status};
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    BatchView, Error, InviteRecord, InviteState, Quotas, Store,
    accounts::Accounts,
    admission::{
        Person, Rooms, add_repeated, address_locks, find_live, people_of_new, quota_locks,
    },
    advisory::lock_of,
    batch::{Acceptance, Accepted, NewBatch, NewItem, NoRoom, OnDuplicate, Placement},
    dialect::{KEY_LOCKS, REVISION_LOCK_SHARED},
    idempotency::{KnownKey, find_keys},
    insert::insert,
    key_days::{self, Days},
    phase::Phase,
    revisions::is_newest,
    rows::InviteFacts,
    writer::Tx,
};

/// A request to store, and what its caller knows.
struct Asked {
    batch: NewBatch,
    /// The newest revision of the provider document.
    newest: i64,
    quotas: Quotas,
}

type Answer = Result<Acceptance, NoRoom>;

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
        let idempotency = batch.idempotency.as_ref().map(|key| self.as_stored(key));
        let batch = NewBatch { idempotency, ..batch };
        let locks = locks(&batch, &quotas);
        let asked = Asked { batch, newest, quotas };
        self.write_together(locks, asked, |tx, asked| Box::pin(accept_all(tx, asked))).await
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

/// Accepts requests that came at once as if one had come after the other.
async fn accept_all(mut tx: Tx<'_>, asked: &[Asked]) -> Result<Vec<Result<Answer, Error>>, Error> {
    let (requests, mut known) = read(&mut tx, asked).await?;
    let answers: Vec<_> = requests.iter().map(|request| known.accept(request)).collect();
    let accepted: Vec<_> = requests
        .iter()
        .zip(&answers)
        .filter_map(|(request, answer)| match answer {
            Ok(Ok(Acceptance::Accepted(accepted))) => Some((request.batch, accepted)),
            _ => None,
        })
        .collect();
    insert(tx.connection, tx.events, tx.now, &accepted).await?;
    known.rooms.store(tx.connection).await?;
    known.days.store(tx.connection).await?;
    Ok(answers)
}

/// One of the requests that came at once.
struct Request<'a> {
    batch: &'a NewBatch,
    /// There is no newer revision of the provider document than its caller knows of.
    is_current: bool,
    /// Nobody, where the request is not stored whoever they are.
    people: Vec<(InviteId, Person)>,
}

/// What is stored already, and what of the requests before one is accepted.
struct Known<'a> {
    now: Timestamp,
    accounts: Accounts,
    keys: HashMap<(&'a str, &'a str), KnownKey>,
    /// For invites of the requests the live ones that were stored before.
    live: HashMap<InviteId, InviteId>,
    /// The newest live invite to each person among those that are accepted.
    accepted: HashMap<Person, InviteId>,
    rooms: Rooms,
    days: Days,
    /// Whether another request may come after this one.
    are_several: bool,
}

async fn read<'a>(
    tx: &mut Tx<'_>,
    asked: &'a [Asked],
) -> Result<(Vec<Request<'a>>, Known<'a>), Error> {
    let key = |asked: &'a Asked| Some((&*asked.batch.tenant, asked.batch.idempotency.as_ref()?));
    let wanted: Vec<_> = asked.iter().filter_map(key).collect();
    let found = find_keys(tx.connection, tx.now, &wanted).await?;
    let found = wanted.iter().zip(found);
    let keys: HashMap<_, _> =
        found.filter_map(|((tenant, key), known)| Some(((*tenant, &*key.key), known?))).collect();
    let mut new = Vec::with_capacity(asked.len());
    let mut requests = Vec::with_capacity(asked.len());
    for (place, asked) in asked.iter().enumerate() {
        let is_known =
            key(asked).is_some_and(|(tenant, key)| keys.contains_key(&(tenant, &*key.key)));
        let is_current = is_newest(tx, asked.newest).await?;
        requests.push(Request { batch: &asked.batch, is_current, people: Vec::new() });
        if is_current && !is_known {
            new.push((place, asked));
        }
    }
    let items = new.iter().flat_map(|(_, asked)| &asked.batch.items);
    let accounts = Accounts::of(tx.connection, items.clone()).await?;
    for (place, Asked { batch, .. }) in &new {
        requests[*place].people = people_of_new(&batch.tenant, &batch.items, &accounts);
    }
    let looked_for = requests.iter().filter(|it| it.batch.on_duplicate != OnDuplicate::Send);
    let people = looked_for.flat_map(|request| &request.people);
    let live = find_live(tx.connection, tx.now, people).await?;
    let mut invites: BTreeMap<&str, u64> = BTreeMap::new();
    for item in items {
        if let Placement::Bound { provider, .. } = &item.placement {
            *invites.entry(provider).or_default() += 1;
        }
    }
    let newest = new.iter().map(|(_, asked)| asked.newest).max().unwrap_or(0);
    let quotas: Quotas = new.iter().flat_map(|(_, asked)| asked.quotas.clone()).collect();
    let rooms = Rooms::find(tx.connection, tx.now, &quotas, newest, &invites).await?;
    let limits = new.iter().flat_map(|(_, asked)| &asked.batch.day_limits);
    let days = Days::of(tx.connection, tx.now, limits).await?;
    let known = Known {
        now: tx.now,
        accounts,
        keys,
        live,
        accepted: HashMap::new(),
        rooms,
        days,
        are_several: asked.len() > 1,
    };
    Ok((requests, known))
}

impl<'a> Known<'a> {
    fn accept(&mut self, request: &Request<'a>) -> Result<Answer, Error> {
        let batch = request.batch;
        if let Some(key) = &batch.idempotency
            && let Some(known) = self.keys.get(&(&*batch.tenant, &*key.key))
        {
            return Ok(Ok(known.answer(key)));
        }
        if !request.is_current {
            return Err(Error::Outdated);
        }
        let (mut invites, duplicates) = self.split_duplicates(request);
        let mut queued: BTreeMap<&str, u64> = BTreeMap::new();
        for invite in invites.iter().filter(|invite| invite.state.status() == Status::Queued) {
            if let Some(provider) = &invite.provider {
                *queued.entry(provider).or_default() += 1;
            }
        }
        for (&provider, &invites) in &queued {
            if let Some(room) = self.rooms.left(provider).filter(|room| *room < invites) {
                return Ok(Err(NoRoom::Quota { provider: provider.to_owned(), room }));
            }
        }
        let room = self.days.room(&batch.day_limits);
        if invites.len() as u64 > room {
            return Ok(Err(NoRoom::Day { room }));
        }
        self.days.take(&batch.day_limits, invites.len());
        queued.into_iter().for_each(|(provider, invites)| self.rooms.take(provider, invites));
        if let Some(key) = &batch.idempotency {
            let known = KnownKey { batch: batch.id, body_hash: key.body_hash.clone() };
            self.keys.insert((&batch.tenant, &key.key), known);
        }
        if self.are_several {
            let live = invites.iter().filter(|invite| invite.state.status() == Status::Queued);
            for (person, id) in live.filter_map(|it| Some((Person::of(it)?, it.id))) {
                let newest = self.accepted.entry(person).or_insert(id);
                *newest = id.max(*newest);
            }
        }
        let batch = BatchView {
            id: batch.id,
            tenant: batch.tenant.clone(),
            config_revision: batch.config_revision,
            created_at: self.now,
            duplicates,
        };
        // In the order in which they are read again.
        invites.sort_by_key(|invite| (invite.index, invite.id));
        Ok(Ok(Acceptance::Accepted(Accepted { batch, invites })))
    }

    /// The invites to store, and those existing ones that items are answered with instead, by the item's place in the
    /// request.
    fn split_duplicates(
        &self,
        request: &Request<'_>,
    ) -> (Vec<InviteRecord>, Vec<(usize, InviteId)>) {
        let batch = request.batch;
        let mut found = HashMap::new();
        if batch.on_duplicate != OnDuplicate::Send {
            found.extend(request.people.iter().filter_map(|(id, person)| {
                Some((*id, *self.accepted.get(person).or_else(|| self.live.get(id))?))
            }));
            add_repeated(&mut found, &request.people);
        }
        let (mut invites, mut duplicates) = (Vec::new(), Vec::new());
        for item in &batch.items {
            let mut invite = new_invite(batch, item, &self.accounts, self.now);
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
        (invites, duplicates)
    }
}

fn new_invite(
    batch: &NewBatch,
    item: &NewItem,
    accounts: &Accounts,
    now: Timestamp,
) -> InviteRecord {
    let mut facts = InviteFacts {
        id: item.id,
        batch_id: batch.id,
        index: item.index,
        tenant: batch.tenant.clone(),
        provider: None,
        kind: None,
        destination: None,
        call_key: None,
        params: Json::Null,
        route: None,
        config_revision: batch.config_revision,
        address: item.address.clone(),
        invitee: item.invitee.clone(),
        external_id: item.external_id.clone(),
        labels: item.labels.clone(),
        created_at: now,
        is_erased: false,
    };
    let mut state = InviteState::queued(now);
    match &item.placement {
        Placement::Bound { provider, kind, destination, call_key, params, route } => {
            facts.provider = Some(provider.clone());
            facts.kind = Some(kind.clone());
            facts.destination = Some(accounts.known_or_same(destination).clone());
            facts.call_key = Some(call_key.clone());
            facts.params = params.clone();
            facts.route.clone_from(route);
        }
        Placement::Refused { error } => {
            state.phase = Phase::Settled(Status::Failed);
            state.error = Some(error.clone());
        }
    }
    InviteRecord { facts: Arc::new(facts), version: 0, state }
}
