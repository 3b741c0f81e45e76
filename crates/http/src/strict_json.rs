//! JSON whose objects have no two members of one name. Of two such members a reader keeps one and
//! silently drops the other, and which one differs from reader to reader (RFC 8259, section 4).

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Why a text was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is no JSON, or an object has two members of one name.
    Malformed(serde_json::Error),
    /// It holds more values than were allowed.
    TooMany,
}

/// Reads a text of at most `most` values. It stops there, as small values take up to a hundred times the
/// memory of their text.
pub(crate) fn read(text: &[u8], most: usize) -> Result<Value, Unread> {
    let left = Cell::new(Some(most));
    let mut text = serde_json::Deserializer::from_slice(text);
    let value = Reader { left: &left }.deserialize(&mut text);
    value.and_then(|value| text.end().map(|()| value)).map_err(|error| match left.get() {
        None => Unread::TooMany,
        Some(_) => Unread::Malformed(error),
    })
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    /// How many more values may come; `None` after one too many.
    left: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        if self.left.get().is_none() {
            return Err(Error::custom("more values than are read"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            read.push(item);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.insert(name, members.next_value_seed(self)?).is_some() {
                return Err(Error::custom("an object has two members with one name"));
            }
        }
        Ok(read.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        super::read(text.as_bytes(), 100).map_err(|unread| match unread {
            Unread::Malformed(error) => error.to_string(),
            Unread::TooMany => "too many".to_owned(),
        })
    }

    #[test]
    fn what_names_no_member_twice_is_read_as_it_stands() {
        let text =
            r#"{"a": [null, true, -1, 18446744073709551615, 2.5, "x\n", {}], "b": {"a": 0}}"#;
        assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn two_members_with_one_name_are_refused_wherever_they_stand() {
        let detail = "an object has two members with one name at line 1 column ";
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "\u0061": 2}}]"#] {
            assert!(read(text).unwrap_err().starts_with(detail), "{text}");
        }
    }

    #[test]
    fn a_text_is_read_up_to_so_many_values_and_not_beyond() {
        let count = |text: &str, most| super::read(text.as_bytes(), most).is_ok();
        for (text, values) in [("1", 1), ("[[],{},\"\"]", 4), (r#"{"a":[1,2],"b":null}"#, 5)] {
            assert!(count(text, values), "{text}");
            assert!(!count(text, values - 1), "{text}");
        }
        // What comes after the limit is not read.
        assert_eq!(read(&format!("[{}no JSON", "0,".repeat(100))).unwrap_err(), "too many");
        assert!(read("[0] 1").unwrap_err().starts_with("trailing characters"));
    }
}
