//! Rules for texts and ids that people write, in an invite or in a configuration. What else a text has to be, whoever
//! reads it checks.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use serde_json::Value;

/// The longest id of something at a provider, in characters.
const MAX_ID: usize = 255;
/// An invite has at most so many labels.
pub const MAX_LABELS: usize = 16;
/// The longest key of a label, in characters.
pub const MAX_LABEL_KEY: usize = 64;
/// The longest value of a label, in characters.
pub const MAX_LABEL_VALUE: usize = 256;

/// Checks a text of at most `max` characters. Control characters have no place in a name or an id, and PostgreSQL
/// stores no NUL; with `lines`, as in a message, tabs and line breaks are allowed.
///
/// # Errors
/// A fault's code, and the rest of a sentence that begins with the name of the text. Neither shows the text.
pub fn check_text(text: &str, max: usize, lines: bool) -> Result<(), (&'static str, String)> {
    // A text has at most as many characters as bytes, so most need no counting.
    if text.len() > max && text.chars().count() > max {
        return Err(("too-long", format!("is longer than {max} characters")));
    }
    let refused = |c: char| c.is_ascii_control() && !(lines && matches!(c, '\n' | '\r' | '\t'));
    if text.chars().any(refused) {
        return Err(("invalid", "holds a control character".to_owned()));
    }
    Ok(())
}

/// Whether a character shows nothing and means nothing. Joiners and variation selectors mean something, because some
/// scripts cannot be spelled without them.
pub fn is_invisible(c: char) -> bool {
    let annotates = matches!(c, '\u{fff9}'..='\u{fffb}');
    annotates || is_ignorable(c) && !has_meaning(c)
}

/// Whether a character shows nothing, although it may mean something.
pub(crate) fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn has_meaning(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Whether a character controls a terminal, separates lines, or controls the direction of text (Unicode's
/// `Bidi_Control`), which can make one text look like another.
pub fn is_control(c: char) -> bool {
    let parts_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_text = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns_text || parts_lines || c.is_control()
}

/// Whether a character [is a control](is_control) or [is invisible](is_invisible).
pub fn is_unseen(c: char) -> bool {
    is_control(c) || is_invisible(c)
}

/// Whether a character shows nothing, whether or not it means something.
pub fn shows_nothing(c: char) -> bool {
    is_unseen(c) || is_ignorable(c)
}

/// Somebody else's text without characters that are [unseen](is_unseen).
pub fn plain(text: impl Into<String>) -> String {
    let mut text = text.into();
    text.retain(|c| !is_unseen(c));
    text
}

/// A text of ours that may quote what somebody wrote, with [unseen](is_unseen) characters written as in JSON (`\u202e`).
/// So a name that looks like another shows why it is not the same.
pub fn legible(text: String) -> String {
    if !text.contains(is_unseen) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unseen(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown
}

/// A value of which every text is as [`plain`] leaves it.
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

/// A text of at most `max` bytes: the whole text, or its start with a sign that it was cut off.
pub fn cut(text: String, max: usize) -> String {
    const SIGN: &str = "…";
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max.saturating_sub(SIGN.len()));
    format!("{}{SIGN}", &text[..end])
}

/// Checks a name that stands in lists and in the log, where it must not look like another: it is not empty, has no
/// white space but single spaces between words, and no character that is not seen.
///
/// # Errors
/// As [`check_text`].
pub fn check_word(text: &str, max: usize) -> Result<(), (&'static str, String)> {
    check_handle(text, max)?;
    if text.is_empty() {
        return Err(("too-short", "is empty".to_owned()));
    }
    if text.trim() != text || text.contains("  ") {
        return Err(("invalid", "starts or ends with a space, or has two in a row".to_owned()));
    }
    // The blank of Braille does not count as white space, but shows nothing either.
    let is_blank = |c: char| c != ' ' && c.is_whitespace() || c == '\u{2800}';
    if text.contains(|c| shows_nothing(c) || is_blank(c)) {
        return Err(("invalid", "holds a character that is not seen".to_owned()));
    }
    Ok(())
}

/// Checks a caller's own id for something, or the key or value of a label, by which it is found again.
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

/// Checks an id of something at a provider, which often becomes one step of a path.
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

/// Checks the key of a label.
///
/// # Errors
/// A fault's code and a sentence, neither of which shows the key.
pub fn check_label_key(key: &str) -> Result<(), (&'static str, String)> {
    check_handle(key, MAX_LABEL_KEY)
        .map_err(|(code, detail)| (code, format!("the label's key {detail}")))?;
    if key.is_empty() || key.contains(':') {
        return Err(("invalid", "a label's key is not empty and has no `:`".to_owned()));
    }
    Ok(())
}

/// Checks the value of a label.
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
        for c in ['\u{ad}', '\u{180e}', '\u{200b}', '\u{2060}', '\u{feff}', '\u{fff9}', '\u{e0001}']
        {
            let text = format!("a{c}b");
            assert_eq!(check_word(&text, 9).unwrap_err().0, "invalid", "{c:?}");
            assert_eq!(plain(text.as_str()), "ab");
            // Whoever is found by it may be spelled so.
            assert_eq!(check_handle(&text, 9), Ok(()));
        }
        // What some scripts cannot be spelled without is kept, but makes no word differ from another.
        for c in ['\u{200c}', '\u{200d}', '\u{fe0f}', '\u{a0}', '\u{2800}', '\u{3000}'] {
            let text = format!("a{c}b");
            assert_eq!(check_word(&text, 9).unwrap_err().0, "invalid", "{c:?}");
            assert_eq!(plain(text.as_str()), text);
        }
        assert_eq!(check_handle("a\u{202e}b", 9).unwrap_err().0, "invalid");
        assert_eq!(check_word("Ünit \u{5d0}", 6), Ok(()));
        assert_eq!(check_word("", 9).unwrap_err().0, "too-short");
        for spaced in [" a", "a ", "a  b"] {
            assert_eq!(check_word(spaced, 9).unwrap_err().0, "invalid");
        }
        assert_eq!(check_word("abc", 2).unwrap_err().0, "too-long");
    }

    #[test]
    fn what_is_quoted_shows_what_is_not_seen() {
        let quoted = "/na\u{202e}me\n\u{85}\u{200b}";
        assert_eq!(legible(quoted.to_owned()), r"/na\u202eme\u000a\u0085\u200b");
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
