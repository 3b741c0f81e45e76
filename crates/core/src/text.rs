//! The rules for texts and ids that people write, in an invite or in a configuration alike. What else
//! a text has to be is for whoever reads it.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use serde_json::Value;

/// The longest id of something at a provider.
const MAX_ID: usize = 255;
/// Labels of one invite at most.
pub const MAX_LABELS: usize = 16;
/// The longest key of a label.
pub const MAX_LABEL_KEY: usize = 64;
/// The longest value of a label.
pub const MAX_LABEL_VALUE: usize = 256;

/// Control characters have no place in a name or an id, and PostgreSQL stores no NUL; a message may
/// have several `lines`. `max` counts characters.
///
/// # Errors
/// A fault's code and the rest of a sentence about the text, which neither shows.
pub fn check_text(text: &str, max: usize, lines: bool) -> Result<(), (&'static str, String)> {
    // As many bytes as characters are allowed can be no more characters than that.
    if text.len() > max && text.chars().count() > max {
        return Err(("too-long", format!("is longer than {max} characters")));
    }
    let refused = |c: char| c.is_ascii_control() && !(lines && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().any(refused) {
        return Err(("invalid", "holds a control character".to_owned()));
    }
    Ok(())
}

/// Whether a character shows nothing and says nothing. Joiners and variation selectors say something: some
/// scripts cannot be spelled without them.
pub fn is_invisible(c: char) -> bool {
    let says_something = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) && !says_something
}

/// Whether a character controls a terminal, parts lines, or controls the direction of text (Unicode,
/// `Bidi_Control`), by which a text can look like another.
pub fn is_control(c: char) -> bool {
    let parts_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_text = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns_text || parts_lines || c.is_control()
}

/// Somebody else's text without the characters that [`is_control`] tells.
pub fn plain(text: impl Into<String>) -> String {
    let mut text = text.into();
    text.retain(|c| !is_control(c));
    text
}

