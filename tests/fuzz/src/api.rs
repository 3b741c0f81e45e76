//! What callers send: bodies, queries, paths and headers of requests to the whole API, before a gateway
//! of its own whose providers are nowhere.

mod house;

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use invite_core::text::is_control;
use serde_json::Value;

use crate::{assert_plain, choose, texts};
use house::{Answer, House};

/// The longest problem document, in bytes.
const LONGEST_PROBLEM: usize = 64 * 1024;
const JSON: &str = "application/json";
const TOML: &str = "application/toml";

/// A body: a byte for the call that it belongs to, then what is sent.
pub fn bodies(data: &[u8]) {
    let Some((call, body)) = data.split_first() else { return };
    House::with(|house| {
        let invite = house.path_of_invite();
        let key = house.path_of_key();
        let create = "/v1/invites?dry_run=true".to_owned();
        let calls = [
            (Method::POST, create.clone(), JSON),
            (Method::POST, create.clone(), JSON),
            (Method::POST, create.clone(), JSON),
            (Method::POST, create, JSON),
            (Method::POST, "/v1/admin/keys".to_owned(), JSON),
            (Method::PATCH, invite.clone(), JSON),
            (Method::PATCH, key, JSON),
            (Method::POST, format!("{invite}/retry"), JSON),
            (Method::POST, format!("{invite}/refresh"), JSON),
            (Method::DELETE, "/v1/invites/inv_0".to_owned(), JSON),
            (Method::POST, "/v1/admin/redrive?dry_run=true".to_owned(), JSON),
            (Method::PUT, "/v1/admin/config".to_owned(), TOML),
        ];
        let (method, path, kind) = &calls[usize::from(*call) % calls.len()];
        let lenient = if call & 128 == 0 { "handling=strict" } else { "handling=lenient" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, *kind)
            .header("prefer", lenient);
        let answer = house.ask(request, body);
        is_sound(&answer);
        if path.ends_with("dry_run=true") && answer.status == 200 {
            let twice = Request::builder().method(method).uri(path);
            let twice = twice.header(header::CONTENT_TYPE, *kind).header("prefer", lenient);
            assert_eq!(house.ask(twice, body).status, 200, "the same is planned once only");
        }
    });
}

/// A path with its query: a byte for the method, then both.
pub fn queries(data: &[u8]) {
    let Some((method, target)) = data.split_first() else { return };
    let methods = [Method::GET, Method::GET, Method::GET, Method::DELETE, Method::HEAD];
    let Some(target) = str::from_utf8(target).ok().filter(|it| it.starts_with('/')) else { return };
    House::with(|house| {
        let ids = [("{invite}", house.path_of_invite()), ("{key}", house.path_of_key())];
        let target = ids.iter().fold(target.to_owned(), |it, (name, id)| it.replace(name, id));
        let Ok(uri) = target.parse::<Uri>() else { return };
        // A key or an invite that is gone would make the runs that follow others.
        let method = if target.contains("/v1/") && !target.contains("/v1/invites?") {
            Method::GET
        } else {
            choose(*method, &methods.each_ref()).clone()
        };
        // What only a provider knows is asked of it, over the network.
        let asks = target.contains("/providers/") && target.contains("/invites");
        if asks || uri.authority().is_some() {
            return;
        }
        let request = |uri: &Uri| Request::builder().method(method.clone()).uri(uri);
        let answer = house.ask(request(&uri), b"");
        is_sound(&answer);
        let cursor = answer.json().and_then(|body| Some(body["next_cursor"].as_str()?.to_owned()));
        if let Some(cursor) = cursor.filter(|_| answer.status == 200) {
            goes_on(house, &uri, &cursor, &answer);
        }
    });
}

/// A cursor that was answered is taken, and leads on.
fn goes_on(house: &House, uri: &Uri, cursor: &str, before: &Answer) {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && !decoded(name).eq("cursor")
    });
    let pairs: Vec<&str> = kept.collect();
    let next = format!("{}?{}&cursor={cursor}", uri.path(), pairs.join("&"));
    let next: Uri = next.replace("?&", "?").parse().unwrap();
    let page = house.ask(Request::builder().uri(&next), b"");
    assert_eq!(page.status, 200, "{next}: {:?}", page.json());
    let ids = |answer: &Answer| {
        let (mut found, body) = (Vec::new(), answer.json().unwrap());
        for list in body.as_object().unwrap().values().filter_map(Value::as_array) {
            let ids = list.iter().filter_map(|entry| entry.get("id").or(entry.get("revision")));
            found.extend(ids.map(Value::to_string));
        }
        found
    };
    let shown = ids(before);
    assert!(ids(&page).iter().all(|id| !shown.contains(id)), "{next} shows again what was shown");
}

fn decoded(name: &str) -> String {
    url::form_urlencoded::parse(name.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// Header lines: a byte for the call, then lines of `name: value`.
pub fn headers(data: &[u8]) {
    static BODY: LazyLock<Vec<u8>> =
        LazyLock::new(|| br#"{"to":"guests","invites":[{"email":"ada@example.org"}]}"#.to_vec());
    let Some((call, lines)) = data.split_first() else { return };
    House::with(|house| {
        let calls: [(Method, &str, &[u8]); 6] = [
            (Method::POST, "/v1/invites?dry_run=true", BODY.as_slice()),
            (Method::GET, "/v1/invites?limit=1", b""),
            (Method::GET, "/v1/admin/config", b""),
            (Method::PUT, "/v1/admin/config", b"[providers.x]\n"),
            (Method::GET, "/docs/index.html", b""),
            (Method::POST, "/v1/admin/keys", b"{}"),
        ];
        let (method, path, body) = &calls[usize::from(*call) % calls.len()];
        let mut request = Request::builder().method(method).uri(*path);
        for line in lines.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let pair = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
            let (Ok(name), Ok(value)) = pair else { continue };
            request = request.header(name, value);
        }
        let answer = house.ask(request, body);
        is_sound(&answer);
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert!((1..=64).contains(&id.len()) && !id.contains("igk_"), "{id:?}");
    });
}

/// What holds of every answer.
fn is_sound(answer: &Answer) {
    assert!(answer.status < 500 || answer.status == 503, "{}: {:?}", answer.status, answer.json());
    let values = || answer.headers.values().map(|value| value.to_str().unwrap_or("\u{0}"));
    assert!(values().all(|value| value.is_ascii() && !value.contains(is_control)), "{answer:?}");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    if answer.status < 400 {
        return;
    }
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    assert!(answer.body.len() <= LONGEST_PROBLEM, "{} bytes", answer.body.len());
    if answer.body.is_empty() {
        assert!(answer.is_head, "a problem without a body");
        return;
    }
    let problem = answer.json().unwrap();
    assert_eq!(problem["status"], answer.status);
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    let code = problem["code"].as_str().unwrap();
    if let Some(operation) = answer.operation {
        let codes = operation["x-problem-codes"].as_array().unwrap();
        assert!(
            codes.contains(&problem["code"]),
            "{} does not document {code}",
            operation["operationId"]
        );
    }
    assert_eq!(problem["type"], format!("/problems/{code}"));
    assert_eq!(problem["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    let mut found = Vec::new();
    texts(&problem, &mut found);
    found.iter().for_each(|text| assert_plain("a problem", text));
}
