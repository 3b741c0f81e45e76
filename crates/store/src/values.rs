//! What goes into a statement and what comes out of it, the same for both databases.

use std::borrow::Cow;

use jiff::Timestamp;

/// A value on its way into a statement.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
}

impl Value<'_> {
    /// NULL of the same type.
    pub(crate) fn nothing(&self) -> Self {
        match self {
            Value::Text(_) => Value::Text(None),
            Value::Number(_) => Value::Number(None),
        }
    }

    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Value::Number(number) => Value::Number(number),
        }
    }
}

macro_rules! value {
    ($($from:ty, $binding:ident => $value:expr;)*) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from($binding: $from) -> Self {
                $value
            }
        }
    )*};
}

value! {
    &'a str, text => Self::Text(Some(storable(text)));
    &'a String, text => Self::from(text.as_str());
    String, text => Self::Text(Some(Cow::Owned(storable(&text).into_owned())));
    Option<&'a str>, text => Self::Text(text.map(storable));
    Option<String>, text => text.map_or(Self::Text(None), Self::from);
    i64, number => Self::Number(Some(number));
    Option<i64>, number => Self::Number(number);
    bool, flag => Self::Number(Some(i64::from(flag)));
    Timestamp, at => Self::Number(Some(at.as_millisecond()));
    Option<Timestamp>, at => Self::Number(at.map(Timestamp::as_millisecond));
}

/// A text as both databases can hold it. PostgreSQL's TEXT cannot hold U+0000, which a provider's reply may contain, so the
/// sign for an unreadable character replaces it.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The rows of an answer, in few pieces of memory however many they are.
#[derive(Default)]
pub(crate) struct Rows {
    /// The names of the columns, each with a line end.
    names: String,
    width: usize,
    cells: Vec<Cell>,
    texts: String,
}

/// One column of one row.
#[derive(Clone, Copy)]
pub(crate) enum Cell {
    Null,
    Number(i64),
    Fraction(f64),
    /// From where to where in the texts of all rows.
    Text(usize, usize),
    /// What none of our columns holds.
    Other,
}

impl Rows {
    pub(crate) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut rows = Self::default();
        for name in names {
            rows.names.push_str(name);
            rows.names.push('\n');
            rows.width += 1;
        }
        rows
    }

    pub(crate) fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    pub(crate) fn push_text(&mut self, text: &str) {
        let start = self.texts.len();
        self.texts.push_str(text);
        self.cells.push(Cell::Text(start, self.texts.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    pub(crate) fn cell(&self, row: usize, column: usize) -> Cell {
        let place = (column < self.width).then_some(row * self.width + column);
        place.and_then(|place| self.cells.get(place)).copied().unwrap_or(Cell::Other)
    }

    pub(crate) fn text(&self, cell: Cell) -> Option<&str> {
        match cell {
            Cell::Text(start, end) => self.texts.get(start..end),
            _ => None,
        }
    }

    pub(crate) fn name(&self, column: usize) -> &str {
        self.names.lines().nth(column).unwrap_or("?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_postgres_cannot_hold_is_made_storable() {
        assert_eq!(storable("a\0b"), "a\u{FFFD}b");
        assert!(matches!(storable("ab"), Cow::Borrowed("ab")));
    }
}
