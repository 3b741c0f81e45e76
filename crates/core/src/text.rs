//! The rules for texts and ids that people write, in an invite or in a configuration alike. What else
//! a text has to be is for whoever reads it.

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
    check_text(key, MAX_LABEL_KEY, false)
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
    check_text(value, MAX_LABEL_VALUE, false)
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
