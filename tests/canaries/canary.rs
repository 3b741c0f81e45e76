//! What must not be written, in each of the ways in which it could be, and the search for it.

use std::{fmt::Write, ops::Range};

use aho_corasick::AhoCorasick;
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};

/// Shorter spellings would be found by chance.
const SHORTEST: usize = 8;

/// Whose a canary is, which decides where it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Nobody is to read it again, not even in the database.
    Gateway,
    /// A caller stores it about somebody: it stands in the database, and in answers to that caller.
    Person,
    /// A provider says it in words of its own, which no other tenant is to read.
    Provider,
}

/// A text that would be noticed anywhere.
#[derive(Clone)]
pub struct Canary {
    /// What it is, for the one who reads where it was found.
    name: String,
    pub of: Of,
    /// Each with how it came about.
    spellings: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    pub fn new(of: Of, name: &str, text: &str) -> Self {
        let mut spellings = vec![("as it is", text.as_bytes().to_vec())];
        let mut spell = |how, spelling: &[u8]| {
            if spelling.len() >= SHORTEST {
                spellings.push((how, spelling.to_vec()));
            }
        };
        spell("percent-encoded", escaped(text, |b| format!("%{b:02x}")).as_bytes());
        spell("escaped", escaped(text, |b| format!("\\u{b:04x}")).as_bytes());
        spell("in hexadecimal", hex(text).as_bytes());
        spell("reversed", text.chars().rev().collect::<String>().as_bytes());
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        spell("its first half", first);
        spell("its second half", second);
        for skipped in 0..3 {
            let bytes = text.as_bytes().get(skipped..).unwrap_or_default();
            let whole = &bytes[..bytes.len() - bytes.len() % 3];
            spell("in base64", BASE64_STANDARD.encode(whole).as_bytes());
            spell("in base64", BASE64_URL_SAFE_NO_PAD.encode(whole).as_bytes());
        }
        Self { name: name.to_owned(), of, spellings }
    }
}

/// With everything but letters and digits escaped.
fn escaped(text: &str, escape: impl Fn(u8) -> String) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => escape(byte),
    };
    text.bytes().map(one).collect()
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A place and what was written there.
pub struct Written {
    pub place: String,
    pub bytes: Vec<u8>,
}

/// Looks for canaries in all their spellings, in any case.
pub struct Search {
    automaton: AhoCorasick,
    /// What each of the automaton's patterns stands for.
    names: Vec<String>,
}

impl Search {
    pub fn new<'a>(canaries: impl Iterator<Item = &'a Canary>) -> Self {
        let (mut patterns, mut names) = (Vec::new(), Vec::new());
        for Canary { name, spellings, .. } in canaries {
            patterns.extend(spellings.iter().map(|(_, text)| text.clone()));
            names.extend(spellings.iter().map(|(how, _)| format!("{name} ({how})")));
        }
        let mut builder = AhoCorasick::builder();
        let automaton = builder.ascii_case_insensitive(true).build(patterns).unwrap();
        Self { automaton, names }
    }

    /// What was found, with where it stands.
    pub fn run(&self, written: &Written) -> Vec<String> {
        let Written { place, bytes } = written;
        let found = self.automaton.find_iter(bytes).map(|found| {
            let name = &self.names[found.pattern().as_usize()];
            format!("{place}: {name} in: {}", around(bytes, found.range()))
        });
        found.collect()
    }
}

/// The part of a line that shows what was found, and enough to know what it is about.
fn around(bytes: &[u8], found: Range<usize>) -> String {
    let is_end = |byte: &u8| *byte == b'\n';
    let start = bytes[..found.start].iter().rposition(is_end).map_or(0, |at| at + 1);
    let end = bytes[found.end..].iter().position(is_end).map_or(bytes.len(), |at| found.end + at);
    let (start, end) = (start.max(found.start.saturating_sub(400)), end.min(found.end + 200));
    String::from_utf8_lossy(&bytes[start..end]).into_owned()
}

#[test]
fn a_canary_is_found_in_every_spelling() {
    let canary = Canary::new(Of::Person, "a key", "Secret+Key/4711=x");
    let search = Search::new([&canary].into_iter());
    for text in [
        "a Secret+Key/4711=x b",
        "SECRET+KEY/4711=X",
        "?q=secret%2Bkey%2F4711%3Dx",
        "Secret\\u002bKey\\u002f4711\\u003dx",
        "5365637265742b4b65792f343731313d78",
        "x=1174/yeK+terceS",
        "U2VjcmV0K0tleS80NzExPXg=",
        BASE64_STANDARD.encode("a Secret+Key/4711=x b").as_str(),
        BASE64_URL_SAFE_NO_PAD.encode("ab Secret+Key/4711=x").as_str(),
        "only Secret+K",
    ] {
        let written = Written { place: "here".to_owned(), bytes: text.as_bytes().to_vec() };
        assert!(!search.run(&written).is_empty(), "{text}");
    }
    let written = Written { place: "here".to_owned(), bytes: b"Secret key 4711".to_vec() };
    assert!(search.run(&written).is_empty());
}
