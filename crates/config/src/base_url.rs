//! Which base URLs a provider may have. The client in invite-core checks again what the host resolves to, at each connection.

use std::net::IpAddr;

use invite_core::{Fault, http::is_private};
use url::{Host, Url};

/// The hosts that the settings of the process allow for providers.
#[derive(Clone, Copy)]
pub(crate) struct Hosts<'a> {
    /// `server.allow_private_hosts`.
    pub private: &'a [String],
    /// `providers.allowed_hosts`; empty for any.
    pub allowed: &'a [String],
}

/// Whether a URL's host is on loopback.
pub(crate) fn is_on_loopback(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        url.host_str() == Some("localhost")
            || address(&url).is_some_and(|it| it.to_canonical().is_loopback())
    })
}

fn address(url: &Url) -> Option<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
        _ => None,
    }
}

/// Checks a provider's `base_url`.
///
/// # Errors
/// The fault's pointer is empty, as it is about the value itself. It quotes no credentials.
pub(crate) fn check(text: &str, hosts: Hosts<'_>) -> Result<(), Fault> {
    let fault = |code, detail: &str| Fault::new("", code, detail);
    let url = parse(text)?;
    if url.query().is_some() {
        return Err(fault("invalid", "a base URL has no query"));
    }
    check_place(text, &url, hosts)
}

/// Checks where a webhook is, which may have a query.
///
/// # Errors
/// As above.
pub(crate) fn check_webhook(text: &str, private_hosts: &[String]) -> Result<(), Fault> {
    let url = parse(text)?;
    // What is plain is the part before it.
    let place = text.split('?').next().unwrap_or_default();
    check_place(place, &parse(place)?, Hosts { private: private_hosts, allowed: &[] })?;
    match url.fragment() {
        Some(_) => Err(Fault::new("", "invalid", "a URL that is sent to has no fragment")),
        None => Ok(()),
    }
}

fn parse(text: &str) -> Result<Url, Fault> {
    let url = Url::parse(text).map_err(|error| {
        let detail = format!("not a URL ({error}); expected https://host, with a path if any");
        Fault::new("", "invalid", detail)
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        let detail = "a URL must hold no user name or password; they belong into the settings \
                      for credentials, as references";
        return Err(Fault::new("", "literal-secret", detail));
    }
    Ok(url)
}

fn check_place(text: &str, url: &Url, hosts: Hosts<'_>) -> Result<(), Fault> {
    let fault = |code, detail: &str| Fault::new("", code, detail);
    if url.fragment().is_some() {
        return Err(fault("invalid", "a base URL has no fragment"));
    }
    if !is_plain(text, url) {
        let suggestion = Some(plain(url));
        let detail = "write it plainly: https://host, with a port and a path if any, without \
                      backslashes, white space or a dot at the end of the host, and the host as \
                      it is asked for, in ASCII";
        return Err(Fault { suggestion, ..fault("invalid", detail) });
    }
    if url.port() == Some(0) {
        return Err(fault("invalid", "nothing can be reached at port 0"));
    }
    let is_loopback = is_on_loopback(text);
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => {
            let https = format!("https{}", text.get(4..).unwrap_or_default());
            let detail = "must be https, because credentials and personal data go there; http is \
                          for loopback alone";
            return Err(Fault { suggestion: Some(https), ..fault("not-https", detail) });
        }
        _ => return Err(fault("not-https", "must be https")),
    }
    let host = url.host_str().unwrap_or_default();
    let is_private = is_loopback || address(url).is_some_and(is_private);
    if is_private && !names(hosts.private, host) {
        let detail = format!(
            "{host} is a loopback, private, link-local or metadata address; list it in \
             server.allow_private_hosts, or of a webhook in webhooks.allow_private_hosts, if that is meant"
        );
        return Err(fault("private-host", &detail));
    }
    if !hosts.allowed.is_empty() && !names(hosts.allowed, host) {
        let detail = format!(
            "{host} is not among the hosts that providers may be at; list it in \
             providers.allowed_hosts if that is meant"
        );
        return Err(fault("host-not-allowed", &detail));
    }
    Ok(())
}

/// Whether a list of hosts names this one.
fn names(listed: &[String], host: &str) -> bool {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
    listed.iter().any(|listed| bare(listed) == bare(host))
}

/// Whether a URL is written as it was parsed. Parsers correct what is not, each in its own way, and two spellings of one host
/// would look like two destinations.
fn is_plain(text: &str, url: &Url) -> bool {
    let is_odd = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
    let authority = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
    !text.contains(is_odd)
        && authority.is_some_and(|authority| is_plain_host(authority, url))
        && !url.host_str().is_some_and(|host| host.ends_with('.'))
}

