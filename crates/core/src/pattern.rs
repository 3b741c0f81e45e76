//! The rules of [`text`](crate::text) as patterns of a JSON Schema, used as `#[schemars(transform = pattern::line)]`.

use schemars::Schema;

use crate::schema::FORMS;

/// Takes what [`check_text`](crate::text::check_text) takes on one line.
pub fn line(schema: &mut Schema) {
    require(schema, r"^[^\u0000-\u001f\u007f]*$", "a text without control characters");
}

/// Takes what [`check_text`](crate::text::check_text) takes on several lines.
pub fn lines(schema: &mut Schema) {
    let words = "a text without control characters but tabs and line breaks";
    require(schema, r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$", words);
}

/// Takes what [`check_handle`](crate::text::check_handle) takes.
pub fn handle(schema: &mut Schema) {
    let words = "a text without control characters and those that change the direction of text";
    require(schema, &format!("^[^{CONTROLS}]*$"), words);
}

/// Takes what [`check_label_key`](crate::text::check_label_key) takes.
pub fn label_key(schema: &mut Schema) {
    let words = "a text, not empty, without `:` and without control characters and those that change the \
                 direction of text";
    require(schema, &format!("^[^:{CONTROLS}]+$"), words);
}

/// Takes what [`check_word`](crate::text::check_word) takes, some invisible characters too, and the empty word, which
/// is for the schema's length to refuse.
pub fn word(schema: &mut Schema) {
    let words = "a text whose only white space is single spaces within it, and without control characters \
                 and those that change the direction of text";
    let seen = format!(r"[^\s{CONTROLS}]+");
    require(schema, &format!("^(?:{seen}(?: {seen})*)?$"), words);
}

/// The characters of [`is_control`](crate::text::is_control), for use within brackets.
const CONTROLS: &str = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069";

fn require(schema: &mut Schema, pattern: &str, words: &str) {
    schema.insert("pattern".to_owned(), pattern.into());
    schema.insert(FORMS.to_owned(), words.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{
        check_handle, check_label_key, check_text, check_word, is_control, is_ignorable,
    };

    #[test]
    fn a_schema_says_what_is_checked() {
        type Write = fn(&mut Schema);
        type Check = fn(&str) -> Result<(), (&'static str, String)>;
        let pairs: [(Write, Check); 5] = [
            (line, |text| check_text(text, 9, false)),
            (lines, |text| check_text(text, 9, true)),
            (handle, |text| check_handle(text, 9)),
            (label_key, check_label_key),
            (word, |text| {
                let is_unseen =
                    |c| matches!(c, '\u{2800}' | '\u{fff9}'..='\u{fffb}') || is_ignorable(c);
                let is_left_to_check = |c| is_unseen(c) && !is_control(c) && !c.is_whitespace();
                match text.is_empty() || text.contains(is_left_to_check) {
                    true => Ok(()),
                    false => check_word(text, 9),
                }
            }),
        ];
        for (at, (write, check)) in pairs.into_iter().enumerate() {
            let mut schema = schemars::json_schema!({ "type": "string" });
            write(&mut schema);
            let schema = crate::schema::Schema::new(schema.to_value());
            let texts = (0..0x3100).filter_map(char::from_u32).map(|c| format!("a{c}b"));
            for text in texts.chain(["", " a", "a ", "a", "a b", "a  b", ":"].map(str::to_owned)) {
                let is_taken = schema.check(&text.as_str().into()).is_empty();
                assert_eq!(is_taken, check(&text).is_ok(), "{at}: {text:?}");
            }
        }
    }
}
