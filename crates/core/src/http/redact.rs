//! Takes our credentials out of replies. Some services quote a credential that they refuse, and a reply ends up in
//! messages and in the attempt's record.

use std::{collections::VecDeque, ops::Range};

use secrecy::zeroize::Zeroizing;

use super::Request;
use crate::text::shows_nothing;

/// Credentials of fewer bytes are not looked for: a word that short may stand in any reply.
const SHORTEST: usize = 8;

/// The credentials that a request carries, without a scheme such as `Bearer`.
pub(super) fn credentials(request: &Request) -> Vec<Zeroizing<Vec<u8>>> {
    let sensitive = request.headers.values().filter(|value| value.is_sensitive());
    let bare = sensitive.filter_map(|value| value.as_bytes().rsplit(|byte| *byte == b' ').next());
    let all = bare.chain(request.secrets.iter().map(|secret| secret.as_slice()));
    let long = all.filter(|credential| credential.len() >= SHORTEST);
    long.map(|credential| Zeroizing::new(credential.to_vec())).collect()
}

/// A body without these credentials: neither as they are, nor as they would appear once the body is read as JSON
/// and loses its invisible characters.
pub(super) fn redact(body: Vec<u8>, credentials: &[Zeroizing<Vec<u8>>]) -> Vec<u8> {
    let mut found = Vec::new();
    for credential in credentials {
        let mut plain = Search::new(credential);
        let bytes = body.iter().zip(0..);
        found.extend(bytes.filter_map(|(byte, at)| plain.advance(*byte, at..at + 1)));
        let mut as_read = Search::new(credential);
        read(&body, |byte, from| found.extend(as_read.advance(byte, from)));
    }
    if found.is_empty() {
        return body;
    }
    found.sort_by_key(|place| place.start);
    let (mut kept, mut end) = (Vec::new(), 0);
    for place in found {
        if place.start >= end {
            kept.extend_from_slice(&body[end..place.start]);
            kept.extend_from_slice("…".as_bytes());
        }
        end = end.max(place.end);
    }
    kept.extend_from_slice(&body[end..]);
    kept
}

/// A search for a word in decoded bytes, each of which comes from one or more bytes of a body. The algorithm is
/// that of Knuth, Morris and Pratt, so that a long reply needs no second copy.
struct Search<'a> {
    word: &'a [u8],
    /// The failure function: for each prefix of the word, the length of the longest shorter prefix that it ends with.
    shorter: Vec<usize>,
    /// How many bytes of the word match at present.
    matched: usize,
    /// Where in the body the matching bytes come from.
    from: VecDeque<Range<usize>>,
}

impl<'a> Search<'a> {
    fn new(word: &'a [u8]) -> Self {
        let mut search = Self { word, shorter: vec![0], matched: 0, from: VecDeque::new() };
        for byte in &word[1..] {
            search.step(*byte);
            search.shorter.push(search.matched);
        }
        Self { matched: 0, ..search }
    }

    fn step(&mut self, byte: u8) {
        while self.matched > 0 && self.word[self.matched] != byte {
            self.matched = self.shorter[self.matched - 1];
        }
        self.matched += usize::from(self.word[self.matched] == byte);
    }

    /// Takes the next byte; returns where in the body the word stands, if this byte completes it.
    fn advance(&mut self, byte: u8, from: Range<usize>) -> Option<Range<usize>> {
        self.step(byte);
        if self.matched == 0 {
            self.from.clear();
            return None;
        }
        self.from.push_back(from);
        let surplus = self.from.len() - self.matched;
        self.from.drain(..surplus);
        if self.matched < self.word.len() {
            return None;
        }
        self.matched = self.shorter[self.matched - 1];
        Some(self.from.front()?.start..self.from.back()?.end)
    }
}

/// Decodes JSON's escapes in a body and drops what shows nothing. `tell` is called with each byte that is left, and
/// with the range of the body that it comes from.
fn read(body: &[u8], mut tell: impl FnMut(u8, Range<usize>)) {
    let mut at = 0;
    for chunk in body.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((c, length)) = next(rest) {
            if !shows_nothing(c) {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| tell(byte, at..at + length));
            }
            rest = &rest[length..];
            at += length;
        }
        // Bytes that are no text are shown, with a sign in their place.
        for byte in chunk.invalid() {
            tell(*byte, at..at + 1);
            at += 1;
        }
    }
}