/// Words of ours that may quote what somebody wrote: there the characters that [`is_control`] tells are
/// written as in JSON (`\u202e`), so that what looks like something else shows why it is not.
pub fn legible(text: String) -> String {
    if !text.contains(is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_control(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown
}

/// Every text in a value as [`plain`] leaves it.
pub fn plain_json(value: &Value) -> Value {
    match value {
        Value::String(text) => plain(text.as_str()).into(),
        Value::Array(items) => items.iter().map(plain_json).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (plain(name.as_str()), plain_json(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The text, or as much of its start as fits `max` bytes together with the sign that it was cut off.
pub fn cut(text: String, max: usize) -> String {
    const SIGN: &str = "…";
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max.saturating_sub(SIGN.len()));
    format!("{}{SIGN}", &text[..end])
}

/// A word that stands in lists and in the log, where nothing may look like something else: not empty,
/// without white space around it, and without the characters that [`is_control`] or [`is_invisible`] tells.
///
/// # Errors
/// As [`check_text`].
pub fn check_word(text: &str, max: usize) -> Result<(), (&'static str, String)> {
    check_handle(text, max)?;
    if text.is_empty() {
        return Err(("too-short", "is empty".to_owned()));
    }
    if text.trim() != text {
        return Err(("invalid", "starts or ends with a space".to_owned()));
    }
    if text.contains(is_invisible) {
        return Err(("invalid", "holds a character that is not seen".to_owned()));
    }
    Ok(())
}

/// A caller's own id for something, or the value of a label, by which it is found again.
///
/// # Errors
/// As [`check_text`].
pub fn check_handle(text: &str, max: usize) -> Result<(), (&'static str, String)> {
    check_text(text, max, false)?;
    match text.contains(is_control) {
        true => {
            let detail = "holds a control character, or one that changes the direction of text";
            Err(("invalid", detail.to_owned()))
        }
        false => Ok(()),
    }
}

/// An id of something at a provider, which often becomes one step of a path.
///
/// # Errors
/// As [`check_text`].
pub fn check_id(text: &str) -> Result<(), (&'static str, String)> {
    let invalid = |why: &str| Err(("invalid", why.to_owned()));
    if text.trim().is_empty() {
        return invalid("is empty");
    }
    if matches!(text, "." | "..") || text.contains(['/', '\\', '?', '#']) {
        return invalid("is no id: it is a path, or a part of a URL");
    }
    check_text(text, MAX_ID, false)
}

/// The key of a label.
///
/// # Errors
/// A fault's code and a sentence.
pub fn check_label_key(key: &str) -> Result<(), (&'static str, String)> {
    check_handle(key, MAX_LABEL_KEY)
        .map_err(|(code, detail)| (code, format!("the label's key {detail}")))?;
    if key.is_empty() || key.contains(':') {
        return Err(("invalid", "a label's key is not empty and has no `:`".to_owned()));
    }
    Ok(())
}

/// The value of a label.
///
/// # Errors
/// As [`check_label_key`].
pub fn check_label_value(value: &str) -> Result<(), (&'static str, String)> {
    check_handle(value, MAX_LABEL_VALUE)
        .map_err(|(code, detail)| (code, format!("the label's value {detail}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_have_lines_and_other_texts_may_not() {
        assert_eq!(check_text("Hello\r\n\tAda", 11, true), Ok(()));
        assert_eq!(check_text("Hello\nAda", 11, false).unwrap_err().0, "invalid");
        for control in ["a\0", "a\u{7}", "\u{7f}"] {
            assert_eq!(check_text(control, 11, true).unwrap_err().0, "invalid", "{control:?}");
        }
    }

    #[test]
    fn a_length_counts_characters_and_not_bytes() {
        assert_eq!(check_text("ääää", 4, false), Ok(()));
        assert_eq!(check_text("ääääa", 4, false).unwrap_err().0, "too-long");
    }

    #[test]
    fn a_word_and_somebody_elses_text_hold_nothing_that_is_not_seen() {
        for c in
            ['\0', '\u{1b}', '\u{85}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2069}']
        {
            let text = format!("a{c}b");
            assert_eq!(check_word(&text, 9).unwrap_err().0, "invalid", "{text:?}");
            assert_eq!(plain(text.as_str()), "ab");
            let value = serde_json::json!({ text.as_str(): [text, 1, null] });
            assert_eq!(plain_json(&value), serde_json::json!({ "ab": ["ab", 1, null] }));
        }
        for c in ['\u{ad}', '\u{180e}', '\u{200b}', '\u{2060}', '\u{feff}'] {
            assert_eq!(check_word(&format!("a{c}b"), 9).unwrap_err().0, "invalid", "{c:?}");
            // Whoever is found by it may be spelled so.
            assert_eq!(check_handle(&format!("a{c}b"), 9), Ok(()));
        }
        assert_eq!(check_handle("a\u{202e}b", 9).unwrap_err().0, "invalid");
        assert_eq!(check_word("Ünit \u{5d0}", 6), Ok(()));
        assert_eq!(check_word("", 9).unwrap_err().0, "too-short");
        assert_eq!(check_word(" a", 9).unwrap_err().0, "invalid");
        assert_eq!(check_word("abc", 2).unwrap_err().0, "too-long");
    }

    #[test]
    fn what_is_quoted_shows_what_is_not_seen() {
        assert_eq!(legible("/na\u{202e}me\n\u{85}".to_owned()), r"/na\u202eme\u000a\u0085");
        assert_eq!(legible("Ünit \u{5d0}".to_owned()), "Ünit \u{5d0}");
    }

    #[test]
    fn a_text_is_cut_between_two_characters_and_says_so() {
        assert_eq!(cut("ääää".to_owned(), 8), "ääää");
        assert_eq!(cut("ääääa".to_owned(), 8), "ää…");
        assert_eq!(cut("ääää".to_owned(), 0), "…");
    }

    #[test]
    fn an_id_is_one_plain_step_of_a_path() {
        for id in ["event-456", "89881fc7-6ff3-4b43", "a b", "Ä.1", "...", &"x".repeat(255)] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in ["", " ", ".", "..", "../../admin", "a/b", "a?c", "a#d", "a\\b", "a\nb", "a\0"] {
            assert_eq!(check_id(id).unwrap_err().0, "invalid", "{id:?}");
        }
        assert_eq!(check_id(&"x".repeat(256)).unwrap_err().0, "too-long");
    }
}
