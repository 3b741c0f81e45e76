//! The `Host` header. Every request has it once (RFC 9112, section 3.2): where a proxy and the
//! gateway read two of them differently, one could be deceived about what the other sees.

use axum::{
    extract::Request,
    http::{HeaderMap, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::problem::{Problem, codes};

pub(crate) async fn require(request: Request, next: Next) -> Response {
    match fault(request.version(), request.headers()) {
        Some(detail) => Problem::new(&codes::MALFORMED_REQUEST, detail).into_response(),
        None => next.run(request).await,
    }
}

fn fault(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return (version == Version::HTTP_11)
            .then_some("the request has no `Host` header: send the gateway's name in it");
    };
    if hosts.next().is_some() {
        return Some("the request has several `Host` headers: send one");
    }
    // It may be empty: the URL that the caller uses for the gateway may have no host.
    let is_host =
        |text: &str| text.is_empty() || (!text.contains('@') && text.parse::<Authority>().is_ok());
    (!host.to_str().is_ok_and(is_host))
        .then_some("the `Host` header is not the name of a host, perhaps with a port")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_refused(version: Version, hosts: &[&'static str]) -> bool {
        let hosts = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
        fault(version, &HeaderMap::from_iter(hosts)).is_some()
    }

    #[test]
    fn a_host_stands_there_once_and_is_one() {
        for host in ["", "localhost", "invites.example.org:8080", "127.0.0.1", "[::1]:80"] {
            assert!(!is_refused(Version::HTTP_11, &[host]), "{host}");
        }
        for host in ["a b", "a@b", "a/b", "a:b:c", "http://a", "a,b?"] {
            assert!(is_refused(Version::HTTP_11, &[host]), "{host}");
        }
    }

    #[test]
    fn only_an_older_request_may_have_none_and_no_request_two() {
        assert!(is_refused(Version::HTTP_11, &[]) && !is_refused(Version::HTTP_10, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(is_refused(version, &["a", "a"]) && is_refused(version, &["a", "b"]));
        }
    }
}
