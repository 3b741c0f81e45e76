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

/// Cuts rows into chunks for one statement each.
pub(crate) fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    rows.chunks(MAX_ROWS)
}

/// For how many rows a statement is written that has this many: rows of NULL fill it up. So it has only eighteen different
/// texts, which stay prepared, and two thirds of it at least are rows.
fn filled_up(rows: usize) -> usize {
    let size = rows.next_power_of_two();
    let smaller = size / 4 * 3;
    if smaller >= rows { smaller } else { size }
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

    /// One of at least one value: `IN (?, ?, …)`.
    pub(crate) fn one_of(self, values: impl IntoIterator<Item = Value<'a>>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        let missing = filled_up(values.len()) - values.len();
        values.extend(values.last().map(Value::nothing).into_iter().cycle().take(missing));
        self.text(" IN (").values(values).text(")")
    }

    /// A table `v` of at least one row, with the columns `column1`, `column2`, …, of which the first is never NULL.
    pub(crate) fn rows<R: IntoIterator<Item = Value<'a>>>(
        mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        self.text.push_str("(SELECT * FROM (VALUES ");
        let (began, mut count) = (self.values.len(), 0);
        for row in rows {
            self.text.push_str(if count == 0 { "(" } else { "), (" });
            self = self.values(row);
            count += 1;
        }
        let width = (self.values.len() - began) / count.max(1);
        for _ in count..filled_up(count) {
            let nothing: Vec<_> =
                self.values[began..began + width].iter().map(Value::nothing).collect();
            self.text.push_str("), (");
            self = self.values(nothing);
        }
        self.text(")) AS filled_up WHERE column1 IS NOT NULL) AS v")
    }

    /// How many rows at most. The number stands in the text, because SQLite compiles a statement whose limit is a value anew
    /// whenever it runs.
    pub(crate) fn limit(self, most: i64) -> Self {
        self.text(&format!(" LIMIT {most}"))
    }

    /// How many rows this has, as the only one of another.
    pub(crate) fn counted(self) -> Self {
        let text = format!("SELECT count(*) FROM ({}) AS counted", self.text);
        Self { text, values: self.values }
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

    pub(crate) fn optional_number(&mut self) -> Result<Option<i64>, Error> {
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::dialect::Dialect;

    #[test]
    fn a_statement_for_any_number_of_rows_is_one_of_eighteen_and_two_thirds_full() {
        let sizes: BTreeSet<usize> = (1..=MAX_ROWS).map(filled_up).collect();
        assert_eq!((sizes.len(), sizes.last()), (18, Some(&MAX_ROWS)), "{sizes:?}");
        for rows in 1..=MAX_ROWS {
            let size = filled_up(rows);
            assert!(rows <= size && 3 * rows >= 2 * size, "{rows} in {size}");
        }
    }

    #[test]
    fn every_value_has_its_placeholder_in_the_spelling_of_the_database() {
        let statement = Statement::new("a = ")
            .bind("x")
            .text(" AND b")
            .one_of([1, 2, 3, 4, 5].map(Value::from))
            .text(" FROM ")
            .rows([[Value::from(1), Value::from("y")], [Value::from(2), Value::from("z")]]);
        let numbers = [1, 2, 3, 4, 5].map(Some).into_iter().chain([None]);
        for (value, number) in statement.values[1..7].iter().zip(numbers) {
            assert!(matches!(value, Value::Number(found) if *found == number));
        }
        assert_eq!(statement.values.len(), 11);
        let text = statement.text;
        assert_eq!(
            Dialect::Sqlite.spell(text.clone()),
            "a = ? AND b IN (?, ?, ?, ?, ?, ?) FROM (SELECT * FROM (VALUES (?, ?), (?, ?)) \
             AS filled_up WHERE column1 IS NOT NULL) AS v"
        );
        assert!(
            Dialect::Postgres.spell(text).contains("$7) FROM (SELECT * FROM (VALUES ($8, $9), ")
        );
    }

    #[test]
    fn rows_are_filled_up_with_nothing_of_their_columns_types() {
        let rows = (0..5).map(|n| [Value::from(n), Value::from("y")]);
        let statement = Statement::new("").rows(rows);
        assert!(matches!(
            statement.values[8..],
            [Value::Number(Some(4)), Value::Text(Some(_)), Value::Number(None), Value::Text(None)]
        ));
    }
}
