//! What is done around every request: it gets an id, a problem gets its body, every answer its
//! headers; and the request is logged in one line and counted.
//!
//! Log and metrics show no query, no body and nothing of a person. The log shows the network
//! address of the caller.

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
    trace::{trace_id, traceparent},
};

/// What is asked for again and again by whoever watches the gateway.
const PROBED: [&str; 3] = ["/livez", "/readyz", "/metrics"];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost middleware but for compression.
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
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
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
                "answered {method} {route} with {status}"
            )
        };
    }
    // Probes and scrapes come every few seconds, and say nothing while all is well.
    match PROBED.contains(&route) && problem.is_none() {
        true => log!(debug),
        false => log!(info),
    }
    response
}

/// Headers and body of the answer to a request that the router does not see. It is logged and counted like
/// any other, under this route.
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
        "refused a request with {status} before it was routed"
    );
    (headers, body)
}

fn new_request_id() -> String {
    base16ct::lower::encode_string(&random::bytes::<16>())
}

/// The caller's own id if it is short and plain, else a new one. One that holds an API key is replaced,
/// since the id is logged and answered.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !id.contains(auth::PREFIX)
    });
    given.map_or_else(new_request_id, str::to_owned)
}

/// The method as a label of the metrics, which has to be one of a few words: a caller can send any method.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| method == known).unwrap_or("other")
}

/// Writes the body of a problem, also where the router refused without one, and returns its code.
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
    // Whatever sets no policy of its own is no page: a browser neither runs anything in it nor
    // shows it within another page.
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
pub(crate) mod tests {
    use super::*;

    pub(crate) fn headers(name: &'static str, value: &str) -> HeaderMap {
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
    fn an_unknown_method_has_one_word() {
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method(&Method::PATCH), "PATCH");
    }
}
