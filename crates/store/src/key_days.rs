//! How many invites were accepted of a key today: its own, and those of the keys that descend from it.

use jiff::Timestamp;

use crate::{
    DayLimit, Error,
    advisory::lock_of,
    dialect::KEY_LOCKS,
    statement::{Statement, chunks},
    writer::Tx,
};

/// The locks under which no other replica counts invites of these keys.
pub(crate) fn locks(limits: &[DayLimit]) -> impl Iterator<Item = u32> {
    limits.iter().map(|limit| lock_of(KEY_LOCKS, &["", &limit.key.to_string()]))
}

/// For how many more invites there is room today in all of these limits.
pub(crate) async fn room(tx: &mut Tx<'_>, limits: &[DayLimit]) -> Result<u64, Error> {
    let mut least = u64::MAX;
    for limit in limits {
        let used = Statement::with(
            "SELECT invites FROM key_days WHERE key_id = ? AND day = ?",
            [limit.key.to_string().into(), day(tx.now).into()],
        )
        .first(tx.connection, |row| row.count::<u64>())
        .await?;
        least = least.min(limit.invites.saturating_sub(used.unwrap_or(0)));
    }
    Ok(least)
}

/// Counts new invites of each of these keys, for which there has to be room.
pub(crate) async fn take(
    tx: &mut Tx<'_>,
    limits: &[DayLimit],
    invites: usize,
) -> Result<(), Error> {
    let (day, invites) = (day(tx.now), i64::try_from(invites).unwrap_or(i64::MAX));
    for chunk in chunks(limits).filter(|_| invites > 0) {
        Statement::new("INSERT INTO key_days (key_id, day, invites) VALUES ")
            .rows(chunk.iter().map(|it| [it.key.to_string().into(), day.into(), invites.into()]))
            .text(
                " ON CONFLICT (key_id) DO UPDATE SET day = excluded.day, invites = excluded.invites \
                 + CASE WHEN key_days.day = excluded.day THEN key_days.invites ELSE 0 END",
            )
            .execute(tx.connection)
            .await?;
    }
    Ok(())
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(24 * 3600)
}
