//! Email addresses: which ones are accepted, and when two are the same person's.

use std::{fmt, str::FromStr};

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::text::{is_ignorable, is_invisible};

/// The longest address that is accepted, in bytes (RFC 5321, as corrected by erratum 1690).
pub const MAX_LENGTH: usize = 254;
/// The longest local part, in bytes (RFC 5321, 4.5.3.1.1).
pub const MAX_LOCAL: usize = 64;

/// A canonical address: the local part in NFC, in lower case where that loses nothing, and without
/// quotes that it does not need; the domain as ASCII. Nothing is removed. Reading a canonical address
/// as one that somebody wrote gives the same again.
///
/// Two invites with equal canonical addresses are for the same person. What is sent to a provider
/// is the address as the caller wrote it.
///
/// ```
/// use invite_core::Address;
/// let a: Address = "\"Ada+Work\"@Bücher.example".parse().unwrap();
/// assert_eq!(a.as_str(), "ada+work@xn--bcher-kva.example");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// An address from its stored canonical text, which is not checked again: the rules may have changed since it
    /// was accepted.
    pub fn stored(canonical: String) -> Self {
        Self(canonical)
    }

    /// The address that a provider or a caller shows, for comparison with ours. A provider shows what it stored,
    /// which may lack quotes that an address needs. A text that is no address is compared in lower case, and
    /// equals none of ours.
    pub fn shown(text: &str) -> Self {
        let read = |text: &str| {
            let (local, domain) = text.rsplit_once('@')?;
            let name = read_local(local).unwrap_or_else(|| local.to_owned());
            Some(format!("{}@{}", write_local(&fold(&name)), read_domain(domain).ok()?))
        };
        let text = text.trim();
        Self(read(text).unwrap_or_else(|| text.to_lowercase()))
    }

    /// Whether a text that [`shown`](Self::shown) reads as another address may be this one all the same, in a
    /// spelling of the provider's own: masked (`a**@x.org`), with other characters for the same letters, or no
    /// address at all. Where both are plain ASCII without a mask, it is somebody else's.
    pub fn may_be_shown_as(&self, text: &str) -> bool {
        let is_mask = |c: char| matches!(c, '*' | '…' | '•');
        if !text.contains('@') {
            return true;
        }
        if self.0.is_ascii() && text.is_ascii() && !text.contains(is_mask) {
            return false;
        }
        let shown = Self::shown(text).0;
        // Masks are replaced first, because NFKC makes three dots of an ellipsis.
        let (own, shown) = (skeleton(&self.0), skeleton(&shown.replace(is_mask, "*")));
        let mut parts = shown.split('*');
        let Some(mut rest) = parts.next().and_then(|first| own.strip_prefix(first)) else {
            return false;
        };
        let mut last = None;
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
            last = Some(part);
        }
        last.map_or(rest.is_empty(), |last| own.ends_with(last))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical domain, after the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Debug for Address {
    /// Shows nothing, because an address is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Why an address cannot be invited. It never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is longer than [`MAX_LENGTH`], or its local part than [`MAX_LOCAL`], as it is written or in its canonical
    /// form, which may be longer.
    #[error(
        "longer than {MAX_LENGTH} bytes, or than {MAX_LOCAL} before the @ (as written, or in lower case \
         and Unicode's form NFC)"
    )]
    TooLong,
    /// It has white space or an invisible character where none may be.
    #[error("{} at character {place}: remove it", unseen(*code))]
    Unseen {
        /// The character's place; the first is 1.
        place: usize,
        /// The character itself.
        code: char,
    },
    /// It is not `local@domain` by RFC 5321 and RFC 6531.
    #[error("not an email address: expected local-part@domain")]
    Malformed,
    /// Its domain cannot be written as ASCII by IDNA (UTS 46).
    #[error("the domain is not a valid internationalized domain name")]
    Domain,
}

fn unseen(code: char) -> String {
    match code {
        ' ' => "a space stands".to_owned(),
        '\t' => "a tab stands".to_owned(),
        '\n' | '\r' => "a line break stands".to_owned(),
        code if code.is_whitespace() => {
            format!("white space (U+{:04X}) stands", u32::from(code))
        }
        code => format!("an invisible character (U+{:04X}) stands", u32::from(code)),
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidAddress::TooLong);
        }
        Self::read(text).map_err(|error| match error {
            InvalidAddress::Malformed | InvalidAddress::Domain => {
                let is_unseen = |c: char| {
                    c.is_whitespace() || c.is_control() || is_invisible(c) || is_ignorable(c)
                };
                let found = text.chars().enumerate().find(|(_, c)| is_unseen(*c));
                let told = found.map(|(at, code)| InvalidAddress::Unseen { place: at + 1, code });
                told.unwrap_or(error)
            }
            error => error,
        })
    }
}

