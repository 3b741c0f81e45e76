//! What only PostgreSQL is asked for: advisory locks, and its clock.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use jiff::Timestamp;

use crate::{
    Error,
    connection::Connection,
    dialect::{Dialect, SHARED},
    statement::{Fields, Statement},
};

/// Keeps our advisory locks apart from those of others in the same database.
const LOCK_CLASS: i32 = 0x1417;

impl Dialect {
    /// Takes advisory locks until the transaction ends, in the order of their numbers; then tells the time as
    /// [`shown_time`](Self::shown_time) does, and for how long it waited for the locks. SQLite has one writer at a time
    /// anyway.
    pub(crate) async fn lock(
        self,
        connection: &mut Connection,
        locks: &BTreeSet<u32>,
    ) -> Result<Option<(Timestamp, Duration)>, Error> {
        if self == Self::Sqlite {
            return Ok(None);
        }
        let locks: Vec<String> = locks.iter().map(u32::to_string).collect();
        // What the time is taken from has to be there first: the count of the locks.
        let statement = Statement::new(&format!(
            "WITH locked AS MATERIALIZED (SELECT count(CASE WHEN number < {SHARED} \
             THEN pg_advisory_xact_lock({LOCK_CLASS}, number) \
             ELSE pg_advisory_xact_lock_shared({LOCK_CLASS}, number - {SHARED}) END) AS locks \
             FROM (SELECT CAST(unnest(string_to_array("
        ))
        .bind(locks.join(","))
        .text(", ',')) AS integer) AS number) AS numbers) ")
        .text(TIME)
        .text(", CAST(extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000 AS bigint)")
        .text(" FROM locked WHERE locks >= 0");
        let read = |row: &mut Fields<'_>| Ok((row.time()?, Duration::from_millis(row.count()?)));
        statement.first(connection, read).await?.map(Some).ok_or_else(no_time)
    }

    /// The time by the database's own clock, in whole milliseconds; `None` if it has none.
    pub(crate) async fn shown_time(
        self,
        connection: &mut Connection,
    ) -> Result<Option<Timestamp>, Error> {
        if self == Self::Sqlite {
            return Ok(None);
        }
        let time = Statement::new(TIME).first(connection, |row| row.time()).await?;
        time.map(Some).ok_or_else(no_time)
    }
}

const TIME: &str = "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)";

fn no_time() -> Error {
    Error::Unavailable("the database told no time".into())
}

/// The one among these locks that stands for the texts.
pub(crate) fn lock_of(locks: Range<u32>, texts: &[&str]) -> u32 {
    locks.start + hash(texts) % (locks.end - locks.start)
}

/// FNV-1a: the same number in every replica, whatever it was built with.
fn hash(texts: &[&str]) -> u32 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_lock_is_the_same_number_in_every_version() {
        // FNV-1a of "a" followed by 0xff, computed by hand from its definition.
        let a = (0x811c_9dc5_u32 ^ 0x61).wrapping_mul(0x0100_0193);
        assert_eq!(a, 0xe40c_292c);
        assert_eq!(hash(&["a"]), (a ^ 0xff).wrapping_mul(0x0100_0193));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
    }
}
