//! Reading a body, JSON or a provider document: its media type, its size, its form. What it has to
//! hold is checked by the handlers.

use std::{error::Error, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use invite_core::{
    Fault, Faults, KeyId,
    schema::{Schema, escape, nearest},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    listener::BodyTimedOut,
    pool::{Exhausted, Permit, Pool},
    problem::{Problem, codes},
    strict_json::{self, Unread},
};

const JSON: &str = "application/json";
/// The longest body, in bytes, of a call that takes only a few members.
const MAX_SMALL: usize = 64 * 1024;
const SHORTEN: &str = "this call takes a few members";
pub(crate) const TOML: &str = "application/toml";

/// How many bytes of memory bodies may take. There are more where `LONGEST_BODIES` would not fit.
const MIN_MEMORY: usize = 64 * 1024 * 1024;
/// How many bodies of the greatest length have to fit. The bodies of one key may take a quarter of the memory.
const LONGEST_BODIES: usize = 8;
/// How many bytes of each body are not counted. There are no more bodies than connections, and short ones
/// get through whatever other keys send.
const UNCOUNTED: usize = 16 * 1024;

/// Memory for bodies, which keys share. What a body takes is held until its last copy is dropped.
pub(crate) type Memory = Arc<Pool<KeyId>>;

/// The memory for bodies that are at most so long.
pub(crate) fn memory(max_bytes: usize) -> Memory {
    let most = MIN_MEMORY.max(max_bytes.saturating_mul(LONGEST_BODIES));
    Pool::new(most, most / 4)
}

pub(crate) struct Bounds {
    pub max_bytes: usize,
    pub memory: Memory,
    pub key: KeyId,
}

/// A body with the permit for its memory.
struct Held {
    bytes: Vec<u8>,
    _permit: Permit<KeyId>,
}

impl Bounds {
    /// The bounds of a call that takes only a few members.
    fn of_small(self) -> Self {
        Self { max_bytes: self.max_bytes.min(MAX_SMALL), ..self }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a JSON body of a few members: at most 64 KiB, also where `server.max_body_bytes` is more. It fails
/// in this order: 415, 413, 400.
pub(crate) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds,
) -> Result<Value, Problem> {
    require_kind(headers, JSON)?;
    parse(&read(body, bounds.of_small(), SHORTEN).await?, MAX_SMALL)
}

/// Reads a body that has to be JSON, for [`parse`]. It fails in this order: 415, 413.
pub(crate) async fn read_json_text(
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds,
) -> Result<Bytes, Problem> {
    require_kind(headers, JSON)?;
    read(body, bounds, "send fewer invites").await
}

/// Reads a provider document as text; the gate checks what it says. It fails in this order: 415, 413, 400.
pub(crate) async fn read_document(
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds,
) -> Result<String, Problem> {
    require_kind(headers, TOML)?;
    let bytes = read(body, bounds, "shorten the document").await?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(&codes::NOT_UTF_8, format!("not UTF-8 from byte {at} on"))
    })
}

/// Reads a JSON body that may be left out. `null` stands for none, and an empty one needs no media type. It
/// fails as [`read_json`] does.
pub(crate) async fn read_optional_json(
    headers: &HeaderMap,
    body: Body,
    bounds: Bounds,
) -> Result<Option<Value>, Problem> {
    if http_body::Body::size_hint(&body).exact() == Some(0) {
        return Ok(None);
    }
    if headers.contains_key(header::CONTENT_TYPE) {
        require_kind(headers, JSON)?;
    }
    let bytes = read(body, bounds.of_small(), SHORTEN).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    require_kind(headers, JSON)?;
    parse(&bytes, MAX_SMALL).map(|value| Some(value).filter(|value| !value.is_null()))
}

