//! What happens around every request: its id, the problem's body, the headers that every answer
//! carries, one line in the log and the metrics.
//!
//! Neither log nor metrics show a query, a body or a person's address. Where a request came from
//! stands in the log.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use invite_core::random;

use crate::{
    auth::{self, Caller},
    listener::ClientAddress,
    problem::{MEDIA_TYPE, Problem, codes},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The length of a `traceparent`: version, trace, parent and flags.
const TRACEPARENT: usize = 55;

/// Wraps every request; the outermost of all.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let trace_id = traceparent(request.headers()).and_then(trace_id).map(str::to_owned);
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let client = request.extensions().get::<ClientAddress>().map(|client| client.0.to_string());

    let mut response = next.run(request).await;
    let problem = write_problem(&mut response, &request_id);
    write_headers(response.headers_mut(), &request_id);

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    count(method, route, status, elapsed);
    let caller = response.extensions().get::<Caller>();
    tracing::info!(
        http.method = method,
        http.route = route,
        http.status = status,
        client.address = client,
        duration_ms = elapsed.as_secs_f64() * 1000.0,
        request.id = request_id,
        trace.id = trace_id,
        key.id = caller.map(|caller| caller.id().to_string()),
        tenant = caller.map(Caller::tenant),
        problem.code = problem,
        "request"
    );
    response
}

/// The answer to what the router does not see: its headers and its body. It is in the log and in the
/// metrics like that to any other, under this route.
pub(crate) fn refuse(
    problem: &Problem,
    route: &'static str,
    client: IpAddr,
) -> (HeaderMap, Vec<u8>) {
    let request_id = new_request_id();
    let body = problem.to_body(&request_id);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    write_headers(&mut headers, &request_id);
    let status = problem.status().as_u16();
    count("other", route, status, Duration::ZERO);
    tracing::info!(
        http.route = route,
        http.status = status,
        client.address = %client,
        request.id = request_id,
        problem.code = problem.code(),
        "request"
    );
    (headers, body)
}

fn new_request_id() -> String {
    base16ct::lower::encode_string(&random::bytes::<16>())
}

/// The caller's own id if it is sane, else a new one. What holds an API key is not: the id is logged
/// and answered.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !id.contains(auth::PREFIX)
    });
    given.map_or_else(new_request_id, str::to_owned)
}

/// The request's `traceparent`, if it is a valid one (<https://www.w3.org/TR/trace-context/>). What a
/// version to come may add behind the four parts is left out.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let (known, rest) = text.split_at_checked(TRACEPARENT)?;
    let may_go_on = !known.starts_with("00") && rest.starts_with('-');
    ((rest.is_empty() || may_go_on) && trace_id(known).is_some()).then_some(known)
}

/// The trace's id.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|b| b != b'0');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let is_version = is_hex(version, 2) && version != "ff";
    let (flags, end) = (parts.next()?, parts.next());
    let is_whole = is_version && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    (is_whole && end.is_none()).then_some(trace)
}

/// One of few words: a caller can send any.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Writes the body of a problem, also where the router refused without one; returns its code.
fn write_problem(response: &mut Response, request_id: &str) -> Option<&'static str> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| {
        let code = codes::of_status(status);
        Problem::new(code, code.title)
    });
    *response.body_mut() = problem.to_body(request_id).into();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Some(problem.code())
}

fn write_headers(headers: &mut HeaderMap, request_id: &str) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // What is no page of its own shows nothing in a browser, and nowhere within another page.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
}

fn count(method: &'static str, route: &str, status: u16, elapsed: Duration) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    let labels =
        [("method", method.to_owned()), ("route", route.to_owned()), ("status", class.to_owned())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels).record(elapsed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn the_callers_request_id_is_kept_if_it_is_sane() {
        assert_eq!(request_id(&headers("x-request-id", "a.B_9-")), "a.B_9-");
        let long = "x".repeat(65);
        let key = auth::generate_key();
        let holds_a_key = format!("order-{key}");
        for insane in ["", "a b", "a,b", "ä", &long, &key, &holds_a_key] {
            let id = request_id(&headers("x-request-id", insane));
            assert_ne!(id, insane);
            assert_eq!(id.len(), 32);
        }
    }

    #[test]
    fn a_trace_is_read_from_a_valid_traceparent_only() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = |text: &str| {
            traceparent(&headers("traceparent", text)).and_then(trace_id).map(str::to_owned)
        };
        let valid = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(parent(&valid).as_deref(), Some(trace));
        let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let upper = valid.to_uppercase();
        let later = valid.replacen("00", "01", 1);
        assert_eq!(parent(&later).as_deref(), Some(trace));
        let longer = format!("{later}-{}", "x".repeat(100_000));
        assert_eq!(traceparent(&headers("traceparent", &longer)), Some(&*later));
        for invalid in [
            "",
            "00",
            &valid[..52],
            &valid[..54],
            &zero,
            &upper,
            &valid.replacen("00", "ff", 1),
            &valid.replacen("00", "0x", 1),
            &format!("{}0x", &valid[..53]),
            &format!("{valid}-x"),
            &format!("{valid}{}", "0".repeat(100_000)),
            &format!("{later}0"),
        ] {
            assert_eq!(parent(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn an_unknown_method_has_one_word() {
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method(&Method::PATCH), "PATCH");
    }
}
