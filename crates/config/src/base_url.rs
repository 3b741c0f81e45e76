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
    if !is_plain(text, &url) {
        let suggestion = Some(plain(&url));
        let detail = "write it plainly: https://host, with a port and a path if any, without \
                      backslashes, white space or a dot at the end of the host, and the host as \
                      it is asked for, in ASCII";
        return Err(Fault { suggestion, ..fault("invalid", detail) });
    }
    if url.port() == Some(0) {
        return Err(fault("invalid", "nothing can be reached at port 0"));
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
            let https = format!("https{}", text.get(4..).unwrap_or_default());
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

/// Whether a URL is written as what it was parsed as. Parsers mend what is not, each in its own way,
/// and two ways to write one host would look like two destinations.
fn is_plain(text: &str, url: &Url) -> bool {
    let is_odd = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
    let authority = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
    !text.contains(is_odd)
        && authority.is_some_and(|authority| is_plain_host(authority, url))
        && !url.host_str().is_some_and(|host| host.ends_with('.'))
}

/// Whether the host that a URL's text has behind its `//` is the one that is asked for: a letter of
/// another script, or one that is not shown, would lead to another than the reader sees.
fn is_plain_host(rest: &str, url: &Url) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    match url.host() {
        Some(Host::Domain(host)) => {
            let written = authority.split(':').next().unwrap_or_default();
            written.eq_ignore_ascii_case(host)
        }
        // An address may be written in several ways, all of which are checked as what they mean.
        _ => !authority.is_empty() && authority.is_ascii(),
    }
}

/// How a URL is written plainly.
fn plain(url: &Url) -> String {
    let mut url = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        // One that cannot be without its dot stays as it is.
        let _ = url.set_host(Some(&host));
    }
    url.as_str().trim_end_matches('/').to_owned()
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
    fn what_a_parser_would_mend_is_to_be_written_plainly() {
        for (text, plain) in [
            ("https:///api.example.org", "https://api.example.org"),
            ("https:api.example.org/v1", "https://api.example.org/v1"),
            ("https:/api.example.org", "https://api.example.org"),
            ("https:\\\\api.example.org", "https://api.example.org"),
            ("https://api.example.org\\v1", "https://api.example.org/v1"),
            ("https://api.exa\tmple.org", "https://api.example.org"),
            ("https://api.exam\nple.org", "https://api.example.org"),
            (" https://api.example.org ", "https://api.example.org"),
            ("https://api.example.org/a b", "https://api.example.org/a%20b"),
            ("https://api.example.org.", "https://api.example.org"),
            ("https://api.example.org.:8443/v1", "https://api.example.org:8443/v1"),
            ("http://localhost.:1", "http://localhost:1"),
            ("https://api.exa\u{200b}mple.org/v1", "https://api.example.org/v1"),
            ("https://\u{430}pi.example.org:8443", "https://xn--pi-6kc.example.org:8443"),
            ("https://api\u{3002}example.org", "https://api.example.org"),
            ("https://api.ex%61mple.org", "https://api.example.org"),
            ("https://@api.example.org", "https://api.example.org"),
            ("https://93\u{3002}184.216.34", "https://93.184.216.34"),
        ] {
            let fault = check(text, &[]).unwrap_err();
            assert_eq!(
                (&*fault.code, fault.suggestion.as_deref()),
                ("invalid", Some(plain)),
                "{text}"
            );
            assert!(fault.detail.contains("plainly"), "{fault:?}");
        }
        assert_eq!(code("https://api.example.org:0"), Err("invalid".into()));
        assert_eq!(code("HTTPS://API.example.org:443/v1"), Ok(false));
        assert_eq!(code("https://xn--pi-6kc.example.org/\u{430}"), Ok(false));
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
            "https://[::ffff:0:169.254.169.254]",
            "https://[2001:0:a9fe:a9fe::]",
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
