//! What keeps an invite from becoming live: a live one to the same person, and the quota of its provider. Both are read in
//! the transaction that makes it live, under locks that keep other replicas from doing the same meanwhile.

use std::collections::{BTreeMap, HashMap};

use invite_core::{Address, InviteId};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Error, InviteRecord, NewItem, Placement, Store,
    accounts::Accounts,
    advisory::lock_of,
    connection::Connection,
    dialect::{ADDRESS_LOCKS, QUOTA_LOCKS},
    statement::{Statement, chunks},
    values::Value,
};

/// How many live invites a provider takes, by its name; one without a quota is not in it.
pub type Quotas = BTreeMap<String, u64>;

/// Whom an invite is to, and where: two live invites of the same are duplicates.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Person {
    pub(crate) tenant: String,
    pub(crate) destination: String,
    pub(crate) address: String,
}

impl Person {
    /// None for an item that was refused before it was bound to a provider.
    pub(crate) fn of(invite: &InviteRecord) -> Option<Self> {
        Some(Self {
            tenant: invite.tenant.clone(),
            destination: invite.destination.as_ref()?.to_string(),
            address: invite.address.as_ref()?.as_str().to_owned(),
        })
    }

    fn of_new(tenant: &str, item: &NewItem, accounts: &Accounts) -> Option<Self> {
        let Placement::Bound { destination, .. } = &item.placement else { return None };
        Some(Self {
            tenant: tenant.to_owned(),
            destination: accounts.known_or_same(destination).to_string(),
            address: item.address.as_ref()?.as_str().to_owned(),
        })
    }
}

impl Store {
    /// For each of these invites another live one of the same tenant to the same person at the same
    /// destination, if there is one.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn live_duplicates(
        &self,
        invites: &[InviteRecord],
    ) -> Result<Vec<Option<InviteId>>, Error> {
        let live =
            find_live(&mut *self.reader().await?, self.clock_now(), &people(invites)).await?;
        Ok(invites.iter().map(|invite| live.get(&invite.id).copied()).collect())
    }

    /// Which of these items would be duplicates if a request of this tenant were accepted now, each
    /// with the invite that there is: a live one, or an earlier one among the items.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn new_duplicates(
        &self,
        tenant: &str,
        items: &[NewItem],
    ) -> Result<HashMap<InviteId, InviteId>, Error> {
        let mut connection = self.reader().await?;
        let accounts = Accounts::of(&mut connection, items.iter()).await?;
        let people = people_of_new(tenant, items, &accounts);
        let mut duplicates = find_live(&mut connection, self.clock_now(), &people).await?;
        add_repeated(&mut duplicates, &people);
        Ok(duplicates)
    }
}

/// The locks under which nobody else makes an invite to one of these people live.
pub(crate) fn address_locks<'a>(
    addresses: impl Iterator<Item = &'a Address>,
) -> impl Iterator<Item = u32> {
    addresses.map(|address| lock_of(ADDRESS_LOCKS, &[address.as_str()]))
}

/// The locks under which nobody else makes an invite live at one of these providers that have a quota.
pub(crate) fn quota_locks<'a>(
    providers: impl Iterator<Item = &'a str>,
    quotas: &Quotas,
) -> impl Iterator<Item = u32> {
    let with_quota = providers.filter(|name| quotas.contains_key(*name));
    with_quota.map(|name| lock_of(QUOTA_LOCKS, &[name]))
}

/// The people that these invites are to.
pub(crate) fn people(invites: &[InviteRecord]) -> Vec<(InviteId, Person)> {
    invites.iter().filter_map(|invite| Some((invite.id, Person::of(invite)?))).collect()
}

/// The people that these items of a tenant are to.
pub(crate) fn people_of_new(
    tenant: &str,
    items: &[NewItem],
    accounts: &Accounts,
) -> Vec<(InviteId, Person)> {
    let person = |item: &NewItem| Some((item.id, Person::of_new(tenant, item, accounts)?));
    items.iter().filter_map(person).collect()
}

/// Adds those of these new invites of one request that are to the same person as an earlier one, which is no duplicate
/// itself.
pub(crate) fn add_repeated(
    duplicates: &mut HashMap<InviteId, InviteId>,
    people: &[(InviteId, Person)],
) {
    let mut first: HashMap<&Person, InviteId> = HashMap::new();
    for (id, person) in people {
        if duplicates.contains_key(id) {
            continue;
        }
        let first = *first.entry(person).or_insert(*id);
        if first != *id {
            duplicates.insert(*id, first);
        }
    }
}

/// For each of these invites whose person has another live one, the newest of those.
pub(crate) async fn find_live<'a>(
    connection: &mut Connection,
    now: Timestamp,
    people: impl IntoIterator<Item = &'a (InviteId, Person)>,
) -> Result<HashMap<InviteId, InviteId>, Error> {
    let mut live = HashMap::new();
    for chunk in chunks(&Vec::from_iter(people)) {
        let rows = select_live("", now, chunk)
            .all(connection, |row| {
                let id: InviteId = row.parsed()?;
                Ok(row.optional_parsed()?.map(|existing: InviteId| (id, existing)))
            })
            .await?;
        live.extend(rows.into_iter().flatten());
    }
    Ok(live)
}

