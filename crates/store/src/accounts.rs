//! Which account a provisional destination turned out to be, and which rows may be at one destination while that is not
//! known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use invite_core::{Account, Destination, InviteId};

use crate::{
    Error, NewItem, Placement, Store,
    connection::Connection,
    dialect::REVISION_LOCK,
    statement::{Statement, chunks},
    values::Value,
};

/// Whether two invites, `invites` and `other`, may be at one destination, as [`may_be`](Destination::may_be) says: a
/// provisional scope begins with `#`.
pub(crate) const MAY_BE_OTHERS: &str = "other.service = invites.service AND (other.destination = \
     invites.destination OR substr(other.destination, length(other.service) + 2, 1) = '#' OR \
     substr(invites.destination, length(invites.service) + 2, 1) = '#')";
impl Statement<'_> {
    /// The same condition for a row and this destination.
    pub(crate) fn may_be(self, destination: &Destination) -> Self {
        let at = self.text("service = ").bind(destination.service());
        if destination.is_provisional() {
            return at;
        }
        at.text(" AND (destination = ")
            .bind(destination.to_string())
            .text(" OR substr(destination, length(service) + 2, 1) = '#')")
    }
}

/// What provisional destinations turned out to be.
pub(crate) struct Accounts(HashMap<Destination, Destination>);

impl Accounts {
    pub(crate) async fn of(
        connection: &mut Connection,
        items: impl Iterator<Item = &NewItem>,
    ) -> Result<Self, Error> {
        let provisional: BTreeSet<&Destination> = items
            .filter_map(|item| match &item.placement {
                Placement::Bound { destination, .. } => Some(destination),
                Placement::Refused { .. } => None,
            })
            .filter(|destination| destination.is_provisional())
            .collect();
        let mut known = HashMap::new();
        for provisional in provisional {
            let found = find(connection, provisional).await?;
            known.extend(found.map(|found| (provisional.clone(), found)));
        }
        Ok(Self(known))
    }

    /// What a destination turned out to be if that is known, else the same.
    pub(crate) fn known_or_same<'a>(&'a self, destination: &'a Destination) -> &'a Destination {
        self.0.get(destination).unwrap_or(destination)
    }
}

async fn find(
    connection: &mut Connection,
    provisional: &Destination,
) -> Result<Option<Destination>, Error> {
    Statement::new("SELECT destination FROM accounts WHERE provisional = ")
        .bind(provisional.to_string())
        .first(connection, |row| row.parsed())
        .await
}

impl Store {
    /// Remembers for good which account a provisional destination is, and moves what was accepted for it there: from then on
    /// the rules for one destination hold over all names of that account.
    ///
    /// # Errors
    /// The database cannot be used; asking again is safe.
    pub async fn remember_account(&self, account: Account) -> Result<(), Error> {
        let mut connection = self.reader().await?;
        let known = find(&mut connection, &account.provisional).await?;
        drop(connection);
        if known.as_ref() == Some(&account.destination) {
            return Ok(());
        }
        // Nobody may accept or claim meanwhile, by what was known before.
        self.write(vec![REVISION_LOCK], account, |tx, account| {
            Box::pin(async move {
                let (provisional, destination) =
                    (account.provisional.to_string(), account.destination.to_string());
                Statement::with(
                    "INSERT INTO accounts (provisional, destination) VALUES (?, ?) \
                     ON CONFLICT (provisional) DO UPDATE SET destination = excluded.destination",
                    [(&provisional).into(), (&destination).into()],
                )
                .execute(tx.connection)
                .await?;
                for update in
                    ["UPDATE invites SET version = version + 1, ", "UPDATE held_refs SET "]
                {
                    Statement::new(update)
                        .text("destination = ")
                        .bind(&destination)
                        .text(" WHERE destination = ")
                        .bind(&provisional)
                        .execute(tx.connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Which of a provider's ids are held at what may be this destination, and by which invites.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn find_held(
        &self,
        destination: &Destination,
        refs: &[String],
    ) -> Result<BTreeMap<String, InviteId>, Error> {
        let refs: Vec<&String> = refs.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut held = BTreeMap::new();
        let mut connection = self.reader().await?;
        for chunk in chunks(&refs) {
            let rows = Statement::new(
                "SELECT provider_ref, id, destination FROM invites WHERE provider_ref IS NOT NULL \
                 AND service = ",
            )
            .bind(destination.service())
            .text(" AND provider_ref")
            .one_of(chunk.iter().map(|text| Value::from(text.as_str())))
            .all(&mut connection, |row| {
                // An invite whose id cannot be read is another than any that can; one whose destination cannot be
                // read may be here.
                let id = row.string()?;
                let invite = row.parsed().unwrap_or_else(|_| InviteId::generate());
                Ok((id, invite, row.parsed::<Destination>().ok()))
            })
            .await?;
            let may_be_here = |place: &Option<Destination>| {
                place.as_ref().is_none_or(|place| place.may_be(destination))
            };
            let gone = self.held_by_gone(&mut connection, destination, chunk).await?;
            let rows = rows.into_iter().chain(gone);
            let here = rows.filter(|(_, _, place)| may_be_here(place));
            held.extend(here.map(|(text, invite, _)| (text, invite)));
        }
        Ok(held)
    }

    /// The same for invites whose person was erased: each is another invite than any that there is.
    async fn held_by_gone(
        &self,
        connection: &mut Connection,
        destination: &Destination,
        refs: &[&String],
    ) -> Result<Vec<(String, InviteId, Option<Destination>)>, Error> {
        let hashes: HashMap<String, &String> =
            refs.iter().map(|text| (self.hash_key().provider_ref_hash(text), *text)).collect();
        let rows = Statement::new("SELECT reference, destination FROM held_refs WHERE service = ")
            .bind(destination.service())
            .text(" AND reference")
            .one_of(hashes.keys().map(Value::from))
            .all(connection, |row| Ok((row.string()?, row.parsed::<Destination>().ok())))
            .await?;
        let held = rows.into_iter().filter_map(|(hash, place)| {
            Some(((*hashes.get(&hash)?).clone(), InviteId::generate(), place))
        });
        Ok(held.collect())
    }
}
