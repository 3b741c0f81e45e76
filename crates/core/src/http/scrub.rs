//! Taking personal data out of a provider's own words before they reach a message or a log.

use crate::text::is_control;

/// The longest text kept.
const MAX: usize = 300;

/// A provider's text on one line, shortened, without anything that looks like an address, a phone
/// number or a long token.
///
/// ```
/// use invite_core::http::scrub;
/// assert_eq!(scrub("bad email\nada@example.org (+1 555 123 4567)"), "bad email … (+1 555 123 …)");
/// ```
pub fn scrub(text: &str) -> String {
    scrub_of(text, std::iter::empty())
}

/// The same, also without each of the `known` pieces of personal data.
pub fn scrub_of<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut text = visible(text);
    for piece in known.map(visible).filter(|piece| piece.chars().count() > 1) {
        text = replace_ignoring_case(&text, &piece);
    }
    let words = text.split_whitespace().map(scrub_word);
    let mut line = String::new();
    for word in words {
        if line.len() + word.len() + 1 > MAX {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    line
}

/// Without what is not seen; what parts two lines parts two words.
fn visible(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !is_control(*c)).collect()
}

fn scrub_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '+' && c != '…');
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    let hex_like =
        core.len() >= 40 && core.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c));
    let is_uuid = core.len() == 36 && core.bytes().filter(|b| *b == b'-').count() == 4;
    let number_like =
        digits >= 4 && core.chars().all(|c| c.is_ascii_digit() || "+-().".contains(c));
    if core.contains('@') || hex_like || (number_like && !is_uuid) {
        return word.replace(core, "…");
    }
    word.to_owned()
}

fn replace_ignoring_case(text: &str, piece: &str) -> String {
    let (haystack, needle) = (text.to_lowercase(), piece.to_lowercase());
    if needle.is_empty() || haystack.len() != text.len() {
        // Lower-casing moved byte positions: replace the exact spelling only.
        return text.replace(piece, "…");
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = 0;
    while let Some(at) = haystack[rest..].find(&needle) {
        let start = rest + at;
        let end = start + needle.len();
        if !text.is_char_boundary(start) || !text.is_char_boundary(end) {
            break;
        }
        result.push_str(&text[rest..start]);
        result.push('…');
        rest = end;
    }
    result.push_str(&text[rest..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_person_is_taken_out_in_any_case() {
        let line = scrub_of("Name ADA Lovelace is too long", ["Ada", "Lovelace"].into_iter());
        assert_eq!(line, "Name … … is too long");
    }

    #[test]
    fn codes_and_ids_stay_readable() {
        let text =
            "code 16: could not find key in organization 89881fc7-6ff3-4b43-b962-916698f8ff58";
        assert_eq!(scrub(text), text);
    }

    #[test]
    fn nothing_is_left_that_is_not_seen() {
        assert_eq!(scrub("a\u{202e}b\u{7}c\u{1b}[31m\r\nd\u{85}e"), "abc[31m d e");
        let split = scrub_of("Gr\u{200f}ace", ["Grace"].into_iter());
        assert_eq!(split, "…", "a name is found also if something unseen stands in it");
    }

    #[test]
    fn long_tokens_and_long_texts_are_cut() {
        assert_eq!(scrub(&format!("Bearer {}", "a1".repeat(40))), "Bearer …");
        assert!(scrub(&"word ".repeat(500)).len() < 320);
    }
}
