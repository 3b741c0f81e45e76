//! Takes personal data out of a provider's own words before they reach a message or a log.

use crate::text::shows_nothing;

/// The longest text that is left, in bytes.
const MAX: usize = 300;
/// So many digits in a row, or so many in all between signs such as hyphens, may be a phone number.
const IN_A_ROW: usize = 6;
const IN_ALL: usize = 9;

/// A provider's text on one line, shortened, without anything that looks like an address, a phone
/// number (also inside a word) or a long token.
///
/// ```
/// use invite_core::http::scrub;
/// assert_eq!(scrub("bad email\nada@example.org (+1 555 123 4567)"), "bad email … (+1 555 123 …)");
/// ```
pub fn scrub(text: &str) -> String {
    scrub_of(text, std::iter::empty())
}

/// As [`scrub`], and without each of the `known` pieces of personal data, however JSON spells it.
pub fn scrub_of<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut text = visible(text);
    let known = known.map(visible).filter(|piece| piece.chars().count() > 1);
    let mut pieces: Vec<String> = known.flat_map(spellings).collect();
    // The longest go first, because one may be part of another.
    pieces.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    pieces.dedup();
    for piece in pieces {
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

/// The text on one line, without characters that show nothing.
fn visible(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !shows_nothing(*c)).collect()
}

/// The ways in which a piece may stand in a provider's text: as it is, or escaped in JSON; and a phone number also
/// without its country code, where the rest is too short to be recognized as a number by itself.
fn spellings(piece: String) -> Vec<String> {
    let mut spellings = Vec::new();
    if let Some(number) = piece.strip_prefix('+')
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        let national = (1..=3).filter_map(|code| number.get(code..));
        let short = national.filter(|rest| (4..IN_A_ROW).contains(&rest.len()));
        spellings.extend(short.map(str::to_owned));
    }
    let is_plain = |c: char| c.is_ascii() && c != '"' && c != '\\';
    if !piece.chars().all(is_plain) {
        spellings
            .push(serde_json::Value::from(piece.as_str()).to_string().trim_matches('"').into());
        spellings.push(piece.chars().map(|c| escaped(c, is_plain(c))).collect());
    }
    spellings.push(piece);
    spellings
}

/// A character as JSON spells it that consists of ASCII alone.
fn escaped(c: char, is_plain: bool) -> String {
    if is_plain {
        return c.to_string();
    }
    if c.is_ascii() {
        return format!("\\{c}");
    }
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn scrub_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '+' && c != '…');
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    let hex_like =
        core.len() >= 40 && core.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c));
    let number_like =
        digits >= 4 && core.chars().all(|c| c.is_ascii_digit() || "+-().".contains(c));
    let is_address = core.contains('@') || core.contains("%40");
    if is_address || hex_like || (number_like && !is_uuid(core)) {
        return word.replace(core, "…");
    }
    without_numbers(word)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A word without what may be a phone number; UUIDs stay.
fn without_numbers(word: &str) -> String {
    let mut kept = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(next) = rest.chars().next() {
        if let Some(id) = rest.get(..36).filter(|id| is_uuid(id)) {
            kept.push_str(id);
            rest = &rest[36..];
            continue;
        }
        let of_number = |c: char| c.is_ascii_digit() || "-.()".contains(c);
        let run = rest.find(|c| !of_number(c)).map_or(rest, |end| &rest[..end]);
        let number = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        if !next.is_ascii_digit() {
            kept.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        }
        let in_a_row = number.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        let in_all = number.bytes().filter(u8::is_ascii_digit).count();
        let may_be_phone = in_a_row.is_some_and(|most| most >= IN_A_ROW) || in_all >= IN_ALL;
        kept.push_str(if may_be_phone { "…" } else { number });
        rest = &rest[number.len()..];
    }
    kept
}

fn replace_ignoring_case(text: &str, piece: &str) -> String {
    let (haystack, needle) = (text.to_lowercase(), piece.to_lowercase());
    if needle.is_empty() || haystack.len() != text.len() {
        // Lower case has other byte positions here, so only the exact spelling can be replaced.
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
    fn a_body_that_is_repeated_shows_nobody_however_it_is_spelled() {
        let known =
            ["Bobqqq", "Bobqqqson", "+15559998888", "Ren\u{e9}e", "O\"Neil", "+37212345678"];
        let body = r#"{"country_code":"1","first_name":"Bobqqq","last_name":"Bobqqqson","mobile_number":
            "5559998888","other":"555-999-8888","a":"Ren\u00e9e","b":"Renée","c":"O\"Neil","e":"x%40y.org",
            "event":42,"id":"89881fc7-6ff3-4b43-b962-916698f8ff58"}"#;
        let line = scrub_of(&body.split_whitespace().collect::<String>(), known.into_iter());
        // Such a word is an address as a whole.
        assert_eq!(line, r#"{"…"}"#);
        let body = body.replace(r#""e":"x%40y.org","#, "");
        let line = scrub_of(&body.split_whitespace().collect::<String>(), known.into_iter());
        let wanted = r#"{"country_code":"1","first_name":"…","last_name":"…","mobile_number":"…","other":"…","a":"…","b":"…","c":"…","event":42,"id":"89881fc7-6ff3-4b43-b962-916698f8ff58"}"#;
        assert_eq!(line, wanted);
        assert_eq!(scrub_of("no=12345,", ["+37212345"].into_iter()), "no=…,");
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
