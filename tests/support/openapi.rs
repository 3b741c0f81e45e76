//! Answers against the gateway's own OpenAPI document: are status, headers and problem code
//! documented, and are media type and body what the document says?

use std::collections::HashMap;
use std::sync::Mutex;

use jsonschema::{Draft, Validator};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

/// Headers that any answer may have and that say nothing of its call.
const OF_ANY: [&str; 13] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "accept-ranges",
];

/// The document, with the schemas compiled when they are first needed.
pub(crate) struct Document {
    document: Value,
    compiled: Mutex<HashMap<String, Validator>>,
}

/// One answer, as far as the document speaks of it.
pub(crate) struct Seen<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub status: u16,
    pub media_type: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a Value,
}

impl Document {
    pub fn new(document: Value) -> Self {
        Self { document, compiled: Mutex::default() }
    }

    /// What is wrong with an answer; empty if it is as documented.
    pub fn faults(&self, seen: &Seen<'_>) -> Vec<String> {
        let Some((template, item)) = self.path_item(seen.path) else {
            return undocumented(seen, "path");
        };
        let method = seen.method.as_str().to_lowercase();
        let Some(operation) = item.get(&method) else {
            return undocumented(seen, "method");
        };
        let responses = &operation["responses"];
        let status = seen.status.to_string();
        let Some((key, response)) = [status.as_str(), "default"]
            .into_iter()
            .find_map(|key| Some((key, self.resolve(responses.get(key)?))))
        else {
            return vec![format!("status {status} is not documented for {method} {template}")];
        };
        let mut faults = self.header_faults(response, seen.headers);
        let code = &seen.body["code"];
        let codes = operation["x-problem-codes"].as_array();
        if seen.status >= 400 && !codes.is_some_and(|codes| codes.contains(code)) {
            faults.push(format!("{method} {template} does not document the problem {code}"));
        }
        let content = response.get("content").and_then(Value::as_object);
        faults.extend(match (content, seen.media_type) {
            (None, None) => Vec::new(),
            (None, Some(found)) => vec![format!("a body of {found} where none is documented")],
            (Some(documented), found) => {
                let essence = found.unwrap_or("no body");
                let Some(media) = documented.get(essence) else {
                    let known: Vec<&String> = documented.keys().collect();
                    return vec![format!("media type {essence}; documented are {known:?}")];
                };
                let place = format!("{method} {template} {key} {essence}");
                self.body_faults(&place, media.get("schema"), seen.body)
            }
        });
        faults
    }

    /// Headers that are not documented, and documented ones that have to be there and are not.
    fn header_faults(&self, response: &Value, headers: &HeaderMap) -> Vec<String> {
        let nothing = Map::new();
        let documented = response["headers"].as_object().unwrap_or(&nothing);
        let is_documented =
            |name: &str| documented.keys().any(|known| known.eq_ignore_ascii_case(name));
        let unknown = headers.keys().map(|name| name.as_str());
        let unknown = unknown.filter(|name| !OF_ANY.contains(name) && !is_documented(name));
        let unknown = unknown.map(|name| format!("the header {name} is not documented"));
        let is_missing = |(name, header): &(&String, &Value)| {
            self.resolve(header)["required"] == true && !headers.contains_key(name.as_str())
        };
        let missing = documented.iter().filter(is_missing);
        unknown.chain(missing.map(|(name, _)| format!("there is no header {name}"))).collect()
    }

    fn body_faults(&self, place: &str, schema: Option<&Value>, body: &Value) -> Vec<String> {
        let is_json = place.ends_with("json");
        let Some(schema) = schema.filter(|_| is_json) else { return Vec::new() };
        let mut compiled = self.compiled.lock().unwrap();
        let validator = compiled.entry(place.to_owned()).or_insert_with(|| self.compile(schema));
        validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// The schema with the document's components beside it, so that its references resolve.
    fn compile(&self, schema: &Value) -> Validator {
        let mut whole: Map<String, Value> = schema.as_object().unwrap().clone();
        whole.insert("components".to_owned(), self.document["components"].clone());
        let options = jsonschema::options().with_draft(Draft::Draft202012);
        options.build(&Value::Object(whole)).unwrap()
    }

    /// The path of the document that matches, the one with the fewest parameters.
    fn path_item(&self, path: &str) -> Option<(&String, &Value)> {
        let paths = self.document["paths"].as_object().unwrap();
        let wanted: Vec<&str> = path.split('/').collect();
        let matching = paths.iter().filter(|(template, _)| {
            let parts: Vec<&str> = template.split('/').collect();
            parts.len() == wanted.len()
                && parts.iter().zip(&wanted).all(|(part, own)| part == own || part.starts_with('{'))
        });
        matching.min_by_key(|(template, _)| template.matches('{').count())
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap(),
            None => value,
        }
    }
}

/// A call that the document does not know may be refused; an API that answers it is a fault.
fn undocumented(seen: &Seen<'_>, what: &str) -> Vec<String> {
    let refused = matches!(seen.status, 401 | 404 | 405);
    if refused || !seen.path.starts_with("/v1/") {
        return Vec::new();
    }
    vec![format!("{} {}: {what} is not documented", seen.method, seen.path)]
}
