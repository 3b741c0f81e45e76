//! How many invites were accepted of a key today.

use invite_core::KeyId;
use jiff::Timestamp;

use crate::{Error, statement::Statement, writer::Tx};

/// The limit of a key that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayLimit {
    /// The key.
    pub key: KeyId,
    /// Invites that are accepted of it in a day, from midnight to midnight UTC.
    pub invites: u64,
}

/// Takes room for new invites; how many there is room for, if that is fewer, and then nothing is taken.
pub(crate) async fn take(
    tx: &mut Tx<'_>,
    limit: DayLimit,
    invites: usize,
) -> Result<Option<u64>, Error> {
    let (key, day) = (limit.key.to_string(), day(tx.now));
    let used = Statement::new("SELECT invites FROM key_days WHERE key_id = ")
        .bind(&key)
        .text(" AND day = ")
        .bind(day)
        .first(tx.connection, |row| row.count::<u64>())
        .await?
        .unwrap_or(0);
    let (room, new) = (limit.invites.saturating_sub(used), invites as u64);
    if new > room {
        return Ok(Some(room));
    }
    let used = i64::try_from(used + new).unwrap_or(i64::MAX);
    Statement::new("INSERT INTO key_days (key_id, day, invites) VALUES (")
        .values([(&key).into(), day.into(), used.into()])
        .text(") ON CONFLICT (key_id) DO UPDATE SET day = excluded.day, invites = excluded.invites")
        .execute(tx.connection)
        .await?;
    Ok(None)
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(24 * 3600)
}
