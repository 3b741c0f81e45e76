//! How a provider respells what it was sent. None of these providers documents that it shows the bytes that it was sent,
//! so each may keep them and show another spelling.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// One change that a provider makes to text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spelling {
    /// Addresses lose the quotes of their local part, as in Go's `net/mail`.
    Unquoted,
    /// All text is in lower case.
    LowerCase,
    /// All text is in Unicode's compatibility composition.
    Nfkc,
    /// Names and messages have no white space around them, and single spaces within.
    Trimmed,
    /// Names and messages have a capital at the start of each word.
    TitleCase,
    /// Addresses are shown with the first character of the local part and two asterisks.
    Masked,
}

/// The changes that a provider makes to text, in their order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Spellings(Vec<Spelling>);

impl Spellings {
    /// An address as the provider keeps it, and finds it.
    pub fn kept(&self, address: &str) -> String {
        let respelled = |address: String, spelling: &Spelling| match spelling {
            Spelling::Unquoted => unquoted(&address),
            Spelling::LowerCase => address.to_lowercase(),
            Spelling::Nfkc => address.nfkc().collect(),
            Spelling::Trimmed | Spelling::TitleCase | Spelling::Masked => address,
        };
        self.0.iter().fold(address.to_owned(), respelled)
    }

    /// An address as the provider shows it.
    pub fn address(&self, address: &str) -> String {
        let kept = self.kept(address);
        if self.0.contains(&Spelling::Masked) { masked(&kept) } else { kept }
    }

    /// A name or a message as the provider shows it.
    pub fn text(&self, text: &str) -> String {
        let respelled = |text: String, spelling: &Spelling| match spelling {
            Spelling::LowerCase => text.to_lowercase(),
            Spelling::Nfkc => text.nfkc().collect(),
            Spelling::Trimmed => text.split_whitespace().collect::<Vec<_>>().join(" "),
            Spelling::TitleCase => title_case(&text),
            Spelling::Unquoted | Spelling::Masked => text,
        };
        self.0.iter().fold(text.to_owned(), respelled)
    }
}

fn unquoted(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
    let Some(inner) = local.strip_prefix('"').and_then(|local| local.strip_suffix('"')) else {
        return address.to_owned();
    };
    let (mut bare, mut escaped) = (String::new(), false);
    for character in inner.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            bare.push(character);
            escaped = false;
        }
    }
    format!("{bare}@{domain}")
}

fn masked(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return "**".to_owned() };
    let first: String = local.chars().take(1).collect();
    format!("{first}**@{domain}")
}

fn title_case(text: &str) -> String {
    let mut at_start = true;
    let mut written = String::new();
    for character in text.chars() {
        if at_start {
            written.extend(character.to_uppercase());
        } else {
            written.extend(character.to_lowercase());
        }
        at_start = !character.is_alphanumeric();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(names: &[&str]) -> Spellings {
        serde_json::from_value(serde_json::json!(names)).unwrap()
    }

    #[test]
    fn addresses_are_respelled_in_the_order_of_the_setting() {
        for (names, sent, shown) in [
            (&[][..], "\"Ada\"@X.org", "\"Ada\"@X.org"),
            (&["unquoted"][..], "\"ada\"@x.org", "ada@x.org"),
            (&["unquoted"][..], r#""ada \"l\\\""@x.org"#, r#"ada "l\"@x.org"#),
            (&["unquoted"][..], "ada@x.org", "ada@x.org"),
            (&["lower_case"][..], "Ada@X.org", "ada@x.org"),
            (&["nfkc"][..], "\u{fb01}n\u{ff41}@x.org", "fina@x.org"),
            (&["masked"][..], "ada@x.org", "a**@x.org"),
            (&["unquoted", "masked"][..], "\"ada\"@x.org", "a**@x.org"),
            (&["title_case", "trimmed"][..], "Ada@x.org", "Ada@x.org"),
        ] {
            assert_eq!(spellings(names).address(sent), shown, "{names:?}");
        }
        assert_eq!(spellings(&["masked", "lower_case"]).kept("Ada@x.org"), "ada@x.org");
    }

    #[test]
    fn names_are_respelled_too() {
        let spelling = spellings(&["trimmed", "title_case"]);
        assert_eq!(spelling.text(" aDA  de la \u{c9}TOILE "), "Ada De La \u{c9}toile");
        assert_eq!(spellings(&["masked", "unquoted"]).text("\"Ada\""), "\"Ada\"");
    }
}
