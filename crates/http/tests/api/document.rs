//! The OpenAPI document as those read it who make clients from it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Words of TypeScript, Python, Rust, Java and Go that name nothing else in one of them.
const RESERVED: &str = "abstract any as assert async await bool boolean break byte case catch chan char class \
    const continue crate def default defer del delete do double dyn elif else enum except export extends \
    extern false final finally float fn for from func function global go goto if impl implements import in \
    instanceof int interface is lambda let long loop map match mod module move mut namespace native new nil \
    none nonlocal not null object or package pass private protected pub public raise range ref return self \
    short static string struct super switch synchronized this throw throws trait transient true try type \
    typeof undefined unsafe use var void volatile where while with yield";
/// Names of types that clients made from such documents have anyway.
const TAKEN: [&str; 20] = [
    "ApiClient",
    "ApiException",
    "ApiResponse",
    "Client",
    "Configuration",
    "Date",
    "Error",
    "Exception",
    "File",
    "List",
    "Map",
    "Object",
    "Option",
    "Optional",
    "Request",
    "Response",
    "Result",
    "Set",
    "String",
    "Vec",
];

fn document() -> Value {
    invite_http::openapi()
}

fn operations(document: &Value) -> Vec<&Value> {
    let items = document["paths"].as_object().unwrap().values();
    items.flat_map(|item| item.as_object().unwrap().values()).collect()
}

/// Every value in the document with its pointer.
fn each(value: &Value, at: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(at, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // What an example holds describes nothing.
                if !matches!(name.as_str(), "example" | "examples") {
                    each(member, &format!("{at}/{}", name.replace('/', "~1")), visit);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                each(item, &format!("{at}/{index}"), visit);
            }
        }
        _ => {}
    }
}

/// What is wrong with an example by its schema, of which no object has members that it does not name.
fn faults(document: &Value, schema: &Value, example: &Value) -> Vec<String> {
    let mut components = document["components"].clone();
    for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
        let members = schema.as_object_mut().unwrap();
        if members.contains_key("properties") && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".to_owned(), false.into());
        }
    }
    let mut whole = schema.clone();
    whole["components"] = components;
    let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
    validator
        .iter_errors(example)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn a_client_finds_the_gateway_that_the_document_is_from_and_the_usual_one() {
    let document = document();
    let urls: Vec<_> =
        document["servers"].as_array().unwrap().iter().map(|it| &it["url"]).collect();
    assert_eq!(urls, ["/", "http://127.0.0.1:8080"]);
}

#[test]
fn every_closed_set_and_every_object_has_a_name() {
    let mut nameless = Vec::new();
    let is_named =
        |at: &str| at.starts_with("/components/schemas/") && at.matches('/').count() == 3;
    each(&document(), "", &mut |at, value| {
        let is_schema = at.contains("schema") && value.is_object() && !at.ends_with("/properties");
        let is_set = value.get("enum").is_some_and(Value::is_array);
        let is_object = value.get("properties").is_some_and(Value::is_object);
        if is_schema && (is_set || is_object) && !is_named(at) {
            nameless.push(at.to_owned());
        }
    });
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn no_name_is_one_that_languages_or_generators_keep_for_themselves() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let members = schemas.values().filter_map(|schema| schema["properties"].as_object());
    let parameters = operations(&document).into_iter();
    let parameters =
        parameters.filter_map(|operation| operation["parameters"].as_array()).flatten();
    let names = operations(&document).into_iter().map(|it| it["operationId"].as_str().unwrap());
    let all = names
        .chain(schemas.keys().map(String::as_str))
        .chain(members.flat_map(Map::keys).map(String::as_str))
        .chain(parameters.map(|parameter| parameter["name"].as_str().unwrap()));
    let reserved: BTreeSet<&str> = RESERVED.split_whitespace().collect();
    let found: BTreeSet<&str> =
        all.filter(|name| reserved.contains(&*name.to_lowercase())).collect();
    // RFC 9457 says `type`.
    assert_eq!(found, ["type"].into());
    let taken: Vec<_> = schemas.keys().filter(|name| TAKEN.contains(&name.as_str())).collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn what_is_left_out_of_an_answer_is_never_null() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas.iter().filter(|(_, it)| it["additionalProperties"] != false) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (member, property) in schema["properties"].as_object().into_iter().flatten() {
            let may_be_null = faults(&document, property, &Value::Null).is_empty();
            let says_nothing = property.get("type").or(property.get("anyOf")).is_none();
            let is_optional = !required.contains(&json!(member));
            assert!(!is_optional || !may_be_null || says_nothing, "{name}.{member}");
        }
    }
}

#[test]
fn whatever_has_to_be_sent_and_whatever_is_answered_has_an_example_that_is_valid() {
    let document = document();
    let check = |place: &str, schema: &Value, example: &Value| {
        assert!(!example.is_null(), "{place} has no example");
        let found = faults(&document, schema, example);
        assert!(found.is_empty(), "{place}: {found:?}");
    };
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let example = &parameter["example"];
            if parameter["required"] == true || !example.is_null() {
                check(&format!("{name} {}", parameter["name"]), &parameter["schema"], example);
            }
        }
        for (_, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            check(&format!("{name} request"), &media["schema"], &media["example"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            for (kind, media) in response["content"].as_object().into_iter().flatten() {
                let place = format!("{name} {status}");
                if kind == "application/json" {
                    check(&place, &media["schema"], &media["example"]);
                }
                for (code, example) in media["examples"].as_object().into_iter().flatten() {
                    let example = example["$ref"].as_str().unwrap().trim_start_matches('#');
                    let value = &document.pointer(example).unwrap()["value"];
                    check(&place, &media["schema"], value);
                    assert_eq!(
                        (&value["code"], &value["status"].to_string()),
                        (&json!(code), status)
                    );
                }
            }
        }
    }
}

#[test]
fn every_problem_of_a_call_is_in_its_list_and_its_status_in_the_responses() {
    let document = document();
    let words = &document["components"]["schemas"]["ProblemCode"]["enum"];
    for operation in operations(&document) {
        let codes = operation["x-problem-codes"].as_array().unwrap();
        assert!(codes.iter().all(|code| words.as_array().unwrap().contains(code)), "{codes:?}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().all(|status| status.parse::<u16>().is_ok()), "{responses:?}");
        let shown = responses.values().filter_map(|response| {
            response["content"]["application/problem+json"]["examples"].as_object()
        });
        let shown: BTreeSet<&str> = shown.flat_map(Map::keys).map(String::as_str).collect();
        let listed: BTreeSet<&str> = codes.iter().filter_map(Value::as_str).collect();
        assert_eq!(listed, shown);
    }
    let create = &document["paths"]["/v1/invites"]["post"]["x-problem-codes"];
    for word in ["no-route", "idempotency-key-reused", "internal", "unauthorized"] {
        assert!(create.as_array().unwrap().contains(&json!(word)), "{create}");
    }
}