/// Whether the host that is written behind the `//` is the one that will be connected to: a letter of another script, or one
/// that is not shown, would lead to another host than the reader sees.
fn is_plain_host(rest: &str, url: &Url) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    match url.host() {
        Some(Host::Domain(host)) => {
            let written = authority.split(':').next().unwrap_or_default();
            written.eq_ignore_ascii_case(host)
        }
        // An IP address may be spelled in several ways; what it means is checked.
        _ => !authority.is_empty() && authority.is_ascii(),
    }
}

/// The plain spelling of a URL.
fn plain(url: &Url) -> String {
    let mut url = url.clone();
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        // If it is no host without its dot, it stays as it is.
        let _ = url.set_host(Some(&host));
    }
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these private hosts and any other.
    fn judged(text: &str, private: &[&str]) -> Result<(), Fault> {
        let private: Vec<String> = private.iter().map(ToString::to_string).collect();
        check(text, Hosts { private: &private, allowed: &[] })
    }

    fn code(text: &str) -> Result<(), String> {
        judged(text, &["10.0.0.7", "fd00::7"]).map_err(|fault| fault.code)
    }

    #[test]
    fn public_https_is_taken() {
        assert_eq!(code("https://api.example.org"), Ok(()));
        assert!(!is_on_loopback("https://api.example.org"));
        assert_eq!(code("https://93.184.216.34:8443/v1/"), Ok(()));
    }

    #[test]
    fn loopback_is_taken_where_it_is_listed_over_http_too() {
        for (text, listed) in [
            ("http://localhost:1", "localhost"),
            ("http://127.0.0.1:8081/x", "127.0.0.1"),
            ("http://127.9.9.9", "127.9.9.9"),
            ("http://[::1]:80", "::1"),
            ("http://[::1]:80", "[::1]"),
            ("http://[::ffff:127.0.0.1]", "::ffff:7f00:1"),
            ("https://LOCALHOST", "LocalHost"),
            ("http://0x7f.1", "127.0.0.1"),
        ] {
            assert!(is_on_loopback(text), "{text}");
            assert_eq!(judged(text, &[listed]), Ok(()), "{text}");
            let fault = judged(text, &["10.0.0.7", "127.0.0.2"]).unwrap_err();
            assert_eq!(fault.code, "private-host", "{text}");
            assert!(fault.detail.contains("server.allow_private_hosts"), "{fault:?}");
        }
    }

    #[test]
    fn where_hosts_are_allowed_by_name_there_is_no_other() {
        let own =
            ["api.example.org".to_owned(), "127.0.0.1".to_owned(), "[2606:4700::1]".to_owned()];
        let code = |text: &str| {
            let hosts =
                Hosts { private: &["127.0.0.1".to_owned(), "127.0.0.2".to_owned()], allowed: &own };
            check(text, hosts).map_err(|fault| fault.code)
        };
        for text in ["https://API.example.org:8443/v1", "https://[2606:4700::1]"] {
            assert_eq!(code(text), Ok(()), "{text}");
        }
        assert_eq!(code("http://127.0.0.1:1"), Ok(()));
        for text in [
            "https://example.org",
            "https://x.api.example.org",
            "https://api.example.org.example.net",
            "https://93.184.216.34",
            "http://127.0.0.2:1",
        ] {
            assert_eq!(code(text), Err("host-not-allowed".into()), "{text}");
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
        let fault = judged("http://api.example.org/v1", &[]).unwrap_err();
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
            let fault = judged(text, &[]).unwrap_err();
            assert_eq!(
                (&*fault.code, fault.suggestion.as_deref()),
                ("invalid", Some(plain)),
                "{text}"
            );
            assert!(fault.detail.contains("plainly"), "{fault:?}");
        }
        assert_eq!(code("https://api.example.org:0"), Err("invalid".into()));
        assert_eq!(code("HTTPS://API.example.org:443/v1"), Ok(()));
        assert_eq!(code("https://xn--pi-6kc.example.org/\u{430}"), Ok(()));
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
        assert_eq!(code("https://10.0.0.7"), Ok(()));
        assert_eq!(code("https://[fd00::7]"), Ok(()));
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
            let fault = judged(text, &[]).unwrap_err();
            assert_eq!(fault.code, expected, "{text}");
            assert!(!format!("{fault:?}").contains("s3cret"), "{fault:?}");
        }
    }
}
