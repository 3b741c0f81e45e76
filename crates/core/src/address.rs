//! Email addresses: which are taken, and when two are the same person.

use std::{fmt, str::FromStr};

use email_address::{EmailAddress, Options};

/// The longest address that is taken, in bytes (RFC 5321, as corrected by erratum 1690).
pub const MAX_LENGTH: usize = 254;

/// A canonical address: local part and domain lower-cased, the domain as ASCII, nothing removed.
///
/// Two invites with equal canonical addresses are for the same person. What is sent to a provider
/// is the address as the caller wrote it.
///
/// ```
/// use invite_core::Address;
/// let a: Address = "Ada+Work@Bücher.example".parse().unwrap();
/// assert_eq!(a.as_str(), "ada+work@xn--bcher-kva.example");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
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
    /// Personal data: never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Why a text is no address that can be invited; never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Longer than [`MAX_LENGTH`].
    #[error("longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// Not `local@domain` by RFC 5321.
    #[error("not an email address: expected local-part@domain")]
    Malformed,
    /// A domain that cannot be written as ASCII by IDNA (UTS 46).
    #[error("the domain is not a valid internationalized domain name")]
    Domain,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidAddress::TooLong);
        }
        let options =
            Options::default().with_required_tld().without_display_text().without_domain_literal();
        let parsed = EmailAddress::parse_with_options(text, options)
            .map_err(|_| InvalidAddress::Malformed)?;
        let domain =
            idna::domain_to_ascii_strict(parsed.domain()).map_err(|_| InvalidAddress::Domain)?;
        if domain.is_empty() || domain.ends_with('.') {
            return Err(InvalidAddress::Domain);
        }
        let canonical = format!("{}@{domain}", parsed.local_part().to_lowercase());
        if canonical.len() > MAX_LENGTH {
            return Err(InvalidAddress::TooLong);
        }
        Ok(Self(canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, InvalidAddress> {
        text.parse::<Address>().map(|a| a.0)
    }

    #[test]
    fn case_and_domain_spelling_do_not_make_another_person() {
        assert_eq!(canonical("Ada@Example.ORG").unwrap(), "ada@example.org");
        assert_eq!(canonical("ada@BÜCHER.example").unwrap(), "ada@xn--bcher-kva.example");
    }

    #[test]
    fn nothing_is_removed() {
        assert_eq!(canonical("a.d.a+x@example.org").unwrap(), "a.d.a+x@example.org");
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
            "ada@-x-.org",
        ] {
            assert!(canonical(text).is_err(), "{text}");
        }
        assert_eq!(canonical(&format!("a@{}.org", "x".repeat(260))), Err(InvalidAddress::TooLong));
    }

    #[test]
    fn debug_output_shows_no_address() {
        assert!(!format!("{:?}", "ada@example.org".parse::<Address>()).contains("ada"));
    }
}
