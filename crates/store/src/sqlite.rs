//! Connections to a file of SQLite.

use std::path::Path;

use rusqlite::{
    InterruptHandle, OpenFlags, ToSql,
    config::DbConfig,
    types::{ToSqlOutput, ValueRef},
};
use tokio::task::spawn_blocking;

use crate::{
    Error,
    values::{Cell, Rows, Value},
};

/// How many statements stay prepared on a connection.
const PREPARED: usize = 256;

/// Statements run on a thread beside the async workers, and are interrupted when nobody waits for them any more; or right on
/// the thread that asks.
pub(crate) struct FileConnection {
    /// `None` once somebody has stopped waiting for it.
    connection: Option<rusqlite::Connection>,
    is_on_its_thread: bool,
}

impl FileConnection {
    /// The file has to exist.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opening = spawn_blocking(move || rusqlite::Connection::open_with_flags(path, flags));
        let connection = opening.await.map_err(|_| STOPPED)??;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        // Otherwise SQLite compiles some statements anew whenever their values change.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(Self { connection: Some(connection), is_on_its_thread: false })
    }

    /// From now on statements run on the thread that asks for them.
    pub(crate) fn stay_on_this_thread(&mut self) {
        self.is_on_its_thread = true;
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.connection.is_some()
    }

    pub(crate) async fn batch(&mut self, text: &'static str) -> Result<(), Error> {
        Ok(self.run(move |file| file.execute_batch(text)).await??)
    }

    pub(crate) async fn execute(
        &mut self,
        text: String,
        values: Vec<Value<'_>>,
    ) -> Result<u64, Error> {
        if let Some(file) = self.here() {
            return Ok(execute(file, &text, &values)?);
        }
        let values = owned(values);
        Ok(self.run(move |file| execute(file, &text, &values)).await??)
    }

    pub(crate) async fn fetch(
        &mut self,
        text: String,
        values: Vec<Value<'_>>,
    ) -> Result<Rows, Error> {
        if let Some(file) = self.here() {
            return Ok(fetch(file, &text, &values)?);
        }
        let values = owned(values);
        Ok(self.run(move |file| fetch(file, &text, &values)).await??)
    }

    /// The connection, if this is its thread.
    fn here(&self) -> Option<&rusqlite::Connection> {
        self.connection.as_ref().filter(|_| self.is_on_its_thread)
    }

    pub(crate) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&rusqlite::Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.connection.take().ok_or(STOPPED)?;
        if self.is_on_its_thread {
            let done = work(&connection);
            self.connection = Some(connection);
            return Ok(done);
        }
        let mut unless_awaited = Interrupt(Some(connection.get_interrupt_handle()));
        let running = spawn_blocking(move || {
            let done = work(&connection);
            (connection, done)
        });
        let (connection, done) = running.await.map_err(|_| STOPPED)?;
        unless_awaited.0 = None;
        self.connection = Some(connection);
        Ok(done)
    }

    /// Closing the last connection moves the log into the file.
    pub(crate) async fn close(self) {
        // Waiting ends early only when the process ends.
        let _ = spawn_blocking(move || drop(self.connection)).await;
    }
}

const STOPPED: Error = Error::Defect("a statement was stopped in the middle");

/// Interrupts a statement when dropped.
struct Interrupt(Option<InterruptHandle>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

fn owned(values: Vec<Value<'_>>) -> Vec<Value<'static>> {
    values.into_iter().map(Value::into_owned).collect()
}

pub(crate) fn execute(
    file: &rusqlite::Connection,
    text: &str,
    values: &[Value<'_>],
) -> rusqlite::Result<u64> {
    let mut statement = file.prepare_cached(text)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()? as u64)
}

fn fetch(file: &rusqlite::Connection, text: &str, values: &[Value<'_>]) -> rusqlite::Result<Rows> {
    let mut statement = file.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let mut rows = Rows::of(statement.column_names());
    let width = statement.column_count();
    let mut found = statement.raw_query();
    while let Some(row) = found.next()? {
        for column in 0..width {
            match row.get_ref(column)? {
                ValueRef::Null => rows.push(Cell::Null),
                ValueRef::Integer(number) => rows.push(Cell::Number(number)),
                ValueRef::Real(fraction) => rows.push(Cell::Fraction(fraction)),
                ValueRef::Text(text) => match std::str::from_utf8(text) {
                    Ok(text) => rows.push_text(text),
                    Err(_) => rows.push(Cell::Other),
                },
                ValueRef::Blob(_) => rows.push(Cell::Other),
            }
        }
    }
    Ok(rows)
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value<'_>]) -> rusqlite::Result<()> {
    let mut places = 1..;
    values
        .iter()
        .zip(&mut places)
        .try_for_each(|(value, place)| statement.raw_bind_parameter(place, value))
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Value::Number(Some(number)) => ValueRef::Integer(*number),
            Value::Text(None) | Value::Number(None) => ValueRef::Null,
        }))
    }
}