/// The first character of a JSON text, and the number of bytes that it is written with.
fn next(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let plain = (first, first.len_utf8());
    let Some(escape) = text.strip_prefix('\\') else { return Some(plain) };
    let escaped = match escape.chars().next() {
        Some(c @ ('"' | '\\' | '/')) => Some((c, 2)),
        Some('b' | 'f' | 'n' | 'r' | 't') => Some(('\n', 2)),
        Some('u') => escaped_units(text),
        _ => None,
    };
    Some(escaped.unwrap_or(plain))
}

/// The character of a `\u` escape, or of two where it lies beyond Unicode's first plane.
fn escaped_units(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    let two = unit(6).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    match char::from_u32(u32::from(first)) {
        Some(c) => Some((c, 6)),
        None => Some(two.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12))),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::Value;

    use super::*;
    use crate::text::plain_json;

    fn without(body: &str, credential: &str) -> String {
        let credentials = [Zeroizing::new(credential.as_bytes().to_vec())];
        String::from_utf8(redact(body.as_bytes().to_vec(), &credentials)).unwrap()
    }

    #[test]
    fn a_reply_that_quotes_the_credential_is_kept_without_it() {
        let request = Request::new(Method::GET, "http://localhost/".parse().unwrap())
            .credential("authorization", "Bearer s3cret-token")
            .unwrap();
        let body = b"s3cret-token: bad (s3cret-token)".to_vec();
        let kept = redact(body, &credentials(&request));
        assert_eq!(String::from_utf8(kept).unwrap(), "…: bad (…)");
        let in_body =
            Request { secrets: vec![Zeroizing::new(b"client/secret".to_vec())], ..request };
        let body = br#"{"asked":"client\/secret","was":"client/secret"}"#.to_vec();
        let kept = String::from_utf8(redact(body, &credentials(&in_body))).unwrap();
        assert_eq!(kept, r#"{"asked":"…","was":"…"}"#);
    }

    #[test]
    fn no_way_to_write_a_credential_shows_it_to_who_reads_the_reply() {
        let credential = "s3cret/to\\ken\"é😀";
        let characters: Vec<char> = credential.chars().collect();
        let unseen = [
            "\u{7f}", "\u{200b}", "\u{200d}", "\\ufeff", "\u{200f}", "\u{85}", "\\u200f",
            "\\u0007", "\\n", "\\t",
        ];
        for at in 0..characters.len() {
            for hidden in unseen.iter().copied().map(Some).chain([None]) {
                let mut written = String::new();
                for (place, c) in characters.iter().enumerate() {
                    let is_there = place == at;
                    written.push_str(hidden.filter(|_| is_there).unwrap_or_default());
                    match c {
                        _ if is_there && hidden.is_none() => {
                            let units = c.encode_utf16(&mut [0; 2]).to_vec();
                            written.extend(units.iter().map(|unit| format!("\\u{unit:04X}")));
                        }
                        '"' | '\\' => written.extend(['\\', *c]),
                        c => written.push(*c),
                    }
                }
                let kept = without(&format!(r#"{{"a":"x {written} y","b":1}}"#), credential);
                let read: Value = serde_json::from_str(&kept).unwrap();
                let shown = plain_json(&read)["a"].as_str().unwrap().to_owned();
                let left = shown.strip_prefix("x ").and_then(|it| it.strip_suffix(" y"));
                assert!(left.is_some_and(|left| left.ends_with('…')), "{written}: {shown}");
                assert!(!shown.contains("ken"), "{written}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_text_and_what_overlaps_is_cut_out_once() {
        let credentials = ["abcdefgh", "efghijkl"].map(|it| Zeroizing::new(it.into()));
        let body = b"\xff abcdefghijkl \xe2\x80".to_vec();
        let kept = redact(body, &credentials);
        assert_eq!(kept, [b"\xff ".as_slice(), "…".as_bytes(), b" \xe2\x80"].concat());
        assert_eq!(without("abcd\\u00", "abcdefgh"), "abcd\\u00");
    }
}
