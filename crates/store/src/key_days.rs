//! How many invites were accepted of a key today: its own, and those of the keys that descend from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use invite_core::KeyId;
use jiff::Timestamp;

use crate::{
    DayLimit, Error,
    advisory::lock_of,
    connection::Connection,
    dialect::KEY_LOCKS,
    statement::{Statement, chunks},
};

/// The locks under which no other replica counts invites of these keys.
pub(crate) fn locks(limits: &[DayLimit]) -> impl Iterator<Item = u32> {
    limits.iter().map(|limit| lock_of(KEY_LOCKS, &["", &limit.key.to_string()]))
}

/// What is accepted today of keys whose invites per day are limited.
pub(crate) struct Days {
    /// In days since 1970.
    day: i64,
    accepted: HashMap<KeyId, u64>,
    /// What is being accepted.
    taken: BTreeMap<KeyId, u64>,
}

impl Days {
    pub(crate) async fn of(
        connection: &mut Connection,
        now: Timestamp,
        limits: impl Iterator<Item = &DayLimit>,
    ) -> Result<Self, Error> {
        let day = now.as_second().div_euclid(24 * 3600);
        let keys: BTreeSet<KeyId> = limits.map(|limit| limit.key).collect();
        let mut accepted = HashMap::new();
        for chunk in chunks(&Vec::from_iter(keys)) {
            let rows = Statement::new("SELECT key_id, invites FROM key_days WHERE day = ")
                .bind(day)
                .text(" AND key_id")
                .one_of(chunk.iter().map(|key| key.to_string().into()))
                .all(connection, |row| Ok((row.parsed::<KeyId>()?, row.count::<u64>()?)))
                .await?;
            accepted.extend(rows);
        }
        Ok(Self { day, accepted, taken: BTreeMap::new() })
    }

    /// For how many more invites there is room in all of these limits.
    pub(crate) fn room(&self, limits: &[DayLimit]) -> u64 {
        let left = limits.iter().map(|limit| {
            let of = |invites: Option<&u64>| invites.copied().unwrap_or(0);
            let used = of(self.accepted.get(&limit.key)) + of(self.taken.get(&limit.key));
            limit.invites.saturating_sub(used)
        });
        left.min().unwrap_or(u64::MAX)
    }

    /// Counts new invites of each of these keys, for which there has to be room.
    pub(crate) fn take(&mut self, limits: &[DayLimit], invites: usize) {
        for limit in limits {
            *self.taken.entry(limit.key).or_default() += invites as u64;
        }
    }

    /// Stores what was taken.
    pub(crate) async fn store(self, connection: &mut Connection) -> Result<(), Error> {
        let taken: Vec<_> = self.taken.into_iter().filter(|(_, invites)| *invites > 0).collect();
        for chunk in chunks(&taken) {
            Statement::new("INSERT INTO key_days (key_id, day, invites) SELECT * FROM ")
                .rows(chunk.iter().map(|(key, invites)| {
                    [
                        key.to_string().into(),
                        self.day.into(),
                        i64::try_from(*invites).unwrap_or(i64::MAX).into(),
                    ]
                }))
                .text(
                    " WHERE true ON CONFLICT (key_id) DO UPDATE SET day = excluded.day, invites = \
                     excluded.invites + CASE WHEN key_days.day = excluded.day THEN key_days.invites \
                     ELSE 0 END",
                )
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}