impl Address {
    fn read(text: &str) -> Result<Self, InvalidAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress::Malformed)?;
        // UTS 46 would drop these, but the provider gets the address as it is written.
        let is_unseen =
            |c: char| is_invisible(c) || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{2800}');
        if let Some(at) = domain.chars().position(is_unseen) {
            let place = text.chars().count() - domain.chars().count() + at + 1;
            let code = domain.chars().nth(at).unwrap_or_default();
            return Err(InvalidAddress::Unseen { place, code });
        }
        let canonical_local =
            write_local(&fold(&read_local(local).ok_or(InvalidAddress::Malformed)?));
        let canonical = format!("{canonical_local}@{}", read_domain(domain)?);
        // The provider gets what is written, and the canonical form must be an address as well.
        if local.len().max(canonical_local.len()) > MAX_LOCAL || canonical.len() > MAX_LENGTH {
            return Err(InvalidAddress::TooLong);
        }
        Ok(Self(canonical))
    }
}

/// A local part without its quotes and backslashes; none if it is neither a dot-string nor a quoted string (RFC 5321,
/// 4.1.2; RFC 6531, 3.3).
fn read_local(local: &str) -> Option<String> {
    if is_dot_string(local) {
        return Some(local.to_owned());
    }
    let mut quoted = local.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut name = String::with_capacity(local.len());
    while let Some(c) = quoted.next() {
        name.push(match c {
            '\\' => quoted.next().filter(|c| matches!(c, ' '..='~'))?,
            '"' => return None,
            ' '..='~' => c,
            c if is_international(c) => c,
            _ => return None,
        });
    }
    Some(name).filter(|name| !name.is_empty())
}

/// The reverse of [`read_local`], with quotes and backslashes only where they are needed.
fn write_local(name: &str) -> String {
    if is_dot_string(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))
}

fn is_dot_string(text: &str) -> bool {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_international(c)
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Whether a character beyond ASCII is allowed. Those that do not show on a line are not: RFC 6532 leaves it to the
/// receiver to refuse them.
fn is_international(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !is_invisible(c)
}

/// NFC, then lower case where upper case leads back: letters such as `İ` and `ẞ` are letters of their own. NFC again,
/// because letters may compose in lower case that do not in upper case.
fn fold(name: &str) -> String {
    let lower = |c: char| {
        let mut lower = c.to_lowercase();
        let first =
            lower.next().filter(|first| lower.next().is_none() && first.to_uppercase().eq([c]));
        first.unwrap_or(c)
    };
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let folded: String = nfc.normalize(name).chars().map(lower).collect();
    nfc.normalize(&folded).into_owned()
}

/// An address in a form in which those that look alike are equal: NFKC in lower case, without what quoting adds.
fn skeleton(address: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let alike = nfkc.normalize(&nfkc.normalize(address).to_lowercase()).into_owned();
    alike.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_whitespace()).collect()
}

