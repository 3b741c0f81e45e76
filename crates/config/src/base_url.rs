//! Which addresses a provider may be configured with: rule 4 of the gate.
//!
//! What a name resolves to is checked again on each connection, by the client in invite-core.

use std::net::IpAddr;

use invite_core::{Fault, http::is_private};
use url::{Host, Url};

/// Checks a provider's `base_url`; true if it is on loopback.
///
/// # Errors
/// The fault's pointer is empty: it is about the value itself. It quotes none of its credentials.
pub(crate) fn check(text: &str, allow_private_hosts: &[String]) -> Result<bool, Fault> {
    let fault = |code, detail: &str| Fault::new("", code, detail);
    let url = Url::parse(text).map_err(|error| {
        fault("invalid", &format!("not a URL ({error}); expected https://host, with a path if any"))
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        let detail = "a URL must hold no user name or password; they belong into the settings \
                      for credentials, as references";
        return Err(fault("literal-secret", detail));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fault("invalid", "a base URL has no query and no fragment"));
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
        _ => None,
    };
    let is_loopback = url.host_str() == Some("localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => return Ok(true),
        "http" => {
            let https = format!("https{}", text.trim_start().get(4..).unwrap_or_default());
            let detail = "must be https, because credentials and personal data go there; http is \
                          for loopback alone";
            return Err(Fault { suggestion: Some(https), ..fault("not-https", detail) });
        }
        _ => return Err(fault("not-https", "must be https")),
    }
    let host = url.host_str().unwrap_or_default();
    let is_listed = allow_private_hosts.iter().any(|listed| {
        listed.trim_matches(['[', ']']).eq_ignore_ascii_case(host.trim_matches(['[', ']']))
    });
    if !is_loopback && !is_listed && address.is_some_and(is_private) {
        let detail = format!(
            "{host} is a private, link-local or metadata address; list it in \
             server.allow_private_hosts if that is meant"
        );
        return Err(fault("private-host", &detail));
    }
    Ok(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Result<bool, String> {
        check(text, &["10.0.0.7".to_owned(), "fd00::7".to_owned()]).map_err(|fault| fault.code)
    }

    #[test]
    fn public_https_is_taken() {
        assert_eq!(code("https://api.example.org"), Ok(false));
        assert_eq!(code("https://93.184.216.34:8443/v1/"), Ok(false));
    }

    #[test]
    fn loopback_is_taken_over_http_too() {
        for text in [
            "http://localhost:1",
            "http://127.0.0.1:8081/x",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://[::ffff:127.0.0.1]",
            "https://LOCALHOST",
            "http://0x7f.1",
        ] {
            assert_eq!(code(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_loopback_is_refused_over_http() {
        for text in ["http://localhost.example.org", "http://127.0.0.1.example.org"] {
            assert_eq!(code(text), Err("not-https".into()), "{text}");
        }
    }

    #[test]
    fn plain_http_and_other_schemes_are_refused() {
        assert_eq!(code("ftp://example.org"), Err("not-https".into()));
        let fault = check("http://api.example.org/v1", &[]).unwrap_err();
        assert_eq!(fault.code, "not-https");
        assert_eq!(fault.suggestion.as_deref(), Some("https://api.example.org/v1"));
    }

    #[test]
    fn private_and_metadata_addresses_are_refused_unless_listed() {
        for text in [
            "https://10.0.0.8",
            "https://192.168.1.1/api",
            "https://169.254.169.254",
            "https://2852039166",
            "https://[fe80::1]",
            "https://[::ffff:10.0.0.8]",
            "https://0.0.0.0",
        ] {
            assert_eq!(code(text), Err("private-host".into()), "{text}");
        }
        assert_eq!(code("https://10.0.0.7"), Ok(false));
        assert_eq!(code("https://[fd00::7]"), Ok(false));
        assert_eq!(code("http://10.0.0.7"), Err("not-https".into()));
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_quoting_credentials() {
        for (text, expected) in [
            ("", "invalid"),
            ("api.example.org", "invalid"),
            ("https://", "invalid"),
            ("https://example.org?x=1", "invalid"),
            ("https://example.org/#x", "invalid"),
            ("https://user:s3cret@example.org", "literal-secret"),
            ("http://s3cret@example.org", "literal-secret"),
        ] {
            let fault = check(text, &[]).unwrap_err();
            assert_eq!(fault.code, expected, "{text}");
            assert!(!format!("{fault:?}").contains("s3cret"), "{fault:?}");
        }
    }
}