/// A subquery for each person, so that no planner chooses to read all invites; and one that no index of tenants is of use
/// for, which PostgreSQL would take for as good while the table is young. `explain` is put before it.
pub(crate) fn select_live<'a>(
    explain: &str,
    now: Timestamp,
    people: &[&'a (InviteId, Person)],
) -> Statement<'a> {
    Statement::new(explain)
        .text("SELECT column1, (SELECT id FROM invites WHERE address = column2 AND destination = ")
        .text("column3 AND tenant || '' = column4 AND id <> column1 AND ")
        .live_at(now)
        .text(" ORDER BY created_at DESC, id DESC LIMIT 1) FROM ")
        .rows(people.iter().map(|(id, person)| {
            [
                Value::from(id.to_string()),
                Value::from(&person.address),
                Value::from(&person.destination),
                Value::from(&person.tenant),
            ]
        }))
}

/// How long a count of live invites is added to before they are counted again: those that end meanwhile leave more room than
/// it says, and one that is live again although it had ended leaves less.
const RECOUNT: SignedDuration = SignedDuration::from_secs(60);

/// What room there is for live invites at providers with a quota.
pub(crate) struct Rooms {
    rooms: BTreeMap<String, Room>,
    /// The revision of the provider document that the quotas are of: by another one a provider may have had no quota, and
    /// nothing was added to what was counted.
    revision: i64,
}

struct Room {
    quota: u64,
    /// How many are live at most.
    live: u64,
    counted_at: Timestamp,
    /// Whether some that are being accepted count already.
    is_taken: bool,
}

impl Rooms {
    /// The room at those of these providers that have a quota, for at least so many more live invites if there is so much. All
    /// that are live are counted only when what is known from earlier does not suffice.
    pub(crate) async fn find(
        connection: &mut Connection,
        now: Timestamp,
        quotas: &Quotas,
        revision: i64,
        wanted: &BTreeMap<&str, u64>,
    ) -> Result<Self, Error> {
        let mut rooms = BTreeMap::new();
        for (&provider, wanted) in wanted {
            let Some(&quota) = quotas.get(provider) else { continue };
            let known = Statement::with(
                "SELECT live, counted_at FROM live_at_most WHERE provider = ? AND config_revision = ?",
                [provider.into(), revision.into()],
            );
            let known = known
                .first(connection, |row| Ok((row.count::<u64>()?, row.time()?)))
                .await?
                .filter(|(live, at)| {
                    live.saturating_add(*wanted) <= quota && now.duration_since(*at) < RECOUNT
                });
            let (live, counted_at) = match known {
                Some(known) => known,
                None => (count_live(connection, now, provider, quota).await?, now),
            };
            rooms.insert(provider.to_owned(), Room { quota, live, counted_at, is_taken: false });
        }
        Ok(Self { rooms, revision })
    }

    /// How many more live invites the provider takes; `None`: any number.
    pub(crate) fn left(&self, provider: &str) -> Option<u64> {
        self.rooms.get(provider).map(|room| room.quota.saturating_sub(room.live))
    }

    /// So many more are live, for which there has to be room.
    pub(crate) fn take(&mut self, provider: &str, invites: u64) {
        if let Some(room) = self.rooms.get_mut(provider) {
            room.live = room.live.saturating_add(invites);
            room.is_taken = true;
        }
    }

    /// Stores what was taken.
    pub(crate) async fn store(&self, connection: &mut Connection) -> Result<(), Error> {
        for (provider, room) in self.rooms.iter().filter(|(_, room)| room.is_taken) {
            Statement::with(
                "INSERT INTO live_at_most (provider, live, counted_at, config_revision) \
                 VALUES (?, ?, ?, ?) ON CONFLICT (provider) DO UPDATE SET live = excluded.live, \
                 counted_at = excluded.counted_at, config_revision = excluded.config_revision",
                [
                    provider.into(),
                    i64::try_from(room.live).ok().into(),
                    room.counted_at.into(),
                    self.revision.into(),
                ],
            )
            .execute(connection)
            .await?;
        }
        Ok(())
    }
}

async fn count_live(
    connection: &mut Connection,
    now: Timestamp,
    provider: &str,
    quota: u64,
) -> Result<u64, Error> {
    let live = Statement::new("SELECT count(*) FROM (SELECT 1 FROM invites WHERE ")
        .live_at(now)
        .text(" AND provider = ")
        .bind(provider)
        // There is no need to count beyond the quota.
        .limit(i64::try_from(quota).unwrap_or(i64::MAX))
        .text(") AS live")
        .first(connection, |row| row.count())
        .await?;
    Ok(live.unwrap_or(0))
}
