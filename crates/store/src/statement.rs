//! Building a statement together with its values, and reading a row column by column.

use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    Error,
    connection::Connection,
    deadline::{ANSWER, within},
    values::{Cell, Rows, Value},
};

/// How many rows one statement has at most. With up to 60 values in each it has fewer than SQLite's 32,766 variables, and
/// PostgreSQL's 65,535.
const MAX_ROWS: usize = 512;

/// Cuts rows into chunks for one statement each. Their sizes are powers of two, so that a statement has only ten different
/// texts, which stay prepared.
pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = (1 << rows.len().checked_ilog2()?).min(MAX_ROWS);
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

#[derive(Clone)]
pub(crate) struct Statement<'a> {
    text: String,
    values: Vec<Value<'a>>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// A text with a `?` for each of these values.
    pub(crate) fn with<const N: usize>(text: &str, values: [Value<'a>; N]) -> Self {
        debug_assert_eq!(text.matches('?').count(), N, "{text}");
        Self { text: text.to_owned(), values: values.into() }
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    pub(crate) fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.push(value.into());
        self
    }

    /// Placeholders for at least one value: `?, ?, …`.
    pub(crate) fn values(mut self, values: impl IntoIterator<Item = Value<'a>>) -> Self {
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.text.push_str(", ");
            }
            self.push(value);
        }
        self
    }

    /// Placeholders for at least one row: `(?, ?), (?, ?), …`.
    pub(crate) fn rows<R: IntoIterator<Item = Value<'a>>>(
        mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        for (place, row) in rows.into_iter().enumerate() {
            self.text.push_str(if place == 0 { "(" } else { "), (" });
            self = self.values(row);
        }
        self.text.push(')');
        self
    }

    /// How many rows at most. The number stands in the text, because SQLite compiles a statement whose limit is a value anew
    /// whenever it runs.
    pub(crate) fn limit(self, most: i64) -> Self {
        self.text(&format!(" LIMIT {most}"))
    }

    fn push(&mut self, value: Value<'a>) {
        self.values.push(value);
        self.text.push('?');
    }

    /// Runs it; returns how many rows it wrote.
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<u64, Error> {
        let text = connection.dialect().spell(self.text);
        within(ANSWER, connection.execute(text, self.values)).await
    }

    /// Its rows, each as `read` reads it.
    pub(crate) async fn all<T>(
        self,
        connection: &mut Connection,
        read: impl Fn(&mut Fields<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let text = connection.dialect().spell(self.text);
        let rows = within(ANSWER, connection.fetch(text, self.values)).await?;
        (0..rows.len()).map(|row| read(&mut Fields { rows: &rows, row, next: 0 })).collect()
    }

    /// The first of its rows, of which there should be few.
    pub(crate) async fn first<T>(
        self,
        connection: &mut Connection,
        read: impl Fn(&mut Fields<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(connection, read).await?.into_iter().next())
    }
}

/// The columns of a row, read from the left.
pub(crate) struct Fields<'r> {
    rows: &'r Rows,
    row: usize,
    next: usize,
}

impl<'r> Fields<'r> {
    fn next(&mut self) -> Cell {
        self.next += 1;
        self.rows.cell(self.row, self.next - 1)
    }

    /// The error for the column that was just read.
    fn corrupt(&self) -> Error {
        Error::Corrupt { what: self.rows.name(self.next.saturating_sub(1)).to_owned() }
    }