/// Refuses a body where none is taken, so that nobody believes that it was obeyed. White space, an empty
/// object and `null` say nothing and are let through. `parameters` are what the call takes in its query. It
/// fails in this order: 413, 400, 422.
pub(crate) async fn refuse_body(
    body: Body,
    bounds: Bounds,
    parameters: &[&str],
) -> Result<(), Problem> {
    let bytes = read(body, bounds.of_small(), "this call takes none").await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let instead = match parameters {
        [] => "this call takes no body".to_owned(),
        _ => format!(
            "this call takes no body; what it takes are query parameters: {}",
            parameters.join(", ")
        ),
    };
    let mut faults = Faults::default();
    match parse(&bytes, MAX_SMALL) {
        Ok(Value::Null) => {}
        Ok(Value::Object(members)) => faults.extend(members.keys().map(|name| {
            let suggestion = nearest(name, parameters.iter().copied()).map(|it| format!("?{it}"));
            let detail = format!("this member is not known here: {instead}");
            let fault = Fault::new(format!("#/{}", escape(name)), "unknown-member", detail);
            Fault { suggestion, ..fault }
        })),
        _ => {
            let detail = format!("nothing may stand here: {instead}");
            faults.push(Fault::new("#", "wrong-type", detail));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults.into_vec())) }
}

/// Reads those members of a body that are well-formed, and adds what is wrong with the others. `schema` is
/// that of `T`.
pub(crate) fn read_members<T: DeserializeOwned + Default>(
    body: Value,
    schema: &Schema,
    faults: &mut Faults,
) -> T {
    let (read, found) = schema.read_partly(body, faults.left() + 1);
    faults.extend(found.into_iter().map(|fault| fault.under("#")));
    read
}

fn require_kind(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let refused = |detail: &str| Err(Problem::new(&codes::UNSUPPORTED_MEDIA_TYPE, detail));
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kinds.next().is_some() || !is_kind(kind, wanted) {
        return refused(&format!("send `Content-Type: {wanted}`"));
    }
    let coded = |coding: &[u8]| !coding.eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coded(coding.as_bytes())) {
        return refused("send the body without a content coding");
    }
    Ok(())
}

/// Whether this is the wanted media type. The only parameter with a meaning, `charset`, has to be UTF-8.
fn is_kind(kind: &str, wanted: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
    is_wanted
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset")
                || ["utf-8", "utf8"]
                    .iter()
                    .any(|it| value.trim_matches('"').eq_ignore_ascii_case(it))
        })
}

/// Reads a body. What is returned holds its memory until the last copy of it is dropped. `remedy` says what
/// to do about a body that is too long.
async fn read(mut body: Body, bounds: Bounds, remedy: &str) -> Result<Bytes, Problem> {
    let Bounds { max_bytes, memory, key } = bounds;
    let fits = |length: usize| match length <= max_bytes {
        true => Ok(length),
        false => {
            let detail = format!("the body is longer than {max_bytes} bytes; {remedy}");
            Err(Problem::new(&codes::TOO_LARGE, detail))
        }
    };
    let declared = http_body::Body::size_hint(&body).lower();
    let declared = fits(usize::try_from(declared).unwrap_or(usize::MAX))?;
    let mut permit = memory.acquire(key, declared.saturating_sub(UNCOUNTED)).map_err(no_memory)?;
    let mut bytes = Vec::with_capacity(declared);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        let length = fits(bytes.len().saturating_add(data.len()))?;
        permit.grow(length.saturating_sub(UNCOUNTED)).map_err(no_memory)?;
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from_owner(Held { bytes, _permit: permit }))
}

fn no_memory(full: Exhausted) -> Problem {
    let detail = match full {
        Exhausted::Own => {
            "the bodies of this key's other requests take all the memory that it may use"
        }
        Exhausted::All => "the bodies of other requests take all the memory there is for such",
    };
    Problem::new(&codes::NOT_READY, format!("{detail}; send it again"))
}

fn broken(error: &axum::Error) -> Problem {
    if is_caused_by::<BodyTimedOut>(error) {
        Problem::new(&codes::BODY_TIMEOUT, "the body did not come to its end in time")
    } else {
        Problem::new(&codes::MALFORMED_REQUEST, "the body broke off")
    }
}

fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(is_caused_by::<E>)
}

/// Parses a body of at most so many values. It fails with 400; 422 if it holds more.
pub(crate) fn parse(bytes: &[u8], most_values: usize) -> Result<Value, Problem> {
    // Some editors and languages write a byte order mark before UTF-8, where it means nothing.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    strict_json::read(bytes, most_values).map_err(|unread| match unread {
        // The reader's messages say what was expected and where, and never quote what was found.
        Unread::Malformed(error) => {
            Problem::new(&codes::MALFORMED_JSON, format!("not JSON: {error}"))
        }
        Unread::TooMany => {
            let detail =
                format!("the body holds more than {most_values} values; send less at once");
            Problem::invalid(vec![Fault::new("#", "too-many", detail)])
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn up_to(max_bytes: usize) -> Bounds {
        Bounds { max_bytes, memory: memory(max_bytes), key: KeyId::generate() }
    }

    fn of_kind(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    async fn code_of(kind: &'static str, body: &[u8], max: usize) -> &'static str {
        let read = read_json(&of_kind(kind), Body::from(body.to_vec()), up_to(max)).await;
        read.map_or_else(|problem| problem.code(), |_| "read")
    }

    #[tokio::test]
    async fn json_is_taken_with_parameters_and_nothing_else_is() {
        for kind in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json; charset=utf8",
            "application/json; charset=\"UTF8\"",
            "application/json;x=y",
        ] {
            assert_eq!(code_of(kind, b"{}", 10).await, "read", "{kind}");
            assert_eq!(code_of(kind, b"\xef\xbb\xbf{}", 10).await, "read", "{kind}");
        }
        for kind in ["", "text/plain", "application/toml", "application/json; charset=latin1"] {
            assert_eq!(code_of(kind, b"{}", 10).await, "unsupported-media-type", "{kind}");
        }
    }

    #[tokio::test]
    async fn the_media_type_is_checked_before_the_size_and_the_size_before_the_form() {
        assert_eq!(code_of("text/plain", b"{{{{", 2).await, "unsupported-media-type");
        assert_eq!(code_of("application/json", b"{{{{", 2).await, "too-large");
        assert_eq!(code_of("application/json", b"{{", 2).await, "malformed-json");
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
        let pieces = (0..4).map(|_| Ok::<_, std::convert::Infallible>("[[[["));
        let body = Body::from_stream(futures::stream::iter(pieces));
        assert_eq!(read(body, up_to(10), "").await.unwrap_err().code(), "too-large");
    }

    #[tokio::test]
    async fn bodies_take_so_much_memory_and_give_it_back_with_their_last_copy() {
        let memory = Pool::new(4 * UNCOUNTED, 2 * UNCOUNTED);
        let keys = [(); 3].map(|()| KeyId::generate());
        let long = |key: KeyId, is_declared: bool| {
            let body = vec![b' '; 3 * UNCOUNTED];
            let body = match is_declared {
                true => Body::from(body),
                false => Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(body)])),
            };
            let (max_bytes, memory) = (usize::MAX / 2, memory.clone());
            async move { read(body, Bounds { max_bytes, memory, key }, "").await }
        };
        let refused = |read: Result<Bytes, Problem>| {
            let problem = read.unwrap_err();
            assert_eq!(problem.code(), "not-ready");
            String::from_utf8(problem.to_body("")).unwrap().contains("this key's other requests")
        };
        for is_declared in [true, false] {
            let first = long(keys[0], is_declared).await.unwrap();
            assert!(refused(long(keys[0], is_declared).await));
            let second = long(keys[1], is_declared).await.unwrap();
            assert!(!refused(long(keys[2], is_declared).await));
            let bounds = Bounds { max_bytes: 100_000, memory: memory.clone(), key: keys[2] };
            let short = read(Body::from(vec![b' '; UNCOUNTED]), bounds, "").await;
            assert_eq!(short.unwrap().len(), UNCOUNTED);
            let copy = first.clone();
            drop(first);
            assert!(refused(long(keys[0], is_declared).await));
            drop((copy, second));
            assert_eq!(long(keys[2], is_declared).await.unwrap().len(), 3 * UNCOUNTED);
        }
    }

    #[test]
    fn what_holds_too_many_values_is_refused_as_such() {
        let problem = parse(b"[1,2,3]", 3).unwrap_err();
        assert_eq!(problem.code(), "validation-failed");
        assert_eq!(parse(b"[1,2,3]", 4).unwrap(), json!([1, 2, 3]));
    }

    #[tokio::test]
    async fn what_is_not_utf_8_or_ambiguous_or_nested_without_end_is_malformed() {
        assert_eq!(code_of("application/json", b"\"\xff\"", 10).await, "malformed-json");
        let twice = br#"{"to":"a","to":"b"}"#;
        assert_eq!(code_of("application/json", twice, 100).await, "malformed-json");
        let deep = vec![b'['; 60_000];
        assert_eq!(code_of("application/json", &deep, 200_000).await, "malformed-json");
        let long = vec![b'['; 70_000];
        assert_eq!(code_of("application/json", &long, 200_000).await, "too-large");
    }

    #[tokio::test]
    async fn a_document_is_toml_in_utf_8() {
        let read = async |kind: &'static str, body: &[u8]| {
            let read = read_document(&of_kind(kind), Body::from(body.to_vec()), up_to(10)).await;
            read.map_err(|problem| problem.code())
        };
        assert_eq!(read("application/toml", b"a = 1").await.as_deref(), Ok("a = 1"));
        let utf_8 = "application/TOML; charset=utf-8";
        assert_eq!(read(utf_8, "ä = 1".as_bytes()).await.as_deref(), Ok("ä = 1"));
        assert_eq!(read("application/json", b"a").await, Err("unsupported-media-type"));
        assert_eq!(read("application/toml", b"01234567890").await, Err("too-large"));
        assert_eq!(read("application/toml", b"a\xff").await, Err("not-utf-8"));
    }

    #[tokio::test]
    async fn where_no_body_is_taken_only_one_that_says_nothing_is() {
        let refused = async |body: &'static str| {
            let refused = refuse_body(Body::from(body), up_to(40), &["dry_run", "label"]).await;
            refused.err().map(|problem| serde_json::from_slice(&problem.to_body("")).unwrap())
        };
        for body in ["", " \r\n\t", "{}", " { } \n", "null"] {
            assert_eq!(refused(body).await, None::<Value>, "{body:?}");
        }
        let problem = refused(r#"{"a/b":null,"dryrun":true}"#).await.unwrap();
        assert_eq!(problem["code"], "validation-failed");
        assert_eq!(problem["status"], 422);
        let detail = "this member is not known here: this call takes no body; what it takes are \
                      query parameters: dry_run, label";
        let fault =
            |pointer| json!({ "pointer": pointer, "code": "unknown-member", "detail": detail });
        let mut misspelt = fault("#/dryrun");
        misspelt["suggestion"] = "?dry_run".into();
        assert_eq!(problem["errors"], json!([fault("#/a~1b"), misspelt]));
        for body in ["[]", "dry_run=true", "{", "\"x\""] {
            let problem = refused(body).await.unwrap();
            assert_eq!(problem["errors"][0]["pointer"], "#", "{body}");
            assert_eq!(problem["code"], "validation-failed", "{body}");
        }
        let long = r#"{"x":"0123456789012345678901234567890123456789"}"#;
        assert_eq!(refused(long).await.unwrap()["code"], "too-large");
    }

    #[tokio::test]
    async fn an_optional_body_may_be_left_out() {
        let none = read_optional_json(&HeaderMap::new(), Body::empty(), up_to(10)).await;
        assert!(none.unwrap().is_none());
        let untyped = read_optional_json(&HeaderMap::new(), Body::from("{}"), up_to(10)).await;
        assert_eq!(untyped.unwrap_err().code(), "unsupported-media-type");
    }
}