/// The domain as ASCII. It has two labels or more, and no dot at its end.
fn read_domain(domain: &str) -> Result<String, InvalidAddress> {
    if domain.is_empty() {
        return Err(InvalidAddress::Malformed);
    }
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidAddress::Domain)?;
    match ascii.split_once('.') {
        Some(_) if !ascii.ends_with('.') => Ok(ascii),
        Some(_) => Err(InvalidAddress::Domain),
        None => Err(InvalidAddress::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Result<String, InvalidAddress> {
        text.parse::<Address>().map(|a| a.0)
    }

    /// A canonical address is one, and its own canonical form; so is what a provider shows of it.
    fn assert_closed(text: &str) {
        let Ok(address) = text.parse::<Address>() else { return };
        assert_eq!(address.as_str().parse(), Ok(address.clone()), "{text:?}");
        assert_eq!(Address::shown(address.as_str()), address, "{text:?}");
        assert_eq!(Address::shown(text), address, "{text:?}");
    }

    #[test]
    fn white_space_and_what_nobody_sees_is_named_with_its_place() {
        let told = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        for (text, words) in [
            (" ada@x.org", "a space stands at character 1: remove it"),
            ("ada@x.org ", "a space stands at character 10: remove it"),
            ("ada@x.org\n", "a line break stands at character 10: remove it"),
            ("a\tda@x.org", "a tab stands at character 2: remove it"),
            ("\u{e4}\u{a0}a@x.org", "white space (U+00A0) stands at character 2: remove it"),
            (
                "a\u{200b}da@x.org",
                "an invisible character (U+200B) stands at character 2: remove it",
            ),
            ("ada@x .org", "a space stands at character 6: remove it"),
            (
                "ada@exam\u{200b}ple.org",
                "an invisible character (U+200B) stands at character 9: remove it",
            ),
            (
                "ada@exam\u{200c}ple.org",
                "an invisible character (U+200C) stands at character 9: remove it",
            ),
            (
                "ada@exam\u{2800}ple.org",
                "an invisible character (U+2800) stands at character 9: remove it",
            ),
            (
                "a\u{fe0f}da@ex\u{fe0f}ample.org",
                "an invisible character (U+FE0F) stands at character 8: remove it",
            ),
            (
                "\u{feff}ada@x.org",
                "an invisible character (U+FEFF) stands at character 1: remove it",
            ),
            (
                "ada\u{202e}@x.org",
                "an invisible character (U+202E) stands at character 4: remove it",
            ),
            ("ada.x.org", "not an email address: expected local-part@domain"),
        ] {
            assert_eq!(told(text), words, "{text:?}");
        }
        for text in ["\"a b\"@x.org", "\u{915}\u{94d}\u{200d}@x.org", "\u{2764}\u{fe0f}@x.org"] {
            assert!(text.parse::<Address>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn case_and_domain_spelling_do_not_make_another_person() {
        assert_eq!(canonical("Ada@Example.ORG").unwrap(), "ada@example.org");
        assert_eq!(canonical("ada@BÜCHER.example").unwrap(), "ada@xn--bcher-kva.example");
        assert_eq!(canonical("ada@example。org").unwrap(), "ada@example.org");
        assert_eq!(canonical("ΆΔΑ@example.org").unwrap(), "άδα@example.org");
        assert_eq!(canonical("E\u{301}@example.org").unwrap(), "\u{e9}@example.org");
    }

    #[test]
    fn only_letters_that_turn_back_into_each_other_are_folded() {
        for letter in ["\u{130}", "\u{17f}", "\u{1e9e}", "ß", "ς", "\u{1c5}", "ı"] {
            let address = format!("{letter}nfo@example.org");
            assert_eq!(canonical(&address), Ok(address));
        }
        // Only NFC makes the sign for kelvin a letter.
        assert_eq!(canonical("\u{212a}@example.org").unwrap(), "k@example.org");
    }

    #[test]
    fn nothing_is_removed() {
        assert_eq!(canonical("a.d.a+x@example.org").unwrap(), "a.d.a+x@example.org");
    }

    #[test]
    fn quotes_and_backslashes_are_dropped_where_they_are_not_needed() {
        for (written, expected) in [
            (r#""ada"@x.org"#, "ada@x.org"),
            (r#""A\d\a"@x.org"#, "ada@x.org"),
            (r#""ada.b"@x.org"#, "ada.b@x.org"),
            (r#""ada..b"@x.org"#, r#""ada..b"@x.org"#),
            (r#"".ada"@x.org"#, r#"".ada"@x.org"#),
            (r#""a\ b@c"@x.org"#, r#""a b@c"@x.org"#),
            (r#""a\"\\\;"@x.org"#, r#""a\"\\;"@x.org"#),
            // NFC of the Greek question mark is a semicolon, which needs quotes.
            ("a\u{37e}b@x.org", r#""a;b"@x.org"#),
        ] {
            assert_eq!(canonical(written).unwrap(), expected, "{written}");
            assert_closed(written);
        }
    }

    #[test]
    fn local_parts_are_in_every_script() {
        for local in ["विक्रम", "น้ำ", "e\u{301}", "ada👩\u{200d}🚀", "用户", "δοκιμή", "🙂"]
        {
            assert!(canonical(&format!("{local}@example.org")).is_ok(), "{local}");
            assert!(canonical(&format!("\"{local} x\"@example.org")).is_ok(), "{local}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "a b@example.org",
            "ada@exa mple.org",
            "ada@localhost",
            "Ada <ada@example.org>",
            "ada@[127.0.0.1]",
            "ada@example..org",
            "ada@example.org.",
            "ada@-x-.org",
            ".ada@example.org",
            "ada.@example.org",
            "a..b@example.org",
            "a@b@example.org",
            "a<\u{338}b@example.org",
            "ada\u{85}@example.org",
            "ada\u{a0}@example.org",
            "ada\u{2028}@example.org",
            "\"\"@example.org",
            "\"@example.org",
            r#""a"b"@example.org"#,
            r#""a\"@example.org"#,
            "\"a\u{0}\"@example.org",
            "\"a\\\u{e9}\"@example.org",
        ] {
            assert!(canonical(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn neither_what_is_written_nor_its_canonical_form_is_too_long() {
        assert_eq!(canonical(&format!("a@{}.org", "x".repeat(260))), Err(InvalidAddress::TooLong));
        let local = |text: &str, times| canonical(&format!("{}@x.org", text.repeat(times)));
        assert!(local("a", 64).is_ok());
        assert_eq!(local("a", 65), Err(InvalidAddress::TooLong));
        // Two bytes, and three in lower case; three bytes, and six in NFC; three, and two.
        assert!(local("\u{23a}", 21).is_ok());
        assert_eq!(local("\u{23a}", 22), Err(InvalidAddress::TooLong));
        assert_eq!(local("\u{958}", 11), Err(InvalidAddress::TooLong));
        assert_eq!(local("e\u{301}", 22), Err(InvalidAddress::TooLong));
        for (text, most) in [("\u{23a}", 40), ("\u{958}", 30), ("e\u{301}", 30), ("\u{2c65}", 30)] {
            (1..most).for_each(|times| assert_closed(&format!("{}@x.org", text.repeat(times))));
        }
    }

    #[test]
    fn a_provider_may_show_an_address_without_the_quotes_that_it_needs() {
        let address = canonical(r#""A b"@x.org"#).unwrap();
        assert_eq!(Address::shown(" a B@X.org ").as_str(), address);
        assert_eq!(Address::shown("a***@x.org").as_str(), "a***@x.org");
        assert_eq!(Address::shown(" A… ").as_str(), "a…");
    }

    #[test]
    fn every_character_is_closed_alone_and_in_quotes() {
        let local = |written: &str| Some(write_local(&fold(&read_local(written)?)));
        // Beyond these nothing has another case or another form.
        for c in ('\0'..'\u{20000}').chain('\u{2f800}'..'\u{2fa20}') {
            for text in [format!("{c}"), format!("\"{c} a\""), format!("t{c}T")] {
                let Some(canonical) = local(&text) else { continue };
                assert_eq!(local(&canonical), Some(canonical), "{text:?}");
            }
        }
        ('\0'..'\u{3400}').for_each(|c| assert_closed(&format!("a@{c}a.org")));
    }

    /// Texts in which letters, marks that compose with them, and signs that need quotes are frequent.
    fn names() -> impl Strategy<Value = String> {
        let letters = prop::sample::select(
            "TtHhWwYyJjAaΑαΩωΣςσİıſKÅßẞǅᾼᾳÉé\"\\.@ ;<>=".chars().collect::<Vec<_>>(),
        );
        let marks = prop::char::ranges(vec!['\u{300}'..='\u{345}', '\u{5b0}'..='\u{5c7}'].into());
        let one = prop_oneof![4 => letters, 2 => marks, 1 => any::<char>()];
        prop::collection::vec(one, 1..40).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_canonical_address_is_its_own(name in names(), quoted in any::<bool>()) {
            assert_closed(&match quoted {
                true => format!("{}@x.org", write_local(&name)),
                false => format!("{name}@x.org"),
            });
        }

        #[test]
        fn whatever_is_taken_is_closed(text in "\\PC{1,12}@\\PC{1,8}\\.org") {
            assert_closed(&text);
        }
    }

    #[test]
    fn debug_output_shows_no_address() {
        assert!(!format!("{:?}", "ada@example.org".parse::<Address>()).contains("ada"));
    }

    #[test]
    fn a_spelling_of_the_providers_own_may_be_ours_and_another_persons_is_not() {
        let ours: Address = "Grace.Hopper@example.org".parse().unwrap();
        for shown in [
            "g**@example.org",
            "g***********@example.org",
            "***",
            "g…r@example.org",
            "ｇrace.hopper@example.org",
            "hidden",
            "",
            "*@*",
        ] {
            assert!(ours.may_be_shown_as(shown), "{shown}");
        }
        for shown in ["ada@example.org", "a**@example.org", "g**@example.com", "ａda@example.org"]
        {
            assert!(!ours.may_be_shown_as(shown), "{shown}");
        }
        let ours: Address = "ｇrace@example.org".parse().unwrap();
        assert!(ours.may_be_shown_as("grace@example.org"), "in plain letters");
        assert!(!ours.may_be_shown_as("ada@example.org"));
    }
}