    /// The text in a column, whatever was read before; `None` also if it is no text.
    pub(crate) fn text_at(&self, place: usize) -> Option<&'r str> {
        self.rows.text(self.rows.cell(self.row, place))
    }

    /// The number in a column, likewise.
    pub(crate) fn number_at(&self, place: usize) -> Option<i64> {
        match self.rows.cell(self.row, place) {
            Cell::Number(number) => Some(number),
            _ => None,
        }
    }

    fn optional_text(&mut self) -> Result<Option<&'r str>, Error> {
        match self.next() {
            Cell::Null => Ok(None),
            cell => self.rows.text(cell).map(Some).ok_or_else(|| self.corrupt()),
        }
    }

    fn optional_number(&mut self) -> Result<Option<i64>, Error> {
        match self.next() {
            Cell::Null => Ok(None),
            Cell::Number(number) => Ok(Some(number)),
            _ => Err(self.corrupt()),
        }
    }

    pub(crate) fn text(&mut self) -> Result<&'r str, Error> {
        self.optional_text()?.ok_or_else(|| self.corrupt())
    }

    pub(crate) fn string(&mut self) -> Result<String, Error> {
        self.text().map(str::to_owned)
    }

    pub(crate) fn optional_string(&mut self) -> Result<Option<String>, Error> {
        Ok(self.optional_text()?.map(str::to_owned))
    }

    pub(crate) fn number(&mut self) -> Result<i64, Error> {
        self.optional_number()?.ok_or_else(|| self.corrupt())
    }

    /// A number that is never negative.
    pub(crate) fn count<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        let number = self.number()?;
        T::try_from(number).map_err(|_| self.corrupt())
    }

    pub(crate) fn optional_count<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, Error> {
        let number = self.optional_number()?;
        number.map(T::try_from).transpose().map_err(|_| self.corrupt())
    }

    pub(crate) fn optional_fraction(&mut self) -> Result<Option<f64>, Error> {
        match self.next() {
            Cell::Null => Ok(None),
            Cell::Fraction(fraction) => Ok(Some(fraction)),
            _ => Err(self.corrupt()),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.number()? != 0)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Error> {
        let millis = self.number()?;
        Timestamp::from_millisecond(millis).map_err(|_| self.corrupt())
    }

    pub(crate) fn optional_time(&mut self) -> Result<Option<Timestamp>, Error> {
        let millis = self.optional_number()?;
        millis.map(Timestamp::from_millisecond).transpose().map_err(|_| self.corrupt())
    }

    /// A time that only says when something is due: if it is out of range, the nearest in it; `None` if it is no number.
    pub(crate) fn moment(&mut self) -> Option<Timestamp> {
        nearest(self.optional_number().ok()??)
    }

    /// The same in a column, whatever was read before.
    pub(crate) fn moment_at(&self, place: usize) -> Option<Timestamp> {
        nearest(self.number_at(place)?)
    }

    /// An id, a status or something else that is stored as text.
    pub(crate) fn parsed<T: FromStr>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        text.parse().map_err(|_| self.corrupt())
    }

    pub(crate) fn optional_parsed<T: FromStr>(&mut self) -> Result<Option<T>, Error> {
        let text = self.optional_text()?;
        text.map(str::parse).transpose().map_err(|_| self.corrupt())
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        serde_json::from_str(text).map_err(|_| self.corrupt())
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let text = self.optional_text()?;
        text.map(serde_json::from_str).transpose().map_err(|_| self.corrupt())
    }
}

fn nearest(millis: i64) -> Option<Timestamp> {
    let known = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond();
    Timestamp::from_millisecond(millis.clamp(*known.start(), *known.end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    #[test]
    fn chunks_are_powers_of_two_and_hold_every_row_once_in_order() {
        for length in [0, 1, 2, 3, 7, 50, 511, 512, 513, 10_000] {
            let rows: Vec<usize> = (0..length).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert!(chunks.iter().all(|c| c.len().is_power_of_two() && c.len() <= MAX_ROWS));
            assert_eq!(chunks.concat(), rows);
        }
    }

    #[test]
    fn every_value_has_its_placeholder_in_the_spelling_of_the_database() {
        let statement = Statement::new("a = ")
            .bind("x")
            .text(" VALUES ")
            .rows([[Value::from(1), Value::from("y")], [Value::from(2), Value::from("z")]]);
        assert_eq!(statement.values.len(), 5);
        let text = statement.text;
        assert_eq!(Dialect::Sqlite.spell(text.clone()), "a = ? VALUES (?, ?), (?, ?)");
        assert_eq!(Dialect::Postgres.spell(text), "a = $1 VALUES ($2, $3), ($4, $5)");
    }
}
