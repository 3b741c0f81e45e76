//! A call and its answer.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use url::form_urlencoded::Serializer;

/// A call to make. A `PUT` or `DELETE` whose answer was lost is made again; the second one may then be refused for what the first
/// one did, such as 404.
#[derive(Clone)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) may_repeat: bool,
}

impl Call {
    /// A call of this method, without a body. `path` begins with `/`; ids in it are written as they are.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let may_repeat = method != Method::POST && method != Method::PATCH;
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, path: path.into(), headers, body, may_repeat }
    }

    /// A call that reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A call that does something, or makes something.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// With query parameters, behind those that it has.
    pub fn query<'q>(mut self, pairs: impl IntoIterator<Item = (&'q str, &'q str)>) -> Self {
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        if !query.is_empty() {
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(&query);
        }
        self
    }

    /// With a header. With `If-Match` it is not made again: the first call may have changed what it has to match.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.may_repeat &= name != header::IF_MATCH;
        self.headers.insert(name, value);
        self
    }

    /// With these bytes of this type as its body.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// With a JSON body.
    pub fn json(self, body: &impl Serialize) -> Self {
        // Only maps whose keys are no texts cannot be written.
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.body("application/json", body)
    }

    /// It has the same effect once and twice, and is made again where it is not known whether it had one.
    pub fn may_repeat(self) -> Self {
        Self { may_repeat: true, ..self }
    }
}

impl fmt::Debug for Call {
    /// Without headers and body, which may hold secrets and people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{} {path} with {} bytes", self.method, self.body.len())
    }
}

/// An answer that is no refusal.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, read to its end.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    /// Without headers and body, which may hold secrets and people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_holds_is_one_value() {
        let call = Call::get("/v1/invites").query([("email", "a+b&c=d@example.org")]);
        assert_eq!(call.path, "/v1/invites?email=a%2Bb%26c%3Dd%40example.org");
        assert_eq!(call.clone().query([]).path, call.path);
        assert!(call.query([("limit", "1")]).path.ends_with("&limit=1"));
    }

    #[test]
    fn only_what_changes_nothing_more_the_second_time_is_made_again() {
        for (method, may_repeat) in [
            (Method::GET, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            assert_eq!(Call::new(method.clone(), "/").may_repeat, may_repeat, "{method}");
        }
        assert!(Call::post("/").may_repeat().may_repeat);
        let matching =
            Call::new(Method::PUT, "/").header(header::IF_MATCH, HeaderValue::from_static("1"));
        assert!(!matching.may_repeat);
    }

    #[test]
    fn what_is_sent_is_not_shown() {
        let call = Call::post("/v1/invites?email=ada@example.org").body("text/plain", "ada");
        assert_eq!(format!("{call:?}"), "POST /v1/invites with 3 bytes");
    }
}
