//! The store's clock: on PostgreSQL the database's, which all replicas share, on SQLite the machine's. Jumps of either are
//! evened out ([`SteadyClock`]), and the time is kept in the database for whoever opens it next.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_core::{Clock, SteadyClock};
use jiff::Timestamp;

use crate::{Error, connection::Connection, dialect::Dialect, statement::Statement};

/// The clock of a store that is being opened.
pub(crate) async fn start(
    dialect: Dialect,
    connection: &mut Connection,
    machine: Arc<dyn Clock>,
) -> Result<SteadyClock, Error> {
    let left = Statement::new("SELECT at, reference FROM clock")
        .first(connection, |row| Ok((row.time()?, row.time()?)))
        .await?;
    let shown = dialect.shown_time(connection).await?;
    let reference = shown.unwrap_or_else(|| machine.wall());
    Ok(SteadyClock::resuming(machine, shown.is_none(), reference, left))
}

/// The time now, in whole milliseconds. On PostgreSQL all replicas get the same.
pub(crate) async fn now(
    dialect: Dialect,
    connection: &mut Connection,
    clock: &SteadyClock,
) -> Result<Timestamp, Error> {
    let asked = clock.since_boot();
    let shown = dialect.shown_time(connection).await?;
    read(clock, shown, asked)
}

/// The same once advisory locks are taken, which the transaction keeps.
pub(crate) async fn now_under(
    locks: &BTreeSet<u32>,
    dialect: Dialect,
    connection: &mut Connection,
    clock: &SteadyClock,
) -> Result<Timestamp, Error> {
    let asked = clock.since_boot();
    let (shown, waited) = dialect.lock(connection, locks).await?.unzip();
    // The time was told once the locks were there.
    let asked = asked.saturating_add(waited.unwrap_or_default()).min(clock.since_boot());
    read(clock, shown, asked)
}

fn read(
    clock: &SteadyClock,
    shown: Option<Timestamp>,
    asked: Duration,
) -> Result<Timestamp, Error> {
    let now = shown.map_or_else(|| clock.now(), |shown| clock.synchronize(shown, asked));
    Timestamp::from_millisecond(now.as_millisecond())
        .map_err(|_| Error::Defect("the store's clock shows a time that cannot be"))
}

/// Keeps the time in the database for whoever opens it next.
pub(crate) async fn keep(connection: &mut Connection, clock: &SteadyClock) -> Result<(), Error> {
    let (at, reference) = clock.readings();
    Statement::new("INSERT INTO clock (name, at, reference) VALUES ('gateway', ")
        .values([at.into(), reference.into()])
        .text(") ON CONFLICT (name) DO UPDATE SET at = excluded.at, reference = excluded.reference")
        .execute(connection)
        .await?;
    Ok(())
}
